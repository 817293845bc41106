"""Statements that create, change and drop tables and views, and Delta's own: RESTORE, OPTIMIZE."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from local_warehouse import sql
from local_warehouse.catalog import KEEP_LOG, Relation, quoted
from local_warehouse.contract import Name, StatementFailed, Struct
from local_warehouse.registry import NOTHING, rows, statement, strings, unsupported

if TYPE_CHECKING:
    from local_warehouse.sessions import WarehouseSession


@dataclass
class _Clauses:
    """The clauses after the name (and the columns) in CREATE TABLE."""

    comment: str | None = None
    properties: dict[str, str] = field(default_factory=dict)
    partitioned_by: list[str] = field(default_factory=list)
    query: str | None = None

    @staticmethod
    def read(reader: sql.Reader, written: str) -> _Clauses:
        """Read all remaining clauses. Raises StatementFailed if one is unknown."""
        clauses = _Clauses()
        while reader.rest:
            if clause := reader.take(r"using (\w+)"):
                if clause[1].lower() != "delta":
                    raise unsupported("only Delta tables are kept", written)
            elif clause := reader.take(rf"comment ({sql.STRING})"):
                clauses.comment = sql.text(clause[1])
            elif reader.take("tblproperties"):
                clauses.properties |= sql.pairs(reader.parenthesized() or "")
            elif reader.take("partitioned by"):
                clauses.partitioned_by = [sql.unquoted(part) for part in sql.split(reader.parenthesized() or "")]
            elif reader.take("cluster by"):
                keys = [[sql.unquoted(part)] for part in sql.split(reader.parenthesized() or "")]
                clauses.properties["clusteringColumns"] = json.dumps(keys)
            elif reader.take("as"):
                clauses.query, reader.rest = reader.rest, ""
            else:
                raise unsupported(f"unknown clause in CREATE TABLE: {reader.rest[:40]}", written)
        return clauses


@statement(r"create (or replace )?table (if not exists )?(NAME)\s*(.*)")
def create_table(session: WarehouseSession, match: re.Match[str]) -> pa.Table:
    name, reader = session.name(match[3]), sql.Reader(match[4])
    existing = _replaceable(session, name, match, view=False)
    if existing and match[2]:
        return NOTHING
    columns, keys = _without_keys(session, reader.parenthesized())
    clauses = _Clauses.read(reader, match[0])
    if (columns is None) == (clauses.query is None) or (columns and clauses.partitioned_by):
        raise unsupported("CREATE TABLE takes columns, or AS with PARTITIONED BY or without", match[0])
    scratch = session.catalog.new_table()
    if clauses.query is not None:
        query = session.resolved(clauses.query)
        session.engine.write(query, session.context, scratch.location, clauses.partitioned_by)
    else:
        session.engine.declare(columns or "", session.context, scratch.location)
    struct = scratch.snapshot().struct
    if clauses.query is not None:  # a query's columns are nullable, whatever the engine has inferred
        for column in struct["fields"]:
            column["nullable"] = True
    configuration = {**scratch.snapshot().metadata["configuration"], **KEEP_LOG, **clauses.properties}
    changes = {"description": clauses.comment, "configuration": configuration, "schemaString": json.dumps(struct)}
    table = session.catalog.table(existing) if existing else session.catalog.new_table()
    operation = f"{'CREATE OR REPLACE' if match[1] else 'CREATE'} TABLE{' AS SELECT' if clauses.query else ''}"
    table.take_over(scratch, operation, changes)
    relation = Relation(location=table.location.name, keys=keys, owner=session.user)
    session.catalog.put(name, relation)
    if not existing:
        session.warehouse.attach(name, relation)
    session.catalog.sweep()
    return NOTHING


def _replaceable(session: WarehouseSession, name: Name, match: re.Match[str], *, view: bool) -> Relation | None:
    """Return the existing relation of the name in CREATE [OR REPLACE] ... [IF NOT EXISTS] (groups 1 and 2), if any.

    Raises StatementFailed if it must not exist, if it is of another kind, or if the schema is missing.
    """
    session.catalog.schema(*name[:2])
    existing = session.catalog.find(name)
    if existing and not match[2] and (not match[1] or existing.is_view != view):
        message = f"Cannot create table or view {quoted(*name)} because it already exists."
        raise StatementFailed("TABLE_OR_VIEW_ALREADY_EXISTS", message, "42P07")
    return existing


def _without_keys(session: WarehouseSession, columns: str | None) -> tuple[str | None, dict[str, dict[str, Any]]]:
    """Separate the columns of CREATE TABLE from its table constraints."""
    if columns is None:
        return None, {}
    keys: dict[str, dict[str, Any]] = {}
    kept = []
    for item in sql.split(columns):
        if match := re.match(rf"(?:constraint\s+({sql.PART})\s+)?((?:primary|foreign)\s+key\b.*)", item, re.I | re.S):
            keys[sql.unquoted(match[1] or f"key_{len(keys)}").lower()] = key_of(session, match[2])
        else:
            kept.append(item)
    return ", ".join(kept), keys


def key_of(session: WarehouseSession, written: str) -> dict[str, Any]:
    """Read `primary key (a, b)` or `foreign key (a) references c.s.t (b)`. Both are informational, not enforced."""
    match = re.match(
        rf"(primary|foreign)\s+key\s*\(([^)]*)\)(?:\s*references\s+({sql.NAME})\s*(?:\(([^)]*)\))?)?", written, re.I
    )
    if match is None or (match[1].lower() == "foreign") != bool(match[3]):
        raise unsupported("a constraint is CHECK (...), PRIMARY KEY (...) or FOREIGN KEY (...) REFERENCES ...", written)
    columns = [sql.unquoted(column.split()[0]) for column in sql.split(match[2])]
    key: dict[str, Any] = {"type": f"{match[1].upper()} KEY", "columns": columns}
    if match[3]:
        key["parent"] = session.name(match[3])
        session.catalog.relation(key["parent"], kind="table")
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
    if _replaceable(session, name, match, view=True) and match[2]:
        return NOTHING
    relation = Relation(owner=session.user)
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
    """Set a view's query. `columns` has the names (and comments) of its columns, each `name [COMMENT 'text']`."""
    relation.query, struct = session.complete(query)
    if columns:
        named = [re.match(rf"({sql.PART})(?:\s+comment\s+({sql.STRING}))?", c, re.I | re.S) for c in columns]
        if len(named) != len(struct["fields"]) or None in named:
            message = f"The view has {len(columns)} columns, but its query {len(struct['fields'])}."
            raise StatementFailed("CREATE_VIEW_COLUMN_ARITY_MISMATCH", message, "21S01")
        names = ", ".join(match[1] for match in named if match)
        relation.query = f"select * from ({relation.query}) as named ({names})"
        for column, match in zip(struct["fields"], named, strict=True):
            assert match
            column["name"] = sql.unquoted(match[1])
            column["metadata"] = {"comment": sql.text(match[2])} if match[2] else {}
    relation.struct = struct
    session.warehouse.require_viewable(relation.query)


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


def change_struct(session: WarehouseSession, relation: Relation, operation: str, struct: Struct) -> None:
    """Replace the columns of a table or view."""
    if relation.is_view:
        relation.struct = struct
        session.catalog.save()
    else:
        session.catalog.table(relation).change_metadata(operation, {}, struct=struct)


def column_of(struct: Struct, written: str) -> dict[str, Any]:
    """Return a column's field. Raises StatementFailed if there is no such column."""
    for column in struct["fields"]:
        if column["name"].lower() == sql.unquoted(written.strip()).lower():
            found: dict[str, Any] = column
            return found
    names = ", ".join(quoted(column["name"]) for column in struct["fields"])
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


@statement(r"comment on (?:table|view) (NAME) is (STRING|null)")
def comment_on_relation(session: WarehouseSession, match: re.Match[str]) -> pa.Table:
    relation, comment = session.catalog.relation(session.name(match[1])), sql.optional_text(match[2])
    if relation.is_view:
        relation.comment = comment
        session.catalog.save()
    else:
        session.catalog.table(relation).change_metadata("SET TBLPROPERTIES", {}, description=comment)
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
    held = {column["name"].lower() for column in struct["fields"]}
    for column in scratch.snapshot().struct["fields"]:
        if column["name"].lower() in held or not column["nullable"]:
            message = f"Column {column['name']} exists already, or is NOT NULL, which an added column can't be."
            raise StatementFailed("FIELD_ALREADY_EXISTS", message, "42710")
        struct["fields"].append(column)
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
    if check := re.fullmatch(r"check\s*\((.*)\)(?:\s+enforced)?", match[3], re.IGNORECASE | re.DOTALL):
        _add_check(session, name, constraint, check[1])
        return NOTHING
    key = key_of(session, match[3])
    struct = session.catalog.struct(relation)
    nullable = [column for column in key["columns"] if column_of(struct, column)["nullable"]]
    if nullable and key["type"] == "PRIMARY KEY":
        message = f"Cannot create the primary key because its child column(s) {', '.join(nullable)} is nullable."
        raise StatementFailed("UNSUPPORTED_CONSTRAINT.PRIMARY_KEY_NULLABLE", message, "42831")
    relation.keys[constraint] = key
    session.catalog.save()
    return NOTHING


def _add_check(session: WarehouseSession, name: Name, constraint: str, condition: str) -> None:
    """Add a check constraint, in a commit of our own because Sail would cache it."""
    if session.engine.run(f"select 1 from {quoted(*name)} where not ({condition}) limit 1", session.context).num_rows:
        message = f"Rows of {'.'.join(name)} violate the new CHECK constraint ({condition})."
        raise StatementFailed("DELTA_NEW_CHECK_CONSTRAINT_VIOLATION", message, "23512")
    session.catalog.table(session.catalog.relation(name)).add_check(constraint, condition)


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
