"""DuckDB files that tests make or change by hand."""

from __future__ import annotations

from pathlib import Path

import duckdb


def execute(path: Path, *statements: str) -> None:
    """Execute statements in a DuckDB file, which is made where there is none."""
    with duckdb.connect(path) as connection:
        for statement in statements:
            connection.execute(statement)
