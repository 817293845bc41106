"""env.sh: Airflow's own settings may stand in .env, beside the pipeline's."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from include.settings import PROJECT_ROOT


def environment_of(folder: Path, lines: list[str], **variables: str) -> dict[str, str]:
    """Return the environment of a shell that reads env.sh in a folder with this .env."""
    shutil.copy(PROJECT_ROOT / "env.sh", folder)
    (folder / ".env").write_text("\n".join([*lines, ""]))
    shell = ["sh", "-euc", ". ./env.sh; env -0"]
    ended = subprocess.run(
        shell, cwd=folder, env={"PATH": os.environ["PATH"], **variables}, check=True, capture_output=True, text=True
    )
    return dict(line.split("=", 1) for line in ended.stdout.split("\0") if line)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("AIRFLOW__A__B=postgresql+psycopg2://u:p@h/d", "postgresql+psycopg2://u:p@h/d"),
        ('AIRFLOW__A__B="two words"', "two words"),
        ("AIRFLOW__A__B='two words'", "two words"),
        ("AIRFLOW__A__B=user", "user"),
        ("AIRFLOW__A__B=a=b=", "a=b="),
        ("AIRFLOW__A__B=it's $HOME `id` $(id) \\ \"", "it's $HOME `id` $(id) \\ \""),
        ("AIRFLOW__A__B=", ""),
        ('AIRFLOW__A__B="two words"\r', "two words"),
        ("AIRFLOW__A__B=8 # eight", "8"),
        ('AIRFLOW__A__B="two words" # in quotes', "two words"),
        ("AIRFLOW__A__B='two words' # in quotes", "two words"),
        ('AIRFLOW__A__B="two # words" # in quotes', "two # words"),
        ('AIRFLOW__A__B="two # words"', "two # words"),
        ("""AIRFLOW__A__B='{"a": "b"}'""", '{"a": "b"}'),
    ],
)
def test_a_value_in_dotenv_arrives_as_it_is_written(tmp_path: Path, line: str, expected: str) -> None:
    assert environment_of(tmp_path, [line])["AIRFLOW__A__B"] == expected


def test_the_environment_goes_before_dotenv_and_dotenv_before_env_sh(tmp_path: Path) -> None:
    everybody = "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS"
    lines = ["AIRFLOW__CORE__PARALLELISM=8", "AIRFLOW__API__HOST=0.0.0.0", f"{everybody}=False", "# AIRFLOW__A__B=1"]
    found = environment_of(tmp_path, lines, AIRFLOW__API__HOST="::1")
    assert (found["AIRFLOW__CORE__PARALLELISM"], found["AIRFLOW__API__HOST"], found[everybody]) == ("8", "::1", "False")
    assert "AIRFLOW__A__B" not in found


def test_the_pipelines_settings_stay_in_dotenv(tmp_path: Path) -> None:
    """include/settings.py reads them each time; exported, they would outlive a change of the file."""
    assert "DATABRICKS_TOKEN" not in environment_of(tmp_path, ["DATABRICKS_TOKEN=secret"])


@pytest.mark.parametrize("name", ["NO_PROXY", "no_proxy"])
def test_airflows_own_api_is_reached_without_a_proxy_and_what_was_exempt_stays_so(tmp_path: Path, name: str) -> None:
    found = environment_of(tmp_path, [], **{name: "intranet.example"})
    assert {found["NO_PROXY"], found["no_proxy"]} == {"intranet.example,127.0.0.1,localhost"}


def test_what_is_set_stays_except_the_folders(tmp_path: Path) -> None:
    kept = {"AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False", "AIRFLOW__COSMOS__ENABLE_TELEMETRY": "True"}
    found = environment_of(tmp_path, [], AIRFLOW_HOME="/elsewhere", **kept)
    assert {name: found[name] for name in kept} == kept
    assert found["AIRFLOW_HOME"] == str(tmp_path / ".airflow")


@pytest.mark.parametrize("character", ["%", "?", '"'])
def test_a_folder_whose_name_airflow_cannot_use_is_refused_in_one_line(tmp_path: Path, character: str) -> None:
    folder = tmp_path / f"100{character}"
    folder.mkdir()
    shutil.copy(PROJECT_ROOT / "env.sh", folder)
    ended = subprocess.run(["sh", "-euc", ". ./env.sh; env"], cwd=folder, check=False, capture_output=True, text=True)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr == (
        f"error: {folder}: Airflow and DuckDB can't use a folder with %, ? or \" in its path; rename it\n"
    )
