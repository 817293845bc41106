"""What the commands say of the past of generated histories, against what the reference model had at the time."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.as_of import write_as_of
from include.diff import Difference, difference
from include.entities import ACCOUNT, CUSTOMER, Entity
from include.errors import PipelineError
from include.explain.model import Episode
from include.explain.shown import WIDTH, page_of, text_of
from include.explain.timeline import explain
from include.exports import FILES, MANIFEST
from include.ledger import Ledger
from include.settings import Settings
from include.warehouse import open_warehouse
from tests.support.local_warehouse import LocalWarehouse
from tests.support.play import ANY_QUALITY, ONE_HISTORY, RATES, Play, is_simplest
from tests.support.rates import as_seed, change_rates
from tests.support.reference_model import Entity as ReferenceEntity
from tests.support.reference_model import Row, as_text
from tests.support.settings import settings_in

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", autouse=True)
def dated_rates(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        change_rates(lambda _: as_seed(RATES), tmp_path_factory.mktemp("rates"), patch)
        yield


@dataclass(frozen=True)
class Then:
    """What the reference model had after a delivery, and what was exported."""

    at: datetime
    customers: ReferenceEntity
    accounts: ReferenceEntity
    joined: list[Row]
    summary: dict[object, Row]
    profile: dict[object, Row]
    exports: dict[str, bytes]

    def of(self, entity: Entity) -> ReferenceEntity:
        return self.customers if entity is CUSTOMER else self.accounts


class RecordedPlay(Play):
    """A history that remembers."""

    def __init__(self, engine: Settings) -> None:
        super().__init__(engine)
        self.engine = engine
        self.then: list[Then] = []

    def remember(self) -> None:
        assert self.delivered_at
        at = self.delivered_at.replace(tzinfo=UTC)
        exports = {name: (self.engine.output_path / name).read_bytes() for name in (*FILES, MANIFEST)}
        if self.then and self.then[-1].at == at:
            self.then.pop()
        reference = copy.deepcopy(self.reference)
        self.then.append(
            Then(
                at,
                reference.customers,
                reference.accounts,
                reference.joined,
                reference.summary,
                reference.profile,
                exports,
            )
        )


def played(engine: Settings, data: st.DataObject, deliveries: int) -> RecordedPlay:
    play = RecordedPlay(engine)
    for _ in range(deliveries):
        play.next_delivery(data)
        play.remember()
    return play


def check_all(engine: Settings, data: st.DataObject, folder: Path, deliveries: int) -> None:
    play = played(engine, data, deliveries)
    middle = play.then[len(play.then) // 2 - 1]
    check_as_of(play, middle, folder / "as_of")
    for first, second in combinations(play.then, 2):
        check_difference(play, first, second)
    for entity in (CUSTOMER, ACCOUNT):
        keys = {classified.key for then in play.then for classified in then.of(entity).classified} - {None}
        assert keys
        for key in sorted(keys, key=str):
            check_explanation(play, entity, key)


@ONE_HISTORY
@given(st.data())
def test_on_duckdb_the_past_is_as_the_reference_had_it(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    if is_simplest(data):
        return
    folder = tmp_path_factory.mktemp("past")
    engine = settings_in(folder / "live", KEEP_EXPORTS="4", **ANY_QUALITY)
    check_all(engine, data, folder, deliveries=5)

    deliveries = len(Ledger.load(engine.landing_path).processed)
    assert len(list((engine.output_path / ".versions").iterdir())) == min(4, deliveries)


@ONE_HISTORY
@given(st.data())
def test_on_databricks_the_past_is_as_the_reference_had_it(
    warehouse: LocalWarehouse, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    if is_simplest(data):
        return
    folder = tmp_path_factory.mktemp("past")
    check_all(warehouse.settings(folder / "live", **ANY_QUALITY), data, folder, deliveries=2)


def check_as_of(play: RecordedPlay, then: Then, folder: Path) -> None:
    delivery = write_as_of(play.engine, then.at, folder)

    assert delivery.delivered_at == then.at
    assert sorted(path.name for path in folder.iterdir()) == sorted((*FILES, MANIFEST))
    for name in FILES:
        assert (folder / name).read_bytes() == then.exports[name], (name, then.at)
    written, exported = json.loads((folder / MANIFEST).read_text()), json.loads(then.exports[MANIFEST])
    assert written["files"] == exported["files"]
    assert written["delivered_at"] == exported["delivered_at"]


def check_difference(play: RecordedPlay, first: Then, second: Then) -> None:
    one, two = (
        next(entry for entry in Ledger.load(play.engine.landing_path).processed if entry.delivered_at == then.at)
        for then in (first, second)
    )
    found = difference(open_warehouse(play.engine), one, two)

    for keys in found.keys:
        before, after = (
            {key: version.columns for key, version in then.of(_entity(keys.entity)).current().items()}
            for then in (first, second)
        )
        known = first.of(_entity(keys.entity)).history
        gained = after.keys() - before.keys()
        expected = {
            "entity": keys.entity,
            "new": len([key for key in gained if key not in known]),
            "returned": len([key for key in gained if key in known]),
            "closed": len(before.keys() - after.keys()),
            "changed": len([key for key in before.keys() & after.keys() if before[key] != after[key]]),
        }
        assert keys.model_dump() == expected, (first.at, second.at)
    check_movement(found, first, second)


def check_movement(found: Difference, first: Then, second: Then) -> None:
    both = first.summary.keys() & second.summary.keys()
    for movement, column in ((found.balance, "original_balance_amount"), (found.interest, "annual_interest_amount")):
        before, after = (_total(then.summary.values(), column) for then in (first, second))
        causes = {cause.cause: cause.amount for cause in movement.causes}
        expected = dict.fromkeys(("type", "new", "closed"), Decimal())
        for key in first.summary.keys() ^ second.summary.keys():
            arrived = key in second.summary
            amount = _amount((second if arrived else first).summary[key], column)
            other = (first if arrived else second).accounts.current().get(key)
            became_another = other is not None and other.columns["account_type"] != "savings"
            expected["type" if became_another else "new" if arrived else "closed"] += amount if arrived else -amount
        assert (movement.before, movement.after) == (before, after)
        assert before + sum(causes.values()) == after
        assert {cause: causes[cause] for cause in expected} == expected  # type: ignore[index]
    moved = _total((second.summary[key] for key in both), "original_balance_amount") - _total(
        (first.summary[key] for key in both), "original_balance_amount"
    )
    assert next(cause.amount for cause in found.balance.causes if cause.cause == "balance") == moved
    flags = [{row["account_id"]: row["has_loan_flag"] for row in then.joined} for then in (first, second)]
    reflagged = {key for key in both if flags[0][key] != flags[1][key]}
    by_loan = next(cause for cause in found.interest.causes if cause.cause == "loan flag")
    assert by_loan.accounts <= len(reflagged)


def check_explanation(play: RecordedPlay, entity: Entity, key: object) -> None:
    try:
        found = explain(play.engine, entity, str(key), show_names=True)
    except PipelineError:
        pytest.fail(f"{entity.name} {key!r} has records")
    assert found.versions == len(play.then[-1].of(entity).history.get(key, []))
    assert all(len(line) <= WIDTH or " " not in line.strip() for line in text_of(found).splitlines())
    assert "<html" in page_of(found)
    for then in play.then:
        episode = next((each for each in found.episodes if each.first <= then.at <= each.last), None)
        if episode is None:
            assert not any(classified.key == key for classified in then.of(entity).classified)
            assert key not in then.of(entity).current()
            continue
        check_episode(episode, then, entity, key)


def check_episode(episode: Episode, then: Then, entity: Entity, key: object) -> None:
    where = (entity.name, key, then.at)
    classified = [each for each in then.of(entity).classified if each.key == key]
    assert [received.status for received in episode.received] == [each.status for each in classified], where
    assert [received.reasons for received in episode.received] == [tuple(each.reasons) for each in classified], where
    if episode.first == then.at:
        assert [received.row_number for received in episode.received] == [each.number for each in classified], where
    for received, each in zip(episode.received, classified, strict=True):
        assert list(received.fields.values())[: len(each.record.fields)] == list(each.record.fields), where

    version = then.of(entity).current().get(key)
    if version is None:
        assert episode.version is None, where
    else:
        assert episode.version, where
        assert episode.version.columns == {name: as_text(value) for name, value in version.columns.items()}, where
        assert episode.version.valid_from == version.valid_from.replace(tzinfo=UTC), where
    if entity is ACCOUNT:
        joined = key in {row["account_id"] for row in then.joined}
        assert (episode.orphan is None) == (version is None or joined), where
        row = then.summary.get(key)
        assert bool(episode.interest) == bool(row), where
        assert episode.exported_in == (("account_summary",) if row else ()), where
        if row and episode.interest:
            for column in ("annual_interest_amount", "new_balance_amount", "interest_rate_pct"):
                assert getattr(episode.interest, column) == row[column], where
    else:
        row = then.profile.get(key)
        assert episode.exported_in == (("customer_profile",) if row else ()), where
        if row and episode.profile:
            for column, value in episode.profile:
                assert value == row[column], where


def _entity(name: str) -> Entity:
    return CUSTOMER if name == CUSTOMER.name else ACCOUNT


def _total(rows: Any, column: str) -> Decimal:
    return sum((_amount(row, column) for row in rows), Decimal())


def _amount(row: Row, column: str) -> Decimal:
    value = row[column]
    assert isinstance(value, Decimal)
    return value
