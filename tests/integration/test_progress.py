"""What commands show of their work, on a real terminal and without one."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from include.dbt.manifest import manifest_path
from include.settings import PROJECT_ROOT
from tests.support.airflow_home import AirflowHome
from tests.support.deliveries import day
from tests.support.settings import environment_of, settings_in
from tests.support.terminal import run_on_terminal

pytestmark = pytest.mark.slow

DELIVER = [sys.executable, "-m", "include.deliver", "--logical-date"]


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    settings = settings_in(tmp_path_factory.mktemp("live"), INPUT_PATH=str(PROJECT_ROOT / "data" / "inputs"))
    return {**os.environ, **environment_of(settings)}


def test_a_delivery_shows_files_nodes_and_exports_on_a_terminal_and_its_summary_on_stdout(
    environment: dict[str, str],
) -> None:
    ended, shown = run_on_terminal([*DELIVER, day(5).isoformat()], cwd=PROJECT_ROOT, environment=environment)

    assert ended.returncode == 0, shown
    for name in ("ingest", "dbt build", "export", "publish tables", "publish", "quality report"):
        assert name in shown
    nodes = re.findall(r"(\d+) of (\d+) nodes(?:: (\w+))?", shown)
    total = nodes[-1][1]
    assert int(total) > 80
    assert nodes[-1][0] == total
    running = {name for _, _, name in nodes if name}
    manifest = json.loads(manifest_path().read_text(encoding="utf-8"))
    known = [node["name"] for node in (manifest["nodes"] | manifest["exposures"]).values()]
    assert running
    for name in running:  # a long one is cut off
        assert any(node.startswith(name) for node in known), name
    assert ended.stdout.startswith("delivery ")
    assert "verdict    warn" in ended.stdout
    assert "\x1b" not in ended.stdout


def test_a_delivery_without_a_terminal_says_a_line_for_each_step_on_stderr(environment: dict[str, str]) -> None:
    ended = subprocess.run(
        [*DELIVER, day(6).isoformat()], cwd=PROJECT_ROOT, env=environment, capture_output=True, text=True, check=True
    )

    steps = [re.sub(r"(: .*)? \(\d+\.\d s\)$", "", line) for line in ended.stderr.splitlines()]
    assert steps == [
        "parse dbt project",
        "ingest",
        "dbt build",
        "export",
        "publish tables",
        "publish",
        "quality report",
    ]
    assert ended.stdout.startswith("delivery ")


def test_make_run_shows_its_tasks_done_of_all_and_ends_as_the_dag_run_did(tmp_path: Path) -> None:
    airflow = AirflowHome(tmp_path / "airflow", settings_in(tmp_path / "live"))

    ended, shown = run_on_terminal(
        [sys.executable, "-m", "scripts.run", day(6).isoformat()], cwd=PROJECT_ROOT, environment=airflow.environment
    )

    (total,) = airflow.query("select count(*) from task_instance")[0]
    assert ended.returncode == 1  # there are no files
    assert f"2 of {total} tasks" in shown
    for name in ("airflow dags test lc_pipeline", "wait_for_turn", "ingest", "quality_report"):
        assert name in shown
    assert re.search(r"^error .*customers.csv is missing", ended.stdout, re.MULTILINE)
    assert "customers.csv is missing" in (tmp_path / "airflow" / "run.log").read_text()
