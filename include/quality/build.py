"""Builds the data-quality report of a run and writes it, whatever happened before (design, section 9)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar, get_args

from pydantic import ValidationError

from include.artifacts import artifacts_dir
from include.dbt.manifest import current_manifest, sources_digest
from include.errors import PipelineError
from include.files import replacing, run_key
from include.layers import LAYERS
from include.ledger import FILE_NAMES, Delivery, Ledger, time_text
from include.provenance import git_revision, package_version, python_version
from include.quality import tables
from include.quality.dbt_results import count_statuses, load_results
from include.quality.report import (
    SCHEMA_VERSION,
    TASK_GROUPS,
    TREND_RUNS,
    Comparison,
    DataTest,
    Findings,
    IngestionNote,
    LayerCounts,
    PastReport,
    Report,
    Run,
    Severity,
    SeverityCounts,
    TaskGroupSeconds,
    Totals,
    TrendEntry,
    UnknownColumn,
    Verdict,
    Versions,
)
from include.quality.verdict import PROBLEM_STATUSES, judge
from include.settings import Settings
from include.warehouse import Warehouse, WarehouseError

T = TypeVar("T")


def write_report(settings: Settings, *, run_id: str, warehouse: Warehouse, failure: str | None = None) -> Path:
    """Write the report of a run as JSON; return its path.

    `failure` says why the run failed, where its delivery was taken and it failed later. What can't be told, since the
    delivery was refused or the warehouse is held by somebody, is null, and `problems` says why.
    """
    artifacts = artifacts_dir(settings, run_id)
    note = _ingestion_note(artifacts / "ingestion.json", run_id)
    run = Run(
        **dict(note) | {"error": note.error or failure},
        generated_at=datetime.now(UTC),
        database_type=settings.database_type,
        git_revision=git_revision(),
        manifest_sha256=sources_digest(),
        versions=_versions(settings),
    )
    earlier = _earlier_reports(settings.data_quality_report_path, run_id)
    models, tests = load_results(current_manifest(settings), artifacts)
    read = _TableReader(settings, run, warehouse)
    found = Findings(
        schema_version=SCHEMA_VERSION,
        run=run,
        totals=Totals(tests=count_statuses(tests), models=count_statuses(models)),
        task_groups=tuple(TaskGroupSeconds(group=group, seconds=None) for group in TASK_GROUPS),
        layers=tuple(
            LayerCounts(
                layer=layer,
                tests=count_statuses(test for test in tests if test.layer == layer),
                models=count_statuses(model for model in models if model.layer == layer),
            )
            for layer in LAYERS
        ),
        severities=tuple(
            SeverityCounts(severity=severity, tests=count_statuses(test for test in tests if test.severity == severity))
            for severity in get_args(Severity)
        ),
        models=models,
        reconciliation=read.attempt(lambda delivery: tables.reconciliation(warehouse, delivery)),
        unknown_columns=read.attempt(lambda delivery: _unknown_columns(delivery, Ledger.load(settings.landing_path))),
        quarantine=read.attempt(lambda _: tables.quarantine_reasons(warehouse)),
        stale_keys=read.attempt(lambda _: tables.stale_keys(warehouse)),
        orphan_accounts=read.attempt(lambda _: tables.orphan_accounts(warehouse)),
        scd2=read.attempt(lambda _: tables.scd2_integrity(warehouse)),
        changes=read.attempt(lambda delivery: tables.changes(warehouse, delivery)),
        marts=read.attempt(lambda delivery: tables.mart_changes(warehouse, delivery)),
        balances=None,
        interest=None,
        exports=None,
        tests=tuple(read.rows_found_by(test) for test in tests),
        problems=tuple(read.problems),  # last: what is read above adds to them
    )
    verdict, why = judge(found)
    time = run.delivered_at or run.logical_date or run.generated_at
    path = settings.data_quality_report_path / f"quality_report_{time:%Y%m%dT%H%M%S%fZ}_{run_key(run_id)}.json"
    report = Report(
        **dict(found),
        verdict=verdict,
        why=why,
        against_previous=_against_previous(tests, [report for _, report in earlier]),
        trend=(
            *(_past_entry(name, past) for name, past in earlier[-(TREND_RUNS - 1) :]),
            _trend_entry(path.name, found, verdict, why),
        ),
    )
    with replacing(path) as temporary:
        temporary.write_text(report.model_dump_json(indent=2) + "\n", encoding="utf-8")
    return path


def _versions(settings: Settings) -> Versions:
    return Versions(
        python=python_version(),
        airflow=package_version("apache-airflow-core"),
        cosmos=package_version("astronomer-cosmos"),
        dbt=package_version("dbt-core"),
        adapter=package_version(f"dbt-{settings.database_type}"),
        duckdb=package_version("duckdb"),
    )


def newest_report(folder: Path) -> Path | None:
    """Return the report that was written last."""
    return max(folder.glob("quality_report_*.json"), key=lambda path: path.stat().st_mtime_ns, default=None)


class _TableReader:
    """Reads what comes from the tables: None where it can't be read, and `problems` says why."""

    def __init__(self, settings: Settings, run: Run, warehouse: Warehouse) -> None:
        self.warehouse = warehouse
        self.problems: list[str] = []
        self._readable = True
        self._rows: dict[str, int | None] = {}
        self._delivery = self._find_delivery(settings, run)

    def attempt(self, query: Callable[[Delivery], T]) -> T | None:
        if self._delivery is None or not self._readable:
            return None
        try:
            return query(self._delivery)
        except WarehouseError as error:
            self._readable = False  # a held file is waited for each time, and one message is enough
            self.problems.append(f"not all tables could be read: {' '.join(str(error).split())[:500]}")
            return None

    def rows_found_by(self, test: DataTest) -> DataTest:
        """Return a test with what the tables say of it: the rows that it found, and of how many."""
        if test.status not in ("warn", "fail"):
            return test
        rows, sql = self._rows_of(test), test.sql
        failing = self.attempt(lambda _: tables.failing_rows(self.warehouse, sql)) if sql else None
        return test.model_copy(
            update={
                "rows": rows,
                "failure_share": round((test.failures or 0) / rows, 6) if rows else None,
                "failing_rows": failing or (),
            }
        )

    def _find_delivery(self, settings: Settings, run: Run) -> Delivery | None:
        """Return the run's delivery; None where it was refused, or is no longer the one that the tables show."""
        if run.delivered_at is None:
            self.problems.append("the delivery was not taken: the tables are as they were, and not described here")
            return None
        try:
            ledger = Ledger.load(settings.landing_path)
        except PipelineError as error:
            self.problems.append(str(error))
            return None
        last = ledger.last
        if last is None or last.delivered_at != run.delivered_at:
            self.problems.append("a later delivery has been landed since: the tables are not described here")
            return None
        given_up = ledger.discarded_by_last
        if given_up and last.run_id == run.run_id:
            self.problems.append(
                f"the delivery of {time_text(given_up.logical_date)}, which run {given_up.run_id} landed and did not "
                "finish, was given up: this one took its place"
            )
        return last

    def _rows_of(self, test: DataTest) -> int | None:
        """Count the rows of the tested model, once; None where a test compares several."""
        if len(test.models) != 1:
            return None
        name = test.models[0]
        if name not in self._rows:
            self._rows[name] = self.attempt(lambda _: tables.count_rows(self.warehouse, test.layer, name))
        return self._rows[name]


def _unknown_columns(delivery: Delivery, ledger: Ledger) -> tuple[UnknownColumn, ...]:
    return tuple(
        UnknownColumn(file=name, column=header, since=first.delivered_at)
        for name in FILE_NAMES
        for header in delivery.file(name).undeclared
        if (first := ledger.undeclared_since(name, header))
    )


def _against_previous(tests: Sequence[DataTest], earlier: Sequence[PastReport]) -> Comparison:
    """Compare with the last report whose tests ran; a test that did not run now is neither new nor fixed."""
    previous = next((report for report in reversed(earlier) if _has_results(report)), None)
    before = {test.name for test in previous.tests if test.status in PROBLEM_STATUSES} if previous else set()
    now = {test.name for test in tests if test.status in PROBLEM_STATUSES}
    passed = {test.name for test in tests if test.status == "pass"}
    return Comparison(
        run_id=previous.run.run_id if previous else None,
        new=tuple(sorted(now - before)),
        fixed=tuple(sorted(before & passed)),
        still_failing=tuple(sorted(now & before)),
    )


def _has_results(report: PastReport) -> bool:
    return any(test.status != "not_run" for test in report.tests)


def _trend_entry(name: str, found: Findings, verdict: Verdict, why: str) -> TrendEntry:
    files, tests = found.reconciliation, found.totals.tests
    return TrendEntry(
        report=name,
        run_id=found.run.run_id,
        delivered_at=found.run.delivered_at,
        generated_at=found.run.generated_at,
        outcome=found.run.outcome,
        verdict=verdict,
        why=why,
        seconds=_sum(group.seconds for group in found.task_groups),
        tests_failed=tests.fail + tests.error,
        tests_warned=tests.warn,
        records_read=sum(file.read for file in files) if files is not None else None,
        records_quarantined=sum(file.quarantined for file in files) if files is not None else None,
        annual_interest_amount=found.interest.after if found.interest else None,
    )


def _past_entry(name: str, past: PastReport) -> TrendEntry:
    files, statuses = past.reconciliation, [test.status for test in past.tests]
    return TrendEntry(
        report=name,
        run_id=past.run.run_id,
        delivered_at=past.run.delivered_at,
        generated_at=past.run.generated_at,
        outcome=past.run.outcome,
        verdict=past.verdict,
        why=past.why,
        seconds=_sum(group.seconds for group in past.task_groups),
        tests_failed=statuses.count("fail") + statuses.count("error"),
        tests_warned=statuses.count("warn"),
        records_read=sum(file.read for file in files) if files is not None else None,
        records_quarantined=sum(file.quarantined for file in files) if files is not None else None,
        annual_interest_amount=past.interest.after if past.interest else None,
    )


def _sum(seconds: Iterable[float | None]) -> float | None:
    known = [each for each in seconds if each is not None]
    return round(sum(known), 3) if known else None


def _earlier_reports(folder: Path, run_id: str) -> list[tuple[str, PastReport]]:
    """Return names and content of the last reports of other runs, oldest first; what holds no report is left out."""
    reports = []
    for path in sorted(folder.glob("quality_report_*.json"), key=lambda path: path.stat().st_mtime_ns)[-TREND_RUNS:]:
        with suppress(OSError, ValidationError):
            reports.append((path.name, PastReport.model_validate_json(path.read_bytes())))
    return sorted(
        ((name, report) for name, report in reports if report.run.run_id != run_id),
        key=lambda entry: entry[1].run.generated_at,
    )


def _ingestion_note(path: Path, run_id: str) -> IngestionNote:
    """Return what ingestion noted; where it did not come to that, the run is refused."""
    try:
        return IngestionNote.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return IngestionNote(
            run_id=run_id,
            outcome="refused",
            error="the run ended before it had ingested anything",
            logical_date=None,
            delivered_at=None,
            full_refresh=False,
        )
