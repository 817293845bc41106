"""The history of the Dagster version, carried over on real dbt and DuckDB: `python -m migrations.dagster`.

Its databases are made here by SQL that does what its dbt snapshots do: at each night every key that arrives gets a
version (both of its snapshots compare loaded_at, which is always new), and one that doesn't is closed a moment later.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterable
from contextlib import redirect_stdout
from dataclasses import replace
from datetime import datetime, timedelta
from io import StringIO
from pathlib import Path

import duckdb
import pytest

from include.files import sha256
from include.ledger import Ledger
from include.pipeline import deliver
from include.rebuild import rebuild
from include.settings import Settings
from migrations import dagster
from migrations.dagster import MigrationError, migrate, runs_of
from tests.support.databases import execute
from tests.support.deliveries import account, customer, day, write_extracts
from tests.support.settings import settings_in
from tests.support.tables import NULL, Table, read_table, read_tables

Record = tuple[str, ...]

CUSTOMERS = [("1", "Ada", "Yes"), ("2", " Bo", "No"), ("3", "Cy", "no"), ("0", "Zed", "No")]
ACCOUNTS = [
    ("A", "1", "9999.99", "Savings"),
    ("B", "2", "500.00", "Savings"),
    ("C", "3", "70.00", "Checking"),
    ("D", "3", "80.00", "Savings"),
]
THIRD = (
    [("1", "Ada", "No"), *CUSTOMERS[1:]],
    [ACCOUNTS[0], ("B", "2", "500.00", "Checking"), ACCOUNTS[2]],
)
FIFTH = ([*THIRD[0][:2], CUSTOMERS[3]], [*THIRD[1][:2], ACCOUNTS[3], ("E", "2", "20000.00", "Savings")])
NIGHTS = {1: (CUSTOMERS, ACCOUNTS), 2: (CUSTOMERS, ACCOUNTS), 3: THIRD, 4: THIRD, 5: FIFTH, 6: FIFTH}
"""Third night: a loan flag and an account's type change, D is deleted. Fifth: D is back, C and customer 3 leave."""

STAGED = {
    "customer": "customer_id::integer as customer_id, lower(trim(name)) as customer_name, "
    "lower(trim(has_loan)) = 'yes' as has_loan_flag",
    "account": "trim(account_id) as account_id, customer_id::integer as customer_id, "
    "balance::decimal(18, 2) as balance_amount, lower(trim(account_type)) as account_type",
}


def play_night(old: duckdb.DuckDBPyConnection, at: datetime, customers: list[Record], accounts: list[Record]) -> None:
    """Do what a run of the Dagster version does to its source tables and snapshots."""
    for entity, fields, records, loaded_at in (
        ("customer", ("customer_id", "name", "has_loan"), customers, at),
        (
            "account",
            ("account_id", "customer_id", "balance", "account_type"),
            accounts,
            at - timedelta(microseconds=45),
        ),
    ):
        snapshot = f"snapshots.snap_{entity}"
        old.execute(f"create or replace table main_source.src_{entity} ({', '.join(f'{f} varchar' for f in fields)})")
        if records:
            old.executemany(f"insert into main_source.src_{entity} values ({', '.join('?' * len(fields))})", records)
        old.execute(f"""
            update {snapshot} set dbt_valid_to = case
                when {entity}_id::varchar in (select trim({entity}_id) from main_source.src_{entity})
                then timestamp '{loaded_at:%F %T.%f}' else timestamp '{loaded_at:%F %T.%f}' + interval 340 milliseconds
            end
            where dbt_valid_to is null
        """)
        old.execute(f"""
            insert into {snapshot} by name
            select
                {STAGED[entity]}, timestamp '{loaded_at:%F %T.%f}' as loaded_at, uuid()::varchar as dbt_scd_id,
                loaded_at as dbt_updated_at, loaded_at as dbt_valid_from
            from main_source.src_{entity}
        """)


def dagster_database(
    path: Path, nights: dict[int, tuple[list[Record], list[Record]]] = NIGHTS, *, hour: int = 2, zone: str = ""
) -> Path:
    """Make a database of the Dagster version after these nights of January 2026; `zone`: of its timestamps' type."""
    path.parent.mkdir(parents=True, exist_ok=True)
    types = {"has_loan_flag": "boolean", "balance_amount": "decimal(18, 2)", "customer_id": "integer"}
    with duckdb.connect(path) as old:
        old.execute("set TimeZone = 'UTC'")
        old.execute("create schema main_source; create schema snapshots")
        for entity, columns in (
            ("customer", ("customer_id", "customer_name", "has_loan_flag")),
            ("account", ("account_id", "customer_id", "balance_amount", "account_type")),
        ):
            typed = [f"{column} {types.get(column, 'varchar')}" for column in (*columns, "dbt_scd_id")]
            times = [
                f"{name} timestamp {zone}" for name in ("loaded_at", "dbt_updated_at", "dbt_valid_from", "dbt_valid_to")
            ]
            old.execute(f"create table snapshots.snap_{entity} ({', '.join(typed + times)})")
        for number, (customers, accounts) in nights.items():
            play_night(old, day(number).replace(hour=hour, tzinfo=None), customers, accounts)
    return path


def versions(settings: Settings, table: str) -> Table:
    """Return a snapshot's versions: key and contents, then the days from and to which they are valid."""
    without = ("loaded_at", "dbt_scd_id", "dbt_updated_at")
    rows = read_table(settings, table, without=without)[1:]
    return sorted((*row[:-2], *(time if time == NULL else time[8:10] for time in row[-2:])) for row in rows)


def files_in(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): sha256(path) for path in sorted(folder.rglob("*")) if path.is_file()}


class Migrated:
    """A migration that was run once: what it printed, and the old folder's files before."""

    def __init__(self, folder: Path) -> None:
        self.old = dagster_database(folder / "old" / "lending_club.duckdb", zone="with time zone")
        self.old_files = files_in(self.old.parent)
        self.settings = settings_in(folder / "live")
        with redirect_stdout(StringIO()) as printed:
            migrate(self.settings, self.old)
        self.printed = printed.getvalue().splitlines()


@pytest.fixture(scope="module")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Migrated:
    """All nights carried over; tests only look at it, or copy it."""
    return Migrated(tmp_path_factory.mktemp("migrated"))


@pytest.fixture(scope="module")
def continued(migrated: Migrated, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A delivery after the migration: the records of the last night as they arrived, but E's balance, and B is away."""
    folder = tmp_path_factory.mktemp("continued") / "live"
    shutil.copytree(migrated.settings.landing_path.parent, folder, symlinks=True)
    settings = settings_in(folder)
    customers, accounts = FIFTH
    changed = [accounts[0], accounts[2], ("E", "2", "20000.01", "Savings")]
    write_extracts(
        settings.input_path,
        [customer(key, name=name, has_loan=has_loan) for key, name, has_loan in customers],
        [account(key, customer_id=owner, balance=amount, account_type=type_) for key, owner, amount, type_ in changed],
    )
    deliver(settings, logical_date=day(8), run_id="day_8")
    return settings


@pytest.mark.slow
def test_versions_keep_their_times_and_nightly_ones_without_a_change_are_gone(migrated: Migrated) -> None:
    assert versions(migrated.settings, "snap_customer") == [
        ("1", "ada", "false", "03", NULL),
        ("1", "ada", "true", "01", "03"),
        ("2", "bo", "false", "01", NULL),
        ("3", "cy", "false", "01", "05"),
    ]
    assert versions(migrated.settings, "snap_account") == [
        ("A", "1", "9999.99", "savings", "01", NULL),
        ("B", "2", "500.00", "checking", "03", NULL),
        ("B", "2", "500.00", "savings", "01", "03"),
        ("C", "3", "70.00", "checking", "01", "05"),
        ("D", "3", "80.00", "savings", "01", "03"),
        ("D", "3", "80.00", "savings", "05", NULL),
        ("E", "2", "20000.00", "savings", "05", NULL),
    ]


@pytest.mark.slow
def test_what_a_run_left_seconds_apart_is_one_delivery_at_its_start(migrated: Migrated) -> None:
    start = timedelta(microseconds=45)
    entries = Ledger.load(migrated.settings.landing_path).entries
    assert [(e.delivered_at, e.state) for e in entries] == [(day(n) - start, "processed") for n in (1, 3, 5)]


@pytest.mark.slow
def test_the_summary_counts_and_names_what_differs(migrated: Migrated) -> None:
    for line in (
        "customers: versions found: 22, of 4 keys; spurious: 17",
        "  to be quarantined: 1, customer_id is zero",
        "accounts: versions found: 22, of 5 keys; spurious: 15",
        "customers: versions carried over: 4, keys current: 2, records quarantined: 1, "
        "keys that differ from the old database: 1",
        "  customer_id 0: quarantined: customer_id is zero",
        "accounts: versions carried over: 7, keys current: 4, records quarantined: 0, "
        "keys that differ from the old database: 0",
    ):
        assert line in migrated.printed


@pytest.mark.slow
def test_the_old_database_keeps_every_byte(migrated: Migrated) -> None:
    assert files_in(migrated.old.parent) == migrated.old_files


@pytest.mark.slow
def test_the_next_delivery_makes_versions_of_what_changed_alone(migrated: Migrated, continued: Settings) -> None:
    assert read_table(continued, "snap_customer") == read_table(migrated.settings, "snap_customer")
    before, after = versions(migrated.settings, "snap_account"), versions(continued, "snap_account")
    assert sorted(set(after) - set(before)) == [
        ("B", "2", "500.00", "checking", "03", "08"),
        ("E", "2", "20000.00", "savings", "05", "08"),
        ("E", "2", "20000.01", "savings", "08", NULL),
    ]
    assert [row[0] for row in read_table(continued, "account_summary")[1:]] == ["A", "E"]


@pytest.mark.slow
def test_a_rebuild_from_the_landing_gives_the_same_tables(continued: Settings) -> None:
    before = read_tables(continued)

    assert rebuild(continued) == 4

    assert read_tables(continued) == before


@pytest.mark.slow
def test_a_history_of_our_own_is_refused(migrated: Migrated, continued: Settings, tmp_path: Path) -> None:
    with pytest.raises(MigrationError, match=r"is not empty.*found one of 2026-01-08T02:00:00.000000Z by run day_8"):
        migrate(continued, migrated.old)
    with pytest.raises(MigrationError, match="the warehouse has history already"):
        migrate(replace(continued, landing_path=tmp_path / "another"), migrated.old)


@pytest.mark.slow
def test_a_run_cut_off_anywhere_is_finished_by_running_it_again(migrated: Migrated, tmp_path: Path) -> None:
    """Landed, but not in the ledger; in the ledger, but not played; all played, but the last one not published."""
    from tests.support.crashing import run_and_die

    settings = settings_in(tmp_path / "live")
    for moment in (
        rf"rename {re.escape(str(settings.landing_path))}/ledger\.jsonl",
        rf"rename {re.escape(str(settings.landing_path))}/\.rebuild/ledger\.jsonl",
        rf"rename {re.escape(str(settings.output_path))}/\.current",
        None,
    ):
        run_and_die(migrate, settings, migrated.old, at=moment)

    assert read_tables(settings) == read_tables(migrated.settings)
    assert Ledger.load(settings.landing_path) == replace(
        Ledger.load(migrated.settings.landing_path), path=settings.landing_path / "ledger.jsonl"
    )


@pytest.mark.slow
def test_a_history_that_is_not_the_old_one_is_an_error(migrated: Migrated, tmp_path: Path) -> None:
    settings = settings_in(tmp_path / "live")
    shutil.copytree(migrated.settings.landing_path.parent, tmp_path / "live", symlinks=True)
    execute(settings.duckdb_path, "delete from main_snapshots.snap_account where account_id = 'C'")

    with pytest.raises(MigrationError, match="differ from the old database without a known reason: 1, account_id C"):
        migrate(settings, migrated.old)


@pytest.mark.slow
def test_a_dry_run_tells_times_in_utc_and_what_is_left_out_and_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The third night had no valid account and closed them all; times are those of Berlin, without a zone."""
    old = dagster_database(tmp_path / "old.duckdb", {**NIGHTS, 3: (CUSTOMERS, [])}, hour=3)
    settings = settings_in(tmp_path / "live")
    monkeypatch.setattr(dagster, "load_settings", lambda: settings)

    assert dagster.main([str(old), "--dry-run", "--time-zone", "Europe/Berlin"]) == 0

    printed = capsys.readouterr().out.splitlines()
    assert printed[-2].startswith("the run of 2026-01-03 02:00:00 UTC is left out")
    assert printed[-1] == (
        "deliveries: 3, the first of 2026-01-01T01:59:59.999955Z, the last of 2026-01-05T01:59:59.999955Z"
    )
    assert not settings.landing_path.parent.exists()


def sql(statement: str) -> Callable[[Path], None]:
    return lambda path: execute(path, statement)


OVERLAP = "update snapshots.snap_account set dbt_valid_to = null where account_id = 'B'"
BAD_INPUTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing": (Path.unlink, "old.duckdb is missing: expected the DuckDB file of the Dagster version"),
    "no DuckDB file": (
        lambda path: path.write_text("AccountID\n" * 999),
        "old.duckdb can't be opened as a DuckDB file",
    ),
    "no snapshot": (
        sql("drop table snapshots.snap_account"),
        "expected one schema with the tables snap_customer and snap_account, found none among the schemas main_source, "
        "snapshots",
    ),
    "no column": (
        sql("alter table snapshots.snap_customer drop has_loan_flag"),
        "snapshots.snap_customer.has_loan_flag: expected BOOLEAN, found no such column",
    ),
    "another type": (
        sql("alter table snapshots.snap_account alter balance_amount type double"),
        r"snapshots.snap_account.balance_amount: expected DECIMAL\(18,2\), found DOUBLE",
    ),
    "overlap": (
        sql(OVERLAP),
        "snap_account: account_id 'B': expected versions that follow one another, found one from 2026-01-01 "
        "01:59:59.999955 to now and another from 2026-01-02",
    ),
    "ends before it begins": (
        sql("update snapshots.snap_customer set dbt_valid_to = '2025-12-31' where dbt_valid_to is null"),
        "snap_customer: customer_id 0: expected versions that follow one another, found one from 2026-01-06",
    ),
    "no key": (sql("update snapshots.snap_account set account_id = null"), "snap_account: account_id None"),
    "nothing in it": (
        sql("delete from snapshots.snap_account"),
        "expected customers and accounts valid at the same time, found none",
    ),
}


@pytest.mark.parametrize("case", BAD_INPUTS)
def test_an_old_database_that_cannot_be_carried_over_is_refused_by_name(case: str, tmp_path: Path) -> None:
    spoil, message = BAD_INPUTS[case]
    old = dagster_database(tmp_path / "old.duckdb")
    spoil(old)
    before = files_in(tmp_path)

    with pytest.raises(MigrationError, match=message):
        migrate(settings_in(tmp_path / "live"), old)

    assert files_in(tmp_path) == before


def test_the_old_database_is_not_taken_for_ours(tmp_path: Path) -> None:
    old = dagster_database(tmp_path / "old.duckdb")
    before = files_in(tmp_path)

    with pytest.raises(MigrationError, match="DUCKDB_PATH is the old database"):
        migrate(settings_in(tmp_path / "live", DUCKDB_PATH=str(old)), old)

    assert files_in(tmp_path) == before


def runs(*events: tuple[float, str]) -> list[float]:
    start = day(5)
    found = runs_of((start + timedelta(seconds=second), kind) for second, kind in events)
    return [(run - start).total_seconds() for _, run in sorted(found.items())]


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        pytest.param([(0, "c begin"), (1, "a begin"), (2, "c end"), (3, "a end")], [0, 0, 0, 0], id="one run"),
        pytest.param([(0, "a begin"), (1, "c begin"), (9, "a begin"), (9.5, "c begin")], [0, 0, 9, 9], id="again"),
        pytest.param([(0, "c begin"), (3601, "a begin")], [0, 3601], id="more than an hour apart"),
    ],
)
def test_a_run_is_what_left_each_kind_of_time_once(events: Iterable[tuple[float, str]], expected: list[float]) -> None:
    assert runs(*events) == expected
