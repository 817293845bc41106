from __future__ import annotations

from pathlib import Path

import pytest

from include.settings import PROJECT_ROOT, SettingsError, load_settings

DATABRICKS = {
    "DATABASE_TYPE": "databricks",
    "DATABRICKS_HOST": "https://adb.example",
    "DATABRICKS_HTTP_PATH": "/sql/1.0/warehouses/abc",
    "DATABRICKS_CATALOG": "lending",
    "DATABRICKS_SCHEMA": "lc",
    "DATABRICKS_TOKEN": "dapi-secret",
}


def test_every_default_is_the_one_that_env_example_shows() -> None:
    lines = (PROJECT_ROOT / ".env.example").read_text().splitlines()
    shown = dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))
    assert load_settings(shown) == load_settings({})
    assert set(shown) >= {*DATABRICKS, *load_settings({}).dbt_environment()}


def test_relative_paths_start_at_the_repository_and_absolute_ones_stay() -> None:
    settings = load_settings({"LANDING_PATH": "data/x/../landing", "OUTPUT_PATH": "/srv/outputs"})
    assert settings.landing_path == PROJECT_ROOT / "data/landing"
    assert settings.output_path == Path("/srv/outputs")


def test_a_variable_set_to_nothing_counts_as_not_set() -> None:
    assert load_settings({"INPUT_PATH": " ", "MAX_ROW_DROP_PCT": ""}) == load_settings({})


def test_databricks_settings_are_read_and_go_to_dbt() -> None:
    settings = load_settings(DATABRICKS)
    assert settings.dbt_target == "prod"
    assert {name: settings.dbt_environment()[name] for name in DATABRICKS if name != "DATABASE_TYPE"} == {
        name: value for name, value in DATABRICKS.items() if name != "DATABASE_TYPE"
    }


def test_the_token_is_not_in_what_is_printed_of_the_settings() -> None:
    assert "dapi-secret" not in f"{load_settings(DATABRICKS)!r} {load_settings(DATABRICKS)}"


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"DATABASE_TYPE": "postgres"}, "DATABASE_TYPE must be duckdb or databricks, but is 'postgres'"),
        ({"DBT_TARGET": "prod"}, "DBT_TARGET must be dev since DATABASE_TYPE is duckdb, but is 'prod'"),
        (
            {**DATABRICKS, "DBT_TARGET": "dev"},
            "DBT_TARGET must be prod since DATABASE_TYPE is databricks, but is 'dev'",
        ),
        ({"INCREMENTAL_LOOKBACK_DAYS": "-1"}, "INCREMENTAL_LOOKBACK_DAYS must be a whole number of days"),
        ({"INCREMENTAL_LOOKBACK_DAYS": "1.5"}, "INCREMENTAL_LOOKBACK_DAYS must be a whole number of days"),
        ({"MAX_ROW_DROP_PCT": "101"}, "MAX_ROW_DROP_PCT must be a percentage from 0 to 100, but is '101'"),
        ({"MAX_ROW_DROP_PCT": "half"}, "MAX_ROW_DROP_PCT must be a percentage from 0 to 100, but is 'half'"),
        ({**DATABRICKS, "DATABRICKS_TOKEN": ""}, "DATABRICKS_TOKEN is missing: DATABASE_TYPE=databricks needs it"),
    ],
)
def test_a_wrong_value_is_an_error_that_names_its_variable(variables: dict[str, str], message: str) -> None:
    with pytest.raises(SettingsError) as error:
        load_settings(variables)
    assert str(error.value).startswith(message)


def test_all_wrong_variables_are_told_at_once() -> None:
    with pytest.raises(SettingsError) as error:
        load_settings({"DATABASE_TYPE": "databricks", "MAX_ROW_DROP_PCT": "x"})
    assert str(error.value).count("\n") == 5
