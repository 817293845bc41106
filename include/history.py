"""Checks that the tables in the warehouse are those that were made from the landing."""

from __future__ import annotations

from datetime import datetime

import duckdb
import pyarrow as pa

from include import duckdb_paths, duckdb_session
from include.entities import ENTITIES
from include.ingestion import IngestionError
from include.ledger import Delivery, Ledger, time_text
from include.quality.masking import aware
from include.settings import Settings
from include.warehouse import StatementRejected, Warehouse

_STATE = "select count(*) as records, count(malformed_reason) as malformed, max(loaded_at) as newest from "


def check_history(settings: Settings, warehouse: Warehouse) -> None:
    """Raise IngestionError if only one of warehouse and landing has deliveries, or both have different ones."""
    has_history = warehouse.has_history()
    ledger = Ledger.load(settings.landing_path)
    if ledger.last_processed and not has_history:
        raise IngestionError(
            f"{ledger.path} has processed deliveries, but the warehouse has no history of them: run "
            "`python -m include.rebuild` to rebuild it from the landing"
        )
    if has_history and not ledger.entries:
        raise IngestionError(
            f"the warehouse has history, but {ledger.path} has no deliveries: is LANDING_PATH the landing that the "
            "history was made from?"
        )
    if ledger.last_processed:
        _check_source(settings, warehouse, ledger, ledger.last_processed)


def _check_source(settings: Settings, warehouse: Warehouse, ledger: Ledger, last: Delivery) -> None:
    """Refuse source tables that are neither those of `last` nor of a delivery after it that was not finished.

    The numbers of all and of malformed records, and their newest loaded_at, tell which delivery they are of.
    """
    deliveries = [delivery for delivery in ledger.entries if delivery.delivered_at >= last.delivered_at]
    with warehouse.session(), duckdb_session.connect() as connection:
        for entity in ENTITIES:
            landed = [settings.landing_path / delivery.file(entity.file).path for delivery in deliveries]
            try:
                built = _state(warehouse.query(_STATE + warehouse.relation("source", entity.source)))
                expected = [
                    _state(connection.sql(_STATE + duckdb_paths.read("parquet", path)).to_arrow_table())
                    for path in landed
                ]
            except (StatementRejected, duckdb.Error):
                continue  # a table or a file is missing, or is from before 1.0, when source had no malformed records
            if built not in expected:
                raise IngestionError(
                    f"the warehouse does not have the last delivery in {ledger.path}, of "
                    f"{time_text(last.delivered_at)}: one of the two comes from another backup. Restore both from the "
                    "same time, or run `python -m include.rebuild` to rebuild the warehouse from the landing"
                )


def _state(found: pa.Table) -> tuple[int, int, datetime | None]:
    """Return the numbers and the newest loaded_at."""
    [row] = found.to_pylist()
    return row["records"], row["malformed"], row["newest"] and aware(row["newest"])
