from __future__ import annotations

import contextlib
import json
import sqlite3
from pathlib import Path

import duckdb
import pytest

from include.layers import SCHEMAS
from include.settings import PROJECT_ROOT, SettingsError, load_settings
from tests.support.settings import DATABRICKS

LOCAL = {name: value for name, value in DATABRICKS.items() if name not in ("DATABRICKS_HOST", "DATABRICKS_HTTP_PATH")}
PRINCIPAL = {
    **DATABRICKS,
    "DATABRICKS_TOKEN": "",
    "DATABRICKS_CLIENT_ID": "client",
    "DATABRICKS_CLIENT_SECRET": "dose-secret",
}


def env_example() -> dict[str, str]:
    lines = (PROJECT_ROOT / ".env.example").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))


def test_every_default_is_the_one_that_env_example_shows() -> None:
    shown = env_example()
    assert load_settings(shown) == load_settings({})
    assert set(shown) >= {*PRINCIPAL, "DATABRICKS_VOLUME", "DATABRICKS_CONN_ID", *load_settings({}).dbt_environment()}


def test_a_copy_of_env_example_needs_only_what_databricks_needs() -> None:
    assert load_settings(env_example() | DATABRICKS).dbt_target == "prod"


def test_dotenv_is_read_literally_and_an_empty_variable_does_not_hide_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("include.settings.PROJECT_ROOT", tmp_path)
    (tmp_path / ".env").write_bytes('\ufeffINPUT_PATH="/srv/a${HOME}b"\r\nOUTPUT_PATH=/srv/out # not here\r\n'.encode())
    monkeypatch.setenv("INPUT_PATH", "")
    monkeypatch.setenv("OUTPUT_PATH", "/srv/other")

    settings = load_settings()

    assert (settings.input_path, settings.output_path) == (Path("/srv/a${HOME}b"), Path("/srv/other"))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b'INPUT_PATH="/srv/secret', r"\.env, line 2: expected NAME=value, with its quotes closed$"),
        (b"OUTPUT PATH=secret", r"\.env, line 2: expected NAME=value"),
        (b"INPUT_PATH=/srv/M\xfcller", r"\.env must be text in UTF-8"),
    ],
)
def test_a_line_of_dotenv_that_cannot_be_read_is_an_error_and_not_a_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: bytes, message: str
) -> None:
    monkeypatch.setattr("include.settings.PROJECT_ROOT", tmp_path)
    (tmp_path / ".env").write_bytes(b"KEEP_EXPORTS=3\n" + line + b"\n")
    with pytest.raises(SettingsError, match=message) as error:
        load_settings()
    assert "secret" not in str(error.value)


def test_relative_paths_start_at_the_repository_and_absolute_ones_stay() -> None:
    settings = load_settings({"LANDING_PATH": "data/x/../landing", "OUTPUT_PATH": "/srv/outputs"})
    assert settings.landing_path == PROJECT_ROOT / "data/landing"
    assert settings.output_path == Path("/srv/outputs")


def test_a_variable_set_to_nothing_counts_as_not_set() -> None:
    assert load_settings({"INPUT_PATH": " ", "MAX_ROW_DROP_PCT": ""}) == load_settings({})


def test_databricks_settings_are_read_and_go_to_dbt() -> None:
    settings = load_settings(DATABRICKS)

    assert settings.dbt_target == "prod"
    assert {name: value for name, value in settings.dbt_environment().items() if name.startswith("DATABRICKS_")} == {
        "DATABRICKS_HOST": "adb.example",
        "DATABRICKS_HTTP_PATH": "/sql/1.0/warehouses/abc",
        "DATABRICKS_CONNECTION_URI": "",
        "DATABRICKS_CATALOG": "lending",
        "DATABRICKS_SCHEMA": "lc",
        "DATABRICKS_VOLUME": "/Volumes/lending/lc/landing",
        "DATABRICKS_TOKEN": "dapi-secret",
        "DATABRICKS_CLIENT_ID": "",
        "DATABRICKS_CLIENT_SECRET": "",
        "DATABRICKS_THREADS": "4",
        "DATABRICKS_LIQUID_CLUSTERING": "false",
    }


@pytest.mark.parametrize("host", ["adb.example", "https://adb.example/"])
def test_a_workspace_is_reached_by_https(host: str) -> None:
    databricks = load_settings({**DATABRICKS, "DATABRICKS_HOST": host}).databricks

    assert databricks is not None
    assert (databricks.url, databricks.connection_uri) == ("https://adb.example", "")


def test_a_local_warehouse_is_reached_by_its_address_and_so_is_it_by_dbt() -> None:
    uri = "http://127.0.0.1:8899/sql/1.0/warehouses/local"
    settings = load_settings(LOCAL | {"DATABRICKS_CONNECTION_URI": uri})

    databricks = settings.databricks
    assert databricks is not None
    assert (databricks.url, databricks.http_path) == ("http://127.0.0.1:8899", "/sql/1.0/warehouses/local")
    assert databricks.connection_uri == uri
    assert load_settings({"DATABASE_TYPE": "databricks"} | settings.dbt_environment()).databricks == databricks


@pytest.mark.parametrize(
    "uri",
    [
        "https://127.0.0.1:8899/sql/1.0/warehouses/local",
        "http://adb.example/sql/1.0/warehouses/abc",
        "http://127.0.0.1.adb.example/sql/1.0/warehouses/abc",
        "http://127.0.0.1:8899",
        "127.0.0.1:8899/sql/1.0/warehouses/local",
    ],
)
def test_an_address_that_is_not_on_this_machine_is_refused(uri: str) -> None:
    with pytest.raises(SettingsError, match=r"^DATABRICKS_CONNECTION_URI must be a local warehouse's address such as"):
        load_settings(LOCAL | {"DATABRICKS_CONNECTION_URI": uri})


@pytest.mark.parametrize(
    "variables",
    [
        LOCAL | {"DATABRICKS_CONNECTION_URI": "databricks://token:dapi-secret@adb.example?http_path=/sql/x"},
        DATABRICKS | {"DATABRICKS_HOST": "https://token:dapi-secret@adb.example"},
    ],
    ids=["address", "host"],
)
def test_an_address_with_a_token_is_refused_without_showing_it(variables: dict[str, str]) -> None:
    with pytest.raises(SettingsError, match="but is an address with a user or a token") as error:
        load_settings(variables)
    assert "dapi" not in str(error.value)


def test_secrets_are_not_in_what_is_printed_of_the_settings() -> None:
    for variables in (DATABRICKS, PRINCIPAL):
        settings = load_settings(variables)
        assert settings.databricks is not None
        assert "secret" not in f"{settings!r} {settings} {settings.databricks!r}"


CONNECTIONS = {
    "a token": {"host": "https://adb.example", "password": "dapi-2", "extra": {"http_path": "/sql/2"}},
    "a token in the extras": {"host": "adb.example", "extra": {"http_path": "/sql/2", "token": "dapi-2"}},
    "a service principal": {
        "host": "adb.example",
        "login": "client",
        "password": "dose-2",
        "extra": {"http_path": "/sql/2", "service_principal_oauth": True},
    },
}


@pytest.mark.parametrize("kind", CONNECTIONS)
def test_an_airflow_connection_has_what_the_environment_leaves_out(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    connection = {"conn_type": "databricks", **CONNECTIONS[kind]}
    monkeypatch.setenv("AIRFLOW_CONN_LENDING", json.dumps(connection))
    named = {"DATABASE_TYPE": "databricks", "DATABRICKS_CATALOG": "lending", "DATABRICKS_SCHEMA": "lc"}

    databricks = load_settings({**named, "DATABRICKS_CONN_ID": "lending"}).connected().databricks

    assert databricks is not None
    assert (databricks.host, databricks.http_path) == ("adb.example", "/sql/2")
    principal = kind == "a service principal"
    assert databricks.token == ("" if principal else "dapi-2")
    assert (databricks.client_id, databricks.client_secret) == (("client", "dose-2") if principal else ("", ""))


def test_an_airflow_connection_without_https_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    connection = {"conn_type": "databricks", **CONNECTIONS["a token"], "host": "http://adb.example"}
    monkeypatch.setenv("AIRFLOW_CONN_LENDING", json.dumps(connection))
    named = {"DATABASE_TYPE": "databricks", "DATABRICKS_CATALOG": "lending", "DATABRICKS_SCHEMA": "lc"}

    with pytest.raises(SettingsError, match="the host of the Airflow connection 'lending' must be reached by https"):
        load_settings({**named, "DATABRICKS_CONN_ID": "lending"}).connected()


def test_the_environment_goes_before_the_airflow_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_LENDING", json.dumps({"conn_type": "databricks", **CONNECTIONS["a token"]}))

    databricks = load_settings({**PRINCIPAL, "DATABRICKS_CONN_ID": "lending"}).connected().databricks

    assert databricks is not None
    assert (databricks.http_path, databricks.token, databricks.client_id) == ("/sql/1.0/warehouses/abc", "", "client")


def test_an_airflow_connection_that_lacks_something_is_an_error_that_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_LENDING", json.dumps({"conn_type": "databricks", "host": "adb.example"}))
    named = {"DATABASE_TYPE": "databricks", "DATABRICKS_CATALOG": "lending", "DATABRICKS_SCHEMA": "lc"}

    with pytest.raises(SettingsError, match="the Airflow connection 'lending' lacks http_path, password"):
        load_settings({**named, "DATABRICKS_CONN_ID": "lending"}).connected()


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"DATABASE_TYPE": "postgres"}, "DATABASE_TYPE must be duckdb or databricks, but is 'postgres'"),
        ({"DBT_TARGET": "prod"}, "DBT_TARGET must be dev since DATABASE_TYPE is duckdb, but is 'prod'"),
        (
            {**DATABRICKS, "DBT_TARGET": "dev"},
            "DBT_TARGET must be prod since DATABASE_TYPE is databricks, but is 'dev'",
        ),
        ({"MAX_ROW_DROP_PCT": "101"}, "MAX_ROW_DROP_PCT must be a percentage from 0 to 100, but is '101'"),
        ({"KEEP_EXPORTS": "1"}, "KEEP_EXPORTS must be a number of exports to keep, 2 or more, but is '1'"),
        ({"KEEP_EXPORTS": "all"}, "KEEP_EXPORTS must be a number of exports to keep, 2 or more, but is 'all'"),
        ({"MAX_ROW_DROP_PCT": "half"}, "MAX_ROW_DROP_PCT must be a percentage from 0 to 100, but is 'half'"),
        ({**DATABRICKS, "DATABRICKS_TOKEN": ""}, "DATABRICKS_TOKEN is missing: DATABASE_TYPE=databricks needs it"),
        ({**PRINCIPAL, "DATABRICKS_CLIENT_SECRET": ""}, "DATABRICKS_CLIENT_SECRET is missing: DATABRICKS_CLIENT_ID"),
        ({**PRINCIPAL, "DATABRICKS_CLIENT_ID": ""}, "DATABRICKS_CLIENT_ID is missing: DATABRICKS_CLIENT_SECRET needs"),
        ({**PRINCIPAL, "DATABRICKS_TOKEN": "dapi"}, "DATABRICKS_TOKEN and DATABRICKS_CLIENT_ID are both set"),
        ({**DATABRICKS, "DATABRICKS_HOST": "http://adb.example"}, "DATABRICKS_HOST must be reached by https"),
        ({**DATABRICKS, "DATABRICKS_HOST": "http://127.0.0.1"}, "DATABRICKS_HOST must be reached by https"),
        (
            {**DATABRICKS, "DATABRICKS_CONNECTION_URI": "http://127.0.0.1/sql/x"},
            "DATABRICKS_HOST and DATABRICKS_CONNECTION_URI are both set: clear one of them",
        ),
        ({**DATABRICKS, "DATABRICKS_HOST": "adb.example/sql"}, "DATABRICKS_HOST must be a workspace's host such as"),
        ({**DATABRICKS, "DATABRICKS_VOLUME": "/Volumes/lending"}, "DATABRICKS_VOLUME must be a folder of a volume"),
        (
            {"ALERT_EMAIL": "ada@example.com; b"},
            "ALERT_EMAIL must be addresses such as ada@example.com, separated by",
        ),
        ({"ALERT_NOTIFIER": "os.nothing.Here"}, "ALERT_NOTIFIER must be the class of an installed notifier, such as"),
        ({"ALERT_NOTIFIER": "SmtpNotifier"}, "ALERT_NOTIFIER must be the class of an installed notifier, such as"),
        ({"ALERT_NOTIFIER_ARGS": "{}"}, "ALERT_NOTIFIER is missing: ALERT_NOTIFIER_ARGS needs it"),
        (
            {"DELIVERY_DEADLINE": "24:00"},
            "DELIVERY_DEADLINE must be a time of day in UTC such as 06:00, but is '24:00'",
        ),
        ({"DELIVERY_DEADLINE": "06:00"}, "ALERT_EMAIL is missing: DELIVERY_DEADLINE needs it, or ALERT_NOTIFIER"),
        ({"INPUT_PATH": "~nobody-has-this-name/x"}, "INPUT_PATH must begin with the home of a user who exists"),
        ({"LANDING_PATH": "a\udcffb"}, "LANDING_PATH must be a path in UTF-8 without NUL"),
        ({"OUTPUT_PATH": "a\0b"}, "OUTPUT_PATH must be a path in UTF-8 without NUL"),
    ],
)
def test_a_wrong_value_is_an_error_that_names_its_variable(variables: dict[str, str], message: str) -> None:
    with pytest.raises(SettingsError) as error:
        load_settings(variables)
    assert str(error.value).startswith(message)


@pytest.mark.parametrize("arguments", ['{"token": "xoxb-secret"', '["xoxb-secret"]', "xoxb-secret"])
def test_an_error_in_a_notifiers_arguments_does_not_show_them(arguments: str) -> None:
    notifier = "airflow.providers.smtp.notifications.smtp.SmtpNotifier"

    with pytest.raises(SettingsError, match=r"^ALERT_NOTIFIER_ARGS must be the notifier's arguments as") as error:
        load_settings({"ALERT_NOTIFIER": notifier, "ALERT_NOTIFIER_ARGS": arguments})
    assert "secret" not in str(error.value)


def test_the_arguments_of_a_notifier_are_not_in_what_is_printed_of_the_settings() -> None:
    notifier = "airflow.providers.smtp.notifications.smtp.SmtpNotifier"
    settings = load_settings({"ALERT_NOTIFIER": notifier, "ALERT_NOTIFIER_ARGS": '{"to": "secret"}'})

    assert settings.alerts.notifier_args == {"to": "secret"}
    assert "secret" not in f"{settings!r} {settings} {settings.alerts!r}"


def test_all_wrong_variables_are_told_at_once() -> None:
    with pytest.raises(SettingsError) as error:
        load_settings({"DATABASE_TYPE": "databricks", "MAX_ROW_DROP_PCT": "x"})
    assert str(error.value).count("\n") == 5


@pytest.mark.parametrize(
    "name",
    ["main.duckdb", "TEMP.db", "system.duckdb", "information_schema.x", ".main.duckdb", "lc'x.duckdb", 'lc"x', "lc;x"]
    + [f"main_{layer}.duckdb" for layer in SCHEMAS],
)
def test_a_name_that_cannot_be_a_databases_is_refused(name: str) -> None:
    with pytest.raises(SettingsError, match="DUCKDB_PATH must be a file whose name can name a database"):
        load_settings({"DUCKDB_PATH": f"/srv/{name}"})


@pytest.mark.parametrize("path", ["a?b/lc.duckdb", "a#b/lc.duckdb", "a\\b/lc.duckdb", "lc?.duckdb"])
def test_a_path_that_duckdb_or_dbt_would_take_for_another_is_refused(path: str) -> None:
    with pytest.raises(SettingsError, match=r"DUCKDB_PATH must be a path without \? # \\, which DuckDB and dbt"):
        load_settings({"DUCKDB_PATH": path})


def test_what_is_no_duckdb_file_is_refused(tmp_path: Path) -> None:
    with contextlib.closing(sqlite3.connect(tmp_path / "sqlite.db")) as database:
        database.execute("create table t (x)")
    (tmp_path / "text.duckdb").write_text("something else altogether")
    with duckdb.connect(tmp_path / "good.duckdb"):
        pass

    for name, found in {
        "sqlite.db": "a SQLite file",
        "text.duckdb": "another file",
        ".": "a folder",
    }.items():
        with pytest.raises(SettingsError, match=rf"DUCKDB_PATH must be a DuckDB file, but {tmp_path}.* is {found}"):
            load_settings({"DUCKDB_PATH": str(tmp_path / name)})
    load_settings({"DUCKDB_PATH": str(tmp_path / "good.duckdb")})


@pytest.mark.parametrize("folder", ["k=v", "a*", "a?", "a[b]", "a{b,c}", "a\\b", "a`b", "a'b", "..", "."])
def test_a_volumes_folder_that_spark_would_not_take_literally_is_refused(folder: str) -> None:
    with pytest.raises(SettingsError, match="DATABRICKS_VOLUME must be a path that Spark takes literally"):
        load_settings({**DATABRICKS, "DATABRICKS_VOLUME": f"/Volumes/lending/lc/landing/{folder}"})


@pytest.mark.parametrize("limit", ["4GB", "512MiB", "1.5 TB", "50%", "0.5GB"])
def test_a_memory_limit_is_one_that_duckdb_takes(limit: str) -> None:
    taken = load_settings({"DUCKDB_MEMORY_LIMIT": limit}).duckdb_memory_limit
    duckdb.connect(config={"memory_limit": taken}).close()


@pytest.mark.parametrize(
    "limit", ["4", "0GB", "0%", "-1", "4gb", "4 apples", "half", "unlimited", "'; drop", "200%", f"{10**20}TB"]
)
def test_a_memory_limit_that_is_none_is_refused(limit: str) -> None:
    with pytest.raises(SettingsError, match=r"^DUCKDB_MEMORY_LIMIT must be an amount of memory such as 4GB"):
        load_settings({"DUCKDB_MEMORY_LIMIT": limit})
