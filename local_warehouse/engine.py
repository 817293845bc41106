"""Sail, in this process, as the SQL engine: Spark SQL in Rust with Delta tables, reached through Spark Connect.

All clients share one Sail session, one statement at a time, because Sail keeps names in memory, separately per session.
"""

from __future__ import annotations

import os
import re
import warnings
from pathlib import Path
from typing import Any

import pyarrow as pa

from local_warehouse.catalog import quoted
from local_warehouse.contract import Context, Name, StatementFailed, Struct

# Sail's error messages, and Databricks' names for them.
ERRORS = [
    (r"\[TABLE_OR_VIEW_NOT_FOUND\]|Table not found", "TABLE_OR_VIEW_NOT_FOUND", "42P01"),
    (r"Database not found|Schema not found", "SCHEMA_NOT_FOUND", "42704"),
    (r"invalid argument: (found|unexpected) .*expected", "PARSE_SYNTAX_ERROR", "42601"),
    (
        r"cannot resolve attribute|is missing from the schema|No field named",
        "UNRESOLVED_COLUMN.WITH_SUGGESTION",
        "42703",
    ),
    (r"unknown function", "UNRESOLVED_ROUTINE", "42883"),
    (r"Cannot cast|NumberFormatException", "CAST_INVALID_INPUT", "22018"),
    (r"divide by zero", "DIVIDE_BY_ZERO", "22012"),
    (r"DELTA_NOT_NULL_CONSTRAINT_VIOLATED", "DELTA_NOT_NULL_CONSTRAINT_VIOLATED", "23502"),
    (r"DELTA_VIOLATE_CONSTRAINT_WITH_VALUES", "DELTA_VIOLATE_CONSTRAINT_WITH_VALUES", "23001"),
    (r"MERGE_CARDINALITY_VIOLATION", "DELTA_MULTIPLE_SOURCE_ROW_MATCHING_TARGET_ROW_IN_MERGE", "21506"),
    (
        r"^(UnsupportedOperation|Analysis|IllegalArgument|Parse)Exception",
        "UNSUPPORTED_FEATURE.LOCAL_WAREHOUSE",
        "0A000",
    ),
]

YEAR = 365 * 24 * 60 * 60  # seconds


class SailEngine:
    """See SqlEngine in contract.py."""

    def __init__(self) -> None:
        self._server: Any = None
        self._spark: Any = None
        self._at: tuple[str, str, str] | None = None

    def restart(self, catalogs: list[str]) -> None:
        from pysail.spark import SparkConnectServer

        warnings.filterwarnings("ignore", message="PySpark does not yet fully support pandas")  # which isn't used here
        from pyspark.sql.connect.client import DefaultChannelBuilder
        from pyspark.sql.connect.session import SparkSession

        self.stop()
        # `nowhere` has no names: a query that can be analyzed there has only fully qualified names.
        listed = [f'{{name="{name}", type="memory", initial_database=["default"]}}' for name in [*catalogs, "nowhere"]]
        os.environ["SAIL_CATALOG__LIST"] = f"[{', '.join(listed)}]"
        os.environ["SAIL_CATALOG__DEFAULT_CATALOG"] = catalogs[0]
        # The session lives as long as the server. Otherwise Sail would end it after a pause, such as a laptop's sleep.
        os.environ["SAIL_SPARK__SESSION_TIMEOUT_SECS"] = str(YEAR)
        os.environ.setdefault("RUST_LOG", "error")
        self._server = SparkConnectServer("127.0.0.1", 0)
        self._server.start(background=True)
        host, port = self._server.listening_address
        # Sail would compress its answers, and gRPC would now and then hand one to the client as it is, which ends the
        # statement in "Exception deserializing response!". Bit 0 allows only answers that are not compressed.
        uncompressed = [("grpc.compression_enabled_algorithms_bitset", 0b1)]
        channel = DefaultChannelBuilder(f"sc://{host}:{port}", uncompressed)
        self._spark = SparkSession.builder.channelBuilder(channel).create()
        # Client and server share this process, so no answer is lost: none is acknowledged in a call of its own.
        self._spark.client.disable_reattachable_execute()
        self._at = None

    def stop(self) -> None:
        if self._server:
            self._spark.stop()
            self._server.stop()

    def run(self, sql: str, context: Context) -> pa.Table:
        with self._in(context, sql):
            return self._collect(sql)

    def struct(self, query: str, context: Context) -> Struct:
        with self._in(context, query):
            struct: Struct = self._answered(lambda: self._spark.sql(query).schema.jsonValue(), query)
            return struct

    def write(self, query: str, context: Context, location: Path, partitioned_by: list[str]) -> None:
        with self._in(context, query):
            self._answered(
                lambda: self._spark.sql(query).write.format("delta").partitionBy(*partitioned_by).save(str(location)),
                query,
            )

    def declare(self, columns: str, context: Context, location: Path) -> None:
        interim = quoted(context.catalog, "default", f"declared_{location.name}")
        self._collect(f"create table {interim} ({columns}) using delta location '{location}'")
        self._collect(f"drop table {interim}")

    def attach_schema(self, catalog: str, schema: str) -> None:
        self._collect(f"create schema if not exists {quoted(catalog, schema)}")

    def detach_schema(self, catalog: str, schema: str) -> None:
        self._at = None
        self._collect(f"drop schema if exists {quoted(catalog, schema)} cascade")

    def attach_table(self, name: Name, location: Path) -> None:
        self._collect(f"create table {quoted(*name)} using delta location '{location}'")

    def attach_view(self, name: Name, query: str) -> None:
        self._collect(f"create or replace view {quoted(*name)} as {query}")

    def detach(self, name: Name, *, view: bool) -> None:
        self._collect(f"drop {'view' if view else 'table'} if exists {quoted(*name)}")

    def _in(self, context: Context, sql: str) -> _TemporaryViews:
        """Switch to a context for one statement.

        Sail's temporary views keep the rows from the moment of their creation, and all clients share them. So they are
        created again for each statement that names them.
        """
        at = (context.catalog, context.schema, context.timezone)
        if self._at != at:
            self._collect(f"use catalog {quoted(context.catalog)}")
            self._collect(f"use schema {quoted(context.schema)}")
            self._spark.conf.set("spark.sql.session.timeZone", context.timezone)
            self._at = at
        text, named = sql.lower(), {}
        for name in reversed(context.temporary_views):  # later ones may name earlier ones
            if name in text:
                named[name] = context.temporary_views[name]
                text += named[name].lower()
        return _TemporaryViews(self, dict(reversed(named.items())))

    def _collect(self, sql: str) -> pa.Table:
        table: pa.Table = self._answered(lambda: self._spark.sql(sql).toArrow(), sql)
        return table

    def _answered(self, call: Any, sql: str) -> Any:
        try:
            return call()
        except Exception as error:
            reason = f"{type(error).__name__}: {str(error).split('JVM stacktrace')[0].strip()}"
            error_class, sqlstate = next(
                (found for pattern, *found in ERRORS if re.search(pattern, reason)), ("INTERNAL_ERROR", "XX000")
            )
            said = re.sub(r"^\w+: ((.*: )?\[\w+\] )?", "", reason)
            raise StatementFailed(error_class, said, sqlstate, sql) from error


class _TemporaryViews:
    """Creates a client's temporary views for the duration of a statement."""

    def __init__(self, engine: SailEngine, views: dict[str, str]) -> None:
        self.engine, self.views = engine, views

    def __enter__(self) -> None:
        for name, query in self.views.items():
            self.engine._collect(f"create or replace temporary view {quoted(name)} as {query}")

    def __exit__(self, *_error: object) -> None:
        for name in self.views:
            self.engine._spark.catalog.dropTempView(name)
