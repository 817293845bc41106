"""Generates extracts of any size, the same for the same arguments: two days, the second one slightly changed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import duckdb

from include.duckdb_paths import literal

HEADERS = {"customers": "CustomerID,Name,HasLoan", "accounts": "AccountID,CustomerID,Balance,AccountType"}


@dataclass(frozen=True)
class Shape:
    """How many customers (and three times as many accounts), and which shares of records are dirty or change."""

    customers: int
    dirty: float = 0.002
    changed: float = 0.001
    seed: int = 1


def write_days(folder: Path, shape: Shape) -> list[Path]:
    """Write the folders `2026-01-05` and `2026-01-06` with both files each; return them.

    Of the dirty records, a third have a bad value, a third lack their key, and a third lack a field. Of the changed
    keys, half change a value, a quarter are absent on the second day, and a quarter are present only on the second day.
    One in twenty names is quoted.
    """
    days = [folder / "2026-01-05", folder / "2026-01-06"]
    for number, day in enumerate(days):
        day.mkdir(parents=True, exist_ok=True)
        with duckdb.connect() as connection:
            for name, lines in _lines(shape, second_day=number == 1).items():
                connection.execute(
                    f"copy (select '{HEADERS[name]}' as line union all {lines}) to {literal(day / f'{name}.csv')} "
                    "(format csv, header false, delimiter E'\\x01', quote '', escape '')"
                )
    return days


def _lines(shape: Shape, *, second_day: bool) -> dict[str, str]:
    """Return, for each file, a query for its lines. The share of a key in [0, 1) comes from a hash of the key."""

    def share(purpose: str) -> str:
        return f"(hash(id, '{purpose}', {shape.seed}) % 1000000) / 1000000.0"

    gone, new, changes = (
        f"({share('change')} between {shape.changed * low} and {shape.changed * high})"
        for low, high in ((0, 0.25), (0.25, 0.5), (0.5, 1))
    )
    absent = gone if second_day else new
    flips = changes if second_day else "false"
    kind = f"(case when {share('dirty')} < {shape.dirty} then hash(id, 'kind') % 3 else 3 end)"
    return {
        "customers": f"""
            select case {kind}
                when 0 then concat_ws(',', id, name, 'perhaps')
                when 1 then concat_ws(',', '', name, has_loan)
                when 2 then concat_ws(',', id, name)
                else concat_ws(',', id, name, has_loan)
            end
            from (
                select id,
                    case when {share("quoted")} < 0.05 then '"Doe, Customer ' || id || '"'
                        else 'Customer ' || hash(id) % 100000 end as name,
                    case when ({share("loan")} < 0.3) <> {flips} then 'yes' else 'no' end as has_loan
                from (select range + 1 as id from range({shape.customers})) as keys
                where not {absent}
            ) as customers""",
        "accounts": f"""
            select case {kind}
                when 0 then concat_ws(',', 'A' || id, customer_id, 'n.a.', account_type)
                when 1 then concat_ws(',', '', customer_id, balance, account_type)
                when 2 then concat_ws(',', 'A' || id, customer_id)
                else concat_ws(',', 'A' || id, customer_id, balance, account_type)
            end
            from (
                select id,
                    hash(id, 'customer') % {shape.customers} + 1 as customer_id,
                    (hash(id) % 40000 + case when {flips} then 1 else 0 end) || '.' || hash(id) % 90 + 10 as balance,
                    case when {share("type")} < 0.6 then 'savings' else 'checking' end as account_type
                from (select range + 1 as id from range({3 * shape.customers})) as keys
                where not {absent}
            ) as accounts""",
    }
