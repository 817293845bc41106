"""The DAG under a real scheduler: a backfill, started as anybody would, with one of its tasks killed on the way."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest

from include.ledger import Ledger
from include.pipeline import deliver
from include.settings import PROJECT_ROOT
from tests.support import expected
from tests.support.airflow_home import AirflowHome
from tests.support.deliveries import day
from tests.support.processes import wait_until
from tests.support.settings import settings_in

pytestmark = pytest.mark.slow


def test_a_backfill_makes_the_same_tables_as_day_by_day_whatever_is_killed(tmp_path: Path) -> None:
    """`airflow backfill create` starts all its runs at once; and unpausing the DAG starts that of today beside them."""
    settings = settings_in(tmp_path / "live")
    sample = PROJECT_ROOT / "data" / "inputs"
    settings.input_path.mkdir(parents=True)
    for name in ("2026-01-06", "2026-01-07"):
        (settings.input_path / name).symlink_to(sample / name)
    for name in ("customers.csv", "accounts.csv"):
        (settings.input_path / name).symlink_to(sample / name)
    deliver(settings, logical_date=day(5), run_id="day_5")
    for name in ("customers.csv", "accounts.csv"):
        (settings.input_path / name).unlink()  # so that today's run finds nothing
    airflow = AirflowHome(tmp_path / "airflow", settings)

    def of_backfill(sql: str) -> list[tuple[str, ...]]:
        return airflow.query(f"{sql} where run_id like 'backfill__2026-01-%' order by run_id")

    with airflow.scheduler():
        wait_until(lambda: airflow.query("select 1 from dag where dag_id = 'lc_pipeline'"), seconds=120)
        airflow.call("dags", "unpause", "lc_pipeline").check_returncode()
        days = ("--from-date", "2026-01-06", "--to-date", "2026-01-07T03:00:00")
        airflow.call("backfill", "create", "--dag-id", "lc_pipeline", *days).check_returncode()

        running = "select pid from task_instance where task_id = 'snapshots.snap_account' and state = 'running'"
        wait_until(lambda: airflow.query(running), seconds=240)
        os.kill(airflow.query(running)[0][0], signal.SIGKILL)
        wait_until(
            lambda: {state for (state,) in of_backfill("select state from dag_run")} <= {"success", "failed"},
            seconds=500,
        )

    assert of_backfill("select run_id, state from dag_run") == [
        ("backfill__2026-01-06T02:00:00+00:00", "success"),
        ("backfill__2026-01-07T02:00:00+00:00", "success"),
    ]
    tries = airflow.query("select max(try_number) from task_instance where task_id = 'snapshots.snap_account'")
    assert tries == [(2,)]
    assert [entry.state for entry in Ledger.load(settings.landing_path).entries] == ["processed"] * 3
    assert json.loads((settings.output_path / "manifest.json").read_text())["run_id"].startswith("backfill__2026-01-07")
    for table in expected.TABLES:
        assert expected.actual_rows(settings, table) == expected.expected_rows("2026-01-07", table)
