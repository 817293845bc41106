"""The warehouse's catalog on disk: the schemas, tables, views and volumes, with their metadata.

A table's rows, columns, comments, properties, CHECK and NOT NULL are in its own Delta log.
"""

from __future__ import annotations

import json
import shutil
import threading
import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from include.files import replacing
from local_warehouse.contract import ADMIN, Name, StatementFailed, Struct
from local_warehouse.delta import DeltaTable

KEEP_LOG = {"delta.enableExpiredLogCleanup": "false"}  # history is read from the first commit on


def _now() -> str:
    return datetime.now(UTC).isoformat()


@dataclass(kw_only=True)
class Securable:
    """An object with an owner, and the privileges on it by principal."""

    owner: str = ADMIN
    grants: dict[str, list[str]] = field(default_factory=dict)


@dataclass
class Relation(Securable):
    """A table (its folder below the catalog's) or a view (its query, the type of its rows, its properties)."""

    location: str | None = None
    query: str | None = None
    struct: Struct | None = None
    comment: str | None = None
    properties: dict[str, str] = field(default_factory=dict)
    keys: dict[str, dict[str, Any]] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    column_tags: dict[str, dict[str, str]] = field(default_factory=dict)
    created: str = field(default_factory=_now)

    @property
    def is_view(self) -> bool:
        return self.query is not None


@dataclass
class Volume(Securable):
    """The metadata of a volume. Its files are in its folder."""

    comment: str | None = None


@dataclass
class Schema(Securable):
    """The relations and volumes of a schema, by name."""

    comment: str | None = None
    relations: dict[str, Relation] = field(default_factory=dict)
    volumes: dict[str, Volume] = field(default_factory=dict)


@dataclass
class SchemasOfCatalog(Securable):
    """The schemas of a catalog, by name."""

    schemas: dict[str, Schema] = field(default_factory=dict)


class Catalog:
    """Everything below `folder`. A change takes effect with save(), which is atomic.

    Hold `lock` to change the catalog or to execute a statement on it.
    """

    def __init__(self, folder: Path, first_catalog: str) -> None:
        self.folder, self.lock = folder, threading.RLock()
        self.catalogs: dict[str, SchemasOfCatalog] = {}
        self._tables: dict[str, DeltaTable] = {}
        if self._path.exists():
            self._load()
        if first_catalog.lower() not in self.catalogs:
            self.create_catalog(first_catalog.lower(), ADMIN)
        self.sweep()

    @property
    def _path(self) -> Path:
        return self.folder / "catalog.json"

    def _load(self) -> None:
        for name, catalog in json.loads(self._path.read_text(encoding="utf-8")).items():
            for schema in catalog["schemas"].values():
                schema["relations"] = {key: Relation(**relation) for key, relation in schema["relations"].items()}
                schema["volumes"] = {key: Volume(**volume) for key, volume in schema["volumes"].items()}
            catalog["schemas"] = {key: Schema(**schema) for key, schema in catalog["schemas"].items()}
            self.catalogs[name] = SchemasOfCatalog(**catalog)

    def save(self) -> None:
        """Write the current state, which a restart reads."""
        catalogs = {name: asdict(catalog) for name, catalog in self.catalogs.items()}
        with replacing(self._path) as temporary:
            temporary.write_text(json.dumps(catalogs, indent=1), encoding="utf-8")

    def sweep(self) -> None:
        """Remove the folders that no table refers to. A crash during a statement leaves them."""
        kept = {relation.location for _, relation in self.relations()}
        for folder in (self.folder / "tables").glob("*"):
            if folder.name not in kept and folder.is_dir():
                shutil.rmtree(folder)

    def create_catalog(self, name: str, owner: str) -> None:
        """Add a catalog with its schema `default`."""
        self.catalogs[name] = SchemasOfCatalog({"default": Schema(owner=owner)}, owner=owner)
        self.save()

    def schemas(self, catalog: str) -> dict[str, Schema]:
        """Return a catalog's schemas. Raises StatementFailed if there is no such catalog."""
        if catalog not in self.catalogs:
            raise StatementFailed("NO_SUCH_CATALOG_EXCEPTION", f"Catalog '{catalog}' was not found.", "42704")
        return self.catalogs[catalog].schemas

    def schema(self, catalog: str, schema: str) -> Schema:
        """Return a schema. Raises StatementFailed if there is no such schema."""
        found = self.schemas(catalog).get(schema)
        if found is None:
            message = f"The schema `{catalog}`.`{schema}` cannot be found. Verify the spelling and correctness of it."
            raise StatementFailed("SCHEMA_NOT_FOUND", message, "42704")
        return found

    def relations(self) -> list[tuple[Name, Relation]]:
        """Return all tables and views."""
        return [
            ((catalog, schema, name), relation)
            for catalog in self.catalogs
            for schema, content in self.schemas(catalog).items()
            for name, relation in content.relations.items()
        ]

    def names(self) -> set[str]:
        """Return all names that can be part of a relation's full name."""
        schemas = {schema for catalog in self.catalogs.values() for schema in catalog.schemas}
        return {*self.catalogs, *schemas, *(name[2] for name, _ in self.relations())}

    def find(self, name: Name) -> Relation | None:
        """Return a table or view, or None."""
        schema = self.catalogs[name[0]].schemas.get(name[1]) if name[0] in self.catalogs else None
        return schema.relations.get(name[2]) if schema else None

    def relation(self, name: Name, *, kind: str = "relation") -> Relation:
        """Return a table or view (only of `kind`, if given). Raises StatementFailed if there is none."""
        found = self.find(name)
        if found is None:
            message = f"The table or view {quoted(*name)} cannot be found. Verify the spelling and correctness of it."
            raise StatementFailed("TABLE_OR_VIEW_NOT_FOUND", message, "42P01")
        if kind != "relation" and found.is_view != (kind == "view"):
            message = f"{quoted(*name)} is a {'view' if found.is_view else 'table'}, but a {kind} is expected."
            raise StatementFailed("WRONG_COMMAND_FOR_OBJECT_TYPE", message, "42809")
        return found

    def put(self, name: Name, relation: Relation) -> None:
        """Add a table or view to its schema. If it replaces one of the same name, it takes over owner and grants."""
        relations = self.schema(*name[:2]).relations
        if name[2] in relations:
            relation.owner, relation.grants = relations[name[2]].owner, relations[name[2]].grants
        relations[name[2]] = relation
        self.save()

    def remove(self, name: Name) -> None:
        """Remove a table or view from its schema, and then its data."""
        relation = self.schema(*name[:2]).relations.pop(name[2])
        self.save()
        if relation.location:
            self._tables.pop(relation.location, None)
            shutil.rmtree(self.folder / "tables" / relation.location, ignore_errors=True)

    def new_table(self) -> DeltaTable:
        """Return a location for a table's data. It is removed later if no relation refers to it."""
        return DeltaTable(self.folder / "tables" / uuid.uuid4().hex)

    def table(self, relation: Relation) -> DeltaTable:
        """Return the Delta table of a relation that is a table."""
        assert relation.location
        return self._tables.setdefault(relation.location, DeltaTable(self.folder / "tables" / relation.location))

    def struct(self, relation: Relation) -> Struct:
        """Return the columns of a table or view."""
        return relation.struct or self.table(relation).snapshot().struct

    def properties(self, relation: Relation) -> dict[str, str]:
        """Return a table's or view's properties, without CHECK constraints."""
        if relation.is_view:
            return relation.properties
        snapshot = self.table(relation).snapshot()
        kept = {
            key: value
            for key, value in snapshot.metadata["configuration"].items()
            if not key.startswith("delta.constraints.") and key not in KEEP_LOG
        }
        versions = {f"delta.{key}": str(snapshot.protocol[key]) for key in ("minReaderVersion", "minWriterVersion")}
        return {**versions, **kept}

    def comment(self, relation: Relation) -> str | None:
        """Return a table's or view's comment."""
        if relation.is_view:
            return relation.comment
        return self.table(relation).snapshot().metadata.get("description")

    def lineage(self, kind: str, path: tuple[str, ...]) -> list[Securable]:
        """Return the catalog, the schema and the object (a volume, or another kind) of a path, as far as they exist.

        `path` has one part for a catalog, two for a schema, three for a relation or volume.
        """
        if not path or path[0] not in self.catalogs:
            return []
        found: list[Securable] = [self.catalogs[path[0]]]
        schema = self.catalogs[path[0]].schemas.get(path[1]) if path[1:] else None
        if schema:
            found.append(schema)
            content: Mapping[str, Securable] = schema.volumes if kind == "volume" else schema.relations
            found += [content[name] for name in path[2:] if name in content]
        return found

    @property
    def volumes_folder(self) -> Path:
        """The folder of the volumes' files, with a folder for each catalog, schema and volume."""
        return self.folder / "volumes"

    def create_volume(self, name: Name, comment: str | None, owner: str) -> None:
        """Add a volume with its folder. Raises StatementFailed if the schema is missing."""
        schema, folder = self.schema(*name[:2]), self.volumes_folder.joinpath(*name)
        if name[2] not in schema.volumes:  # what a dropped volume may have left
            shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True, exist_ok=True)
        schema.volumes[name[2]] = Volume(comment, owner=owner)
        self.save()

    def drop_volume(self, name: Name) -> None:
        """Remove a volume from its schema, and then its files."""
        del self.schema(*name[:2]).volumes[name[2]]
        self.save()
        shutil.rmtree(self.volumes_folder.joinpath(*name), ignore_errors=True)


def quoted(*parts: str) -> str:
    """Return a name with its parts in backticks."""
    return ".".join("`" + part.replace("`", "``") + "`" for part in parts)
