"""Write docs/architecture/data_dictionary.md from dbt's manifest: `make docs`."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from include.dbt.manifest import check_manifest
from include.errors import run_command
from include.files import replacing
from include.layers import LAYERS
from include.settings import PROJECT_ROOT

PATH = PROJECT_ROOT / "docs" / "architecture" / "data_dictionary.md"
TABLE_KINDS = ("seed", "model", "snapshot")

HEAD = """\
# Data dictionary

`make docs` writes this page from dbt's manifest. To change it, edit the descriptions in `dbt/` and run `make docs`.

The schema of a table is `<base>_<layer>`. The base is `main` on DuckDB and `DATABRICKS_SCHEMA` on Databricks. Types are
those of the contracts, the same on both engines. Times are UTC; intervals include their beginning and exclude their
end. [Data flow](data_flow.md) has the rules by which each layer follows from the one before it. The data quality guide
[lists all tests](../DATA_QUALITY_GUIDE.md#all-tests), including those that read several tables, with severity and what
a failure means.
"""

Node = Mapping[str, Any]


def dictionary(manifest: Mapping[str, Any]) -> str:
    """Return the page for a manifest: each table with its columns and tests, by layer."""
    nodes = list(manifest["nodes"].values())
    tests = [node for node in nodes if node["resource_type"] == "test"]
    parts = [HEAD, _contents(nodes), _lineage(nodes)]
    for layer in LAYERS:
        parts.append(f"## {layer.capitalize()}\n")
        parts += [_table(node, layer, tests) for node in _tables(nodes, layer)]
    return "\n".join(part for part in parts if part)


def _tables(nodes: list[Node], layer: str) -> list[Node]:
    found = [node for node in nodes if node["resource_type"] in TABLE_KINDS and layer in node["tags"]]
    return sorted(found, key=lambda node: (TABLE_KINDS.index(node["resource_type"]), node["name"]))


def _contents(nodes: list[Node]) -> str:
    links = {layer: [f"[{node['name']}](#{node['name']})" for node in _tables(nodes, layer)] for layer in LAYERS}
    rows = [f"| {layer} | {', '.join(found)} |" for layer, found in links.items()]
    return "\n".join(["| layer | tables |", "| --- | --- |", *rows, ""])


def _lineage(nodes: list[Node]) -> str:
    """Draw which table reads which, with a box for each layer."""
    tables = {node["unique_id"]: node["name"] for layer in LAYERS for node in _tables(nodes, layer)}
    boxes = [
        line
        for layer in LAYERS
        for line in (f"    subgraph {layer}", *(f"        {node['name']}" for node in _tables(nodes, layer)), "    end")
    ]
    arrows = [
        f"    {tables[parent]} --> {node['name']}"
        for layer in LAYERS
        for node in _tables(nodes, layer)
        for parent in sorted(node["depends_on"].get("nodes", []))
        if parent in tables
    ]
    landing = [
        f"    landing[(landing)] --> {node['name']}" for node in nodes if "macro.lc_pipeline.landed" in _macros(node)
    ]
    return "\n".join(["## Lineage\n", "```mermaid", "flowchart LR", *boxes, *sorted(landing), *arrows, "```", ""])


def _macros(node: Node) -> list[str]:
    macros: list[str] = node["depends_on"].get("macros", [])
    return macros


def _table(node: Node, layer: str, tests: list[Node]) -> str:
    own = [test for test in tests if test.get("attached_node") == node["unique_id"]]
    types = _types(node, own)
    facts = [
        f"`dbt/{node['original_file_path']}`",
        f"schema `<base>_{layer}`",
        _materialization(node),
        _contract(node),
    ]
    whole = ", ".join(_test_name(test) for test in own if not test["column_name"])
    rows = [
        f"| {name} | {types[name]} | {in_cell(column['description'])} | "
        f"{', '.join(_test_name(test) for test in own if test['column_name'] == name)} |"
        for name, column in node["columns"].items()
    ]
    return "\n".join(
        [
            f"### {node['name']}\n",
            f"{' '.join(node['description'].split())}\n",
            f"{'; '.join(facts)}.{f' Tests of the whole table: {whole}.' if whole else ''}\n",
            "| column | type | what it is | tests |",
            "| --- | --- | --- | --- |",
            *rows,
            "",
        ]
    )


def _types(node: Node, tests: list[Node]) -> Mapping[str, str]:
    """Return each column's type, from a model's contract, a snapshot's test column_types, or a seed's column_types."""
    if node["resource_type"] == "seed":
        declared: Mapping[str, str] = node["config"]["column_types"]
        return declared
    if node["resource_type"] == "snapshot":
        [of_snapshot] = [test["test_metadata"]["kwargs"]["types"] for test in tests if _kind(test) == "column_types"]
        return dict(of_snapshot)
    return {name: column["data_type"] for name, column in node["columns"].items()}


def _materialization(node: Node) -> str:
    config = node["config"]
    match config["materialized"]:
        case "incremental":
            return f"incremental, {config['incremental_strategy']} by `{config['unique_key']}`"
        case "snapshot":
            columns = config["check_cols"] or [config["updated_at"]]
            on = ", ".join(f"`{column}`" for column in columns)
            return f"snapshot by `{config['unique_key']}`, strategy {config['strategy']} on {on}, hard deletes closed"
        case materialized:
            return str(materialized)


def _contract(node: Node) -> str:
    if node["resource_type"] == "model":
        return "contract enforced" if node["contract"]["enforced"] else "no contract"
    if node["resource_type"] == "snapshot":
        return "no contract (dbt has none for snapshots; the test column_types checks the types)"
    return "types from its yml"


def _kind(test: Node) -> str:
    return str(test["test_metadata"]["name"])


def _test_name(test: Node) -> str:
    """Describe a generic test for readers: its kind, its arguments, its `where`, and whether it only warns."""
    arguments = {
        name: value
        for name, value in test["test_metadata"]["kwargs"].items()
        if name not in ("model", "column_name", "types", "key", "valid_from", "valid_to")
    }
    match _kind(test):
        case "accepted_values":
            said = " or ".join(arguments["values"])
        case "relationships":
            said = f"is in {_ref(arguments['to'])}.{arguments['field']}"
        case "valid_date_range":
            said = f"valid_date_range ({arguments['starts_at']}, {arguments['ends_at']})"
        case "positive_value":
            said = "not below 0" if arguments.get("zero_allowed") else "above 0"
        case kind:
            said = kind
    where = test["config"]["where"]
    return said + (f" where {where}" if where else "") + _warns(test)


def _ref(expression: str) -> str:
    found = re.search(r"ref\('(\w+)'\)", expression)
    return found[1] if found else expression


def _warns(test: Node) -> str:
    return " (warning)" if test["config"]["severity"].lower() == "warn" else ""


def in_cell(text: str) -> str:
    """Return a text as a cell of a Markdown table."""
    return " ".join(text.split()).replace("|", r"\|")


def write(path: Path = PATH) -> Path:
    """Write the page; return its path. Raises StaleManifest."""
    manifest = json.loads(check_manifest().read_text(encoding="utf-8"))
    with replacing(path) as temporary:
        temporary.write_text(dictionary(manifest), encoding="utf-8")
    return path


def main() -> int:
    """Return 0, or 1 with one line on stderr that says what is wrong."""
    return run_command(lambda: print(write().relative_to(PROJECT_ROOT)))


if __name__ == "__main__":
    sys.exit(main())
