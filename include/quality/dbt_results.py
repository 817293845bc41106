"""What dbt says of a run: each node of the manifest with its status, from the run_results that its tasks left."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from include.dbt.manifest import layer_of
from include.layers import LAYERS

STATUSES = ("pass", "warn", "fail", "error", "skipped", "not_run")
_STATUS_OF = {"success": "pass", "runtime error": "error", "partial success": "error", "no-op": "skipped"}


@dataclass(frozen=True)
class NodeResult:
    """A node of the dbt project (model, snapshot, seed or data test) and what became of it in a run."""

    unique_id: str
    name: str
    kind: str
    layer: str
    status: str
    seconds: float | None
    message: str | None
    severity: str | None
    column: str | None
    models: tuple[str, ...]
    downstream: tuple[str, ...]
    failures: int | None
    sql: str | None


def load_results(manifest_path: Path, artifacts: Path) -> list[NodeResult]:
    """Return every node of the manifest, unit tests excepted, in the order of its layers; latest result wins."""
    manifest = json.loads(manifest_path.read_text(encoding="utf-8"))
    nodes = {
        unique_id: node
        for unique_id, node in manifest["nodes"].items()
        if node["resource_type"] in ("model", "snapshot", "seed", "test")
    }
    results = _latest_results(artifacts)
    found = [
        _node_result(node, layer_of(unique_id, nodes), results.get(unique_id), manifest)
        for unique_id, node in nodes.items()
    ]
    return sorted(found, key=lambda node: (LAYERS.index(node.layer), node.kind == "test", node.name))


def count_statuses(nodes: Iterable[NodeResult]) -> dict[str, int]:
    """Return how many nodes have each status; every status is there."""
    counts = Counter(node.status for node in nodes)
    return {status: counts[status] for status in STATUSES}


def _latest_results(artifacts: Path) -> dict[str, dict[str, Any]]:
    latest: dict[str, tuple[str, dict[str, Any]]] = {}
    for path in artifacts.glob("[!.]*.run_results.json"):  # macOS puts ._<name> beside a file on SMB
        run_results = json.loads(path.read_text(encoding="utf-8"))
        generated_at = run_results["metadata"]["generated_at"]
        for result in run_results["results"]:
            known = latest.get(result["unique_id"])
            if known is None or known[0] <= generated_at:
                latest[result["unique_id"]] = (generated_at, result)
    return {unique_id: result for unique_id, (_, result) in latest.items()}


def _node_result(
    node: Mapping[str, Any], layer: str, result: Mapping[str, Any] | None, manifest: Mapping[str, Any]
) -> NodeResult:
    parents = [parent for parent in node["depends_on"].get("nodes", []) if parent in manifest["nodes"]]
    is_test = node["resource_type"] == "test"
    status = result["status"] if result else "not_run"
    return NodeResult(
        unique_id=node["unique_id"],
        name=node["name"],
        kind=node["resource_type"],
        layer=layer,
        status=_STATUS_OF.get(status, status),
        seconds=round(result["execution_time"], 3) if result else None,
        message=result["message"] if result else None,
        severity=node["config"]["severity"].lower() if is_test else None,
        column=node.get("column_name") if is_test else None,
        models=tuple(sorted(manifest["nodes"][parent]["name"] for parent in parents)) if is_test else (),
        downstream=_downstream(parents, manifest) if is_test else (),
        failures=result["failures"] if result and is_test else None,
        sql=result.get("compiled_code") if result and is_test else None,
    )


def _downstream(parents: Iterable[str], manifest: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the names of the models and snapshots that are built from the tested ones."""
    reached: set[str] = set()
    waiting = list(parents)
    while waiting:
        for child in manifest["child_map"].get(waiting.pop(), []):
            if child not in reached and child.split(".")[0] in ("model", "snapshot"):
                reached.add(child)
                waiting.append(child)
    return tuple(sorted(manifest["nodes"][unique_id]["name"] for unique_id in reached))
