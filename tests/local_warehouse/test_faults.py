"""Faults that tests ask for reach the clients: what the connector and the SDK make of them."""

from __future__ import annotations

import io
from collections.abc import Iterator

import pytest
from databricks.sql.client import Connection
from urllib3.exceptions import ProtocolError

from local_warehouse.process import WarehouseProcess
from tests.support.local_warehouse import Ask


@pytest.fixture(autouse=True)
def each_fault_came(warehouse: WarehouseProcess) -> Iterator[None]:
    yield
    assert warehouse.set_faults() == []


def test_an_overloaded_warehouse_is_asked_again(warehouse: WarehouseProcess) -> None:
    # The connector waits for the longest of its delays, never for less, whatever Retry-After says (4.4.0).
    with warehouse.connect(_retry_delay_max=5) as connection, connection.cursor() as cursor:
        warehouse.set_faults({"status": 503, "retry_after": 1, "path": "/sql"})
        cursor.execute("select 1")
        assert cursor.fetchone()[0] == 1


def test_a_refusal_of_the_path_named_leaves_others_alone(warehouse: WarehouseProcess, ask: Ask) -> None:
    warehouse.set_faults({"status": 404, "path": "/api"})
    assert ask("select 1") == [(1,)]
    with pytest.raises(Exception, match="temporarily unavailable"):
        warehouse.client().current_user.me()
    assert warehouse.client().current_user.me().active


def test_a_connection_cut_in_mid_fetch_is_an_error(warehouse: WarehouseProcess, connection: Connection) -> None:
    warehouse.set_faults({"cut_mid_fetch": True})
    with connection.cursor(arraysize=100) as cursor:
        cursor.execute("select id from range(1000)")
        assert len(cursor.fetchmany(100)) == 100
        with pytest.raises(Exception, match=r"(?i)incomplete|connection|EOF|read"):
            cursor.fetchall()
    with connection.cursor(arraysize=100) as cursor:
        cursor.execute("select id from range(1000)")
        assert len(cursor.fetchall()) == 1000


def test_an_answer_that_is_lost_leaves_its_change(
    warehouse: WarehouseProcess, connection: Connection, ask: Ask
) -> None:
    ask("create table t (a int)")
    warehouse.set_faults({"cut_after_bytes": 10, "path": "/sql"})
    with connection.cursor() as cursor, pytest.raises(ProtocolError):
        cursor.execute("insert into t values (1)")
    assert ask("select count(*) from t") == [(1,)]


def test_a_download_that_is_cut_goes_on(warehouse: WarehouseProcess, schema: str, ask: Ask) -> None:
    ask("create volume files")
    client, path, content = warehouse.client(), f"/Volumes/main/{schema}/files/f", b"0123456789" * 30_000
    client.files.upload(path, io.BytesIO(content))
    warehouse.set_faults({"cut_after_bytes": 100_000, "path": "/presigned"})
    assert client.files.download(path).contents.read() == content
