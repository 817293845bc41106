"""Mails of real runs, under `airflow dags test` and under a scheduler, sent to a real mail server."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from include.settings import PROJECT_ROOT
from tests.support.airflow_home import AirflowHome
from tests.support.airflow_process import AirflowProcess
from tests.support.deliveries import day
from tests.support.mail import body, mail_server
from tests.support.processes import wait_until
from tests.support.settings import settings_in

pytestmark = pytest.mark.slow

SAMPLE = PROJECT_ROOT / "data" / "inputs"
FILES = ("customers.csv", "accounts.csv")

REFUSED = "lc_pipeline refused a delivery"
GOOD_AGAIN = "lc_pipeline is good again"
LATE = "lc_pipeline is late"


def test_airflow_dags_test_of_a_refused_delivery_is_red_and_sends_one_mail(tmp_path: Path) -> None:
    airflow = AirflowHome(tmp_path / "airflow", settings_in(tmp_path / "live"))
    with mail_server() as mail:
        airflow.environment |= {"ALERT_EMAIL": "ada@example.com", **mail.environment}
        run = airflow.run_dag(day(6))

    assert not run.succeeded
    assert mail.subjects == [REFUSED]
    assert "customers.csv is missing" in body(mail.messages[0])


def test_a_scheduler_sends_one_mail_for_each_thing_that_happens(tmp_path: Path) -> None:
    """Today's scheduled run begins after its deadline, and publishes in the end. Then a run without files is refused,
    and refused again when it is cleared; with the files it is cleared once more, and publishes."""
    settings = settings_in(tmp_path / "live")
    settings.input_path.mkdir(parents=True)
    for name in FILES:
        shutil.copyfile(SAMPLE / name, settings.input_path / name)
    airflow = AirflowHome(tmp_path / "airflow", settings)

    def states() -> dict[str, str]:
        return dict(airflow.query("select run_id, state from dag_run"))

    def clear(run_id: str) -> None:
        airflow.call("tasks", "clear", "lc_pipeline", "--run-id", run_id, "--yes").check_returncode()

    with mail_server() as mail:
        process = AirflowProcess(airflow.environment)
        process.begin(settings.landing_path)
        two_days_ago = datetime.now(UTC).replace(hour=2, minute=0, second=0, microsecond=0) - timedelta(days=2)
        process.add_run(
            "first", two_days_ago, type_="scheduled", state="success"
        )  # or today's would not be made up for
        process.close()
        airflow.environment |= {"ALERT_EMAIL": "ada@example.com", "DELIVERY_DEADLINE": "02:01", **mail.environment}

        with airflow.scheduler():
            airflow.call("dags", "unpause", "lc_pipeline").check_returncode()
            wait_until(lambda: mail.subjects == [LATE], seconds=600)
            wait_until(lambda: set(states().values()) == {"success"} and len(states()) == 2, seconds=600)
            assert mail.subjects == [LATE, GOOD_AGAIN]

            for name in FILES:
                (settings.input_path / name).rename(settings.input_path / f"{name}.away")
            airflow.call("dags", "trigger", "lc_pipeline", "--run-id", "by_hand").check_returncode()
            wait_until(lambda: states().get("by_hand") == "failed", seconds=600)
            clear("by_hand")
            assert states()["by_hand"] != "failed"
            wait_until(lambda: states()["by_hand"] == "failed", seconds=600)
            assert mail.subjects == [LATE, GOOD_AGAIN, REFUSED]

            for name in FILES:
                (settings.input_path / f"{name}.away").rename(settings.input_path / name)
            clear("by_hand")
            wait_until(lambda: states()["by_hand"] == "success", seconds=600)
            # Its deadline, a minute after its logical date, is past by now; but nobody waits for a manual run.
            missed = "select count(*) from deadline where missed"
            wait_until(lambda: airflow.query(missed) == [(2,)], seconds=120)
            done = "select count(*) from callback where state = 'success'"
            wait_until(lambda: airflow.query(done) == [(2,)], seconds=120)

    assert mail.subjects == [LATE, GOOD_AGAIN, REFUSED, GOOD_AGAIN]
    assert "was not published by 02:01 UTC" in body(mail.messages[0])
    logs = [path.read_text() for path in (tmp_path / "airflow" / "logs").glob("dag_processor/**/*.log")]
    assert any("run by_hand has sent its message: refused" in log for log in logs), "the DAG's callback was not called"
