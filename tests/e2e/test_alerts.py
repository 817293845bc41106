"""Mails of real runs, under `airflow dags test` and under a scheduler, sent to a real mail server."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from include.settings import PROJECT_ROOT
from include.turns import alone
from tests.support.airflow_home import AirflowHome
from tests.support.airflow_process import AirflowProcess
from tests.support.deliveries import day
from tests.support.mail import body, mail_server
from tests.support.processes import wait_until
from tests.support.settings import settings_in

pytestmark = pytest.mark.slow

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


@pytest.mark.usefixtures("not_across_the_schedule")
def test_a_scheduler_sends_one_mail_for_each_thing_that_happens(tmp_path: Path) -> None:
    """Today's scheduled run begins after its deadline, and waits while somebody works by hand. Then it has no files and
    is refused, and refused again when it is cleared; with the files it is cleared once more, and publishes."""
    settings = settings_in(tmp_path / "live")
    airflow = AirflowHome(tmp_path / "airflow", settings)
    with mail_server() as mail:
        process = AirflowProcess(airflow.environment)
        process.begin(settings.landing_path)
        two_days_ago = datetime.now(UTC).replace(hour=2, minute=0, second=0, microsecond=0) - timedelta(days=2)
        process.add_run(
            "first", two_days_ago, type_="scheduled", state="success"
        )  # or today's would not be made up for
        process.close()
        airflow.environment |= {"ALERT_EMAIL": "ada@example.com", "DELIVERY_DEADLINE": "02:01", **mail.environment}

        def has_ended(state: str) -> bool:
            return bool(airflow.query(f"select 1 from dag_run where run_id != 'first' and state = '{state}'"))

        def clear() -> None:
            """Clear the run, so that it begins again with its first task."""
            later = (two_days_ago + timedelta(hours=1)).isoformat()
            airflow.succeed("tasks", "clear", "lc_pipeline", "--start-date", later, "--yes")
            assert not has_ended("failed")

        with airflow.scheduler():
            # The DAG was kept without a deadline above: a run that begins before it is read again would have none.
            wait_until(lambda: airflow.query("select 1 from deadline_alert"), seconds=300)
            with alone(settings.landing_path, "working by hand"):
                airflow.succeed("dags", "unpause", "lc_pipeline")
                wait_until(lambda: mail.subjects, seconds=900)
            wait_until(lambda: has_ended("failed"), seconds=900)
            assert mail.subjects == [LATE, REFUSED]

            clear()
            wait_until(lambda: has_ended("failed"), seconds=900)
            assert mail.subjects == [LATE, REFUSED]

            settings.input_path.mkdir(parents=True)
            for name in ("customers.csv", "accounts.csv"):
                shutil.copyfile(PROJECT_ROOT / "data" / "inputs" / name, settings.input_path / name)
            clear()
            wait_until(lambda: has_ended("success"), seconds=1800)

    assert mail.subjects == [LATE, REFUSED, GOOD_AGAIN]
    assert "was not published by 02:01 UTC" in body(mail.messages[0])
    logs = [path.read_text() for path in (tmp_path / "airflow" / "logs").glob("dag_processor/**/*.log")]
    assert any("has sent its message: refused" in log for log in logs), "the DAG's callback was not called"
