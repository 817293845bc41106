"""Builds the data-quality report of a run and writes it, whatever happened before (design, section 9)."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import jsonschema

from include.artifacts import artifacts_dir
from include.dbt.manifest import current_manifest
from include.errors import PipelineError
from include.files import replacing, run_key
from include.layers import LAYERS
from include.ledger import Delivery, Ledger, time_text
from include.quality import tables
from include.quality.dbt_results import NodeResult, count_statuses, load_results
from include.settings import Settings
from include.warehouse import Warehouse, WarehouseError

SCHEMA_PATH = Path(__file__).with_name("quality_report.schema.json")
SCHEMA_VERSION = "1.0"
TREND_RUNS = 30
PROBLEM_STATUSES = ("warn", "fail", "error")

Report = dict[str, Any]
T = TypeVar("T")


def write_report(settings: Settings, *, run_id: str, warehouse: Warehouse, failure: str | None = None) -> Path:
    """Write the report of a run as JSON that meets quality_report.schema.json; return its path.

    `failure` says why the run failed, where its delivery was taken and it failed later. What can't be told, since the
    delivery was refused or the warehouse is held by somebody, is null, and `problems` says why.
    """
    artifacts = artifacts_dir(settings, run_id)
    note = _read_json(artifacts / "ingestion.json") or {
        "run_id": run_id,
        "outcome": "refused",
        "error": "the run ended before it had ingested anything",
        "logical_date": None,
        "delivered_at": None,
        "full_refresh": False,
    }
    note["error"] = note["error"] or failure
    generated_at = datetime.now(UTC)
    nodes = load_results(current_manifest(settings), artifacts)
    tests = [node for node in nodes if node.kind == "test"]
    models = [node for node in nodes if node.kind != "test"]
    earlier = _earlier_reports(settings.data_quality_report_path, run_id)
    report: Report = {
        "schema_version": SCHEMA_VERSION,
        "run": {**note, "generated_at": time_text(generated_at), "database_type": settings.database_type},
        "totals": {"tests": count_statuses(tests), "models": count_statuses(models)},
        "layers": [
            {
                "layer": layer,
                "tests": count_statuses(test for test in tests if test.layer == layer),
                "models": count_statuses(model for model in models if model.layer == layer),
            }
            for layer in LAYERS
        ],
        "severities": [
            {"severity": severity, "tests": count_statuses(test for test in tests if test.severity == severity)}
            for severity in ("error", "warn")
        ],
        "models": [_describe_model(model) for model in models],
        **_TableSections(settings, note, warehouse).read(tests),
        "against_previous": _against_previous(tests, earlier),
    }
    report["verdict"] = _verdict(report)
    report["trend"] = [_trend_entry(other) for other in (*earlier[-(TREND_RUNS - 1) :], report)]
    jsonschema.validate(report, json.loads(SCHEMA_PATH.read_text(encoding="utf-8")))

    path = settings.data_quality_report_path / f"quality_report_{_file_time(note, generated_at)}_{run_key(run_id)}.json"
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return path


def newest_report(folder: Path) -> Path | None:
    """Return the report that was written last."""
    return max(folder.glob("quality_report_*.json"), key=lambda path: path.stat().st_mtime_ns, default=None)


class _TableSections:
    """Reads the sections that come from the tables; each is null where it can't be read, and `problems` says why."""

    def __init__(self, settings: Settings, note: dict[str, Any], warehouse: Warehouse) -> None:
        self.warehouse = warehouse
        self.problems: list[str] = []
        self.readable = True
        self.rows: dict[str, int | None] = {}
        self.delivery = self._delivery(settings, note)

    def read(self, tests: Iterable[NodeResult]) -> Report:
        warehouse = self.warehouse
        return {
            "reconciliation": self._attempt(lambda delivery: tables.reconciliation(warehouse, delivery)),
            "quarantine": self._attempt(lambda _: tables.quarantine_reasons(warehouse)),
            "stale_keys": self._attempt(lambda _: tables.stale_keys(warehouse)),
            "orphan_accounts": self._attempt(lambda _: tables.orphan_accounts(warehouse)),
            "scd2": self._attempt(lambda _: tables.scd2_integrity(warehouse)),
            "changes": self._attempt(lambda delivery: tables.changes(warehouse, delivery)),
            "marts": self._attempt(lambda delivery: tables.mart_changes(warehouse, delivery)),
            "tests": [self._describe_test(test) for test in tests],
            "problems": self.problems,
        }

    def _delivery(self, settings: Settings, note: dict[str, Any]) -> Delivery | None:
        """Return the run's delivery; None where it was refused, or is no longer the one that the tables show."""
        if note["delivered_at"] is None:
            self.problems.append("the delivery was not taken: the tables are as they were, and not described here")
            return None
        try:
            ledger = Ledger.load(settings.landing_path)
        except PipelineError as error:
            self.problems.append(str(error))
            return None
        last = ledger.last
        if last is None or time_text(last.delivered_at) != note["delivered_at"]:
            self.problems.append("a later delivery has been landed since: the tables are not described here")
            return None
        given_up = ledger.discarded_by_last
        if given_up and last.run_id == note["run_id"]:
            self.problems.append(
                f"the delivery of {time_text(given_up.logical_date)}, which run {given_up.run_id} landed and did not "
                "finish, was given up: this one took its place"
            )
        return last

    def _attempt(self, query: Callable[[Delivery], T]) -> T | None:
        if self.delivery is None or not self.readable:
            return None
        try:
            return query(self.delivery)
        except WarehouseError as error:
            self.readable = False  # a held file is waited for each time, and one message is enough
            self.problems.append(f"not all tables could be read: {' '.join(str(error).split())[:500]}")
            return None

    def _describe_test(self, test: NodeResult) -> Report:
        found = test.status in ("warn", "fail")
        rows = self._rows_of(test) if found else None
        sql = test.sql if found else None
        failing = self._attempt(lambda _: tables.failing_rows(self.warehouse, sql)) if sql else None
        return {
            "name": test.name,
            "layer": test.layer,
            "models": list(test.models),
            "column": test.column,
            "severity": test.severity,
            "status": test.status,
            "failures": test.failures,
            "rows": rows,
            "failure_share": round((test.failures or 0) / rows, 6) if rows else None,
            "failing_rows": failing or [],
            "sql": test.sql,
            "message": test.message if test.status == "error" else None,
            "downstream": list(test.downstream),
            "seconds": test.seconds,
        }

    def _rows_of(self, test: NodeResult) -> int | None:
        """Count the rows of the tested model, once; None where a test compares several."""
        if len(test.models) != 1:
            return None
        name = test.models[0]
        if name not in self.rows:
            self.rows[name] = self._attempt(lambda _: tables.count_rows(self.warehouse, test.layer, name))
        return self.rows[name]


def _describe_model(model: NodeResult) -> Report:
    return {
        "name": model.name,
        "kind": model.kind,
        "layer": model.layer,
        "status": model.status,
        "seconds": model.seconds,
        "message": model.message if model.status == "error" else None,
    }


def _verdict(report: Report) -> str:
    """Return fail (refused, broken, incomplete or not reconciled), warn (something to tell the sender) or pass."""
    counts = report["totals"].values()
    to_be_processed = report["run"]["outcome"] in ("landed", "resumed")
    if (
        report["run"]["error"]
        or any(count["fail"] or count["error"] or count["skipped"] for count in counts)
        or (to_be_processed and any(count["not_run"] for count in counts))
        or not all(file["balanced"] for file in report["reconciliation"] or [])
    ):
        return "fail"
    findings = (
        report["totals"]["tests"]["warn"]
        or report["problems"]
        or report["quarantine"]
        or any(entity["count"] for entity in report["stale_keys"] or [])
        or (report["orphan_accounts"] or {"count": 0})["count"]
    )
    return "warn" if findings else "pass"


def _against_previous(tests: Iterable[NodeResult], earlier: list[Report]) -> Report:
    """Compare with the last report whose tests ran; a test that did not run now is neither new nor fixed."""
    previous = next((report for report in reversed(earlier) if _has_results(report)), None)
    before = {test["name"] for test in previous["tests"] if test["status"] in PROBLEM_STATUSES} if previous else set()
    tests = list(tests)
    now = {test.name for test in tests if test.status in PROBLEM_STATUSES}
    passed = {test.name for test in tests if test.status == "pass"}
    return {
        "run_id": previous["run"]["run_id"] if previous else None,
        "new": sorted(now - before),
        "fixed": sorted(before & passed),
        "still_failing": sorted(now & before),
    }


def _has_results(report: Report) -> bool:
    return any(count for status, count in report["totals"]["tests"].items() if status != "not_run")


def _trend_entry(report: Report) -> Report:
    files = report["reconciliation"]
    tests = report["totals"]["tests"]
    return {
        "run_id": report["run"]["run_id"],
        "delivered_at": report["run"]["delivered_at"],
        "generated_at": report["run"]["generated_at"],
        "outcome": report["run"]["outcome"],
        "verdict": report["verdict"],
        "tests_failed": tests["fail"] + tests["error"],
        "tests_warned": tests["warn"],
        "records_read": sum(file["read"] for file in files) if files is not None else None,
        "records_quarantined": sum(file["quarantined"] for file in files) if files is not None else None,
    }


def _earlier_reports(folder: Path, run_id: str) -> list[Report]:
    """Return the last reports of other runs, oldest first."""
    paths = sorted(folder.glob("quality_report_*.json"), key=lambda path: path.stat().st_mtime_ns)[-TREND_RUNS:]
    reports = [report for report in map(_read_json, paths) if report and report.get("schema_version") == SCHEMA_VERSION]
    return sorted(
        (report for report in reports if report["run"]["run_id"] != run_id),
        key=lambda report: str(report["run"]["generated_at"]),
    )


def _file_time(note: dict[str, Any], generated_at: datetime) -> str:
    time = note["delivered_at"] or note["logical_date"]
    return f"{datetime.fromisoformat(time) if time else generated_at:%Y%m%dT%H%M%S%fZ}"


def _read_json(path: Path) -> dict[str, Any] | None:
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None
