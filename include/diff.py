"""Compare what was published after two deliveries: `python -m include.diff 2026-01-05 2026-01-07`.

Lists the keys that are new, changed, closed or back, and what moved the savings balances and their yearly interest.
Reads the snapshots and the dated rates on either engine; it needs the ledger, and none of the landed files.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from include import duckdb_paths, duckdb_session
from include.entities import ACCOUNT, CUSTOMER, ENTITIES, Entity
from include.errors import PipelineError, run_command
from include.exports import writing
from include.files import replacing
from include.ledger import Delivery, Ledger, time_text
from include.past import moment, patiently, processed_until
from include.quality.masking import shown_columns
from include.quality.money import interest_of, rates_of, total
from include.quality.report import Count, EntityName, Money, Section, Time
from include.quality.tables import rows, time_literal
from include.settings import Settings, load_settings
from include.warehouse import Warehouse, open_warehouse

Cause = Literal["balance", "type", "loan flag", "rate", "new", "closed"]
CAUSES: dict[Cause, str] = {
    "balance": "balance",
    "type": "type",
    "loan flag": "loan",
    "rate": "rate",
    "new": "new",
    "closed": "closed",
}
"""The causes, each with the beginning of its columns in SQL."""

CHANGES = ("new", "changed", "closed", "returned")


class Keys(Section):
    """How an entity's keys changed."""

    entity: EntityName = Field(description="customer or account.")
    new: Count = Field(description="Keys that had never been there up to the first delivery.")
    changed: Count = Field(description="Keys that are there both times, with other values.")
    closed: Count = Field(description="Keys that were there only after the first delivery.")
    returned: Count = Field(description="Keys that were away after the first delivery, and had been there before.")


class MovementCause(Section):
    """What one cause moved."""

    cause: Cause = Field(
        description="balance, loan flag, rate: of accounts that bear interest both times. type: became savings, or "
        "stopped being savings. new, closed: any other account that bears interest only one time."
    )
    accounts: Count = Field(description="Accounts whose amount it moved.")
    amount: Money = Field(description="By how much.")


class Movement(Section):
    """A total of account_summary at both times: before + all causes = after."""

    before: Money = Field(description="After the first delivery.")
    after: Money = Field(description="After the second delivery.")
    causes: tuple[MovementCause, ...] = Field(description="What moved it.")


class Difference(Section):
    """The differences between what was published after two deliveries."""

    first: Time = Field(description="delivered_at of the first one.")
    second: Time = Field(description="delivered_at of the second one.")
    keys: tuple[Keys, ...] = Field(description="The keys of customers and of accounts.")
    balance: Movement = Field(description="Balances of the accounts that bear interest.")
    interest: Movement = Field(description="Their yearly interest.")


def difference(warehouse: Warehouse, first: Delivery, second: Delivery) -> Difference:
    """Compare two deliveries, the earlier one first. Raises WarehouseError."""
    balance, interest = _movements(warehouse, first, second)
    return Difference(
        first=first.delivered_at,
        second=second.delivered_at,
        keys=tuple(_keys(warehouse, entity, first, second) for entity in ENTITIES),
        balance=balance,
        interest=interest,
    )


def _keys(warehouse: Warehouse, entity: Entity, first: Delivery, second: Delivery) -> Keys:
    counts = ", ".join(f"count(case when what = '{change}' then 1 end) as {change}" for change in CHANGES)
    changed_rows = _changed_rows(warehouse, entity, columns_of(warehouse, entity), first, second)
    [row] = rows(warehouse, f"select {counts} from ({changed_rows}) as changed_rows")
    return Keys(entity=entity.name, **row)


def _changed_rows(
    warehouse: Warehouse, entity: Entity, columns: Sequence[str], first: Delivery, second: Delivery
) -> str:
    """Return a query for the keys that differ: how (`what`), the key, and each column before and after."""
    snapshot = warehouse.relation("snapshots", entity.snapshot)
    differs = " or ".join(f"one.{column} is distinct from two.{column}" for column in columns)
    both = ", ".join(f"one.{column} as {column}_before, two.{column} as {column}_after" for column in columns)
    return f"""
        select * from (
            select
                coalesce(one.{entity.key}, two.{entity.key}) as {entity.key},
                case
                    when two.{entity.key} is null then 'closed'
                    when one.{entity.key} is null and known.{entity.key} is null then 'new'
                    when one.{entity.key} is null then 'returned'
                    when {differs} then 'changed'
                end as what,
                {both}
            from (select * from {snapshot} where {_was_valid(first)}) as one
            full outer join (select * from {snapshot} where {_was_valid(second)}) as two
                on one.{entity.key} = two.{entity.key}
            left join (
                select distinct {entity.key} from {snapshot} where dbt_valid_from <= {time_literal(first.delivered_at)}
            ) as known on two.{entity.key} = known.{entity.key}
        ) as compared
        where what is not null
    """


def columns_of(warehouse: Warehouse, entity: Entity) -> list[str]:
    """Return the columns of an entity's versions that describe it, without the key."""
    names = warehouse.query(f"select * from {warehouse.relation('snapshots', entity.snapshot)} limit 0").column_names
    return [name for name in names if name not in (entity.key, "loaded_at") and not name.startswith("dbt_")]


def _was_valid(delivery: Delivery) -> str:
    """Return the condition that a version was current after a delivery."""
    at = time_literal(delivery.delivered_at)
    return f"dbt_valid_from <= {at} and (dbt_valid_to is null or dbt_valid_to > {at})"


def _movements(warehouse: Warehouse, first: Delivery, second: Delivery) -> tuple[Movement, Movement]:
    """Return what moved the balances and the interest of the accounts that bear interest.

    An account that bears it both times is calculated with the new balance, then also with the new loan flag, then also
    with the new rates. The change at each step is assigned to that cause.
    """
    before, after = (rates_of(warehouse, delivery.delivered_at) for delivery in (first, second))
    interest_before = interest_of("one.balance_amount", "one.has_loan_flag", before)
    with_balance = interest_of("two.balance_amount", "one.has_loan_flag", before)
    with_loan = interest_of("two.balance_amount", "two.has_loan_flag", before)
    interest_after = interest_of("two.balance_amount", "two.has_loan_flag", after)
    moved = {
        "interest": {
            "balance": "case when what = 'stays' then with_balance - interest_before end",
            "type": "case when what = 'type' then coalesce(interest_after, 0) - coalesce(interest_before, 0) end",
            "loan": "case when what = 'stays' then with_loan - with_balance end",
            "rate": "case when what = 'stays' then interest_after - with_loan end",
            "new": "case when what = 'new' then interest_after end",
            "closed": "case when what = 'closed' then -interest_before end",
        },
        "balance": {
            "balance": "case when what = 'stays' then balance_after - balance_before end",
            "type": "case when what = 'type' then coalesce(balance_after, 0) - coalesce(balance_before, 0) end",
            "new": "case when what = 'new' then balance_after end",
            "closed": "case when what = 'closed' then -balance_before end",
        },
    }
    measured = [f"{total(f'{of}_{when}')} as {of}_{when}" for of in moved for when in ("before", "after")]
    for of, causes in moved.items():
        for name, expression in causes.items():
            measured.append(f"{total(expression)} as {of}_{name}_amount")
            measured.append(f"count(nullif({expression}, 0)) as {of}_{name}_count")
    [row] = rows(
        warehouse,
        f"""
        with accounts_before as ({_accounts(warehouse, first)}),

        accounts_after as ({_accounts(warehouse, second)}),

        compared as (

            select
                case
                    when one.bears_interest and two.bears_interest then 'stays'
                    when two.bears_interest and one.account_type <> 'savings' then 'type'
                    when two.bears_interest then 'new'
                    when one.bears_interest and two.account_type <> 'savings' then 'type'
                    when one.bears_interest then 'closed'
                end as what,
                case when one.bears_interest then one.balance_amount end as balance_before,
                case when two.bears_interest then two.balance_amount end as balance_after,
                case when one.bears_interest then {interest_before} end as interest_before,
                {with_balance} as with_balance,
                {with_loan} as with_loan,
                case when two.bears_interest then {interest_after} end as interest_after
            from accounts_before as one
            full outer join accounts_after as two on one.account_id = two.account_id

        )

        select {", ".join(measured)} from compared
        """,
    )
    return _movement("balance", row), _movement("interest", row)


def _accounts(warehouse: Warehouse, delivery: Delivery) -> str:
    """Return a query for the accounts that were current after a delivery, and whether they bore interest."""
    accounts, customers = (warehouse.relation("snapshots", entity.snapshot) for entity in (ACCOUNT, CUSTOMER))
    return f"""
        select
            account.account_id,
            account.account_type,
            account.balance_amount,
            customer.has_loan_flag,
            account.account_type = 'savings' and customer.customer_id is not null as bears_interest
        from (select * from {accounts} where {_was_valid(delivery)}) as account
        left join (select * from {customers} where {_was_valid(delivery)}) as customer
            on account.customer_id = customer.customer_id
    """


def _movement(of: str, row: dict[str, Any]) -> Movement:
    causes = tuple(
        MovementCause(
            cause=cause,
            accounts=row.get(f"{of}_{name}_count", 0),
            amount=row.get(f"{of}_{name}_amount", Decimal("0.00")),
        )
        for cause, name in CAUSES.items()
    )
    return Movement(before=row[f"{of}_before"], after=row[f"{of}_after"], causes=causes)


def write_changed_rows(
    warehouse: Warehouse, first: Delivery, second: Delivery, folder: Path, *, show_names: bool = False
) -> tuple[Path, ...]:
    """Write the keys that differ, with each column before and after, as a CSV for customers and one for accounts.

    Columns that are not known to be harmless are masked unless `show_names` is set. Rows are ordered by key and
    streamed. Raises WarehouseError, ExportError (e.g. when the disk is full) or OSError.
    """
    written = []
    for entity in ENTITIES:
        path = folder / f"changed_{entity.file}.csv"
        columns = columns_of(warehouse, entity)
        query = f"{_changed_rows(warehouse, entity, columns, first, second)} order by {entity.key}"
        hidden = set() if show_names else set(columns) - shown_columns()
        masked = ", ".join(
            f"case when {column}_{when} is not null then '***' end as {column}_{when}"
            for column in sorted(hidden)
            for when in ("before", "after")
        )
        with (
            replacing(path) as temporary,
            warehouse.stream(query) as reader,
            writing(path),
            duckdb_session.connect() as writer,
        ):
            writer.register("changed", reader)
            writer.execute(
                f"copy (select *{f' replace ({masked})' if masked else ''} from changed) "
                f"to {duckdb_paths.literal(temporary)} (format csv, header)"
            )
        written.append(path)
    return tuple(written)


def text_of(found: Difference) -> str:
    """Return the differences as a few lines for a terminal."""
    lines = [f"from       {time_text(found.first)}", f"to         {time_text(found.second)}"]
    for keys in found.keys:
        counts = [f"{getattr(keys, change):,} {change}" for change in CHANGES if getattr(keys, change)]
        lines.append(f"{f'{keys.entity}s':<10} {', '.join(counts) or 'as they were'}")
    for name, movement in (("balance", found.balance), ("interest", found.interest)):
        moved = movement.after - movement.before
        lines.append(f"{name:<10} {movement.after:,.2f}, before {movement.before:,.2f}: {moved:+,.2f}")
        lines += [
            f"{'':<10}   {cause.amount:+,.2f} {cause.cause} "
            f"({cause.accounts:,} {'account' if cause.accounts == 1 else 'accounts'})"
            for cause in movement.causes
            if cause.accounts
        ]
    return "\n".join(lines)


def compare(settings: Settings, at: Sequence[datetime]) -> tuple[Warehouse, Delivery, Delivery]:
    """Return the warehouse and the deliveries that were current at two moments, the earlier one first."""
    ledger = Ledger.load(settings.landing_path)
    first, second = (processed_until(ledger, each)[-1] for each in sorted(at))
    if first == second:
        raise PipelineError(
            f"both are the delivery of {time_text(first.delivered_at)}: nothing was processed between them"
        )
    return open_warehouse(settings, run_id="diff"), first, second


def main(arguments: list[str] | None = None) -> int:
    """Return 0, or 1 with one line on stderr that says what is wrong."""
    parser = argparse.ArgumentParser(prog="python -m include.diff", description=__doc__)
    parser.add_argument("at", type=moment, nargs=2, help="a day (UTC), or a time such as 2026-01-06T02:00:00Z")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--csv", type=Path, metavar="FOLDER", help="write the changed rows there, a file per entity")
    parser.add_argument("--show-names", action="store_true", help="do not mask names in the CSV")
    options = parser.parse_args(arguments)

    def show() -> None:
        warehouse, first, second = compare(load_settings(), options.at)
        found = patiently(lambda: difference(warehouse, first, second))
        print(found.model_dump_json(indent=2) if options.json else text_of(found))
        if options.csv:
            for path in patiently(
                partial(write_changed_rows, warehouse, first, second, options.csv, show_names=options.show_names)
            ):
                print(path, file=sys.stderr if options.json else sys.stdout)

    return run_command(show)


if __name__ == "__main__":
    sys.exit(main())
