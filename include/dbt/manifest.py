"""dbt's manifest: the parsed project, from which the DAG is rendered. `python -m include.dbt.manifest` builds it.

The DAG file imports this module, so dbt, whose import takes seconds, is imported only to parse or load the project.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from include.dbt import runner
from include.dbt.runner import DbtFailed
from include.errors import PipelineError
from include.files import replacing
from include.layers import LAYERS, Layer
from include.settings import Settings, load_settings

if TYPE_CHECKING:
    from dbt.contracts.graph.manifest import Manifest

_in_advance: dict[Path, Manifest] = {}
"""Manifests that load_in_advance() has loaded, by where they are stored."""

_NOT_SOURCES = {"target", "logs", "dbt_packages", "__pycache__", "@eaDir"}


class StaleManifest(PipelineError):
    """dbt's manifest is older than the dbt project. The message names the command that builds it."""


def target_dir() -> Path:
    """Return the folder of the project's dbt artifacts."""
    return runner.DBT_DIR / "target"


def manifest_path() -> Path:
    """Return the path of the project's manifest, which may not exist yet."""
    return target_dir() / "manifest.json"


def _digest_path() -> Path:
    return target_dir() / "manifest.sha256"


def _parsed_dir() -> Path:
    return target_dir() / "parsed"


def sources_digest() -> str:
    """Return the SHA-256 over the path and content of every file of the dbt project, and over dbt's version."""
    digest = hashlib.sha256(_dbt_version().encode())
    for path in _source_files():
        digest.update(f"\0{path.relative_to(runner.DBT_DIR)}\0".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


@cache
def _dbt_version() -> str:
    return version("dbt-core")  # it searches all folders of installed packages


def _source_files() -> list[Path]:
    return sorted(
        Path(folder, name)
        for folder, folders, names in _walk(runner.DBT_DIR)
        for name in names
        if not name.startswith(".") and not name.endswith("~")
    )


def _walk(top: Path) -> Iterator[tuple[str, list[str], list[str]]]:
    for folder, folders, names in os.walk(top):
        folders[:] = [name for name in folders if name not in _NOT_SOURCES and not name.startswith(".")]
        yield folder, folders, names


def check_manifest() -> Path:
    """Return the manifest's path, or raise StaleManifest if it was built from other sources.

    If there is none yet, build it (5 s). That happens in a checkout that Airflow uses without `make` or an image build,
    for example with `astro dev start --standalone`. Raises DbtFailed if the project can't be parsed.
    """
    built_from = _built_from()
    if built_from is None:
        build_manifest()
    elif built_from != sources_digest():
        raise StaleManifest(f"{manifest_path()} is older than the dbt project in {runner.DBT_DIR}: run `make manifest`")
    return manifest_path()


def _built_from() -> str | None:
    return _digest_path().read_text() if _digest_path().exists() and manifest_path().exists() else None


def build_manifest() -> bool:
    """Build the manifest unless it is up to date; return True if it was built.

    Raises DbtFailed, which names the file, if the project can't be parsed.
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
    """Return dbt's parsed project, a new object each time (30 ms); parse it if it is not stored yet (4 s).

    dbt's own partial parsing would start over whenever DUCKDB_PATH, --profile or --target differ in any way from the
    last dbt command in the folder. A parse really depends only on the sources and the names in the profile, so one
    parse is stored for each combination.
    """
    parsed = _parsed(settings)
    return _in_advance.pop(parsed, None) or _load(parsed)


def load_in_advance(settings: Settings) -> None:
    """Load the manifest that the next load_manifest(), here or in each process forked from this one, returns."""
    parsed = _parsed(settings)
    _in_advance[parsed] = _load(parsed)


def _load(parsed: Path) -> Manifest:
    from dbt.contracts.graph.manifest import Manifest
    from dbt.parser.manifest import extended_mashumuro_decoder

    manifest: Manifest = Manifest.from_msgpack(parsed.read_bytes(), decoder=extended_mashumuro_decoder)
    return manifest


def current_manifest(settings: Settings) -> Path:
    """Return the path of the manifest.json of the current sources; parse them if the result is not stored yet.

    Unlike manifest_path(), from which the DAG is rendered, it can't be missing or stale. Raises DbtFailed.
    """
    return _parsed(settings).with_suffix(".json")


def _parsed(settings: Settings) -> Path:
    parsed = _parsed_path(settings)
    return parsed if parsed.exists() else _parse(settings)


def _parsed_path(settings: Settings) -> Path:
    """Return where the parse of the current sources, for this target and the settings that it reads, is stored."""
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
        result = runner.invoke(settings, ["parse", "--no-partial-parse", "--quiet"], Path(target))
        if not result.success:
            raise DbtFailed(f"dbt could not parse {runner.DBT_DIR}: {result.exception}")
        Path(target, "manifest.json").replace(parsed.with_suffix(".json"))
        Path(target, "partial_parse.msgpack").replace(parsed)
    return parsed


def layer_of(unique_id: str, nodes: Mapping[str, Any]) -> Layer:
    """Return the layer of one of the manifest's `nodes`, by its tag. A data test has the last layer that it reads from.

    Raises ValueError, which names the node, if it has no layer's tag.
    """
    node = nodes[unique_id]
    if node["resource_type"] == "test":
        parents = [parent for parent in node["depends_on"]["nodes"] if parent in nodes]
        if parents:
            return max((layer_of(parent, nodes) for parent in parents), key=LAYERS.index)
    for layer in LAYERS:
        if layer in node["tags"]:
            return layer
    raise ValueError(f"{unique_id} has none of the tags {', '.join(LAYERS)}: give its folder one in dbt_project.yml")


def tests_of_several_tables() -> dict[Layer, list[str]]:
    """Map each layer to the sorted names of the data tests that read several tables, the last of them in that layer.

    Raises like layer_of().
    """
    nodes = json.loads(manifest_path().read_text(encoding="utf-8"))["nodes"]
    tests: dict[Layer, list[str]] = {layer: [] for layer in LAYERS}
    for unique_id, node in sorted(nodes.items()):
        if node["resource_type"] == "test" and len(node["depends_on"]["nodes"]) > 1:
            tests[layer_of(unique_id, nodes)].append(node["name"])
    return tests


if __name__ == "__main__":
    print("dbt manifest built" if build_manifest() else "dbt manifest is up to date")
