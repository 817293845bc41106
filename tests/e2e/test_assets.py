"""What the DAG says of its assets, and the example DAG of the documentation that waits for one of them."""

from __future__ import annotations

import hashlib
import json
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from include.ledger import time_text
from include.quality.report import Report
from include.settings import PROJECT_ROOT
from tests.support.airflow_home import AirflowHome
from tests.support.processes import wait_until
from tests.support.settings import settings_in
from tests.support.stages import DAYS, Stage

STEPS = ("extracts", "snapshots", "marts", "exports")
FILES = tuple(f"{mart}.{format_}" for mart in ("account_summary", "customer_profile") for format_ in ("csv", "parquet"))
EXTRACTS_AND_TABLES = (
    "customers.csv",
    "accounts.csv",
    "snap_customer",
    "snap_account",
    "account_summary",
    "customer_profile",
)

pytestmark = pytest.mark.slow


def run_of(stage: Stage) -> Any:
    assert stage.run
    return stage.run


@pytest.mark.parametrize("name", DAYS)
def test_a_green_run_says_of_each_asset_whose_it_is_and_what_the_verdict_is(
    dag_stages: dict[str, Stage], name: str
) -> None:
    stage = dag_stages[name]
    report = Report.load(stage.newest_report)
    events = run_of(stage).events

    assert events.keys() == {*EXTRACTS_AND_TABLES, *FILES}
    for asset, event in events.items():
        assert event["verdict"] == report.verdict, asset
        assert event["run_id"] == report.run.run_id, asset
        assert event["delivered_at"] == time_text(DAYS[name]), asset
        assert event["report"] == stage.newest_report.name, asset
        assert "why" in event, asset


def test_events_have_rows_and_hashes_of_what_is_there(dag_stages: dict[str, Stage]) -> None:
    stage = dag_stages["2026-01-07"]
    events = run_of(stage).events

    received = {name: stage.settings.input_path / "2026-01-07" / name for name in ("customers.csv", "accounts.csv")}
    exported = {name: stage.settings.output_path / name for name in FILES}
    for name, path in (received | exported).items():
        assert events[name]["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest(), name
        assert events[name]["bytes"] == path.stat().st_size, name
    lines = exported["account_summary.csv"].read_text().count("\n") - 1
    assert {events[name]["rows"] for name in ("account_summary", "account_summary.csv", "account_summary.parquet")} == {
        lines
    }
    assert events["snap_customer"]["rows"] > events["snap_customer"]["current_rows"] > 0


@pytest.mark.parametrize("name", ["refused", "broken"])
def test_a_red_run_says_nothing_of_any_asset(dag_stages: dict[str, Stage], name: str) -> None:
    run = run_of(dag_stages[name])

    assert not run.succeeded
    assert run.events == {}
    assert {step: run.states[f"assets.{step}"] for step in STEPS} == dict.fromkeys(STEPS, "upstream_failed")


def ask(address: str, path: str, body: dict[str, Any] | None = None) -> Any:
    request = urllib.request.Request(
        f"{address}/api/v2/{path}", body and json.dumps(body).encode(), {"content-type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.loads(answer.read())


def test_the_example_goes_on_only_if_the_verdict_allows_it(tmp_path: Path) -> None:
    airflow = AirflowHome(tmp_path / "airflow", settings_in(tmp_path))
    airflow.environment |= {
        "AIRFLOW__CORE__DAGS_FOLDER": str(PROJECT_ROOT / "docs" / "examples"),
        "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
    }
    states: dict[str, dict[str, str]] = {}
    with airflow.scheduler() as address:
        wait_until(lambda: airflow.query("select 1 from asset_active where name = 'account_summary'"), seconds=900)
        wait_until(lambda: airflow.call("dags", "list", "-o", "plain").returncode == 0, seconds=300)
        (asset,) = airflow.query("select id from asset where name = 'account_summary'")
        ended = "select run_id from dag_run where state = 'success' order by id"
        for number, verdict in enumerate(("pass", "fail", "warn"), start=1):
            news = {"verdict": verdict, "why": "", "report": "", "delivered_at": "2026-01-05T02:00:00Z", "rows": 9}
            ask(address, "assets/events", {"asset_id": asset[0], "extra": news})
            wait_until(lambda number=number: len(airflow.query(ended)) == number, seconds=900)  # type: ignore[misc]
            run_id = airflow.query(ended)[-1][0]
            states[verdict] = dict(airflow.query(f"select task_id, state from task_instance where run_id = '{run_id}'"))

    assert states == {
        verdict: {"verdict_allows": "success", "use_it": state}
        for verdict, state in {"pass": "success", "fail": "skipped", "warn": "success"}.items()
    }
