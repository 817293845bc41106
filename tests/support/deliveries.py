"""Deliveries as the tests write them: extracts in CSV, and their days."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from datetime import UTC, datetime
from io import StringIO
from pathlib import Path

CUSTOMERS_HEADER = "CustomerID,Name,HasLoan"
ACCOUNTS_HEADER = "AccountID,CustomerID,Balance,AccountType"


def customer(customer_id: str = "1", *, name: str = "Ada", has_loan: str = "no") -> str:
    """Return a record of customers.csv."""
    return _record(customer_id, name, has_loan)


def account(
    account_id: str = "A1", *, customer_id: str = "1", balance: str = "100.00", account_type: str = "savings"
) -> str:
    """Return a record of accounts.csv."""
    return _record(account_id, customer_id, balance, account_type)


def _record(*fields: str) -> str:
    """Join the fields of a record, quoted where they need it."""
    line = StringIO()
    csv.writer(line).writerow(fields)
    return line.getvalue().removesuffix("\r\n")


def day(number: int) -> datetime:
    """Return the logical date of a day of January 2026, at the hour of the schedule."""
    return datetime(2026, 1, number, 2, tzinfo=UTC)


def write_extracts(folder: Path, customers: Iterable[str], accounts: Iterable[str]) -> None:
    """Write both extracts into `folder`, from records without their headers."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "customers.csv").write_text("\n".join([CUSTOMERS_HEADER, *customers, ""]), encoding="utf-8")
    (folder / "accounts.csv").write_text("\n".join([ACCOUNTS_HEADER, *accounts, ""]), encoding="utf-8")
