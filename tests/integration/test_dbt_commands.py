"""Plain dbt in dbt/, with its own profiles.yml, as a developer uses it after a delivery has been landed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from include.dbt.runner import DBT_DIR
from include.ingestion import ingest
from include.settings import PROJECT_ROOT, Settings
from tests.support.deliveries import day
from tests.support.settings import settings_in
from tests.support.tables import read_tables

pytestmark = pytest.mark.slow

Dbt = Callable[..., dict[str, str]]


def run_dbt(settings: Settings, *arguments: str, profiles: Path = DBT_DIR) -> subprocess.CompletedProcess[str]:
    """Run a dbt command in dbt/, with its artifacts beside the database."""
    target = str(settings.duckdb_path.parent / "target")
    return subprocess.run(
        [Path(sys.executable).with_name("dbt"), *arguments],
        cwd=DBT_DIR,
        env={
            **os.environ,
            "DUCKDB_PATH": str(settings.duckdb_path),
            "LANDING_PATH": str(settings.landing_path),
            "DBT_PROFILES_DIR": str(profiles),
            "DBT_TARGET_PATH": target,
            "DBT_LOG_PATH": target,
        },
        capture_output=True,
        text=True,
        check=False,
    )


def results(settings: Settings) -> list[dict[str, Any]]:
    """Return the results of the last command's nodes, hooks excepted."""
    text = (settings.duckdb_path.parent / "target" / "run_results.json").read_text()
    return [result for result in json.loads(text)["results"] if not result["unique_id"].startswith("operation.")]


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A landing with the first sample day, and no database yet."""
    settings = settings_in(tmp_path_factory.mktemp("dbt"), INPUT_PATH=str(PROJECT_ROOT / "data" / "inputs"))
    settings.duckdb_path.parent.mkdir()
    ingest(settings, logical_date=day(5), run_id="landed")
    return settings


@pytest.fixture(scope="module")
def dbt(settings: Settings) -> Dbt:
    """Run a dbt command that ends with `status`; return the status of each node, hooks excepted, by its name."""

    def run(*arguments: str, status: int = 0) -> dict[str, str]:
        ended = run_dbt(settings, *arguments)
        assert ended.returncode == status, ended.stdout[-3000:] + ended.stderr[-3000:]
        return {result["unique_id"].split(".")[2]: result["status"] for result in results(settings)}

    return run


@pytest.fixture(scope="module")
def built(dbt: Dbt) -> dict[str, str]:
    """The statuses of the first `dbt build`, on which the other commands stand."""
    return dbt("build")


EXPOSURES = {"account_summary_export", "customer_profile_export", "quality_report"}


def test_the_first_build_runs_everything_unit_tests_included(built: dict[str, str]) -> None:
    assert set(built.values()) == {"success", "pass", "warn", "no-op"}
    assert {name for name, status in built.items() if status == "no-op"} == EXPOSURES
    assert {name for name, status in built.items() if status == "warn"} == {
        "assert_no_quarantined_customer",
        "assert_no_quarantined_account",
        "assert_no_orphan_account",
    }
    assert "lc_pipeline" not in built
    assert {"snap_customer", "account_summary", "interest_rate_tier"} <= built.keys()


def test_no_two_statements_share_the_memory_limit(dbt: Dbt, built: dict[str, str], settings: Settings) -> None:
    dbt("test", "--select", "stg_account")

    assert len({result["thread_id"] for result in results(settings)}) == 1


@pytest.mark.parametrize("selection", ["staging", "tag:staging"])
def test_a_layer_is_selected_by_its_folder_and_by_its_tag(dbt: Dbt, built: dict[str, str], selection: str) -> None:
    assert dbt("run", "--select", selection).keys() == {
        "stg_customer_checked",
        "stg_account_checked",
        "stg_customer",
        "stg_account",
        "quarantine_customer",
        "quarantine_account",
    }


def test_run_full_refresh_snapshot_and_test_leave_the_rows_as_they_are(
    dbt: Dbt, built: dict[str, str], settings: Settings
) -> None:
    before = read_tables(settings)

    assert len(dbt("run", "--full-refresh")) == 12
    assert dbt("snapshot").keys() == {"snap_customer", "snap_account"}
    assert set(dbt("test", "--exclude-resource-type", "unit_test").values()) == {"pass", "warn"}
    assert read_tables(settings) == before


def test_too_many_quarantined_records_stop_a_build_before_both_snapshots(
    dbt: Dbt, built: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MAX_QUARANTINE_PCT", "0.5")

    statuses = dbt("build", "--exclude-resource-type", "unit_test", status=1)

    assert statuses["assert_quarantine_is_within_the_limit"] == "fail"
    assert {name for name, status in statuses.items() if status == "fail"} == {"assert_quarantine_is_within_the_limit"}
    assert statuses["stg_customer"] == "success"
    assert {statuses[name] for name in ("snap_customer", "snap_account", "account_summary")} == {"skipped"}


def test_the_documentation_describes_every_column(dbt: Dbt, built: dict[str, str], settings: Settings) -> None:
    dbt("docs", "generate")

    target = settings.duckdb_path.parent / "target"
    found = json.loads((target / "catalog.json").read_text())["nodes"]
    catalog = {node: table for node, table in found.items() if not node.startswith("test.")}  # not kept rows
    manifest = json.loads((target / "manifest.json").read_text())["nodes"]
    undescribed = [
        f"{manifest[node]['name']}.{column}"
        for node, table in catalog.items()
        for column in table["columns"]
        if not manifest[node]["columns"].get(column, {}).get("description")
    ]
    assert len(catalog) == 15
    assert undescribed == []


@pytest.mark.parametrize("command", ["build", "run", "snapshot"])
def test_empty_is_refused_and_closes_nothing(built: dict[str, str], settings: Settings, command: str) -> None:
    before = read_tables(settings)

    ended = run_dbt(settings, command, "--empty")

    assert ended.returncode != 0
    assert "--empty is refused: with no row to read, every key would count as deleted" in ended.stdout
    assert read_tables(settings) == before


def test_a_session_that_is_not_in_utc_is_refused_by_the_name_of_the_setting(
    built: dict[str, str], settings: Settings, tmp_path: Path
) -> None:
    profiles = (DBT_DIR / "profiles.yml").read_text()
    (tmp_path / "profiles.yml").write_text(profiles.replace("TimeZone: UTC", "TimeZone: America/New_York"))

    ended = run_dbt(settings, "run", "--select", "source", profiles=tmp_path)

    assert ended.returncode != 0
    assert "The session's time zone is America/New_York, expected UTC: keep `TimeZone: UTC`" in ended.stdout


def test_without_a_landing_dbt_says_what_is_missing(tmp_path: Path) -> None:
    ended = run_dbt(settings_in(tmp_path), "run", "--select", "source")

    assert ended.returncode != 0
    assert "Nothing has been landed:" in ended.stdout


def test_with_the_pipelines_settings_dbt_finds_relative_paths_where_the_pipeline_does(
    built: dict[str, str], settings: Settings
) -> None:
    relative = {
        name: os.path.relpath(path, PROJECT_ROOT)
        for name, path in {"DUCKDB_PATH": settings.duckdb_path, "LANDING_PATH": settings.landing_path}.items()
    }
    target = str(settings.duckdb_path.parent / "target")
    ended = subprocess.run(
        [sys.executable, "-m", "include.dbt", "test", "--select", "source:*", "src_account"],
        cwd=PROJECT_ROOT,
        env={**os.environ, **relative, "DBT_TARGET_PATH": target, "DBT_LOG_PATH": target},
        capture_output=True,
        text=True,
        check=False,
    )

    assert ended.returncode == 0, ended.stdout
    assert {result["status"] for result in results(settings)} == {"pass"}
