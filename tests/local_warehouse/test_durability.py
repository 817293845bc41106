"""What a restart finds: all that was answered, and of a statement that was cut off all or nothing."""

from __future__ import annotations

import random
import signal
import threading
import time
from pathlib import Path

import pytest
from databricks.sql.client import Connection

from local_warehouse.process import WarehouseProcess


def ask(connection: Connection, statement: str) -> list[tuple[object, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(statement)
        return [tuple(row) for row in cursor.fetchall()]


def test_everything_outlives_a_restart(tmp_path: Path) -> None:
    process = WarehouseProcess(tmp_path / "warehouse", catalog="bank").start()
    token = process.token
    with process.connect() as connection:
        for statement in (
            "create schema s comment 'the schema'",
            "use s",
            "create table t (id bigint not null, n string comment 'a name') comment 'it' tblproperties ('k' = 'v')",
            "alter table t add constraint positive check (id > 0)",
            "alter table t add constraint pk primary key (id)",
            "insert into t values (1, 'a'), (2, 'b')",
            "create view v comment 'seen' as select n from t",
            "create view over_v as select upper(n) as n from v",
            "create or replace view v as select n from bank.s.t where id = 1",
            "alter view v set tblproperties ('vk' = 'vv')",
            "alter table t set tags ('pii' = 'no')",
            "create volume files",
            "grant select on table s.t to `someone`",
            "alter schema s owner to `another`",
            "create catalog other",
            "create table other.default.t2 as select 7 as seven",
        ):
            ask(connection, statement)
    assert process.end() == 0
    process.start()
    assert process.token == token
    with process.connect(schema="s") as connection:
        assert ask(connection, "select * from t order by id") == [(1, "a"), (2, "b")]
        assert ask(connection, "select * from over_v") == [("A",)]
        assert ("k", "v") in ask(connection, "show tblproperties t")
        assert ("vk", "vv") in ask(connection, "show tblproperties v")
        assert ("n", "string", "a name") in ask(connection, "describe t")
        assert ("Comment", "it", "") in ask(connection, "describe extended t")
        assert ask(connection, "select tag_name, tag_value from information_schema.table_tags") == [("pii", "no")]
        assert ask(connection, "select constraint_name from information_schema.table_constraints") == [("pk",)]
        assert ask(connection, "show volumes") == [("s", "files")]
        assert ask(connection, "show grants on table s.t") == [("someone", "SELECT", "TABLE", "bank.s.t")]
        owners = "select schema_owner from bank.information_schema.schemata where schema_name = 's'"
        assert ask(connection, owners) == [("another",)]
        assert ask(connection, "select * from other.default.t2") == [(7,)]
        with pytest.raises(Exception, match="DELTA_VIOLATE_CONSTRAINT_WITH_VALUES"):
            ask(connection, "insert into t values (-1, 'x')")
        with pytest.raises(Exception, match="DELTA_NOT_NULL_CONSTRAINT_VIOLATED"):
            ask(connection, "insert into t values (null, 'x')")
    assert process.end(signal.SIGINT) == 0


def test_a_statement_cut_off_by_a_kill_leaves_all_or_nothing(tmp_path: Path) -> None:
    """A table of (batch, 100 rows) pairs is replaced, appended to and merged into while the server is killed."""
    process = WarehouseProcess(tmp_path / "warehouse").start()
    with process.connect() as connection:
        ask(connection, "create table t as select 0 as batch, id from range(100)")
    generator = random.Random(7)
    answered = 0
    for _ in range(3):
        connection = process.connect(_retry_stop_after_attempts_duration=1, _retry_delay_max=5)
        done: list[int] = []

        def work(connection: Connection, first: int, done: list[int]) -> None:
            batch = first
            try:
                while True:
                    batch += 1
                    ask(connection, f"insert into t select {batch}, id from range(100)")
                    ask(connection, f"create or replace table u as select * from t where batch = {batch}")
                    ask(connection, "create or replace view v as select * from u")
                    ask(connection, f"merge into u using (select {batch} as b) s on u.batch = s.b "
                                    "when matched then update set id = u.id + 1")  # fmt: skip
                    done.append(batch)
            except Exception:
                return

        thread = threading.Thread(target=work, args=(connection, answered, done))
        thread.start()
        while not done and thread.is_alive():
            time.sleep(0.01)
        time.sleep(generator.random() * 0.2)
        process.end(signal.SIGKILL)
        thread.join()
        process.start()
        with process.connect() as checking:
            batches = dict(ask(checking, "select batch, count(*) from t group by batch"))
            assert set(batches.values()) == {100}
            assert set(range(done[-1] + 1)) <= set(batches)
            (lowest, highest, rows), = ask(checking, "select min(id), max(id), count(*) from u")  # fmt: skip
            assert rows == 100 and (lowest, highest) in ((0, 99), (1, 100))
            assert ask(checking, "select count(*) from v") == [(100,)]
        answered = max(batches)  # type: ignore[type-var]
    process.end()
    assert len(list((tmp_path / "warehouse" / "tables").iterdir())) == 2


def test_it_answers_after_a_pause_longer_than_sails_timeout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAIL_SPARK__SESSION_TIMEOUT_SECS", "1")
    process = WarehouseProcess(tmp_path / "warehouse").start()
    try:
        with process.connect() as connection, connection.cursor() as cursor:
            cursor.execute("select 1")
            time.sleep(4)
            assert cursor.execute("select 2").fetchall() == [(2,)]
    finally:
        process.end()
