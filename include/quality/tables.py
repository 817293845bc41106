"""What the tables say of a delivery, in SQL that both engines take."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from include.entities import ENTITIES, Entity
from include.ledger import Delivery, time_text
from include.warehouse import Warehouse

LISTED = 20
"""How many stale keys or orphan accounts are listed by name; all are counted."""

SAMPLE_ROWS = 5
"""How many failing rows of a test are shown."""

NAME_COLUMNS = {"name", "customer_name", "raw_record"}
"""Columns that hold a person's name, or may: masked in every report."""


def reconciliation(warehouse: Warehouse, delivery: Delivery) -> list[dict[str, Any]]:
    """Per file: records read = staged + duplicates + quarantined (design, section 6.8)."""
    found = []
    for entity in ENTITIES:
        counts = {
            row["record_status"]: row["records"]
            for row in _rows(
                warehouse,
                f"select record_status, count(*) as records from {_checked(warehouse, entity)} group by record_status",
            )
        }
        read = delivery.file(entity.file).rows
        staged, duplicates, quarantined = (counts.get(name, 0) for name in ("staged", "duplicate", "quarantined"))
        found.append(
            {
                "file": entity.file,
                "read": read,
                "staged": staged,
                "duplicates": duplicates,
                "quarantined": quarantined,
                "balanced": read == staged + duplicates + quarantined,
            }
        )
    return found


def quarantine_reasons(warehouse: Warehouse) -> list[dict[str, Any]]:
    """Per file and reason, the records that have it; one record can have several."""
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
    return [{"file": file, "reason": reason, "records": records} for (file, reason), records in ordered]


def stale_keys(warehouse: Warehouse) -> list[dict[str, Any]]:
    """Per entity, the keys that arrived in quarantined records alone and keep their last version (section 6.7)."""
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
            {
                "entity": entity.name,
                "count": rows[0]["total"] if rows else 0,
                "keys": [{"key": row["stale_key"], "valid_from": _time(row["since"])} for row in rows],
            }
        )
    return found


def orphan_accounts(warehouse: Warehouse) -> dict[str, Any]:
    """The valid accounts whose customer is not current, with the reason (section 6.8)."""
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
    listed = [{name: row[name] for name in ("account_id", "customer_id", "reason")} for row in rows]
    return {"count": rows[0]["total"] if rows else 0, "accounts": listed}


def scd2_integrity(warehouse: Warehouse) -> list[dict[str, Any]]:
    """Per snapshot: versions, current ones, versions that overlap the one before, ranges that end before they begin."""
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
        found.append({"snapshot": f"snap_{entity.name}", **row})
    return found


def changes(warehouse: Warehouse, delivery: Delivery) -> list[dict[str, Any]]:
    """Per entity, the keys that the delivery made new, changed, closed or brought back.

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
            {
                "entity": entity.name,
                "new": row["new_keys"],
                "changed": row["changed_keys"],
                "closed": row["closed_keys"],
                "returned": row["returned_keys"],
            }
        )
    return found


def mart_changes(warehouse: Warehouse, delivery: Delivery) -> list[dict[str, Any]]:
    """Per mart, its rows and how many of them the delivery made or changed."""
    at = _literal(delivery.delivered_at)
    return [
        {
            "mart": mart,
            **_rows(
                warehouse,
                "select count(*) as total_rows, "
                f"count(case when calculated_at = {at} then 1 end) as changed_rows "
                f"from {warehouse.relation('marts', mart)}",
            )[0],
        }
        for mart in ("account_summary", "customer_profile")
    ]


def failing_rows(warehouse: Warehouse, sql: str) -> list[dict[str, Any]]:
    """Return a few of the rows that a test found, as text, names masked."""
    return [
        {column: _shown(column, value) for column, value in row.items()}
        for row in _rows(warehouse, f"select * from (\n{sql}\n) as failing limit {SAMPLE_ROWS}")
    ]


def count_rows(warehouse: Warehouse, layer: str, table: str) -> int:
    """Return the number of rows of a table."""
    return int(_rows(warehouse, f"select count(*) as found from {warehouse.relation(layer, table)}")[0]["found"])


def _shown(column: str, value: Any) -> str | None:
    if value is None:
        return None
    if isinstance(value, datetime):
        return _time(value)
    return f"*** ({len(str(value))} characters)" if column.lower() in NAME_COLUMNS else str(value)[:200]


def _rows(warehouse: Warehouse, sql: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = warehouse.query(sql).to_pylist()
    return rows


def _checked(warehouse: Warehouse, entity: Entity) -> str:
    return warehouse.relation("staging", f"stg_{entity.name}_checked")


def _snapshot(warehouse: Warehouse, entity: Entity) -> str:
    return warehouse.relation("snapshots", f"snap_{entity.name}")


def _time(value: datetime) -> str:
    return time_text(value if value.tzinfo else value.replace(tzinfo=UTC))


def _literal(time: datetime) -> str:
    return f"timestamp '{time.astimezone(UTC):%Y-%m-%d %H:%M:%S.%fZ}'"  # Z: whatever the session's time zone
