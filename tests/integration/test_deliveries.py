"""Deliveries end to end in one process, on real dbt and DuckDB: what must hold whatever arrives.

A delivery takes some five seconds, so the tests share played histories and look at them from several sides.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from dbt_common.events.base_types import EventMsg

from include import deliver as cli
from include.dbt.runner import NodeProgress
from include.errors import INTERRUPTED
from include.files import lock
from include.ingestion import IngestionError
from include.ledger import Ledger
from include.pipeline import DeliveryFailed, deliver
from include.preview import main as preview_main
from include.rebuild import rebuild
from include.settings import Settings
from include.turns import alone
from include.warehouse import WarehouseError
from tests.support.databases import execute
from tests.support.deliveries import account, customer, day, write_extracts
from tests.support.processes import error_line
from tests.support.settings import environment_of, settings_in
from tests.support.tables import read_table, read_tables
from tests.support.two_days import FIRST_DAY, break_snapshots

pytestmark = pytest.mark.slow

CUSTOMERS, ACCOUNTS = FIRST_DAY


def play(settings: Settings, number: int, customers: Iterable[str], accounts: Iterable[str]) -> dict[str, Any]:
    """Deliver these files on a day of January; return the report."""
    write_extracts(settings.input_path, customers, accounts)
    path = deliver(settings, logical_date=day(number), run_id=f"day_{number}")
    report: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return report


def copy_of(settings: Settings, folder: Path, **changes: Any) -> Settings:
    """Copy all that a played history has made into another folder, and return the settings for it."""
    shutil.copytree(settings.landing_path.parent, folder, symlinks=True)
    return replace(settings_in(folder), **changes)


@pytest.fixture(scope="module")
def first_day(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """One day played; tests copy it."""
    settings = settings_in(tmp_path_factory.mktemp("history") / "live")
    play(settings, 5, CUSTOMERS, ACCOUNTS)
    return settings


SECOND_DAY = (
    [customer("1", name="Ada", has_loan="no"), CUSTOMERS[1], customer("4", name="Di", has_loan="yes")],
    [
        ACCOUNTS[0],
        account("B", customer_id="2", balance="500.00", account_type="checking"),
        account("E", customer_id="4", balance="20000"),
    ],
)


@pytest.fixture(scope="module")
def second_day(first_day: Settings, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A day more: a flag changes, B stops being savings, C, D and customer 3 vanish, E and customer 4 arrive."""
    settings = copy_of(first_day, tmp_path_factory.mktemp("history") / "two")
    play(settings, 6, *SECOND_DAY)
    return settings


def interest(settings: Settings) -> dict[str, tuple[str, str]]:
    """Return rate and day of calculation of each account."""
    return {row[0]: (row[3], row[6][8:10]) for row in read_table(settings, "account_summary")[1:]}


def test_changes_deletes_and_arrivals_reach_the_marts_and_leave_the_rest_alone(
    first_day: Settings, second_day: Settings
) -> None:
    assert interest(first_day) == {"A": ("0.0150", "05"), "B": ("0.0100", "05"), "D": ("0.0100", "05")}
    assert interest(second_day) == {"A": ("0.0100", "06"), "E": ("0.0250", "06")}


def test_an_unchanged_delivery_a_day_later_makes_no_versions(first_day: Settings, tmp_path: Path) -> None:
    settings = copy_of(first_day, tmp_path / "copy")
    before = read_tables(settings)

    report = play(settings, 6, CUSTOMERS, ACCOUNTS)

    assert read_tables(settings) == before
    assert report["changes"] == [
        {"entity": entity, "new": 0, "changed": 0, "closed": 0, "returned": 0} for entity in ("customer", "account")
    ]


def test_the_same_delivery_again_leaves_every_byte(first_day: Settings, tmp_path: Path) -> None:
    settings = copy_of(first_day, tmp_path / "copy")
    before = settings.duckdb_path.read_bytes()

    report = play(settings, 5, CUSTOMERS, ACCOUNTS)

    assert report["run"]["outcome"] == "unchanged"
    assert settings.duckdb_path.read_bytes() == before


def test_a_key_in_bad_records_alone_keeps_its_version_and_interest(first_day: Settings, tmp_path: Path) -> None:
    settings = copy_of(first_day, tmp_path / "copy", max_quarantine_pct=100.0)

    customers = [customer("1", has_loan="perhaps"), "2", CUSTOMERS[2]]
    accounts = [ACCOUNTS[0], account("B", customer_id="2", balance="-1"), "D"]
    report = play(settings, 6, customers, accounts)

    assert interest(settings) == interest(first_day)
    stale = {entity["entity"]: [key["key"] for key in entity["keys"]] for entity in report["stale_keys"]}
    assert stale == {"customer": ["1", "2"], "account": ["B", "D"]}
    assert report["changes"][0]["closed"] == 0


def test_a_file_that_only_looks_different_makes_no_version_and_no_change(first_day: Settings, tmp_path: Path) -> None:
    settings = copy_of(first_day, tmp_path / "copy")
    history = {table: read_table(settings, table) for table in ("snap_customer", "snap_account", "account_summary")}

    respelt = [[f" {record}\t".upper().replace("YES", "y") for record in records] for records in (CUSTOMERS, ACCOUNTS)]
    report = play(settings, 6, *respelt)

    assert {table: read_table(settings, table) for table in history} == history
    assert [sum(entry[what] for what in ("new", "changed", "closed")) for entry in report["changes"]] == [0, 0]


def test_a_full_refresh_makes_the_same_rows(second_day: Settings, tmp_path: Path) -> None:
    settings = copy_of(second_day, tmp_path / "copy")

    deliver(settings, logical_date=day(6), run_id="refresh", full_refresh=True)

    ignored = ("calculated_at",)
    assert read_tables(settings, without=ignored) == read_tables(second_day, without=ignored)
    assert {calculated for _, calculated in interest(settings).values()} == {"06"}


def test_a_rebuild_from_the_landing_gives_the_same_tables(second_day: Settings, tmp_path: Path) -> None:
    settings = copy_of(second_day, tmp_path / "copy")
    settings.duckdb_path.unlink()

    assert rebuild(settings) == 2
    assert read_tables(settings) == read_tables(second_day)
    assert [path.name for path in settings.duckdb_path.parent.iterdir()] == [settings.duckdb_path.name]


def test_a_rebuild_replaces_a_damaged_database_where_it_really_is(second_day: Settings, tmp_path: Path) -> None:
    settings = copy_of(second_day, tmp_path / "copy")
    database = tmp_path / "volume" / "large.duckdb"
    database.parent.mkdir()
    settings.duckdb_path.replace(database)
    settings.duckdb_path.symlink_to(database)
    os.truncate(database, 20_000)

    rebuild(settings)

    assert settings.duckdb_path.is_symlink()
    assert read_tables(settings) == read_tables(second_day)
    assert list(database.parent.iterdir()) == [database]


def test_a_rebuild_plays_what_another_run_delivered_before_it_got_the_turn(
    first_day: Settings, second_day: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = copy_of(first_day, tmp_path / "copy")

    @contextmanager
    def alone_after_another(landing: Path, doing: str) -> Iterator[None]:
        play(settings, 6, *SECOND_DAY)
        with alone(landing, doing):
            yield

    monkeypatch.setattr("include.rebuild.alone", alone_after_another)

    assert rebuild(settings) == 2
    assert read_tables(settings) == read_tables(second_day)


@pytest.fixture
def ctrl_c() -> Iterator[None]:
    """Let SIGINT interrupt this process, also where a shell runs the tests in the background, and so ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("ctrl_c")
def test_ctrl_c_in_the_middle_is_one_line_and_the_next_run_finishes_the_delivery(
    first_day: Settings,
    second_day: Settings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    settings = copy_of(first_day, tmp_path / "copy")
    write_extracts(settings.input_path, *SECOND_DAY)
    for name, value in environment_of(settings).items():
        monkeypatch.setenv(name, value)
    finished: list[str] = []

    def interrupt_once(_progress: NodeProgress, event: EventMsg) -> None:
        if event.info.name == "NodeFinished":
            finished.append(event.data.node_info.unique_id)
            if len(finished) == 1:
                os.kill(os.getpid(), signal.SIGINT)

    with monkeypatch.context() as patch:
        patch.setattr(NodeProgress, "on_event", interrupt_once)
        assert cli.main(["--logical-date", day(6).isoformat()]) == INTERRUPTED

    assert error_line(capsys.readouterr().err) == "error: interrupted"
    assert Ledger.load(settings.landing_path).unfinished
    play(settings, 6, *SECOND_DAY)
    assert read_tables(settings) == read_tables(second_day)


def test_an_unfinished_delivery_is_finished_before_the_next(
    second_day: Settings, first_day: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = copy_of(first_day, tmp_path / "copy")
    with monkeypatch.context() as patch:
        break_snapshots(settings, patch)
        with pytest.raises(DeliveryFailed):
            play(settings, 6, *SECOND_DAY)
    assert Ledger.load(settings.landing_path).unfinished is not None

    play(settings, 7, *SECOND_DAY)

    assert [entry.state for entry in Ledger.load(settings.landing_path).entries] == ["processed"] * 3
    assert read_tables(settings) == read_tables(second_day)
    reports = {
        report["run"]["run_id"]: report["run"]["outcome"]
        for report in map(json.loads, (path.read_text() for path in settings.data_quality_report_path.glob("*.json")))
    }
    assert reports == {"day_5": "landed", "day_6": "landed", "day_6__finished": "resumed", "day_7": "landed"}


def test_a_correction_takes_back_what_an_unfinished_delivery_had_done(
    first_day: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = copy_of(first_day, tmp_path / "copy")
    with monkeypatch.context() as patch:
        break_snapshots(settings, patch)
        with pytest.raises(DeliveryFailed):
            play(settings, 6, *SECOND_DAY)
    assert any("2026-01-06 02:00:00" in row for row in read_table(settings, "snap_customer"))

    play(settings, 6, [*CUSTOMERS[:2], customer("3", name="Cyrus")], ACCOUNTS)

    versions = {row[:2] + row[5:7] for row in read_table(settings, "snap_customer", without=("dbt_scd_id",))}
    corrected_at = "2026-01-06 02:00:00.000001"
    assert versions - {
        row[:2] + row[5:7] for row in read_table(first_day, "snap_customer", without=("dbt_scd_id",))
    } == {
        ("3", "cy", "2026-01-05 02:00:00", corrected_at),
        ("3", "cyrus", corrected_at, "<null>"),
    }
    played = read_tables(settings)
    rebuild(settings)
    assert read_tables(settings) == played


def test_a_rebuild_lets_an_unfinished_delivery_be_corrected_though_its_checkpoint_is_lost(
    first_day: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    corrected = [*CUSTOMERS[:2], customer("3", name="Cyrus")], ACCOUNTS
    lost, kept = copy_of(first_day, tmp_path / "lost"), copy_of(first_day, tmp_path / "kept")
    for settings in (lost, kept):
        with monkeypatch.context() as patch:
            break_snapshots(settings, patch)
            with pytest.raises(DeliveryFailed):
                play(settings, 6, *SECOND_DAY)
    (checkpoint,) = lost.duckdb_path.parent.glob("*.checkpoint")
    checkpoint.unlink()
    with pytest.raises(WarehouseError, match=r"can't be undone: run `python -m include\.rebuild`"):
        play(lost, 6, *corrected)

    rebuild(lost)

    for settings in (lost, kept):
        play(settings, 6, *corrected)
    assert read_tables(lost) == read_tables(kept)


def test_a_landing_without_its_tables_starts_no_new_history(first_day: Settings, tmp_path: Path) -> None:
    settings = copy_of(first_day, tmp_path / "copy")
    settings.duckdb_path.unlink()

    with pytest.raises(IngestionError, match=r"no history of them: run `python -m include\.rebuild`"):
        play(settings, 6, CUSTOMERS, ACCOUNTS)


def test_tables_without_their_landing_are_not_continued(first_day: Settings, tmp_path: Path) -> None:
    settings = copy_of(first_day, tmp_path / "copy")
    shutil.rmtree(settings.landing_path)

    with pytest.raises(IngestionError, match=r"has history, but .* has no deliveries: is LANDING_PATH"):
        play(settings, 6, CUSTOMERS, ACCOUNTS)


@pytest.mark.parametrize("older", ["duckdb", "landing"])
def test_tables_and_a_landing_from_different_backups_are_refused(
    first_day: Settings, second_day: Settings, tmp_path: Path, older: str
) -> None:
    """Otherwise the next delivery would write versions whose times the landing does not have."""
    settings = copy_of(second_day, tmp_path / "copy")
    shutil.rmtree(tmp_path / "copy" / older)
    shutil.copytree(first_day.landing_path.parent / older, tmp_path / "copy" / older)
    before = read_tables(settings)

    with pytest.raises(IngestionError, match=r"the warehouse does not have the last delivery in .*ledger\.jsonl"):
        play(settings, 7, *SECOND_DAY)

    assert read_tables(settings) == before
    rebuild(settings)
    play(settings, 7, *SECOND_DAY)


@pytest.mark.parametrize("command", [cli.main, preview_main], ids=["deliver", "preview"])
def test_a_command_ends_with_status_1_where_the_report_says_fail(
    first_day: Settings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    command: Callable[[list[str]], int],
) -> None:
    settings = copy_of(first_day, tmp_path / "copy")
    execute(settings.duckdb_path, "delete from main_marts.account_summary")
    for variable, value in environment_of(settings).items():
        monkeypatch.setenv(variable, value)

    assert command(["--logical-date", day(5).isoformat()]) == 1

    assert "error: the quality report's verdict is fail: the balances do not add up" in capsys.readouterr().err


def test_deliver_ends_with_status_1_and_one_line_that_says_why(
    first_day: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = copy_of(first_day, tmp_path / "copy")
    for variable, value in environment_of(settings).items():
        monkeypatch.setenv(variable, value)

    assert cli.main(["--logical-date", "2026-01-04T02:00:00Z"]) == 1

    error = error_line(capsys.readouterr().err)
    assert error.startswith("error: the delivery of 2026-01-04T02:00:00.000000Z is older")


def test_a_second_delivery_at_the_same_time_is_refused_and_told_who_is_first(settings: Settings) -> None:
    write_extracts(settings.input_path, CUSTOMERS, ACCOUNTS)

    with (
        lock(settings.landing_path / ".deliver.lock", "running a delivery (run first)"),
        pytest.raises(Exception, match=r"is running a delivery \(run first\); wait for it to end"),
    ):
        deliver(settings, logical_date=day(5), run_id="second")
    assert not settings.duckdb_path.exists()
