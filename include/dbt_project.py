"""The dbt project as Airflow and `python -m include.deliver` use it: its manifest, dbt in this process, its results.

Nothing of dbt is imported before it is needed: importing it takes seconds, and the DAG file imports this module.
"""

from __future__ import annotations

import gc
import hashlib
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from include.errors import PipelineError
from include.files import replacing, run_key
from include.layers import LAYERS
from include.settings import PROJECT_ROOT, Settings, load_settings
from include.warehouse import is_rejection

if TYPE_CHECKING:
    from dbt.cli.main import dbtRunnerResult
    from dbt.contracts.graph.manifest import Manifest

DBT_DIR = PROJECT_ROOT / "dbt"
PROFILE = "lc_pipeline"
_NOT_SOURCES = {"target", "logs", "dbt_packages", "__pycache__", "@eaDir"}


class StaleManifest(PipelineError):
    """dbt's manifest is older than the dbt project; the message names the command that builds it."""


class DbtFailed(PipelineError):
    """dbt could not be run at all (as opposed to: it ran, and a node failed)."""


def target_dir() -> Path:
    """Where dbt's artifacts of the project are."""
    return DBT_DIR / "target"


def manifest_path() -> Path:
    """Where the manifest of the project is, once it is built."""
    return target_dir() / "manifest.json"


def _digest_path() -> Path:
    return target_dir() / "manifest.sha256"


def _parsed_dir() -> Path:
    return target_dir() / "parsed"


def sources_digest() -> str:
    """SHA-256 over the path and content of every file of the dbt project, and over dbt's version."""
    digest = hashlib.sha256(version("dbt-core").encode())
    for path in _source_files():
        digest.update(f"\0{path.relative_to(DBT_DIR)}\0".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _source_files() -> list[Path]:
    return sorted(
        Path(folder, name)
        for folder, folders, names in _walk(DBT_DIR)
        for name in names
        if not name.startswith(".") and not name.endswith("~")
    )


def _walk(top: Path) -> Iterator[tuple[str, list[str], list[str]]]:
    for folder, folders, names in os.walk(top):
        folders[:] = [name for name in folders if name not in _NOT_SOURCES and not name.startswith(".")]
        yield folder, folders, names


def check_manifest() -> Path:
    """Return the manifest's path, or raise StaleManifest if it was built from other sources.

    Where there is none yet, it is built (5 s): in a checkout that Airflow is pointed at without `make` or an image's
    build before, as `astro dev start --standalone` does. Raises DbtFailed when the project cannot be parsed.
    """
    built_from = _built_from()
    if built_from is None:
        build_manifest()
    elif built_from != sources_digest():
        raise StaleManifest(f"{manifest_path()} is older than the dbt project in {DBT_DIR}: run `make manifest`")
    return manifest_path()


def _built_from() -> str | None:
    return _digest_path().read_text() if _digest_path().exists() and manifest_path().exists() else None


def build_manifest() -> bool:
    """Build the manifest unless it is up to date; return whether it was built.

    Raises DbtFailed, naming the file, when the project cannot be parsed.
    """
    digest = sources_digest()
    if _built_from() == digest:
        return False
    _digest_path().unlink(missing_ok=True)
    outdated = [path for path in _parsed_dir().glob("*") if path.is_file()]
    parsed = _parse(load_settings())
    for path in outdated:
        if path.stem != parsed.stem:
            path.unlink(missing_ok=True)
    with replacing(manifest_path()) as temporary:
        shutil.copyfile(parsed.with_suffix(".json"), temporary)
    with replacing(_digest_path()) as temporary:
        temporary.write_text(digest)
    return True


def load_manifest(settings: Settings) -> Manifest:
    """Return dbt's parsed project, a new object each time (30 ms), parsing only what was never parsed before (4 s).

    dbt's own partial parsing would start over whenever DUCKDB_PATH, --profile or --target differ in any way from the
    last dbt command in the folder. What a parse really depends on are the sources and the names in the profile, so
    one parse is kept for each of these.
    """
    from dbt.contracts.graph.manifest import Manifest
    from dbt.parser.manifest import extended_mashumuro_decoder

    parsed = _parsed_path(settings)
    if not parsed.exists():
        _parse(settings)
    manifest: Manifest = Manifest.from_msgpack(parsed.read_bytes(), decoder=extended_mashumuro_decoder)
    return manifest


def current_manifest(settings: Settings) -> Path:
    """Return the path of manifest.json as the current sources give it, parsing only what was never parsed before.

    Unlike manifest_path(), from which the DAG is rendered, it can't be missing or stale. Raises DbtFailed.
    """
    parsed = _parsed_path(settings)
    if not parsed.exists():
        _parse(settings)
    return parsed.with_suffix(".json")


def _parsed_path(settings: Settings) -> Path:
    """Where the parse of the current sources for this target, and for the settings that it reads, is kept."""
    databricks = settings.databricks
    depends_on = [sources_digest(), settings.dbt_target, settings.duckdb_path.stem]
    if databricks:
        depends_on += [databricks.catalog, databricks.schema, str(databricks.liquid_clustering)]
    key = hashlib.sha256("\0".join(depends_on).encode()).hexdigest()[:24]
    return _parsed_dir() / f"{key}.msgpack"


def _parse(settings: Settings) -> Path:
    parsed = _parsed_path(settings)
    parsed.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=parsed.parent) as target:
        result = _invoke(settings, ["parse", "--no-partial-parse", "--quiet"], Path(target), manifest=None)
        if not result.success:
            raise DbtFailed(f"dbt could not parse {DBT_DIR}: {result.exception}")
        Path(target, "manifest.json").replace(parsed.with_suffix(".json"))
        Path(target, "partial_parse.msgpack").replace(parsed)
    return parsed


def run_dbt(settings: Settings, args: list[str], *, run_id: str) -> dbtRunnerResult:
    """Run a dbt command in this process and keep its results among the artifacts of run `run_id`.

    `args` are dbt's arguments without the folders, e.g. `["build", "--full-refresh"]`. Environment and working
    directory are as before afterwards, and the warehouse is released. Raises DbtFailed when dbt did not get as far as
    running nodes; failed nodes and tests are in the result, whose `success` is then False.
    """
    with tempfile.TemporaryDirectory() as target:
        manifest = load_manifest(settings)
        result = _invoke(settings.connected(), args, Path(target), manifest=manifest, run_id=run_id)
        if result.exception is not None:
            raise DbtFailed(f"dbt {' '.join(args)}: {result.exception}") from result.exception
        _keep_run_results(Path(target), artifacts_dir(settings, run_id), args[0])
    return result


def _invoke(
    settings: Settings, args: list[str], target: Path, *, manifest: Manifest | None, run_id: str | None = None
) -> dbtRunnerResult:
    from dbt.cli.main import dbtRunner

    folders = ["--project-dir", str(DBT_DIR), "--profiles-dir", str(DBT_DIR), "--target-path", str(target)]
    with _environment(settings.dbt_environment() | (_run_variable(run_id) if run_id else {})):
        try:
            return dbtRunner(manifest=manifest).invoke([*args, *folders, "--log-path", str(DBT_DIR / "logs")])
        finally:
            release_warehouse()


def _run_variable(run_id: str) -> dict[str, str]:
    """What macros/engine/query_comment.sql reads."""
    return {"PIPELINE_RUN": run_key(run_id)}


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables; restore the environment, which dbt writes to, and the working directory."""
    before, folder = dict(os.environ), Path.cwd()
    os.environ.update(variables)
    try:
        yield
    finally:
        os.chdir(folder)
        os.environ.clear()
        os.environ.update(before)


def release_warehouse() -> None:
    """Close what dbt left open in this process.

    dbt-duckdb keeps the file open, and locked, for as long as the process lives; under `airflow dags test` and in
    include.deliver the exports come next in the same process. dbt-databricks' sessions are closed by dbt itself.
    """
    from dbt.adapters.factory import reset_adapters

    reset_adapters()
    if "dbt.adapters.duckdb" not in sys.modules:
        return
    from dbt.adapters.duckdb.connections import DuckDBConnectionManager

    if DuckDBConnectionManager._ENV is not None:
        DuckDBConnectionManager.env().close()
        DuckDBConnectionManager.close_all_connections()


def artifacts_dir(settings: Settings, run_id: str) -> Path:
    """The folder of one run's artifacts (`<task>.run_results.json`, `ingestion.json`), created if it is missing."""
    folder = settings.data_quality_report_path / "artifacts" / run_key(run_id)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _keep_run_results(target: Path, artifacts: Path, name: str) -> dict[str, Any]:
    results = target / "run_results.json"
    if not results.exists():
        return {"results": []}
    with replacing(artifacts / f"{name}.run_results.json") as temporary:
        shutil.copyfile(results, temporary)
    kept: dict[str, Any] = json.loads(results.read_text())
    return kept


@cache
def import_dbt(database_type: str) -> None:
    """Import dbt, its adapter and Cosmos' operators (2 s), once, and exempt what is there now from garbage collection.

    Cosmos collects garbage after each dbt task; where all tasks run in one process, under `airflow dags test`, going
    through everything that Airflow and dbt have imported took 0.5 s of each task's 1.4 s.
    """
    for module in ("cosmos.operators.local", f"dbt.adapters.{database_type}.impl", "dbt.cli.main", "dbt.task.build"):
        import_module(module)
    gc.freeze()


def warm_up() -> None:
    """Do beforehand what a process does once, at its first dbt command: processes forked from this one are spared it.

    Beside the imports that is dbt building its codecs and reading project and profile (1 s). `dbt list` does it without
    a thread and without the warehouse. Raises SettingsError or StaleManifest.
    """
    settings = load_settings()
    import_dbt(settings.database_type)
    check_manifest()
    with tempfile.TemporaryDirectory() as target:
        command = ["list", "--quiet", "--select", "tag:none"]
        _invoke(settings, command, Path(target), manifest=load_manifest(settings))


def prepare_task(context: Any, _operator: Any) -> None:
    """Cosmos interceptor, called before each dbt task: hand dbt the environment and the project parsed beforehand."""
    from cosmos.dbt.runner import get_runner

    settings = load_settings()
    import_dbt(settings.database_type)
    # Not operator.env: it is a rendered field, and the UI would show the token in it.
    os.environ.update(settings.connected().dbt_environment() | _run_variable(context["run_id"]))
    get_runner().manifest = load_manifest(settings)


def collect_run_results(project_dir: str, *, context: Any, **_: Any) -> None:
    """Cosmos callback, called after each dbt task: keep run_results.json and release the warehouse.

    Raises AirflowFailException where it is no use to try again: data tests are all that failed, or the engine rejects a
    statement; unlike a locked file or a lost connection, these stay as they are.
    """
    from airflow.sdk.exceptions import AirflowFailException

    release_warehouse()
    artifacts = artifacts_dir(load_settings(), context["run_id"])
    kept = _keep_run_results(Path(project_dir, "target"), artifacts, context["ti"].task_id)
    failed = {result["unique_id"].split(".")[2]: result for result in kept["results"] if result["status"] == "fail"}
    errors = {result["unique_id"].split(".")[2]: result for result in kept["results"] if result["status"] == "error"}
    if errors and all(is_rejection(result["message"] or "") for result in errors.values()):
        raise AirflowFailException(f"rejected by the warehouse (not tried again): {', '.join(sorted(errors))}")
    if failed and not errors:
        raise AirflowFailException(f"data tests failed (not tried again): {', '.join(sorted(failed))}")


def layer_of_each_test(manifest: Path | None = None) -> dict[str, str]:
    """Map each data test's name to the layer whose task group runs it: the last layer that it reads from.

    Raises ValueError naming a node that carries no layer's tag.
    """
    nodes = json.loads((manifest or manifest_path()).read_text())["nodes"]

    def layer(unique_id: str) -> str:
        for tag in nodes[unique_id]["tags"]:
            if tag in LAYERS:
                return str(tag)
        raise ValueError(
            f"{unique_id} has none of the tags {', '.join(LAYERS)}: give its folder one in dbt_project.yml"
        )

    return {
        node["name"]: max((layer(parent) for parent in node["depends_on"]["nodes"]), key=LAYERS.index)
        for node in nodes.values()
        if node["resource_type"] == "test" and node["depends_on"]["nodes"]
    }


if __name__ == "__main__":
    print("dbt manifest built" if build_manifest() else "dbt manifest is up to date")
