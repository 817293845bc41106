"""Statements that describe tables and views: DESCRIBE and SHOW."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from local_warehouse import sql
from local_warehouse.catalog import Relation, quoted
from local_warehouse.contract import Name, Struct
from local_warehouse.delta import type_json, type_name
from local_warehouse.registry import like, rows, statement, strings

if TYPE_CHECKING:
    from local_warehouse.sessions import WarehouseSession


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
    if comment := session.catalog.comment(relation):
        details["Comment"] = comment
    if relation.query is not None:
        details |= {"Type": "VIEW", "View Text": relation.query}
    else:
        details |= {"Type": "MANAGED", "Provider": "delta"}
    return {**details, "Owner": relation.owner, "Table Properties": f"[{properties}]"}


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
    described |= {"catalog_name": name[0], "namespace": [name[1]], "schema_name": name[1], "owner": relation.owner,
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
    """Return the SQL declaration of a key."""
    columns = f"({', '.join(quoted(column) for column in key['columns'])})"
    if "parent" not in key:
        return f"{key['type']} {columns}"
    parents = ", ".join(quoted(column) for column in key["parent_columns"] or key["columns"])
    return f"{key['type']} {columns} REFERENCES {quoted(*key['parent'])} ({parents})"


@statement(r"(?:describe|desc) history (NAME)(?: limit (\d+))?")
def describe_history(session: WarehouseSession, match: re.Match[str]) -> pa.Table:
    relation = session.catalog.relation(session.name(match[1]), kind="table")
    table = session.catalog.table(relation)
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
        found.append({**commit, **texts, "timestamp": moment, "userName": relation.owner})
    return rows([{column: commit.get(column) for column in schema.names} for commit in found], schema)


@statement(r"show table extended (?:in|from) (NAME) like (STRING)")
def show_extended(session: WarehouseSession, match: re.Match[str]) -> pa.Table:
    catalog, schema = session.schema_name(match[1])
    found = []
    for name in like(session.catalog.schema(catalog, schema).relations, match[2]):
        relation = session.catalog.relation((catalog, schema, name))
        lines = [f"{key}: {value}" for key, value in _details(session, (catalog, schema, name), relation).items()]
        lines += ["Schema: root"] + [
            f" |-- {field['name']}: {type_name(field['type'])} (nullable = {str(field['nullable']).lower()})"
            for field in session.catalog.struct(relation)["fields"]
        ]
        information = "\n".join(lines) + "\n"
        found.append({"database": schema, "tableName": name, "isTemporary": False, "information": information})
    schema_ = pa.schema([*strings("database", "tableName"), ("isTemporary", pa.bool_()), ("information", pa.string())])
    return rows(found, schema_)


@statement(r"show columns (?:in|from) (NAME)")
def show_columns(session: WarehouseSession, match: re.Match[str]) -> pa.Table:
    struct = session.catalog.struct(session.catalog.relation(session.name(match[1])))
    return rows([{"col_name": field["name"]} for field in struct["fields"]], strings("col_name"))
