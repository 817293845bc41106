"""dbt's results of a run: each node of the manifest with its status, from the run_results of the run's tasks."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from include.artifacts import RUN_RESULTS
from include.dbt.descriptions import test_description
from include.dbt.manifest import layer_of
from include.layers import LAYERS, Layer
from include.quality.report import BuiltNode, Counts, DataTest, Node, Status

_STATUS_OF = {"success": "pass", "runtime error": "error", "partial success": "error", "no-op": "skipped"}
_NO_RESULT = {"status": "not_run", "execution_time": None, "message": None, "failures": None}


@dataclass(frozen=True)
class DbtResults:
    """The built nodes and the data tests, both in the order of their layers, and dbt's last result of each node.

    The values of a test that come from tables (`rows`, `failure_share`, `failing_rows`, `kept_in`) are not set yet. The
    mapping `kept_in` names the table in the schema test_failures of each test that has one.
    """

    models: tuple[BuiltNode, ...]
    tests: tuple[DataTest, ...]
    kept_in: Mapping[str, str]
    nodes: Mapping[str, Any]
    results: Mapping[str, Mapping[str, Any]]


def load_results(manifest_path: Path, artifacts: Path) -> DbtResults:
    """Return the project's nodes from the manifest with their results in the run. The last try counts."""
    manifest = json.loads(manifest_path.read_text(encoding="utf-8"))
    nodes = {
        unique_id: node
        for unique_id, node in manifest["nodes"].items()
        if node["resource_type"] in ("model", "snapshot", "seed", "test")
    }
    results = _latest_results(artifacts)
    built: list[BuiltNode] = []
    tests: list[DataTest] = []
    for unique_id, node in nodes.items():
        layer, result = layer_of(unique_id, nodes), results.get(unique_id, _NO_RESULT)
        if node["resource_type"] == "test":
            tests.append(_data_test(node, layer, result, manifest))
        else:
            built.append(BuiltNode(**_what_became_of(node, layer, result), kind=node["resource_type"]))
    return DbtResults(
        models=tuple(sorted(built, key=_place)),
        tests=tuple(sorted(tests, key=_place)),
        kept_in={node["name"]: node["alias"] for node in nodes.values() if node["config"].get("store_failures")},
        nodes=nodes,
        results=results,
    )


def count_statuses(nodes: Iterable[Node]) -> Counts:
    """Return how many nodes have each status."""
    counts = Counter(node.status for node in nodes)
    return Counts.model_validate({status: counts[status] for status in get_args(Status)})


def _place(node: Node) -> tuple[int, str]:
    return LAYERS.index(node.layer), node.name


def _latest_results(artifacts: Path) -> dict[str, dict[str, Any]]:
    latest: dict[str, tuple[str, dict[str, Any]]] = {}
    for path in artifacts.glob(f"[!.]*.{RUN_RESULTS}"):  # macOS puts ._<name> beside a file on SMB
        run_results = json.loads(path.read_text(encoding="utf-8"))
        generated_at = run_results["metadata"]["generated_at"]
        for result in run_results["results"]:
            known = latest.get(result["unique_id"])
            if known is None or known[0] <= generated_at:
                latest[result["unique_id"]] = (generated_at, result)
    return {unique_id: result for unique_id, (_, result) in latest.items()}


def _what_became_of(node: Mapping[str, Any], layer: Layer, result: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields that every node of the report has."""
    status = _STATUS_OF.get(result["status"], result["status"])
    seconds = result["execution_time"]
    return {
        "name": node["name"],
        "layer": layer,
        "status": status,
        "seconds": None if seconds is None else round(seconds, 3),
        "message": result["message"] if status == "error" else None,
    }


def _data_test(
    node: Mapping[str, Any], layer: Layer, result: Mapping[str, Any], manifest: Mapping[str, Any]
) -> DataTest:
    parents = [parent for parent in node["depends_on"].get("nodes", []) if parent in manifest["nodes"]]
    return DataTest(
        **_what_became_of(node, layer, result),
        description=test_description(node, manifest),
        models=tuple(sorted(manifest["nodes"][parent]["name"] for parent in parents)),
        column=node.get("column_name"),
        severity=node["config"]["severity"].lower(),
        failures=result["failures"],
        rows=None,
        failure_share=None,
        failing_rows=(),
        kept_in=None,
        sql=result.get("compiled_code"),
        downstream=_downstream(parents, manifest),
    )


def _downstream(parents: Iterable[str], manifest: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the names of the models and snapshots downstream of the tested ones."""
    reached: set[str] = set()
    waiting = list(parents)
    while waiting:
        for child in manifest["child_map"].get(waiting.pop(), []):
            if child not in reached and child.split(".")[0] in ("model", "snapshot"):
                reached.add(child)
                waiting.append(child)
    return tuple(sorted(manifest["nodes"][unique_id]["name"] for unique_id in reached))
