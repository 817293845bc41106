"""Files that are older than MAX_FILE_AGE_HOURS: they are taken, with a warning."""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import timedelta

import pytest

from include.pipeline import ingest_delivery, write_report
from include.quality.report import Report
from include.settings import Settings
from tests.support.deliveries import account, customer, day, write_extracts


def problems_with_files(settings: Settings, **hours_old: float) -> list[str]:
    """Ingest files that were last changed so long before the run's time; return what the report says of them."""
    write_extracts(settings.input_path, [customer("1")], [account("A", customer_id="1")])
    for name, hours in hours_old.items():
        changed = (day(5) - timedelta(hours=hours)).timestamp()
        os.utime(settings.input_path / f"{name}.csv", (changed, changed))
    assert ingest_delivery(settings, logical_date=day(5), run_id="run").outcome == "landed"
    report = Report.load(write_report(settings, run_id="run"))
    return [problem for problem in report.problems if "MAX_FILE_AGE_HOURS" in problem]


def test_a_file_that_is_too_old_is_taken_and_named_in_log_and_report(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    found = problems_with_files(replace(settings, max_file_age_hours=24.0), customers=1, accounts=49)

    assert found == [
        "accounts.csv is 49 hours old: it was last changed at 2026-01-03T01:00:00.000000Z, and MAX_FILE_AGE_HOURS is "
        "24. Has the sender delivered?"
    ]
    assert found[0] in caplog.messages


@pytest.mark.parametrize(("limit", "hours"), [(24.0, 24), (24.0, -1000), (0.5, 0.4), (None, 100_000)])
def test_other_files_are_not_mentioned(settings: Settings, limit: float | None, hours: float) -> None:
    assert problems_with_files(replace(settings, max_file_age_hours=limit), customers=hours, accounts=hours) == []
