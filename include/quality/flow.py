"""Draws the flow of a delivery's records: for each file a lane of steps, with ribbons between them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

from include.entities import ENTITIES
from include.quality.report import Balances, Reconciliation, Report

Kind = Literal["main", "quiet", "warn"]

BAND = 4.5
"""The height of all records of a file together, in em."""
THINNEST = 0.14
"""The minimum height of a ribbon, in em, so that one record in a million is visible."""
MARGIN = 0.5


@dataclass(frozen=True)
class Step:
    """A group of records: where they are, and their money."""

    kind: Kind
    label: str
    records: int | None
    balance: Decimal | None = None
    interest: Decimal | None = None
    notes: tuple[str, ...] = ()

    @property
    def lines(self) -> int:
        """The number of lines of its text: an amount is below its name if both are too long for one line."""
        amounts = [amount for amount in (self.balance, self.interest) if amount is not None]
        return 1 + len(amounts) + sum(abs(amount) >= 10**12 for amount in amounts) + len(self.notes)


@dataclass(frozen=True)
class Ribbon:
    """A ribbon as an SVG path, 100 wide and as high as its lane in tenths of an em."""

    kind: Kind
    path: str


@dataclass(frozen=True)
class Lane:
    """The path of a file's records: the file, their statuses, where they ended; heights in em.

    `ends` is empty if the marts were not reached.
    """

    file: Step
    outcomes: tuple[Step, ...]
    ends: tuple[Step, ...]
    height: float
    outcome_heights: tuple[float, ...]
    end_heights: tuple[float, ...]
    first_ribbons: tuple[Ribbon, ...]
    last_ribbons: tuple[Ribbon, ...]

    @property
    def parts(self) -> tuple[tuple[Kind, int], ...]:
        """The kind and the records of each outcome."""
        return tuple((step.kind, step.records or 0) for step in self.outcomes)


def lanes(report: Report) -> tuple[Lane, ...]:
    """Return a lane for each file that was reconciled."""
    return tuple(_lane(file, report) for file in report.reconciliation or ())


def _lane(file: Reconciliation, report: Report) -> Lane:
    entity = next(entity.name for entity in ENTITIES if entity.file == file.file)
    money = report.balances if entity == "account" else None
    stale = next((keys.count for keys in report.stale_keys or () if keys.entity == entity), 0)
    outcomes = (
        Step(
            "main",
            "Staged",
            file.staged,
            _amount(money, "staged"),
            notes=(f"and {stale:,} stale, from before",) if stale else (),
        ),
        Step("quiet", "Duplicates", file.duplicates, _amount(money, "duplicates")),
        Step(
            "warn",
            "Quarantined",
            file.quarantined,
            _amount(money, "quarantined"),
            notes=(f"{money.unreadable_records:,} without an amount",) if money and money.unreadable_records else (),
        ),
    )
    ends = _ends_of_accounts(report) if entity == "account" else _ends_of_customers(report)
    shares = _shares([step.records for step in outcomes])
    outcome_heights = [_height(step, share) for step, share in zip(outcomes, shares, strict=True)]
    end_shares = [shares[0] * share for share in _shares([step.records for step in ends])]
    end_heights = [_height(step, share) for step, share in zip(ends, end_shares, strict=True)]
    height = max(sum(outcome_heights), sum(end_heights), BAND + 2 * MARGIN)
    staged_at = (height - sum(outcome_heights)) / 2 + outcome_heights[0] / 2
    return Lane(
        file=Step("main", file.file, file.read, _amount(money, "received")),
        outcomes=outcomes,
        ends=ends,
        height=height,
        outcome_heights=tuple(outcome_heights),
        end_heights=tuple(end_heights),
        first_ribbons=_ribbons(outcomes, shares, height / 2, outcome_heights, height),
        last_ribbons=_ribbons(ends, end_shares, staged_at, end_heights, height),
    )


def _ends_of_accounts(report: Report) -> tuple[Step, ...]:
    rows, current = _mart_rows(report, "account_summary"), _current(report, "snap_account")
    if rows is None:
        return ()
    money, orphans = report.balances, report.orphan_accounts
    checking = current - rows - orphans.count if current is not None and orphans else None
    return (
        Step("main", "account_summary", rows, _amount(money, "summarized"), _amount(money, "interest")),
        Step("quiet", "Checking account", checking, _amount(money, "checking")),
        Step("warn", "No current customer", orphans.count if orphans else None, _amount(money, "orphaned")),
    )


def _ends_of_customers(report: Report) -> tuple[Step, ...]:
    rows, current = _mart_rows(report, "customer_profile"), _current(report, "snap_customer")
    if rows is None:
        return ()
    money = report.balances
    others = current - rows if current is not None else None
    return (
        Step("main", "customer_profile", rows, _amount(money, "profiled"), _amount(money, "profiled_interest")),
        Step("quiet", "No savings account", others),
    )


def _amount(balances: Balances | None, name: str) -> Decimal | None:
    amount: Decimal | None = getattr(balances, name) if balances else None
    return amount


def _mart_rows(report: Report, name: str) -> int | None:
    return next((mart.total_rows for mart in report.marts or () if mart.mart == name), None)


def _current(report: Report, snapshot: str) -> int | None:
    return next((entry.current_versions for entry in report.scd2 or () if entry.snapshot == snapshot), None)


def _shares(counts: Sequence[int | None]) -> list[float]:
    known = [max(count or 0, 0) for count in counts]
    return [count / (sum(known) or 1) for count in known]


def _thickness(share: float) -> float:
    return max(share * BAND, THINNEST) if share else 0.0


def _height(step: Step, share: float) -> float:
    return max(1.3 * step.lines + MARGIN, _thickness(share) + MARGIN)


def _ribbons(
    steps: Sequence[Step], shares: Sequence[float], start: float, heights: Sequence[float], height: float
) -> tuple[Ribbon, ...]:
    """Return a ribbon for each step that has records: from one band around `start` to the middle of its row."""
    thick = [_thickness(share) for share in shares]
    left, top = start - sum(thick) / 2, (height - sum(heights)) / 2
    ribbons = []
    for step, width, row in zip(steps, thick, heights, strict=True):
        right = top + (row - width) / 2
        if width:
            a, b, c, d = (f"{10 * y:.1f}" for y in (left, right, right + width, left + width))
            ribbons.append(Ribbon(step.kind, f"M0 {a}C50 {a} 50 {b} 100 {b}V{c}C50 {c} 50 {d} 0 {d}Z"))
        left, top = left + width, top + row
    return tuple(ribbons)
