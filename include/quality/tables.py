"""What the tables say of a delivery, in SQL that both engines take."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from include.entities import ENTITIES, Entity
from include.ledger import Delivery, time_text
from include.quality.report import (
    LISTED,
    SAMPLE_ROWS,
    KeyChanges,
    MartChanges,
    OrphanAccount,
    OrphanAccounts,
    QuarantineReason,
    Reconciliation,
    SnapshotIntegrity,
    StaleKey,
    StaleKeys,
)
from include.warehouse import Warehouse

NAME_COLUMNS = {"name", "customer_name", "raw_record"}
"""Columns that hold a person's name, or may: masked in every report."""


def reconciliation(warehouse: Warehouse, delivery: Delivery) -> tuple[Reconciliation, ...]:
    """Return for each file: records read = staged + duplicates + quarantined (design, section 6.8)."""
    found = []
    for entity in ENTITIES:
        counts = {
            row["record_status"]: row["records"]
            for row in _rows(
                warehouse,
                f"select record_status, count(*) as records from {_checked(warehouse, entity)} group by record_status",
            )
        }
        received = delivery.file(entity.file)
        staged, duplicates, quarantined = (counts.get(name, 0) for name in ("staged", "duplicate", "quarantined"))
        found.append(
            Reconciliation(
                file=entity.file,
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


def quarantine_reasons(warehouse: Warehouse) -> tuple[QuarantineReason, ...]:
    """Return for each file and reason how many records have it; one record can have several."""
    found: dict[tuple[str, str], int] = {}
    for entity in ENTITIES:
        rows = _rows(
            warehouse,
            f"select failure_reasons, count(*) as records from {_checked(warehouse, entity)} "
            "where record_status = 'quarantined' group by failure_reasons",
        )
        for row in rows:
            for reason in row["failure_reasons"].split("; "):
                found[entity.file, reason] = found.get((entity.file, reason), 0) + row["records"]
    ordered = sorted(found.items(), key=lambda item: (item[0][0], -item[1], item[0][1]))
    return tuple(
        QuarantineReason(file=file, reason=reason, records=records, records_before=None, samples=())
        for (file, reason), records in ordered
    )


def stale_keys(warehouse: Warehouse) -> tuple[StaleKeys, ...]:
    """Return for each entity the keys that came in bad records alone and keep their last version (section 6.7)."""
    found = []
    for entity in ENTITIES:
        rows = _rows(
            warehouse,
            f"""
            select cast(version.{entity.key} as string) as stale_key, version.dbt_valid_from as since,
                count(*) over () as total
            from {_snapshot(warehouse, entity)} as version
            left join {warehouse.relation("staging", f"stg_{entity.name}")} as staged
                on version.{entity.key} = staged.{entity.key}
            where version.dbt_valid_to is null and staged.{entity.key} is null
            order by version.{entity.key} limit {LISTED}
            """,
        )
        found.append(
            StaleKeys(
                entity=entity.name,
                count=rows[0]["total"] if rows else 0,
                keys=tuple(StaleKey(key=row["stale_key"], valid_from=_aware(row["since"])) for row in rows),
            )
        )
    return tuple(found)


def orphan_accounts(warehouse: Warehouse) -> OrphanAccounts:
    """Return the valid accounts whose customer is not current, with the reason (section 6.8)."""
    rows = _rows(
        warehouse,
        f"""
        select account.account_id, account.customer_id, count(*) over () as total,
            case
                when known.customer_id is not null then 'customer deleted'
                when quarantined.customer_id is not null then 'customer only ever quarantined'
                else 'customer unknown'
            end as reason
        from {warehouse.relation("snapshots", "snap_account")} as account
        left join {warehouse.relation("snapshots", "snap_customer")} as current_customer
            on account.customer_id = current_customer.customer_id and current_customer.dbt_valid_to is null
        left join (
            select distinct customer_id from {warehouse.relation("snapshots", "snap_customer")}
        ) as known on account.customer_id = known.customer_id
        left join (
            select distinct customer_id from {warehouse.relation("staging", "stg_customer_checked")}
            where record_status = 'quarantined'
        ) as quarantined on account.customer_id = quarantined.customer_id
        where account.dbt_valid_to is null and current_customer.customer_id is null
        order by account.account_id limit {LISTED}
        """,
    )
    return OrphanAccounts(
        count=rows[0]["total"] if rows else 0,
        accounts=tuple(
            OrphanAccount(account_id=row["account_id"], customer_id=row["customer_id"], reason=row["reason"])
            for row in rows
        ),
    )


def scd2_integrity(warehouse: Warehouse) -> tuple[SnapshotIntegrity, ...]:
    """Return for each snapshot its versions: all, current, overlapping the one before, ending before they begin."""
    found = []
    for entity in ENTITIES:
        row = _rows(
            warehouse,
            f"""
            select
                count(*) as versions,
                count(case when dbt_valid_to is null then 1 end) as current_versions,
                count(case when dbt_valid_to <= dbt_valid_from then 1 end) as inverted,
                count(
                    case when version_number > 1 and (previous_to is null or previous_to > dbt_valid_from) then 1 end
                ) as overlapping
            from (
                select dbt_valid_from, dbt_valid_to,
                    row_number() over (partition by {entity.key} order by dbt_valid_from) as version_number,
                    lag(dbt_valid_to) over (partition by {entity.key} order by dbt_valid_from) as previous_to
                from {_snapshot(warehouse, entity)}
            ) as versions
            """,
        )[0]
        found.append(SnapshotIntegrity(snapshot=f"snap_{entity.name}", **row))
    return tuple(found)


def changes(warehouse: Warehouse, delivery: Delivery) -> tuple[KeyChanges, ...]:
    """Return for each entity how many keys the delivery made new, changed, closed or brought back.

    A closed key has its last version end at `delivered_at`. Of the versions that begin at `delivered_at`, one of a key
    without earlier versions is new, one that takes over where the last one ended is a change, one after a gap is a
    return. A customer's version that begins before the delivery which made it (its record had first arrived in a
    conflict) is not counted here.
    """
    at = _literal(delivery.delivered_at)
    found = []
    for entity in ENTITIES:
        row = _rows(
            warehouse,
            f"""
            select
                count(case when begins and previous_versions = 0 then 1 end) as new_keys,
                count(case when begins and previous_versions > 0 and previous_to = {at} then 1 end) as changed_keys,
                count(case when begins and previous_versions > 0 and previous_to < {at} then 1 end) as returned_keys,
                count(case when dbt_valid_to = {at} and is_last then 1 end) as closed_keys
            from (
                select dbt_valid_to, dbt_valid_from = {at} as begins,
                    row_number() over (partition by {entity.key} order by dbt_valid_from) - 1 as previous_versions,
                    lag(dbt_valid_to) over (partition by {entity.key} order by dbt_valid_from) as previous_to,
                    lead(dbt_valid_from) over (partition by {entity.key} order by dbt_valid_from) is null as is_last
                from {_snapshot(warehouse, entity)}
            ) as versions
            """,
        )[0]
        found.append(
            KeyChanges(
                entity=entity.name,
                new=row["new_keys"],
                changed=row["changed_keys"],
                closed=row["closed_keys"],
                returned=row["returned_keys"],
            )
        )
    return tuple(found)


def mart_changes(warehouse: Warehouse, delivery: Delivery) -> tuple[MartChanges, ...]:
    """Return for each mart its rows and how many of them the delivery made or changed."""
    at = _literal(delivery.delivered_at)
    return tuple(
        MartChanges(
            mart=mart,
            **_rows(
                warehouse,
                "select count(*) as total_rows, "
                f"count(case when calculated_at = {at} then 1 end) as changed_rows "
                f"from {warehouse.relation('marts', mart)}",
            )[0],
        )
        for mart in ("account_summary", "customer_profile")
    )


def failing_rows(warehouse: Warehouse, sql: str) -> tuple[dict[str, str | None], ...]:
    """Return a few of the rows that a test found, as text, names masked."""
    return tuple(
        {column: _shown(column, value) for column, value in row.items()}
        for row in _rows(warehouse, f"select * from (\n{sql}\n) as failing limit {SAMPLE_ROWS}")
    )


def count_rows(warehouse: Warehouse, layer: str, table: str) -> int:
    """Return the number of rows of a table."""
    return int(_rows(warehouse, f"select count(*) as found from {warehouse.relation(layer, table)}")[0]["found"])


def _shown(column: str, value: object) -> str | None:
    if value is None:
        return None
    if isinstance(value, datetime):
        return time_text(_aware(value))
    return f"*** ({len(str(value))} characters)" if column.lower() in NAME_COLUMNS else str(value)[:200]


def _rows(warehouse: Warehouse, sql: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = warehouse.query(sql).to_pylist()
    return rows


def _checked(warehouse: Warehouse, entity: Entity) -> str:
    return warehouse.relation("staging", f"stg_{entity.name}_checked")


def _snapshot(warehouse: Warehouse, entity: Entity) -> str:
    return warehouse.relation("snapshots", f"snap_{entity.name}")


def _aware(value: datetime) -> datetime:
    return value if value.tzinfo else value.replace(tzinfo=UTC)


def _literal(time: datetime) -> str:
    return f"timestamp '{time.astimezone(UTC):%Y-%m-%d %H:%M:%S.%fZ}'"  # Z: whatever the session's time zone
