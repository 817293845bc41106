"""Runs dbt in this process with the settings' environment, keeps its results, and releases the warehouse.

The DAG file imports this module, so dbt, whose import takes seconds, is imported only when it is run.
"""

from __future__ import annotations

import gc
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from include.artifacts import RUN_RESULTS, keep_run_results
from include.errors import PipelineError
from include.files import run_key
from include.settings import PROJECT_ROOT, Settings

if TYPE_CHECKING:
    from dbt.cli.main import dbtRunnerResult
    from dbt.contracts.graph.manifest import Manifest
    from dbt_common.events.base_types import EventMsg

    from include.progress import Update

DBT_DIR = PROJECT_ROOT / "dbt"
PROFILE = "lc_pipeline"

NO_LOG_FILE = ("--log-level-file", "none")
"""A global flag. Writing each statement into dbt's own log takes a tenth of a small delivery."""

NO_UNIT_TESTS = ("--exclude-resource-type", "unit_test")
"""Unit tests check the code and not the day's data; `make test` runs them."""


def collect_garbage_less_often() -> None:
    """Let Python look less often through Airflow's and dbt's many objects, which live as long as the process.

    That takes a twentieth of one delivery or of `airflow dags test`, and a tenth of many deliveries in one process.
    """
    gc.set_threshold(2000, 10, 100)


def name_flags_at_once() -> None:
    """Give dbt the module of its behavior flags, so that it doesn't search the stack for it.

    It would read the whole stack for each flag: at least 0.04 s of a task on DuckDB, and Databricks has four times as
    many flags.
    """
    from dbt_common.behavior_flags import BehaviorFlagRendered

    BehaviorFlagRendered._default_source = staticmethod(lambda: "dbt.adapters.base.impl")  # type: ignore[method-assign]


class DbtFailed(PipelineError):
    """dbt could not run at all. (If it runs and a node fails, that is in the result.)"""


class NodeProgress:
    """Shows from dbt's events how many nodes of a command are done, and which are running."""

    def __init__(self, update: Update) -> None:
        self._update = update
        self._total = 0
        self._running: dict[str, str] = {}
        self._done: set[str] = set()

    def on_event(self, event: EventMsg) -> None:
        """Handle an event. dbt calls this in each of its threads."""
        kind = event.info.name
        if kind == "ConcurrencyLine":
            self._total = event.data.node_count
        elif kind == "NodeStart":
            self._running[event.data.node_info.unique_id] = event.data.node_info.node_name
        elif kind == "NodeFinished":
            self._running.pop(event.data.node_info.unique_id, None)
            self._done.add(event.data.node_info.unique_id)
        else:
            return
        running = ", ".join(list(self._running.values()))
        done = f"{len(self._done)} of {self._total} nodes"
        self._update(f"{done}: {running}" if running else done, len(self._done), self._total)


def run_dbt(
    settings: Settings,
    args: list[str],
    *,
    manifest: Manifest,
    run_id: str,
    on_event: Callable[[EventMsg], None] | None = None,
) -> dbtRunnerResult:
    """Run a dbt command and keep its results among the artifacts of run `run_id`.

    `args` are dbt's arguments without the folders, e.g. `["build", "--full-refresh"]`; `manifest` is the parsed project
    from include.dbt.manifest; `on_event` is called with each of dbt's events. Raises DbtFailed if dbt did not get as
    far as running nodes. Failed nodes and tests are in the result, whose `success` is then False.
    """
    # Only the results are needed, which say what failed. dbt would write its messages (a twentieth of a small delivery)
    # and its manifest (half a second).
    command = [*NO_LOG_FILE, "--log-level", "none", "--no-write-json", *args]
    with tempfile.TemporaryDirectory() as target:
        result = invoke(
            settings.connected(), command, Path(target), manifest=manifest, run_id=run_id, on_event=on_event
        )
        if isinstance(result.exception, KeyboardInterrupt):
            raise result.exception
        if result.exception is not None:
            raise DbtFailed(f"dbt {' '.join(args)}: {result.exception}") from result.exception
        result.result.write(str(Path(target, RUN_RESULTS)))
        keep_run_results(settings, run_id, args[0], Path(target))
    return result


def invoke(
    settings: Settings,
    args: list[str],
    target: Path,
    *,
    manifest: Manifest | None = None,
    run_id: str = "",
    on_event: Callable[[EventMsg], None] | None = None,
) -> dbtRunnerResult:
    """Run a dbt command that writes its artifacts to `target`, and return its result.

    Afterwards the environment and the working directory are restored and the warehouse is released, also on failure.
    """
    from dbt.cli.main import dbtRunner

    name_flags_at_once()
    folders = ["--project-dir", str(DBT_DIR), "--profiles-dir", str(DBT_DIR), "--target-path", str(target)]
    with _environment(environment_of_run(settings, run_id)):
        try:
            runner = dbtRunner(manifest=manifest, callbacks=[on_event] if on_event else [])
            return runner.invoke([*args, *folders, "--log-path", str(DBT_DIR / "logs")])
        finally:
            release_warehouse()


def environment_of_run(settings: Settings, run_id: str) -> dict[str, str]:
    """Return the variables that dbt reads: the settings, and the run id for the query comment."""
    return settings.dbt_environment() | ({"PIPELINE_RUN": run_key(run_id)} if run_id else {})


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables for the body; then restore the environment, which dbt changes, and the directory."""
    before, folder = dict(os.environ), Path.cwd()
    os.environ.update(variables)
    try:
        yield
    finally:
        os.chdir(folder)
        os.environ.clear()
        os.environ.update(before)


def release_warehouse() -> None:
    """Close what dbt left open in this process, and drop what would pile up in it.

    dbt-duckdb keeps the file open and locked as long as the process lives, but under `airflow dags test` and in
    include.deliver the exports follow in the same process. dbt closes dbt-databricks' sessions itself.
    """
    from dbt.adapters.factory import reset_adapters

    reset_adapters()
    _drop_repeated_flags()
    if "dbt.adapters.duckdb" not in sys.modules:
        return
    from dbt.adapters.duckdb.connections import DuckDBConnectionManager

    if DuckDBConnectionManager._ENV is not None:
        DuckDBConnectionManager.env().close()
        DuckDBConnectionManager.close_all_connections()


def _drop_repeated_flags() -> None:
    """Keep one behavior flag of each name.

    Each adapter appends its own flags to a list that all adapters of the process share.
    """
    from dbt.adapters.base import impl

    flags = impl.DEFAULT_BASE_BEHAVIOR_FLAGS
    flags[:] = {flag["name"]: flag for flag in flags}.values()
