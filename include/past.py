"""Shared by the commands that ask about the past: finding the delivery that is meant, and replaying the history."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import TypeVar

from include.errors import PipelineError
from include.files import show
from include.ledger import FILE_NAMES, Delivery, Ledger, time_text
from include.pipeline import build
from include.progress import hidden
from include.settings import DBT_TARGETS, AlertSettings, Settings
from include.warehouse import WarehouseBusy, open_warehouse

T = TypeVar("T")


def moment(text: str) -> datetime:
    """Parse a day (UTC; it means its last microsecond) or an ISO 8601 time with its UTC offset, for argparse."""
    try:
        if len(text) == len("2026-01-06"):
            return datetime.combine(date.fromisoformat(text) + timedelta(days=1), time(), UTC) - timedelta.resolution
        return aware_time(text)
    except (ValueError, OverflowError) as error:
        raise argparse.ArgumentTypeError(
            f"{text!r} is neither a day such as 2026-01-06 nor an ISO 8601 time such as 2026-01-06T02:00:00Z"
        ) from error


def aware_time(text: str) -> datetime:
    """Parse an ISO 8601 time with its UTC offset; return it in UTC.

    Raises ValueError or OverflowError, or argparse's error if only the offset is missing.
    """
    found = datetime.fromisoformat(text)
    if found.tzinfo is None:
        raise argparse.ArgumentTypeError(f"{text!r} lacks its offset from UTC: write {found.isoformat()}Z")
    return found.astimezone(UTC)


def processed_until(ledger: Ledger, at: datetime | None = None) -> tuple[Delivery, ...]:
    """Return the processed deliveries up to a moment, by default all. The last one is what was published then.

    Raises PipelineError if there is none.
    """
    if not ledger.processed:
        raise PipelineError(f"{ledger.path} has no processed delivery yet: `make run` makes one")
    found = tuple(entry for entry in ledger.processed if at is None or entry.delivered_at <= at)
    if not found:
        first = ledger.processed[0]
        raise PipelineError(
            f"{ledger.path} has no delivery of {time_text(at or first.delivered_at)} or before: the landing begins "
            f"with that of {time_text(first.delivered_at)}"
        )
    return found


def check_landed(landing: Path, deliveries: Sequence[Delivery]) -> None:
    """Raise PipelineError if the landing lacks a file of one of these deliveries; the message names it."""
    for delivery in deliveries:
        for name in FILE_NAMES:
            path = landing / delivery.file(name).path
            if not path.is_file():
                raise PipelineError(
                    f"{path} is missing: the landing does not reach back to the delivery of "
                    f"{time_text(delivery.delivered_at)}"
                )


def embedded(settings: Settings, folder: Path) -> Settings:
    """Return settings for DuckDB whose paths are all below `folder`, except the input.

    The rows are the same on both engines, so a question about Databricks' past needs no statement there. Raises
    PipelineError if DuckDB can't have a file below the folder.
    """
    if set(str(folder)) & set("?\\"):
        raise PipelineError(f"{folder}: expected a path without ? and \\, which DuckDB and dbt don't take literally")
    return replace(
        settings,
        database_type="duckdb",
        dbt_target=DBT_TARGETS["duckdb"],
        databricks=None,
        duckdb_path=folder / "duckdb" / settings.duckdb_path.name,
        landing_path=folder / "landing",
        output_path=folder / "outputs",
        data_quality_report_path=folder / "quality_reports",
        alerts=AlertSettings(),
    )


def show_landed(landing: Path, scratch: Path) -> None:
    """Link the files of a landing into another one, which has its own ledger."""
    for name in FILE_NAMES:
        show(landing / name, scratch / name)


def play(
    settings: Settings, deliveries: Sequence[Delivery], *, run_id: str, with_tests: bool = True
) -> Iterator[Delivery]:
    """Replay deliveries, oldest first, in the empty warehouse and landing of `settings`.

    The landing has their files (see show_landed); its ledger is written here. Each delivery is yielded before it is
    processed, and uses the rates of its own time. Raises PipelineError.
    """
    # Each processed delivery was within the limit of its own day.
    settings = replace(settings, max_quarantine_pct=100.0)
    warehouse = open_warehouse(settings, run_id=run_id)
    played = Ledger.load(settings.landing_path)
    for delivery in deliveries:
        yield delivery
        played = played.append(delivery)
        warehouse.receive(settings.landing_path, delivery)
        with hidden():
            build(settings, run_id=run_id, with_tests=with_tests)


def patiently(query: Callable[[], T]) -> T:
    """Return the result of a query, waiting as long as another process holds the warehouse; a warning names it."""
    while True:
        with suppress(WarehouseBusy):
            return query()
