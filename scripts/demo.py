"""Play the three sample days into a scratch folder and print what each changed, and why: `make demo`."""

from __future__ import annotations

import shutil
import sys
from datetime import UTC, datetime
from itertools import pairwise

from include.diff import compare, difference, text_of
from include.entities import ACCOUNT, CUSTOMER
from include.errors import run_command
from include.explain import shown
from include.explain.timeline import explain
from include.pipeline import deliver
from include.quality.summary import summary
from include.settings import PROJECT_ROOT, load_settings

DAYS = [datetime(2026, 1, day, 2, tzinfo=UTC) for day in (5, 6, 7)]
SCRATCH = PROJECT_ROOT / "data" / "demo"
HISTORIES = [(CUSTOMER, "15"), (ACCOUNT, "S15"), (ACCOUNT, "S16"), (ACCOUNT, "S18"), (ACCOUNT, "S21")]
"""Keys whose whole history is printed at the end. data/inputs/README.md describes what happens to them."""


def main() -> None:
    """Play the days. Raises the errors of deliver()."""
    shutil.rmtree(SCRATCH, ignore_errors=True)
    settings = load_settings(
        {
            "DUCKDB_PATH": str(SCRATCH / "lc_pipeline.duckdb"),
            "LANDING_PATH": str(SCRATCH / "landing"),
            "OUTPUT_PATH": str(SCRATCH / "outputs"),
            "DATA_QUALITY_REPORT_PATH": str(SCRATCH / "quality_reports"),
        }
    )
    for day in DAYS:
        _print_title(f"{day:%Y-%m-%d}")
        report = deliver(settings, logical_date=day, run_id=f"demo__{day:%Y-%m-%d}")
        print(summary(report, settings.output_path))
    for before, after in pairwise(DAYS):
        _print_title(f"what changed from {before:%Y-%m-%d} to {after:%Y-%m-%d}")
        print(text_of(difference(*compare(settings, (before, after)))))
    _print_title("the history of a few keys")
    for entity, key in HISTORIES:
        print(f"\n{shown.text_of(explain(settings, entity, key, show_names=True))}")
    folder = SCRATCH.relative_to(PROJECT_ROOT)
    print(f"\nTables, exports and reports are in {folder}. docs/guides/asking_the_past.md says how to ask for more.")


def _print_title(text: str) -> None:
    print(f"\n=== {text} ".ljust(80, "="), flush=True)


if __name__ == "__main__":
    sys.exit(run_command(main))
