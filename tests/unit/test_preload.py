"""The plugin that imports dbt once, in the process that forks the tasks' processes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from include.settings import PROJECT_ROOT
from plugins.preload import forks_tasks


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["/venv/bin/airflow", "scheduler"], True),
        (["/venv/bin/airflow", "scheduler", "--num-runs", "1"], True),
        (["/venv/bin/airflow", "celery", "worker"], True),
        (["/venv/bin/airflow", "celery", "worker", "--concurrency", "2"], True),
        (["/venv/bin/airflow", "celery", "flower"], False),
        (["/venv/bin/airflow", "standalone"], False),
        (["/venv/bin/airflow", "api-server"], False),
        (["/venv/bin/airflow", "dag-processor"], False),
        (["/venv/bin/airflow", "triggerer"], False),
        (["/venv/bin/airflow", "dags", "test", "scheduler"], False),
        (["/venv/bin/airflow"], False),
    ],
)
def test_only_what_forks_tasks_preloads(arguments: list[str], expected: bool) -> None:
    assert forks_tasks(arguments) is expected


@pytest.mark.parametrize(("lazy", "expected"), [("False", "warm"), ("True", "cold")])
def test_a_celery_worker_has_dbt_before_it_forks_if_plugins_are_not_loaded_lazily(
    tmp_path: Path, lazy: str, expected: str
) -> None:
    """A worker asks for no plugin before a task does, in the task's process, which is too late."""
    script = (
        "import sys; sys.argv = ['airflow', 'celery', 'worker', '--help']\n"
        "from airflow.__main__ import main\n"
        "try: main()\n"
        "except SystemExit: print('warm' if 'dbt.task.build' in sys.modules else 'cold')"
    )
    ended = subprocess.run(
        [sys.executable, "-c", script],
        cwd=PROJECT_ROOT,
        env={
            **os.environ,
            "AIRFLOW_HOME": str(tmp_path),
            "AIRFLOW__CORE__PLUGINS_FOLDER": str(PROJECT_ROOT / "plugins"),
            "AIRFLOW__CORE__LAZY_LOAD_PLUGINS": lazy,
        },
        capture_output=True,
        text=True,
        check=True,
    )
    assert ended.stdout.splitlines()[-1] == expected
