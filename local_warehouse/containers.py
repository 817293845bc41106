"""Statements on catalogs, schemas and volumes, and on grants and settings."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pyarrow as pa

from local_warehouse import sql
from local_warehouse.catalog import Schema, Securable, quoted
from local_warehouse.contract import Name, StatementFailed
from local_warehouse.registry import NOTHING, like, rows, statement, strings

if TYPE_CHECKING:
    from local_warehouse.sessions import WarehouseSession
KINDS = "catalog|schema|database|table|view|volume"


@statement(r"create catalog (if not exists )?(NAME)(?: comment STRING)?")
def create_catalog(session: WarehouseSession, match: re.Match[str]) -> pa.Table:
    (name,) = sql.parts(match[2])
    if name not in session.catalog.catalogs:
        session.catalog.create_catalog(name, session.user)
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
        schemas[schema] = Schema(sql.optional_text(match[3]), owner=session.user)
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
    del session.catalog.schemas(catalog)[schema]
    session.catalog.save()
    session.engine.detach_schema(catalog, schema)
    session.catalog.sweep()
    return NOTHING


@statement(r"comment on (schema|database|volume) (NAME) is (STRING|null)")
def comment_on_container(session: WarehouseSession, match: re.Match[str]) -> pa.Table:
    comment = sql.optional_text(match[3])
    if match[1].lower() == "volume":
        name = session.name(match[2])
        _require_volume(session, name)
        session.catalog.schema(*name[:2]).volumes[name[2]].comment = comment
    else:
        session.catalog.schema(*session.schema_name(match[2])).comment = comment
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


@statement(r"show (?:schemas|databases)(?: (?:in|from) (NAME))?(?: (?:like )?(STRING))?")
def show_schemas(session: WarehouseSession, match: re.Match[str]) -> pa.Table:
    catalog = sql.parts(match[1])[0] if match[1] else session.current_catalog
    names = [*session.catalog.schemas(catalog), "information_schema"]
    return rows([{"databaseName": name} for name in like(names, match[2])], strings("databaseName"))


@statement(r"show (tables|views)(?: (?:in|from) (NAME))?(?: (?:like )?(STRING))?")
def show_relations(session: WarehouseSession, match: re.Match[str]) -> pa.Table:
    catalog, schema = session.schema_name(match[2])
    relations = session.catalog.schema(catalog, schema).relations
    only_views = match[1].lower() == "views"
    names = like([name for name, relation in relations.items() if relation.is_view or not only_views], match[3])
    found = [(schema, name, False) for name in names]
    found += [("", name, True) for name in like(session.temporary_views, match[3])]
    columns = ("namespace", "viewName") if only_views else ("database", "tableName")
    types = pa.schema([(columns[0], pa.string()), (columns[1], pa.string()), ("isTemporary", pa.bool_())])
    return rows([dict(zip(types.names, row, strict=True)) for row in found], types)


def _require_volume(session: WarehouseSession, name: Name) -> None:
    if name[2] not in session.catalog.schema(*name[:2]).volumes:
        raise StatementFailed("VOLUME_DOES_NOT_EXIST", f"Volume {quoted(*name)} does not exist.", "42704")


@statement(r"create volume (if not exists )?(NAME)(?: comment (STRING))?")
def create_volume(session: WarehouseSession, match: re.Match[str]) -> pa.Table:
    name = session.name(match[2])
    if name[2] not in session.catalog.schema(*name[:2]).volumes:
        session.catalog.create_volume(name, sql.optional_text(match[3]), session.user)
    elif not match[1]:
        raise StatementFailed("VOLUME_ALREADY_EXISTS", f"Volume {quoted(*name)} already exists.", "42000")
    return NOTHING


@statement(r"drop volume (if exists )?(NAME)")
def drop_volume(session: WarehouseSession, match: re.Match[str]) -> pa.Table:
    name = session.name(match[2])
    if match[1] and name[2] not in session.catalog.schema(*name[:2]).volumes:
        return NOTHING
    _require_volume(session, name)
    session.catalog.drop_volume(name)
    return NOTHING


@statement(r"show volumes(?: (?:in|from) (NAME))?(?: (?:like )?(STRING))?")
def show_volumes(session: WarehouseSession, match: re.Match[str]) -> pa.Table:
    catalog, schema = session.schema_name(match[1])
    names = like(session.catalog.schema(catalog, schema).volumes, match[2])
    schema_ = strings("database", "volume_name")
    return rows([{"database": schema, "volume_name": name} for name in names], schema_)


def _securable(session: WarehouseSession, kind: str | None, written: str) -> tuple[Securable, dict[str, str]]:
    """Return the object that a statement names, and its name in SHOW GRANTS. Raises StatementFailed if missing."""
    path = session.path(kind or "table", written)
    lineage = session.catalog.lineage((kind or "table").lower(), path)
    if len(lineage) < len(path):
        raise StatementFailed("SECURABLE_DOES_NOT_EXIST", f"{quoted(*path)} does not exist.", "42704")
    return lineage[-1], {"ObjectType": (kind or "table").upper(), "ObjectKey": ".".join(path)}


@statement(rf"(grant|revoke) (.+?) on (?:({KINDS}) )?(NAME) (?:to|from) (PRINCIPAL)")
def grant(session: WarehouseSession, match: re.Match[str]) -> pa.Table:
    securable, _ = _securable(session, match[3], match[4])
    held = securable.grants.setdefault(sql.unquoted(match[5]), [])
    named = [" ".join(privilege.upper().split()) for privilege in match[2].split(",")]
    held[:] = [privilege for privilege in held if privilege not in named]
    if match[1].lower() == "grant":
        held += named
    session.catalog.save()
    return NOTHING


@statement(rf"show grants?(?: (?!on\b)(PRINCIPAL))? on (?:({KINDS}) )?(NAME)")
def show_grants(session: WarehouseSession, match: re.Match[str]) -> pa.Table:
    securable, called = _securable(session, match[2], match[3])
    found = [
        {"Principal": principal, "ActionType": privilege, **called}
        for principal, held in securable.grants.items()
        if match[1] is None or principal == sql.unquoted(match[1])
        for privilege in held
    ]
    return rows(found, strings("Principal", "ActionType", "ObjectType", "ObjectKey"))


@statement(rf"alter ({KINDS}) (NAME) (?:set )?owner to (PRINCIPAL)")
def set_owner(session: WarehouseSession, match: re.Match[str]) -> pa.Table:
    securable, _ = _securable(session, match[1], match[2])
    securable.owner = sql.unquoted(match[3])
    session.catalog.save()
    return NOTHING


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
