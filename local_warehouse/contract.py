"""What the parts of the warehouse ask of one another: transport of sessions, statements of the SQL engine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa

Name = tuple[str, str, str]
"""Catalog, schema and relation (or volume), in lower case."""

Struct = dict[str, Any]
"""A row's type as Spark and Delta write it in JSON: {"type": "struct", "fields": [{"name", "type", "nullable"}]}."""


ADMIN = "local@warehouse"
"""Who holds the personal access token: may do everything, and owns what was there at the beginning."""


class StatementFailed(Exception):
    """A statement was rejected. Reads as Databricks writes it: `[ERROR_CLASS] message SQLSTATE: 42P01`.

    The statement itself follows where it is given.
    """

    def __init__(self, error_class: str, message: str, sqlstate: str, statement: str | None = None) -> None:
        shown = f"\n\n== SQL ==\n{statement}\n" if statement is not None else ""
        super().__init__(f"[{error_class}] {message} SQLSTATE: {sqlstate}{shown}")
        self.sqlstate = sqlstate


class Session(Protocol):
    """One client's session, as the transport sees it."""

    def execute(self, sql: str) -> pa.Table:
        """Return a statement's rows, none for a command. Raises StatementFailed."""

    def close(self) -> None:
        """Forget the session's temporary views and settings."""


class Warehouse(Protocol):
    """What the transport serves."""

    def open_session(self, user: str, catalog: str | None, schema: str | None, settings: Mapping[str, str]) -> Session:
        """Open a user's session in which unqualified names are of this catalog and schema."""


@dataclass
class Context:
    """Where a statement's unqualified names lead, and in which time zone its times are read and shown."""

    catalog: str
    schema: str
    timezone: str = "UTC"
    temporary_views: dict[str, str] = field(default_factory=dict)


class SqlEngine(Protocol):
    """What executes Spark SQL on Delta tables: Sail here; Spark with Delta could take its place.

    Its caller registers each table and view, which it forgets when it ends. Every method that
    takes SQL raises StatementFailed.
    """

    def restart(self, catalogs: list[str]) -> None:
        """Start from scratch with these catalogs, each with an empty schema `default`."""

    def stop(self) -> None:
        """End it; what was written stays."""

    def run(self, sql: str, context: Context) -> pa.Table:
        """Return the rows of a query or a data change."""

    def struct(self, query: str, context: Context) -> Struct:
        """Return the type of a query's rows without executing it."""

    def write(self, query: str, context: Context, location: Path, partitioned_by: list[str]) -> None:
        """Make a Delta table of a query's rows at a location where there is none."""

    def declare(self, columns: str, context: Context, location: Path) -> None:
        """Make an empty Delta table from column definitions in SQL at a location where there is none."""

    def attach_schema(self, catalog: str, schema: str) -> None:
        """Register a schema."""

    def detach_schema(self, catalog: str, schema: str) -> None:
        """Forget a schema and all in it."""

    def attach_table(self, name: Name, location: Path) -> None:
        """Register a Delta table under a name."""

    def attach_view(self, name: Name, query: str) -> None:
        """Register a query under a name; the names in it are complete."""

    def detach(self, name: Name, *, view: bool) -> None:
        """Forget a table's or view's name."""
