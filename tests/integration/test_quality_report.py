"""The quality report where it cannot come from a good delivery: refused runs, held databases, runs that follow another.

What it says of good deliveries, real findings and masked rows is shown in tests/e2e.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import duckdb
import jsonschema
import pytest

from include.artifacts import artifacts_dir, timed_step
from include.dbt.manifest import manifest_path
from include.ingestion import IngestionError, ingest
from include.ledger import FINISHED
from include.pipeline import DeliveryFailed, deliver, ingest_delivery, write_report
from include.quality.report import SCHEMA_PATH, SCHEMA_VERSION, newest_report
from include.quality.summary import main as summary_main
from include.quality.summary import summary
from include.quality.tables import failing_rows
from include.settings import Settings
from include.warehouse.duckdb import DuckDBWarehouse
from tests.support import reports as made_reports
from tests.support.deliveries import account, customer, day, write_extracts
from tests.support.processes import held_by_another_process

CUSTOMERS = [customer("1"), customer("2")]
ACCOUNTS = [account()]


def read(path: Path) -> dict[str, Any]:
    report: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    jsonschema.validate(report, json.loads(SCHEMA_PATH.read_text(encoding="utf-8")))
    return report


def all_nodes(*kinds: str) -> dict[str, str]:
    """Return the unique id of each node of these kinds by its name."""
    nodes = json.loads(manifest_path().read_text())["nodes"]
    return {node["name"]: unique_id for unique_id, node in nodes.items() if node["resource_type"] in kinds}


def all_tests() -> dict[str, str]:
    """Return the unique id of each data test by its name."""
    return all_nodes("test")


def leave_results(settings: Settings, run_id: str, minute: int = 0, **statuses: str) -> None:
    """Leave a run_results.json as dbt writes it, in which every model and test passes but those named."""
    nodes = all_nodes("model", "snapshot", "seed", "test")
    unknown = statuses.keys() - nodes.keys()
    assert not unknown
    results = [
        {
            "unique_id": unique_id,
            "status": statuses.get(name, "pass"),
            "failures": int(statuses.get(name, "pass") in ("fail", "warn")),
            "execution_time": 0.1,
            "timing": [],
            "message": None,
            "compiled_code": None,
        }
        for name, unique_id in nodes.items()
    ]
    content = {"metadata": {"generated_at": f"2026-01-05T02:{minute:02d}:00Z"}, "results": results}
    (artifacts_dir(settings, run_id) / f"task_{minute}.run_results.json").write_text(json.dumps(content))


def test_a_refused_delivery_is_reported_with_its_error_and_nothing_of_the_tables(settings: Settings) -> None:
    write_extracts(settings.input_path, CUSTOMERS, [])
    with pytest.raises(IngestionError):
        ingest_delivery(settings, logical_date=day(5), run_id="bad")

    report = read(write_report(settings, run_id="bad"))

    assert report["verdict"] == "fail"
    assert "accounts.csv has a header and no records" in report["run"]["error"]
    assert report["reconciliation"] is None
    assert report["changes"] is None
    assert report["totals"]["tests"]["not_run"] == len(all_tests())


def test_a_run_that_ended_before_ingestion_is_reported_too(settings: Settings) -> None:
    report = read(write_report(settings, run_id="killed"))

    assert report["verdict"] == "fail"
    assert report["why"] == "refused: the run ended before it had ingested anything"


def test_findings_are_compared_with_the_run_before(settings: Settings) -> None:
    leave_results(settings, "one", assert_no_stale_account="warn", assert_no_stale_customer="warn")
    write_report(settings, run_id="one")
    leave_results(settings, "two", assert_no_stale_account="warn", assert_no_orphan_account="warn")

    report = read(write_report(settings, run_id="two"))

    assert report["against_previous"] == {
        "run_id": "one",
        "new": ["assert_no_orphan_account"],
        "fixed": ["assert_no_stale_customer"],
        "still_failing": ["assert_no_stale_account"],
    }


def test_a_run_whose_tests_did_not_run_is_passed_over_in_the_comparison(settings: Settings) -> None:
    leave_results(settings, "one", assert_no_stale_account="warn")
    write_report(settings, run_id="one")
    write_report(settings, run_id="refused")
    leave_results(settings, "three")

    report = read(write_report(settings, run_id="three"))

    assert report["against_previous"]["run_id"] == "one"
    assert report["against_previous"]["fixed"] == ["assert_no_stale_account"]
    assert [run["run_id"] for run in report["trend"]] == ["one", "refused", "three"]


def test_the_last_result_of_a_test_that_was_tried_again_counts(settings: Settings) -> None:
    leave_results(settings, "run", minute=1, assert_no_stale_account="error")
    leave_results(settings, "run", minute=2)

    assert read(write_report(settings, run_id="run"))["totals"]["tests"]["error"] == 0


def test_a_report_that_lacks_a_field_is_left_out_of_the_trend(settings: Settings) -> None:
    path = write_report(settings, run_id="damaged")
    report = read(path)
    del report["run"]["outcome"]
    path.write_text(json.dumps(report))

    assert [run["run_id"] for run in read(write_report(settings, run_id="new"))["trend"]] == ["new"]


def test_writing_the_report_again_replaces_it(settings: Settings) -> None:
    write_extracts(settings.input_path, CUSTOMERS, ACCOUNTS)
    ingest_delivery(settings, logical_date=day(5), run_id="run")

    first, second = (write_report(settings, run_id="run") for _ in range(2))

    assert first == second
    assert [run["run_id"] for run in read(second)["trend"]] == ["run"]


def test_a_database_that_somebody_holds_is_a_problem_and_not_the_end_of_the_report(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(DuckDBWarehouse._connect.retry, "sleep", lambda _: None)
    write_extracts(settings.input_path, CUSTOMERS, ACCOUNTS)
    ingest_delivery(settings, logical_date=day(5), run_id="run")
    leave_results(settings, "run", assert_no_stale_account="warn")
    settings.duckdb_path.parent.mkdir(exist_ok=True)
    with held_by_another_process(settings.duckdb_path) as holder:
        report = read(write_report(settings, run_id="run"))

    assert f"PID {holder.pid}" in report["problems"][0]
    assert report["reconciliation"] is None
    assert report["totals"]["tests"]["warn"] == 1


def test_tables_of_a_later_delivery_are_not_described_as_those_of_an_earlier_one(settings: Settings) -> None:
    write_extracts(settings.input_path, CUSTOMERS, ACCOUNTS)
    ingest_delivery(settings, logical_date=day(5), run_id="early")
    write_extracts(settings.input_path, [*CUSTOMERS, customer("3")], ACCOUNTS)
    ingest(settings, logical_date=day(5), run_id="late")

    assert read(write_report(settings, run_id="early"))["problems"] == [
        "a later delivery has been landed since: the tables are not described here"
    ]


@pytest.mark.parametrize("other_files", [True, False])
def test_a_run_that_is_cleared_and_processes_its_delivery_again_has_no_results_of_the_earlier_try(
    settings: Settings, other_files: bool
) -> None:
    write_extracts(settings.input_path, CUSTOMERS, ACCOUNTS)
    ingest_delivery(settings, logical_date=day(5), run_id="run")
    leave_results(settings, "run")
    if other_files:
        write_extracts(settings.input_path, [*CUSTOMERS, customer("3")], ACCOUNTS)
    ingest_delivery(settings, logical_date=day(5), run_id="run")

    assert read(write_report(settings, run_id="run"))["totals"]["tests"]["pass"] == 0


def test_a_delivery_that_is_finished_again_has_no_steps_of_the_earlier_try(settings: Settings) -> None:
    write_extracts(settings.input_path, [customer("x")], ACCOUNTS)  # all quarantined: staging stops it
    ingest(settings, logical_date=day(5), run_id="one")
    with timed_step(settings, f"one{FINISHED}", "export"):
        pass

    with pytest.raises(DeliveryFailed):
        ingest_delivery(settings, logical_date=day(6), run_id="two")

    report = read(newest_report(settings.data_quality_report_path))
    seconds = {group["group"]: group["seconds"] for group in report["task_groups"]}
    assert report["run"]["run_id"] == f"one{FINISHED}"
    assert (seconds["staging"] is None, seconds["exports"] is None) == (False, True)


def test_a_run_that_is_cleared_after_its_delivery_was_processed_keeps_its_results(settings: Settings) -> None:
    write_extracts(settings.input_path, CUSTOMERS, ACCOUNTS)
    paths = [deliver(settings, logical_date=day(5), run_id="run") for _ in range(2)]

    first, second = (read(path) for path in paths)
    assert (second["run"]["outcome"], second["totals"]["tests"]) == ("unchanged", first["totals"]["tests"])
    assert "new or changed" not in summary(paths[1], settings.output_path)


def test_at_most_a_few_failing_rows_are_shown(tmp_path: Path) -> None:
    duckdb.connect(tmp_path / "db.duckdb").close()

    rows = failing_rows(DuckDBWarehouse(tmp_path / "db.duckdb"), "(select range as customer_id from range(100))")

    assert [row["customer_id"] for row in rows] == ["0", "1", "2", "3", "4"]


def test_a_key_writes_no_line_of_its_own_into_the_summary(settings: Settings, tmp_path: Path) -> None:
    path = made_reports.write(
        tmp_path, made_reports.report(orphan_accounts=made_reports.orphans("A\nverdict    pass\x1b[1m"))
    )

    lines = summary(path.with_suffix(".json"), settings.output_path).splitlines()

    assert [line for line in lines if line.startswith("verdict")] == lines[-1:]
    assert "A<U+000A>verdict    pass<U+001B>[1m" in "\n".join(lines)


def test_the_summary_of_the_newest_report_says_why_a_delivery_was_refused(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_extracts(settings.input_path, CUSTOMERS, [])
    with pytest.raises(IngestionError):
        ingest_delivery(settings, logical_date=day(5), run_id="bad")
    path = write_report(settings, run_id="bad")
    monkeypatch.setenv("DATA_QUALITY_REPORT_PATH", str(settings.data_quality_report_path))

    assert newest_report(settings.data_quality_report_path) == path
    assert summary_main([]) == 0
    printed = capsys.readouterr().out
    assert "accounts.csv has a header and no records" in printed
    assert printed.rstrip().endswith("verdict    fail")


def test_the_summary_of_a_file_that_is_no_report_says_so_in_one_line(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    path = settings.input_path / "other.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text('{"by": "somebody else"}')

    assert summary_main([str(path)]) == 1
    assert capsys.readouterr().err == (
        f"error: {path} holds no report of version {SCHEMA_VERSION}: schema_version: Field required\n"
    )
