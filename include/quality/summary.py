"""A report in a few lines for a terminal: `python -m include.quality.summary [REPORT]`, by default the newest one."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from include.errors import PipelineError, one_line
from include.quality.build import newest_report
from include.settings import load_settings


def summary(report: dict[str, Any], path: Path, output_path: Path) -> str:
    """Return what came in, what was quarantined and why, what changed, where the outputs are, and the verdict."""
    run = report["run"]
    lines = [f"delivery   {run['delivered_at'] or run['logical_date']}  ({run['outcome']}, run {run['run_id']})"]
    if run["error"]:
        lines.append(f"error      {run['error']}")
    for file in report["reconciliation"] or []:
        lines.append(
            f"{file['file']:<10} {file['read']} read = {file['staged']} staged + {file['duplicates']} duplicates + "
            f"{file['quarantined']} quarantined{'' if file['balanced'] else '  DOES NOT ADD UP'}"
        )
        reasons = [entry for entry in report["quarantine"] or [] if entry["file"] == file["file"]]
        lines += [f"{'':<10}   {entry['records']} x {entry['reason']}" for entry in reasons]
    if run["outcome"] == "unchanged" and not run["full_refresh"]:
        lines.append("changes    nothing: this delivery is already processed")
    elif report["changes"] is not None:
        changes = [_describe(entry) for entry in report["changes"]]
        lines.append("changes    " + ("; ".join(filter(None, changes)) or "nothing: no key came, changed or left"))
    for mart in report["marts"] or []:
        lines.append(f"{'':<10} {mart['mart']}: {mart['total_rows']} rows, {mart['changed_rows']} new or changed")
    for entity in report["stale_keys"] or []:
        if entity["count"]:
            keys = ", ".join(key["key"] for key in entity["keys"][:5])
            count = entity["count"]
            lines.append(f"stale      {entity['entity']}s that arrived in bad records alone: {count} ({keys})")
    orphans = report["orphan_accounts"]
    if orphans and orphans["count"]:
        listed = ", ".join(f"{entry['account_id']} ({entry['reason']})" for entry in orphans["accounts"][:5])
        lines.append(f"orphans    accounts without a current customer: {orphans['count']}: {listed}")
    counts = {status: count for status, count in report["totals"]["tests"].items() if count}
    lines.append("tests      " + ", ".join(f"{count} {status.replace('_', ' ')}" for status, count in counts.items()))
    lines += [
        f"{'':<10}   {test['status']}: {test['name']} ({test['failures']} rows)"
        for test in report["tests"]
        if test["status"] in ("fail", "error", "warn")
    ]
    lines += [f"problem    {problem}" for problem in report["problems"]]
    lines.append(f"outputs    {_shown(output_path)}")
    lines.append(f"report     {_shown(path)}")
    lines.append(f"verdict    {report['verdict']}")
    return "\n".join(lines)


def _describe(entry: dict[str, Any]) -> str:
    counts = [f"{entry[what]} {what}" for what in ("new", "changed", "closed", "returned") if entry[what]]
    return f"{entry['entity']}s: {', '.join(counts)}" if counts else ""


def _shown(path: Path) -> str:
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def main(arguments: list[str] | None = None) -> int:
    """Print the summary of a report; return 0, or 1 with one line on stderr."""
    parser = argparse.ArgumentParser(prog="python -m include.quality.summary", description=__doc__)
    parser.add_argument("report", nargs="?", type=Path, help="a report's file; default: the newest")
    try:
        settings = load_settings()
        path = parser.parse_args(arguments).report or newest_report(settings.data_quality_report_path)
        if path is None:
            raise PipelineError(f"{settings.data_quality_report_path} has no report yet: `make run` makes one")
        print(summary(json.loads(path.read_text(encoding="utf-8")), path, settings.output_path))
    except (PipelineError, OSError) as error:
        print(f"error: {one_line(error)}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
