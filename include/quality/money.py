"""The money of a delivery: balances from the file to the exports, and the yearly interest before and after."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from include import duckdb_paths, duckdb_session
from include.exports import MANIFEST
from include.ledger import Delivery, time_text
from include.quality.report import Balances, Cause, ExportedFile, Interest, InterestCause, MartChanges
from include.quality.tables import Classified, rows, time_literal
from include.warehouse import Warehouse

Sums = dict[str, Any]
"""Some of the fields of Balances."""

_EQUATIONS = (
    (("received",), ("staged", "duplicates", "quarantined")),
    (("staged", "stale"), ("current",)),
    (("current",), ("orphaned", "checking", "savings")),
    (("savings",), ("summarized",)),
    (("summarized",), ("profiled",)),
    (("summarized",), ("exported",)),
    (("summarized", "interest"), ("with_interest",)),
    (("interest",), ("profiled_interest",)),
    (("interest",), ("exported_interest",)),
)


def balances(sums: Mapping[str, Any]) -> Balances:
    """Return the balances and the equations that don't hold. A sum that is not given is null."""
    mismatches = []
    for left, right in _EQUATIONS:
        if any(sums.get(name) is None for name in (*left, *right)):
            continue
        if sum(sums[name] for name in left) != sum(sums[name] for name in right):
            sides = (" + ".join(f"{name} {sums[name]:.2f}" for name in side) for side in (left, right))
            mismatches.append(" is not ".join(sides))
    fields = (name for name in Balances.model_fields if name != "mismatches")
    return Balances(**{name: sums.get(name) for name in fields}, mismatches=tuple(mismatches))


def of_file(classified: Sequence[Classified]) -> Sums:
    """Return the sums over the records of accounts.csv. The balance of a malformed record may be another field."""
    readable = [group for group in classified if not group.is_malformed]

    def of_status(*statuses: str) -> Decimal:
        return sum((group.balance for group in readable if group.status in statuses), Decimal())

    quarantined = [group for group in classified if group.status == "quarantined"]
    return {
        "received": sum((group.balance for group in readable), Decimal()),
        "staged": of_status("staged"),
        "duplicates": of_status("duplicate"),
        "quarantined": of_status("quarantined"),
        "unreadable_records": sum(
            group.records - (0 if group.is_malformed else group.with_balance) for group in quarantined
        ),
    }


def of_history(warehouse: Warehouse) -> Sums:
    """Return the sum over all current accounts."""
    row = rows(
        warehouse,
        f"select {total('balance_amount')} as current_sum from {warehouse.relation('snapshots', 'snap_account')} "
        "where dbt_valid_to is null",
    )[0]
    return {"current": row["current_sum"]}


def of_intermediate(warehouse: Warehouse) -> Sums:
    """Return the sums over the accounts with a customer."""
    row = rows(
        warehouse,
        f"""
        select
            {total("case when account_type = 'savings' then balance_amount end")} as savings,
            {total("case when account_type <> 'savings' then balance_amount end")} as checking
        from {warehouse.relation("intermediate", "int_account_with_customer")}
        """,
    )[0]
    return row


def of_marts(warehouse: Warehouse, delivery: Delivery) -> tuple[tuple[MartChanges, ...], Sums]:
    """Return each mart's rows and how many of them the delivery made or changed, and the sums, in one pass each."""
    sums = {
        "account_summary": {
            "summarized": "original_balance_amount",
            "interest": "annual_interest_amount",
            "with_interest": "new_balance_amount",
        },
        "customer_profile": {"profiled": "total_balance_amount", "profiled_interest": "total_annual_interest_amount"},
    }
    at = time_literal(delivery.delivered_at)
    changes: list[MartChanges] = []
    found: Sums = {}
    for mart, columns in sums.items():
        row = rows(
            warehouse,
            f"""
            select
                count(*) as total_rows,
                count(case when calculated_at = {at} then 1 end) as changed_rows,
                {", ".join(f"{total(column)} as {name}" for name, column in columns.items())}
            from {warehouse.relation("marts", mart)}
            """,
        )[0]
        changes.append(MartChanges(mart=mart, total_rows=row["total_rows"], changed_rows=row["changed_rows"]))
        found |= {name: row[name] for name in columns}
    return tuple(changes), found


def exported(
    output_path: Path, delivery: Delivery, *, run_id: str | None
) -> tuple[tuple[ExportedFile, ...] | None, Sums]:
    """Return the published files and the sums in them; None and no sums if they are not of this delivery.

    With `run_id` they must also be of this run. Raises OSError, ValueError or duckdb.Error if they can't be read.
    """
    if not (output_path / MANIFEST).exists():
        return None, {}
    manifest = json.loads((output_path / MANIFEST).read_text(encoding="utf-8"))
    if manifest["delivered_at"] != time_text(delivery.delivered_at) or run_id not in (None, manifest["run_id"]):
        return None, {}
    files = tuple(
        ExportedFile(file=name, rows=file["rows"], bytes=file["bytes"], sha256=file["sha256"])
        for name, file in manifest["files"].items()
    )
    with duckdb_session.connect() as connection:
        summary = duckdb_paths.read("parquet", output_path / "account_summary.parquet")
        row = connection.execute(
            f"select {total('original_balance_amount')}, {total('annual_interest_amount')} from {summary}"
        ).fetchone()
    return files, dict(zip(("exported", "exported_interest"), row or (), strict=True))


def interest(warehouse: Warehouse, delivery: Delivery, previous: Delivery | None) -> Interest:
    """Return the yearly interest before and after the delivery, by cause.

    account_summary no longer has the previous amounts. They are calculated from the history: the versions valid just
    before the delivery, with the rates of the `previous` one. An account that stays is then calculated with the new
    balance, and then also with the new loan flag; the remaining difference to account_summary is due to the rates.

    Only accounts that the delivery touched are read: those with a new row in account_summary, and those where a version
    of the account or its customer ended. The interest of all others is unchanged. Calculating all 3 million took 7 s.
    """
    at = time_literal(delivery.delivered_at)
    accounts, customers, savings, summaries = (
        warehouse.relation(*table)
        for table in (
            ("snapshots", "snap_account"),
            ("snapshots", "snap_customer"),
            ("intermediate", "int_savings_account_only"),
            ("marts", "account_summary"),
        )
    )
    was_valid = f"dbt_valid_from < {at} and (dbt_valid_to is null or dbt_valid_to >= {at})"
    tiers = rates_of(warehouse, previous.delivered_at if previous else delivery.delivered_at)
    before = interest_of("before_delivery.balance_amount", "before_delivery.has_loan_flag", tiers)
    with_balance = interest_of("after_delivery.balance_amount", "before_delivery.has_loan_flag", tiers)
    with_loan = interest_of("after_delivery.balance_amount", "after_delivery.has_loan_flag", tiers)
    row = rows(
        warehouse,
        f"""
        with saved_before as (

            select account_id, customer_id, balance_amount, dbt_valid_to
            from {accounts}
            where account_type = 'savings' and {was_valid}

        ),

        customers_before as (

            select customer_id, has_loan_flag, dbt_valid_to from {customers} where {was_valid}

        ),

        touched as (

            select account_id from {summaries} where calculated_at = {at}
            union
            select account_id from saved_before where dbt_valid_to = {at}
            union
            select saved_before.account_id
            from saved_before
            inner join customers_before on saved_before.customer_id = customers_before.customer_id
            where customers_before.dbt_valid_to = {at}

        ),

        before_delivery as (

            select saved_before.account_id, saved_before.balance_amount, customers_before.has_loan_flag
            from saved_before
            inner join touched on saved_before.account_id = touched.account_id
            inner join customers_before on saved_before.customer_id = customers_before.customer_id

        ),

        after_delivery as (

            select
                savings.account_id, savings.balance_amount, savings.has_loan_flag, summary.annual_interest_amount
            from {savings} as savings
            inner join touched on savings.account_id = touched.account_id
            inner join {summaries} as summary on savings.account_id = summary.account_id

        ),

        steps as (

            select
                case
                    when before_delivery.account_id is null then 'new'
                    when after_delivery.account_id is null then 'closed'
                    else 'stays'
                end as what,
                {before} as amount_before,
                {with_balance} as new_balance,
                {with_loan} as new_loan,
                after_delivery.annual_interest_amount as amount_after
            from before_delivery
            full outer join after_delivery on before_delivery.account_id = after_delivery.account_id

        ),

        all_accounts as (

            select {total("annual_interest_amount")} as after_sum from {summaries}

        ),

        moved as (

            select
                {total("case when what = 'new' then amount_after end")} as new_sum,
                {total("case when what = 'closed' then -amount_before end")} as closed_sum,
                {total("case when what = 'stays' then new_balance - amount_before end")} as balance_sum,
                {total("case when what = 'stays' then new_loan - new_balance end")} as loan_sum,
                {total("case when what = 'stays' then amount_after - new_loan end")} as rate_sum,
                count(case when what = 'new' and amount_after <> 0 then 1 end) as new_count,
                count(case when what = 'closed' and amount_before <> 0 then 1 end) as closed_count,
                count(case when what = 'stays' and new_balance <> amount_before then 1 end) as balance_count,
                count(case when what = 'stays' and new_loan <> new_balance then 1 end) as loan_count,
                count(case when what = 'stays' and amount_after <> new_loan then 1 end) as rate_count
            from steps

        )

        select * from all_accounts cross join moved
        """,
    )[0]
    columns: dict[Cause, str] = {
        "balance": "balance",
        "loan flag": "loan",
        "rate": "rate",
        "new": "new",
        "closed": "closed",
    }
    causes = tuple(
        InterestCause(cause=cause, accounts=row[f"{column}_count"], amount=row[f"{column}_sum"])
        for cause, column in columns.items()
    )
    moved = sum(cause.amount for cause in causes)
    return Interest(before=row["after_sum"] - moved, after=row["after_sum"], causes=causes)


def rates_of(warehouse: Warehouse, time: datetime) -> list[dict[str, Any]]:
    """Return the tiers that held at a time, from the highest to the lowest."""
    return in_force(all_rates(warehouse), time)


def all_rates(warehouse: Warehouse) -> list[dict[str, Any]]:
    """Return the tiers of every set of rates in the warehouse."""
    found = rows(warehouse, f"select * from {warehouse.relation('marts', 'interest_rate_tier')}")
    return [{"valid_from_date": None, **tier} for tier in found]  # a table from before 1.0 has one set, without a day


def in_force(tiers: Sequence[dict[str, Any]], time: datetime) -> list[dict[str, Any]]:
    """Return the tiers that held at a time, the highest first, as macros/rates_in_force.sql does."""
    day = time.astimezone(UTC).date()
    reached = [tier for tier in tiers if tier["valid_from_date"] is None or tier["valid_from_date"] <= day]
    newest = max((tier["valid_from_date"] for tier in reached if tier["valid_from_date"]), default=None)
    found = [tier for tier in reached if tier["valid_from_date"] == newest]
    return sorted(found, key=lambda tier: tier["from_balance_amount"], reverse=True)


def interest_of(balance: str, has_loan: str, tiers: Sequence[Mapping[str, Any]]) -> str:
    """Return the interest on a balance as an expression: models/marts/account_summary.sql with the tiers written out.

    It is NULL if the balance or the flag is. A rate has four places, so the product has six.
    """
    cases = [
        f"when {balance} >= {tier['from_balance_amount']} then case when {has_loan} "
        f"then {_rate(tier['base_rate_pct'] + tier['loan_bonus_pct'])} "
        f"when not {has_loan} then {_rate(tier['base_rate_pct'])} end"
        for tier in tiers
    ]
    rate = f"case {' '.join(cases)} end" if cases else _rate(Decimal())
    return f"cast(round(cast({balance} as decimal(28, 2)) * {rate}, 2) as decimal(18, 2))"


def _rate(rate: Decimal) -> str:
    return f"cast({rate} as decimal(5, 4))"


def total(expression: str) -> str:
    """Return the sum of an amount as an expression; 0 if there are no rows."""
    return f"cast(coalesce(sum({expression}), 0) as decimal(38, 2))"
