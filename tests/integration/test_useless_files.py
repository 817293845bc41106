"""Files that can be read and are useless: what stops them, and how the nights after them go on."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from include import deliver as cli
from include.ingestion import ingest
from include.keys import WHITE_SPACE
from include.ledger import Ledger
from include.pipeline import DeliveryFailed, deliver
from include.rebuild import rebuild
from include.settings import Settings
from include.warehouse import open_warehouse
from tests.support.deliveries import account, customer, day, write_extracts
from tests.support.settings import environment_of, settings_in
from tests.support.tables import read_table, read_tables

pytestmark = pytest.mark.slow

NUMBERS = [str(number) for number in range(1, 9)]
CUSTOMERS = [customer(number) for number in NUMBERS]
ACCOUNTS = [account(f"A{number}", customer_id=number) for number in NUMBERS]
BAD_ACCOUNTS = [account(f"A{number}", customer_id=number, balance="n.a.") for number in NUMBERS[:5]] + ACCOUNTS[5:]
NEXT = ([*CUSTOMERS, customer("9")], [*ACCOUNTS[1:], account("A9", customer_id="9")])

BARRED = "assert_quarantine_is_within_the_limit"


def play(settings: Settings, number: int, customers: Iterable[str], accounts: Iterable[str], **options: Any) -> Any:
    """Deliver these files on a day of January; return the report."""
    write_extracts(settings.input_path, customers, accounts)
    path = deliver(settings, logical_date=day(number), run_id=f"day_{number}", **options)
    return json.loads(path.read_text(encoding="utf-8"))


def copy_of(settings: Settings, folder: Path) -> Settings:
    shutil.copytree(settings.landing_path.parent, folder, symlinks=True)
    return settings_in(folder)


def states(settings: Settings) -> list[str]:
    return [entry.state for entry in Ledger.load(settings.landing_path).entries]


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """One good day; tests copy it."""
    settings = settings_in(tmp_path_factory.mktemp("history") / "live")
    play(settings, 5, CUSTOMERS, ACCOUNTS)
    return settings


@pytest.fixture(scope="module")
def barred(good: Settings, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A day more, with five bad accounts of eight, and customers who have changed; tests copy it."""
    settings = copy_of(good, tmp_path_factory.mktemp("history") / "barred")
    with pytest.raises(DeliveryFailed, match=BARRED):
        play(settings, 6, [*CUSTOMERS[1:], customer("9")], BAD_ACCOUNTS)
    return settings


@pytest.fixture(scope="module")
def next_day(good: Settings, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """The next day's files after the good day, as if the bad ones had never come."""
    settings = copy_of(good, tmp_path_factory.mktemp("history") / "next")
    play(settings, 7, *NEXT)
    return settings


def test_too_many_quarantined_records_of_one_file_change_neither_history_nor_exports(
    good: Settings, barred: Settings
) -> None:
    kept = ("snap_customer", "snap_account", "int_account_with_customer", "account_summary", "customer_profile")

    assert {table: read_table(barred, table) for table in kept} == {table: read_table(good, table) for table in kept}
    assert (barred.output_path / "account_summary.csv").read_bytes() == (
        good.output_path / "account_summary.csv"
    ).read_bytes()
    assert states(barred) == ["processed", "landed"]


def test_the_report_names_the_file_and_the_numbers(barred: Settings) -> None:
    (path,) = barred.data_quality_report_path.glob("*_day_6.json")
    report = json.loads(path.read_text(encoding="utf-8"))

    (test,) = [test for test in report["tests"] if test["status"] == "fail"]
    assert (test["name"], test["severity"], report["verdict"]) == (BARRED, "error", "fail")
    (row,) = test["failing_rows"]
    assert (row["file_name"], row["record_count"], row["quarantined_count"]) == ("accounts", "8", "5")


def test_records_quarantined_up_to_the_limit_are_taken(good: Settings, tmp_path: Path) -> None:
    settings = copy_of(good, tmp_path / "copy")

    assert play(settings, 6, CUSTOMERS, [*BAD_ACCOUNTS[:4], *ACCOUNTS[4:]])["verdict"] == "warn"


def test_a_delivery_that_fails_its_tests_bars_the_next_one_until_it_is_discarded(
    barred: Settings, next_day: Settings, tmp_path: Path
) -> None:
    settings = copy_of(barred, tmp_path / "copy")
    with pytest.raises(DeliveryFailed, match=rf"2026-01-06.* has to be finished first, and failed again: .*{BARRED}"):
        play(settings, 7, *NEXT)

    report = play(settings, 7, *NEXT, discard_unfinished=True)

    assert states(settings) == ["processed", "discarded", "processed"]
    assert read_tables(settings) == read_tables(next_day)
    assert report["problems"] == [
        "the delivery of 2026-01-06T02:00:00.000000Z, which run day_6 landed and did not finish, was given up: this "
        "one took its place"
    ]
    rebuild(settings)
    assert read_tables(settings) == read_tables(next_day)


def test_what_was_discarded_does_not_come_back_though_its_date_is_later(
    barred: Settings, next_day: Settings, tmp_path: Path
) -> None:
    settings = copy_of(barred, tmp_path / "copy")
    ledger = settings.landing_path / "ledger.jsonl"
    ledger.write_text(ledger.read_text().replace("2026-01-06T02", "2062-01-06T02"))

    play(settings, 7, *NEXT, discard_unfinished=True)

    assert read_tables(settings) == read_tables(next_day)


def test_the_first_delivery_of_all_can_be_discarded(tmp_path: Path, next_day: Settings) -> None:
    settings = settings_in(tmp_path / "live")
    with pytest.raises(DeliveryFailed, match=BARRED):
        play(settings, 4, CUSTOMERS, [account(f"A{number}", account_type="gold") for number in NUMBERS])

    play(settings, 5, CUSTOMERS, ACCOUNTS, discard_unfinished=True)
    play(settings, 7, *NEXT)

    assert states(settings) == ["discarded", "processed", "processed"]
    assert read_tables(settings) == read_tables(next_day)


def test_the_command_line_names_the_test_that_failed_and_discards_when_asked(
    barred: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = copy_of(barred, tmp_path / "copy")
    write_extracts(settings.input_path, *NEXT)
    for variable, value in environment_of(settings).items():
        monkeypatch.setenv(variable, value)

    assert cli.main(["--logical-date", "2026-01-07T02:00:00Z"]) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert BARRED in printed.err.splitlines()[-1]

    assert cli.main(["--logical-date", "2026-01-07T02:00:00Z", "--discard-unfinished"]) == 0

    assert "problem    the delivery of 2026-01-06T02:00:00.000000Z, which run day_6 landed" in capsys.readouterr().out


def test_a_rebuild_takes_what_a_higher_limit_has_let_through(barred: Settings, tmp_path: Path) -> None:
    settings = copy_of(barred, tmp_path / "copy")
    deliver(replace(settings, max_quarantine_pct=62.5), logical_date=day(6), run_id="accepted")
    before = read_tables(settings)

    assert rebuild(settings) == 2
    assert read_tables(settings) == before


HOSTILE_KEYS = [
    *(f"{chr(point)}{10 + number}{chr(point)}" for number, point in enumerate(WHITE_SPACE)),
    *(f"{10 + number}{chr(point)}5" for number, point in enumerate(WHITE_SPACE)),
    *(chr(point) for point in WHITE_SPACE),
    *("", "null", "NULL", " N/A ", "nOnE", "\u3000none\ufeff", "nul", "none.", "ｎｕｌｌ"),
    *("0", "00", "-1", "+1", "1.0", "1e3", "1_000", "0x10", "٣", "１", "²", "1 2"),
    *("9223372036854775807", "9223372036854775808", "0" * 30 + "77", "9" * 40),
    *("A", "a", "Ä", "ä", "A\u0308", "İ", "ſ", "\u180e9", "9\u200c", "\u200d9", "\x1c8", "8\x1f", "\x1b", "\u202e7"),
    *("😀", "a'b", "\\n", "{{ x }}", "%", "\u2029\u2028\x85\x0b\x0c6"),
]


def test_ingestion_reads_the_keys_that_staging_reads(settings: Settings) -> None:
    broken = ['"201"x,b,c', '20"2,b,c', '"203,b,c', '"2""04"x,b', '205,b"', '"nu"ll,b"', "206", "207,b,c,d,e,f"]
    write_extracts(settings.input_path, [*map(customer, HOSTILE_KEYS), *broken], [*map(account, HOSTILE_KEYS), *broken])
    deliver(replace(settings, max_quarantine_pct=100.0), logical_date=day(5), run_id="hostile")

    read = {}
    delivery = Ledger.load(settings.landing_path).entries[-1]
    for file, table, key in (("customers", "stg_customer", "customer_id"), ("accounts", "stg_account", "account_id")):
        checked = staged_keys(settings, table, key)
        assert delivery.file(file).distinct_keys == len(checked)
        read[file] = checked
    assert "207" in read["customers"]
    assert "207" in read["accounts"]

    # As many, and none of them missing here: the same.
    write_extracts(settings.input_path, map(customer, read["customers"]), map(account, read["accounts"]))
    ingest(replace(settings, max_row_drop_pct=0.0), logical_date=day(6), run_id="as staged")


def staged_keys(settings: Settings, table: str, key: str) -> list[str]:
    """Return the distinct keys that staging has read from the records of a file, quarantined ones included."""
    warehouse = open_warehouse(settings)
    checked = warehouse.relation("staging", f"{table}_checked")
    found = warehouse.query(f"select distinct cast({key} as string) as key from {checked} where {key} is not null")
    return [str(value) for value in found["key"].to_pylist()]
