from __future__ import annotations

import os
from pathlib import Path

import pytest

from include.preflight import UnusablePath, check_paths
from tests.support.mounts import mounted
from tests.support.settings import settings_in

FOLDERS = {"LANDING_PATH": "landing", "OUTPUT_PATH": "outputs", "DATA_QUALITY_REPORT_PATH": "quality_reports"}
WRITTEN = {**FOLDERS, "DUCKDB_PATH": "duckdb"}


@pytest.mark.parametrize("variable", WRITTEN)
def test_a_file_in_a_folders_place_is_named_with_its_variable(tmp_path: Path, variable: str) -> None:
    path = tmp_path / WRITTEN[variable]
    path.touch()

    with pytest.raises(UnusablePath) as error:
        check_paths(settings_in(tmp_path))

    assert str(error.value) == f"{variable} can't be written to: {path}: Not a directory"


@pytest.mark.parametrize("variable", WRITTEN)
def test_a_read_only_file_system_is_named_with_its_variable(tmp_path: Path, variable: str) -> None:
    with mounted(tmp_path / WRITTEN[variable], "ro") as path, pytest.raises(UnusablePath) as error:
        check_paths(settings_in(tmp_path))

    assert str(error.value) == f"{variable} can't be written to: {path}: Read-only file system"


@pytest.mark.parametrize("variable", FOLDERS)
def test_a_disk_that_is_full_is_named_with_its_variable(tmp_path: Path, variable: str) -> None:
    with mounted(tmp_path / FOLDERS[variable], "size=4k") as path:
        (path / "all there is").write_bytes(b"x" * 4096)
        with pytest.raises(UnusablePath) as error:
            check_paths(settings_in(tmp_path))

    assert str(error.value) == f"{variable} can't be written to: {path}: No space left on device"


@pytest.mark.parametrize("variable", FOLDERS)
def test_a_path_with_no_room_for_the_names_of_a_run_is_refused(tmp_path: Path, variable: str) -> None:
    longest = os.pathconf(tmp_path, "PC_PATH_MAX") - 200  # the folder itself can be made, what is in it can't
    path = tmp_path
    while len(str(path)) < longest:
        path = path / ("x" * 100)

    with pytest.raises(UnusablePath, match=f"{variable} can't be written to: {path}: File name too long"):
        check_paths(settings_in(tmp_path, **{variable: str(path)}))


def test_an_empty_file_in_the_databases_place_is_refused(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    settings.duckdb_path.parent.mkdir()
    settings.duckdb_path.touch()

    with pytest.raises(UnusablePath, match=r"DUCKDB_PATH: .*lc_pipeline\.duckdb is empty: expected a DuckDB file"):
        check_paths(settings)


def test_without_symbolic_links_there_are_no_exports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(Path, "symlink_to", refuse)
    with pytest.raises(UnusablePath, match=r"OUTPUT_PATH: .*/outputs takes no symbolic links \(Operation not permit"):
        check_paths(settings_in(tmp_path))


def test_a_folder_where_an_export_belongs_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "outputs" / "account_summary.csv"
    folder.mkdir(parents=True)

    with pytest.raises(UnusablePath, match=f"OUTPUT_PATH: {folder} is a folder: expected the link"):
        check_paths(settings_in(tmp_path))


def test_checking_leaves_nothing_behind_but_the_folders(tmp_path: Path) -> None:
    check_paths(settings_in(tmp_path))

    assert sorted(path.name for path in tmp_path.rglob("*")) == sorted(WRITTEN.values())
