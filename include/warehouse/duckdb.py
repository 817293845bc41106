"""The embedded warehouse: one DuckDB file, which one process at a time may write."""

from __future__ import annotations

import logging
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path

import duckdb
import pyarrow as pa
import tenacity

from include import duckdb_session
from include.files import replacing
from include.layers import KEPT_TABLES, SCHEMAS
from include.ledger import Delivery
from include.settings import DEFAULT_MEMORY_LIMIT, Settings
from include.warehouse import CheckpointMissing, Connections, StatementRejected, WarehouseBusy, WarehouseError

log = logging.getLogger(__name__)

BASE_SCHEMA = "main"
"""The schema of the profile in dbt/profiles.yml."""

BATCH_ROWS = 100_000


class DuckDBWarehouse:
    """See include.warehouse.Warehouse. If another process holds the file, wait for it, 15 s in total."""

    def __init__(self, path: Path, memory_limit: str = DEFAULT_MEMORY_LIMIT) -> None:
        self.path, self._memory_limit = path, memory_limit
        self._checkpoint_path = checkpoint_of(path)
        self._wal = path.with_name(f"{path.name}.wal")
        self._readers = Connections(lambda: self._connect(read_only=True))

    def relation(self, schema: str, table: str) -> str:
        if schema not in SCHEMAS:
            raise ValueError(f"no such schema: {schema}")
        return f"{BASE_SCHEMA}_{schema}.{table}"

    def query(self, sql: str) -> pa.Table:
        with self._explained(), self._readers.use() as connection:
            return connection.sql(sql).to_arrow_table()

    def session(self) -> AbstractContextManager[None]:
        return self._readers.session()

    @contextmanager
    def stream(self, sql: str) -> Iterator[pa.RecordBatchReader]:
        with self._explained(), self._readers.use() as connection:
            reader = connection.sql(sql).to_arrow_reader(BATCH_ROWS)
            try:
                yield reader
            finally:
                # An exception would keep the reader, and so the database, open, and a new connection would wait for it.
                reader.close()

    def check_session(self) -> None:
        """Do nothing: each connection is set to UTC, and there is no server that could change it."""

    def has_history(self) -> bool:
        if not self.path.exists():
            return False
        tables = self.query(
            f"select table_name from information_schema.tables where table_schema = '{BASE_SCHEMA}_snapshots'"
        )
        return set(tables["table_name"].to_pylist()).issuperset(KEPT_TABLES["snapshots"])

    def receive(self, landing: Path, delivery: Delivery) -> None:
        """Remove what a killed process has spilled. DuckDB reads the landing itself."""
        with self.exclusive():
            duckdb_session.clear_spill(self.path)

    def publish_tables(self) -> None:
        """Do nothing: consumers read the exports, since the file can't be read while a delivery is processed."""

    def checkpoint(self) -> None:
        with self.exclusive(), replacing(self._checkpoint_path) as temporary:
            if self.path.exists():
                _copy(self.path, temporary)
            else:
                temporary.touch()  # an empty file means that there was no database

    def restore(self) -> None:
        if not self._checkpoint_path.exists():
            raise CheckpointMissing(self._checkpoint_path)
        with self.exclusive():
            self._wal.unlink(missing_ok=True)
            if self._checkpoint_path.stat().st_size == 0:
                self.path.unlink(missing_ok=True)
                return
            with replacing(self.path.resolve()) as temporary:
                _copy(self._checkpoint_path, temporary)

    def take_over(self, rebuilt: Settings) -> None:
        with ExitStack() as held:
            try:
                held.enter_context(self.exclusive())
            except WarehouseBusy:
                raise
            except WarehouseError as error:
                log.warning("%s is damaged, and is replaced: %s", self.path, error)
            self._wal.unlink(missing_ok=True)
            rebuilt.duckdb_path.replace(self.path.resolve())

    def clear(self) -> None:
        self._wal.unlink(missing_ok=True)
        self.path.unlink(missing_ok=True)

    def copy_history(self, database: Path) -> None:
        """Copy the whole files."""
        with self.exclusive():
            for source, copy in ((self.path, database), (self._checkpoint_path, checkpoint_of(database))):
                if source.exists():
                    _copy(source, copy)

    def discard_checkpoint(self) -> None:
        self._checkpoint_path.unlink(missing_ok=True)

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Write back the write-ahead log, and keep other processes out of the file, if it exists."""
        if not self.path.exists():
            yield
            return
        with self._explained(), self._connect(read_only=False) as connection:
            connection.execute("checkpoint")
            yield

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn DuckDB's errors into those that include.warehouse declares."""
        try:
            yield
        except duckdb.IOException as error:
            holder = _holder(error)
            if holder is None:
                raise WarehouseError(f"{self.path}: {error}", is_transient=True) from error
            raise WarehouseBusy(
                f"{self.path} is locked by another process: {holder}. Close it there, then try again"
            ) from error
        except duckdb.Error as error:
            raise StatementRejected(f"{self.path}: {error}") from error

    @tenacity.retry(
        retry=tenacity.retry_if_exception(lambda error: "Could not set lock" in str(error)),
        before_sleep=lambda state: _say_who_is_waited_for(state),
        wait=tenacity.wait_exponential(max=8),
        stop=tenacity.stop_after_attempt(5),
        reraise=True,
    )
    def _connect(self, *, read_only: bool) -> duckdb.DuckDBPyConnection:
        return duckdb_session.connect(self.path, memory_limit=self._memory_limit, read_only=read_only)


def _holder(error: BaseException) -> str | None:
    """Return which process holds the file, from DuckDB's error message."""
    found = re.search(r"held in (.+?)\. (?:See also|However)", str(error), re.DOTALL)
    return found and found[1]


def _say_who_is_waited_for(state: tenacity.RetryCallState) -> None:
    error = state.outcome and state.outcome.exception()
    if error and state.attempt_number == 1:
        log.warning("waiting for %s, which has the DuckDB file open", _holder(error) or "another process")


def checkpoint_of(path: Path) -> Path:
    """Return where the state of a DuckDB file is saved: a copy, or an empty file if there was no database."""
    return path.with_name(f"{path.name}.checkpoint")


def _copy(source: Path, target: Path) -> None:
    """Copy in a separate process, since closing a file drops every lock that this process has on it, also DuckDB's.

    Raises OSError as shutil.copyfile does.
    """
    script = """
import shutil, sys
try:
    shutil.copyfile(*sys.argv[1:])
except OSError as error:
    sys.exit(error.errno)
"""
    ended = subprocess.run([sys.executable, "-I", "-S", "-c", script, source, target], check=False)
    if ended.returncode > 0:
        raise OSError(ended.returncode, os.strerror(ended.returncode), str(target))
    ended.check_returncode()
