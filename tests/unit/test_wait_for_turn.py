"""Whose turn it is, asked of Airflow's own database. tests/e2e/test_scheduler.py shows the same under a scheduler."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from include import turns
from include.files import Locked, lock
from include.quality.report import Report, newest_report
from include.settings import Settings
from tests.support.airflow_home import AirflowHome
from tests.support.airflow_process import AirflowProcess
from tests.support.deliveries import day
from tests.support.settings import settings_in

pytestmark = pytest.mark.slow

GOES_ON, WAITS = "success", "up_for_reschedule"


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """The settings of all tests, except that each one has a landing of its own."""
    return settings_in(tmp_path_factory.mktemp("turns"))


@pytest.fixture(scope="module")
def process(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[AirflowProcess]:
    process = AirflowProcess(AirflowHome(tmp_path_factory.mktemp("home") / "airflow", settings).environment)
    yield process
    process.close()


@pytest.fixture
def landing(tmp_path: Path) -> Path:
    return tmp_path / "landing"


@pytest.fixture
def airflow(process: AirflowProcess, landing: Path) -> AirflowProcess:
    """An Airflow without runs."""
    process.begin(landing)
    return process


def turn_of(airflow: AirflowProcess, run_id: str) -> str:
    return airflow.run_task(run_id, "wait_for_turn")[0]


def test_a_run_that_is_alone_goes_on_and_has_the_turn(airflow: AirflowProcess, landing: Path) -> None:
    airflow.add_run("this", day(6))

    assert turn_of(airflow, "this") == GOES_ON
    assert turns.holder(landing) == "this"


@pytest.mark.parametrize("state", ["running", "queued"])
@pytest.mark.parametrize("type_", ["backfill", "scheduled", "manual"])
@pytest.mark.parametrize("other_type", ["backfill", "scheduled", "manual"])
def test_of_two_active_runs_that_of_the_earlier_delivery_goes_first(
    airflow: AirflowProcess, type_: str, other_type: str, state: str
) -> None:
    airflow.add_run("later", day(7), type_=type_)
    airflow.add_run("earlier", day(6), type_=other_type, state=state)

    assert turn_of(airflow, "later") == WAITS
    assert turn_of(airflow, "earlier") == GOES_ON


def test_without_a_logical_date_the_time_is_run_after_both_ways_round(airflow: AirflowProcess) -> None:
    airflow.add_run("backfill", day(6), type_="backfill", state="queued")
    airflow.add_run("manual", day(7), logical=False)
    airflow.add_run("scheduled", day(8), type_="scheduled")

    assert turn_of(airflow, "manual") == WAITS
    airflow.end_run("backfill")
    assert turn_of(airflow, "scheduled") == WAITS
    assert turn_of(airflow, "manual") == GOES_ON


def test_of_two_runs_at_one_time_one_goes_first(airflow: AirflowProcess) -> None:
    for run_id in ("b", "a"):
        airflow.add_run(run_id, day(6), logical=False)

    assert turn_of(airflow, "b") == WAITS
    assert turn_of(airflow, "a") == GOES_ON


def test_an_earlier_run_waits_for_a_later_one_that_is_working(airflow: AirflowProcess, landing: Path) -> None:
    airflow.add_run("later", day(7))
    assert turn_of(airflow, "later") == GOES_ON
    airflow.add_run("earlier", day(6))

    assert turn_of(airflow, "earlier") == WAITS
    airflow.run_task("later", "quality_report")
    assert turns.holder(landing) is None
    assert turn_of(airflow, "earlier") == GOES_ON


def test_the_log_names_the_run_that_is_waited_for(airflow: AirflowProcess) -> None:
    airflow.add_run("later", day(7))
    airflow.add_run("earlier", day(6), state="queued")

    log = airflow.run_task("later", "wait_for_turn")[1]
    assert log == "waiting for earlier, of 2026-01-06T02:00:00.000000Z, to end"
    turn_of(airflow, "earlier")
    assert airflow.run_task("later", "wait_for_turn")[1] == "waiting for earlier to end"


@pytest.mark.parametrize("state", ["success", "failed"])
def test_a_run_that_has_ended_is_not_waited_for(airflow: AirflowProcess, state: str) -> None:
    """Neither as an earlier one nor as one that has the turn: what is marked by hand does not release it."""
    airflow.add_run("earlier", day(6))
    airflow.add_run("later", day(7))
    assert turn_of(airflow, "earlier") == GOES_ON
    airflow.end_run("earlier", state)

    assert turn_of(airflow, "later") == GOES_ON


def test_a_run_that_was_deleted_is_not_waited_for(airflow: AirflowProcess) -> None:
    airflow.add_run("earlier", day(6))
    airflow.add_run("later", day(7))
    assert turn_of(airflow, "earlier") == GOES_ON
    airflow.delete_run("earlier")

    assert turn_of(airflow, "later") == GOES_ON


def test_a_run_that_is_cleared_gives_its_turn_back_before_it_waits(airflow: AirflowProcess) -> None:
    """Else it and the earlier run would wait for each other."""
    airflow.add_run("later", day(7))
    assert turn_of(airflow, "later") == GOES_ON
    airflow.add_run("earlier", day(6))

    assert turn_of(airflow, "later") == WAITS
    assert turn_of(airflow, "earlier") == GOES_ON


def test_a_killed_dags_test_keeps_nobody_waiting(airflow: AirflowProcess) -> None:
    """Airflow calls it running for ever."""
    airflow.add_run("killed", day(5), user="dag_test")
    airflow.add_run("this", day(6))

    assert turn_of(airflow, "this") == GOES_ON


def test_a_dags_test_keeps_others_away_while_its_process_lives(airflow: AirflowProcess, landing: Path) -> None:
    airflow.add_run("test", day(5), user="dag_test")

    assert turn_of(airflow, "test") == GOES_ON
    with pytest.raises(Locked, match=r"is running a delivery \(run test\)"), turns.alone(landing, "trying"):
        pass
    airflow.run_task("test", "quality_report")
    with turns.alone(landing, "trying"):
        pass


@pytest.mark.parametrize("is_working", [True, False])
def test_a_dags_test_waits_for_no_dag_run_since_no_scheduler_ends_it(
    airflow: AirflowProcess, settings: Settings, landing: Path, is_working: bool
) -> None:
    airflow.add_run("first", day(5))
    if is_working:
        assert turn_of(airflow, "first") == GOES_ON
    run_id = f"test_{is_working}"
    airflow.add_run(run_id, day(6), user="dag_test")

    state, log = airflow.run_task(run_id, "wait_for_turn")
    assert state == "failed"
    assert "the DAG run first" in log
    assert "comes first, and no scheduler works on it now: let one end it (`make ui`" in log
    assert turns.holder(landing) == ("first" if is_working else None)
    airflow.run_task(run_id, "quality_report")
    assert log in Report.load(newest_report(settings.data_quality_report_path)).why


def test_a_delivery_without_airflow_is_waited_for(airflow: AirflowProcess, landing: Path) -> None:
    airflow.add_run("this", day(6))

    with lock(landing / ".deliver.lock", "running a delivery (run by_hand)"):
        state, log = airflow.run_task("this", "wait_for_turn")
        assert state == WAITS
        assert "is running a delivery (run by_hand); wait for it to end" in log
    assert turn_of(airflow, "this") == GOES_ON


@pytest.mark.parametrize("task_id", ["ingest", "snapshots.snap_account", "exports.publish"])
def test_a_task_that_is_cleared_by_itself_fails_while_another_run_works(airflow: AirflowProcess, task_id: str) -> None:
    airflow.add_run("working", day(7))
    airflow.add_run("cleared", day(7) - timedelta(days=1))
    airflow.end_run("cleared")
    assert turn_of(airflow, "working") == GOES_ON

    state, log = airflow.run_task("cleared", task_id)
    assert state == "failed"
    assert "it is the turn of run working, which is working or was killed: clear this run from wait_for_turn on" in log


def test_a_run_that_is_marked_failed_ends_at_once_though_it_has_not_begun(airflow: AirflowProcess) -> None:
    """Airflow would keep it running for pending teardowns, and call it green after them."""
    airflow.add_run("unwanted", day(6))
    assert airflow.mark_failed("unwanted") == "failed"


def test_a_task_that_is_cleared_by_itself_takes_the_turn_of_a_run_that_has_ended(
    airflow: AirflowProcess, landing: Path
) -> None:
    airflow.add_run("ended", day(5))
    assert turn_of(airflow, "ended") == GOES_ON
    airflow.end_run("ended")
    airflow.add_run("cleared", day(6))
    airflow.run_task("cleared", "ingest")  # fails: there are no files

    assert turns.holder(landing) == "cleared"


def test_an_error_while_assets_are_announced_skips_the_task_so_that_the_run_stays_green(
    airflow: AirflowProcess,
) -> None:
    airflow.add_run("unreported", day(6))
    state, log = airflow.run_task("unreported", "assets.exports")
    assert (state, "nothing is announced" in log) == ("skipped", True)


def test_a_run_keeps_its_turn_while_any_of_its_tasks_may_still_work(airflow: AirflowProcess) -> None:
    airflow.add_run("this", day(6))
    while "snapshots.snap_account" not in (tasks := airflow.next_tasks("this")):
        for task_id in tasks:
            airflow.mark_task("this", task_id, "success")
    airflow.mark_task("this", "snapshots.snap_customer", "failed")
    airflow.mark_task("this", "snapshots.snap_account", "running")

    assert airflow.next_tasks("this") == []
    airflow.mark_task("this", "snapshots.snap_account", "success")
    assert airflow.next_tasks("this") == ["quality_report"]


@pytest.mark.parametrize(("task_id", "is_named"), [("assets.exports", False), ("marts.tests", True)])
def test_the_report_looks_for_failures_before_it_and_not_after_it(
    airflow: AirflowProcess, task_id: str, is_named: bool
) -> None:
    """If it is cleared alone, the tasks after it are still upstream_failed."""
    airflow.add_run("again", day(6))
    airflow.mark_task("again", task_id, "upstream_failed")
    _, log = airflow.run_task("again", "quality_report")
    assert (f"the run has failed tasks: {task_id}" in log) is is_named


def test_a_run_whose_ingest_was_marked_by_hand_publishes_nothing_and_says_so(airflow: AirflowProcess) -> None:
    airflow.add_run("marked", day(6))
    state, log = airflow.run_task("marked", "exports.publish")
    assert state == "failed"
    assert "run marked has landed no delivery: clear the run from wait_for_turn on" in log


def test_a_task_that_is_cleared_by_itself_takes_the_turn_that_nobody_has(
    airflow: AirflowProcess, landing: Path
) -> None:
    airflow.add_run("cleared", day(6))
    airflow.run_task("cleared", "ingest")  # fails: there are no files

    assert turns.holder(landing) == "cleared"
