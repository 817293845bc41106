from __future__ import annotations

import contextlib
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from include.errors import one_line
from include.settings import load_settings
from include.warehouse import WarehouseBusy, WarehouseError, open_warehouse
from include.warehouse.duckdb import DuckDBWarehouse
from tests.support.databases import execute
from tests.support.mounts import mounted
from tests.support.processes import held_by_another_process


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "test.duckdb"


@pytest.fixture
def held(path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the database."""
    execute(path, "create table t as select 1 as x")
    with held_by_another_process(path) as process:
        yield process


def numbers(path: Path) -> list[int]:
    return DuckDBWarehouse(path).query("select x from t order by x")["x"].to_pylist()


def test_query_and_stream_give_the_same_rows(path: Path) -> None:
    execute(path, "create table t as select range as x from range(250000)")
    warehouse = DuckDBWarehouse(path)
    with warehouse.stream("select x from t order by x") as reader:
        batches = list(reader)
    assert len(batches) > 1
    assert [x for batch in batches for x in batch["x"].to_pylist()] == numbers(path)


def test_a_restored_database_is_as_it_was_at_its_checkpoint(path: Path) -> None:
    execute(path, "create table t as select 1 as x")
    warehouse = DuckDBWarehouse(path)
    warehouse.checkpoint()
    execute(path, "insert into t values (2)")
    warehouse.restore()
    assert numbers(path) == [1]
    execute(path, "insert into t values (3)")
    warehouse.restore()
    assert numbers(path) == [1]


def test_a_database_behind_a_link_is_restored_where_it_is(path: Path) -> None:
    execute(path, "create table t as select 1 as x")
    volume = path.with_name("volume.duckdb")
    path.replace(volume)
    path.symlink_to(volume)
    warehouse = DuckDBWarehouse(path)
    warehouse.checkpoint()
    execute(volume, "insert into t values (2)")

    warehouse.restore()

    assert path.is_symlink()
    assert numbers(volume) == [1]


def test_a_write_ahead_log_is_neither_lost_by_a_checkpoint_nor_kept_by_a_restore(path: Path) -> None:
    execute(path, "create table t as select 1 as x")
    crash = "import duckdb, os; c = duckdb.connect({!r}); c.execute('insert into t values ({})'); os._exit(9)"
    subprocess.run([sys.executable, "-c", crash.format(str(path), 2)], check=False)
    assert path.with_name("test.duckdb.wal").exists()
    DuckDBWarehouse(path).checkpoint()
    subprocess.run([sys.executable, "-c", crash.format(str(path), 3)], check=False)
    DuckDBWarehouse(path).restore()
    assert numbers(path) == [1, 2]


def test_the_first_delivery_is_undone_by_removing_the_database(path: Path) -> None:
    warehouse = DuckDBWarehouse(path)
    warehouse.checkpoint()
    execute(path, "create table t as select 1 as x")
    warehouse.restore()
    assert not path.exists()


def test_without_a_checkpoint_nothing_is_undone(path: Path) -> None:
    execute(path, "create table t as select 1 as x")
    warehouse = DuckDBWarehouse(path)
    warehouse.checkpoint()
    warehouse.discard_checkpoint()
    with pytest.raises(WarehouseError, match=r"include\.rebuild"):
        warehouse.restore()
    assert numbers(path) == [1]


def test_history_is_there_when_both_snapshots_are(path: Path) -> None:
    warehouse = DuckDBWarehouse(path)
    assert not warehouse.has_history()
    execute(path, "create schema main_snapshots", "create table main_snapshots.snap_customer as select 1 as x")
    assert not warehouse.has_history()
    execute(path, "create table main_snapshots.snap_account as select 1 as x")
    assert warehouse.has_history()


def test_who_holds_the_file_is_named(path: Path, held: subprocess.Popen[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    with pytest.raises(WarehouseBusy, match=rf"test\.duckdb is locked by another process: .*PID {held.pid}"):
        DuckDBWarehouse(path).query("select 1")


def test_a_file_that_is_held_for_a_moment_is_waited_for(
    path: Path, held: subprocess.Popen[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def release(_seconds: float) -> None:
        held.kill()
        held.wait()

    monkeypatch.setattr("time.sleep", release)
    assert numbers(path) == [1]


def test_a_missing_table_is_an_error_that_names_it(path: Path) -> None:
    execute(path, "create table t as select 1 as x")
    with pytest.raises(WarehouseError, match="nowhere"):
        DuckDBWarehouse(path).query("select * from nowhere")


def test_names_are_those_of_the_layers(path: Path) -> None:
    warehouse = open_warehouse(load_settings({"DUCKDB_PATH": str(path)}))
    assert warehouse.relation("marts", "account_summary") == "main_marts.account_summary"
    with pytest.raises(ValueError, match="gold"):
        warehouse.relation("gold", "account_summary")


FAILURES = {
    "of who reads the stream": """
with warehouse.stream("select x from t") as reader:
    reader.read_next_batch()
    raise OSError("the disk is full")
""",
    "before anything is read": """
with warehouse.stream("select x from t") as reader:
    raise OSError("the folder is missing")
""",
    "of the stream itself": """
with warehouse.stream("select case when x > 400000 then error('broken') else x end from t") as reader:
    reader.read_all()
""",
    "of a query": """
warehouse.query("select case when x > 400000 then error('broken') else x end from t")
""",
    "of a query in a session": """
with warehouse.session():
    warehouse.query("select case when x > 400000 then error('broken') else x end from t")
""",
}


@pytest.mark.parametrize("failure", FAILURES)
def test_an_error_that_is_kept_does_not_keep_the_database(path: Path, failure: str) -> None:
    execute(path, "create table t as select range as x from range(500000)")
    script = f"""
from pathlib import Path
from include.warehouse.duckdb import DuckDBWarehouse

warehouse = DuckDBWarehouse(Path({str(path)!r}))
try:
{textwrap.indent(FAILURES[failure], "    ")}
except Exception as error:
    kept = error
with warehouse.exclusive():
    print(type(kept).__name__)
"""
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=True)

    assert ended.stdout.strip() in ("OSError", "StatementRejected")


def test_a_checkpoint_on_a_full_disk_is_an_error_that_names_the_file(tmp_path: Path) -> None:
    with mounted(tmp_path / "full", "size=1M") as folder:
        execute(folder / "test.duckdb", "create table t as select range as x from range(50000)")
        with contextlib.suppress(OSError), (folder / "all there is").open("wb") as file:
            while True:
                file.write(b"x" * 4096)
                file.flush()
        with pytest.raises(OSError, match="No space left") as error:
            DuckDBWarehouse(folder / "test.duckdb").checkpoint()

    assert one_line(error.value).startswith(f"{folder}/.test.duckdb.checkpoint.")
    assert one_line(error.value).endswith("No space left on device")
