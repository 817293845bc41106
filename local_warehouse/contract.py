"""The interfaces between the parts of the warehouse: sessions for the transport, the SQL engine for the statements."""

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
"""The user of the personal access token, who may do everything and owns what exists at the start."""


class StatementFailed(Exception):
    """A statement was rejected. The message has Databricks' form: `[ERROR_CLASS] message SQLSTATE: 42P01`.

    If the statement is given, it follows the message.
    """

    def __init__(self, error_class: str, message: str, sqlstate: str, statement: str | None = None) -> None:
        shown = f"\n\n== SQL ==\n{statement}\n" if statement is not None else ""
        super().__init__(f"[{error_class}] {message} SQLSTATE: {sqlstate}{shown}")
        self.sqlstate = sqlstate


class Session(Protocol):
    """One client's session, as the transport sees it."""

    def execute(self, sql: str) -> pa.Table:
        """Execute a statement and return its rows; none for a command. Raises StatementFailed."""

    def close(self) -> None:
        """Drop the session's temporary views and settings."""


class Warehouse(Protocol):
    """The warehouse, as the transport sees it."""

    def open_session(self, user: str, catalog: str | None, schema: str | None, settings: Mapping[str, str]) -> Session:
        """Open a user's session, in which unqualified names belong to this catalog and schema."""


@dataclass
class Context:
    """The catalog and schema of a statement's unqualified names, and its time zone."""

    catalog: str
    schema: str
    timezone: str = "UTC"
    temporary_views: dict[str, str] = field(default_factory=dict)


class SqlEngine(Protocol):
    """Executes Spark SQL on Delta tables. Here it is Sail; Spark with Delta could replace it.

    The caller registers each table and view. The registrations are lost when the engine stops. Every method that takes
    SQL raises StatementFailed.
    """

    def restart(self, catalogs: list[str]) -> None:
        """Start from scratch with these catalogs, each with an empty schema `default`."""

    def stop(self) -> None:
        """Stop the engine. The written data stays."""

    def run(self, sql: str, context: Context) -> pa.Table:
        """Return the rows of a query or a data change."""

    def struct(self, query: str, context: Context) -> Struct:
        """Return the type of a query's rows without executing it."""

    def write(self, query: str, context: Context, location: Path, partitioned_by: list[str]) -> None:
        """Write a query's rows to a new Delta table at a location."""

    def declare(self, columns: str, context: Context, location: Path) -> None:
        """Create an empty Delta table at a location, from column definitions in SQL."""

    def attach_schema(self, catalog: str, schema: str) -> None:
        """Register a schema."""

    def detach_schema(self, catalog: str, schema: str) -> None:
        """Unregister a schema and everything in it."""

    def attach_table(self, name: Name, location: Path) -> None:
        """Register a Delta table under a name."""

    def attach_view(self, name: Name, query: str) -> None:
        """Register a query under a name. The names in the query are fully qualified."""

    def detach(self, name: Name, *, view: bool) -> None:
        """Unregister a table or view."""
