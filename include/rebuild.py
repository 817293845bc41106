"""Rebuild the DuckDB database from the landing: `python -m include.rebuild`.

Every processed delivery is played again, oldest first, into a new database, which then takes the old one's place.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from include.errors import PipelineError
from include.ledger import FILE_NAMES, Ledger, time_text
from include.settings import Settings, load_settings


def rebuild(settings: Settings) -> int:
    """Rebuild the database from the landing; return how many deliveries were played.

    The old database stays until the new one is complete. A delivery that was landed but not processed is left to the
    next run. Rates are today's (seeds/interest_rate_tier.csv). Raises PipelineError, e.g. when the database is in use.
    """
    from include.files import lock
    from include.pipeline import build

    ledger = Ledger.load(settings.landing_path)
    if not ledger.processed:
        raise PipelineError(f"{ledger.path} has no processed delivery: there is nothing to rebuild from")
    if settings.database_type != "duckdb":
        raise PipelineError("only DuckDB can be rebuilt from the landing so far")
    settings.duckdb_path.parent.mkdir(parents=True, exist_ok=True)
    with (
        lock(settings.landing_path / ".deliver.lock", "rebuilding the database"),
        _scratch(settings.duckdb_path.with_name(f".{settings.duckdb_path.name}.rebuild")) as scratch,
    ):
        landing = scratch / "landing"
        landing.mkdir()
        for name in FILE_NAMES:
            (landing / name).symlink_to(settings.landing_path / name)
        # The file's name is also the database's name inside, so it has to be the same.
        rebuilt = replace(
            settings,
            landing_path=landing,
            duckdb_path=scratch / settings.duckdb_path.name,
            data_quality_report_path=scratch / "quality_reports",
        )
        played = Ledger(landing / ledger.path.name, ())
        for delivery in ledger.processed:
            played = played.append(delivery)
            print(f"playing the delivery of {time_text(delivery.logical_date)}", flush=True)
            build(rebuilt, run_id="rebuild")
        _take_the_place(rebuilt.duckdb_path, settings.duckdb_path)
    return len(played.entries)


@contextmanager
def _scratch(folder: Path) -> Iterator[Path]:
    """Give an empty folder, without what a killed rebuild has left in it, and remove it afterwards."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def _take_the_place(new: Path, old: Path) -> None:
    from include.warehouse.duckdb import DuckDBWarehouse

    with DuckDBWarehouse(old).held():
        old.with_name(f"{old.name}.wal").unlink(missing_ok=True)
        new.replace(old)


def main(arguments: list[str] | None = None) -> int:
    """Return 0, or 1 with one line on stderr that says what is wrong."""
    argparse.ArgumentParser(prog="python -m include.rebuild", description=__doc__).parse_args(arguments)
    try:
        count = rebuild(load_settings())
    except PipelineError as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    print(f"rebuilt from {count} deliveries")
    return 0


if __name__ == "__main__":
    sys.exit(main())
