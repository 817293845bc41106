"""Builds the data-quality report of a run and writes it, whatever happened before (design, section 9)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar, get_args

from pydantic import ValidationError

from include.artifacts import artifacts_dir
from include.dbt.manifest import current_manifest
from include.errors import PipelineError
from include.files import replacing, run_key
from include.layers import LAYERS
from include.ledger import FILE_NAMES, Delivery, Ledger, time_text
from include.quality import tables
from include.quality.dbt_results import count_statuses, load_results
from include.quality.report import (
    SCHEMA_VERSION,
    TREND_RUNS,
    Comparison,
    DataTest,
    Findings,
    IngestionNote,
    LayerCounts,
    NotAReport,
    Report,
    Run,
    Severity,
    SeverityCounts,
    Totals,
    TrendEntry,
    UnknownColumn,
    Verdict,
)
from include.settings import Settings
from include.warehouse import Warehouse, WarehouseError

PROBLEM_STATUSES = ("warn", "fail", "error")

T = TypeVar("T")


def write_report(settings: Settings, *, run_id: str, warehouse: Warehouse, failure: str | None = None) -> Path:
    """Write the report of a run as JSON; return its path.

    `failure` says why the run failed, where its delivery was taken and it failed later. What can't be told, since the
    delivery was refused or the warehouse is held by somebody, is null, and `problems` says why.
    """
    artifacts = artifacts_dir(settings, run_id)
    note = _ingestion_note(artifacts / "ingestion.json", run_id)
    run = Run(
        **{name: value for name, value in note if name != "warnings"} | {"error": note.error or failure},
        generated_at=datetime.now(UTC),
        database_type=settings.database_type,
    )
    models, tests = load_results(current_manifest(settings), artifacts)
    read = _TableReader(settings, run, warehouse, problems=note.warnings)
    found = Findings(
        schema_version=SCHEMA_VERSION,
        run=run,
        totals=Totals(tests=count_statuses(tests), models=count_statuses(models)),
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
        tests=tuple(read.rows_found_by(test) for test in tests),
        problems=tuple(read.problems),  # last: what is read above adds to them
    )
    verdict = _verdict(found)
    earlier = _earlier_reports(settings.data_quality_report_path, run_id)
    report = Report(
        **dict(found),
        verdict=verdict,
        against_previous=_against_previous(tests, earlier),
        trend=(
            *(_trend_entry(other, other.verdict) for other in earlier[-(TREND_RUNS - 1) :]),
            _trend_entry(found, verdict),
        ),
    )

    time = run.delivered_at or run.logical_date or run.generated_at
    path = settings.data_quality_report_path / f"quality_report_{time:%Y%m%dT%H%M%S%fZ}_{run_key(run_id)}.json"
    with replacing(path) as temporary:
        temporary.write_text(report.model_dump_json(indent=2) + "\n", encoding="utf-8")
    return path


def newest_report(folder: Path) -> Path | None:
    """Return the report that was written last."""
    return max(folder.glob("quality_report_*.json"), key=lambda path: path.stat().st_mtime_ns, default=None)


class _TableReader:
    """Reads what comes from the tables: None where it can't be read, and `problems` says why."""

    def __init__(self, settings: Settings, run: Run, warehouse: Warehouse, problems: Sequence[str] = ()) -> None:
        self.warehouse = warehouse
        self.problems = list(problems)
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


def _verdict(found: Findings) -> Verdict:
    """Return fail (refused, broken, incomplete or not reconciled), warn (something to tell the sender) or pass."""
    counts = (found.totals.tests, found.totals.models)
    to_be_processed = found.run.outcome in ("landed", "resumed")
    if (
        found.run.error
        or any(count.fail or count.error or count.skipped for count in counts)
        or (to_be_processed and any(count.not_run for count in counts))
        or not all(file.balanced for file in found.reconciliation or ())
    ):
        return "fail"
    something_to_tell = (
        found.totals.tests.warn
        or found.problems
        or found.unknown_columns
        or found.quarantine
        or any(entity.count for entity in found.stale_keys or ())
        or (found.orphan_accounts and found.orphan_accounts.count)
    )
    return "warn" if something_to_tell else "pass"


def _against_previous(tests: Sequence[DataTest], earlier: Sequence[Report]) -> Comparison:
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


def _has_results(report: Report) -> bool:
    return any(test.status != "not_run" for test in report.tests)


def _trend_entry(found: Findings, verdict: Verdict) -> TrendEntry:
    files, tests = found.reconciliation, found.totals.tests
    return TrendEntry(
        run_id=found.run.run_id,
        delivered_at=found.run.delivered_at,
        generated_at=found.run.generated_at,
        outcome=found.run.outcome,
        verdict=verdict,
        tests_failed=tests.fail + tests.error,
        tests_warned=tests.warn,
        records_read=sum(file.read for file in files) if files is not None else None,
        records_quarantined=sum(file.quarantined for file in files) if files is not None else None,
    )


def _earlier_reports(folder: Path, run_id: str) -> list[Report]:
    """Return the last reports of other runs, oldest first; files that hold no report of this version are left out."""
    reports = []
    for path in sorted(folder.glob("quality_report_*.json"), key=lambda path: path.stat().st_mtime_ns)[-TREND_RUNS:]:
        with suppress(OSError, NotAReport):
            reports.append(Report.load(path))
    return sorted(
        (report for report in reports if report.run.run_id != run_id), key=lambda report: report.run.generated_at
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
