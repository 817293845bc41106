"""Where the tables are: what the Python beside dbt asks of an engine, with one module for each engine.

An engine's module is imported when it is opened: the DAG file imports this one, and one engine doesn't need the other's
libraries.
"""

from __future__ import annotations

import re
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from include.errors import PipelineError
from include.files import run_key
from include.settings import Settings

if TYPE_CHECKING:
    import pyarrow as pa

    from include.ledger import Delivery


class WarehouseError(PipelineError):
    """The warehouse can't be used; the message says why and what to do. `is_transient`: retrying may help."""

    def __init__(self, message: str, *, is_transient: bool = False) -> None:
        super().__init__(message)
        self.is_transient = is_transient


class StatementRejected(WarehouseError):
    """The engine can't execute a statement, however often it is tried: a table is missing, or a value is wrong."""


class WarehouseBusy(WarehouseError):
    """Another process holds the warehouse; the message names it."""

    def __init__(self, message: str) -> None:
        super().__init__(message, is_transient=True)


class CheckpointMissing(WarehouseError):
    """The checkpoint from before the unfinished delivery is gone; the message names it and says what to do."""

    def __init__(self, path: Path) -> None:
        remedy = "run `python -m include.rebuild`"
        super().__init__(f"{path} is missing, so the unfinished delivery can't be undone: {remedy}")


_REJECTED = re.compile(
    r"SQLSTATE: ?(?:0A|21|22|23|42)"  # Databricks: not supported, wrong values, a broken constraint, wrong SQL or names
    r"|\b(?:Parser|Binder|Catalog|Constraint|Conversion|Invalid Input|Out of Range) Error: "  # DuckDB
)


def is_rejection(message: str) -> bool:
    """Return True if an engine's error is about the statement itself, so that trying again is useless."""
    return bool(_REJECTED.search(message))


class Warehouse(Protocol):
    """What ingestion, exports and the quality report need of an engine. Times are UTC, whatever the engine's type."""

    def relation(self, schema: str, table: str) -> str:
        """Return the qualified name of a table of a layer, or of the test failures, for SQL."""

    def query(self, sql: str) -> pa.Table:
        """Return a small result. Raises WarehouseError, e.g. where a table is missing."""

    def stream(self, sql: str) -> AbstractContextManager[pa.RecordBatchReader]:
        """Open a result of any size, to be read in batches. Raises WarehouseError."""

    def check_session(self) -> None:
        """Raise WarehouseError where the session's time zone is not UTC: times would be read and written shifted."""

    def has_history(self) -> bool:
        """Return True if the snapshots exist. Raises WarehouseError where that is not known."""

    def receive(self, landing: Path, delivery: Delivery) -> None:
        """Put a landed delivery and the ledger where the engine reads them. May be called again after a crash."""

    def publish_tables(self) -> None:
        """Replace the tables that consumers read, each at once, where the engine has them beside the marts."""

    def checkpoint(self) -> None:
        """Keep the state of all tables, to return to if the delivery about to begin is replaced by a correction."""

    def restore(self) -> None:
        """Return to the state that checkpoint() kept, which stays. Raises WarehouseError where none is kept."""

    def take_over(self, rebuilt: Settings) -> None:
        """Replace the history by the one that include.rebuild has made where `rebuilt` says."""

    def clear(self) -> None:
        """Remove all that there is: of a rebuild that ended, or was killed."""

    def copy_history(self, database: Path) -> None:
        """Copy the tables that a delivery changes into a new DuckDB file, and what checkpoint() kept beside it.

        There is none where there is no history.
        """

    def discard_checkpoint(self) -> None:
        """Forget the state that checkpoint() kept."""


def open_warehouse(settings: Settings, *, run_id: str = "") -> Warehouse:
    """Return the warehouse of the settings' database type; nothing is connected before it is used.

    `run_id` says in the engine's query history which run a statement is of. Raises SettingsError where an Airflow
    connection lacks something.
    """
    databricks = settings.connected().databricks
    if databricks:
        from include.warehouse.databricks import DatabricksWarehouse

        return DatabricksWarehouse(
            databricks, settings.landing_path / ".databricks_checkpoint.json", run=run_key(run_id)
        )
    from include.warehouse.duckdb import DuckDBWarehouse

    return DuckDBWarehouse(settings.duckdb_path, settings.duckdb_memory_limit)
