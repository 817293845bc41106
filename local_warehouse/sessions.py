"""Sessions: answer the registered statements here, and pass queries and data changes to the SQL engine.

Any other statement is an error that shows the statement.
"""

from __future__ import annotations

import json
import re
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa

from local_warehouse import containers, descriptions, information_schema, privileges, relations, sql
from local_warehouse.catalog import Catalog, Relation, quoted
from local_warehouse.contract import Context, Name, SqlEngine, StatementFailed, Struct
from local_warehouse.registry import HANDLERS, rows, unsupported

ANSWERED = (containers, relations, descriptions)  # importing them fills HANDLERS
EMPTY_SCHEMA = "nowhere"
NOWHERE = Context("nowhere", "default")
PROBE = (NOWHERE.catalog, NOWHERE.schema, "probe")
QUERY = re.compile(r"(select|with|values|table|from|explain)\b|\(", re.IGNORECASE)
CHANGE = re.compile(
    rf"(?P<verb>insert (?:into|overwrite)(?: table)?|merge into|delete from|update) (?P<name>{sql.NAME})".replace(
        " ", r"\s+"
    ),
    re.IGNORECASE,
)
KNOWN = re.compile(
    r"(alter|analyze|cache|call|comment|copy|create|delete|desc|describe|drop|execute|get|grant|insert|kill|list|merge"
    r"|optimize|put|refresh|remove|reset|restore|revoke|set|show|truncate|uncache|undrop|update|use|vacuum)\b",
    re.IGNORECASE,
)


class LocalWarehouse:
    """The catalog and the engine, which the sessions share, one statement at a time, and the log of all statements."""

    def __init__(self, catalog: Catalog, engine: SqlEngine) -> None:
        self.catalog, self.engine = catalog, engine
        self.lock = catalog.lock
        self.broken_views: list[Name] = []
        self._log_lock = threading.Lock()
        self._log = (catalog.folder / "statements.jsonl").open("a", encoding="utf-8")
        self.attach_all()

    def open_session(
        self, user: str, catalog: str | None, schema: str | None, settings: Mapping[str, str]
    ) -> WarehouseSession:
        """Open a session. As on Databricks, neither the catalog nor the schema has to exist yet."""
        first = next(iter(self.catalog.catalogs))
        return WarehouseSession(self, user, (catalog or first).lower(), (schema or "default").lower(), settings)

    def attach_all(self) -> None:
        """Register everything in the catalog with an engine that was started or restarted."""
        self.engine.restart(list(self.catalog.catalogs))
        for catalog in self.catalog.catalogs:
            for schema in [*self.catalog.schemas(catalog), EMPTY_SCHEMA]:
                self.engine.attach_schema(catalog, schema)
        self.broken_views = []
        for name, relation in sorted(self.catalog.relations(), key=lambda entry: entry[1].is_view):
            self.attach(name, relation)

    def attach(self, name: Name, relation: Relation) -> None:
        """Register a table or view with the engine, and the views that depend on it.

        As on Databricks, a view whose tables are gone stays in the catalog.
        """
        if relation.query is None:
            self.engine.attach_table(name, self.catalog.table(relation).location)
        elif not self._attach_view(name):
            self.broken_views.append(name)
            return
        self.broken_views = [broken for broken in self.broken_views if not self._attach_view(broken)]

    def _attach_view(self, name: Name) -> bool:
        relation = self.catalog.find(name)
        try:
            if relation and relation.query is not None:
                self.engine.attach_view(name, self.resolved(relation.query))
        except StatementFailed:
            return False
        return True

    def resolved(self, text: str, temporary_views: Iterable[str] = ()) -> str:
        """Return a statement for the engine, with volume paths replaced by the server's folders.

        Raises StatementFailed if there is nothing at a path: Sail would read it as a relation without columns.
        """
        text = sql.with_calls(text, {"current_timestamp", "current_date"})
        text = sql.with_lower_names(text, {*self.catalog.names(), *temporary_views})
        text = sql.READ_FILES.sub(lambda match: f"{match[2] or 'parquet'}.`{match[1]}`", text)
        return sql.PATH.sub(lambda match: f"{match[1]}.`{self._path(match[2])}`", text)

    def _path(self, path: str) -> Path:
        match = sql.VOLUME_PATH.fullmatch(path)
        if match is None:
            raise unsupported("only paths in volumes (/Volumes/<catalog>/<schema>/<volume>/...) are read", path)
        folder = self.catalog.volumes_folder.joinpath(*(part.lower() for part in match.groups()[:3]))
        inner = (match[4] or "").strip("/")
        if ".." in inner.split("/") or not (any(folder.glob(inner)) if inner else folder.exists()):
            raise StatementFailed("PATH_NOT_FOUND", f"Path does not exist: {path}.", "42K03")
        return folder / inner

    def require_viewable(self, query: str) -> None:
        """Raise StatementFailed if a valid query can't become a view.

        Sail stores a view's text without its backticks, so names that need them, and paths, are lost.
        """
        self.engine.attach_view(PROBE, self.resolved(query))
        try:
            self.engine.struct(f"select * from {quoted(*PROBE)}", NOWHERE)
        except StatementFailed as error:
            raise unsupported("Sail makes no view with names that need backticks, or over a path", query) from error
        finally:
            self.engine.detach(PROBE, view=True)

    def log(self, **entry: Any) -> None:
        """Add a line to the log of statements."""
        line = json.dumps({"time": datetime.now(UTC).isoformat(), **entry}) + "\n"
        with self._log_lock:
            self._log.write(line)
            self._log.flush()


class WarehouseSession:
    """See Session in contract.py."""

    def __init__(
        self, warehouse: LocalWarehouse, user: str, catalog: str, schema: str, settings: Mapping[str, str]
    ) -> None:
        self.id, self.user = uuid.uuid4().hex[:12], user
        self.warehouse, self.catalog, self.engine = warehouse, warehouse.catalog, warehouse.engine
        self.current_catalog, self.current_schema = catalog, schema
        self.settings = {key.lower(): value for key, value in settings.items()}
        self.temporary_views: dict[str, str] = {}

    def execute(self, statement: str) -> pa.Table:
        started, outcome = time.perf_counter(), "ok"
        try:
            with self.warehouse.lock:
                started = time.perf_counter()
                bare = sql.bare(statement)
                handler = self._handler(bare)
                privileges.require(self, bare)
                return handler()
        except Exception as error:
            outcome = str(error).split("\n")[0]
            raise
        finally:
            seconds = round(time.perf_counter() - started, 4)
            self.warehouse.log(session=self.id, statement=statement, outcome=outcome, seconds=seconds)

    def close(self) -> None:
        self.temporary_views.clear()

    def _handler(self, bare: str) -> Callable[[], pa.Table]:
        """Return the function that answers a statement. Raises StatementFailed if there is none."""
        if QUERY.match(bare):
            return partial(self.query, bare)
        if change := CHANGE.match(bare):
            return partial(self._change, bare, change)
        for pattern, handler in HANDLERS:
            if match := pattern.fullmatch(bare):
                return partial(handler, self, match)
        if KNOWN.match(bare):
            raise unsupported("the local warehouse does not know this statement", bare)
        word = (bare.split() or ["end of input"])[0]
        message = f"Syntax error at or near '{word}': the local warehouse knows no such statement."
        raise StatementFailed("PARSE_SYNTAX_ERROR", message, "42601", bare)

    @property
    def context(self) -> Context:
        """The session's current context. If its schema doesn't exist (yet), no unqualified name is found."""
        timezone = self.settings.get("timezone") or self.settings.get("spark.sql.session.timezone") or "UTC"
        schemas = self.catalog.schemas(self.current_catalog)
        schema = self.current_schema if self.current_schema in schemas else EMPTY_SCHEMA
        return Context(self.current_catalog, schema, timezone, self.temporary_views)

    def query(self, text: str) -> pa.Table:
        """Answer a query."""
        if re.search(r"\binformation_schema\b", sql.code(text), re.IGNORECASE):
            return information_schema.answer(self.catalog, text, self.current_catalog)
        return self.engine.run(self.resolved(text), self.context)

    def _change(self, text: str, change: re.Match[str]) -> pa.Table:
        """Execute a data change, and return the same row counts as Databricks."""
        table = self.catalog.table(self.catalog.relation(self.name(change["name"]), kind="table"))
        before = table.snapshot().version
        self.engine.run(self.resolved(text), self.context)
        after = table.snapshot().version
        metrics = table.commit_info(after).get("operationMetrics", {}) if after > before else {}
        verb = change["verb"].split()[0].lower()
        counts = {
            "insert": {"inserted": "numOutputRows"},
            "update": {"updated": "numUpdatedRows"},
            "delete": {"deleted": "numDeletedRows"},
            "merge": {"updated": "numTargetRowsUpdated", "deleted": "numTargetRowsDeleted",
                      "inserted": "numTargetRowsInserted"},
        }[verb]  # fmt: skip
        numbers = {f"num_{what}_rows": int(metrics.get(metric, 0)) for what, metric in counts.items()}
        if verb in ("update", "delete"):
            numbers = {"num_affected_rows": sum(numbers.values())}
        return rows([{"num_affected_rows": sum(numbers.values()), **numbers}])

    def name(self, written: str) -> Name:
        """Complete a relation's or volume's name. Raises StatementFailed if it has too many parts."""
        parts = sql.parts(written)
        full = [self.current_catalog, self.current_schema][: 3 - len(parts)] + parts
        return full[0], full[1], full[2]

    def schema_name(self, written: str | None) -> tuple[str, str]:
        """Complete a schema's name, by default the current one."""
        parts = sql.parts(written) if written else [self.current_schema]
        full = [self.current_catalog][: 2 - len(parts)] + parts
        return full[0], full[1]

    def path(self, kind: str, written: str | None) -> tuple[str, ...]:
        """Complete the name of an object of any kind; by default, the current catalog's or schema's."""
        if kind.lower() == "catalog":
            return (sql.parts(written)[0] if written else self.current_catalog,)
        if kind.lower() in ("schema", "database"):
            return self.schema_name(written)
        assert written is not None
        return self.name(written)

    def resolved(self, text: str) -> str:
        """Return a statement for the engine. Raises StatementFailed if there is nothing at a path in it."""
        return self.warehouse.resolved(sql.with_user(text, self.user), self.temporary_views)

    def complete(self, query: str) -> tuple[str, Struct]:
        """Return a query with fully qualified names, for a view, and the type of its rows."""
        try:
            return query, self.engine.struct(self.resolved(query), NOWHERE)
        except StatementFailed as error:
            if error.sqlstate != "42P01":
                raise
        ctes = sql.ctes(query)

        def completed(match: re.Match[str]) -> str:
            parts = sql.parts(match[2])
            if len(parts) == 3 or parts[0] in ctes or self.catalog.find(self.name(match[2])) is None:
                return match[0]
            return match[1] + quoted(*self.name(match[2]))

        query = re.sub(rf"(\b(?:from|join)\s+)({sql.NAME})", completed, query, flags=re.IGNORECASE)
        return query, self.engine.struct(self.resolved(query), NOWHERE)
