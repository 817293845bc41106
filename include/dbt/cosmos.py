"""The functions that Cosmos calls: to name tasks when the DAG is parsed, and before and after each dbt task.

The DAG file imports this module, so dbt, whose import takes seconds, is imported only when a task runs.
"""

from __future__ import annotations

import gc
import logging
import os
import runpy
import tempfile
from contextlib import suppress
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from threading import Event
from typing import Any

from airflow.sdk import get_parsing_context
from airflow.sdk.exceptions import AirflowFailException
from cosmos.dbt.graph import DbtNode
from cosmos.dbt.runner import get_runner

from include.artifacts import keep_run_results
from include.dbt.manifest import check_manifest, load_in_advance, load_manifest
from include.dbt.runner import environment_of_run, invoke, name_flags_at_once, release_warehouse
from include.layers import LAYERS, Layer
from include.settings import PROJECT_ROOT, load_settings
from include.warehouse import is_rejection


def node_name(node: DbtNode) -> str:
    """Name a task after the dbt node that it builds, so that the task's name leads to the file."""
    return str(node.name)


def layers_to_render() -> tuple[Layer, ...]:
    """Return the layers whose tasks this parse of the DAG file needs: all, or in a dbt task's process only its own.

    Airflow parses the file in each task's process, and rendering the layers takes most of that time (0.1 s). `ingest`
    needs all layers: when it skips the run, it looks up the tasks after it.
    """
    task_id = get_parsing_context().task_id
    if task_id in (None, "ingest"):
        return LAYERS
    return tuple(layer for layer in LAYERS if task_id.startswith(f"{layer}."))


def prepare_task(context: Any, _operator: Any) -> None:
    """Cosmos interceptor, called before each dbt task: pass dbt the environment and the parsed project."""
    settings = load_settings()
    preload(settings.database_type)
    # Cosmos calls OpenLineage for each dbt test, which logs a 5 kB warning for each test that joins two models.
    logging.getLogger("openlineage").setLevel(logging.ERROR)
    # Not operator.env: it is a rendered field, in which the UI would show the token.
    os.environ.update(environment_of_run(settings.connected(), context["run_id"]))
    manifest = load_manifest(settings)
    if find_spec("airflow.providers.openlineage") is None:
        # dbt writes it after each command (0.1 s of a task), and only OpenLineage reads it.
        manifest.write = lambda path: None
    get_runner().manifest = manifest


def collect_run_results(project_dir: str, *, context: Any, **_: Any) -> None:
    """Cosmos callback, called after each dbt task: keep run_results.json and release the warehouse.

    Raises AirflowFailException if a retry would fail again: only data tests failed, or the engine rejected a statement.
    Other errors, such as a locked file or a lost connection, are retried.
    """
    release_warehouse()
    results = keep_run_results(load_settings(), context["run_id"], context["ti"].task_id, Path(project_dir, "target"))
    failed = {result["unique_id"].split(".")[2]: result for result in results if result["status"] == "fail"}
    errors = {result["unique_id"].split(".")[2]: result for result in results if result["status"] == "error"}
    if errors and all(is_rejection(result["message"] or "") for result in errors.values()):
        raise AirflowFailException(f"rejected by the warehouse (not tried again): {', '.join(sorted(errors))}")
    if failed and not errors:
        raise AirflowFailException(f"data tests failed (not tried again): {', '.join(sorted(failed))}")


_warm_up_begun = Event()


def warm_up() -> None:
    """Do what a process does once, at its first task, so that processes forked from this one need not.

    Besides its imports, dbt reads project and profile, and writes its artifacts (1 s). A build of no node does so
    without a thread and without the warehouse. Each node then still needs a few codecs (0.03 s), and compiles a hundred
    macros (0.1 to 0.25 s). The plugins are loaded and the DAG file is run, so that all they import is there (0.05 s).

    A second call does nothing, such as that of the preload plugin where it is loaded here. Without that, the two would
    call each other.

    Raises SettingsError or StaleManifest, or what the DAG file raises.
    """
    if _warm_up_begun.is_set():
        return
    _warm_up_begun.set()
    settings = load_settings()
    preload(settings.database_type)
    from airflow.sdk.listener import get_listener_manager
    from dbt.adapters.factory import get_adapter_class_by_name
    from dbt.artifacts.resources import Hook
    from dbt_common.clients.jinja import template_cache
    from dbt_common.exceptions import CompilationError

    check_manifest()
    manifest = load_manifest(settings)
    with tempfile.TemporaryDirectory() as target:
        invoke(settings, ["build", "--quiet", "--select", "tag:none"], Path(target), manifest=manifest)
    get_adapter_class_by_name(settings.database_type).Relation.create()
    Hook.json_schema()
    for macro in manifest.macros.values():
        with suppress(CompilationError):  # dbt names the macro in the task that calls it
            template_cache.get_node_template(macro)
    load_in_advance(settings)
    get_listener_manager()  # loads the plugins of the task SDK, which shares none with the scheduler
    runpy.run_path(str(PROJECT_ROOT / "dags" / "lc_pipeline.py"))  # last, since it may be broken


@cache
def preload(database_type: str) -> None:
    """Import what the tasks need (2 s), once, and exempt all present objects from garbage collection.

    Cosmos collects garbage after each dbt task. Under `airflow dags test`, where all tasks run in one process, going
    through everything that Airflow and dbt have imported took 0.5 s of each task's 1.4 s.
    """
    dbt = ("dbt.cli.main", "dbt.task.build", f"dbt.adapters.{database_type}.impl", "dbt_common.clients.agate_helper")
    profiles = "cosmos.profiles"  # Cosmos' listener looks up the type of the profile after each task
    lineage = "openlineage.common.provider.dbt.local"  # Cosmos reads dbt's artifacts with it after each command
    for module in (*dbt, profiles, lineage, "include.pipeline", f"include.warehouse.{database_type}"):
        import_module(module)
    name_flags_at_once()
    gc.freeze()
