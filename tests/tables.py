"""The pipeline's tables as text: what tests compare, and what is written in tests/e2e/expected."""

from __future__ import annotations

import csv
from pathlib import Path

import duckdb

TABLES = {
    "source": ("src_customer", "src_account"),
    "staging": ("stg_customer", "stg_account", "quarantine_customer", "quarantine_account"),
    "snapshots": ("snap_customer", "snap_account"),
    "intermediate": ("int_account_with_customer", "int_savings_account_only"),
    "marts": ("account_summary", "customer_profile"),
}
LAYER_OF = {table: layer for layer, tables in TABLES.items() for table in tables}

NULL = "<null>"

Table = list[tuple[str, ...]]


def read_table(database: Path, table: str, *, without: tuple[str, ...] = ()) -> Table:
    """Return a table as text, header first, rows sorted; columns `without` are left out."""
    with duckdb.connect(database, read_only=True) as connection:
        connection.execute("set TimeZone = 'UTC'")
        relation = connection.sql(f"select * from main_{LAYER_OF[table]}.{table}")
        kept = [column for column in relation.columns if column not in without]
        as_text = ", ".join(f"coalesce(cast({column} as varchar), '{NULL}')" for column in kept)
        rows = relation.project(as_text).fetchall()
    return [
        tuple(kept),
        *sorted(rows, key=lambda row: [(len(value) if value.isdigit() else 0, value) for value in row]),
    ]


def read_tables(database: Path, *, without: tuple[str, ...] = ()) -> dict[str, Table]:
    """Return every table of the pipeline, as read_table() does."""
    return {table: read_table(database, table, without=without) for table in LAYER_OF}


def read_csv(path: Path) -> Table:
    """Return a file that write_csv() made."""
    with path.open(encoding="utf-8", newline="") as file:
        return [tuple(row) for row in csv.reader(file)]


def write_csv(path: Path, table: Table) -> None:
    """Write a table for people to read and review."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(table)
