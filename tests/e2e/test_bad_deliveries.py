"""A bad delivery changes nothing but the report that says so, and its DAG run is red."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from include.files import run_key
from include.pipeline import deliver
from include.settings import PROJECT_ROOT
from tests.support.airflow_home import AirflowHome
from tests.support.bad_deliveries import ACCOUNTS, BAD_DELIVERIES, CUSTOMERS, DROP_PCT
from tests.support.deliveries import day, write_extracts
from tests.support.settings import settings_in

pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Refusals:
    """What became of each bad delivery, and all data before the first and after the last."""

    runs: dict[str, dict[str, Any]]
    reports: dict[str, dict[str, Any]]
    before: dict[str, str]
    after: dict[str, str]


def digests(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for name in ("duckdb", "landing", "outputs")
        for path in (folder / name).rglob("*")
        if path.is_file() and path.suffix != ".lock"
    }


@pytest.fixture(scope="module")
def refusals(tmp_path_factory: pytest.TempPathFactory) -> Refusals:
    folder = tmp_path_factory.mktemp("bad")
    settings = settings_in(folder / "live")
    write_extracts(settings.input_path, CUSTOMERS, ACCOUNTS)
    deliver(settings, logical_date=day(5), run_id="good")
    for name, bad in BAD_DELIVERIES.items():
        bad.write(folder / "cases" / name)
    airflow = AirflowHome(folder / "airflow", settings)
    before = digests(folder / "live")
    subprocess.run(
        [sys.executable, "-m", "tests.support.run_bad_deliveries", folder / "results"],
        cwd=PROJECT_ROOT,
        env={**airflow.environment, "INPUT_PATH": str(folder / "cases"), "MAX_ROW_DROP_PCT": DROP_PCT},
        check=True,
    )
    runs = {run["case"]: run for run in map(json.loads, (folder / "results").read_text().splitlines())}
    reports = {}
    for case, run in runs.items():
        (path,) = settings.data_quality_report_path.glob(f"quality_report_*_{run_key(run['run_id'])}.json")
        reports[case] = json.loads(path.read_text())
    return Refusals(runs, reports, before, digests(folder / "live"))


@pytest.mark.parametrize("case", BAD_DELIVERIES)
def test_a_bad_delivery_is_refused_in_words_that_help(refusals: Refusals, case: str) -> None:
    bad, report = BAD_DELIVERIES[case], refusals.reports[case]

    assert re.search(bad.error, report["run"]["error"]), report["run"]["error"]
    assert bad.file in report["run"]["error"] or "has no" in report["run"]["error"]
    assert len(report["run"]["error"]) < 800


@pytest.mark.parametrize("case", BAD_DELIVERIES)
def test_the_run_of_a_bad_delivery_is_red_and_reported(refusals: Refusals, case: str) -> None:
    run, report = refusals.runs[case], refusals.reports[case]

    assert run["state"] == "failed"
    assert run["tasks"]["ingest"] == run["tasks"]["quality_report"] == "failed"
    assert set(run["tasks"].values()) == {"success", "failed", "upstream_failed"}
    assert [task for task, state in run["tasks"].items() if state == "success"] == ["wait_for_turn"]
    assert (report["verdict"], report["run"]["outcome"]) == ("fail", "refused")


def test_bad_deliveries_change_nothing(refusals: Refusals) -> None:
    assert refusals.after == refusals.before


def test_a_dag_run_whose_exports_cannot_be_written_is_red_and_reported(tmp_path: Path) -> None:
    settings = settings_in(tmp_path / "live")
    write_extracts(settings.input_path, CUSTOMERS, ACCOUNTS)
    settings.output_path.touch()

    run = AirflowHome(tmp_path / "airflow", settings).run_dag(day(5))

    assert sorted(task for task, state in run.states.items() if state == "failed") == ["ingest", "quality_report"]
    (path,) = settings.data_quality_report_path.glob("quality_report_*.json")
    report = json.loads(path.read_text())
    assert report["run"]["error"] == f"OUTPUT_PATH can't be written to: {settings.output_path}: Not a directory"
    assert report["verdict"] == "fail"
