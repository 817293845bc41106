"""What Airflow tries again, and what it doesn't since trying again can't help."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import duckdb
import pytest
from airflow.sdk.exceptions import AirflowFailException

from include.dbt.cosmos import collect_run_results
from include.files import Locked
from include.ingestion import IngestionError, StillWritten
from include.tasks import fail_fast
from include.warehouse import StatementRejected, WarehouseBusy, WarehouseError, is_rejection

REJECTED = "[TABLE_OR_VIEW_NOT_FOUND] The table or view `a`.`b` cannot be found. SQLSTATE: 42P01"
PASSING = "HTTPConnectionPool(host='adb.example', port=443): Max retries exceeded"


@pytest.mark.parametrize(
    ("message", "rejected"),
    [
        (REJECTED, True),
        ("Runtime Error\n  [CAST_INVALID_INPUT] The value 'x' cannot be cast. SQLSTATE: 22018", True),
        ("[DELTA_VIOLATE_CONSTRAINT_WITH_VALUES] CHECK constraint violated. SQLSTATE: 23001", True),
        (PASSING, False),
        ("[DELTA_CONCURRENT_APPEND] ConcurrentAppendException: Files were added. SQLSTATE: 2D521", False),
        ("TEMPORARILY_UNAVAILABLE: The service is temporarily unavailable", False),
        ('IO Error: Could not set lock on file "x.duckdb": Conflicting lock is held in python (PID 7)', False),
    ],
)
def test_an_error_of_the_statement_itself_is_told_from_one_that_may_pass(message: str, rejected: bool) -> None:
    assert is_rejection(message) is rejected


@pytest.mark.parametrize("statement", ["selec 1", "select * from nowhere", "select a", "select cast('x' as int)"])
def test_duckdb_s_own_errors_about_a_statement_are_rejections(statement: str) -> None:
    with pytest.raises(duckdb.Error) as error:
        duckdb.sql(statement).fetchall()

    assert is_rejection(str(error.value))


def collect(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *results: tuple[str, str, str]) -> None:
    """Hand the callback what a task of these nodes, statuses and messages leaves."""
    monkeypatch.setenv("DATA_QUALITY_REPORT_PATH", str(tmp_path / "reports"))
    (tmp_path / "target").mkdir()
    found = [{"unique_id": f"model.lc_pipeline.{n}", "status": s, "message": m} for n, s, m in results]
    (tmp_path / "target" / "run_results.json").write_text(json.dumps({"results": found}))
    collect_run_results(str(tmp_path), context={"run_id": "run", "ti": SimpleNamespace(task_id="layer.node")})


def test_a_rejected_statement_ends_its_task_for_good(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(AirflowFailException, match=r"rejected by the warehouse \(not tried again\): snap_account"):
        collect(tmp_path, monkeypatch, ("snap_account", "error", REJECTED), ("unique_key", "skipped", ""))


@pytest.mark.parametrize(
    "results", [[("a", "error", PASSING)], [("a", "error", REJECTED), ("b", "error", PASSING)], [("a", "success", "")]]
)
def test_a_lost_connection_leaves_its_task_to_be_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, results: list[tuple[str, str, str]]
) -> None:
    collect(tmp_path, monkeypatch, *results)

    kept = json.loads((tmp_path / "reports/artifacts/run/layer.node.run_results.json").read_text())
    assert [result["status"] for result in kept["results"]] == [status for _, status, _ in results]


@pytest.mark.parametrize(
    ("error", "raised"),
    [
        (IngestionError("older"), AirflowFailException),
        (StillWritten("changed while it was read"), StillWritten),
        (Locked("another process is ingesting"), Locked),
        (StatementRejected("no such table"), AirflowFailException),
        (WarehouseError("wrong token"), AirflowFailException),
        (WarehouseError("can't be reached", is_transient=True), WarehouseError),
        (WarehouseBusy("locked"), WarehouseBusy),
    ],
)
def test_a_task_fails_for_good_where_trying_again_would_not_help(error: Any, raised: type[Exception]) -> None:
    @fail_fast
    def task() -> None:
        raise error

    with pytest.raises(raised, match=str(error)):
        task()
