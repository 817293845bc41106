from __future__ import annotations

import subprocess
import sys
import textwrap
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pytest

from include import duckdb_session
from include.ledger import Delivery, FileRecord
from include.warehouse.duckdb import DuckDBWarehouse

TOO_MUCH = "create temp table too_much as select range as x, repeat('x', 200) || range as y from range(1000000)"


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A database to be, beside a current folder in which nothing may be left."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "elsewhere" / "test.duckdb"


def spilled_to(connection: duckdb.DuckDBPyConnection) -> set[Path]:
    return {Path(path).parent for (path,) in connection.execute("select path from duckdb_temporary_files()").fetchall()}


def test_what_does_not_fit_is_spilled_beside_the_database_and_removed_with_the_connection(path: Path) -> None:
    path.parent.mkdir()
    with duckdb_session.connect(path, memory_limit="60MB") as connection:
        connection.execute(TOO_MUCH)
        assert spilled_to(connection) == {path.with_name("test.duckdb.tmp")}
    assert [found.name for found in path.parent.iterdir()] == ["test.duckdb"]
    assert not list(Path.cwd().iterdir())


def test_a_database_in_memory_spills_only_where_it_is_told(path: Path) -> None:
    with duckdb_session.connect(memory_limit="60MB", spill=path.parent) as connection:
        connection.execute(TOO_MUCH)
        assert spilled_to(connection) == {path.parent}
    with duckdb_session.connect(memory_limit="60MB") as connection, pytest.raises(duckdb.OutOfMemoryException):
        connection.execute(TOO_MUCH)
    assert not list(Path.cwd().iterdir())


def test_what_a_killed_process_has_spilled_is_removed_when_a_delivery_begins(path: Path) -> None:
    path.parent.mkdir()
    program = f"""
        import os, signal, sys
        from pathlib import Path
        from include import duckdb_session
        connection = duckdb_session.connect(Path(sys.argv[1]), memory_limit="60MB")
        connection.execute({TOO_MUCH!r})
        os.kill(os.getpid(), signal.SIGKILL)
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(program), path], check=False)
    assert list(duckdb_session.spill_of(path).iterdir())

    file = FileRecord("customers/1.parquet", "", 0, 0, 0, ())
    delivery = Delivery(datetime.now(UTC), datetime.now(UTC), "landed", "run", customers=file, accounts=file)
    DuckDBWarehouse(path).receive(path.parent, delivery)
    assert [found.name for found in path.parent.iterdir()] == ["test.duckdb"]
