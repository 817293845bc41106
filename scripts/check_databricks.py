"""Check the privileges that the pipeline needs on Databricks, one by one: `make check-databricks`.

Creates the pipeline's schemas if they are missing, and leaves nothing else behind. Exits with 1 at the first thing that
is missing, because the checks after it depend on it.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from databricks.sdk.errors.base import DatabricksError

from include.errors import PipelineError
from include.layers import SCHEMAS
from include.quoting import BACKTICK, literal, quoted
from include.settings import DatabricksSettings, load_settings
from include.warehouse.databricks import DatabricksWarehouse

PROBE = "lc_pipeline_check"
"""The name of every table, view and file that the checks create and remove."""


@dataclass(frozen=True)
class Check:
    """A check: what must be possible, how to try it, and how to fix it."""

    what: str
    attempt: Callable[[], object]
    fix: str


def checks(settings: DatabricksSettings, folder: Path) -> Iterator[Check]:
    """Yield the checks. Each depends only on those before it. `folder` is for scratch files."""
    warehouse = DatabricksWarehouse(settings, folder / "checkpoint.json", run="check_databricks")
    run, catalog, schema = warehouse.query, warehouse.quoted(), warehouse.quoted(settings.schema)
    who, staging = "`<service principal>`", f"{settings.schema}_staging"

    yield Check(
        f"{settings.host} answers, and accepts who connects",
        warehouse.workspace.current_user.me,
        "set DATABRICKS_HOST to the workspace's host, and DATABRICKS_TOKEN, or DATABRICKS_CLIENT_ID and "
        "DATABRICKS_CLIENT_SECRET, to credentials of it",
    )
    yield Check(
        f"the SQL warehouse {settings.http_path} runs a statement",
        lambda: run("select 1"),
        "set DATABRICKS_HTTP_PATH to the one under Connection details of the warehouse, and allow the principal "
        "Can use under its Permissions",
    )
    yield Check(
        f"catalog {settings.catalog} can be used",
        lambda: run(f"select 1 from {catalog}.information_schema.schemata limit 1"),
        f"grant use catalog on catalog {catalog} to {who}",
    )
    yield Check(
        f"schema {settings.schema} is there",
        lambda: run(f"show tables in {schema}"),
        f"create schema {schema}; grant use schema on schema {schema} to {who}",
    )
    for name in (settings.schema, *(f"{settings.schema}_{name}" for name in SCHEMAS)):
        full = warehouse.quoted(name)
        if name != settings.schema:
            yield Check(
                f"schema {name} is there, or can be made",
                lambda name=name, full=full: _make_schema(warehouse, name, full),  # type: ignore[misc]
                f"grant create schema on catalog {catalog} to {who}; or create schema {full} and make {who} its owner",
            )
        yield Check(
            f"a table can be made, replaced, merged into, set back and dropped in {name}",
            lambda full=full: _try_table(warehouse, f"{full}.{PROBE}"),  # type: ignore[misc]
            f"grant use schema, create table on schema {full} to {who}"
            if name == settings.schema
            else f"alter schema {full} owner to {who}",
        )
    yield Check(
        f"a view can be made in {staging}",
        lambda: _try_view(warehouse, warehouse.quoted(staging, PROBE)),
        f"grant create table on schema {warehouse.quoted(staging)} to {who}",
    )
    volume = quoted(*settings.volume.split("/")[2:5], mark=BACKTICK)
    yield Check(
        f"a file can be put into {settings.volume} and read from there by SQL",
        lambda: _try_volume(warehouse, settings, folder),
        f"create volume {volume}; grant read volume, write volume on volume {volume} to {who}",
    )


def main() -> int:
    """Print a line for each check; return 0 if all passed."""
    try:
        settings = load_settings().connected().databricks
        if settings is None:
            raise PipelineError("DATABASE_TYPE is duckdb: set it to databricks, and the variables that it needs")
    except PipelineError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory() as folder:
        for check in checks(settings, Path(folder)):
            try:
                check.attempt()
            except (PipelineError, DatabricksError) as error:
                print(f"MISSING  {check.what}\n         {' '.join(str(error).split())[:500]}\n         {check.fix}")
                return 1
            print(f"ok       {check.what}", flush=True)
    print("All that the pipeline needs is there.")
    return 0


def _make_schema(warehouse: DatabricksWarehouse, name: str, full: str) -> None:
    found = warehouse.query(
        f"select 1 from {warehouse.quoted()}.information_schema.schemata where schema_name = {literal(name.lower())}"
    )
    if not found.num_rows:
        warehouse.query(f"create schema {full}")


def _try_table(warehouse: DatabricksWarehouse, table: str) -> None:
    try:
        warehouse.query(f"create or replace table {table} using delta as select 1 as id")
        warehouse.query(
            f"merge into {table} as held using (select 2 as id) as new on held.id = new.id "
            "when not matched then insert *"
        )
        warehouse.query(f"describe history {table} limit 1")
        warehouse.query(f"restore table {table} to version as of 0")
    finally:
        warehouse.query(f"drop table if exists {table}")


def _try_view(warehouse: DatabricksWarehouse, view: str) -> None:
    warehouse.query(f"create or replace view {view} as select 1 as id")
    warehouse.query(f"drop view {view}")


def _try_volume(warehouse: DatabricksWarehouse, settings: DatabricksSettings, folder: Path) -> None:
    name = f"{PROBE}.jsonl"
    (folder / name).write_text('{"id": 1}\n')
    warehouse.upload(folder / name, name)
    try:
        warehouse.query(f"select id from json.`{settings.volume}/{name}`")
    finally:
        warehouse.workspace.files.delete(f"{settings.volume}/{name}")


if __name__ == "__main__":
    sys.exit(main())
