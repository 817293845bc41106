"""Exports the marts as files. All files of a delivery are replaced together (docs/architecture/data_flow.md).

data/outputs/account_summary.csv -> .current/account_summary.csv      readers open these names
data/outputs/.current            -> .versions/000007                  one rename replaces this link
data/outputs/.versions/000007/                                        complete, never changed; KEEP_EXPORTS are kept
data/outputs/.staging/<run>/                                          what a run has written so far
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from include import duckdb_paths, duckdb_session
from include.errors import PipelineError, one_line
from include.files import replacing, run_key, sha256, sync
from include.ledger import time_text
from include.warehouse import Warehouse

MARTS = {"account_summary": "account_id", "customer_profile": "customer_id"}
"""The exported tables and the column that each is ordered by."""

FORMATS = ("csv", "parquet")
FILES = tuple(f"{mart}.{format_}" for mart in MARTS for format_ in FORMATS)
MANIFEST = "manifest.json"
CURRENT = ".current"
_CSV = "format csv, header, timestampformat '%Y-%m-%dT%H:%M:%S.%fZ'"
_PARQUET = "format parquet, compression zstd"


class ExportError(PipelineError):
    """The exports of a run are incomplete or differ from one another. Readers still see the previous ones."""


def write_exports(warehouse: Warehouse, output_path: Path, *, run_id: str) -> None:
    """Write both marts as Parquet and CSV, ordered by key, where readers don't see them yet.

    Parquet: the types of the models' contracts, times in UTC. CSV: UTF-8, header, RFC 4180, LF, times as ISO 8601 in
    UTC, decimals with all places, true and false. It is written from the Parquet file, so that each mart is read and
    sorted only once. Rows are streamed, so memory doesn't grow with the table. Raises WarehouseError, ExportError (e.g.
    when the disk is full) or OSError.
    """
    with warehouse.session(), duckdb_session.connect() as writer:
        for mart, key in MARTS.items():
            select = f"select * from {warehouse.relation('marts', mart)} order by {key}"
            parquet, csv = (_staging(output_path, run_id) / f"{mart}.{suffix}" for suffix in ("parquet", "csv"))
            with replacing(parquet) as temporary, warehouse.stream(select) as reader, writing(parquet):
                writer.register("mart", reader)
                times = [field.name for field in reader.schema if pa.types.is_timestamp(field.type)]
                in_utc = ", ".join(f"{time}::timestamp at time zone 'UTC' as {time}" for time in times)
                writer.execute(
                    f"copy (select * replace ({in_utc}) from mart) to {duckdb_paths.literal(temporary)} ({_PARQUET})"
                )
            with replacing(csv) as temporary, writing(csv):
                source = duckdb_paths.read("parquet", parquet)
                writer.execute(f"copy (select * from {source}) to {duckdb_paths.literal(temporary)} ({_CSV})")


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Raise ExportError, which names the file, if DuckDB can't write it in the body."""
    try:
        yield
    except duckdb.Error as error:
        raise ExportError(f"{path} can't be written: {one_line(error)}") from error


def publish_exports(output_path: Path, *, run_id: str, delivered_at: datetime, keep: int = 2) -> Path:
    """Show readers all files that the run wrote, and their manifest, at once; return the manifest's path.

    The last `keep` versions are kept, at least two, since a reader may still have a file of the previous one open. Can
    be called again after a crash at any point. Raises ExportError if a file is missing or CSV and Parquet differ.
    """
    staging = _staging(output_path, run_id)
    versions = output_path / ".versions"
    versions.mkdir(parents=True, exist_ok=True)
    if staging.is_dir():
        _write_manifest(staging, run_id, delivered_at)
        number = max((int(path.name) for path in _versions(versions)), default=0) + 1
        version = versions / f"{number:06d}"
        staging.rename(version)
        sync(versions)
    else:
        version = _version_of(run_id, versions)
    _link(output_path / CURRENT, version.relative_to(output_path))
    for name in (*FILES, MANIFEST):
        _link(output_path / name, Path(CURRENT, name))
    for old in (output_path / ".staging", *_versions(versions)[:-keep]):
        shutil.rmtree(old, ignore_errors=True)
    return output_path / MANIFEST


def move_exports(output_path: Path, folder: Path, *, run_id: str, delivered_at: datetime) -> None:
    """Move all files that the run wrote into any other folder, their manifest last.

    Raises ExportError like publish_exports().
    """
    staging = _staging(output_path, run_id)
    _write_manifest(staging, run_id, delivered_at)
    for name in (*FILES, MANIFEST):
        (staging / name).rename(folder / name)
    sync(folder)


def _write_manifest(staging: Path, run_id: str, delivered_at: datetime) -> None:
    manifest = _manifest(staging, run_id, delivered_at)
    with replacing(staging / MANIFEST) as temporary:
        temporary.write_text(json.dumps(manifest, indent=2) + "\n")


def _manifest(folder: Path, run_id: str, delivered_at: datetime) -> dict[str, Any]:
    missing = [name for name in FILES if not (folder / name).exists()]
    if missing:
        raise ExportError(f"run {run_id} has not written {', '.join(missing)}: export again, then publish")
    with duckdb_session.connect() as connection:
        files = {
            name: {
                "rows": _count_rows(connection, folder / name),
                "bytes": (folder / name).stat().st_size,
                "sha256": sha256(folder / name),
            }
            for name in FILES
        }
    for mart in MARTS:
        counts = {format_: files[f"{mart}.{format_}"]["rows"] for format_ in FORMATS}
        if len(set(counts.values())) > 1:
            raise ExportError(f"the exports of {mart} disagree in rows ({counts}): export again, then publish")
    return {"run_id": run_id, "delivered_at": time_text(delivered_at), "files": files}


def _count_rows(connection: duckdb.DuckDBPyConnection, path: Path) -> int:
    # Without its options, DuckDB guesses them from the values. By default, it reads no row of more than 2 MB.
    csv = "header = true, all_varchar = true, delim = ',', quote = '\"', escape = '\"', max_line_size = 2147483647"
    options = csv if path.suffix == ".csv" else ""
    row = connection.execute(f"select count(*) from {duckdb_paths.read(path.suffix[1:], path, options)}").fetchone()
    return int(row[0]) if row else 0


def _versions(folder: Path) -> list[Path]:
    """Return the versions, oldest first. Files that a file system or file manager has added are left out."""
    return sorted((path for path in folder.iterdir() if path.name.isdecimal()), key=lambda path: int(path.name))


def _version_of(run_id: str, versions: Path) -> Path:
    for version in reversed(_versions(versions)):
        if json.loads((version / MANIFEST).read_text())["run_id"] == run_id:
            return version
    raise ExportError(f"run {run_id} has not written any exports: export, then publish")


def _staging(output_path: Path, run_id: str) -> Path:
    return output_path / ".staging" / run_key(run_id)


def _link(name: Path, target: Path) -> None:
    """Make `name` a symbolic link to `target`, replacing an earlier one in a single rename."""
    if name.is_symlink() and name.readlink() == target:
        return
    temporary = name.with_name(f".{name.name}.{os.getpid()}.tmp")
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(target)
    temporary.replace(name)
    sync(name.parent)
