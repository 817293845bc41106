"""Builds and writes the data quality report of a run, whatever happened in the run (docs/DATA_QUALITY_GUIDE.md)."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter
from typing import Any, TypeVar, get_args

import duckdb
from pydantic import ValidationError

from include.artifacts import INGESTION_NOTE, artifacts_dir, report_name
from include.dbt.manifest import current_manifest, sources_digest
from include.entities import ACCOUNT, ENTITIES
from include.errors import PipelineError, one_line
from include.files import replacing
from include.layers import LAYERS, TEST_FAILURES
from include.ledger import FILE_NAMES, Delivery, Ledger, time_text
from include.provenance import git_revision, package_version, python_version
from include.quality import money, tables
from include.quality.dbt_results import count_statuses, load_results
from include.quality.durations import task_group_seconds
from include.quality.page import write_pages
from include.quality.report import (
    SCHEMA_VERSION,
    TREND_RUNS,
    BuiltNode,
    Comparison,
    DataTest,
    ExportedFile,
    Findings,
    IngestionNote,
    Interest,
    LayerCounts,
    PastReason,
    PastReport,
    Report,
    Run,
    Severity,
    SeverityCounts,
    Totals,
    TrendEntry,
    UnknownColumn,
    Verdict,
    Versions,
    written_reports,
)
from include.quality.verdict import PROBLEM_STATUSES, judge
from include.settings import Settings
from include.warehouse import Warehouse, WarehouseError

log = logging.getLogger(__name__)

T = TypeVar("T")

_TABLE_SECTIONS = (
    "reconciliation",
    "unknown_columns",
    "quarantine",
    "stale_keys",
    "orphan_accounts",
    "scd2",
    "changes",
    "marts",
    "balances",
    "interest",
    "exports",
)
"""The sections of Findings that describe a delivery's tables, exports and files."""


def write_report(
    settings: Settings, *, run_id: str, warehouse: Warehouse, failure: str | None = None, is_preview: bool = False
) -> Path:
    """Write the report of a run as JSON, and its page beside it; return the path of the JSON.

    `failure` says why the run failed after its delivery was accepted. Sections that can't be computed, for example
    because the delivery was refused or the warehouse is locked, are null, and `problems` says why. A preview's report
    is marked as one and is in no trend.
    """
    begun = perf_counter()
    artifacts = artifacts_dir(settings, run_id)
    note = _ingestion_note(artifacts / INGESTION_NOTE, run_id)
    run = Run(
        **{name: value for name, value in note if name != "warnings"} | {"error": note.error or failure},
        generated_at=datetime.now(UTC),
        database_type=settings.database_type,
        git_revision=git_revision(),
        is_preview=is_preview,
        manifest_sha256=sources_digest(),
        versions=_versions(settings),
    )
    dbt = load_results(current_manifest(settings), artifacts)
    earlier = _earlier_reports(settings.data_quality_report_path, run_id)
    read = _TableReader(settings, run, warehouse, dbt.models, problems=note.warnings)
    with warehouse.session():
        described = read.describe([report for _, report in earlier])
        tests = tuple(read.rows_found_by(test, dbt.kept_in.get(test.name)) for test in dbt.tests)
    found = Findings(
        schema_version=SCHEMA_VERSION,
        run=run,
        totals=Totals(tests=count_statuses(tests), models=count_statuses(dbt.models)),
        task_groups=task_group_seconds(artifacts, dbt.nodes, dbt.results, report_seconds=perf_counter() - begun),
        layers=tuple(
            LayerCounts(
                layer=layer,
                tests=count_statuses(test for test in tests if test.layer == layer),
                models=count_statuses(model for model in dbt.models if model.layer == layer),
            )
            for layer in LAYERS
        ),
        severities=tuple(
            SeverityCounts(severity=severity, tests=count_statuses(test for test in tests if test.severity == severity))
            for severity in get_args(Severity)
        ),
        models=dbt.models,
        tests=tests,
        problems=tuple(read.problems),
        **described,
    )
    verdict, why = judge(found)
    time = run.delivered_at or run.logical_date or run.generated_at
    path = settings.data_quality_report_path / f"{report_name(time, run_id, is_preview=is_preview)}.json"
    report = Report(
        **dict(found),
        verdict=verdict,
        why=why,
        against_previous=_against_previous(tests, [report for _, report in earlier]),
        trend=(
            *(_trend_entry(name, past) for name, past in earlier[-(TREND_RUNS - 1) :]),
            *(() if is_preview else (_trend_entry(path.name, _as_past(found, verdict, why)),)),
        ),
    )
    with replacing(path) as temporary:
        temporary.write_text(report.model_dump_json(indent=2) + "\n", encoding="utf-8")
    _write_pages(report, path)
    return path


def _write_pages(report: Report, path: Path) -> None:
    """Write the report's page and the index. Errors are logged, since the report itself is already written."""
    try:
        write_pages(report, path)
    except Exception:
        log.exception("the page of %s, or the index, can't be written", path)


def _versions(settings: Settings) -> Versions:
    return Versions(
        python=python_version(),
        airflow=package_version("apache-airflow-core"),
        cosmos=package_version("astronomer-cosmos"),
        dbt=package_version("dbt-core"),
        adapter=package_version(f"dbt-{settings.database_type}"),
        duckdb=package_version("duckdb"),
    )


class _TableReader:
    """Reads the values that come from the tables. A value that can't be read is None, and `problems` says why."""

    def __init__(
        self, settings: Settings, run: Run, warehouse: Warehouse, models: Sequence[BuiltNode], problems: Sequence[str]
    ) -> None:
        self.settings = settings
        self.warehouse = warehouse
        self.run = run
        self.problems = list(problems)
        self._readable = True
        self._left_out: list[str] = []
        self._rows: dict[str, int | None] = {}
        self._was_processed = any(model.status != "not_run" for model in models)
        self._is_as_it_was = run.outcome == "unchanged" and not self._was_processed
        self._built = {model.name for model in models if self._is_as_it_was or model.status == "pass"}
        self._delivery = self._find_delivery()

    def describe(self, earlier: Sequence[PastReport]) -> dict[str, Any]:
        """Return the sections of the report that come from the tables, the ledger and the exports."""
        if self._delivery is None:
            return dict.fromkeys(_TABLE_SECTIONS)
        warehouse, delivery = self.warehouse, self._delivery
        ledger = Ledger.load(self.settings.landing_path)
        checked = [entity.checked for entity in ENTITIES]
        snapshots = [entity.snapshot for entity in ENTITIES]
        found = dict.fromkeys(_TABLE_SECTIONS)
        sums: dict[str, Any] = {}

        classified = self._attempt(
            lambda: {entity.file: tables.classified_records(warehouse, entity) for entity in ENTITIES}, checked
        )
        if classified is not None:
            before = _quarantine_before(earlier, delivery)
            found["reconciliation"] = tables.reconciliation(delivery, classified)
            found["quarantine"] = self._attempt(
                lambda: tables.quarantine_reasons(warehouse, classified, before), checked
            )
            sums |= money.of_file(classified[ACCOUNT.file])
        found["unknown_columns"] = _unknown_columns(delivery, ledger)
        stale = self._attempt(lambda: tables.stale_keys(warehouse), checked, snapshots)
        if stale:
            found["stale_keys"], sums["stale"] = stale
        orphans = self._attempt(lambda: tables.orphan_accounts(warehouse), checked, snapshots)
        if orphans:
            found["orphan_accounts"], sums["orphaned"] = orphans
        histories = self._attempt(lambda: tables.histories(warehouse, delivery), snapshots)
        found["scd2"], found["changes"] = histories or (None, None)
        sums |= self._attempt(lambda: money.of_history(warehouse), snapshots) or {}
        sums |= self._attempt(lambda: money.of_intermediate(warehouse), snapshots, ["int_account_with_customer"]) or {}
        marts = self._attempt(lambda: money.of_marts(warehouse, delivery), ["account_summary", "customer_profile"])
        if marts:
            found["marts"] = marts[0]
            sums |= marts[1]
        previous = ledger.processed_before(delivery)
        found["interest"] = self._attempt(
            lambda: money.interest(warehouse, delivery, previous),
            snapshots,
            ["int_savings_account_only", "account_summary", "interest_rate_tier"],
        )
        if previous:
            self._check_interest_before(found["interest"], earlier, previous)
        found["exports"], of_exports = self._exported(delivery)
        sums |= of_exports
        found["balances"] = money.balances(sums) if sums else None
        if self._left_out:
            self.problems.append(f"not built for this delivery, and not described here: {', '.join(self._left_out)}")
        return found

    def _check_interest_before(
        self, interest: Interest | None, earlier: Sequence[PastReport], previous: Delivery
    ) -> None:
        """Add a problem if this report's interest before differs from the interest after of the previous one."""
        said = next(
            (
                report.interest.after
                for report in reversed(earlier)
                if report.interest and report.run.delivered_at == previous.delivered_at
            ),
            None,
        )
        if interest and said is not None and interest.before != said:
            self.problems.append(
                f"the yearly interest before the delivery is {interest.before:.2f} by the rates that now stand for its "
                f"day, and was {said:.2f}: a set of rates was changed in place, and the cause rate lacks the difference"
            )

    def _exported(self, delivery: Delivery) -> tuple[tuple[ExportedFile, ...] | None, dict[str, Any]]:
        try:
            files, sums = money.exported(
                self.settings.output_path, delivery, run_id=None if self._is_as_it_was else self.run.run_id
            )
        except (OSError, ValueError, KeyError, duckdb.Error) as error:
            self.problems.append(f"the exports could not be read: {one_line(error)}")
            return None, {}
        if files is None:
            self.problems.append("the delivery was not published: the exports are as they were before it")
        return files, sums

    def _attempt(self, query: Callable[[], T], *tables_read: Sequence[str]) -> T | None:
        """Return the result of a query, or None if a table that it reads was not built or can't be read."""
        missing = [table for names in tables_read for table in names if table not in self._built]
        self._left_out += [table for table in missing if table not in self._left_out]
        if missing or not self._readable:
            return None
        try:
            return query()
        except WarehouseError as error:
            self._readable = not error.is_transient  # each try waits for a locked file, and one message is enough
            self.problems.append(f"not all tables could be read: {' '.join(str(error).split())[:500]}")
            return None
        except Exception as error:  # a report without a section is better than none
            log.exception("a section of the report could not be made")
            self.problems.append(f"a section could not be made: {type(error).__name__}: {one_line(error)[:500]}")
            return None

    def rows_found_by(self, test: DataTest, kept_in: str | None) -> DataTest:
        """Return a test with its failing rows and their share of all rows.

        `kept_in` is the table that kept the rows when the test ran. Without one, the test's SQL is run again, on tables
        that later layers may have changed.
        """
        if test.status not in ("warn", "fail"):
            return test
        kept = kept_in and self.warehouse.relation(TEST_FAILURES, kept_in)
        relation = kept or (test.sql and f"(\n{test.sql}\n)")
        failing = (
            self._attempt(lambda: tables.failing_rows(self.warehouse, relation, test.column)) if relation else None
        )
        rows = self._rows_of(test)
        return test.model_copy(
            update={
                "rows": rows,
                "failure_share": round((test.failures or 0) / rows, 6) if rows else None,
                "failing_rows": failing or (),
                "kept_in": kept,
            }
        )

    def _find_delivery(self) -> Delivery | None:
        """Return the run's delivery, or None if it was refused or is no longer the one that the tables show."""
        run = self.run
        if run.delivered_at is None:
            self.problems.append("the delivery was not taken: the tables are as they were, and not described here")
            return None
        try:
            ledger = Ledger.load(self.settings.landing_path)
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
        """Return the number of rows of the tested model, counted once, or None if a test compares several models."""
        if len(test.models) != 1:
            return None
        name = test.models[0]
        if name not in self._rows:
            self._rows[name] = self._attempt(lambda: tables.count_rows(self.warehouse, test.layer, name))
        return self._rows[name]


def _quarantine_before(earlier: Sequence[PastReport], delivery: Delivery) -> Sequence[PastReason] | None:
    """Return the quarantine of the last report of another delivery that has one."""
    return next(
        (
            report.quarantine
            for report in reversed(earlier)
            if report.quarantine is not None and report.run.delivered_at != delivery.delivered_at
        ),
        None,
    )


def _unknown_columns(delivery: Delivery, ledger: Ledger) -> tuple[UnknownColumn, ...]:
    return tuple(
        UnknownColumn(file=name, column=header, since=first.delivered_at)
        for name in FILE_NAMES
        for header in delivery.file(name).undeclared
        if (first := ledger.undeclared_since(name, header))
    )


def _against_previous(tests: Sequence[DataTest], earlier: Sequence[PastReport]) -> Comparison:
    """Compare with the last report whose tests ran. A test that did not run now is neither new nor fixed."""
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


def _as_past(found: Findings, verdict: Verdict, why: str) -> PastReport:
    """Return a run's findings as later reports will read them."""
    needed = found.model_dump(include=set(PastReport.model_fields))
    return PastReport.model_validate({**needed, "verdict": verdict, "why": why})


def _trend_entry(name: str, past: PastReport) -> TrendEntry:
    files, statuses = past.reconciliation, [test.status for test in past.tests]
    return TrendEntry(
        report=name,
        run_id=past.run.run_id,
        logical_date=past.run.logical_date,
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
    """Return names and content of the last reports of other runs, oldest first. Other files are left out."""
    reports = []
    for path in written_reports(folder)[-TREND_RUNS:]:
        with suppress(OSError, ValidationError):
            reports.append((path.name, PastReport.model_validate_json(path.read_bytes())))
    return sorted(
        ((name, report) for name, report in reports if report.run.run_id != run_id),
        key=lambda entry: entry[1].run.generated_at,
    )


def _ingestion_note(path: Path, run_id: str) -> IngestionNote:
    """Return what ingestion recorded. If it did not get that far, the run counts as refused."""
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
