"""Rates are data: a changed tier or bonus reaches just the rows that it touches, on the next ordinary delivery."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from include import dbt_project
from include.pipeline import DeliveryFailed, deliver
from include.settings import Settings
from tests.support.deliveries import day, write_extracts
from tests.support.settings import settings_in
from tests.support.tables import read_table

pytestmark = pytest.mark.slow

CUSTOMERS = ["1,Ada,yes", "2,Bo,no", "3,Cy,no"]
ACCOUNTS = ["A,1,9999.99,savings", "B,2,10000.00,savings", "C,2,15000.00,savings", "D,3,25000.00,savings"]
RATES = "seeds/interest_rate_tier.csv"

ChangeRates = Callable[[str, str], None]


@pytest.fixture(scope="module")
def first_day(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    settings = settings_in(tmp_path_factory.mktemp("rates") / "live")
    write_extracts(settings.input_path, CUSTOMERS, ACCOUNTS)
    deliver(settings, logical_date=day(5), run_id="first")
    return settings


@pytest.fixture
def settings(first_day: Settings, tmp_path: Path) -> Settings:
    shutil.copytree(first_day.landing_path.parent, tmp_path / "copy", symlinks=True)
    return settings_in(tmp_path / "copy")


@pytest.fixture
def change_rates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ChangeRates:
    """Let the pipeline use a copy of the dbt project in which a text of the rates is replaced."""

    def change(old: str, new: str) -> None:
        project = tmp_path / "dbt"
        shutil.copytree(dbt_project.DBT_DIR, project, ignore=shutil.ignore_patterns("target", "logs"))
        rates = (project / RATES).read_text()
        assert old in rates
        (project / RATES).write_text(rates.replace(old, new))
        monkeypatch.setattr(dbt_project, "DBT_DIR", project)

    return change


def calculated(settings: Settings) -> dict[str, tuple[str, str, str]]:
    """Return rate, interest and day of calculation of each account."""
    return {row[0]: (row[3], row[4], row[6][8:10]) for row in read_table(settings, "account_summary")[1:]}


def days_of_profiles(settings: Settings) -> dict[str, str]:
    return {row[0]: row[-1][8:10] for row in read_table(settings, "customer_profile")[1:]}


FIRST = {
    "A": ("0.0150", "150.00", "05"),
    "B": ("0.0150", "150.00", "05"),
    "C": ("0.0150", "225.00", "05"),
    "D": ("0.0200", "500.00", "05"),
}


@pytest.mark.parametrize(
    ("old", "new", "touched", "profiles"),
    [
        ("0.0150,0.0050", "0.0175,0.0050", {"B": ("0.0175", "175.00", "06"), "C": ("0.0175", "262.50", "06")}, {"2"}),
        ("0.0100,0.0050", "0.0100,0.0075", {"A": ("0.0175", "175.00", "06")}, {"1"}),
        ("10000.00", "12500.00", {"B": ("0.0100", "100.00", "06")}, {"2"}),
    ],
    ids=["a rate", "a bonus", "an edge"],
)
def test_a_changed_rate_reaches_just_the_rows_that_it_touches(
    settings: Settings,
    change_rates: ChangeRates,
    old: str,
    new: str,
    touched: dict[str, tuple[str, str, str]],
    profiles: set[str],
) -> None:
    assert calculated(settings) == FIRST
    change_rates(old, new)

    deliver(settings, logical_date=day(6), run_id="second")

    assert calculated(settings) == FIRST | touched
    assert days_of_profiles(settings) == {key: "06" if key in profiles else "05" for key in ("1", "2", "3")}


def test_a_gap_between_the_tiers_stops_the_delivery_before_it_is_shown(
    settings: Settings, change_rates: ChangeRates
) -> None:
    exported = (settings.output_path / "account_summary.csv").read_bytes()
    change_rates("0.00,10000.00", "0.00,9000.00")

    with pytest.raises(DeliveryFailed, match="assert_interest_rate_tiers_have_no_gap"):
        deliver(settings, logical_date=day(6), run_id="second")

    assert (settings.output_path / "account_summary.csv").read_bytes() == exported
    assert calculated(settings) == FIRST
