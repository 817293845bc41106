"""Tables that were changed from outside: the data test that finds it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from include.dbt.manifest import load_manifest
from include.dbt.runner import run_dbt
from tests.support.databases import execute
from tests.support.settings import settings_in
from tests.support.two_days import play

pytestmark = pytest.mark.slow

CHANGES = {
    "the first record has no number 1": (
        "update main_source.src_account set source_row_number = 0 where source_row_number = 1",
        "holds_current_delivery_src_account_accounts",
    ),
    "a record is missing": (
        "delete from main_source.src_account where source_row_number = 2",
        "holds_current_delivery_src_account_accounts",
    ),
    "a record's status is unknown": (
        "update main_staging.stg_account_checked set record_status = 'lost' where account_id = 'A'",
        "assert_every_record_is_accounted_for",
    ),
    "a quarantined record gives no reason": (
        "update main_staging.stg_account_checked set failure_reasons = null where record_status = 'quarantined'",
        "assert_quarantined_records_say_why",
    ),
    "a version is there twice": (
        "insert into main_snapshots.snap_account from main_snapshots.snap_account where account_id = 'A'",
        "scd2_no_overlap_snap_account_account_id__dbt_valid_from__dbt_valid_to",
    ),
    "two versions have one id": (
        "update main_snapshots.snap_account set dbt_scd_id = 'the same' where account_id in ('A', 'B')",
        "unique_snap_account_dbt_scd_id",
    ),
    "a version never begins": (
        "update main_snapshots.snap_account set dbt_valid_from = null where account_id = 'A'",
        "valid_date_range_snap_account_dbt_valid_to__dbt_valid_from",
    ),
    "a checking account is among the savings": (
        "update main_intermediate.int_savings_account_only set account_type = 'checking' where account_id = 'A'",
        "assert_savings_equal_full_refresh",
    ),
}


@pytest.fixture(scope="module")
def delivered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which both days were delivered, and so passed all tests."""
    folder = tmp_path_factory.mktemp("delivered")
    for number in (5, 6):
        play(settings_in(folder), number, f"day_{number}")
    return folder


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_from_outside_fails_a_test(delivered: Path, tmp_path: Path, change: str) -> None:
    statement, test = CHANGES[change]
    shutil.copytree(delivered, tmp_path / "changed")
    settings = settings_in(tmp_path / "changed")
    execute(settings.duckdb_path, statement)

    *_, result = run_dbt(settings, ["test", "--select", test], manifest=load_manifest(settings), run_id="check").result

    assert (result.node.name, result.status) == (test, "fail")


def test_a_row_without_a_key_is_not_left_out_silently(delivered: Path, tmp_path: Path) -> None:
    shutil.copytree(delivered, tmp_path / "changed")
    settings = settings_in(tmp_path / "changed")
    execute(settings.duckdb_path, "update main_snapshots.snap_account set account_id = null where account_id = 'A'")

    build = ["build", "--select", "int_account_with_customer"]
    results = run_dbt(settings, build, manifest=load_manifest(settings), run_id="check").result

    failed = {result.node.name for result in results if result.status == "fail"}
    assert "not_null_int_account_with_customer_account_id" in failed
