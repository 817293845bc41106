"""Reads the description of a data test from dbt's manifest: what a failure means and what to do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any


def test_description(test: Mapping[str, Any], manifest: Mapping[str, Any]) -> str | None:
    """Return what a failure of a data test means and what to do, on one line, or None if it is not documented.

    The test's own description takes precedence. Otherwise a singular test has it in its first comment, a generic one in
    the docs block `test_<name>` (dbt/tests/generic/descriptions.md).
    """
    if test["description"]:
        text = str(test["description"])
    elif "test_metadata" in test:
        block = manifest["docs"].get(f"doc.{test['package_name']}.test_{test['test_metadata']['name']}", {})
        text = str(block.get("block_contents", ""))
    else:
        text = " ".join(_first_comment(test["raw_code"]))
    return " ".join(text.split()) or None


def _first_comment(sql: str) -> Iterator[str]:
    """Yield the lines of the first comment block, without their dashes."""
    begun = False
    for line in sql.splitlines():
        if line.startswith("--"):
            begun = True
            yield line.removeprefix("--").strip()
        elif begun:
            return
