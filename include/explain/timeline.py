"""The history of a key: the records of the landing, the versions of the snapshots, and the interest by dated rates."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from include import duckdb_session
from include.diff import columns_of
from include.entities import ACCOUNT, CUSTOMER, Entity
from include.errors import PipelineError
from include.explain.landed import CheckedRecord, Record, records_of_key, rules_of
from include.explain.model import Change, Episode, Event, Explanation, Interest, Profile, Received, Version
from include.ledger import Delivery, Ledger
from include.past import check_landed, patiently, processed_until
from include.quality.masking import aware, masked
from include.quality.money import all_rates, in_force
from include.quality.report import OrphanReason, Row
from include.quality.tables import rows, time_literal
from include.quoting import portable_literal
from include.settings import Settings
from include.warehouse import Warehouse, open_warehouse

CENT = Decimal("0.01")
NEAREST = 3
LARGEST_ID = 2**63 - 1


@dataclass(frozen=True)
class _Valid:
    """A version with its validity, times aware; `until` is None while it is current."""

    columns: Mapping[str, Any]
    since: datetime
    until: datetime | None

    def was_valid(self, at: datetime) -> bool:
        return self.since <= at and (self.until is None or self.until > at)


@dataclass(frozen=True)
class _Tables:
    """The warehouse's data on a key: its versions, the related versions of the other entity, and all rates."""

    columns: Sequence[str]
    versions: Sequence[_Valid]
    others: Sequence[_Valid]
    rates: Sequence[dict[str, Any]]


@dataclass(frozen=True)
class _State:
    """The state of a key after a delivery."""

    delivery: Delivery
    records: tuple[CheckedRecord, ...]
    version: _Valid | None
    orphan: OrphanReason | None
    interest: Interest | None
    profile: Profile | None

    @property
    def is_stale(self) -> bool:
        return self.version is not None and all(checked.status == "quarantined" for checked in self.records)

    @property
    def has_quarantined(self) -> bool:
        return any(checked.status == "quarantined" for checked in self.records)

    @property
    def contents(self) -> list[tuple[object, ...]]:
        return [checked.record.content for checked in self.records]

    def said(self) -> tuple[object, ...]:
        """The values by which two deliveries are the same to a reader: all but the places in the file."""
        contents = tuple((checked.record.content, checked.status, checked.reasons) for checked in self.records)
        return contents, self.version, self.orphan, self.interest, self.profile


def explain(
    settings: Settings, entity: Entity, key_text: str, *, at: datetime | None = None, show_names: bool = False
) -> Explanation:
    """Return the history of a key in every processed delivery up to a moment, by default in all.

    Names, and values that may be names, are masked unless `show_names` is set. Raises PipelineError if the key never
    existed, and WarehouseError.
    """
    key = _key(entity, key_text)
    deliveries = processed_until(Ledger.load(settings.landing_path), at)
    check_landed(settings.landing_path, deliveries)
    warehouse = open_warehouse(settings, run_id="explain")
    tables = patiently(lambda: _read(warehouse, entity, key, deliveries[-1].delivered_at))
    with (
        rules_of(settings, entity) as rules,
        duckdb_session.connect(memory_limit=settings.duckdb_memory_limit) as connection,
    ):

        def records(of: Entity, of_key: int | str, delivery: Delivery) -> tuple[Record, ...]:
            return records_of_key(connection, settings.landing_path, of, of_key, delivery)

        received = [rules.check(key, records(entity, key, delivery)) for delivery in deliveries]
        states = [_state(entity, *each, tables) for each in zip(deliveries, received, strict=True)]
        states = [_with_reason(state, records) for state in states]
    begun = next((number for number, state in enumerate(states) if state.records or state.version), None)
    if begun is None:
        nearest = patiently(lambda: _nearest(warehouse, entity, key))
        raise PipelineError(
            f"there has never been {'an' if entity is ACCOUNT else 'a'} {entity.name} {key_text!r} in the "
            f"{len(deliveries)} deliveries up to {deliveries[-1].delivered_at:%Y-%m-%d %H:%M} UTC"
            f"{'; the nearest keys are ' if nearest else ''}{', '.join(nearest)}"
        )
    return Explanation(
        entity=entity.name,
        key=str(key),
        first=deliveries[0].delivered_at,
        until=deliveries[-1].delivered_at,
        deliveries=len(deliveries),
        versions=len(tables.versions),
        episodes=tuple(_episodes(entity, states[begun:], tables.columns, show_names=show_names)),
    )


def _key(entity: Entity, text: str) -> int | str:
    if entity.key_type == "text":
        if "\0" in text or text.encode(errors="replace").decode() != text:
            raise PipelineError(f"{text!r} is no {entity.key}: expected text in UTF-8 without NUL")
        return text
    digits = re.fullmatch(r"0*([1-9][0-9]{0,18})", text)
    if digits is None or int(digits[1]) > LARGEST_ID:
        raise PipelineError(f"{text[:40]!r} is no {entity.key}: expected a whole number from 1 to {LARGEST_ID}")
    return int(digits[1])


def _read(warehouse: Warehouse, entity: Entity, key: int | str, until: datetime) -> _Tables:
    columns = columns_of(warehouse, entity)
    versions = _versions(warehouse, entity, columns, f"{entity.key} = {_sql(key)}", until)
    other = CUSTOMER if entity is ACCOUNT else ACCOUNT
    if entity is ACCOUNT:
        customers = sorted({version.columns["customer_id"] for version in versions})
        which = f"customer_id in ({', '.join(map(_sql, customers))})" if customers else "1 = 0"
    else:
        which = f"customer_id = {_sql(key)}"
    others = _versions(warehouse, other, [other.key, *columns_of(warehouse, other)], which, until)
    return _Tables(columns, versions, others, all_rates(warehouse))


def _versions(
    warehouse: Warehouse, entity: Entity, columns: Sequence[str], which: str, until: datetime
) -> tuple[_Valid, ...]:
    """Return the versions as they were at `until`. A later run may have begun and ended some."""
    found = rows(
        warehouse,
        f"select {', '.join(columns)}, dbt_valid_from, dbt_valid_to "
        f"from {warehouse.relation('snapshots', entity.snapshot)} "
        f"where {which} and dbt_valid_from <= {time_literal(until)} order by dbt_valid_from",
    )
    return tuple(
        _Valid(
            {name: row[name] for name in columns},
            aware(row["dbt_valid_from"]),
            ended if (ended := row["dbt_valid_to"] and aware(row["dbt_valid_to"])) and ended <= until else None,
        )
        for row in found
    )


def _nearest(warehouse: Warehouse, entity: Entity, key: int | str) -> list[str]:
    found = rows(
        warehouse,
        f"""
        select near_key from (
            select distinct cast({entity.key} as string) as near_key
            from {warehouse.relation("snapshots", entity.snapshot)}
        ) as known
        order by levenshtein(near_key, {portable_literal(str(key))}), near_key limit {NEAREST}
        """,
    )
    return [row["near_key"] for row in found]


def _sql(key: int | str) -> str:
    return str(key) if isinstance(key, int) else portable_literal(key)


def _state(entity: Entity, delivery: Delivery, records: tuple[CheckedRecord, ...], tables: _Tables) -> _State:
    at = delivery.delivered_at
    version = next((version for version in tables.versions if version.was_valid(at)), None)
    others = [other.columns for other in tables.others if other.was_valid(at)]
    rates = in_force(tables.rates, at)
    orphan: OrphanReason | None = None
    interest: Interest | None = None
    profile: Profile | None = None
    if entity is ACCOUNT and version:
        customer = next((each for each in others if each["customer_id"] == version.columns["customer_id"]), None)
        if customer:
            interest = _interest(version.columns, customer, rates)
        else:
            known = any(
                other.columns["customer_id"] == version.columns["customer_id"] and other.since <= at
                for other in tables.others
            )
            orphan = "customer deleted" if known else "customer unknown"
    elif version:
        earned = [found for account in others if (found := _interest(account, version.columns, rates))]
        if earned:
            profile = Profile(
                total_accounts_count=len(earned),
                total_balance_amount=sum((each.balance_amount for each in earned), Decimal()),
                total_annual_interest_amount=sum((each.annual_interest_amount for each in earned), Decimal()),
            )
    return _State(delivery, records, version, orphan, interest, profile)


def _interest(
    account: Mapping[str, Any], customer: Mapping[str, Any], rates: Sequence[dict[str, Any]]
) -> Interest | None:
    """Return the interest as models/marts/account_summary.sql calculates it, or None if the account bears none."""
    if account["account_type"] != "savings":
        return None
    balance = account["balance_amount"]
    tier = next(tier for tier in rates if balance >= tier["from_balance_amount"])
    bonus = tier["loan_bonus_pct"] if customer["has_loan_flag"] else Decimal("0.0000")
    rate = tier["base_rate_pct"] + bonus
    earned = (balance * rate).quantize(CENT, ROUND_HALF_UP)
    return Interest(
        balance_amount=balance,
        rates_from_date=tier["valid_from_date"],
        from_balance_amount=tier["from_balance_amount"],
        below_balance_amount=tier["below_balance_amount"],
        base_rate_pct=tier["base_rate_pct"],
        loan_bonus_pct=bonus,
        interest_rate_pct=rate,
        product=balance * rate,
        annual_interest_amount=earned,
        new_balance_amount=balance + earned,
    )


def _with_reason(state: _State, records: Callable[[Entity, int | str, Delivery], Sequence[Record]]) -> _State:
    """Return the state. A customer who is unknown may have arrived only in quarantined records."""
    if state.orphan != "customer unknown" or state.version is None:
        return state
    came = records(CUSTOMER, state.version.columns["customer_id"], state.delivery)
    return replace(state, orphan="customer only ever quarantined") if came else state


def _episodes(
    entity: Entity, states: Sequence[_State], columns: Sequence[str], *, show_names: bool
) -> Iterable[Episode]:
    """Yield an episode for each group of consecutive deliveries with the same state."""
    before: _State | None = None
    start = 0
    for number, state in enumerate(states):
        following = states[number + 1] if number + 1 < len(states) else None
        if following and following.said() == state.said():
            continue
        first = states[start]
        yield Episode(
            first=first.delivery.delivered_at,
            last=state.delivery.delivered_at,
            deliveries=number + 1 - start,
            run_id=first.delivery.run_id,
            file=entity.file,
            events=tuple(_events(before, first, seen_before=any(each.version for each in states[:start]))),
            received=tuple(_received(checked, show_names) for checked in first.records),
            version=_version(first.version, columns, show_names),
            is_stale=first.is_stale,
            changes=_changes(before, first, columns, show_names),
            orphan=first.orphan,
            interest=first.interest,
            profile=first.profile,
            exported_in=tuple(_exported_in(entity, first)),
        )
        before, start = state, number + 1


def _events(before: _State | None, now: _State, *, seen_before: bool) -> Iterable[Event]:
    """Yield what a delivery did to a key. `before` is None in the first delivery that has the key."""
    was = before.version if before else None
    if now.version and not was:
        yield "returned" if seen_before else "new"
    elif was and not now.version:
        yield "closed"
    elif was != now.version:
        yield "changed"
    was_quarantined = before is not None and before.has_quarantined
    if now.has_quarantined and not was_quarantined:
        yield "quarantined"
    elif was_quarantined and not now.has_quarantined and now.records:
        yield "no longer quarantined"
    if before is None or was != now.version:
        return
    if now.contents != before.contents and not (now.has_quarantined or was_quarantined):
        yield "received differently"
    rates, rates_before = (state.interest and state.interest.rates_from_date for state in (now, before))
    if now.interest and before.interest and rates != rates_before:
        yield "rates changed"
    elif (now.orphan, now.interest) != (before.orphan, before.interest):
        yield "customer changed"
    if now.profile != before.profile:
        yield "totals changed"


def _received(checked: CheckedRecord, show_names: bool) -> Received:
    record = checked.record
    reasons = "; ".join(checked.reasons)
    row = {**record.fields, "failure_reasons": reasons or None, "malformed_reason": record.malformed_reason}
    fields = _shown(row, show_names)
    raw = _shown({"raw_record": record.raw_record}, show_names)["raw_record"]
    return Received(
        row_number=record.row_number,
        fields={name: fields[name] for name in record.fields},
        raw_record=raw,
        status=checked.status,  # type: ignore[arg-type]  # the model's statuses are these three
        reasons=checked.reasons,
    )


def _version(version: _Valid | None, columns: Sequence[str], show_names: bool) -> Version | None:
    if version is None:
        return None
    shown = _shown({name: version.columns[name] for name in columns}, show_names)
    return Version(columns=shown, valid_from=version.since, valid_to=version.until)


def _changes(before: _State | None, now: _State, columns: Sequence[str], show_names: bool) -> tuple[Change, ...]:
    was, is_now = before and before.version, now.version
    if not was or not is_now or was.since == is_now.since:
        return ()
    one, two = (_shown({name: version.columns[name] for name in columns}, show_names) for version in (was, is_now))
    return tuple(
        Change(column=name, before=one[name], after=two[name])
        for name in columns
        if was.columns[name] != is_now.columns[name]
    )


def _exported_in(entity: Entity, state: _State) -> Iterable[str]:
    if entity is ACCOUNT and state.interest:
        yield "account_summary"
    if entity is CUSTOMER and state.profile:
        yield "customer_profile"


def _shown(row: Mapping[str, object], show_names: bool) -> Row:
    """Return a row as text, masked unless names are shown."""
    row = {name: str(value).lower() if isinstance(value, bool) else value for name, value in row.items()}
    if not show_names:
        return masked(row)
    return {name: None if value is None else str(value) for name, value in row.items()}
