"""Print a summary of a report: `python -m include.quality.summary [REPORT]`, by default the newest one."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from include.errors import run_command
from include.ledger import time_text
from include.quality.page import page_of
from include.quality.report import KeyChanges, Report, newest_report
from include.quality.verdict import PROBLEM_STATUSES
from include.settings import load_settings
from include.terminal import printable


def summary(path: Path, output_path: Path, *, is_kept: bool = True) -> str:
    """Return what came in, what was quarantined and why, what changed, where the outputs are, and the verdict.

    A preview has no outputs. `is_kept` is True if the report will still exist for a person to open.

    Raises OSError or NotAReport if `path` is not a report.
    """
    report = Report.load(path)
    run = report.run
    time = run.delivered_at or run.logical_date
    lines = [f"delivery   {time and time_text(time)}  ({run.outcome}, run {run.run_id})"]
    if run.error:
        lines.append(f"error      {run.error}")
    for file in report.reconciliation or ():
        lines.append(
            f"{file.file:<10} {file.read} read = {file.staged} staged + {file.duplicates} duplicates + "
            f"{file.quarantined} quarantined{'' if file.balanced else '  DOES NOT ADD UP'}"
        )
        reasons = [entry for entry in report.quarantine or () if entry.file == file.file and entry.records]
        lines += [f"{'':<10}   {entry.records} x {entry.reason}" for entry in reasons]
    for column in report.unknown_columns or ():
        lines.append(f"unknown    {column.file} has a column {column.column!r}, since {time_text(column.since)}")
    is_unchanged = run.outcome == "unchanged" and not run.full_refresh
    if is_unchanged:
        lines.append("changes    nothing: this delivery is already processed")
    elif report.changes is not None:
        changes = [_describe(entry) for entry in report.changes]
        lines.append("changes    " + ("; ".join(filter(None, changes)) or "nothing: no key came, changed or left"))
    for mart in report.marts or ():
        changed = "" if is_unchanged else f", {mart.changed_rows} new or changed"
        lines.append(f"{'':<10} {mart.mart}: {mart.total_rows} rows{changed}")
    if report.interest:
        causes = [f"{entry.amount:+,.2f} {entry.cause}" for entry in report.interest.causes if entry.amount]
        lines.append(
            f"interest   {report.interest.after:,.2f} a year, before {report.interest.before:,.2f}"
            f"{': ' if causes else ''}{', '.join(causes)}"
        )
    for entity in report.stale_keys or ():
        if entity.count:
            keys = ", ".join(stale.key for stale in entity.keys[:5])
            lines.append(
                f"stale      {entity.entity}s that arrived only in quarantined records: {entity.count} ({keys})"
            )
    orphans = report.orphan_accounts
    if orphans and orphans.count:
        listed = ", ".join(f"{account.account_id} ({account.reason})" for account in orphans.accounts[:5])
        lines.append(f"orphans    accounts without a current customer: {orphans.count}: {listed}")
    counts = [
        f"{count} {status.replace('_', ' ')}" for status, count in report.totals.tests.model_dump().items() if count
    ]
    lines.append("tests      " + ", ".join(counts))
    lines += [
        f"{'':<10}   {test.status}: {test.name} ({test.failures} rows)"
        for test in report.tests
        if test.status in PROBLEM_STATUSES
    ]
    lines += [f"problem    {problem}" for problem in report.problems]
    lines.append(f"outputs    {_shown(output_path)}" if not run.is_preview else "preview    nothing was kept")
    if is_kept:
        lines.append(f"report     {_shown(path)}")
    if is_kept and page_of(path).is_file():
        lines.append(f"page       {_shown(page_of(path))}")
    lines.append(f"why        {report.why}")
    lines.append(f"verdict    {report.verdict}")
    return "\n".join(map(printable, lines))  # account ids may have any characters


def _describe(changes: KeyChanges) -> str:
    counts = {what: getattr(changes, what) for what in ("new", "changed", "closed", "returned")}
    listed = ", ".join(f"{count} {what}" for what, count in counts.items() if count)
    return f"{changes.entity}s: {listed}" if listed else ""


def _shown(path: Path) -> str:
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def main(arguments: list[str] | None = None) -> int:
    """Print the summary of a report; return 0, or 1 with one line on stderr."""
    parser = argparse.ArgumentParser(prog="python -m include.quality.summary", description=__doc__)
    parser.add_argument("report", nargs="?", type=Path, help="a report's file; default: the newest")
    options = parser.parse_args(arguments)

    def show() -> None:
        settings = load_settings()
        print(summary(options.report or newest_report(settings.data_quality_report_path), settings.output_path))

    return run_command(show)


if __name__ == "__main__":
    sys.exit(main())
