"""information_schema: DuckDB executes queries on it over the catalog, in memory, in milliseconds."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

import duckdb
import pyarrow as pa

from local_warehouse.catalog import Catalog
from local_warehouse.contract import StatementFailed
from local_warehouse.delta import type_name

Row = dict[str, Any]
REFERENCE = re.compile(r"(?:(`[^`]+`|\w+)\s*\.\s*)?`?information_schema`?\s*\.\s*(`[^`]+`|\w+)", re.IGNORECASE)


def _catalogs(catalog: Catalog) -> Iterator[Row]:
    for name, content in catalog.catalogs.items():
        yield {"catalog_name": name, "catalog_owner": content.owner, "comment": None}


def _schemata(catalog: Catalog) -> Iterator[Row]:
    for name in catalog.catalogs:
        for schema, content in catalog.schemas(name).items():
            yield {"catalog_name": name, "schema_name": schema, "schema_owner": content.owner,
                   "comment": content.comment}  # fmt: skip


def _tables(catalog: Catalog) -> Iterator[Row]:
    for name, relation in catalog.relations():
        created = altered = datetime.fromisoformat(relation.created)
        if not relation.is_view:
            log = max((catalog.table(relation).location / "_delta_log").glob("*.json"))
            altered = datetime.fromtimestamp(log.stat().st_mtime, created.tzinfo)
        yield {
            **_of_table(name), "table_type": "VIEW" if relation.is_view else "MANAGED", "is_insertable_into": "YES",
            "commit_action": "PRESERVE", "table_owner": relation.owner, "comment": catalog.comment(relation),
            "created": created, "created_by": relation.owner, "last_altered": altered,
            "last_altered_by": relation.owner,
            "data_source_format": "UNKNOWN_DATA_SOURCE_FORMAT" if relation.is_view else "DELTA",
            "storage_path": None,
        }  # fmt: skip


def _views(catalog: Catalog) -> Iterator[Row]:
    for name, relation in catalog.relations():
        if relation.is_view:
            yield {**_of_table(name), "view_definition": relation.query, "check_option": "NONE", "is_updatable": "NO"}


def _columns(catalog: Catalog) -> Iterator[Row]:
    for name, relation in catalog.relations():
        for position, field in enumerate(catalog.struct(relation)["fields"]):
            type_ = type_name(field["type"])
            yield {
                **_of_table(name), "column_name": field["name"], "ordinal_position": position,
                "column_default": None, "is_nullable": "YES" if field["nullable"] else "NO", "full_data_type": type_,
                "data_type": re.split(r"[(<]", {"bigint": "LONG"}.get(type_, type_))[0].upper(),
                "comment": field["metadata"].get("comment"),
            }  # fmt: skip


def _table_constraints(catalog: Catalog) -> Iterator[Row]:
    for name, relation in catalog.relations():
        for constraint, key in relation.keys.items():
            yield {**_of_constraint(name, constraint), **_of_table(name), "constraint_type": key["type"]}


def _key_column_usage(catalog: Catalog) -> Iterator[Row]:
    for name, relation in catalog.relations():
        for constraint, key in relation.keys.items():
            for position, column in enumerate(key["columns"], start=1):
                yield {**_of_constraint(name, constraint), **_of_table(name), "column_name": column,
                       "ordinal_position": position}  # fmt: skip


def _referential_constraints(catalog: Catalog) -> Iterator[Row]:
    for name, relation in catalog.relations():
        for constraint, key in relation.keys.items():
            if "parent" not in key:
                continue
            parent = catalog.find(tuple(key["parent"]))
            unique = [c for c, k in parent.keys.items() if k["type"] == "PRIMARY KEY"] if parent else []
            referred = _of_constraint(tuple(key["parent"]), unique[0] if unique else None)
            yield {**_of_constraint(name, constraint), **{f"unique_{key}": value for key, value in referred.items()}}


def _table_tags(catalog: Catalog) -> Iterator[Row]:
    for name, relation in catalog.relations():
        for tag, value in relation.tags.items():
            yield {"catalog_name": name[0], "schema_name": name[1], "table_name": name[2], "tag_name": tag,
                   "tag_value": value}  # fmt: skip


def _column_tags(catalog: Catalog) -> Iterator[Row]:
    for name, relation in catalog.relations():
        for column, tags in relation.column_tags.items():
            for tag, value in tags.items():
                yield {"catalog_name": name[0], "schema_name": name[1], "table_name": name[2], "column_name": column,
                       "tag_name": tag, "tag_value": value}  # fmt: skip


def _volumes(catalog: Catalog) -> Iterator[Row]:
    for name in catalog.catalogs:
        for schema, content in catalog.schemas(name).items():
            for volume, held in content.volumes.items():
                yield {"volume_catalog": name, "volume_schema": schema, "volume_name": volume,
                       "volume_type": "MANAGED", "volume_owner": held.owner, "comment": held.comment}  # fmt: skip


def _nothing(_catalog: Catalog) -> Iterator[Row]:
    return iter(())


def _of_table(name: tuple[str, ...]) -> Row:
    return dict(zip(("table_catalog", "table_schema", "table_name"), name, strict=True))


def _of_constraint(name: tuple[str, ...], constraint: str | None) -> Row:
    return {"constraint_catalog": name[0], "constraint_schema": name[1], "constraint_name": constraint}


_TABLE = ("table_catalog", "table_schema", "table_name")
_CONSTRAINT = ("constraint_catalog", "constraint_schema", "constraint_name")
_COLUMN_OF = ("catalog_name", "schema_name", "table_name", "column_name")

# The rows of each table, and its columns: text, but for those in _TYPES.
RELATIONS: dict[str, tuple[Callable[[Catalog], Iterator[Row]], tuple[str, ...]]] = {
    "catalogs": (_catalogs, ("catalog_name", "catalog_owner", "comment")),
    "schemata": (_schemata, ("catalog_name", "schema_name", "schema_owner", "comment")),
    "tables": (_tables, (*_TABLE, "table_type", "is_insertable_into", "commit_action", "table_owner", "comment",
                         "created", "created_by", "last_altered", "last_altered_by", "data_source_format",
                         "storage_path")),
    "views": (_views, (*_TABLE, "view_definition", "check_option", "is_updatable")),
    "columns": (_columns, (*_TABLE, "column_name", "ordinal_position", "column_default", "is_nullable",
                           "full_data_type", "data_type", "comment")),
    "table_constraints": (_table_constraints, (*_CONSTRAINT, *_TABLE, "constraint_type")),
    "key_column_usage": (_key_column_usage, (*_CONSTRAINT, *_TABLE, "column_name", "ordinal_position")),
    "referential_constraints": (_referential_constraints,
                                (*_CONSTRAINT, *(f"unique_{column}" for column in _CONSTRAINT))),
    "table_tags": (_table_tags, ("catalog_name", "schema_name", "table_name", "tag_name", "tag_value")),
    "column_tags": (_column_tags, (*_COLUMN_OF, "tag_name", "tag_value")),
    "volumes": (_volumes, ("volume_catalog", "volume_schema", "volume_name", "volume_type", "volume_owner",
                           "comment")),
    "column_masks": (_nothing, (*_TABLE, "column_name", "mask_name", "using_columns")),
    "row_filters": (_nothing, (*_TABLE, "filter_name", "target_columns")),
}  # fmt: skip
_TYPES = {"created": pa.timestamp("us", "UTC"), "last_altered": pa.timestamp("us", "UTC"),
          "ordinal_position": pa.int32()}  # fmt: skip
_DUCKDB = duckdb.connect(config={"threads": 1})
_DUCKDB.execute("set timezone = 'UTC'")


def answer(catalog: Catalog, query: str, current_catalog: str) -> pa.Table:
    """Execute a query whose tables all belong to information_schema. Raises StatementFailed."""
    connection = _DUCKDB.cursor()

    def registered(match: re.Match[str]) -> str:
        of, table = (match[1] or current_catalog).strip("`").lower(), match[2].strip("`").lower()
        if table not in RELATIONS or (of != "system" and of not in catalog.catalogs):
            message = f"The table or view `{of}`.`information_schema`.`{table}` cannot be found."
            raise StatementFailed("TABLE_OR_VIEW_NOT_FOUND", message, "42P01")
        source, columns = RELATIONS[table]
        rows = [row for row in source(catalog) if of in ("system", next(iter(row.values())))]
        schema = pa.schema([(column, _TYPES.get(column, pa.string())) for column in columns])
        connection.register(f"{of}_{table}", pa.Table.from_pylist(rows, schema=schema))
        return f'"{of}_{table}"'

    translated = REFERENCE.sub(registered, query).replace("`", '"')
    try:
        return connection.execute(translated).to_arrow_table()
    except duckdb.Error as error:
        raise StatementFailed("UNSUPPORTED_FEATURE.LOCAL_WAREHOUSE", str(error), "0A000", query) from error
    finally:
        connection.close()
