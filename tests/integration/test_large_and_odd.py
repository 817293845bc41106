"""Values of a size that nobody expects are data or quarantined, by the same rules as any other."""

from __future__ import annotations

import json

import pytest

from include.pipeline import deliver
from include.settings import Settings
from tests.support.deliveries import ACCOUNTS_HEADER, CUSTOMERS_HEADER, account, customer, day, write_extracts
from tests.support.reference_model import BLANKS, Record, Reference
from tests.support.tables import read_tables, rows_like

pytestmark = pytest.mark.slow

MILLION = 1_000_000
SHOWN_BLANKS = [(1000 + number, blank) for number, blank in enumerate(BLANKS) if blank not in "\r\n"]
"""A customer_id for each, to be written without quotes."""

CUSTOMERS = [
    customer("1" * MILLION, name="An id of a million digits"),
    customer("0" * MILLION + "7", name="An id of a million zeros and one digit", has_loan="yes"),
    customer(" \t ", name="An id that is all spaces"),
    customer("8", name="n" * 65536),
    customer("9", name="É😀" * 65536, has_loan="\t" * MILLION + "yes"),
    customer("10", name="Neither yes nor no", has_loan="y" * MILLION),
    customer("10", name="Neither yes nor no (nobody sees why)", has_loan="\u200by\u200be\u200bs"),
    ",".join(str(number) for number in range(11, 211)),
    *(
        customer(f"{blank}{number}{blank}", name=f"{blank}Blank {blank} within", has_loan=f"yes{blank}")
        for number, blank in SHOWN_BLANKS
    ),
]
ACCOUNTS = [
    *(
        account(
            f"{blank}B{number}{blank}",
            customer_id=f"{number}{blank}",
            balance=f"{blank}5.00",
            account_type=f"savings{blank}",
        )
        for number, blank in SHOWN_BLANKS
    ),
    account("A1", customer_id="7", balance="9" * 16 + ".99"),
    account("A2", customer_id="7", balance="9" * MILLION),
    account("A3", customer_id="7", balance="0" * MILLION + "1.005"),
    account("A4", customer_id="7", balance="0." + "3" * MILLION),
    account("A5", customer_id="8", balance="1e" + "9" * MILLION),
    account("A6", customer_id="8", account_type=" " * MILLION + "Savings"),
    account("A7", customer_id="9", account_type="checking" * MILLION),
    account("A8" * MILLION, customer_id="9", account_type="checking"),
    account("    ", customer_id="9"),
    ",".join(["A9", "9", *["6.00"] * 198]),
]


def records(lines: list[str], header: str) -> list[Record]:
    width = len(header.split(","))
    rows = [(line, tuple(line.split(","))) for line in lines]
    return [
        Record(row) if len(row) == width else Record(row[:width], f"expected {width} fields, found {len(row)}", line)
        for line, row in rows
    ]


def test_large_and_odd_values_are_treated_by_the_rules(engine: Settings) -> None:
    write_extracts(engine.input_path, CUSTOMERS, ACCOUNTS)
    reference = Reference()

    report = deliver(engine, logical_date=day(5), run_id="large")

    customers, accounts = records(CUSTOMERS, CUSTOMERS_HEADER), records(ACCOUNTS, ACCOUNTS_HEADER)
    reference.deliver(day(5).replace(tzinfo=None), customers, accounts)
    found = read_tables(engine, without=("dbt_scd_id",))
    for table, expected in reference.tables().items():
        columns, *rows = found[table]
        assert sorted(rows) == rows_like(columns, expected), f"{table} differs"
    assert len(found["stg_customer"]) - 1 == 3 + len(SHOWN_BLANKS)
    assert len(found["stg_account"]) - 1 == 5 + len(SHOWN_BLANKS)
    assert len(report.read_text(encoding="utf-8")) < MILLION
    assert json.loads(report.read_text(encoding="utf-8"))["verdict"] == "warn"
