from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from include import duckdb_paths

SIBLINGS = ("ab", "axb", "axyb", "a'b")


@pytest.fixture
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        yield connection


def write(connection: duckdb.DuckDBPyConnection, path: Path, name: str) -> None:
    path.parent.mkdir(exist_ok=True)
    connection.execute(f"copy (select '{name}' as name) to {duckdb_paths.literal(path)}")


@pytest.mark.parametrize("format_", ["parquet", "csv", "json"])
@pytest.mark.parametrize(
    "folder",
    [
        "name=Bob",
        "a[x]b",
        "[",
        "a*b",
        "**",
        "a?b",
        "a{x,xy}b",
        "a\\b",
        "a'b",
        'a"b',
        "a\nb",
        "a]b",
        "a[!x]b",
        "Ünï %20",
    ],
)
def test_a_path_is_taken_literally_whatever_characters_it_has(
    connection: duckdb.DuckDBPyConnection, tmp_path: Path, folder: str, format_: str
) -> None:
    for sibling in SIBLINGS:
        write(connection, tmp_path / sibling / f"file.{format_}", "another")
    path = tmp_path / folder / f"file.{format_}"
    write(connection, path, "Ada")
    assert path.exists()

    assert connection.execute(f"select * from {duckdb_paths.read(format_, path)}").fetchall() == [("Ada",)]


def test_a_file_that_is_missing_is_not_found_elsewhere(connection: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    write(connection, tmp_path / "axb" / "file.parquet", "another")
    (tmp_path / "a*b").mkdir()

    with pytest.raises(duckdb.IOException, match="No files found"):
        connection.execute(f"select * from {duckdb_paths.read('parquet', tmp_path / 'a*b' / 'file.parquet')}")
