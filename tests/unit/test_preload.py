"""The plugin that imports dbt once, in the process that forks the tasks' processes."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from pathlib import Path

import pytest

from include.settings import PROJECT_ROOT
from plugins.preload import PreloadPlugin, forks_tasks


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


@pytest.mark.parametrize(("command", "seldom"), [("test", True), ("list", False)])
def test_airflow_dags_test_collects_garbage_less_often(
    command: str, seldom: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = (700, 10, 10)
    before = gc.get_threshold()
    gc.set_threshold(*usual)
    monkeypatch.setattr(sys, "argv", ["/venv/bin/airflow", "dags", command, "lc_pipeline"])
    try:
        PreloadPlugin.on_load()
        assert (gc.get_threshold() > usual) is seldom
    finally:
        gc.set_threshold(*before)


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


def test_what_a_task_needs_is_loaded_before_its_process_is_forked(tmp_path: Path) -> None:
    """Airflow's task SDK shares no plugins with the scheduler, so they are loaded a second time.

    A macro that can't be compiled changes nothing: dbt reads it, and nobody may call it.
    """
    script = """
import runpy
import sys
from dataclasses import replace
sys.argv = ["airflow", "scheduler"]
from airflow.listeners.listener import get_listener_manager as in_scheduler
from airflow.sdk.listener import get_listener_manager as in_task
from include.dbt import cosmos

def show_files(settings, command, target, **options):
    invoke(settings, command, target, **options)
    print("written", *(name for name in ("manifest.json", "run_results.json") if (target / name).exists()))

def load_with_broken_macro(settings):
    manifest = load_manifest(settings)
    some = next(iter(manifest.macros.values()))
    broken = replace(some, macro_sql="{% macro broken(x) %}{{ x | unknown }}{% endmacro %}")
    manifest.macros = {"macro.lc_pipeline.broken": broken, **manifest.macros}
    return manifest

load_manifest, cosmos.load_manifest = cosmos.load_manifest, load_with_broken_macro
invoke, cosmos.invoke = cosmos.invoke, show_files
in_scheduler()
loaded = set(sys.modules)
print("lineage imported", "openlineage.common.provider.dbt.local" in loaded)
print("plugins loaded", in_task.cache_info().currsize == 1)
runpy.run_path("dags/lc_pipeline.py")
print("the DAG file imports", *(set(sys.modules) - loaded))

from dbt_common.clients.jinja import template_cache
from include.dbt import manifest
from include.settings import load_settings
manifest._load = lambda parsed: sys.exit(f"{parsed} is read once more")
macros = load_manifest(load_settings()).macros.values()
print("macros compiled", {macro.macro_sql for macro in macros} <= set(template_cache.file_cache))
"""
    ended = subprocess.run(
        [sys.executable, "-c", script],
        cwd=PROJECT_ROOT,
        env={**os.environ, "AIRFLOW_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    shown = [
        line
        for line in ended.stdout.splitlines()
        if line.startswith(("written", "lineage", "plugins", "the DAG", "macros"))
    ]
    assert shown == [
        "written manifest.json run_results.json",
        "lineage imported True",
        "plugins loaded True",
        "the DAG file imports",
        "macros compiled True",
    ]


def test_a_broken_dag_file_is_one_line_and_leaves_dbt_warm(tmp_path: Path) -> None:
    dags = tmp_path / "dags"
    dags.mkdir()
    (dags / "lc_pipeline.py").write_text("raise RuntimeError('half a change')\n")
    script = """
import sys
from pathlib import Path
from airflow.listeners.listener import get_listener_manager as in_scheduler
from include.dbt import cosmos, manifest

cosmos.PROJECT_ROOT = Path(sys.argv[1])
sys.argv = ["airflow", "scheduler"]
in_scheduler()
print("manifests in advance:", len(manifest._in_advance))
"""
    ended = subprocess.run(
        [sys.executable, "-c", script, tmp_path],
        cwd=PROJECT_ROOT,
        env={**os.environ, "AIRFLOW_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "not all is loaded before tasks are forked: half a change" in ended.stdout
    assert "Traceback" not in ended.stdout
    assert ended.stdout.splitlines()[-1] == "manifests in advance: 1"
