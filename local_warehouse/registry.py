"""The registry of the statements that are answered here, and helpers for their results."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from local_warehouse import sql
from local_warehouse.contract import StatementFailed

if TYPE_CHECKING:
    from local_warehouse.sessions import WarehouseSession

NOTHING = pa.table({})

Handler = Callable[["WarehouseSession", re.Match[str]], pa.Table]
HANDLERS: list[tuple[re.Pattern[str], Handler]] = []


def compiled(pattern: str) -> re.Pattern[str]:
    """Compile a statement's pattern. A space is any white space; NAME, STRING and PRINCIPAL match what they say."""
    for word, meaning in ((" ", r"\s+"), ("NAME", sql.NAME), ("STRING", sql.STRING), ("PRINCIPAL", sql.PRINCIPAL)):
        pattern = pattern.replace(word, meaning)
    return re.compile(pattern, re.IGNORECASE | re.DOTALL)


def statement(pattern: str) -> Callable[[Handler], Handler]:
    """Register a function for the statements that match a pattern (see compiled())."""

    def register(handler: Handler) -> Handler:
        HANDLERS.append((compiled(pattern), handler))
        return handler

    return register


def unsupported(why: str, bare: str) -> StatementFailed:
    """Return the error for a statement that Databricks may support, but this server does not."""
    return StatementFailed("UNSUPPORTED_FEATURE.LOCAL_WAREHOUSE", why, "0A000", bare)


def rows(found: Iterable[Mapping[str, Any]], schema: pa.Schema | None = None) -> pa.Table:
    """Return dicts as a table. The schema is needed if there may be no rows, or only NULLs in a column."""
    return pa.Table.from_pylist(list(found), schema=schema)


def strings(*names: str) -> pa.Schema:
    """Return the schema of a table of strings."""
    return pa.schema([(name, pa.string()) for name in names])


def like(names: Iterable[str], pattern: str | None) -> list[str]:
    """Return the names that match the pattern of a SHOW statement (* and |), all if there is none."""
    if pattern is None:
        return sorted(names)
    regex = "|".join(re.escape(part).replace(r"\*", ".*") for part in sql.text(pattern).lower().split("|"))
    return sorted(name for name in names if re.fullmatch(regex, name))
