"""Nobody is left behind: a history that an earlier release has made goes on under this one.

tests/fixtures/history_before_1.0.tar.xz holds landing, database, exports and reports as the code before 1.0 left them:
the first sample day, the second one landed from a shortened file and not processed, then its correction.
"""

from __future__ import annotations

import json
import shutil
import tarfile
from pathlib import Path

import pytest

from include.ledger import Ledger
from include.pipeline import deliver
from include.rebuild import rebuild
from include.settings import PROJECT_ROOT, Settings
from tests.support.deliveries import day
from tests.support.settings import settings_in
from tests.support.tables import read_tables

HISTORY = PROJECT_ROOT / "tests" / "fixtures" / "history_before_1.0.tar.xz"

pytestmark = pytest.mark.slow


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """The old history, with the sample extracts beside it."""
    with tarfile.open(HISTORY) as archive:
        archive.extractall(tmp_path, filter="data")
    settings = settings_in(tmp_path)
    shutil.copytree(PROJECT_ROOT / "data" / "inputs", settings.input_path)
    return settings


@pytest.fixture
def from_scratch(tmp_path: Path) -> Settings:
    """The same deliveries, made by the code as it is."""
    settings = settings_in(tmp_path / "from_scratch")
    shutil.copytree(PROJECT_ROOT / "data" / "inputs", settings.input_path)
    for number in (5, 6):
        deliver(settings, logical_date=day(number), run_id=f"day_{number}")
    return settings


def test_the_next_delivery_goes_on_and_its_report_knows_the_old_runs(settings: Settings) -> None:
    before = read_tables(settings)

    report = json.loads(deliver(settings, logical_date=day(7), run_id="day_7").read_text())

    after = read_tables(settings)
    lost = {row[:-1] for row in before["snap_account"][1:]} - {row[:-1] for row in after["snap_account"][1:]}
    assert lost == set(), "no version of the old history was changed, but for its end"
    assert report["verdict"] == "warn"
    assert [run["run_id"] for run in report["trend"]] == [
        "scheduled__2026-01-05T02:00:00+00:00",
        "manual__2026-01-06T08:00:00+00:00",
        "day_7",
    ]
    assert report["against_previous"]["run_id"] == "manual__2026-01-06T08:00:00+00:00"


def test_a_delivery_of_before_changes_nothing_when_it_comes_again(settings: Settings) -> None:
    before, ledger = read_tables(settings), Ledger.load(settings.landing_path)

    deliver(settings, logical_date=day(6), run_id="again")

    assert read_tables(settings) == before
    assert Ledger.load(settings.landing_path) == ledger


def test_a_rebuild_makes_of_the_old_landing_what_the_code_makes_of_the_files(
    settings: Settings, from_scratch: Settings
) -> None:
    assert rebuild(settings) == 2

    found, expected = (without_times_of_the_correction(read_tables(each)) for each in (settings, from_scratch))
    assert found == expected


def without_times_of_the_correction(tables: dict[str, list[tuple[str, ...]]]) -> dict[str, list[list[str]]]:
    """The second day came as a correction of itself, a microsecond later; dbt's keys of versions follow from that."""
    return {
        name: sorted(
            [value.removesuffix(".000001") for value, column in zip(row, header, strict=True) if column != "dbt_scd_id"]
            for row in rows
        )
        for name, (header, *rows) in tables.items()
    }
