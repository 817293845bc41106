"""Rebuild the history from the landing: `python -m include.rebuild`.

Replays every processed delivery, oldest first, into a new database (on Databricks: new schemas), which then replaces
the old one. This also moves the history from one engine to the other.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace

from include.dbt.runner import collect_garbage_less_often
from include.errors import PipelineError, run_command
from include.files import scratch_folder
from include.ledger import Ledger, time_text
from include.past import play, show_landed
from include.pipeline import build
from include.preflight import check_paths
from include.settings import Settings, load_settings
from include.turns import alone
from include.warehouse import open_warehouse


def rebuild(settings: Settings) -> int:
    """Rebuild the history from the landing; return how many deliveries were replayed.

    The old history stays until the new one is complete. A delivery that was landed but not processed is left to the
    next run. Raises PipelineError, e.g. when the database is in use.
    """
    check_paths(settings, "LANDING_PATH", "DUCKDB_PATH")
    with alone(settings.landing_path, "rebuilding the history"):
        ledger = Ledger.load(settings.landing_path)
        if not ledger.processed:
            raise PipelineError(f"{ledger.path} has no processed delivery: there is nothing to rebuild from")
        _rebuild(settings, ledger)
    return len(ledger.processed)


def _rebuild(settings: Settings, ledger: Ledger) -> None:
    # Beside the database itself, where DUCKDB_PATH is a link to it: it will be renamed.
    beside_database = settings.duckdb_path.resolve().with_name(f".{settings.duckdb_path.name}.rebuild")
    with (
        scratch_folder(settings.landing_path / ".rebuild") as scratch,
        scratch_folder(beside_database) as new_database,
    ):
        show_landed(settings.landing_path, scratch)
        rebuilt = replace(
            settings,
            landing_path=scratch,
            data_quality_report_path=scratch / "quality_reports",
            # The file's name is also the name of the database in SQL, so it must be the same.
            duckdb_path=new_database / settings.duckdb_path.name,
            databricks=settings.databricks and settings.databricks.for_rebuild(),
        )
        warehouse = open_warehouse(rebuilt, run_id="rebuild")
        warehouse.clear()
        for delivery in play(rebuilt, ledger.processed, run_id="rebuild"):
            print(f"playing the delivery of {time_text(delivery.logical_date)}", flush=True)
        history = open_warehouse(settings, run_id="rebuild")
        history.take_over(rebuilt)
        if ledger.unfinished:  # a correction of it returns to the rebuilt history
            history.checkpoint()
        if settings.databricks:  # only the history is taken over there, so build the other tables
            target = replace(rebuilt, databricks=settings.databricks)
            open_warehouse(target, run_id="rebuild").receive(scratch, ledger.processed[-1])
            # Its tests passed above, where a delivery may exceed today's MAX_QUARANTINE_PCT.
            build(target, run_id="rebuild", select=("tag:source", "tag:staging"), with_tests=False)
        warehouse.clear()


def main(arguments: list[str] | None = None) -> int:
    """Return 0, or 1 with one line on stderr that says what is wrong."""
    argparse.ArgumentParser(prog="python -m include.rebuild", description=__doc__).parse_args(arguments)
    collect_garbage_less_often()
    return run_command(lambda: print(f"rebuilt from {rebuild(load_settings())} deliveries"))


if __name__ == "__main__":
    sys.exit(main())
