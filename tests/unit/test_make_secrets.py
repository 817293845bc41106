"""scripts/make_secrets.py: secrets of docker-compose.yaml, made on the first start and kept from then on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from scripts.make_secrets import WrongSecret, make_secrets


@pytest.fixture(autouse=True)
def users(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POSTGRES_USER", "airflow")
    monkeypatch.setenv("AIRFLOW_USER", "admin")


def contents(folder: Path) -> dict[str, str]:
    return {file.name: file.read_text() for file in folder.iterdir()}


def test_second_start_keeps_what_the_first_made(tmp_path: Path) -> None:
    make_secrets(tmp_path)
    first = contents(tmp_path)
    make_secrets(tmp_path)
    assert contents(tmp_path) == first


def test_secrets_of_two_first_starts_differ(tmp_path: Path) -> None:
    make_secrets(tmp_path / "one")
    make_secrets(tmp_path / "two")
    one, two = contents(tmp_path / "one"), contents(tmp_path / "two")
    assert [name for name in one if one[name] == two[name]] == []


def test_a_secret_is_taken_from_its_variable_whatever_characters_it_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POSTGRES_PASSWORD", "p@ss/word:%")
    monkeypatch.setenv("AIRFLOW_PASSWORD", 'quote"d')
    make_secrets(tmp_path)
    made = contents(tmp_path)
    assert made["postgres_password"] == "p@ss/word:%"
    assert made["sql_alchemy_conn"] == "postgresql+psycopg2://airflow:p%40ss%2Fword%3A%25@postgres:5432/airflow"
    assert json.loads(made["airflow_passwords.json"]) == {"admin": 'quote"d'}


@pytest.mark.parametrize(("name", "value"), [("POSTGRES_PASSWORD", "another"), ("FERNET_KEY", "A" * 43 + "=")])
def test_a_secret_that_data_was_made_with_is_not_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    make_secrets(tmp_path)
    first = contents(tmp_path)
    monkeypatch.setenv(name, value)
    with pytest.raises(WrongSecret, match=name):
        make_secrets(tmp_path)
    assert contents(tmp_path) == first


def test_a_fernet_key_that_is_none_is_refused_before_airflow_meets_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FERNET_KEY", "too short")
    with pytest.raises(WrongSecret, match="FERNET_KEY is not a Fernet key"):
        make_secrets(tmp_path)
    assert not (tmp_path / "fernet_key").exists()


def test_only_what_postgres_and_redis_read_is_readable_by_others(tmp_path: Path) -> None:
    make_secrets(tmp_path)
    readable = {file.name for file in tmp_path.iterdir() if file.stat().st_mode & 0o044}
    assert readable == {"postgres_password", "redis_password"}
