"""Where the tables are: what the Python beside dbt asks of an engine, with one module for each engine."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Protocol

from include.errors import PipelineError
from include.settings import Settings

if TYPE_CHECKING:
    import pyarrow as pa


class WarehouseError(PipelineError):
    """The warehouse can't be used; the message says why and what to do."""


class WarehouseBusy(WarehouseError):
    """Another process holds the warehouse; the message names it."""


class Warehouse(Protocol):
    """What ingestion, exports and the quality report need of an engine. Times are UTC, whatever the engine's type."""

    def relation(self, layer: str, table: str) -> str:
        """Return the qualified name of a table of a layer, for SQL."""

    def query(self, sql: str) -> pa.Table:
        """Return a small result. Raises WarehouseError, e.g. where a table is missing."""

    def stream(self, sql: str) -> AbstractContextManager[pa.RecordBatchReader]:
        """Open a result of any size, to be read in batches. Raises WarehouseError."""

    def has_history(self) -> bool:
        """Tell whether the snapshots exist. Raises WarehouseError where that can't be told."""

    def checkpoint(self) -> None:
        """Keep the state of all tables, to return to if the delivery about to begin is replaced by a correction."""

    def restore(self) -> None:
        """Return to the state that checkpoint() kept, which stays. Raises WarehouseError where none is kept."""

    def discard_checkpoint(self) -> None:
        """Forget the state that checkpoint() kept."""


def open_warehouse(settings: Settings) -> Warehouse:
    """Return the warehouse of the settings' database type; nothing is connected before it is used."""
    if settings.database_type == "databricks":
        raise WarehouseError("DATABASE_TYPE=databricks is not supported yet: set it to duckdb")
    from include.warehouse.duckdb import DuckDBWarehouse

    return DuckDBWarehouse(settings.duckdb_path)
