"""What a client sees of the warehouse: results, errors, credentials, sessions. Real server, connector and SDK."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import pytest
import requests
from databricks.sdk.core import Config, oauth_service_principal
from databricks.sdk.errors import NotFound, PermissionDenied
from databricks.sql.client import Connection
from databricks.sql.exc import DatabaseError, Error, RequestError, ServerOperationError

from local_warehouse.process import CLIENT_ID, CLIENT_SECRET, WarehouseProcess
from tests.support.local_warehouse import Ask


def test_values_arrive_with_their_types(ask: Ask) -> None:
    row = ask(
        """select 1, 9223372036854775807, 'ü\\'', cast(1.50 as decimal(18, 2)), true, date '2026-01-05',
        timestamp '2026-01-05 02:00:00.000001', cast(null as string), cast(2.5 as double)"""
    )
    moment = datetime(2026, 1, 5, 2, 0, 0, 1, tzinfo=UTC)
    assert row == [(1, 2**63 - 1, "ü'", Decimal("1.50"), True, date(2026, 1, 5), moment, None, 2.5)]


def test_a_large_result_comes_in_batches(connection: Connection) -> None:
    with connection.cursor(arraysize=1000) as cursor:
        cursor.execute("select id, concat('row ', id) as name from range(10500) order by id")
        assert cursor.fetchmany_arrow(1500).num_rows == 1500
        rest = cursor.fetchall_arrow()
    assert rest["id"].to_pylist() == list(range(1500, 10500))
    assert rest.schema.names == ["id", "name"]


def test_an_asynchronous_statement_is_fetched_later(connection: Connection) -> None:
    with connection.cursor() as cursor:
        cursor.execute_async("select 5 as five")
        cursor.get_async_execution_result()
        assert [tuple(row) for row in cursor.fetchall()] == [(5,)]


def test_an_empty_result_has_its_columns(connection: Connection) -> None:
    with connection.cursor() as cursor:
        cursor.execute("select 1 as a, 'x' as b where false")
        assert cursor.description is not None
        assert [(column[0], column[1]) for column in cursor.description] == [("a", "int"), ("b", "string")]
        assert cursor.fetchall() == []


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("selec 1", r"^\[PARSE_SYNTAX_ERROR\] .* SQLSTATE: 42601"),
        ("select 1 +", r"^\[PARSE_SYNTAX_ERROR\] .* SQLSTATE: 42601"),
        ("select * from nothing_here", r"^\[TABLE_OR_VIEW_NOT_FOUND\] .* SQLSTATE: 42P01"),
        ("insert into nothing_here values (1)", r"^\[TABLE_OR_VIEW_NOT_FOUND\] .* SQLSTATE: 42P01"),
        ("drop table nothing_here", r"^\[TABLE_OR_VIEW_NOT_FOUND\] .* SQLSTATE: 42P01"),
        ("create table no_schema.t as select 1 as a", r"^\[SCHEMA_NOT_FOUND\] .* SQLSTATE: 42704"),
        ("select nothing from (select 1 as a)", r"^\[UNRESOLVED_COLUMN.*\] .* SQLSTATE: 42703"),
        ("select no_such_function(1)", r"^\[UNRESOLVED_ROUTINE\] .* SQLSTATE: 42883"),
        ("select cast('x' as int)", r"^\[CAST_INVALID_INPUT\] .* SQLSTATE: 22018"),
        ("select 1 / 0", r"^\[DIVIDE_BY_ZERO\] .* SQLSTATE: 22012"),
        ("select * from parquet.`/Volumes/main/default/none/x`", r"^\[PATH_NOT_FOUND\] .* SQLSTATE: 42K03"),
        ("select * from information_schema.nothing", r"^\[TABLE_OR_VIEW_NOT_FOUND\] .* SQLSTATE: 42P01"),
    ],
)
def test_a_rejected_statement_is_an_error_of_its_class(ask: Ask, statement: str, expected: str) -> None:
    with pytest.raises(ServerOperationError, match=expected):
        ask(statement)
    assert ask("select 1") == [(1,)]  # the session goes on


@pytest.mark.parametrize(
    "statement",
    [
        "create function f() returns int return 1",
        "vacuum t",
        "show create table t",
        "alter table t frobnicate",
        "grant",
    ],
)
def test_a_statement_that_is_not_known_is_an_error_that_shows_it(ask: Ask, statement: str) -> None:
    with pytest.raises(ServerOperationError) as raised:
        ask(statement)
    assert f"== SQL ==\n{statement}\n" in str(raised.value)


def test_a_wrong_token_is_refused(warehouse: WarehouseProcess) -> None:
    with pytest.raises(RequestError, match=r"Invalid access token"):
        warehouse.connect(access_token="wrong")  # noqa: S106
    with pytest.raises(PermissionDenied, match="Invalid access token"):
        warehouse.client(token="wrong").current_user.me()  # noqa: S106
    assert requests.get(f"{warehouse.host}/api/2.0/preview/scim/v2/Me", timeout=60).status_code == 401


def test_a_wrong_path_is_refused(warehouse: WarehouseProcess) -> None:
    with pytest.raises(RequestError, match="SQL warehouse other does not exist"):
        warehouse.connect(http_path="/sql/1.0/warehouses/other")


def test_a_service_principal_is_let_in_by_its_id_and_secret(warehouse: WarehouseProcess) -> None:
    client = warehouse.client(client_id=CLIENT_ID, client_secret=CLIENT_SECRET, auth_type="oauth-m2m")
    assert client.current_user.me().user_name == CLIENT_ID
    config = Config(host=warehouse.host, client_id=CLIENT_ID, client_secret=CLIENT_SECRET)
    provider = lambda: oauth_service_principal(config)  # noqa: E731
    options = {"access_token": None, "credentials_provider": provider}
    with warehouse.connect(**options) as connection, connection.cursor() as cursor:
        cursor.execute("select 1")
        assert cursor.fetchone()[0] == 1


def test_a_service_principal_with_a_wrong_secret_is_refused(warehouse: WarehouseProcess) -> None:
    client = warehouse.client(client_id=CLIENT_ID, client_secret="wrong", auth_type="oauth-m2m")  # noqa: S106
    with pytest.raises(ValueError, match="invalid_client"):
        client.current_user.me()


def test_an_ended_session_is_named(warehouse: WarehouseProcess) -> None:
    connection = warehouse.connect()
    session = connection.session
    session.backend.close_session(session.session_id)
    with connection.cursor() as cursor, pytest.raises(DatabaseError, match="Invalid SessionHandle"):
        cursor.execute("select 1")


def test_sessions_have_their_own_schema_time_zone_and_temporary_views(
    warehouse: WarehouseProcess, schema: str, ask: Ask
) -> None:
    ask("create temporary view numbers as select 1 as n")
    zone = {"timezone": "America/New_York"}
    with warehouse.connect(session_configuration=zone) as other, other.cursor() as cursor:
        cursor.execute("create temporary view numbers as select 2 as n")
        cursor.execute("select n, current_schema(), timestamp '2026-01-05 02:00:00' from numbers")
        assert tuple(cursor.fetchone()) == (2, "default", datetime(2026, 1, 5, 7, tzinfo=UTC))
    moment = datetime(2026, 1, 5, 2, tzinfo=UTC)
    assert ask("select n, current_schema(), timestamp '2026-01-05 02:00:00' from numbers") == [(1, schema, moment)]


def test_sessions_at_once_do_not_mix(warehouse: WarehouseProcess, schema: str) -> None:
    def work(number: int) -> int:
        with warehouse.connect(schema=schema) as connection, connection.cursor() as cursor:
            cursor.execute(f"create temporary view mine as select {number} as n")
            cursor.execute(f"create table t{number} as select n from mine")
            for _ in range(3):
                cursor.execute(f"insert into t{number} select n from mine")
            cursor.execute(f"select sum(n) from t{number}")
            return int(cursor.fetchone()[0])

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(work, range(1, 5))) == [4, 8, 12, 16]


def test_every_statement_is_logged(warehouse: WarehouseProcess, ask: Ask) -> None:
    ask("select 'logged' as it")
    with pytest.raises(Error):
        ask("select logged wrongly")
    good, bad = warehouse.statements()[-2:]
    assert (good["statement"], good["outcome"]) == ("select 'logged' as it", "ok")
    assert 0 <= good["seconds"] < 60
    assert bad["outcome"].startswith("[") and "SQLSTATE" in bad["outcome"]
    assert good["session"] == bad["session"]


def test_a_port_that_is_taken_is_named(
    warehouse: WarehouseProcess, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    other = WarehouseProcess(tmp_path / "other")
    other.host = warehouse.host
    with pytest.raises(RuntimeError, match="ended with status 1"):
        other.start()
    assert "Address already in use" in capfd.readouterr().err


def test_a_second_server_on_a_folder_is_refused(warehouse: WarehouseProcess, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(RuntimeError, match="ended with status 1"):
        WarehouseProcess(warehouse.folder).start()
    assert re.search(r"is locked: process \d+ is serving this warehouse", capfd.readouterr().err)


def test_the_engine_is_asked_for_answers_that_are_not_compressed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """gRPC now and then hands a compressed answer to the engine's client as it is, and the client can't read it."""
    monkeypatch.setenv("GRPC_VERBOSITY", "debug")
    monkeypatch.setenv("GRPC_TRACE", "http")
    assert WarehouseProcess(tmp_path / "traced").start().end() == 0
    assert set(re.findall(r"grpc-accept-encoding: (.*?), [A-Z]", capfd.readouterr().err)) == {"identity"}


def test_the_sdk_sees_what_there_is(warehouse: WarehouseProcess, schema: str, ask: Ask) -> None:
    client = warehouse.client()
    assert client.warehouses.get("local").state.value == "RUNNING"
    assert client.catalogs.get("main").name == "main"
    assert client.schemas.get(f"main.{schema}").full_name == f"main.{schema}"
    ask("create volume files")
    assert client.volumes.read(f"main.{schema}.files").name == "files"
    assert [volume.name for volume in client.volumes.list("main", schema)] == ["files"]
    with pytest.raises(NotFound):
        client.volumes.read(f"main.{schema}.nothing")
    with pytest.raises(NotFound):
        client.schemas.get("main.nothing")
    with pytest.raises(NotFound):
        client.warehouses.get("other")
