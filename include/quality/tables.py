"""Reads a delivery's records and keys from the tables, in SQL that runs on both engines."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from include.entities import ACCOUNT, ENTITIES, Entity
from include.ledger import Delivery
from include.quality.masking import aware, masked
from include.quality.report import (
    LISTED,
    SAMPLE_ROWS,
    KeyChanges,
    OrphanAccount,
    OrphanAccounts,
    PastReason,
    QuarantineReason,
    Reconciliation,
    Row,
    SnapshotIntegrity,
    StaleKey,
    StaleKeys,
)
from include.warehouse import Warehouse


@dataclass(frozen=True)
class Classified:
    """Records of a file with the same status and reasons; `balance` is the sum over `with_balance` of them."""

    status: str
    reasons: tuple[str, ...]
    records: int
    balance: Decimal
    with_balance: int

    @property
    def is_malformed(self) -> bool:
        """True if their fields may be shifted into other columns."""
        return any(reason.startswith("malformed record") for reason in self.reasons)


def classified_records(warehouse: Warehouse, entity: Entity) -> tuple[Classified, ...]:
    """Return the outcomes of a file's records, in one pass."""
    balance = _balance_of(entity, "records")
    found = rows(
        warehouse,
        f"""
        select record_status, failure_reasons, count(*) as records,
            cast(coalesce(sum({balance}), 0) as decimal(38, 2)) as balance, count({balance}) as with_balance
        from {_checked(warehouse, entity)} as records
        group by record_status, failure_reasons
        """,
    )
    return tuple(
        Classified(
            status=row["record_status"],
            reasons=tuple((row["failure_reasons"] or "").split("; ")) if row["failure_reasons"] else (),
            records=row["records"],
            balance=row["balance"],
            with_balance=row["with_balance"],
        )
        for row in found
    )


def reconciliation(delivery: Delivery, classified: Mapping[str, Sequence[Classified]]) -> tuple[Reconciliation, ...]:
    """Return for each file: records read = staged + duplicates + quarantined (docs/architecture/guarantees.md)."""
    found = []
    for file, groups in classified.items():
        received = delivery.file(file)
        staged, duplicates, quarantined = (
            sum(group.records for group in groups if group.status == status)
            for status in ("staged", "duplicate", "quarantined")
        )
        found.append(
            Reconciliation(
                file=file,
                sha256=received.sha256,
                bytes=received.bytes,
                read=received.rows,
                staged=staged,
                duplicates=duplicates,
                quarantined=quarantined,
                balanced=received.rows == staged + duplicates + quarantined,
            )
        )
    return tuple(found)


def quarantine_reasons(
    warehouse: Warehouse, classified: Mapping[str, Sequence[Classified]], before: Sequence[PastReason] | None
) -> tuple[QuarantineReason, ...]:
    """Return for each file and reason how many records have it, now and `before`, with some examples.

    A record can have several reasons. A reason that occurred only before is listed with 0.
    """
    counts_before = {(entry.file, entry.reason): entry.records for entry in before or ()}
    counts = dict.fromkeys((key for key, records in counts_before.items() if records), 0)
    for file, groups in classified.items():
        for group in groups:
            for reason in group.reasons:
                counts[file, reason] = counts.get((file, reason), 0) + group.records
    samples = {
        entity.file: _samples(warehouse, entity)
        for entity in ENTITIES
        if any(group.reasons for group in classified[entity.file])
    }
    ordered = sorted(counts.items(), key=lambda item: (item[0][0], -item[1], item[0][1]))
    return tuple(
        QuarantineReason(
            file=file,
            reason=reason,
            records=records,
            records_before=None if before is None else counts_before.get((file, reason), 0),
            samples=_of_reason(reason, samples.get(file, ())),
        )
        for (file, reason), records in ordered
    )


def _samples(warehouse: Warehouse, entity: Entity) -> list[dict[str, Any]]:
    """Return the first quarantined records of each combination of reasons, as received, by their place in the file."""
    first = rows(
        warehouse,
        f"""
        select source_row_number
        from (
            select source_row_number,
                row_number() over (partition by failure_reasons order by source_row_number) as place
            from {_checked(warehouse, entity)}
            where record_status = 'quarantined'
        ) as quarantined
        where place <= {SAMPLE_ROWS}
        """,
    )
    numbers = ", ".join(str(row["source_row_number"]) for row in first)
    return rows(
        warehouse,
        f"select * from {warehouse.relation('staging', f'quarantine_{entity.name}')} "
        f"where source_row_number in ({numbers}) order by source_row_number",
    )


def _of_reason(reason: str, samples: Iterable[Mapping[str, Any]]) -> tuple[Row, ...]:
    having = [row for row in samples if reason in row["failure_reasons"].split("; ")]
    return tuple(masked(row) for row in having[:SAMPLE_ROWS])


def stale_keys(warehouse: Warehouse) -> tuple[tuple[StaleKeys, ...], Decimal]:
    """Return for each entity the stale keys (they arrived only in bad records and keep their last version).

    Also return the sum of the stale accounts' balances.
    """
    found, balance = [], Decimal()
    for entity in ENTITIES:
        # Start from the few quarantined keys: comparing all current versions with all staged ones took twice as long.
        stale = rows(
            warehouse,
            f"""
            with quarantined as (

                select distinct {entity.key} as record_key from {_checked(warehouse, entity)}
                where record_status = 'quarantined' and {entity.key} is not null

            ),

            staged_too as (

                select {entity.key} as record_key from {_checked(warehouse, entity)}
                where record_status = 'staged' and {entity.key} in (select record_key from quarantined)

            ),

            stale as (

                select {entity.key}, dbt_valid_from, {_balance_of(entity, "version")} as balance
                from {_snapshot(warehouse, entity)} as version
                where
                    dbt_valid_to is null
                    and {entity.key} in (select record_key from quarantined)
                    and {entity.key} not in (select record_key from staged_too)

            )

            select cast({entity.key} as string) as stale_key, dbt_valid_from as since, {_TOTALS}
            from stale
            order by {entity.key} limit {LISTED}
            """,
        )
        balance += stale[0]["total_balance"] if stale else 0
        found.append(
            StaleKeys(
                entity=entity.name,
                count=stale[0]["total"] if stale else 0,
                keys=tuple(StaleKey(key=row["stale_key"], valid_from=aware(row["since"])) for row in stale),
            )
        )
    return tuple(found), balance


def orphan_accounts(warehouse: Warehouse) -> tuple[OrphanAccounts, Decimal]:
    """Return the orphans (valid accounts whose customer is not current) with the reason, and their balances."""
    orphans = rows(
        warehouse,
        f"""
        with orphans as (

            select account.account_id, account.customer_id, account.balance_amount as balance
            from {warehouse.relation("snapshots", "snap_account")} as account
            left join {warehouse.relation("snapshots", "snap_customer")} as current_customer
                on account.customer_id = current_customer.customer_id and current_customer.dbt_valid_to is null
            where account.dbt_valid_to is null and current_customer.customer_id is null

        ),

        listed as (

            select account_id, customer_id, {_TOTALS} from orphans order by account_id limit {LISTED}

        )

        select listed.*,
            case
                when known.customer_id is not null then 'customer deleted'
                when quarantined.customer_id is not null then 'customer only ever quarantined'
                else 'customer unknown'
            end as reason
        from listed
        left join (
            select distinct customer_id from {warehouse.relation("snapshots", "snap_customer")}
            where dbt_valid_to is not null
        ) as known on listed.customer_id = known.customer_id
        left join (
            select distinct customer_id from {warehouse.relation("staging", "stg_customer_checked")}
            where record_status = 'quarantined'
        ) as quarantined on listed.customer_id = quarantined.customer_id
        order by listed.account_id
        """,
    )
    accounts = tuple(
        OrphanAccount(account_id=row["account_id"], customer_id=row["customer_id"], reason=row["reason"])
        for row in orphans
    )
    count, balance = (orphans[0]["total"], orphans[0]["total_balance"]) if orphans else (0, Decimal())
    return OrphanAccounts(count=count, accounts=accounts), balance


def histories(warehouse: Warehouse, delivery: Delivery) -> tuple[tuple[SnapshotIntegrity, ...], tuple[KeyChanges, ...]]:
    """Return for each snapshot the integrity of its versions, and how the delivery changed the keys, in one pass.

    The last version of a closed key ends at `delivered_at`. A version that begins at `delivered_at` is new if the key
    has no earlier version, a change if it begins where the previous version ended, and a return if there is a gap.
    """
    at = time_literal(delivery.delivered_at)
    integrity, changes = [], []
    for entity in ENTITIES:
        # Only keys with several versions need the window functions, which sort. The others are new or unchanged.
        row = rows(
            warehouse,
            f"""
            with versions as (

                select {entity.key}, dbt_valid_from, dbt_valid_to from {_snapshot(warehouse, entity)}

            ),

            repeated as (

                select {entity.key} from versions group by {entity.key} having count(*) > 1

            ),

            placed as (

                select versions.*,
                    row_number() over (
                        partition by versions.{entity.key} order by versions.dbt_valid_from
                    ) - 1 as previous_versions,
                    lag(versions.dbt_valid_to) over (
                        partition by versions.{entity.key} order by versions.dbt_valid_from
                    ) as previous_to,
                    lead(versions.dbt_valid_from) over (
                        partition by versions.{entity.key} order by versions.dbt_valid_from
                    ) as next_from
                from versions
                inner join repeated on versions.{entity.key} = repeated.{entity.key}

            ),

            of_repeated as (

                select
                    count(
                        case
                            when previous_versions > 0 and (previous_to is null or previous_to > dbt_valid_from) then 1
                        end
                    ) as overlapping,
                    count(case when dbt_valid_from = {at} and previous_versions > 0 then 1 end) as begun_again,
                    count(case when dbt_valid_from = {at} and previous_to = {at} then 1 end) as changed,
                    count(case when dbt_valid_from = {at} and previous_to < {at} then 1 end) as returned,
                    count(case when dbt_valid_to = {at} and next_from is not null then 1 end) as followed
                from placed

            ),

            of_all as (

                select
                    count(*) as versions,
                    count(case when dbt_valid_to is null then 1 end) as current_versions,
                    count(case when dbt_valid_to <= dbt_valid_from then 1 end) as inverted,
                    count(case when dbt_valid_from = {at} then 1 end) as begun,
                    count(case when dbt_valid_to = {at} then 1 end) as ended
                from versions

            )

            select * from of_all cross join of_repeated
            """,
        )[0]
        integrity.append(
            SnapshotIntegrity(
                snapshot=entity.snapshot,
                versions=row["versions"],
                current_versions=row["current_versions"],
                inverted=row["inverted"],
                overlapping=row["overlapping"],
            )
        )
        changes.append(
            KeyChanges(
                entity=entity.name,
                new=row["begun"] - row["begun_again"],
                changed=row["changed"],
                closed=row["ended"] - row["followed"],
                returned=row["returned"],
            )
        )
    return tuple(integrity), tuple(changes)


def failing_rows(warehouse: Warehouse, relation: str, tested_column: str | None = None) -> tuple[Row, ...]:
    """Return the first failing rows of a test, ordered by their columns.

    `relation` is the test's SQL in parentheses, or the table that keeps the rows.
    """
    columns = warehouse.query(f"select * from {relation} as failing limit 0").num_columns
    order = ", ".join(f"{place} nulls last" for place in range(1, columns + 1))
    found = rows(warehouse, f"select * from {relation} as failing order by {order} limit {SAMPLE_ROWS}")
    return tuple(masked(row, tested_column=tested_column) for row in found)


def count_rows(warehouse: Warehouse, layer: str, table: str) -> int:
    """Return the number of rows of a table."""
    return int(rows(warehouse, f"select count(*) as found from {warehouse.relation(layer, table)}")[0]["found"])


def rows(warehouse: Warehouse, sql: str) -> list[dict[str, Any]]:
    """Return the rows of a small result, each as a mapping by column."""
    found: list[dict[str, Any]] = warehouse.query(sql).to_pylist()
    return found


def time_literal(time: datetime) -> str:
    """Return an aware time for SQL, independent of the session's time zone."""
    return f"timestamp '{time.astimezone(UTC):%Y-%m-%d %H:%M:%S.%fZ}'"


_TOTALS = """
    count(*) over () as total, cast(coalesce(sum(balance) over (), 0) as decimal(38, 2)) as total_balance
"""
"""Totals over all rows of a query, although only some of them are listed."""


def _balance_of(entity: Entity, relation: str) -> str:
    """Return the balance in an entity's table as an expression; NULL if the entity has none."""
    return f"{relation}.balance_amount" if entity is ACCOUNT else "cast(null as decimal(18, 2))"


def _checked(warehouse: Warehouse, entity: Entity) -> str:
    return warehouse.relation("staging", entity.checked)


def _snapshot(warehouse: Warehouse, entity: Entity) -> str:
    return warehouse.relation("snapshots", entity.snapshot)
