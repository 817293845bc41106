"""Values of a size that nobody expects are data or quarantined, by the same rules as any other (design, section 4)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from include.pipeline import deliver
from include.settings import Settings
from tests.support.deliveries import ACCOUNTS_HEADER, CUSTOMERS_HEADER, day
from tests.support.local_warehouse import LocalWarehouse
from tests.support.reference_model import BLANKS, Record, Reference
from tests.support.settings import settings_in
from tests.support.tables import read_tables, rows_like

pytestmark = pytest.mark.slow

MILLION = 1_000_000
SHOWN_BLANKS = [(1000 + number, blank) for number, blank in enumerate(BLANKS) if blank not in "\r\n"]
"""A customer_id for each, to be written without quotes."""

CUSTOMERS = [
    ("1" * MILLION, "An id of a million digits", "no"),
    ("0" * MILLION + "7", "An id of a million zeros and one digit", "yes"),
    (" \t ", "An id that is all spaces", "yes"),
    ("8", "n" * 65536, "no"),
    ("9", "É😀" * 65536, "\t" * MILLION + "yes"),
    ("10", "Neither yes nor no", "y" * MILLION),
    ("10", "Neither yes nor no (nobody sees why)", "\u200by\u200be\u200bs"),
    tuple(str(number) for number in range(11, 211)),
    *((f"{blank}{number}{blank}", f"{blank}Blank {blank} within", f"yes{blank}") for number, blank in SHOWN_BLANKS),
]
ACCOUNTS = [
    *(
        (f"{blank}B{number}{blank}", f"{number}{blank}", f"{blank}5.00", f"savings{blank}")
        for number, blank in SHOWN_BLANKS
    ),
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


@pytest.fixture(params=["duckdb", "databricks"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Settings:
    if request.param == "duckdb":
        return settings_in(tmp_path)
    warehouse: LocalWarehouse = request.getfixturevalue("warehouse")
    return warehouse.settings(tmp_path)


def test_large_and_odd_values_are_treated_by_the_rules(engine: Settings) -> None:
    engine.input_path.mkdir()
    for name, header, rows in (("customers", CUSTOMERS_HEADER, CUSTOMERS), ("accounts", ACCOUNTS_HEADER, ACCOUNTS)):
        text = "\n".join([header, *(",".join(row) for row in rows)])
        (engine.input_path / f"{name}.csv").write_text(text, encoding="utf-8")
    reference = Reference()

    report = deliver(engine, logical_date=day(5), run_id="large")

    reference.deliver(day(5).replace(tzinfo=None), records(CUSTOMERS, 3), records(ACCOUNTS, 4))
    found = read_tables(engine, without=("dbt_scd_id",))
    for table, expected in reference.tables().items():
        columns, *rows = found[table]
        assert sorted(rows) == rows_like(columns, expected), f"{table} differs"
    assert len(found["stg_customer"]) - 1 == 3 + len(SHOWN_BLANKS)
    assert len(found["stg_account"]) - 1 == 5 + len(SHOWN_BLANKS)
    assert len(report.read_text(encoding="utf-8")) < MILLION
    assert json.loads(report.read_text(encoding="utf-8"))["verdict"] == "warn"
