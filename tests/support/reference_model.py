"""The pipeline's tables as plain Python makes them: written from sections 4 to 6 of the design, and from nothing else.

It shares no code, regular expression or SQL with the pipeline. It is slow and simple on purpose: each rule stands where
the design has it, and nothing is done but once per delivery. Cells are text as tests.support.tables reads them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import ROUND_HALF_UP, Decimal
from itertools import zip_longest

Row = dict[str, object]

FIELDS = {
    "customer": ("customer_id", "name", "has_loan"),
    "account": ("account_id", "customer_id", "balance", "account_type"),
}
"""The columns of the files, in the order of the design's headers."""

CENT = Decimal("0.01")
BIGGEST_ID = 2**63 - 1
BLANKS = "".join(
    chr(code)
    for code in (
        0x09, 0x0A, 0x0B, 0x0C, 0x0D, 0x20, 0x85, 0xA0, 0x1680, *range(0x2000, 0x200C),
        0x2028, 0x2029, 0x202F, 0x205F, 0x2060, 0x3000, 0xFEFF,
    )
)  # fmt: skip
"""White space and invisible characters, which are no part of a value at its ends."""


@dataclass(frozen=True)
class Rates:
    """A set of rates, and the day from whose midnight (UTC) it holds; None: from the beginning."""

    since: date | None
    tiers: tuple[tuple[str, str], ...]
    """Lowest balance and rate of each tier, the highest first."""
    loan_bonus: str

    def of(self, balance: Decimal, has_loan: object) -> Decimal:
        rate = next(Decimal(rate) for edge, rate in self.tiers if balance >= Decimal(edge))
        return rate + (Decimal(self.loan_bonus) if has_loan else 0)


RATES = (Rates(None, (("20000", "0.02"), ("10000", "0.015"), ("0", "0.01")), "0.005"),)
"""The rates of the design."""


@dataclass(frozen=True)
class Record:
    """A record of an extract: its fields in the order of FIELDS, None (or the end) where it has no such field."""

    fields: tuple[str | None, ...]
    malformed: str | None = None
    raw: str | None = None
    """Its text, where that is not just its fields joined by commas."""

    @property
    def identity(self) -> tuple[object, ...]:
        """What makes it the same record in another delivery: its fields as received; of a malformed one, its text."""
        return (self.fields, None) if self.malformed is None else (self.fields, self.raw or "")


@dataclass
class Version:
    """A version of a key: its columns beside the key, and from when until when it is valid."""

    columns: Row
    loaded_at: datetime
    valid_from: datetime
    valid_to: datetime | None = None


@dataclass
class Classified:
    """One record after cleaning."""

    record: Record
    number: int
    loaded_at: datetime
    key: object
    columns: Row
    reasons: list[str]
    status: str = "staged"


def ascii_lower(text: str) -> str:
    return "".join(chr(ord(c) + 32) if "A" <= c <= "Z" else c for c in text)


def simple_lower(text: str) -> str:
    """One character to one: Python's lower() would make two of the Turkish dotted I."""
    return "".join("i" if c == "İ" else c.lower() for c in text)


def clean(text: str | None) -> str | None:
    if text is None:
        return None
    trimmed = text.strip(BLANKS)
    return None if ascii_lower(trimmed) in ("", "null", "n/a", "none") else trimmed


def all_digits(text: str) -> bool:
    return text != "" and all(c in "0123456789" for c in text)


def clean_id(text: str | None) -> tuple[int | None, str | None]:
    """Return the customer_id, or None and why."""
    text = clean(text)
    if text is None:
        return None, "customer_id is missing"
    if not all_digits(text):
        return None, "customer_id is not a whole number"
    digits = text.lstrip("0")
    if digits == "":
        return None, "customer_id is zero"
    if len(digits) > 19 or int(digits) > BIGGEST_ID:
        return None, "customer_id is over 9223372036854775807"
    return int(digits), None


def clean_flag(text: str | None) -> tuple[bool | None, str | None]:
    text = clean(text)
    if text is None or ascii_lower(text) in ("no", "n", "false", "0"):
        return False, None
    if ascii_lower(text) in ("yes", "y", "true", "1"):
        return True, None
    return None, "has_loan is not a yes/no value"


def clean_balance(text: str | None) -> tuple[Decimal | None, str | None]:
    text = clean(text)
    if text is None:
        return None, "balance is missing"
    unsigned = text[1:] if text[0] in "+-" else text
    whole, point, cents = unsigned.partition(".")
    if not all_digits(whole) or (point and not all_digits(cents)):
        return None, "balance is not a number"
    if text[0] == "-" and any(c in "123456789" for c in unsigned):
        return None, "balance is negative"
    if len(whole.lstrip("0")) > 16:
        return None, "balance has more than 16 integer digits"
    amount = Decimal(unsigned).quantize(CENT, ROUND_HALF_UP)
    if amount >= 10**16:
        return None, "balance has more than 16 integer digits"
    return amount, None


def clean_type(text: str | None) -> tuple[str | None, str | None]:
    text = clean(text)
    if text is None:
        return None, "account_type is missing"
    if ascii_lower(text) in ("savings", "checking"):
        return ascii_lower(text), None
    return None, "account_type is not savings or checking"


def judge_customer(record: Row) -> tuple[object, Row, list[str | None]]:
    """Return the key, the columns beside it and all reasons against the record."""
    key, bad_key = clean_id(record["customer_id"])
    name = clean(record["name"])
    flag, bad_flag = clean_flag(record["has_loan"])
    columns: Row = {"customer_name": simple_lower(name) if name is not None else None, "has_loan_flag": flag}
    return key, columns, [bad_key, None if name is not None else "name is missing", bad_flag]


def judge_account(record: Row) -> tuple[object, Row, list[str | None]]:
    key = clean(record["account_id"])
    customer, bad_customer = clean_id(record["customer_id"])
    balance, bad_balance = clean_balance(record["balance"])
    type_, bad_type = clean_type(record["account_type"])
    columns: Row = {"customer_id": customer, "balance_amount": balance, "account_type": type_}
    return key, columns, [None if key is not None else "account_id is missing", bad_customer, bad_balance, bad_type]


@dataclass
class Entity:
    """Customers or accounts: the current delivery's records, and the history of every key."""

    name: str
    arrived: dict[tuple[object, ...], datetime] = field(default_factory=dict)
    classified: list[Classified] = field(default_factory=list)
    history: dict[object, list[Version]] = field(default_factory=lambda: defaultdict(list))

    @property
    def key(self) -> str:
        return f"{self.name}_id"

    def deliver(self, at: datetime, records: Sequence[Record]) -> None:
        self.arrived = {record.identity: self.arrived.get(record.identity, at) for record in records}
        self.classified = [self._classify(number, record) for number, record in enumerate(records, start=1)]
        self._judge_copies()
        self._keep_history(at)

    def current(self) -> dict[object, Version]:
        return {key: versions[-1] for key, versions in self.history.items() if versions[-1].valid_to is None}

    def _classify(self, number: int, record: Record) -> Classified:
        judge = judge_customer if self.name == "customer" else judge_account
        key, columns, against = judge(self._fields(record))
        reasons = [f"malformed record: {record.malformed}"] if record.malformed else [why for why in against if why]
        status = "quarantined" if reasons else "staged"
        return Classified(record, number, self.arrived[record.identity], key, columns, reasons, status)

    def _fields(self, record: Record) -> Row:
        return dict(zip_longest(FIELDS[self.name], record.fields))

    def _judge_copies(self) -> None:
        copies = defaultdict(list)
        for classified in self.classified:
            if classified.status == "staged":
                copies[classified.key].append(classified)
        for group in copies.values():
            if any(classified.columns != group[0].columns for classified in group):
                for classified in group:
                    classified.status, classified.reasons = "quarantined", ["conflicting duplicate"]
            else:
                for classified in sorted(group, key=lambda classified: (classified.loaded_at, classified.number))[1:]:
                    classified.status = "duplicate"

    def _keep_history(self, at: datetime) -> None:
        staged = {classified.key: classified for classified in self.classified if classified.status == "staged"}
        quarantined = {classified.key for classified in self.classified if classified.status == "quarantined"}
        for key, version in self.current().items():
            if key not in staged and key not in quarantined:
                version.valid_to = at
        current = self.current()
        for key, classified in staged.items():
            version = current.get(key)
            if version is None or classified.columns != version.columns:
                if version:
                    version.valid_to = at
                loaded_at = at if self.name == "customer" else classified.loaded_at
                self.history[key].append(Version(classified.columns, loaded_at, at))

    def source(self) -> list[Row]:
        return [
            {
                **self._fields(classified.record),
                "source_row_number": classified.number,
                "loaded_at": classified.loaded_at,
                "raw_record": classified.record.raw,
                "malformed_reason": classified.record.malformed,
            }
            for classified in self.classified
        ]

    def staging(self) -> list[Row]:
        return [
            {self.key: classified.key, **classified.columns, "loaded_at": classified.loaded_at}
            for classified in self.classified
            if classified.status == "staged"
        ]

    def quarantine(self) -> list[Row]:
        return [
            {
                **self._fields(classified.record),
                "raw_record": classified.record.raw,
                "source_row_number": classified.number,
                "failure_reasons": "; ".join(classified.reasons),
                "loaded_at": classified.loaded_at,
            }
            for classified in self.classified
            if classified.status == "quarantined"
        ]

    def snapshot(self) -> list[Row]:
        """Return the versions without dbt_scd_id; dbt_updated_at is when a version begins."""
        return [
            {
                self.key: key,
                **version.columns,
                "loaded_at": version.loaded_at,
                "dbt_updated_at": version.valid_from,
                "dbt_valid_from": version.valid_from,
                "dbt_valid_to": version.valid_to,
            }
            for key, versions in self.history.items()
            for version in versions
        ]


class Reference:
    """All tables after each delivery. `deliver()` takes naive UTC times, each later than the one before."""

    def __init__(self, rates: Sequence[Rates] = RATES) -> None:
        self.rates = rates
        self.customers = Entity("customer")
        self.accounts = Entity("account")
        self.joined: list[Row] = []
        self.summary: dict[object, Row] = {}
        self.profile: dict[object, Row] = {}

    def deliver(self, at: datetime, customers: Sequence[Record], accounts: Sequence[Record]) -> None:
        self.customers.deliver(at, customers)
        self.accounts.deliver(at, accounts)
        owners = self.customers.current()
        self.joined = [
            {
                "account_id": key,
                **account.columns,
                **owners[account.columns["customer_id"]].columns,
                "valid_from_at": max(account.valid_from, owners[account.columns["customer_id"]].valid_from),
            }
            for key, account in self.accounts.current().items()
            if account.columns["customer_id"] in owners
        ]
        in_force = max(
            (rates for rates in self.rates if (rates.since or date.min) <= at.date()),
            key=lambda rates: rates.since or date.min,
        )
        summary = {row["account_id"]: interest(row, in_force) for row in self.savings()}
        self.summary = {key: calculated(row, self.summary.get(key), at) for key, row in summary.items()}
        profile = totals(self.savings(), summary)
        self.profile = {key: calculated(row, self.profile.get(key), at) for key, row in profile.items()}

    def savings(self) -> list[Row]:
        return [row for row in self.joined if row["account_type"] == "savings"]

    def tables(self) -> dict[str, list[dict[str, str]]]:
        """Return the rows of each table, cells as text."""
        rows = {
            "src_customer": self.customers.source(),
            "src_account": self.accounts.source(),
            "stg_customer": self.customers.staging(),
            "stg_account": self.accounts.staging(),
            "quarantine_customer": self.customers.quarantine(),
            "quarantine_account": self.accounts.quarantine(),
            "snap_customer": self.customers.snapshot(),
            "snap_account": self.accounts.snapshot(),
            "int_account_with_customer": self.joined,
            "int_savings_account_only": self.savings(),
            "account_summary": list(self.summary.values()),
            "customer_profile": list(self.profile.values()),
        }
        return {
            table: [{column: as_text(cell) for column, cell in row.items()} for row in found]
            for table, found in rows.items()
        }


def interest(savings: Row, rates: Rates) -> Row:
    balance = savings["balance_amount"]
    assert isinstance(balance, Decimal)
    rate = rates.of(balance, savings["has_loan_flag"])
    earned = (balance * rate).quantize(CENT, ROUND_HALF_UP)
    return {
        "account_id": savings["account_id"],
        "customer_id": savings["customer_id"],
        "original_balance_amount": balance,
        "interest_rate_pct": rate.quantize(Decimal("0.0001")),
        "annual_interest_amount": earned,
        "new_balance_amount": balance + earned,
    }


def totals(savings: list[Row], summary: dict[object, Row]) -> dict[object, Row]:
    accounts_of = defaultdict(list)
    for row in savings:
        accounts_of[row["customer_id"], row["customer_name"], row["has_loan_flag"]].append(summary[row["account_id"]])
    return {
        customer: {
            "customer_id": customer,
            "customer_name": name,
            "has_loan_flag": has_loan,
            "total_accounts_count": len(accounts),
            "total_balance_amount": sum((row["original_balance_amount"] for row in accounts), Decimal(0)),
            "total_annual_interest_amount": sum((row["annual_interest_amount"] for row in accounts), Decimal(0)),
        }
        for (customer, name, has_loan), accounts in accounts_of.items()
    }


def calculated(row: Row, before: Row | None, at: datetime) -> Row:
    """Add calculated_at: as before where nothing else has changed."""
    unchanged = before is not None and {**before, "calculated_at": None} == {**row, "calculated_at": None}
    return {**row, "calculated_at": before["calculated_at"] if before and unchanged else at}


def as_text(cell: object) -> str:
    match cell:
        case None:
            return "<null>"
        case bool():
            return "true" if cell else "false"
        case Decimal():
            return f"{cell:f}"
        case datetime():
            return cell.isoformat(sep=" ")
        case _:
            return str(cell)
