"""`make run` and `airflow dags test` as commands: what they print at the end, and Ctrl-C."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path

import pytest

from include.ledger import Ledger
from include.pipeline import deliver
from include.settings import PROJECT_ROOT
from tests.support.airflow_home import AirflowHome
from tests.support.deliveries import day
from tests.support.processes import wait_until
from tests.support.settings import settings_in

pytestmark = pytest.mark.slow

MAKE_RUN = [sys.executable, "-m", "scripts.run"]
DAGS_TEST = ["airflow", "dags", "test", "lc_pipeline"]
SAMPLES = str(PROJECT_ROOT / "data" / "inputs")


def test_make_run_that_wrote_no_report_shows_its_log_and_not_the_report_of_an_earlier_run(tmp_path: Path) -> None:
    settings = settings_in(tmp_path / "live", INPUT_PATH=SAMPLES)
    airflow = AirflowHome(tmp_path / "airflow", settings)
    deliver(settings, logical_date=day(5), run_id="earlier")

    ended = subprocess.run(
        [*MAKE_RUN, day(6).isoformat()],
        cwd=PROJECT_ROOT,
        env=airflow.environment | {"MAX_ROW_DROP_PCT": "half"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert ended.returncode == 1
    assert "MAX_ROW_DROP_PCT must be a percentage from 0 to 100, but is 'half'" in ended.stdout
    assert "verdict" not in ended.stdout
    assert "the run failed: see" in ended.stderr


@pytest.mark.parametrize(("command", "status"), [(MAKE_RUN, 130), (DAGS_TEST, -signal.SIGINT)])
def test_ctrl_c_in_a_dbt_task_ends_the_command_and_the_next_run_finishes_the_delivery(
    tmp_path: Path, command: list[str], status: int
) -> None:
    settings = settings_in(tmp_path / "live", INPUT_PATH=SAMPLES)
    airflow = AirflowHome(tmp_path / "airflow", settings)
    running = "select 1 from task_instance where task_id like 'source.%' and state = 'running'"
    with (tmp_path / "output").open("w") as output:
        process = subprocess.Popen(
            [*command, day(5).isoformat()],
            cwd=PROJECT_ROOT,
            env=airflow.environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )
    try:
        wait_until(lambda: airflow.query(running), seconds=600, every=0.1)
        time.sleep(1)  # the first dbt task of a process takes 3 s
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == status
    finally:
        process.kill()

    assert states(settings.landing_path) == [(day(5), "landed")]
    deliver(settings, logical_date=day(6), run_id="next")
    assert states(settings.landing_path) == [(day(5), "processed"), (day(6), "processed")]


def states(landing: Path) -> list[tuple[datetime, str]]:
    return [(entry.logical_date, entry.state) for entry in Ledger.load(landing).entries]
