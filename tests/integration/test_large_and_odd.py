"""Values of a size that nobody expects are data or quarantined, by the same rules as any other (design, section 4)."""

from __future__ import annotations

import json

import pytest

from include.pipeline import deliver
from include.settings import Settings
from tests.support.deliveries import ACCOUNTS_HEADER, CUSTOMERS_HEADER, day
from tests.support.reference_model import Record, Reference
from tests.support.tables import read_tables

pytestmark = pytest.mark.slow

MILLION = 1_000_000
CUSTOMERS = [
    ("1" * MILLION, "An id of a million digits", "no"),
    ("0" * MILLION + "7", "An id of a million zeros and one digit", "yes"),
    (" \t ", "An id that is all spaces", "yes"),
    ("8", "n" * 65536, "no"),
    ("9", "É😀" * 65536, "\t" * MILLION + "yes"),
    ("10", "Neither yes nor no", "y" * MILLION),
    tuple(str(number) for number in range(11, 211)),
]
ACCOUNTS = [
    ("A1", "7", "9" * 16 + ".99", "savings"),
    ("A2", "7", "9" * MILLION, "savings"),
    ("A3", "7", "0" * MILLION + "1.005", "savings"),
    ("A4", "7", "0." + "3" * MILLION, "savings"),
    ("A5", "8", "1e" + "9" * MILLION, "savings"),
    ("A6", "8", "2.00", " " * MILLION + "Savings"),
    ("A7", "9", "3.00", "checking" * MILLION),
    ("A8" * MILLION, "9", "4.00", "checking"),
    ("    ", "9", "5.00", "savings"),
    ("A9", "9", *("6.00",) * 198),
]


def records(rows: list[tuple[str, ...]], width: int) -> list[Record]:
    return [
        Record(row)
        if len(row) == width
        else Record(row[:width], f"expected {width} fields, found {len(row)}", ",".join(row))
        for row in rows
    ]


def test_large_and_odd_values_are_treated_by_the_rules(settings: Settings) -> None:
    settings.input_path.mkdir()
    for name, header, rows in (("customers", CUSTOMERS_HEADER, CUSTOMERS), ("accounts", ACCOUNTS_HEADER, ACCOUNTS)):
        text = "\n".join([header, *(",".join(row) for row in rows)])
        (settings.input_path / f"{name}.csv").write_text(text, encoding="utf-8")
    reference = Reference()

    report = deliver(settings, logical_date=day(5), run_id="large")

    reference.deliver(day(5).replace(tzinfo=None), records(CUSTOMERS, 3), records(ACCOUNTS, 4))
    found = read_tables(settings, without=("dbt_scd_id",))
    for table, expected in reference.tables().items():
        assert sorted(found[table][1:]) == expected, f"{table} differs"
    assert len(found["stg_customer"]) - 1 == 3
    assert len(found["stg_account"]) - 1 == 5
    assert len(report.read_text(encoding="utf-8")) < MILLION
    assert json.loads(report.read_text(encoding="utf-8"))["verdict"] == "warn"
