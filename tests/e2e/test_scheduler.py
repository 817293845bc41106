"""The DAG under a real scheduler: runs of every kind beside one another, one of whose tasks is killed on the way."""

from __future__ import annotations

import json
import os
import shutil
import signal
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from include.ledger import Ledger
from include.pipeline import deliver
from include.settings import PROJECT_ROOT
from tests.support import expected
from tests.support.airflow_home import AirflowHome
from tests.support.airflow_process import AirflowProcess
from tests.support.deliveries import day
from tests.support.processes import wait_until
from tests.support.settings import settings_in

SNAPSHOT = "task_id = 'snapshots.snap_account' and state"

pytestmark = pytest.mark.slow


def short(run_id: str) -> str:
    """Return a run's id without the time of day, e.g. scheduled__2026-01-06."""
    return run_id.partition("T")[0]


@pytest.mark.usefixtures("not_across_the_schedule")
def test_runs_of_every_kind_take_turns_whatever_is_started_first_and_whatever_is_killed(tmp_path: Path) -> None:
    """While the DAG is switched off, two manual runs are triggered, the later one first, and a backfill is created.

    Switching it on starts all of them, and with them the scheduled run of the last 02:00. A task of the backfill is
    killed. Its last day's files come again in the runs after it, so that nothing in the tables may change. While
    the first manual run works, the files are taken away, so that the second is refused; a run of a day that has gone
    by is triggered: it is refused, too, and disturbs nobody. Meanwhile `airflow dags test` refuses to start, and an
    earlier one, which was killed, does not come back to life.
    """
    settings = settings_in(tmp_path / "live")
    sample = PROJECT_ROOT / "data" / "inputs"
    settings.input_path.mkdir(parents=True)
    for name in ("2026-01-06", "2026-01-07"):
        (settings.input_path / name).symlink_to(sample / name)
    for name in ("customers.csv", "accounts.csv"):
        shutil.copyfile(sample / name, settings.input_path / name)
    deliver(settings, logical_date=day(5), run_id="day_5")
    for name in ("customers.csv", "accounts.csv"):
        shutil.copyfile(sample / "2026-01-07" / name, settings.input_path / name)
    airflow = AirflowHome(tmp_path / "airflow", settings)

    def trigger(run_id: str, *options: str) -> None:
        airflow.succeed("dags", "trigger", "lc_pipeline", "--run-id", run_id, *options)

    def states() -> dict[str, str]:
        return {short(run_id): state for run_id, state in airflow.query("select run_id, state from dag_run")}

    # Before a scheduler runs: while it writes to SQLite, `backfill create` may end in "database is locked".
    airflow.succeed("dags", "reserialize")
    later = datetime.now(UTC) + timedelta(minutes=3)  # Airflow keeps the tasks back until then
    trigger("later", "--logical-date", later.isoformat())
    trigger("now")
    process = AirflowProcess(airflow.environment)
    process.add_run("killed_dags_test", day(4), user="dag_test")
    process.close()
    days = ("--from-date", "2026-01-06T00:00:00Z", "--to-date", "2026-01-07T03:00:00Z")
    airflow.succeed("backfill", "create", "--dag-id", "lc_pipeline", *days)
    scheduled = f"scheduled__{datetime.now(UTC) - timedelta(hours=2):%Y-%m-%d}"  # for the last 02:00 that is past
    with airflow.scheduler():
        airflow.succeed("dags", "unpause", "lc_pipeline")

        running = f"select pid from task_instance where {SNAPSHOT} = 'running' and run_id like 'backfill__2026-01-06%'"
        wait_until(lambda: airflow.query(running), seconds=1500, every=0.1)  # it runs for less than a second
        os.kill(airflow.query(running)[0][0], signal.SIGKILL)

        half_way = f"select 1 from task_instance where {SNAPSHOT} in ('running', 'success') and run_id = 'now'"
        wait_until(lambda: airflow.query(half_way) or states()["now"] == "failed", seconds=1500)
        for name in ("customers.csv", "accounts.csv"):
            (settings.input_path / name).unlink()
        trigger("of_the_past", "--logical-date", "2026-01-08T02:00:00Z")
        refused = airflow.call("dags", "test", "lc_pipeline", "2026-01-09T02:00:00Z")
        assert refused.returncode == 1
        assert "a scheduler is running, and the DAG is switched on: trigger the DAG instead" in refused.stdout
        wait_until(lambda: set(states().values()) <= {"success", "failed"}, seconds=1500)

        worked = airflow.query(
            "select run_id, min(start_date), max(end_date) from task_instance where task_id not in "
            "('wait_for_turn', 'quality_report') and task_id not like 'assets.%' and state != 'upstream_failed' "
            "group by run_id order by min(start_date)"
        )

    green = ["backfill__2026-01-06", "backfill__2026-01-07", scheduled, "now"]
    red = ["later", "of_the_past", "killed_dags_test"]
    assert states() == dict.fromkeys(green, "success") | dict.fromkeys(red, "failed")
    order = [short(run_id) for run_id, _, _ in worked]
    assert order == [*green, "of_the_past", "later"]
    overlapping = [worked[i : i + 2] for i in range(len(worked) - 1) if worked[i][2] > worked[i + 1][1]]
    assert not overlapping
    killed = airflow.query("select max(try_number) from task_instance where task_id = 'snapshots.snap_account'")
    assert killed == [(2,)]
    ledger = Ledger.load(settings.landing_path)
    assert [(short(entry.run_id), entry.state) for entry in ledger.entries] == [
        (run_id, "processed") for run_id in ("day_5", *green)
    ]
    assert json.loads((settings.output_path / "manifest.json").read_text())["run_id"] == "now"
    logs = [path.read_text(errors="replace") for path in (tmp_path / "airflow" / "logs").rglob("attempt=*.log")]
    assert logs
    assert not [line for log in logs for line in log.splitlines() if "Model node connected to test" in line]
    assert any("`airflow dags test` has started this run, and a scheduler has taken this task" in log for log in logs)
    for table in expected.TABLES:
        assert expected.actual_rows(settings, table) == expected.expected_rows("2026-01-07", table)
