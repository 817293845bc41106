"""The verdict of a report and its reason in one sentence: the first rule that applies."""

from __future__ import annotations

from collections.abc import Iterator

from include.quality.report import Findings, Verdict

PROBLEM_STATUSES = ("error", "fail", "warn")
"""Statuses that need attention, the most serious first."""
_NAMED = 3
"""How many tests, files or reasons a sentence names. The others are counted."""


def judge(found: Findings) -> tuple[Verdict, str]:
    """Return the verdict and its reason, one sentence without its full stop.

    fail: refused, broken, incomplete or not reconciled. warn: something to look at or for the sender. Otherwise pass.
    """
    failures = list(_failures(found))
    if failures:
        return "fail", "; ".join(failures)
    warnings = list(_warnings(found))
    if warnings:
        return "warn", "; ".join(warnings)
    passed = found.totals.tests.pass_
    if found.run.outcome == "unchanged" and not passed:
        return "pass", "this delivery is already processed: nothing changed"
    return "pass", f"all {passed} tests passed and every record is accounted for"


def _failures(found: Findings) -> Iterator[str]:
    tests, models = found.totals.tests, found.totals.models
    failed = [node.name for node in (*found.models, *found.tests) if node.status in ("fail", "error")]
    if found.run.outcome == "refused":
        yield f"refused: {found.run.error}"
    elif failed:
        yield f"{_named(failed)} failed"
    elif found.run.error:
        yield found.run.error
    left_out = tests.skipped + models.skipped
    if found.run.outcome in ("landed", "resumed"):
        left_out += tests.not_run + models.not_run
    if left_out and found.run.outcome != "refused":
        yield f"{_count(left_out, 'model or test', 'models and tests')} did not run"
    unbalanced = [file.file for file in found.reconciliation or () if not file.balanced]
    if unbalanced:
        yield f"the records of {_named(unbalanced)} do not add up"
    if found.balances and found.balances.mismatches:
        yield f"the balances do not add up: {found.balances.mismatches[0]}"


def _warnings(found: Findings) -> Iterator[str]:
    for file in found.reconciliation or ():
        if file.quarantined:
            yield f"{file.quarantined:,} of {file.read:,} records of {file.file} are quarantined"
    for entity in found.stale_keys or ():
        if entity.count:
            yield f"{_count(entity.count, entity.entity)} came only in quarantined records"
    orphans = found.orphan_accounts.count if found.orphan_accounts else 0
    if orphans:
        yield f"{_count(orphans, 'account')} without a current customer"
    columns = [f"{column.column!r} of {column.file}" for column in found.unknown_columns or ()]
    if columns:
        yield f"{_count(len(columns), 'unknown column')}: {_named(columns)}"
    is_explained = bool(found.reconciliation and (orphans or any(file.quarantined for file in found.reconciliation)))
    warned = [test.name for test in found.tests if test.status == "warn"]
    if warned and not is_explained:
        yield f"{_named(warned)} warned"
    if found.problems:
        yield found.problems[0]


def _named(names: list[str]) -> str:
    rest = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {rest} more" if rest > 0 else "")


def _count(number: int, one: str, many: str = "") -> str:
    return f"{number:,} {one if number == 1 else many or one + 's'}"
