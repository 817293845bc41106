"""A key's records in the landing, and how staging judges them.

On both engines the landing is on this machine, so DuckDB reads it and skips the parts of a file that can't have the
key. The rules are the SQL of the models stg_*_checked, which runs over the key's records only.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from include import duckdb_paths, duckdb_session
from include.dbt.manifest import load_manifest, sources_digest
from include.dbt.runner import DbtFailed, invoke
from include.entities import Entity
from include.errors import PipelineError, one_line
from include.keys import has_key
from include.landing import declared_columns, declared_values
from include.ledger import Delivery
from include.past import embedded
from include.quoting import literal, quoted
from include.settings import Settings, load_settings

_TECHNICAL = ("source_row_number", "raw_record", "malformed_reason", "loaded_at")


@dataclass(frozen=True)
class Record:
    """A landed record: its declared columns as received, by name, and what the landing adds to them."""

    row_number: int
    fields: Mapping[str, str | None]
    raw_record: str | None
    malformed_reason: str | None
    loaded_at: datetime

    @property
    def content(self) -> tuple[object, ...]:
        """The values by which records are compared: all but the place in the file."""
        return (*self.fields.items(), self.raw_record, self.malformed_reason, self.loaded_at)


@dataclass(frozen=True)
class CheckedRecord:
    """A record and its status."""

    record: Record
    status: str
    reasons: tuple[str, ...]


def records_of_key(
    connection: duckdb.DuckDBPyConnection, landing: Path, entity: Entity, key: int | str, delivery: Delivery
) -> tuple[Record, ...]:
    """Return the records of a delivery that have this key, in the order of the file.

    Raises PipelineError if the landed file can't be read.
    """
    path = landing / delivery.file(entity.file).path
    columns = declared_columns(entity)
    try:
        values = declared_values(columns, pq.read_schema(path).names)
        selected = ", ".join(f"{value} as {quoted(name)}" for name, value in values.items())
        found = connection.execute(
            f"""
            select {", ".join(_TECHNICAL)}, {selected}
            from {duckdb_paths.read("parquet", path)}
            where {has_key(entity.key, key)}
            order by source_row_number
            """
        )
    except (OSError, pa.ArrowInvalid, duckdb.Error) as error:
        raise PipelineError(f"{path} can't be read: {one_line(error)}. Restore it from a backup") from error
    names = [column.name for column in columns]
    return tuple(
        Record(
            row_number=number,
            fields=dict(zip(names, fields, strict=True)),
            raw_record=raw,
            malformed_reason=malformed,
            loaded_at=loaded_at.astimezone(UTC),
        )
        for number, raw, malformed, loaded_at, *fields in found.fetchall()
    )


@dataclass
class Rules:
    """Staging's rules for one entity, in a separate database. Use rules_of() to create it."""

    entity: Entity
    connection: duckdb.DuckDBPyConnection
    source: str
    sql: str
    _known: dict[tuple[object, ...], tuple[tuple[int, str, tuple[str, ...]], ...]] = field(default_factory=dict)

    def check(self, key: int | str, records: Sequence[Record]) -> tuple[CheckedRecord, ...]:
        """Return the records of a delivery that have the key, with their status.

        Many deliveries have the same records at other places of the file. Those are checked once.
        """
        content = tuple(record.content for record in records)
        if content not in self._known:
            self._known[content] = self._execute(key, records)
        return tuple(CheckedRecord(records[place], status, reasons) for place, status, reasons in self._known[content])

    def _execute(self, key: int | str, records: Sequence[Record]) -> tuple[tuple[int, str, tuple[str, ...]], ...]:
        if not records:
            return ()
        self.connection.execute(f"delete from {self.source}")
        for place, record in enumerate(records):
            values = [
                *record.fields.values(),
                place,
                record.raw_record,
                record.malformed_reason,
                record.loaded_at.replace(tzinfo=None),
            ]
            names = [*record.fields, "source_row_number", "raw_record", "malformed_reason", "loaded_at"]
            columns = ", ".join(quoted(name) for name in names)
            self.connection.execute(
                f"insert into {self.source} ({columns}) values ({', '.join('?' * len(values))})", values
            )
        wanted = key if isinstance(key, int) else literal(key)
        found = self.connection.execute(
            f"select source_row_number, record_status, failure_reasons from ({self.sql}) as checked "
            f"where {self.entity.key} = {wanted} order by source_row_number"
        )
        return tuple(
            (place, status, tuple(reasons.split("; ")) if reasons else ())
            for place, status, reasons in found.fetchall()
        )


@contextmanager
def rules_of(settings: Settings, entity: Entity) -> Iterator[Rules]:
    """Yield staging's rules for an entity, as the model stg_*_checked has them. Raises DbtFailed."""
    compiled = _compiled(settings.duckdb_path.name, entity, sources_digest())
    source = quoted(*compiled.source)
    columns = [f"{quoted(column.name)} varchar" for column in declared_columns(entity)]
    with duckdb_session.connect() as connection:
        connection.execute(f"attach ':memory:' as {quoted(compiled.source[0])}")
        connection.execute(f"create schema {quoted(*compiled.source[:2])}")
        connection.execute(
            f"create table {source} ({', '.join(columns)}, source_row_number bigint, raw_record varchar, "
            "malformed_reason varchar, loaded_at timestamp)"
        )
        yield Rules(entity, connection, source, compiled.sql)


@dataclass(frozen=True)
class _Compiled:
    """A model's SQL, and the names of the table that it reads: database, schema, table."""

    sql: str
    source: tuple[str, str, str]


@cache
def _compiled(database_name: str, entity: Entity, digest: str) -> _Compiled:
    """Compile a model with dbt for DuckDB (a second), once for each state of the dbt project."""
    with tempfile.TemporaryDirectory() as folder:
        settings = embedded(load_settings({}), Path(folder))
        settings = replace(settings, duckdb_path=Path(folder, database_name))
        manifest = load_manifest(settings)
        selection = ["--indirect-selection", "empty", "--select", entity.checked]
        result = invoke(
            settings, ["compile", "--log-level", "none", *selection], Path(folder, "target"), manifest=manifest
        )
    if not result.success or len(result.result.results) != 1:
        raise DbtFailed(f"dbt could not compile {entity.checked}: {result.exception}")
    source = next(node for node in manifest.nodes.values() if node.name == entity.source)
    return _Compiled(result.result.results[0].node.compiled_code, (source.database, source.schema, source.name))
