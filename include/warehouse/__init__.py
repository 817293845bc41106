"""The warehouse: the interface that Python code uses besides dbt, with one module per engine.

The DAG file imports this module. An engine's module is imported only when its warehouse is opened, so neither engine
needs the other's libraries.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from include.errors import PipelineError
from include.files import run_key
from include.settings import Settings

if TYPE_CHECKING:
    import pyarrow as pa

    from include.ledger import Delivery

C = TypeVar("C")


class WarehouseError(PipelineError):
    """The warehouse can't be used. The message says why and what to do. `is_transient`: retrying may help."""

    def __init__(self, message: str, *, is_transient: bool = False) -> None:
        super().__init__(message)
        self.is_transient = is_transient


class StatementRejected(WarehouseError):
    """The engine can't execute a statement, and retrying is useless: a table is missing, or a value is wrong."""


class WarehouseBusy(WarehouseError):
    """Another process holds the warehouse. The message names the process."""

    def __init__(self, message: str) -> None:
        super().__init__(message, is_transient=True)


class CheckpointMissing(WarehouseError):
    """The checkpoint from before the unfinished delivery is gone. The message names it and says what to do."""

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


class Connections(Generic[C]):
    """Opens a connection for each use. Uses within session() share one."""

    def __init__(self, connect: Callable[[], AbstractContextManager[C]]) -> None:
        self._connect = connect
        self._session: ExitStack | None = None
        self._shared: C | None = None

    @contextmanager
    def session(self) -> Iterator[None]:
        """Let the uses in the body share one connection, which the first of them opens."""
        try:
            with ExitStack() as self._session:
                yield
        finally:
            self._session = self._shared = None

    @contextmanager
    def use(self) -> Iterator[C]:
        """Yield a connection, which the body must leave as it was."""
        if self._session is None:
            with self._connect() as connection:
                yield connection
            return
        if self._shared is None:
            self._shared = self._session.enter_context(self._connect())
        try:
            yield self._shared
        except Exception:
            self._shared = None  # it may be broken: the next use opens another
            raise


class Warehouse(Protocol):
    """The interface for ingestion, exports and the quality report. Times are in UTC, whatever the engine's type."""

    def relation(self, schema: str, table: str) -> str:
        """Return the qualified name of a table of a layer, or of the test failures, for SQL."""

    def query(self, sql: str) -> pa.Table:
        """Return a small result. Raises WarehouseError, e.g. if a table is missing."""

    def session(self) -> AbstractContextManager[None]:
        """Let the queries of the body share one connection, which the first of them opens."""

    def stream(self, sql: str) -> AbstractContextManager[pa.RecordBatchReader]:
        """Open a result of any size, which is read in batches. Raises WarehouseError."""

    def check_session(self) -> None:
        """Raise WarehouseError if the session's time zone is not UTC: times would be read and written shifted."""

    def has_history(self) -> bool:
        """Return True if the snapshots exist. Raises WarehouseError if that can't be found out."""

    def receive(self, landing: Path, delivery: Delivery) -> None:
        """Put a landed delivery and the ledger where the engine reads them. Can be called again after a crash."""

    def publish_tables(self) -> None:
        """Replace the tables that consumers read, each in one statement, if the engine has them besides the marts."""

    def checkpoint(self) -> None:
        """Save the state of all tables, to return to it if the delivery that begins is replaced or discarded."""

    def restore(self) -> None:
        """Return to the state that checkpoint() saved, and keep it. Raises WarehouseError if there is none."""

    def take_over(self, rebuilt: Settings) -> None:
        """Replace the history with the one that include.rebuild has built with the settings `rebuilt`."""

    def clear(self) -> None:
        """Remove everything that a rebuild left, whether it ended or was killed."""

    def copy_history(self, database: Path) -> None:
        """Copy the kept tables into a new DuckDB file, with the checkpoint beside it. Without a history, do nothing."""

    def discard_checkpoint(self) -> None:
        """Delete the state that checkpoint() saved."""


def open_warehouse(settings: Settings, *, run_id: str = "") -> Warehouse:
    """Return the warehouse for the settings' database type. It connects when it is first used.

    `run_id` identifies the run in the engine's query history. Raises SettingsError if an Airflow connection lacks
    something.
    """
    databricks = settings.connected().databricks
    if databricks:
        from include.warehouse.databricks import DatabricksWarehouse

        return DatabricksWarehouse(
            databricks, settings.landing_path / ".databricks_checkpoint.json", run=run_key(run_id)
        )
    from include.warehouse.duckdb import DuckDBWarehouse

    return DuckDBWarehouse(settings.duckdb_path, settings.duckdb_memory_limit)
