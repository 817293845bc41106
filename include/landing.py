"""The columns of the landed files: those that the pipeline declares, and those that it does not know (yet).

A declared column has the same name as in src_*. An undeclared one is landed as `received__<header>`, so that its values
are available if it is declared later. dbt/macros/landing/landed.sql reads the landing by the same rules.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from include.dbt import runner
from include.entities import ENTITIES, Entity
from include.quoting import quoted

UNDECLARED = "received__"


@dataclass(frozen=True)
class Column:
    """A declared column: its name in the landing, and in the header of the file."""

    name: str
    header: str
    is_required: bool = True


def declared_columns(entity: Entity) -> tuple[Column, ...]:
    """Return the declared columns of an extract, in the order of src_*: those with a `header` in dbt's _source.yml."""
    return tuple(
        Column(name, meta["header"], is_required=not meta.get("optional", False))
        for name, meta in _declarations(entity, runner.DBT_DIR)
    )


def harmless_columns() -> frozenset[str]:
    """Return the declared columns that _source.yml marks as harmless. A report may show them in every table."""
    return _harmless_columns(runner.DBT_DIR)


@cache  # a report asks for each of its rows
def _harmless_columns(dbt_dir: Path) -> frozenset[str]:
    return frozenset(
        name for entity in ENTITIES for name, meta in _declarations(entity, dbt_dir) if meta.get("harmless", False)
    )


def _declarations(entity: Entity, dbt_dir: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    path = dbt_dir / "models/source/_source.yml"
    models = yaml.safe_load(path.read_text(encoding="utf-8"))["models"]
    [columns] = [model["columns"] for model in models if model["name"] == entity.source]
    for column in columns:
        meta = column.get("config", {}).get("meta", {})
        if "header" in meta:
            yield column["name"], meta


def undeclared_headers(landed: Iterable[str]) -> tuple[str, ...]:
    """Return the headers of a landed file's columns that were undeclared when it was landed."""
    return tuple(name.removeprefix(UNDECLARED) for name in landed if name.startswith(UNDECLARED))


def declared_values(columns: Sequence[Column], landed: Iterable[str]) -> Mapping[str, str]:
    """Map each declared column to the expression that reads it from a landed file with the columns `landed`.

    A file from before the declaration has the column as an undeclared one, or not at all (then it is NULL).
    """
    found = {name.lower(): quoted(name) for name in landed}
    values = {}
    for column in columns:
        undeclared = found.get(f"{UNDECLARED}{column.header}".lower(), "cast(null as string)")
        values[column.name] = found.get(column.name, undeclared)
    return values
