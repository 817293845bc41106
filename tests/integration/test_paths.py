"""Paths with characters that mean something to somebody, and paths that can't be written, through whole deliveries."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from hashlib import sha256
from pathlib import Path
from typing import Any

import duckdb
import pytest

from include import deliver as cli
from include.ingestion import IngestionError
from include.pipeline import deliver
from include.rebuild import rebuild
from include.settings import PROJECT_ROOT, Settings
from tests.support.deliveries import account, customer, day, write_extracts
from tests.support.mounts import mounted
from tests.support.processes import error_line
from tests.support.settings import environment_of, settings_in
from tests.support.tables import read_table, read_tables
from tests.support.two_days import play

pytestmark = pytest.mark.slow

CUSTOMERS = [customer("1"), customer("2")]
ACCOUNTS = [account("A", customer_id="1"), account("B", customer_id="2")]


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The tables of the two days where no path has anything special."""
    settings = settings_in(tmp_path_factory.mktemp("plain"))
    play(settings, 5, "first")
    play(settings, 6, "second")
    return read_tables(settings)


@pytest.mark.parametrize("folder", ["name=Bob/loaded_at=2020-01-01", "a[b]*'\n{c}"])
def test_where_the_folders_are_makes_no_difference(tmp_path: Path, plain: dict[str, Any], folder: str) -> None:
    if "*" in folder:  # as a pattern, the folder's name would match this one
        write_extracts(tmp_path / "ab'\n{c}" / "inputs", [customer("9")], [account("Z", customer_id="9")])
        deliver(settings_in(tmp_path / "ab'\n{c}"), logical_date=day(5), run_id="other")
    settings = settings_in(tmp_path / folder, DUCKDB_PATH=str(tmp_path / "lc_pipeline.duckdb"))

    play(settings, 5, "first")
    play(settings, 6, "second")

    assert read_tables(settings) == plain
    with (settings.output_path / "account_summary.csv").open() as file:
        assert [line.split(",")[0] for line in file] == ["account_id", "A", "E"]
    rebuild(settings)
    assert read_tables(settings) == plain


def test_a_bare_dbt_build_reads_the_landing_literally_too(tmp_path: Path) -> None:
    settings = settings_in(tmp_path / "name=Bob" / "a[b]")
    play(settings, 5, "first")
    before = read_tables(settings)

    subprocess.run(
        [Path(sys.executable).with_name("dbt"), "build", "--exclude-resource-type", "unit_test"],
        cwd=PROJECT_ROOT / "dbt",
        env={**os.environ, **environment_of(settings), "DBT_TARGET_PATH": str(tmp_path), "DBT_LOG_PATH": str(tmp_path)},
        check=True,
        capture_output=True,
    )

    assert read_tables(settings) == before
    assert [row[1] for row in read_table(settings, "stg_customer")] == ["customer_name", "ada", "bo", "cy"]


def test_a_history_is_rebuilt_without_symbolic_links(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, plain: dict[str, Any]
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    settings = settings_in(tmp_path)
    play(settings, 5, "first")
    play(settings, 6, "second")
    settings.duckdb_path.unlink()
    monkeypatch.setattr(Path, "symlink_to", refuse)

    rebuild(settings)

    assert read_tables(settings) == plain


def delivered(settings: Settings, number: int = 5) -> tuple[int, str]:
    """Deliver in a process of its own, which is ended if it hangs; return its exit status and its error."""
    ended = subprocess.run(
        [sys.executable, "-m", "include.deliver", "--logical-date", day(number).isoformat()],
        cwd=PROJECT_ROOT,
        env={**os.environ, **environment_of(settings)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    return ended.returncode, error_line(ended.stderr)


def newest_report(settings: Settings) -> dict[str, Any]:
    paths = settings.data_quality_report_path.glob("quality_report_*.json")
    report: dict[str, Any] = json.loads(max(paths, key=lambda path: path.stat().st_mtime_ns).read_text())
    return report


def test_exports_that_cannot_be_written_refuse_the_delivery_in_one_line_and_a_report(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    write_extracts(settings.input_path, CUSTOMERS, ACCOUNTS)
    settings.output_path.touch()
    message = f"OUTPUT_PATH can't be written to: {settings.output_path}: Not a directory"

    assert delivered(settings) == (1, f"error: {message}")

    report = newest_report(settings)
    assert (report["verdict"], report["run"]["outcome"], report["run"]["error"]) == ("fail", "refused", message)
    assert list(settings.landing_path.rglob("*.parquet")) == []


LARGE = [account(sha256(str(n).encode()).hexdigest(), balance=f"{n}.00") for n in range(1, 3001)]


def test_a_disk_that_fills_up_with_exports_fails_the_run_and_its_report(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    write_extracts(settings.input_path, CUSTOMERS, LARGE)

    with mounted(settings.output_path, "size=64k") as outputs:
        status, error = delivered(settings)

        assert status == 1
        assert error.startswith(f"error: {outputs}/.staging/")
        assert "No space left on device" in error
        report = newest_report(settings)
        assert (report["verdict"], report["run"]["outcome"]) == ("fail", "landed")
        assert report["run"]["error"] == error.removeprefix("error: ")

    settings.output_path.rmdir()
    deliver(settings, logical_date=day(5), run_id="when_there_is_room_again")
    report = newest_report(settings)
    assert (report["verdict"], report["run"]["outcome"], report["run"]["error"]) == ("pass", "resumed", None)


@pytest.mark.parametrize(("folder", "size"), [("landing", "64k"), ("duckdb", "1M"), ("quality_reports", "64k")])
def test_a_disk_that_fills_up_ends_the_run_in_one_line_with_the_path_and_the_reason(
    tmp_path: Path, folder: str, size: str
) -> None:
    settings = settings_in(tmp_path)
    write_extracts(settings.input_path, CUSTOMERS, LARGE)

    with mounted(tmp_path / folder, f"size={size}") as full:
        status, error = delivered(settings)

    assert status == 1
    assert error.startswith("error: ")
    assert str(full) in error
    assert "No space left on device" in error


@pytest.mark.parametrize("variable", ["LANDING_PATH", "DATA_QUALITY_REPORT_PATH", "DUCKDB_PATH", "OUTPUT_PATH"])
def test_a_path_that_cannot_be_made_is_told_in_one_line_before_any_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], variable: str
) -> None:
    (tmp_path / "file").touch()
    settings = settings_in(tmp_path, **{variable: str(tmp_path / "file" / "x" / "lc.duckdb")})
    write_extracts(settings.input_path, CUSTOMERS, ACCOUNTS)
    for name, value in environment_of(settings).items():
        monkeypatch.setenv(name, value)

    assert cli.main(["--logical-date", day(5).isoformat()]) == 1

    error = error_line(capsys.readouterr().err)
    assert error.startswith(f"error: {variable} can't be written to: {tmp_path / 'file'}/")
    assert error.endswith(": Not a directory")
    assert list(settings.landing_path.rglob("*.parquet")) == []


def test_an_input_path_that_is_too_long_is_a_missing_file(tmp_path: Path) -> None:
    settings = settings_in(tmp_path, INPUT_PATH=str(tmp_path / ("x" * 300)))

    with pytest.raises(IngestionError, match=r"customers\.csv is missing: .*\(File name too long\)"):
        deliver(settings, logical_date=day(5), run_id="long")


def test_a_run_id_of_the_greatest_length_leads_through_a_whole_delivery(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    write_extracts(settings.input_path, CUSTOMERS, ACCOUNTS)
    run_id = "manual__" + "x" * 242

    deliver(settings, logical_date=day(5), run_id=run_id)

    assert newest_report(settings)["run"]["run_id"] == run_id


@pytest.mark.parametrize("name", ["L C-1.v2.duckdb", ".übung", "a[b]*c'\"{d}\ne=f/lc[x]*{y}.db"])
def test_a_database_may_have_an_odd_name(tmp_path: Path, plain: dict[str, Any], name: str) -> None:
    settings = settings_in(tmp_path, DUCKDB_PATH=str(tmp_path / "duckdb" / name))

    play(settings, 5, "first")
    play(settings, 6, "second")

    assert read_tables(settings) == plain
    with duckdb.connect(settings.duckdb_path, read_only=True) as connection:
        assert connection.execute("select count(*) from main_marts.account_summary").fetchone() == (2,)
