"""Show what files would do: `python -m include.preview` plays a delivery on a copy, and keeps nothing of it.

Prints the summary of its report: what would be quarantined, closed and changed, and the money that would move. The
exit status is 1 if the delivery would be refused or fail.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from include.artifacts import report_of
from include.deliver import add_delivery_options
from include.errors import PipelineError, run_command
from include.files import lock, replacing, scratch_folder, show
from include.ledger import FILE_NAMES, Ledger
from include.past import embedded, patiently
from include.pipeline import DeliveryFailed, deliver, failure_in
from include.progress import shown, step
from include.quality.page import page_of
from include.quality.report import TREND_RUNS, written_reports
from include.quality.summary import summary
from include.settings import Settings, load_settings
from include.warehouse import Warehouse, open_warehouse

Failure = PipelineError | OSError


@contextmanager
def preview(settings: Settings, *, run_id: str, **options: Any) -> Iterator[tuple[Path, Failure | None]]:
    """Play a delivery on a copy; yield its report and, if it would be refused or fail, the error.

    `options` are those of pipeline.deliver(). On both engines the copy is a DuckDB database below LANDING_PATH. It is
    removed after the body. An unfinished delivery is finished on it first. Raises files.Locked while another preview is
    running, WarehouseError, or OSError if there is no room for the copy.
    """
    doing = f"previewing a delivery (run {run_id})"
    with (
        lock(settings.landing_path / ".preview.lock", doing),
        scratch_folder(settings.landing_path / ".preview") as scratch,
    ):
        copy = embedded(settings, scratch)
        with step("copy the history"):
            _copy(settings, open_warehouse(settings, run_id=run_id), copy)
        error: Failure | None = None
        try:
            report = deliver(copy, run_id=run_id, is_preview=True, **options)
        except (PipelineError, OSError) as raised:
            written = report_of(copy.data_quality_report_path, run_id)
            if written is None:
                raise
            report, error = written, raised
        if error is None and (failure := failure_in(report)):
            error = DeliveryFailed(failure)
        yield report, error


def keep_report(report: Path, folder: Path) -> Path:
    """Copy a preview's report and its page into a folder; return the report's path there."""
    for path in (report, page_of(report)):
        if path.is_file():
            with replacing(folder / path.name) as temporary:
                shutil.copyfile(path, temporary)
    return folder / report.name


def _copy(settings: Settings, warehouse: Warehouse, copy: Settings) -> None:
    """Copy the tables, and link the landed files and reports that a delivery reads.

    A run may be working at the same time. The ledger is read before and after the copy, so that both belong together.
    A delivery that the run has half finished is finished on the copy, as after a crash.
    """
    while True:
        shutil.rmtree(copy.duckdb_path.parent, ignore_errors=True)
        copy.duckdb_path.parent.mkdir(parents=True)
        ledger = Ledger.load(settings.landing_path)
        patiently(lambda: warehouse.copy_history(copy.duckdb_path))
        if Ledger.load(settings.landing_path) == ledger:
            break
    for delivery in filter(None, {ledger.last, ledger.last_processed}):
        for name in FILE_NAMES:
            path = delivery.file(name).path
            show(settings.landing_path / path, copy.landing_path / path)
    if ledger.entries:
        shutil.copyfile(ledger.path, copy.landing_path / ledger.path.name)
    for report in written_reports(settings.data_quality_report_path)[-TREND_RUNS:]:
        show(report, copy.data_quality_report_path / report.name)


def main(arguments: list[str] | None = None) -> int:
    """Return 0, or 1 after one line on stderr that says why the delivery would be refused or fail."""
    parser = argparse.ArgumentParser(prog="python -m include.preview", description=__doc__)
    add_delivery_options(parser)
    parser.add_argument("--input", type=Path, metavar="FOLDER", help="where the files are; default: INPUT_PATH")
    parser.add_argument("--to", type=Path, metavar="FOLDER", help="keep the report and its page there")
    options = parser.parse_args(arguments)
    now = datetime.now(UTC)

    def run() -> None:
        settings = load_settings()
        if options.input:
            settings = replace(settings, input_path=options.input.absolute())
        with (
            shown(),
            preview(
                settings,
                logical_date=options.logical_date or now,
                run_id=f"preview__{now:%Y-%m-%dT%H:%M:%S.%f}",
                accept_row_drop=options.accept_row_drop,
                discard_unfinished=options.discard_unfinished,
            ) as (report, error),
        ):
            kept = keep_report(report, options.to.absolute()) if options.to else None
            text = summary(kept or report, settings.output_path, is_kept=kept is not None)
        print(text)
        if error:
            raise error

    return run_command(run)


if __name__ == "__main__":
    sys.exit(main())
