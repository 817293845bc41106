"""The pipeline's tables as text, for tests to compare."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from pathlib import Path

import pyarrow as pa

from include.settings import Settings
from include.warehouse import open_warehouse

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


def read_table(settings: Settings, table: str, *, without: tuple[str, ...] = ()) -> Table:
    """Return a table as text, header first, rows sorted; columns `without` are left out."""
    warehouse = open_warehouse(settings)
    found = warehouse.query(f"select * from {warehouse.relation(LAYER_OF[table], table)}")
    found = found.drop_columns([column for column in without if column in found.column_names])
    rows = [tuple(map(as_text, row.values())) for row in found.to_pylist()]
    return [
        tuple(found.column_names),
        *sorted(rows, key=lambda row: [(len(value) if value.isdigit() else 0, value) for value in row]),
    ]


def read_tables(settings: Settings, *, without: tuple[str, ...] = ()) -> dict[str, Table]:
    """Return every table of the pipeline, as read_table() does."""
    return {table: read_table(settings, table, without=without) for table in LAYER_OF}


def rows_like(columns: Sequence[str], rows: Sequence[Mapping[str, str]]) -> list[tuple[str, ...]]:
    """Return named cells in the order of a table's columns, which must be the same ones; rows sorted."""
    for row in rows:
        assert row.keys() == set(columns), f"expected the columns {', '.join(row)}, found {', '.join(columns)}"
    return sorted(tuple(row[column] for column in columns) for row in rows)


def read_types(settings: Settings) -> dict[str, dict[str, str]]:
    """Return the type of each column of each table, as Arrow names it; without the time zone, which is UTC."""
    warehouse = open_warehouse(settings)
    return {
        table: {
            column.name: "timestamp" if pa.types.is_timestamp(column.type) else str(column.type)
            for column in warehouse.query(f"select * from {warehouse.relation(layer, table)} limit 0").schema
        }
        for table, layer in LAYER_OF.items()
    }


def as_text(value: object) -> str:
    """Write a value as both engines' results are compared: a time in UTC without its zone."""
    match value:
        case None:
            return NULL
        case bool():
            return "true" if value else "false"
        case Decimal():
            return f"{value:f}"
        case datetime():
            return value.replace(tzinfo=None).isoformat(sep=" ")
        case _:
            return str(value)


def read_csv(path: Path) -> Table:
    """Return a CSV file's records, its header first."""
    with path.open(encoding="utf-8", newline="") as file:
        return [tuple(row) for row in csv.reader(file)]
