"""Quality reports for tests of what reads them, built from the typed models with a good day's values as defaults."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from include.files import run_key
from include.layers import LAYERS
from include.quality.dbt_results import count_statuses
from include.quality.page import write_pages
from include.quality.report import (
    SCHEMA_VERSION,
    TASK_GROUPS,
    Balances,
    BuiltNode,
    Comparison,
    DataTest,
    ExportedFile,
    Interest,
    InterestCause,
    KeyChanges,
    LayerCounts,
    MartChanges,
    OrphanAccount,
    OrphanAccounts,
    QuarantineReason,
    Reconciliation,
    Report,
    Run,
    SeverityCounts,
    SnapshotIntegrity,
    StaleKey,
    StaleKeys,
    TaskGroupSeconds,
    Totals,
    TrendEntry,
    Versions,
)

DAY = datetime(2026, 1, 6, 2, tzinfo=UTC)
SECTIONS_OF_TABLES = (
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
"""What is null where the tables could not be read."""


def run(run_id: str = "scheduled__2026-01-06T02:00:00+00:00", **fields: Any) -> Run:
    return Run(
        **{
            "run_id": run_id,
            "outcome": "landed",
            "error": None,
            "logical_date": DAY,
            "delivered_at": DAY,
            "full_refresh": False,
            "generated_at": DAY + timedelta(minutes=3, seconds=12, microseconds=5),
            "database_type": "duckdb",
            "git_revision": "3f0c2a9d41b87e65a0c3d2f1e4b5a69788c7d6e5",
            "manifest_sha256": "ab" * 32,
            "versions": Versions(
                python="3.12.8", airflow="3.3.2", cosmos="1.15.1", dbt="1.11.16", adapter="1.11.1", duckdb="2.0.0"
            ),
        }
        | fields
    )


def data_test(name: str = "not_null_stg_customer_customer_id", **fields: Any) -> DataTest:
    return DataTest(
        **{
            "name": name,
            "layer": "staging",
            "status": "pass",
            "seconds": 0.21,
            "message": None,
            "description": "A staged record has no customer_id: its key was not judged. Look at stg_customer_checked.",
            "models": ("stg_customer",),
            "column": "customer_id",
            "severity": "error",
            "failures": 0,
            "rows": None,
            "failure_share": None,
            "failing_rows": (),
            "kept_in": None,
            "sql": "select customer_id\nfrom lc.main_staging.stg_customer\nwhere customer_id is null",
            "downstream": (),
        }
        | fields
    )


def failing_test(name: str = "assert_no_quarantined_account", **fields: Any) -> DataTest:
    row = {
        "account_id": "A1",
        "customer_id": "7",
        "customer_name": "*** (12 characters)",
        "balance": "n.a.",
        "account_type": "savings",
        "source_row_number": "42",
        "failure_reasons": "balance is not a number",
        "raw_record": None,
    }
    return data_test(
        name,
        **{
            "status": "warn",
            "severity": "warn",
            "models": ("quarantine_account",),
            "column": None,
            "failures": 5,
            "rows": 1000,
            "failure_share": 0.005,
            "failing_rows": (row,) * 5,
            "downstream": ("snap_account", "int_account_with_customer", "account_summary", "customer_profile"),
            "sql": "-- Records of the delivery were quarantined.\n"
            + "select account_id, customer_id, balance, failure_reasons\nfrom lc.main_staging.quarantine_account\n" * 5,
        }
        | fields,
    )


def good_tests(number: int = 80) -> tuple[DataTest, ...]:
    """Return passing tests, spread over the layers."""
    return tuple(
        data_test(f"not_null_model_of_the_layer_{place}_column_{place}", layer=LAYERS[place * len(LAYERS) // number])
        for place in range(number)
    )


def built_node(name: str, layer: str = "staging", **fields: Any) -> BuiltNode:
    return BuiltNode(
        **{"name": name, "layer": layer, "status": "pass", "seconds": 0.8, "message": None, "kind": "model"} | fields
    )


def models() -> tuple[BuiltNode, ...]:
    return tuple(built_node(f"{layer}_{entity}", layer) for layer in LAYERS for entity in ("customer", "account"))


def reconciliation(file: str, read: int, duplicates: int = 0, quarantined: int = 0) -> Reconciliation:
    return Reconciliation(
        file=file,
        sha256="cd" * 32,
        bytes=31 * read,
        read=read,
        staged=read - duplicates - quarantined,
        duplicates=duplicates,
        quarantined=quarantined,
        balanced=True,
    )


def reason(text: str = "balance is not a number", **fields: Any) -> QuarantineReason:
    sample = {"account_id": "A1", "customer_id": "7", "balance": "n.a.", "account_type": "savings", "raw_record": None}
    return QuarantineReason(
        **{"file": "accounts", "reason": text, "records": 3, "records_before": 1, "samples": (sample,) * 3} | fields
    )


def balances(**fields: Any) -> Balances:
    amounts = {
        "received": "5988640120.55",
        "staged": "5978211030.15",
        "duplicates": "4400.40",
        "quarantined": "10424690.00",
        "stale": "2100.00",
        "current": "5978213130.15",
        "orphaned": "1250.00",
        "checking": "2391120400.15",
        "savings": "3587091480.00",
        "summarized": "3587091480.00",
        "interest": "64567646.64",
        "with_interest": "3651659126.64",
        "profiled": "3587091480.00",
        "profiled_interest": "64567646.64",
        "exported": "3587091480.00",
        "exported_interest": "64567646.64",
    }
    known = {name: Decimal(amount) for name, amount in amounts.items()}
    return Balances(**known | {"unreadable_records": 402, "mismatches": ()} | fields)


def interest() -> Interest:
    amounts = {
        "balance": (170, "412.80"),
        "loan flag": (96, "-8120.15"),
        "rate": (0, "0.00"),
        "new": (48, "16204.40"),
        "closed": (51, "-14930.02"),
    }
    causes = tuple(
        InterestCause(cause=name, accounts=accounts, amount=Decimal(amount))
        for name, (accounts, amount) in amounts.items()
    )
    after = Decimal("64567646.64")
    return Interest(before=after - sum(cause.amount for cause in causes), after=after, causes=causes)


def trend_entry(name: str, **fields: Any) -> TrendEntry:
    return TrendEntry(
        **{
            "run_id": "scheduled__2026-01-06T02:00:00+00:00",
            "report": name,
            "delivered_at": DAY,
            "generated_at": DAY,
            "outcome": "landed",
            "verdict": "pass",
            "why": "all 80 tests passed and every record is accounted for",
            "seconds": 51.2,
            "tests_failed": 0,
            "tests_warned": 0,
            "records_read": 400_000,
            "records_quarantined": 0,
            "annual_interest_amount": Decimal("64567646.64"),
        }
        | fields
    )


def report(run: Run | None = None, *, earlier: Sequence[TrendEntry] = (), **fields: Any) -> Report:
    """Return a report; what follows from its tests and models, its counts and its place in the trend, does."""
    run = run or globals()["run"]()
    tests, built = fields.pop("tests", good_tests()), fields.pop("models", models())
    verdict = fields.pop("verdict", "pass")
    why = fields.pop("why", f"all {len(tests)} tests passed and every record is accounted for")
    sections: dict[str, Any] = {
        "reconciliation": (reconciliation("customers", 100_000, 12, 0), reconciliation("accounts", 300_000, 2, 0)),
        "unknown_columns": (),
        "quarantine": (),
        "stale_keys": tuple(StaleKeys(entity=name, count=0, keys=()) for name in ("customer", "account")),
        "orphan_accounts": OrphanAccounts(count=0, accounts=()),
        "scd2": (
            SnapshotIntegrity(
                snapshot="snap_customer", versions=100_240, current_versions=99_988, inverted=0, overlapping=0
            ),
            SnapshotIntegrity(
                snapshot="snap_account", versions=300_611, current_versions=299_998, inverted=0, overlapping=0
            ),
        ),
        "changes": (
            KeyChanges(entity="customer", new=24, changed=51, closed=25, returned=0),
            KeyChanges(entity="account", new=75, changed=150, closed=76, returned=1),
        ),
        "marts": (
            MartChanges(mart="account_summary", total_rows=179_901, changed_rows=314),
            MartChanges(mart="customer_profile", total_rows=83_402, changed_rows=305),
        ),
        "balances": balances(),
        "interest": interest(),
        "exports": tuple(
            ExportedFile(file=f"{mart}.{kind}", rows=rows, bytes=rows * 60, sha256="ef" * 32)
            for mart, rows in (("account_summary", 179_901), ("customer_profile", 83_402))
            for kind in ("csv", "parquet")
        ),
    }
    found = {**sections, **fields}
    files = found["reconciliation"]
    counts = count_statuses(tests)
    this = trend_entry(
        file_name(run),
        run_id=run.run_id,
        logical_date=run.logical_date,
        delivered_at=run.delivered_at,
        generated_at=run.generated_at,
        outcome=run.outcome,
        verdict=verdict,
        why=why,
        tests_failed=counts.fail + counts.error,
        tests_warned=counts.warn,
        records_read=sum(file.read for file in files) if files is not None else None,
        records_quarantined=sum(file.quarantined for file in files) if files is not None else None,
        annual_interest_amount=found["interest"].after if found["interest"] else None,
    )
    return Report(
        **{
            "schema_version": SCHEMA_VERSION,
            "run": run,
            "problems": (),
            "totals": Totals(tests=counts, models=count_statuses(built)),
            "task_groups": tuple(
                TaskGroupSeconds(group=group, seconds=2.5 * place + 0.4) for place, group in enumerate(TASK_GROUPS)
            ),
            "layers": tuple(
                LayerCounts(
                    layer=layer,
                    tests=count_statuses(test for test in tests if test.layer == layer),
                    models=count_statuses(node for node in built if node.layer == layer),
                )
                for layer in LAYERS
            ),
            "severities": tuple(
                SeverityCounts(
                    severity=severity, tests=count_statuses(test for test in tests if test.severity == severity)
                )
                for severity in ("error", "warn")
            ),
            "tests": tests,
            "models": built,
            "verdict": verdict,
            "why": why,
            "against_previous": Comparison(run_id=None, new=(), fixed=(), still_failing=()),
            "trend": (*earlier, this),
        }
        | found
    )


def refused(error: str = "accounts.csv has a header and no records: expected at least one") -> Report:
    """Return the report of a delivery that was refused."""
    return report(
        run("manual__2026-01-06T09:30:00+00:00", outcome="refused", error=error, delivered_at=None),
        tests=tuple(data_test(f"test_{place}", status="not_run", seconds=None, failures=None) for place in range(80)),
        models=tuple(built_node(node.name, node.layer, status="not_run", seconds=None) for node in models()),
        problems=("the delivery was not taken: the tables are as they were, and not described here",),
        task_groups=tuple(TaskGroupSeconds(group=group, seconds=None) for group in TASK_GROUPS),
        verdict="fail",
        why=f"refused: {error}",
        **dict.fromkeys(SECTIONS_OF_TABLES),
    )


def file_name(run: Run) -> str:
    """Return the name of a run's report."""
    time = run.delivered_at or run.logical_date or run.generated_at
    return f"quality_report_{time:%Y%m%dT%H%M%S%fZ}_{run_key(run.run_id)}.json"


def write(folder: Path, written: Report) -> Path:
    """Write a report and its page as a run does; return the page's path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / file_name(written.run)
    path.write_text(written.model_dump_json(), encoding="utf-8")
    return write_pages(Report.load(path), path)


def stale(entity: str, *keys: str, count: int | None = None) -> StaleKeys:
    return StaleKeys(
        entity=entity, count=count or len(keys), keys=tuple(StaleKey(key=key, valid_from=DAY) for key in keys)
    )


def orphans(*account_ids: str, count: int | None = None) -> OrphanAccounts:
    return OrphanAccounts(
        count=count or len(account_ids),
        accounts=tuple(
            OrphanAccount(account_id=account_id, customer_id=31, reason="customer unknown")
            for account_id in account_ids
        ),
    )
