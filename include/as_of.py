"""Write the exports as they were published after an earlier delivery: `python -m include.as_of 2026-01-06 --to FOLDER`.

Replays every delivery up to then from the landing, each with the rates of its own time, into a separate DuckDB database
below FOLDER. On both engines the live tables are neither read nor locked.
"""

from __future__ import annotations

import argparse
import sys
from datetime import datetime
from pathlib import Path

from include.errors import PipelineError, run_command
from include.exports import FILES, MANIFEST, move_exports, write_exports
from include.files import scratch_folder
from include.ledger import Delivery, Ledger, time_text
from include.past import check_landed, embedded, moment, play, processed_until, show_landed
from include.progress import shown, step
from include.settings import Settings, load_settings
from include.warehouse import open_warehouse

SCRATCH = ".as_of"


def write_as_of(settings: Settings, at: datetime, folder: Path) -> Delivery:
    """Write the exports and their manifest as published after the last delivery up to `at`; return that delivery.

    The manifest's run id is that of the run which landed the delivery. If a full refresh has set `calculated_at`, that
    is not repeated: it has the time of the delivery that changed the row. Raises PipelineError if the landing does not
    reach back that far, or if `folder` already has one of the files.
    """
    existing = [name for name in (*FILES, MANIFEST) if (folder / name).exists()]
    if existing:
        raise PipelineError(f"{folder} already has {', '.join(existing)}: name a folder without them")
    deliveries = processed_until(Ledger.load(settings.landing_path), at)
    check_landed(settings.landing_path, deliveries)
    last = deliveries[-1]
    with scratch_folder(folder / SCRATCH) as scratch:
        copy = embedded(settings, scratch)
        copy.duckdb_path.parent.mkdir(parents=True)
        show_landed(settings.landing_path, copy.landing_path)
        with step("play deliveries") as update:
            played = play(copy, deliveries, run_id=last.run_id, with_tests=False)
            for number, delivery in enumerate(played):
                update(f"{time_text(delivery.delivered_at)}, {number} of {len(deliveries)}", number, len(deliveries))
            update(f"{len(deliveries)} of {len(deliveries)}", 1, 1)
        with step("export"):
            warehouse = open_warehouse(copy, run_id=last.run_id)
            write_exports(warehouse, copy.output_path, run_id=last.run_id)
            move_exports(copy.output_path, folder, run_id=last.run_id, delivered_at=last.delivered_at)
    return last


def main(arguments: list[str] | None = None) -> int:
    """Return 0, or 1 with one line on stderr that says what is wrong."""
    parser = argparse.ArgumentParser(prog="python -m include.as_of", description=__doc__)
    parser.add_argument("at", type=moment, help="a day (UTC), or a time such as 2026-01-06T02:00:00Z")
    parser.add_argument("--to", type=Path, required=True, metavar="FOLDER", help="where the files are written")
    options = parser.parse_args(arguments)

    def write() -> None:
        with shown():
            delivery = write_as_of(load_settings(), options.at, options.to.absolute())
        print(f"as published after the delivery of {time_text(delivery.delivered_at)} (run {delivery.run_id}):")
        print("\n".join(str(options.to / name) for name in (*FILES, MANIFEST)))

    return run_command(write)


if __name__ == "__main__":
    sys.exit(main())
