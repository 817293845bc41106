"""A Databricks SQL warehouse, with the tables in Unity Catalog and the landing in a volume."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import pyarrow as pa
import requests
import tenacity
import urllib3
from databricks import sql
from databricks.sdk import WorkspaceClient
from databricks.sdk.config import Config
from databricks.sdk.errors import NotFound
from databricks.sdk.errors.base import DatabricksError

from include import duckdb_session
from include.files import replacing
from include.layers import KEPT_TABLES, SCHEMAS
from include.ledger import FILE_NAMES, LEDGER, Delivery
from include.quoting import BACKTICK, literal, quoted
from include.settings import DatabricksSettings, Settings
from include.warehouse import CheckpointMissing, Connections, StatementRejected, WarehouseError
from include.warehouse.duckdb import BASE_SCHEMA, checkpoint_of

if TYPE_CHECKING:
    from databricks.sql.client import Connection, Cursor

BATCH_ROWS = 100_000
REACH_SECONDS = 20

_RETRIES = {"_retry_delay_max": 10, "_retry_stop_after_attempts_count": 60}
"""How long to wait for a warehouse that starts: connector 4.4 waits `_retry_delay_max` seconds each time. As in
dbt/profiles.yml."""

_SESSION = {"timezone": "UTC"}
"""Parameters of each session. As in dbt/profiles.yml."""

_NETWORK_ERRORS = (urllib3.exceptions.HTTPError, sql.exc.RequestError, ConnectionError, TimeoutError)
_WRONG_SETTING = {
    401: "DATABRICKS_TOKEN (or the client's id and secret) is not accepted there",
    403: "DATABRICKS_TOKEN (or the client's id and secret) is not accepted there, or lacks the right to use it",
    404: "DATABRICKS_HTTP_PATH names no SQL warehouse there",
}
"""What these HTTP statuses mean for the settings. Every other failure of a request may be temporary."""


class DatabricksWarehouse:
    """See include.warehouse.Warehouse.

    The connector waits at most 10 minutes for a warehouse that is starting or answers 429 or 503. A connection that is
    cut is retried three times. A statement that Databricks rejects is not retried.
    """

    def __init__(self, settings: DatabricksSettings, checkpoint_path: Path, *, run: str = "") -> None:
        """`checkpoint_path` is where checkpoint() saves the tables' versions; `run` names the run in query history."""
        self.settings = settings
        self._checkpoint_path = checkpoint_path
        self._connections = Connections(self._connect)
        self._comment = f"/* {json.dumps({'app': 'lc_pipeline', 'run': run})} */"

    def relation(self, schema: str, table: str) -> str:
        if schema not in SCHEMAS:
            raise ValueError(f"no such schema: {schema}")
        return self.quoted(self._schema(schema), table)

    def quoted(self, *names: str) -> str:
        """Return the qualified name of a schema or table of the catalog, or of the catalog itself."""
        return quoted(self.settings.catalog, *names, mark=BACKTICK)

    def query(self, statement: str) -> pa.Table:
        return self._run(statement)

    def session(self) -> AbstractContextManager[None]:
        return self._connections.session()

    @contextmanager
    def stream(self, statement: str) -> Iterator[pa.RecordBatchReader]:
        failures: list[WarehouseError] = []
        with self._cursor() as cursor:
            self._execute(cursor, statement)
            first = self._fetch(cursor)

            def batches() -> Iterator[pa.RecordBatch]:
                part = first
                try:
                    while part.num_rows:
                        yield from part.to_batches()
                        part = self._fetch(cursor)
                except WarehouseError as error:
                    failures.append(error)  # the stream's reader, in C++, turns it into another error
                    raise

            try:
                yield pa.RecordBatchReader.from_batches(first.schema, batches())
            except Exception:
                if failures:
                    raise failures[0] from None
                raise

    def check_session(self) -> None:
        time_zone = self._run("select current_timezone() as time_zone")["time_zone"][0].as_py()
        if time_zone not in ("UTC", "Etc/UTC"):
            raise WarehouseError(
                f"{self.settings.url}{self.settings.http_path}: the session's time zone is {time_zone}, expected UTC: "
                "the warehouse overrides the session parameter TIMEZONE; set it to UTC in the SQL configuration "
                "parameters of the workspace"
            )

    def has_history(self) -> bool:
        return self._existing("snapshots").issuperset(KEPT_TABLES["snapshots"])

    def receive(self, landing: Path, delivery: Delivery) -> None:
        for name in FILE_NAMES:
            path = delivery.file(name).path
            self.upload(landing / path, path)
        self.upload(landing / LEDGER, LEDGER)  # last: it names the files

    def publish_tables(self) -> None:
        for table in KEPT_TABLES["marts"]:
            published = self.quoted(self.settings.schema, table)
            self._run(
                f"create or replace table {published} using delta as select * from {self.relation('marts', table)}"
            )

    def checkpoint(self) -> None:
        versions = {}
        for layer, tables in KEPT_TABLES.items():
            existing = self._existing(layer)
            for table in tables:
                versions[f"{layer}.{table}"] = self._version(layer, table) if table in existing else None
        with replacing(self._checkpoint_path) as temporary:
            temporary.write_text(json.dumps(versions, indent=2) + "\n", encoding="utf-8")

    def restore(self) -> None:
        """Restore each table to its saved Delta version. Drop tables that did not exist then."""
        if not self._checkpoint_path.exists():
            raise CheckpointMissing(self._checkpoint_path)
        for name, version in json.loads(self._checkpoint_path.read_text(encoding="utf-8")).items():
            relation = self.relation(*name.split("."))
            if version is None:
                self._run(f"drop table if exists {relation}")
            else:
                self._run(f"restore table {relation} to version as of {version}")

    def take_over(self, rebuilt: Settings) -> None:
        """Replace the kept tables, each in one statement."""
        source = DatabricksWarehouse(self.settings.for_rebuild(), self._checkpoint_path)
        for layer, tables in KEPT_TABLES.items():
            self._run(f"create schema if not exists {self.quoted(self._schema(layer))}")
            for table in tables:
                new = source.relation(layer, table)
                self._run(f"create or replace table {self.relation(layer, table)} using delta as select * from {new}")

    def clear(self) -> None:
        for name in SCHEMAS:
            self._run(f"drop schema if exists {self.quoted(self._schema(name))} cascade")
        self._remove(self.settings.volume)

    def copy_history(self, database: Path) -> None:
        for layer, tables in KEPT_TABLES.items():
            for table in sorted(self._existing(layer).intersection(tables)):
                self._copy_table(database, layer, table)
        if self._checkpoint_path.exists():
            kept = checkpoint_of(database)
            for name, version in json.loads(self._checkpoint_path.read_text(encoding="utf-8")).items():
                layer, table = name.split(".")
                if version is not None:
                    self._copy_table(kept, layer, table, f" version as of {version}")
            if not kept.exists():
                kept.touch()  # there were no tables

    def _copy_table(self, database: Path, layer: str, table: str, version: str = "") -> None:
        """Read a table in batches. Its times become UTC without a zone, as in DuckDB."""
        with (
            self.stream(f"select * from {self.relation(layer, table)}{version}") as reader,
            duckdb_session.connect(database) as copy,
        ):
            times = [field.name for field in reader.schema if pa.types.is_timestamp(field.type)]
            naive = ", ".join(f"{name} at time zone 'UTC' as {name}" for name in times)
            copy.register("read", reader)
            copy.execute(f"create schema if not exists {BASE_SCHEMA}_{layer}")
            copy.execute(
                f"create table {BASE_SCHEMA}_{layer}.{table} as "
                f"select *{f' replace ({naive})' if naive else ''} from read"
            )

    def discard_checkpoint(self) -> None:
        self._checkpoint_path.unlink(missing_ok=True)

    @tenacity.retry(
        retry=tenacity.retry_if_exception(lambda error: isinstance(error, WarehouseError) and error.is_transient),
        wait=tenacity.wait_exponential(max=8),
        stop=tenacity.stop_after_attempt(4),
        reraise=True,
    )
    def _run(self, statement: str) -> pa.Table:
        """Execute a statement that can safely run twice, and return all its rows."""
        with self._cursor() as cursor:
            self._execute(cursor, statement)
            with self._explained():
                return cursor.fetchall_arrow()

    def _execute(self, cursor: Cursor, statement: str) -> None:
        with self._explained():
            cursor.execute(f"{self._comment} {statement}")

    def _fetch(self, cursor: Cursor) -> pa.Table:
        with self._explained():
            return cursor.fetchmany_arrow(BATCH_ROWS)

    @contextmanager
    def _cursor(self) -> Iterator[Cursor]:
        with self._connections.use() as connection, connection.cursor(arraysize=BATCH_ROWS) as cursor:
            yield cursor

    @contextmanager
    def _connect(self) -> Iterator[Connection]:
        config = self._config
        with self._explained():
            connection = sql.connect(
                server_hostname=self.settings.host,
                http_path=self.settings.http_path,
                credentials_provider=lambda: config.authenticate,
                session_configuration=_SESSION,
                user_agent_entry="lc_pipeline",
                enable_telemetry=False,
                **_RETRIES,
                _connection_uri=self.settings.connection_uri,
            )
        with closing(connection):
            yield connection

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn errors of the connector and the SDK into errors that say what to do. The messages contain no secret."""
        address = f"{self.settings.url}{self.settings.http_path}"
        try:
            yield
        except _NETWORK_ERRORS as error:
            status = getattr(error, "context", {}).get("http-code")
            if status in _WRONG_SETTING:
                raise WarehouseError(f"{address}: {_WRONG_SETTING[status]} (HTTP {status})") from error
            raise WarehouseError(f"{address} can't be reached: {error}", is_transient=True) from error
        except sql.exc.Error as error:
            raise StatementRejected(f"{address}: {error}") from error
        except NotFound:
            raise
        except DatabricksError as error:
            raise WarehouseError(f"{self.settings.url}, volume {self.settings.volume}: {error}") from error

    def _schema(self, name: str) -> str:
        return f"{self.settings.schema}_{name}"

    def _existing(self, layer: str) -> set[str]:
        """Return the tables of a layer, without views."""
        found = self._run(
            f"select table_name from {self.quoted()}.information_schema.tables "
            f"where table_schema = {literal(self._schema(layer).lower())} and table_type <> 'VIEW'"
        )
        return set(found["table_name"].to_pylist())

    def _version(self, layer: str, table: str) -> int:
        return int(self._run(f"describe history {self.relation(layer, table)} limit 1")["version"][0].as_py())

    @cached_property
    def _config(self) -> Config:
        """Return the credentials. They are explicit, so that the SDK doesn't look for others on this machine."""
        self._reach()
        settings = self.settings
        if settings.token:
            return Config(host=settings.url, token=settings.token, auth_type="pat")
        try:
            config = Config(
                host=settings.url,
                client_id=settings.client_id,
                client_secret=settings.client_secret,
                auth_type="oauth-m2m",
            )
            config.authenticate()
        except ValueError as error:
            raise WarehouseError(f"{settings.url}: {_WRONG_SETTING[401]} ({error})") from error
        return config

    def _reach(self) -> None:
        """Raise WarehouseError if nothing answers. The connector and the SDK would try for a quarter of an hour."""
        try:
            for attempt in tenacity.Retrying(
                stop=tenacity.stop_after_delay(REACH_SECONDS), wait=tenacity.wait_fixed(1), reraise=True
            ):
                with attempt:
                    requests.get(f"{self.settings.url}/.well-known/databricks-config", timeout=10)
        except requests.RequestException as error:
            raise WarehouseError(
                f"{self.settings.url} can't be reached: is DATABRICKS_HOST right? ({error})", is_transient=True
            ) from error

    @cached_property
    def workspace(self) -> WorkspaceClient:
        """The workspace's REST API, for files among others."""
        with self._explained():
            return WorkspaceClient(config=self._config)

    def upload(self, source: Path, path: str) -> None:
        """Copy a file into the volume, where it appears only when complete. The SDK sends a large file in parts."""
        target = f"{self.settings.volume}/{path}"
        try:
            with self._explained():
                self.workspace.files.create_directory(str(PurePosixPath(target).parent))
                self.workspace.files.upload_from(target, str(source), overwrite=True)
        except NotFound as error:
            raise WarehouseError(
                f"{self.settings.url}, volume {self.settings.volume} ({error}): create it, or correct DATABRICKS_VOLUME"
            ) from error

    def _remove(self, folder: str) -> None:
        """Remove a folder of the volume with its content, if it exists."""
        files = self.workspace.files
        try:
            with self._explained():
                for entry in files.list_directory_contents(folder):
                    path = f"{folder}/{entry.name}"
                    if entry.is_directory:
                        self._remove(path)
                    else:
                        files.delete(path)
                files.delete_directory(folder)
        except NotFound:
            return
