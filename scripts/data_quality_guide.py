"""Write the list of all tests at the end of docs/DATA_QUALITY_GUIDE.md from dbt's manifest: `make docs`."""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from include.dbt.descriptions import test_description
from include.dbt.manifest import check_manifest, layer_of
from include.errors import run_command
from include.files import replacing
from include.layers import LAYERS, TEST_FAILURES
from include.settings import PROJECT_ROOT
from scripts.data_dictionary import in_cell

PATH = PROJECT_ROOT / "docs" / "DATA_QUALITY_GUIDE.md"
MARK = "<!-- written by make docs -->\n"
"""Everything after this line in the guide is generated."""


def list_of_tests(manifest: Mapping[str, Any]) -> str:
    """Return the tests by layer: each kind of generic test with its tables and columns, then the singular tests."""
    nodes = manifest["nodes"]
    tests = {unique_id: node for unique_id, node in nodes.items() if node["resource_type"] == "test"}
    parts = []
    for layer in LAYERS:
        rows: dict[tuple[bool, str, str, str], list[str]] = defaultdict(list)
        for unique_id, test in tests.items():
            if layer_of(unique_id, nodes) == layer:
                rows[_kind(test, manifest)].append(_where(test, nodes))
        parts += [
            f"### {layer.capitalize()}\n",
            "| test | of | severity | what a failure means |",
            "| --- | --- | --- | --- |",
            *(
                f"| {name} | {', '.join(sorted(places))} | {severity} | {meaning} |"
                for (_, name, severity, meaning), places in sorted(rows.items())
            ),
            "",
        ]
    return "\n".join(parts)


def _kind(test: Mapping[str, Any], manifest: Mapping[str, Any]) -> tuple[bool, str, str, str]:
    """Return whether a test is singular, its name or kind, its severity and what a failure means."""
    config = test["config"]
    kept = f", kept in `{TEST_FAILURES}`" if config.get("store_failures") else ""
    singular = "test_metadata" not in test
    name = test["name"] if singular else test["test_metadata"]["name"]
    return singular, name, config["severity"].lower() + kept, in_cell(test_description(test, manifest) or "")


def _where(test: Mapping[str, Any], nodes: Mapping[str, Any]) -> str:
    """Return the table or column that a generic test is attached to, or the tables that a singular one reads."""
    attached = test.get("attached_node")
    if attached:
        column = test["column_name"]
        return f"{nodes[attached]['name']}.{column}" if column else str(nodes[attached]["name"])
    return ", ".join(sorted(nodes[parent]["name"] for parent in test["depends_on"]["nodes"] if parent in nodes))


def guide(text: str, manifest: Mapping[str, Any]) -> str:
    """Return the guide with the list of the manifest's tests."""
    return f"{text.partition(MARK)[0]}{MARK}\n{list_of_tests(manifest)}"


def write(path: Path = PATH) -> Path:
    """Write the list into the guide; return its path. Raises StaleManifest."""
    manifest = json.loads(check_manifest().read_text(encoding="utf-8"))
    text = path.read_text(encoding="utf-8")
    with replacing(path) as temporary:
        temporary.write_text(guide(text, manifest), encoding="utf-8")
    return path


def main() -> int:
    """Return 0, or 1 with one line on stderr that says what is wrong."""
    return run_command(lambda: print(write().relative_to(PROJECT_ROOT)))


if __name__ == "__main__":
    sys.exit(main())
