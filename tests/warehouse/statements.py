"""Sessions, and the statements of Databricks that are answered here; queries and data changes go on to the SQL engine.

What is neither is an error that shows the statement.
"""

from __future__ import annotations

import json
import re
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from tests.warehouse import information_schema, sql
from tests.warehouse.catalog import Catalog, Relation, quoted
from tests.warehouse.contract import Context, Name, SqlEngine, StatementFailed, Struct
from tests.warehouse.delta import type_json, type_name

NOTHING = pa.table({})
NOWHERE = Context("nowhere", "default")
QUERY = re.compile(r"(select|with|values|table|from|explain)\b|\(", re.IGNORECASE)
CHANGE = re.compile(
    rf"(?P<verb>insert (?:into|overwrite)(?: table)?|merge into|delete from|update) (?P<name>{sql.NAME})".replace(
        " ", r"\s+"
    ),
    re.IGNORECASE,
)
PATH = re.compile(r"\b(parquet|json|text|csv|delta)\s*\.\s*`([^`]+)`", re.IGNORECASE)
READ_FILES = re.compile(
    r"\bread_files\s*\(\s*'([^']+)'\s*(?:,\s*format\s*=>\s*'(parquet|json|text|csv)'\s*)?\)", re.IGNORECASE
)
KINDS = "catalog|schema|database|table|view|volume"

Handler = Callable[["WarehouseSession", re.Match[str]], pa.Table]
_HANDLERS: list[tuple[re.Pattern[str], Handler]] = []


def statement(pattern: str) -> Callable[[Handler], Handler]:
    """Let a function answer the statements that match a pattern; a space is any white space, NAME a name."""
    pattern = pattern.replace(" ", r"\s+").replace("NAME", sql.NAME).replace("STRING", sql.STRING)
    compiled = re.compile(pattern, re.IGNORECASE | re.DOTALL)

    def register(handler: Handler) -> Handler:
        _HANDLERS.append((compiled, handler))
        return handler

    return register


class LocalWarehouse:
    """The catalog and the engine that its sessions share, one statement at a time, and the log of all statements."""

    def __init__(self, catalog: Catalog, engine: SqlEngine) -> None:
        self.catalog, self.engine = catalog, engine
        self.lock = threading.RLock()
        self._log = (catalog.folder / "statements.jsonl").open("a", encoding="utf-8")
        self.attach_all()

    def open_session(self, catalog: str | None, schema: str | None, settings: Mapping[str, str]) -> WarehouseSession:
        """Open a session; as on Databricks, neither has to exist yet."""
        first = next(iter(self.catalog.catalogs))
        return WarehouseSession(self, (catalog or first).lower(), (schema or "default").lower(), settings)

    def attach_all(self) -> None:
        """Tell the engine, new or begun anew, of everything in the catalog."""
        self.engine.restart(list(self.catalog.catalogs))
        for catalog, schemas in self.catalog.catalogs.items():
            for schema in schemas:
                self.engine.attach_schema(catalog, schema)
        for name, relation in sorted(self.catalog.relations(), key=lambda entry: entry[1].created):
            self.attach(name, relation)

    def attach(self, name: Name, relation: Relation) -> None:
        """Tell the engine of a table or view."""
        if relation.query is not None:
            self.engine.attach_view(name, relation.query)
        else:
            self.engine.attach_table(name, self.catalog.table(relation).location)

    def log(self, **entry: Any) -> None:
        """Add a line to the log of statements."""
        self._log.write(json.dumps({"time": datetime.now(UTC).isoformat(), **entry}) + "\n")
        self._log.flush()


class WarehouseSession:
    """See Session in contract.py."""

    def __init__(self, warehouse: LocalWarehouse, catalog: str, schema: str, settings: Mapping[str, str]) -> None:
        self.id = uuid.uuid4().hex[:12]
        self.warehouse, self.catalog, self.engine = warehouse, warehouse.catalog, warehouse.engine
        self.current_catalog, self.current_schema = catalog, schema
        self.settings = {key.lower(): value for key, value in settings.items()}
        self.temporary_views: dict[str, str] = {}

    def execute(self, statement: str) -> pa.Table:
        started, outcome = time.perf_counter(), "ok"
        try:
            with self.warehouse.lock:
                started = time.perf_counter()
                return self._execute(sql.bare(statement))
        except Exception as error:
            outcome = str(error).split("\n")[0]
            raise
        finally:
            seconds = round(time.perf_counter() - started, 4)
            self.warehouse.log(session=self.id, statement=statement, outcome=outcome, seconds=seconds)

    def close(self) -> None:
        self.temporary_views.clear()

    def _execute(self, bare: str) -> pa.Table:
        if QUERY.match(bare):
            return self.query(bare)
        if change := CHANGE.match(bare):
            return self._change(bare, change)
        for pattern, handler in _HANDLERS:
            if match := pattern.fullmatch(bare):
                return handler(self, match)
        word = (bare.split() or ["end of input"])[0]
        if word.lower() not in {"alter", "create", "drop", "show", "describe", "desc", "comment", "set", "use"}:
            message = f"Syntax error at or near '{word}': the local warehouse knows no such statement."
            raise StatementFailed("PARSE_SYNTAX_ERROR", f"{message}\n\n== SQL ==\n{bare}\n\n", "42601")
        raise unsupported("the local warehouse does not know this statement", bare)

    @property
    def context(self) -> Context:
        """The session's present context; where its schema doesn't exist (yet), nothing is found unqualified."""
        timezone = self.settings.get("timezone") or self.settings.get("spark.sql.session.timezone") or "UTC"
        exists = self.current_schema in self.catalog.catalogs.get(self.current_catalog, {})
        at = (self.current_catalog, self.current_schema) if exists else (NOWHERE.catalog, NOWHERE.schema)
        return Context(*at, timezone, self.temporary_views)

    def query(self, text: str) -> pa.Table:
        """Answer a query."""
        if re.search(r"\binformation_schema\b", sql.code(text), re.IGNORECASE):
            return information_schema.answer(self.catalog, text, self.current_catalog)
        return self.engine.run(self.resolved(text), self.context)

    def _change(self, text: str, change: re.Match[str]) -> pa.Table:
        """Execute a data change, and answer with the numbers of rows that Databricks gives."""
        table = self.catalog.table(self.catalog.relation(self.name(change["name"]), kind="table"))
        before = table.snapshot().version
        self.engine.run(self.resolved(text), self.context)
        metrics: dict[str, int] = {}
        if table.snapshot().version > before:
            metrics = table.history()[0].get("operationMetrics", {})
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

    # --- names and paths ---------------------------------------------------------------------------------------------

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

    def resolved(self, text: str) -> str:
        """Write a statement as the engine takes it, with paths of volumes leading to the server's folders.

        Raises StatementFailed if there is nothing at a path: Sail would read it as a relation without columns.
        """
        text = sql.with_calls(text, {"current_timestamp", "current_date"})
        text = READ_FILES.sub(lambda match: f"{match[2] or 'parquet'}.`{match[1]}`", text)
        return PATH.sub(lambda match: f"{match[1]}.`{self._path(match[2])}`", text)

    def _path(self, path: str) -> Path:
        match = re.fullmatch(r"(?:dbfs:)?/Volumes/([^/]+)/([^/]+)/([^/]+)(/.*)?", path)
        if match is None:
            raise unsupported("only paths in volumes (/Volumes/<catalog>/<schema>/<volume>/...) are read", path)
        folder = self.catalog.volumes_folder.joinpath(*(part.lower() for part in match.groups()[:3]))
        inner = (match[4] or "").strip("/")
        if ".." in inner.split("/") or not (any(folder.glob(inner)) if inner else folder.exists()):
            raise StatementFailed("PATH_NOT_FOUND", f"Path does not exist: {path}.", "42K03")
        return folder / inner

    def complete(self, query: str) -> tuple[str, Struct]:
        """Return a query with complete names, for a view, and the type of its rows."""
        query = self.resolved(query)
        try:
            return query, self.engine.struct(query, NOWHERE)
        except StatementFailed as error:
            if error.sqlstate != "42P01":
                raise
        ctes = {sql.parts(name)[0] for name in re.findall(rf"({sql.PART})\s+as\s*\(", query, re.IGNORECASE)}

        def completed(match: re.Match[str]) -> str:
            parts = sql.parts(match[2])
            if len(parts) == 3 or parts[0] in ctes or self.catalog.find(self.name(match[2])) is None:
                return match[0]
            return match[1] + quoted(*self.name(match[2]))

        query = re.sub(rf"(\b(?:from|join)\s+)({sql.NAME})", completed, query, flags=re.IGNORECASE)
        return query, self.engine.struct(query, NOWHERE)


def unsupported(why: str, bare: str) -> StatementFailed:
    """Return the error of a statement that Databricks may know, but nothing here."""
    return StatementFailed("UNSUPPORTED_FEATURE.LOCAL_WAREHOUSE", f"{why}\n\n== SQL ==\n{bare}\n\n", "0A000")


def rows(found: Iterable[Mapping[str, Any]], schema: pa.Schema | None = None) -> pa.Table:
    """Return dicts as a table; the schema is needed where there may be none, or none but NULLs."""
    return pa.Table.from_pylist(list(found), schema=schema)


def strings(*names: str) -> pa.Schema:
    """Return the schema of a table of strings."""
    return pa.schema([(name, pa.string()) for name in names])


# --- catalogs and schemas --------------------------------------------------------------------------------------------


@statement(r"create catalog (if not exists )?(NAME)(?: comment STRING)?")
def create_catalog(session: WarehouseSession, match: re.Match[str]) -> pa.Table:
    (name,) = sql.parts(match[2])
    if name not in session.catalog.catalogs:
        session.catalog.create_catalog(name)
        session.warehouse.attach_all()
    elif not match[1]:
        raise StatementFailed("CATALOG_ALREADY_EXISTS", f"Catalog '{name}' already exists.", "42P04")
    return NOTHING


@statement(r"create (?:schema|database) (if not exists )?(NAME)(?: comment (STRING))?")
def create_schema(session: WarehouseSession, match: re.Match[str]) -> pa.Table:
    catalog, schema = session.schema_name(match[2])
    schemas = session.catalog.schemas(catalog)
    if schema in schemas and not match[1]:
        raise StatementFailed("SCHEMA_ALREADY_EXISTS", f"The schema `{catalog}`.`{schema}` exists already.", "42P06")
    if schema not in schemas:
        session.engine.attach_schema(catalog, schema)
        schemas[schema] = type(session.catalog.schema(catalog, "default"))(sql.text(match[3]) if match[3] else None)
        session.catalog.save()
    return NOTHING


@statement(r"drop (?:schema|database) (if exists )?(NAME)(?: (cascade|restrict))?")
def drop_schema(session: WarehouseSession, match: re.Match[str]) -> pa.Table:
    catalog, schema = session.schema_name(match[2])
    if match[1] and schema not in session.catalog.schemas(catalog):
        return NOTHING
    content = session.catalog.schema(catalog, schema)
    if (content.relations or content.volumes) and (match[3] or "").lower() != "cascade":
        message = f"Cannot drop a schema `{catalog}`.`{schema}` because it contains objects."
        raise StatementFailed("SCHEMA_NOT_EMPTY", message, "2BP01")
    for volume in list(content.volumes):
        session.catalog.drop_volume((catalog, schema, volume))
    session.engine.detach_schema(catalog, schema)
    for name in list(content.relations):
        session.catalog.remove((catalog, schema, name))
    del session.catalog.schemas(catalog)[schema]
    session.catalog.save()
    return NOTHING


@statement(r"use catalog (NAME)")
def use_catalog(session: WarehouseSession, match: re.Match[str]) -> pa.Table:
    (name,) = sql.parts(match[1])
    session.catalog.schemas(name)
    session.current_catalog, session.current_schema = name, "default"
    return NOTHING


@statement(r"use (?:(?:schema|database) )?(NAME)")
def use_schema(session: WarehouseSession, match: re.Match[str]) -> pa.Table:
    catalog, schema = session.schema_name(match[1])
    session.catalog.schema(catalog, schema)
    session.current_catalog, session.current_schema = catalog, schema
    return NOTHING


@statement(r"show catalogs")
def show_catalogs(session: WarehouseSession, _match: re.Match[str]) -> pa.Table:
    return rows([{"catalog": name} for name in session.catalog.catalogs], strings("catalog"))


def _like(names: Iterable[str], pattern: str | None) -> list[str]:
    """Return the names that match the pattern of a SHOW statement (* and |), all if there is none."""
    if pattern is None:
        return sorted(names)
    regex = "|".join(re.escape(part).replace(r"\*", ".*") for part in sql.text(pattern).lower().split("|"))
    return sorted(name for name in names if re.fullmatch(regex, name))


@statement(r"show (?:schemas|databases)(?: (?:in|from) (NAME))?(?: (?:like )?(STRING))?")
def show_schemas(session: WarehouseSession, match: re.Match[str]) -> pa.Table:
    catalog = sql.parts(match[1])[0] if match[1] else session.current_catalog
    names = [*session.catalog.schemas(catalog), "information_schema"]
    return rows([{"databaseName": name} for name in _like(names, match[2])], strings("databaseName"))


@statement(r"show (tables|views)(?: (?:in|from) (NAME))?(?: (?:like )?(STRING))?")
def show_relations(session: WarehouseSession, match: re.Match[str]) -> pa.Table:
    catalog, schema = session.schema_name(match[2])
    relations = session.catalog.schema(catalog, schema).relations
    only_views = match[1].lower() == "views"
    names = _like([name for name, relation in relations.items() if relation.is_view or not only_views], match[3])
    found = [(schema, name, False) for name in names]
    found += [("", name, True) for name in _like(session.temporary_views, match[3])]
    columns = ("namespace", "viewName") if only_views else ("database", "tableName")
    types = pa.schema([(columns[0], pa.string()), (columns[1], pa.string()), ("isTemporary", pa.bool_())])
    return rows([dict(zip(types.names, row, strict=True)) for row in found], types)


# --- tables and views ------------------------------------------------------------------------------------------------


@statement(r"create (or replace )?table (if not exists )?(NAME)\s*(.*)")
def create_table(session: WarehouseSession, match: re.Match[str]) -> pa.Table:
    name, reader = session.name(match[3]), sql.Reader(match[4])
    existing = session.catalog.find(name)
    session.catalog.schema(*name[:2])
    if existing and match[2]:
        return NOTHING
    if existing and (not match[1] or existing.is_view):
        message = f"Cannot create table or view {quoted(*name)} because it already exists."
        raise StatementFailed("TABLE_OR_VIEW_ALREADY_EXISTS", message, "42P07")
    columns, keys = _without_keys(reader.parenthesized())
    comment, properties, partitioned_by, query = None, {}, [], None
    while reader.rest:
        if clause := reader.take(r"using (\w+)"):
            if clause[1].lower() != "delta":
                raise unsupported("only Delta tables are kept", match[0])
        elif clause := reader.take(rf"comment ({sql.STRING})"):
            comment = sql.text(clause[1])
        elif reader.take("tblproperties"):
            properties |= sql.pairs(reader.parenthesized() or "")
        elif reader.take("partitioned by"):
            partitioned_by = [sql.unquoted(column) for column in sql.split(reader.parenthesized() or "")]
        elif reader.take("cluster by"):
            properties["clusteringColumns"] = json.dumps([[c] for c in sql.split(reader.parenthesized() or "")])
        elif reader.take("as"):
            query, reader.rest = reader.rest, ""
        else:
            raise unsupported(f"unknown clause in CREATE TABLE: {reader.rest[:40]}", match[0])
    scratch = session.catalog.new_table()
    if query is not None and columns is None:
        session.engine.write(session.resolved(query), session.context, scratch.location, partitioned_by)
    elif query is None and columns is not None:
        if partitioned_by:
            raise unsupported("PARTITIONED BY without AS", match[0])
        session.engine.declare(columns, session.context, scratch.location)
    else:
        raise unsupported("CREATE TABLE with columns or with AS, not both or neither", match[0])
    struct = scratch.snapshot().struct
    if query is not None:  # a query's columns may be NULL, whatever the engine has found out about its rows
        for field in struct["fields"]:
            field["nullable"] = True
    configuration = {**scratch.snapshot().metadata["configuration"], **properties}
    changes = {"description": comment, "configuration": configuration, "schemaString": json.dumps(struct)}
    table = session.catalog.table(existing) if existing else session.catalog.new_table()
    operation = f"{'CREATE OR REPLACE' if match[1] else 'CREATE'} TABLE{' AS SELECT' if query is not None else ''}"
    table.take_over(scratch, operation, changes)
    relation = Relation(location=table.location.name, keys=keys)
    session.catalog.put(name, relation)
    if not existing:
        session.warehouse.attach(name, relation)
    session.catalog.sweep()
    return rows([{"num_affected_rows": 0, "num_inserted_rows": 0}]) if query is not None else NOTHING


def _without_keys(columns: str | None) -> tuple[str | None, dict[str, dict[str, Any]]]:
    """Part the columns of CREATE TABLE from its table constraints."""
    if columns is None:
        return None, {}
    keys: dict[str, dict[str, Any]] = {}
    kept = []
    for item in sql.split(columns):
        if match := re.match(rf"(?:constraint\s+({sql.PART})\s+)?((?:primary|foreign)\s+key\b.*)", item, re.I | re.S):
            keys[sql.unquoted(match[1] or f"key_{len(keys)}").lower()] = key_of(match[2])
        else:
            kept.append(item)
    return ", ".join(kept), keys


def key_of(written: str) -> dict[str, Any]:
    """Read `primary key (a, b)` or `foreign key (a) references c.s.t (b)`; both inform, and are not enforced."""
    match = re.match(
        rf"(primary|foreign)\s+key\s*\(([^)]*)\)(?:\s*references\s+({sql.NAME})\s*(?:\(([^)]*)\))?)?", written, re.I
    )
    if match is None or (match[1].lower() == "foreign") != bool(match[3]):
        raise unsupported("a constraint is CHECK (...), PRIMARY KEY (...) or FOREIGN KEY (...) REFERENCES ...", written)
    columns = [sql.unquoted(column.split()[0]) for column in sql.split(match[2])]
    key: dict[str, Any] = {"type": f"{match[1].upper()} KEY", "columns": columns}
    if match[3]:
        key["parent"] = sql.parts(match[3])
        key["parent_columns"] = [sql.unquoted(column) for column in sql.split(match[4] or "")]
    return key


@statement(r"create (or replace )?(?:temporary|temp) view (NAME)\s*(.*)")
def create_temporary_view(session: WarehouseSession, match: re.Match[str]) -> pa.Table:
    (name,) = sql.parts(match[2])
    reader = sql.Reader(match[3])
    if not reader.take("as"):
        raise unsupported("CREATE TEMPORARY VIEW takes only AS", match[0])
    if name in session.temporary_views and not match[1]:
        message = f"Cannot create the temporary view `{name}` because it already exists."
        raise StatementFailed("TEMP_TABLE_OR_VIEW_ALREADY_EXISTS", message, "42P07")
    query = session.resolved(reader.rest)
    session.engine.struct(query, session.context)
    session.temporary_views[name] = query
    return NOTHING


@statement(r"create (or replace )?view (if not exists )?(NAME)\s*(.*)")
def create_view(session: WarehouseSession, match: re.Match[str]) -> pa.Table:
    name, reader = session.name(match[3]), sql.Reader(match[4])
    existing = session.catalog.find(name)
    session.catalog.schema(*name[:2])
    if existing and match[2]:
        return NOTHING
    if existing and (not match[1] or not existing.is_view):
        message = f"Cannot create table or view {quoted(*name)} because it already exists."
        raise StatementFailed("TABLE_OR_VIEW_ALREADY_EXISTS", message, "42P07")
    relation = Relation()
    columns = sql.split(reader.parenthesized() or "")
    while not reader.take("as"):
        if clause := reader.take(rf"comment ({sql.STRING})"):
            relation.comment = sql.text(clause[1])
        elif reader.take("tblproperties"):
            relation.properties |= sql.pairs(reader.parenthesized() or "")
        else:
            raise unsupported(f"unknown clause in CREATE VIEW: {reader.rest[:40]}", match[0])
    _set_query(session, relation, reader.rest, columns)
    session.catalog.put(name, relation)
    session.warehouse.attach(name, relation)
    return NOTHING


def _set_query(session: WarehouseSession, relation: Relation, query: str, columns: list[str] | None = None) -> None:
    """Give a view its query, its columns named (and commented) as in `columns`, each `name [COMMENT 'text']`."""
    relation.query, struct = session.complete(query)
    if columns:
        named = [re.match(rf"({sql.PART})(?:\s+comment\s+({sql.STRING}))?", c, re.I | re.S) for c in columns]
        if len(named) != len(struct["fields"]) or None in named:
            message = f"The view has {len(columns)} columns, but its query {len(struct['fields'])}."
            raise StatementFailed("CREATE_VIEW_COLUMN_ARITY_MISMATCH", message, "21S01")
        names = ", ".join(match[1] for match in named if match)
        relation.query = f"select * from ({relation.query}) as named ({names})"
        for field, match in zip(struct["fields"], named, strict=True):
            assert match
            field["name"] = sql.unquoted(match[1])
            field["metadata"] = {"comment": sql.text(match[2])} if match[2] else {}
    relation.struct = struct


@statement(r"alter view (NAME) as (.*)")
def alter_view(session: WarehouseSession, match: re.Match[str]) -> pa.Table:
    name = session.name(match[1])
    relation = session.catalog.relation(name, kind="view")
    _set_query(session, relation, match[2])
    session.catalog.save()
    session.warehouse.attach(name, relation)
    return NOTHING


@statement(r"drop (table|view) (if exists )?(NAME)")
def drop_relation(session: WarehouseSession, match: re.Match[str]) -> pa.Table:
    parts, kind = sql.parts(match[3]), match[1].lower()
    if kind == "view" and len(parts) == 1 and session.temporary_views.pop(parts[0], None):
        return NOTHING
    name = session.name(match[3])
    if match[2] and session.catalog.find(name) is None:
        return NOTHING
    session.catalog.relation(name, kind=kind)
    session.catalog.remove(name)
    session.engine.detach(name, view=kind == "view")
    return NOTHING


@statement(r"alter (table|view) (NAME) rename to (NAME)")
def rename_relation(session: WarehouseSession, match: re.Match[str]) -> pa.Table:
    old, new, kind = session.name(match[2]), session.name(match[3]), match[1].lower()
    relation = session.catalog.relation(old, kind=kind)
    if session.catalog.find(new):
        message = f"Cannot create table or view {quoted(*new)} because it already exists."
        raise StatementFailed("TABLE_OR_VIEW_ALREADY_EXISTS", message, "42P07")
    del session.catalog.schema(*old[:2]).relations[old[2]]
    session.catalog.put(new, relation)
    session.engine.detach(old, view=relation.is_view)
    session.warehouse.attach(new, relation)
    return NOTHING


# --- what is said of tables and views --------------------------------------------------------------------------------


def change_struct(session: WarehouseSession, relation: Relation, operation: str, struct: Struct) -> None:
    """Give a table or view other columns."""
    if relation.is_view:
        relation.struct = struct
        session.catalog.save()
    else:
        session.catalog.table(relation).change_metadata(operation, {}, struct=struct)


def column_of(struct: Struct, written: str) -> dict[str, Any]:
    """Return a column's field. Raises StatementFailed if there is none of that name."""
    for field in struct["fields"]:
        if field["name"].lower() == sql.unquoted(written.strip()).lower():
            found: dict[str, Any] = field
            return found
    names = ", ".join(quoted(field["name"]) for field in struct["fields"])
    message = f"A column with name {written} cannot be resolved. Did you mean one of: {names}?"
    raise StatementFailed("UNRESOLVED_COLUMN.WITH_SUGGESTION", message, "42703")


@statement(r"alter (?:table|view) (NAME) (set|unset) tblproperties(?: if exists)?\s*\((.*)\)")
def alter_properties(session: WarehouseSession, match: re.Match[str]) -> pa.Table:
    relation = session.catalog.relation(session.name(match[1]))
    given = sql.pairs(match[3])
    held = (
        relation.properties
        if relation.is_view
        else session.catalog.table(relation).snapshot().metadata["configuration"]
    )
    if match[2].lower() == "set":
        changed = {**held, **given}
    else:
        changed = {key: value for key, value in held.items() if key not in given}
    if relation.is_view:
        relation.properties = changed
        session.catalog.save()
    else:
        operation = f"{match[2].upper()} TBLPROPERTIES"
        session.catalog.table(relation).change_metadata(operation, {}, configuration=changed)
    return NOTHING


@statement(r"show tblproperties (NAME)(?:\s*\(\s*(STRING|[\w.]+)\s*\))?")
def show_properties(session: WarehouseSession, match: re.Match[str]) -> pa.Table:
    held = session.catalog.properties(session.catalog.relation(session.name(match[1])))
    if match[2]:
        key = sql.text(match[2]) if match[2][0] in "'\"" else match[2]
        held = {key: held.get(key, f"Table {match[1]} does not have property: {key}")}
    return rows([{"key": key, "value": value} for key, value in sorted(held.items())], strings("key", "value"))


@statement(r"comment on (table|view|schema|database|volume) (NAME) is (STRING|null)")
def comment_on(session: WarehouseSession, match: re.Match[str]) -> pa.Table:
    kind, comment = match[1].lower(), None if match[3].lower() == "null" else sql.text(match[3])
    if kind in ("schema", "database"):
        session.catalog.schema(*session.schema_name(match[2])).comment = comment
    elif kind == "volume":
        name = session.name(match[2])
        _volume(session, name)
        session.catalog.schema(*name[:2]).volumes[name[2]] = comment
    else:
        relation = session.catalog.relation(session.name(match[2]))
        relation.comment = comment
        if not relation.is_view:
            session.catalog.table(relation).change_metadata("SET TBLPROPERTIES", {}, description=comment)
            return NOTHING
    session.catalog.save()
    return NOTHING


@statement(r"comment on column (NAME)\s*\.\s*(\w+|`(?:[^`]|``)+`) is (STRING|null)")
def comment_on_column(session: WarehouseSession, match: re.Match[str]) -> pa.Table:
    return _comment_column(session, match[1], match[2], match[3])


@statement(r"alter (?:table|view) (NAME) (?:alter|change) column (\w+|`(?:[^`]|``)+`) comment (STRING)")
def alter_column_comment(session: WarehouseSession, match: re.Match[str]) -> pa.Table:
    return _comment_column(session, match[1], match[2], match[3])


def _comment_column(session: WarehouseSession, name: str, column: str, comment: str) -> pa.Table:
    relation = session.catalog.relation(session.name(name))
    struct = session.catalog.struct(relation)
    metadata = column_of(struct, column)["metadata"]
    metadata.pop("comment", None)
    if comment.lower() != "null":
        metadata["comment"] = sql.text(comment)
    change_struct(session, relation, "CHANGE COLUMN", struct)
    return NOTHING


@statement(r"alter table (NAME) (?:alter|change) column (\w+|`(?:[^`]|``)+`) (set|drop) not null")
def alter_not_null(session: WarehouseSession, match: re.Match[str]) -> pa.Table:
    name = session.name(match[1])
    relation = session.catalog.relation(name, kind="table")
    struct = session.catalog.struct(relation)
    column = column_of(struct, match[2])
    column["nullable"] = match[3].lower() == "drop"
    if not column["nullable"]:
        held = f"select 1 from {quoted(*name)} where {quoted(column['name'])} is null limit 1"
        if session.engine.run(held, session.context).num_rows:
            message = f"Cannot set column {column['name']} NOT NULL: {'.'.join(name)} has NULLs in it."
            raise StatementFailed("DELTA_NOT_NULL_CONSTRAINT_VIOLATED", message, "23502")
    change_struct(session, relation, "CHANGE COLUMN", struct)
    return NOTHING


@statement(r"alter table (NAME) add columns?\s*(.*)")
def add_columns(session: WarehouseSession, match: re.Match[str]) -> pa.Table:
    relation = session.catalog.relation(session.name(match[1]), kind="table")
    struct = session.catalog.struct(relation)
    scratch = session.catalog.new_table()
    session.engine.declare(sql.Reader(match[2]).parenthesized() or match[2], session.context, scratch.location)
    held = {field["name"].lower() for field in struct["fields"]}
    for field in scratch.snapshot().struct["fields"]:
        if field["name"].lower() in held or not field["nullable"]:
            message = f"Column {field['name']} exists already, or is NOT NULL, which an added column can't be."
            raise StatementFailed("FIELD_ALREADY_EXISTS", message, "42710")
        struct["fields"].append(field)
    change_struct(session, relation, "ADD COLUMNS", struct)
    session.catalog.sweep()
    return NOTHING


@statement(r"alter table (NAME) add constraint (\w+|`[^`]+`) (check\b.*|primary key\b.*|foreign key\b.*)")
def add_constraint(session: WarehouseSession, match: re.Match[str]) -> pa.Table:
    name, constraint = session.name(match[1]), sql.unquoted(match[2]).lower()
    relation = session.catalog.relation(name, kind="table")
    configuration = session.catalog.table(relation).snapshot().metadata["configuration"]
    if constraint in relation.keys or f"delta.constraints.{constraint}" in configuration:
        message = f"Constraint '{constraint}' already exists. Please delete the old constraint first."
        raise StatementFailed("DELTA_CONSTRAINT_ALREADY_EXISTS", message, "42710")
    if match[3].lower().startswith("check"):
        written = f"alter table {quoted(*name)} add constraint {quoted(constraint)} {match[3]}"
        session.engine.run(written, session.context)
        return NOTHING
    key = key_of(match[3])
    struct = session.catalog.struct(relation)
    nullable = [column for column in key["columns"] if column_of(struct, column)["nullable"]]
    if nullable and key["type"] == "PRIMARY KEY":
        message = f"Cannot create the primary key because its child column(s) {', '.join(nullable)} is nullable."
        raise StatementFailed("UNSUPPORTED_CONSTRAINT.PRIMARY_KEY_NULLABLE", message, "42831")
    if "parent" in key:
        key["parent"] = session.name(quoted(*key["parent"]))
        session.catalog.relation(key["parent"], kind="table")
    relation.keys[constraint] = key
    session.catalog.save()
    return NOTHING


@statement(r"alter table (NAME) drop constraint (if exists )?(\w+|`[^`]+`)(?: cascade| restrict)?")
def drop_constraint(session: WarehouseSession, match: re.Match[str]) -> pa.Table:
    constraint = sql.unquoted(match[3]).lower()
    relation = session.catalog.relation(session.name(match[1]), kind="table")
    table = session.catalog.table(relation)
    configuration = dict(table.snapshot().metadata["configuration"])
    if configuration.pop(f"delta.constraints.{constraint}", None) is not None:
        table.change_metadata("DROP CONSTRAINT", {"name": constraint}, configuration=configuration)
    elif relation.keys.pop(constraint, None) is not None:
        session.catalog.save()
    elif not match[2]:
        message = f"Cannot drop nonexistent constraint {constraint} from table {match[1]}."
        raise StatementFailed("DELTA_CONSTRAINT_DOES_NOT_EXIST", message, "42704")
    return NOTHING


@statement(r"alter (?:table|view) (NAME)(?: alter column (\w+|`[^`]+`))? (set|unset) tags\s*\((.*)\)")
def alter_tags(session: WarehouseSession, match: re.Match[str]) -> pa.Table:
    relation = session.catalog.relation(session.name(match[1]))
    tags = relation.tags
    if match[2]:
        column = column_of(session.catalog.struct(relation), match[2])["name"]
        tags = relation.column_tags.setdefault(column, {})
    for key, value in sql.pairs(match[4]).items():
        if match[3].lower() == "set":
            tags[key] = "" if value == key else value
        else:
            tags.pop(key, None)
    session.catalog.save()
    return NOTHING


@statement(r"alter table (NAME) cluster by (none|auto|\(.*\))")
def cluster_by(session: WarehouseSession, match: re.Match[str]) -> pa.Table:
    table = session.catalog.table(session.catalog.relation(session.name(match[1]), kind="table"))
    configuration = dict(table.snapshot().metadata["configuration"])
    columns = sql.split(match[2][1:-1]) if match[2].startswith("(") else []
    configuration["clusteringColumns"] = json.dumps([[sql.unquoted(column)] for column in columns])
    table.change_metadata("CLUSTER BY", {"newClusteringColumns": ",".join(columns)}, configuration=configuration)
    return NOTHING


# --- describe --------------------------------------------------------------------------------------------------------

DESCRIBED = strings("col_name", "data_type", "comment")


@statement(r"(?:describe|desc)(?: table)?( extended| formatted)? (NAME)( as json)?")
def describe(session: WarehouseSession, match: re.Match[str]) -> pa.Table:
    parts = sql.parts(match[2])
    if len(parts) == 1 and parts[0] in session.temporary_views:
        query = session.temporary_views[parts[0]]
        name, relation = ("", "", parts[0]), None
        struct = session.engine.struct(query, session.context)
    else:
        name = session.name(match[2])
        relation = session.catalog.relation(name)
        struct = session.catalog.struct(relation)
    if match[3]:
        described = json.dumps(_described_as_json(session, name, relation, struct))
        return rows([{"json_metadata": described}], strings("json_metadata"))
    found = [(field["name"], type_name(field["type"]), field["metadata"].get("comment")) for field in struct["fields"]]
    if match[1] and relation:
        found += [("", "", ""), ("# Detailed Table Information", "", "")]
        found += [(key, value, "") for key, value in _details(session, name, relation).items()]
    return rows([dict(zip(DESCRIBED.names, row, strict=True)) for row in found], DESCRIBED)


def _details(session: WarehouseSession, name: Name, relation: Relation) -> dict[str, str]:
    properties = ",".join(f"{key}={value}" for key, value in sorted(session.catalog.properties(relation).items()))
    details = {"Catalog": name[0], "Database": name[1], "Table": name[2], "Created Time": relation.created}
    if relation.query is not None:
        return {**details, "Type": "VIEW", "Comment": relation.comment or "", "View Text": relation.query,
                "Owner": "local", "Table Properties": f"[{properties}]"}  # fmt: skip
    details |= {"Type": "MANAGED", "Provider": "delta", "Owner": "local"}
    details |= {"Comment": session.catalog.comment(relation) or "", "Table Properties": f"[{properties}]"}
    return details


def _described_as_json(
    session: WarehouseSession, name: Name, relation: Relation | None, struct: Struct
) -> dict[str, Any]:
    columns = [
        {"name": field["name"], "type": type_json(field["type"]), "nullable": field["nullable"],
         **({"comment": field["metadata"]["comment"]} if "comment" in field["metadata"] else {})}
        for field in struct["fields"]
    ]  # fmt: skip
    described: dict[str, Any] = {"table_name": name[2], "columns": columns, "type": "VIEW"}
    if relation is None:
        return described
    described |= {"catalog_name": name[0], "namespace": [name[1]], "schema_name": name[1], "owner": "local",
                  "created_time": relation.created, "comment": session.catalog.comment(relation) or "",
                  "table_properties": session.catalog.properties(relation)}  # fmt: skip
    if relation.is_view:
        return {**described, "view_text": relation.query}
    described |= {"type": "MANAGED", "provider": "delta"}
    if relation.keys:
        listed = ", ".join(f"({constraint},{key_text(key)})" for constraint, key in relation.keys.items())
        described["table_constraints"] = f"[{listed}]"
    return described


def key_text(key: dict[str, Any]) -> str:
    """Return a key as SQL declares it."""
    columns = f"({', '.join(quoted(column) for column in key['columns'])})"
    if "parent" not in key:
        return f"{key['type']} {columns}"
    parents = ", ".join(quoted(column) for column in key["parent_columns"] or key["columns"])
    return f"{key['type']} {columns} REFERENCES {quoted(*key['parent'])} ({parents})"


@statement(r"(?:describe|desc) history (NAME)(?: limit (\d+))?")
def describe_history(session: WarehouseSession, match: re.Match[str]) -> pa.Table:
    table = session.catalog.table(session.catalog.relation(session.name(match[1]), kind="table"))
    text_map = pa.map_(pa.string(), pa.string())
    schema = pa.schema(
        [("version", pa.int64()), ("timestamp", pa.timestamp("us", "UTC")), ("userName", pa.string()),
         ("operation", pa.string()), ("operationParameters", text_map), ("isBlindAppend", pa.bool_()),
         ("operationMetrics", text_map), ("engineInfo", pa.string())]
    )  # fmt: skip
    found = []
    for commit in table.history()[: int(match[2]) if match[2] else None]:
        texts = {
            key: [(name, str(value)) for name, value in commit.get(key, {}).items()]
            for key in ("operationParameters", "operationMetrics")
        }
        moment = datetime.fromtimestamp(commit.get("timestamp", 0) / 1000, UTC)
        found.append({**commit, **texts, "timestamp": moment, "userName": "local"})
    return rows([{column: commit.get(column) for column in schema.names} for commit in found], schema)


@statement(r"show columns (?:in|from) (NAME)")
def show_columns(session: WarehouseSession, match: re.Match[str]) -> pa.Table:
    struct = session.catalog.struct(session.catalog.relation(session.name(match[1])))
    return rows([{"col_name": field["name"]} for field in struct["fields"]], strings("col_name"))


# --- Delta -----------------------------------------------------------------------------------------------------------


@statement(r"restore (?:table )?(NAME) to (?:(version) as of (\d+)|timestamp as of (STRING))")
def restore(session: WarehouseSession, match: re.Match[str]) -> pa.Table:
    table = session.catalog.table(session.catalog.relation(session.name(match[1]), kind="table"))
    if match[2]:
        version = int(match[3])
    else:
        moment = datetime.fromisoformat(sql.text(match[4]))
        version = table.version_at(int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000))
    before = dict(table.snapshot().files)
    table.restore(version)
    after = table.snapshot().files
    removed, restored = before.keys() - after.keys(), after.keys() - before.keys()
    return rows(
        [{"table_size_after_restore": sum(add["size"] for add in after.values()),
          "num_of_files_after_restore": len(after), "num_removed_files": len(removed),
          "num_restored_files": len(restored), "removed_files_size": sum(before[path]["size"] for path in removed),
          "restored_files_size": sum(after[path]["size"] for path in restored)}]
    )  # fmt: skip


@statement(r"optimize (NAME)(?: (?:full|zorder by\s*\(.*\)))?")
def optimize(session: WarehouseSession, match: re.Match[str]) -> pa.Table:
    name = session.name(match[1])
    table = session.catalog.table(session.catalog.relation(name, kind="table"))
    current = table.snapshot()
    if len(current.files) > 1 and not current.metadata["partitionColumns"]:
        scratch = session.catalog.new_table()
        session.engine.write(f"select * from {quoted(*name)}", session.context, scratch.location, [])
        table.take_over(scratch, "OPTIMIZE", current.metadata)
        session.catalog.sweep()
    return rows([{"path": str(table.location), "metrics": None}], strings("path", "metrics"))


# --- volumes, grants, settings ---------------------------------------------------------------------------------------


def _volume(session: WarehouseSession, name: Name) -> None:
    if name[2] not in session.catalog.schema(*name[:2]).volumes:
        raise StatementFailed("VOLUME_DOES_NOT_EXIST", f"Volume {quoted(*name)} does not exist.", "42704")


@statement(r"create volume (if not exists )?(NAME)(?: comment (STRING))?")
def create_volume(session: WarehouseSession, match: re.Match[str]) -> pa.Table:
    name = session.name(match[2])
    if name[2] not in session.catalog.schema(*name[:2]).volumes:
        session.catalog.create_volume(name, sql.text(match[3]) if match[3] else None)
    elif not match[1]:
        raise StatementFailed("VOLUME_ALREADY_EXISTS", f"Volume {quoted(*name)} already exists.", "42000")
    return NOTHING


@statement(r"drop volume (if exists )?(NAME)")
def drop_volume(session: WarehouseSession, match: re.Match[str]) -> pa.Table:
    name = session.name(match[2])
    if match[1] and name[2] not in session.catalog.schema(*name[:2]).volumes:
        return NOTHING
    _volume(session, name)
    session.catalog.drop_volume(name)
    return NOTHING


@statement(r"show volumes(?: (?:in|from) (NAME))?(?: (?:like )?(STRING))?")
def show_volumes(session: WarehouseSession, match: re.Match[str]) -> pa.Table:
    catalog, schema = session.schema_name(match[1])
    names = _like(session.catalog.schema(catalog, schema).volumes, match[2])
    schema_ = strings("database", "volume_name")
    return rows([{"database": schema, "volume_name": name} for name in names], schema_)


@statement(rf"(grant|revoke) (.+?) on (?:({KINDS}) )?(NAME) (?:to|from) (`[^`]+`|\S+)")
def grant(session: WarehouseSession, match: re.Match[str]) -> pa.Table:
    kind = (match[3] or "table").upper()
    for action in match[2].split(","):
        entry = {"Principal": sql.unquoted(match[5]), "ActionType": " ".join(action.upper().split()),
                 "ObjectType": kind, "ObjectKey": ".".join(sql.parts(match[4]))}  # fmt: skip
        if entry in session.catalog.grants:
            session.catalog.grants.remove(entry)
        if match[1].lower() == "grant":
            session.catalog.grants.append(entry)
    session.catalog.save()
    return NOTHING


@statement(rf"show grants?(?: (?!on\b)(`[^`]+`|\S+))? on (?:({KINDS}) )?(NAME)")
def show_grants(session: WarehouseSession, match: re.Match[str]) -> pa.Table:
    wanted = {"ObjectType": (match[2] or "table").upper(), "ObjectKey": ".".join(sql.parts(match[3]))}
    if match[1]:
        wanted["Principal"] = sql.unquoted(match[1])
    found = [entry for entry in session.catalog.grants if wanted.items() <= entry.items()]
    return rows(found, strings("Principal", "ActionType", "ObjectType", "ObjectKey"))


@statement(r"set time zone (STRING|local)")
def set_time_zone(session: WarehouseSession, match: re.Match[str]) -> pa.Table:
    session.settings["timezone"] = "UTC" if match[1].lower() == "local" else sql.text(match[1])
    return NOTHING


@statement(r"set (`[^`]+`|[\w.]+)(?:\s*=\s*(.*))?")
def set_setting(session: WarehouseSession, match: re.Match[str]) -> pa.Table:
    key = sql.unquoted(match[1]).lower()
    if match[2] is not None:
        session.settings[key] = sql.text(match[2]) if re.fullmatch(sql.STRING, match[2]) else match[2]
    value = session.settings.get(key, "<undefined>")
    return rows([{"key": key, "value": value}], strings("key", "value"))
