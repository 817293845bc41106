"""Run one delivery end to end in one process, without Airflow: `python -m include.deliver`."""

from __future__ import annotations

import argparse
import sys
from datetime import UTC, datetime

from include.dbt.runner import collect_garbage_less_often
from include.errors import run_command
from include.past import aware_time
from include.pipeline import DeliveryFailed, deliver, failure_in
from include.progress import shown
from include.quality.summary import summary
from include.settings import load_settings


def main(arguments: list[str] | None = None) -> int:
    """Return 0, or 1 with a last line on stderr that says what is wrong. Progress is shown on stderr too."""
    options = _parser().parse_args(arguments)
    collect_garbage_less_often()
    now = datetime.now(UTC)

    def run() -> None:
        settings = load_settings()
        with shown():
            report = deliver(
                settings,
                logical_date=options.logical_date or now,
                run_id=f"deliver__{now:%Y-%m-%dT%H:%M:%S.%f}",
                full_refresh=options.full_refresh,
                accept_row_drop=options.accept_row_drop,
                discard_unfinished=options.discard_unfinished,
            )
        print(summary(report, settings.output_path))
        if failure := failure_in(report):
            raise DeliveryFailed(failure)

    return run_command(run)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m include.deliver", description=__doc__)
    add_delivery_options(parser)
    parser.add_argument(
        "--full-refresh",
        action="store_true",
        help="rebuild intermediate and marts from the snapshots, even if the delivery is already processed",
    )
    return parser


def add_delivery_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that name the delivery and say what it may do."""
    parser.add_argument(
        "--logical-date",
        type=_logical_date,
        metavar="2026-01-05T02:00:00Z",
        help="the delivery's time, with its offset from UTC; default: now",
    )
    parser.add_argument(
        "--accept-row-drop",
        action="store_true",
        help="take the files even if many keys of the last delivery are missing from them (MAX_ROW_DROP_PCT)",
    )
    parser.add_argument(
        "--discard-unfinished",
        action="store_true",
        help="give up a delivery that was landed and could not be finished, and take these files instead",
    )


def _logical_date(text: str) -> datetime:
    try:
        return aware_time(text)
    except (ValueError, OverflowError) as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not an ISO 8601 time") from error


if __name__ == "__main__":
    sys.exit(main())
