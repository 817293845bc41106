"""Deliveries as the tests write them: extracts in CSV, and their days."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path

CUSTOMERS_HEADER = "CustomerID,Name,HasLoan"
ACCOUNTS_HEADER = "AccountID,CustomerID,Balance,AccountType"

WriteExtracts = Callable[[Iterable[str], Iterable[str]], None]


def day(number: int) -> datetime:
    """Return the logical date of a day of January 2026, at the hour of the schedule."""
    return datetime(2026, 1, number, 2, tzinfo=UTC)


def write_extracts(folder: Path, customers: Iterable[str], accounts: Iterable[str]) -> None:
    """Write both extracts into `folder`, from records without their headers."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "customers.csv").write_text("\n".join([CUSTOMERS_HEADER, *customers, ""]), encoding="utf-8")
    (folder / "accounts.csv").write_text("\n".join([ACCOUNTS_HEADER, *accounts, ""]), encoding="utf-8")
