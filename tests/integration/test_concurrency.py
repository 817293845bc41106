"""Two at once: one wins, the other waits or fails with a word that says who is in the way; nothing is mixed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from include import pipeline, turns
from include.dbt.runner import DbtFailed
from include.ledger import Ledger
from include.pipeline import deliver
from include.rebuild import rebuild
from include.settings import PROJECT_ROOT, Settings
from include.warehouse import WarehouseBusy
from tests.support.deliveries import account, customer, day, write_extracts
from tests.support.processes import held_by_another_process
from tests.support.settings import environment_of, settings_in
from tests.support.tables import read_tables

pytestmark = pytest.mark.slow

FIRST_DAY = ([customer("1", has_loan="yes"), customer("2")], [account("A"), account("B", customer_id="2")])
SECOND_DAY = (
    [customer("1", has_loan="no"), customer("2")],
    [account("A"), account("B", customer_id="2", account_type="checking"), account("C", customer_id="2")],
)


@pytest.fixture(scope="module")
def first_day(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    settings = settings_in(tmp_path_factory.mktemp("concurrency") / "live")
    write_extracts(settings.input_path, *FIRST_DAY)
    deliver(settings, logical_date=day(5), run_id="first")
    return settings


def copy_of(settings: Settings, folder: Path) -> Settings:
    shutil.copytree(settings.landing_path.parent, folder, symlinks=True)
    return settings_in(folder)


@pytest.fixture
def settings(first_day: Settings, tmp_path: Path) -> Settings:
    """The first day delivered, the files of the second waiting."""
    settings = copy_of(first_day, tmp_path / "copy")
    write_extracts(settings.input_path, *SECOND_DAY)
    return settings


@pytest.fixture(scope="module")
def alone(first_day: Settings, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """The second day delivered with nobody else about."""
    settings = copy_of(first_day, tmp_path_factory.mktemp("alone") / "copy")
    write_extracts(settings.input_path, *SECOND_DAY)
    deliver(settings, logical_date=day(6), run_id="second")
    return settings


def test_of_two_deliveries_at_once_one_wins_and_the_other_says_so(settings: Settings, alone: Settings) -> None:
    command = [sys.executable, "-m", "include.deliver", "--logical-date", day(6).isoformat()]
    both = [
        subprocess.Popen(
            command,
            cwd=PROJECT_ROOT,
            env=os.environ | environment_of(settings),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    errors = {process.pid: process.communicate()[1].splitlines() for process in both}

    winner, loser = sorted(both, key=lambda process: process.returncode)
    assert (winner.returncode, loser.returncode) == (0, 1), errors
    said = [line for line in errors[loser.pid] if line.startswith("error: ")]
    assert len(said) == 1
    assert f"is locked: process {winner.pid} is running a delivery" in said[0]
    assert [entry.state for entry in Ledger.load(settings.landing_path).entries] == ["processed", "processed"]
    assert read_tables(settings) == read_tables(alone)


def test_beside_a_dag_run_that_is_working_nothing_is_delivered_or_rebuilt(settings: Settings) -> None:
    """tests/unit/test_wait_for_turn.py shows that DAG runs wait for a delivery without Airflow, in turn."""
    ledger = Ledger.load(settings.landing_path)
    turns.take(settings.landing_path, "scheduled__today")

    refused = r"\.turn\.json: the DAG run scheduled__today is working; wait for it to end\. If it was killed, .* remove"
    with pytest.raises(turns.NotItsTurn, match=refused):
        deliver(settings, logical_date=day(6), run_id="second")
    with pytest.raises(turns.NotItsTurn, match=refused):
        rebuild(settings)
    assert Ledger.load(settings.landing_path) == ledger

    turns.release(settings.landing_path, "scheduled__today")
    deliver(settings, logical_date=day(6), run_id="second")


@contextmanager
def let_go_after(seconds: float, holder: subprocess.Popen[str]) -> Iterator[None]:
    timer = threading.Timer(seconds, holder.kill)
    timer.start()
    yield
    timer.cancel()


def test_a_reader_that_lets_go_of_the_database_is_waited_for(settings: Settings, alone: Settings) -> None:
    with held_by_another_process(settings.duckdb_path) as holder, let_go_after(1, holder):
        deliver(settings, logical_date=day(6), run_id="second")

    assert read_tables(settings) == read_tables(alone)


def test_a_reader_that_stays_is_named_and_nothing_has_changed(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    database, ledger = settings.duckdb_path.read_bytes(), Ledger.load(settings.landing_path)
    monkeypatch.setattr("time.sleep", lambda _seconds: None)

    with (
        held_by_another_process(settings.duckdb_path) as holder,
        pytest.raises(WarehouseBusy, match=rf"is locked by another process: .*PID {holder.pid}.*Close it there"),
    ):
        deliver(settings, logical_date=day(6), run_id="second")

    assert settings.duckdb_path.read_bytes() == database
    assert Ledger.load(settings.landing_path) == ledger


def test_a_reader_that_comes_in_the_middle_is_named_and_the_next_run_finishes(
    settings: Settings, alone: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    build = pipeline.build
    holders: list[int] = []

    def build_while_somebody_reads(settings: Settings, *, run_id: str, full_refresh: bool = False) -> None:
        with held_by_another_process(settings.duckdb_path) as holder:
            holders.append(holder.pid)
            build(settings, run_id=run_id, full_refresh=full_refresh)

    with monkeypatch.context() as patch:
        patch.setattr(pipeline, "build", build_while_somebody_reads)
        patch.setattr("time.sleep", lambda _seconds: None)
        with pytest.raises(DbtFailed, match="Could not set lock on file") as error:
            deliver(settings, logical_date=day(6), run_id="second")
    assert f"PID {holders[0]}" in str(error.value)

    deliver(settings, logical_date=day(6), run_id="again")

    assert read_tables(settings) == read_tables(alone)
