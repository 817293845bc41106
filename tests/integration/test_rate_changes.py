"""Rates are data: a changed tier or bonus reaches just the rows that it touches, on the next ordinary delivery."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from include.pipeline import DeliveryFailed, deliver
from include.rebuild import rebuild
from include.settings import Settings
from tests.support.deliveries import account, customer, day, write_extracts
from tests.support.rates import change_rates
from tests.support.settings import settings_in
from tests.support.tables import read_table, read_tables

pytestmark = pytest.mark.slow

CUSTOMERS = [customer("1", has_loan="yes"), customer("2", has_loan="no"), customer("3", has_loan="no")]
ACCOUNTS = [
    account("A", customer_id="1", balance="9999.99"),
    account("B", customer_id="2", balance="10000.00"),
    account("C", customer_id="2", balance="15000.00"),
    account("D", customer_id="3", balance="25000.00"),
]
NEW_SET = """2026-01-06,0.00,10000.00,0.0110,0.0050
2026-01-06,10000.00,,0.0150,0.0050
"""
"""From the second day on: another base rate below 10000, and no third tier."""


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
        ("0.0200,0.0050", "0.0000,0.0050", {"D": ("0.0000", "0.00", "06")}, {"3"}),
    ],
    ids=["a rate", "a bonus", "an edge", "no interest"],
)
def test_a_changed_rate_reaches_just_the_rows_that_it_touches(
    settings: Settings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    old: str,
    new: str,
    touched: dict[str, tuple[str, str, str]],
    profiles: set[str],
) -> None:
    assert calculated(settings) == FIRST
    change_rates(lambda rates: rates.replace(old, new), tmp_path, monkeypatch)

    deliver(settings, logical_date=day(6), run_id="second")

    assert calculated(settings) == FIRST | touched
    assert days_of_profiles(settings) == {key: "06" if key in profiles else "05" for key in ("1", "2", "3")}


def test_rates_entered_before_their_day_hold_from_it_and_a_rebuild_calculates_as_the_nights_did(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    change_rates(lambda rates: rates + NEW_SET, tmp_path, monkeypatch)
    deliver(settings, logical_date=datetime(2026, 1, 5, 23, 59, tzinfo=UTC), run_id="the evening before")
    assert calculated(settings) == FIRST

    deliver(settings, logical_date=datetime(2026, 1, 6, tzinfo=UTC), run_id="midnight")

    changed = {"A": ("0.0160", "160.00", "06"), "D": ("0.0150", "375.00", "06")}
    assert calculated(settings) == FIRST | changed
    before = read_tables(settings)
    rebuild(settings)
    assert read_tables(settings) == before


@pytest.mark.parametrize(
    ("change", "test"),
    [
        (lambda rates: rates.replace("0.00,10000.00", "0.00,9000.00"), "assert_interest_rate_tiers_have_no_gap"),
        (lambda rates: rates + "2027-01-01,5.00,,0.0100,0.0050\n", "assert_interest_rate_tiers_have_no_gap"),
        (lambda rates: rates + ",0.00,,0.0100,0.0050\n", "assert_interest_rate_tiers_have_no_gap"),
        (lambda rates: rates.replace("\n,", "\n2026-01-01,"), "assert_one_set_of_rates_holds_from_the_beginning"),
    ],
    ids=["a gap", "a set without a first tier", "an overlap", "no set from the beginning"],
)
def test_rates_with_a_gap_or_an_overlap_stop_the_delivery_before_it_is_shown(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: Callable[[str], str], test: str
) -> None:
    exported = (settings.output_path / "account_summary.csv").read_bytes()
    change_rates(change, tmp_path, monkeypatch)

    with pytest.raises(DeliveryFailed, match=test):
        deliver(settings, logical_date=day(6), run_id="second")

    assert (settings.output_path / "account_summary.csv").read_bytes() == exported
