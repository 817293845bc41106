"""Play the three sample days into a scratch folder and print what each changed, and why: `make demo`."""

from __future__ import annotations

import shutil
import sys
from datetime import UTC, datetime
from typing import Any

from include.errors import run_command
from include.pipeline import deliver
from include.quality.summary import summary
from include.settings import PROJECT_ROOT, Settings, load_settings
from include.warehouse import open_warehouse

DAYS = [datetime(2026, 1, day, 2, tzinfo=UTC) for day in (5, 6, 7)]
SCRATCH = PROJECT_ROOT / "data" / "demo"
HISTORIES = {"customer": ["1", "15", "19"], "account": ["S15", "S16", "S18", "S21"]}
"""Keys whose whole history is printed at the end. data/inputs/README.md describes what happens to them."""

Row = dict[str, Any]
Rows = dict[str, Row]


def main() -> None:
    """Play the days. Raises the errors of deliver()."""
    shutil.rmtree(SCRATCH, ignore_errors=True)
    settings = load_settings(
        {
            "DUCKDB_PATH": str(SCRATCH / "lc_pipeline.duckdb"),
            "LANDING_PATH": str(SCRATCH / "landing"),
            "OUTPUT_PATH": str(SCRATCH / "outputs"),
            "DATA_QUALITY_REPORT_PATH": str(SCRATCH / "quality_reports"),
        }
    )
    before: dict[str, Rows] = {}
    for number, day in enumerate(DAYS, start=1):
        print(f"\n=== Day {number}: {day:%Y-%m-%d} " + "=" * 60, flush=True)
        report = deliver(settings, logical_date=day, run_id=f"demo__day_{number}")
        print(summary(report, settings.output_path))
        after = _current(settings)
        if before:
            _print_changes(before, after)
        before = after
    _print_histories(settings)
    print(f"\nTables, exports and reports of the three days are in {SCRATCH.relative_to(PROJECT_ROOT)}.")


def _current(settings: Settings) -> dict[str, Rows]:
    """Return the current state: customers, accounts and interest, each by key."""
    return {
        "customer": _read(settings, "snapshots", "snap_customer", "customer_id, customer_name, has_loan_flag"),
        "account": _read(
            settings, "snapshots", "snap_account", "account_id, customer_id, balance_amount, account_type"
        ),
        "interest": _read(
            settings, "marts", "account_summary", "account_id, interest_rate_pct, annual_interest_amount"
        ),
    }


def _read(settings: Settings, layer: str, table: str, columns: str) -> Rows:
    warehouse = open_warehouse(settings)
    current = " where dbt_valid_to is null" if layer == "snapshots" else ""
    rows = warehouse.query(f"select {columns} from {warehouse.relation(layer, table)}{current} order by 1").to_pylist()
    key = columns.split(",")[0]
    return {str(row[key]): row for row in rows}


def _print_changes(before: dict[str, Rows], after: dict[str, Rows]) -> None:
    changes = {kind: _changes(before[kind], after[kind]) for kind in after}
    print("\nwhat changed")
    for kind in ("customer", "account"):
        for key, what in changes[kind].items():
            print(f"  {kind:<8} {key:<4} {what}")
    print("\nwhat that did to the interest")
    for key, what in changes["interest"].items():
        account = after["account"].get(key) or before["account"][key]
        customer = str(account["customer_id"])
        causes = [
            f"{kind} {cause} {changes[kind][cause]}"
            for kind, cause in (("account", key), ("customer", customer))
            if cause in changes[kind]
        ]
        print(f"  account  {key:<4} {what}")
        if causes != [f"account {key} {what}"]:
            print(f"{'':<16}because {' and '.join(causes)}")


def _changes(before: Rows, after: Rows) -> dict[str, str]:
    """Return a line for each key that differs, with the difference."""
    found = {}
    for key in sorted(before.keys() | after.keys(), key=lambda key: (len(key), key)):
        old, new = before.get(key), after.get(key)
        if old is None:
            found[key] = "arrived"
        elif new is None:
            found[key] = "left"
        elif old != new:
            found[key] = ", ".join(
                f"{column} {old[column]} -> {new[column]}" for column in new if old[column] != new[column]
            )
    return found


def _print_histories(settings: Settings) -> None:
    warehouse = open_warehouse(settings)
    print("\n=== History " + "=" * 67)
    for entity, keys in HISTORIES.items():
        columns = (
            "customer_name, has_loan_flag" if entity == "customer" else "customer_id, balance_amount, account_type"
        )
        for key in keys:
            print(f"{entity} {key}")
            rows = warehouse.query(
                f"select dbt_valid_from, dbt_valid_to, {columns} "
                f"from {warehouse.relation('snapshots', f'snap_{entity}')} "
                f"where cast({entity}_id as varchar) = '{key}' order by dbt_valid_from"
            ).to_pylist()
            for row in rows:
                begin, end = row.pop("dbt_valid_from"), row.pop("dbt_valid_to")
                until = f"{end:%Y-%m-%d}" if end else "now"
                values = ", ".join(f"{column} {value}" for column, value in row.items())
                print(f"  from {begin:%Y-%m-%d} until {until:<10}  {values}")


if __name__ == "__main__":
    sys.exit(run_command(main))
