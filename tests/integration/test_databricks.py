"""Deliveries on Databricks that fail on the way: wrong settings, a warehouse that is not there, crashes on both sides.

What they end in is compared with the same deliveries on DuckDB, where nothing failed.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from databricks.sdk.mixins.files import FilesExt

from include.dbt.runner import DBT_DIR
from include.ingestion import IngestionError, ingest
from include.layers import KEPT_TABLES, SCHEMAS
from include.ledger import Ledger
from include.pipeline import DeliveryFailed, deliver
from include.quality.money import of_marts
from include.rebuild import rebuild
from include.settings import Settings
from include.warehouse import WarehouseError, open_warehouse
from include.warehouse.databricks import DatabricksWarehouse
from local_warehouse.process import CLIENT_ID
from scripts import check_databricks
from tests.support.crashing import run_and_die
from tests.support.deliveries import customer, day, write_extracts
from tests.support.local_warehouse import (
    PRINCIPAL,
    SCHEMA,
    LocalWarehouse,
    rights_of_the_guide,
    statements_of_the_guide,
)
from tests.support.processes import free_port
from tests.support.settings import environment_of, settings_in
from tests.support.tables import read_tables
from tests.support.two_days import FIRST_DAY, break_snapshots, play

pytestmark = pytest.mark.slow

CYRUS = [customer("1", name="Ada"), customer("2", name="Bo"), customer("3", name="Cyrus")]
"""The customers of the first day with another name, and no loans."""

MOMENTS = {
    "between ledger and upload": r"^rename .*/ledger\.jsonl$",
    "inside a snapshot": r"^sql done merge into .*snap_customer",
    "inside a merge": r"^sql done .*merge into `.*account_summary",
    "between the published tables": r"^sql create or replace table .*\.`customer_profile`",
    "before the delivery is closed": r"^rename .*/ledger\.jsonl$",
}
"""In the order of a delivery: each crash but the first is one of the run that repairs the crash before."""


@pytest.fixture(scope="module")
def on_duckdb(tmp_path_factory: pytest.TempPathFactory) -> dict[int, dict[str, Any]]:
    """The tables after each of the two days."""
    settings = settings_in(tmp_path_factory.mktemp("duckdb"))
    tables = {}
    for number in (5, 6):
        play(settings, number, f"day_{number}")
        tables[number] = made_by(settings)
    return tables


@pytest.fixture
def settings(warehouse: LocalWarehouse, tmp_path: Path) -> Settings:
    return warehouse.settings(tmp_path / "live")


@pytest.fixture
def principal(warehouse: LocalWarehouse, tmp_path: Path) -> Settings:
    """Settings with the credentials of the service principal, which has the rights that the guide gives it."""
    return warehouse.settings(tmp_path / "live", **PRINCIPAL)


def made_by(settings: Settings) -> dict[str, Any]:
    """Return tables and exports, without what is of an engine or a run."""
    exports = {
        path.name: path.read_bytes() for path in settings.output_path.glob("*.csv") if not path.name.startswith(".")
    }
    return {**read_tables(settings, without=("dbt_scd_id",)), **exports}


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"token": "dapi-wrong"}, r"DATABRICKS_TOKEN .* is not accepted there"),
        ({"http_path": "/sql/1.0/warehouses/other"}, r"DATABRICKS_HTTP_PATH names no SQL warehouse there"),
        ({"catalog": "borrowing"}, r"\[(?:NO_SUCH_CATALOG|CATALOG_NOT_FOUND|TABLE_OR_VIEW_NOT_FOUND).*borrowing"),
        (
            {"token": "", "client_id": "the-service-principal", "client_secret": "dose-wrong"},
            r"DATABRICKS_TOKEN .* is not accepted there",
        ),
    ],
    ids=["token", "path", "catalog", "client secret"],
)
def test_a_wrong_setting_is_an_error_that_names_it(settings: Settings, wrong: dict[str, str], message: str) -> None:
    assert settings.databricks is not None
    settings = replace(settings, databricks=replace(settings.databricks, **wrong))

    with pytest.raises(WarehouseError, match=message) as error:
        play(settings, 5, "first")

    assert not error.value.is_transient
    assert not any(
        wrong.get(secret, "?") in str(error.value) for secret in ("token", "client_secret") if wrong.get(secret)
    )
    assert Ledger.load(settings.landing_path).entries == ()


def test_a_session_that_is_not_in_utc_is_refused_and_its_literals_are_right_all_the_same(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    play(settings, 5, "first")
    before = Ledger.load(settings.landing_path)
    monkeypatch.setattr("include.warehouse.databricks._SESSION", {"timezone": "America/New_York"})
    profiles = (DBT_DIR / "profiles.yml").read_text()
    (tmp_path / "profiles.yml").write_text(profiles.replace("timezone: UTC", "timezone: America/New_York"))
    artifacts = {"DBT_TARGET_PATH": str(tmp_path / "target"), "DBT_LOG_PATH": str(tmp_path / "target")}

    of_dbt = subprocess.run(
        [Path(sys.executable).with_name("dbt"), "run", "--select", "src_customer", "--profiles-dir", tmp_path],
        cwd=DBT_DIR,
        env={**os.environ, **environment_of(settings), "DBT_TARGET": "prod", **artifacts},
        capture_output=True,
        text=True,
        check=False,
    )
    with pytest.raises(WarehouseError, match="the session's time zone is America/New_York, expected UTC"):
        play(settings, 6, "second")

    assert "The session's time zone is America/New_York, expected UTC: keep" in of_dbt.stdout
    assert Ledger.load(settings.landing_path) == before
    found, _ = of_marts(open_warehouse(settings), before.entries[0])
    assert all(mart.changed_rows == mart.total_rows > 0 for mart in found), found


def test_a_service_principal_delivers_to_a_warehouse_that_is_still_starting_and_again_changes_nothing(
    warehouse: LocalWarehouse, tmp_path: Path, on_duckdb: dict[int, dict[str, Any]]
) -> None:
    settings = warehouse.settings(tmp_path / "live", **PRINCIPAL)

    def versions() -> list[Any]:
        tables = (f"{SCHEMA}_snapshots.snap_account", f"{SCHEMA}_marts.account_summary", f"{SCHEMA}.customer_profile")
        return [warehouse.execute(f"describe history lending.{table} limit 1")[0][0] for table in tables]

    with warehouse.faults({"status": 503, "times": 1, "retry_after": 1, "path": "/sql"}):
        play(settings, 5, "first")
    assert made_by(settings) == on_duckdb[5]

    before = versions()
    play(settings, 5, "again")
    assert versions() == before

    deliver(settings, logical_date=day(5), run_id="refresh", full_refresh=True)
    assert made_by(settings) == on_duckdb[5]


def test_a_volume_that_is_not_there_is_named_with_what_to_do(settings: Settings) -> None:
    assert settings.databricks
    lost = replace(settings.databricks, volume=f"{settings.databricks.volume}x")
    with pytest.raises(WarehouseError, match=r"landingx .*create it, or correct DATABRICKS_VOLUME") as error:
        play(replace(settings, databricks=lost), 5, "first")
    assert not error.value.is_transient


def test_a_warehouse_that_is_not_there_is_named(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("include.warehouse.databricks.REACH_SECONDS", 1)
    assert settings.databricks is not None
    settings = replace(settings, databricks=replace(settings.databricks, host=f"http://127.0.0.1:{free_port()}"))

    with pytest.raises(WarehouseError, match=r"http://127\.0\.0\.1:\d+ can't be reached: is DATABRICKS_HOST right"):
        play(settings, 5, "first")


def test_crash_after_crash_leaves_no_trace(settings: Settings, on_duckdb: dict[int, dict[str, Any]]) -> None:
    play(settings, 5, "first")
    for moment, pattern in MOMENTS.items():
        run_and_die(play, settings, 6, moment, at=pattern)

    play(settings, 6, "again")

    assert made_by(settings) == on_duckdb[6]
    assert [entry.state for entry in Ledger.load(settings.landing_path).entries] == ["processed"] * 2


def test_a_warehouse_that_is_killed_in_the_middle_leaves_no_trace(
    tmp_path: Path, on_duckdb: dict[int, dict[str, Any]]
) -> None:
    """It is killed during the snapshots, and started again."""
    warehouse = LocalWarehouse(tmp_path / "warehouse")
    warehouse.start()
    try:
        settings = warehouse.settings(tmp_path / "live")
        play(settings, 5, "first")
        before = len(warehouse.statements())

        def kill_and_start() -> None:
            while not any("snap_account" in entry["statement"] for entry in warehouse.statements()[before:]):
                time.sleep(0.05)
            warehouse.end(signal.SIGKILL)
            warehouse.start()

        killer = threading.Thread(target=kill_and_start)
        killer.start()
        with suppress(WarehouseError, DeliveryFailed):
            play(settings, 6, "interrupted")
        killer.join()
        play(settings, 6, "again")

        assert made_by(settings) == on_duckdb[6]
    finally:
        warehouse.end()


def test_a_result_that_is_cut_off_is_read_again_or_fails_but_is_never_doubled(
    settings: Settings, warehouse: LocalWarehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("include.warehouse.databricks.BATCH_ROWS", 2)
    cut, rows, connection = {"cut_mid_fetch": True}, "select id from range(7) order by id", open_warehouse(settings)

    with warehouse.faults(cut):
        assert connection.query(rows)["id"].to_pylist() == list(range(7))

    read: list[int] = []
    with (
        warehouse.faults(cut),
        pytest.raises(WarehouseError, match="can't be reached") as error,
        connection.stream(rows) as reader,
    ):
        for batch in reader:
            read += batch["id"].to_pylist()
    assert read == [0, 1]
    assert error.value.is_transient

    with connection.stream(rows) as reader:
        assert reader.read_all()["id"].to_pylist() == list(range(7))


def test_a_delivery_replaces_a_file_that_a_lost_landing_has_left_in_the_volume(settings: Settings) -> None:
    """The landing came from a backup, and the day is delivered again: its files have the same names, and may have the
    same size."""
    write_extracts(settings.input_path, *FIRST_DAY)
    delivery = ingest(settings, logical_date=day(5), run_id="first").delivery
    warehouse = open_warehouse(settings)
    assert isinstance(warehouse, DatabricksWarehouse)
    path = delivery.customers.path
    landed = settings.landing_path / path
    left = settings.landing_path / "left"
    left.write_bytes(bytes(landed.stat().st_size))
    warehouse.upload(left, path)

    warehouse.receive(settings.landing_path, delivery)

    uploaded = warehouse.workspace.files.download(f"{warehouse.settings.volume}/{path}").contents
    assert uploaded is not None
    assert uploaded.read() == landed.read_bytes()


def test_a_large_file_is_uploaded_in_parts(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = os.urandom(1 << 20) * 61
    (tmp_path / "large").write_bytes(content)
    warehouse = open_warehouse(settings)
    assert isinstance(warehouse, DatabricksWarehouse)
    parts: list[int] = []
    complete = FilesExt._complete_multipart_upload
    monkeypatch.setattr(
        FilesExt, "_complete_multipart_upload", lambda *args: (parts.append(len(args[2])), complete(*args))[1]
    )

    warehouse.upload(tmp_path / "large", "customers/large.parquet")

    uploaded = warehouse.workspace.files.download(f"{warehouse.settings.volume}/customers/large.parquet")
    assert uploaded.contents is not None
    assert uploaded.contents.read() == content
    assert parts == [7]


def test_large_tables_are_clustered_by_their_keys_where_it_is_asked_for(
    warehouse: LocalWarehouse, tmp_path: Path, on_duckdb: dict[int, dict[str, Any]]
) -> None:
    settings = warehouse.settings(tmp_path / "live", DATABRICKS_LIQUID_CLUSTERING="true")
    before = len(warehouse.statements())

    play(settings, 5, "first")

    statements = [" ".join(entry["statement"].lower().split()) for entry in warehouse.statements()[before:]]
    clustered = [statement for statement in statements if "cluster by" in statement]
    for layer, tables in KEPT_TABLES.items():
        for table in tables:
            key = "customer_id" if table in ("snap_customer", "customer_profile") else "account_id"
            name = f"`{SCHEMA}_{layer}`.`{table}`"
            assert any(name in statement and f"cluster by ({key})" in statement for statement in clustered), name
    assert made_by(settings) == on_duckdb[5]


def test_a_correction_takes_back_what_an_unfinished_delivery_had_done(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def correct(settings: Settings) -> dict[str, Any]:
        play(settings, 5, "first")
        with monkeypatch.context() as patch:
            break_snapshots(settings, patch)
            with pytest.raises(DeliveryFailed):
                play(settings, 6, "wrong")
        write_extracts(settings.input_path, CYRUS, FIRST_DAY[1])
        deliver(settings, logical_date=day(6), run_id="corrected")
        return made_by(settings)

    assert correct(settings) == correct(settings_in(tmp_path / "duckdb"))


def test_a_delivery_that_fails_its_tests_is_discarded_for_the_next_one(
    settings: Settings, on_duckdb: dict[int, dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    play(settings, 5, "first")
    with monkeypatch.context() as patch:
        break_snapshots(settings, patch)
        write_extracts(settings.input_path, CYRUS, FIRST_DAY[1][:2])
        with pytest.raises(DeliveryFailed):
            deliver(settings, logical_date=day(7), run_id="wrong")
    bad = [customer("1"), customer("2", name=""), customer("3", name="")]
    write_extracts(settings.input_path, bad, FIRST_DAY[1])
    with pytest.raises(DeliveryFailed, match="assert_quarantine_is_within_the_limit"):
        deliver(settings, logical_date=day(7), run_id="useless", discard_unfinished=True)

    play(settings, 6, "second", discard_unfinished=True)

    assert [entry.state for entry in Ledger.load(settings.landing_path).entries] == [
        "processed",
        "discarded",
        "discarded",
        "processed",
    ]
    assert made_by(settings) == on_duckdb[6]


def test_a_history_of_duckdb_is_carried_over(
    warehouse: LocalWarehouse, tmp_path: Path, on_duckdb: dict[int, dict[str, Any]]
) -> None:
    play(settings_in(tmp_path / "live"), 5, "first")
    settings = warehouse.settings(tmp_path / "live", **PRINCIPAL)
    with pytest.raises(IngestionError, match="but the warehouse has no history of them"):
        play(settings, 6, "too early")

    rebuild(replace(settings, max_quarantine_pct=-1.0))  # no delivery would meet it: it was another on that day
    play(settings, 6, "second")

    assert made_by(settings) == on_duckdb[6]


def check(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], **variables: str
) -> tuple[int, str]:
    """Return the status of `make check-databricks`, and what it prints."""
    for name, value in (environment_of(settings) | variables).items():
        monkeypatch.setenv(name, value)
    return check_databricks.main(), capsys.readouterr().out


def test_the_rights_of_the_guide_are_proved_to_be_enough(
    principal: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    status, printed = check(principal, monkeypatch, capsys)

    assert status == 0, printed
    assert printed.endswith("All that the pipeline needs is there.\n")
    assert printed.count("ok ") == 7 + 2 * len(SCHEMAS)


@pytest.mark.parametrize(
    ("variable", "value", "missing"),
    [
        ("DATABRICKS_TOKEN", "dapi-wrong", "accepts who connects"),
        ("DATABRICKS_CONNECTION_URI", "{host}/sql/1.0/warehouses/other", "runs a statement"),
        ("DATABRICKS_CATALOG", "borrowing", "catalog borrowing can be used"),
        ("DATABRICKS_SCHEMA", "nowhere", "schema nowhere is there"),
        ("DATABRICKS_VOLUME", "/Volumes/lending/nowhere/landing", "can be put into /Volumes/lending/nowhere/landing"),
    ],
)
def test_what_is_missing_is_printed_with_its_fix(
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    variable: str,
    value: str,
    missing: str,
) -> None:
    assert settings.databricks is not None
    value = value.format(host=settings.databricks.host)
    status, printed = check(settings, monkeypatch, capsys, **{variable: value})

    assert status == 1
    *_, what, error, fix = printed.splitlines()
    assert what.startswith("MISSING ")
    assert missing in what
    assert error.strip()
    assert "grant" in fix or "DATABRICKS_" in fix


@pytest.mark.parametrize(("privilege", "on"), rights_of_the_guide())
def test_each_right_of_the_guide_is_needed_and_printed_with_its_grant(
    principal: Settings,
    warehouse: LocalWarehouse,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    privilege: str,
    on: str,
) -> None:
    warehouse.execute(f"revoke {privilege} on {on} from `{CLIENT_ID}`")

    status, printed = check(principal, monkeypatch, capsys)

    assert status == 1, printed
    *_, error, fix = printed.splitlines()
    assert f"User does not have {privilege.upper()} on " in error
    kind, name = on.split()
    quoted = ".".join(f"`{part}`" for part in name.split("."))
    assert re.search(rf"grant [^;]*\b{privilege}\b[^;]* on {kind} {quoted} to ", fix), fix


def test_schemas_that_an_administrator_has_made_do_as_well(
    principal: Settings, warehouse: LocalWarehouse, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    warehouse.execute(f"revoke create schema on catalog lending from `{CLIENT_ID}`")
    for name in SCHEMAS:
        for statement in statements_of_the_guide(1):
            warehouse.execute(statement.replace("_source", f"_{name}"))

    status, printed = check(principal, monkeypatch, capsys)
    assert status == 0, printed
    play(principal, 5, "first")


def test_every_statement_of_the_guide_is_taken(settings: Settings, warehouse: LocalWarehouse) -> None:
    for block in range(3):
        for statement in statements_of_the_guide(block):
            warehouse.execute(statement)
