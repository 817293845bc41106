"""The content of an explanation."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Annotated, Literal

from pydantic import Field, PlainSerializer

from include.quality.report import Count, EntityName, FileName, Money, OrphanReason, Row, Section, Time

Number = Annotated[Decimal, PlainSerializer(str)]
"""An exact number that is not an amount of money: a rate, or a product before rounding. In JSON it is text."""

Event = Literal[
    "new",
    "changed",
    "closed",
    "returned",
    "quarantined",
    "no longer quarantined",
    "received differently",
    "customer changed",
    "rates changed",
    "totals changed",
]
"""What a delivery did to a key, the most important first."""


class Received(Section):
    """A record of the key in the file of a delivery."""

    row_number: int = Field(description="Its place in the file, 1 for the first record.")
    fields: Row = Field(description="The declared columns, as received.")
    raw_record: str | None = Field(description="Its text, where that is not the fields joined by commas.")
    status: Literal["staged", "duplicate", "quarantined"] = Field(description="What became of it.")
    reasons: tuple[str, ...] = Field(description="Why it was quarantined.")


class Version(Section):
    """A version of the key in the snapshot."""

    columns: Row = Field(description="The cleaned values.")
    valid_from: Time = Field(description="delivered_at of the delivery that made it.")
    valid_to: Time | None = Field(description="delivered_at of the one that ended it; null: it is current.")


class Change(Section):
    """A column that differs from the version before."""

    column: str = Field(description="Its name.")
    before: str | None = Field(description="Its value then.")
    after: str | None = Field(description="Its value now.")


class Interest(Section):
    """A year's interest on an account: balance x (base rate + bonus), rounded half away from zero."""

    balance_amount: Money = Field(description="The balance.")
    rates_from_date: date | None = Field(description="The day from which the set of rates holds; null: always.")
    from_balance_amount: Money = Field(description="Lowest balance of the tier.")
    below_balance_amount: Money | None = Field(description="Where the next tier begins; null: the highest tier.")
    base_rate_pct: Number = Field(description="Rate of the tier, as a fraction.")
    loan_bonus_pct: Number = Field(description="What a customer with a loan gets on top; 0 without one.")
    interest_rate_pct: Number = Field(description="Their sum.")
    product: Number = Field(description="The balance times that, before it is rounded.")
    annual_interest_amount: Money = Field(description="The product, rounded to the cent.")
    new_balance_amount: Money = Field(description="The balance with it.")


class Profile(Section):
    """A customer's row in customer_profile."""

    total_accounts_count: Count = Field(description="Savings accounts.")
    total_balance_amount: Money = Field(description="Their balances.")
    total_annual_interest_amount: Money = Field(description="Their yearly interest.")


class Episode(Section):
    """Consecutive deliveries with the same explanation. The details are those of the first one."""

    first: Time = Field(description="delivered_at of the first one.")
    last: Time = Field(description="delivered_at of the last one.")
    deliveries: Count = Field(description="How many they are.")
    run_id: str = Field(description="The run that landed the first one.")
    file: FileName = Field(description="The file that the records are of.")
    events: tuple[Event, ...] = Field(description="What the first one did.")
    received: tuple[Received, ...] = Field(description="The key's records; none: it was absent.")
    version: Version | None = Field(description="The version that was current.")
    is_stale: bool = Field(description="Whether the version is older than records that were all quarantined.")
    changes: tuple[Change, ...] = Field(description="What differs from the version before.")
    orphan: OrphanReason | None = Field(description="Why an account had no current customer; null: it had one.")
    interest: Interest | None = Field(description="The interest, of a savings account with a customer.")
    profile: Profile | None = Field(description="The totals, of a customer with such accounts.")
    exported_in: tuple[str, ...] = Field(description="The exports that carried it.")


class Explanation(Section):
    """The history of a key, delivery by delivery."""

    entity: EntityName = Field(description="customer or account.")
    key: str = Field(description="The key.")
    first: Time = Field(description="delivered_at of the landing's first delivery.")
    until: Time = Field(description="delivered_at of the last one that was looked at.")
    deliveries: Count = Field(description="How many processed deliveries were looked at.")
    versions: Count = Field(description="How many versions the key has in the snapshot.")
    episodes: tuple[Episode, ...] = Field(description="What became of it, from its first record on.")
