"""DuckDB connections in this process: in UTC, with a memory limit, and with a chosen folder to spill to."""

from __future__ import annotations

import shutil
from pathlib import Path

import duckdb

from include.settings import DEFAULT_MEMORY_LIMIT


def connect(
    database: Path | None = None,
    *,
    memory_limit: str = DEFAULT_MEMORY_LIMIT,
    spill: Path | None = None,
    read_only: bool = False,
) -> duckdb.DuckDBPyConnection:
    """Open a DuckDB file, or a database in memory if there is none.

    `memory_limit` is DUCKDB_MEMORY_LIMIT. DuckDB spills to the folder `spill`, by default that of spill_of(). A
    database in memory without a folder does not spill. Raises duckdb.Error.
    """
    folder = spill or (spill_of(database) if database else "")
    limits = {"memory_limit": memory_limit, "temp_directory": str(folder)}
    connection = duckdb.connect(database or ":memory:", read_only=read_only, config=limits)
    connection.execute("set TimeZone = 'UTC'")
    return connection


def spill_of(database: Path) -> Path:
    """Return the folder that DuckDB spills to by default, as dbt's connection does."""
    return database.with_name(f"{database.name}.tmp")


def clear_spill(database: Path) -> None:
    """Remove what a killed process has spilled. No other process may be using the file."""
    shutil.rmtree(spill_of(database), ignore_errors=True)
