from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from include.ledger import Delivery, FileRecord, Ledger, LedgerError, time_text

FILE = FileRecord("customers/x.parquet", "ab" * 32, 120, 4, 3)
TIME = datetime(2026, 1, 5, 2, tzinfo=UTC)
DELIVERY = Delivery(TIME, TIME, "landed", "run 1", FILE, replace(FILE, path="accounts/x.parquet"))


def test_what_was_appended_is_read_again(tmp_path: Path) -> None:
    written = Ledger.load(tmp_path).append(DELIVERY).mark_processed()
    assert Ledger.load(tmp_path) == written
    assert written.entries == (replace(DELIVERY, state="processed"),)


def test_a_landing_without_a_ledger_has_no_deliveries(tmp_path: Path) -> None:
    ledger = Ledger.load(tmp_path / "nothing here")
    assert (ledger.entries, ledger.last, ledger.last_processed, ledger.unfinished) == ((), None, None, None)


def test_a_replaced_delivery_is_not_among_those_that_made_history(tmp_path: Path) -> None:
    correction = replace(DELIVERY, delivered_at=TIME + timedelta(microseconds=1))
    ledger = Ledger.load(tmp_path).append(DELIVERY).append(correction)
    assert ledger.unfinished == correction
    assert [entry.state for entry in ledger.entries] == ["discarded", "landed"]
    assert ledger.discarded_by_last == replace(DELIVERY, state="discarded")
    assert ledger.last_processed is None
    assert [entry.delivered_at for entry in ledger.mark_processed().processed] == [correction.delivered_at]


def test_a_ledger_from_before_deliveries_were_marked_as_discarded_is_read_as_it_was_meant(tmp_path: Path) -> None:
    entries = [
        DELIVERY,
        replace(DELIVERY, delivered_at=TIME + timedelta(microseconds=1), state="processed"),
        replace(DELIVERY, logical_date=TIME + timedelta(days=1), delivered_at=TIME + timedelta(days=1)),
    ]
    (tmp_path / "ledger.jsonl").write_text("".join(json.dumps(entry.to_json()) + "\n" for entry in entries))

    ledger = Ledger.load(tmp_path)

    assert (ledger.unfinished, ledger.last_processed) == (entries[2], entries[1])
    assert [entry.state for entry in ledger.append(DELIVERY).entries] == [
        "discarded",
        "processed",
        "discarded",
        "landed",
    ]


def test_times_are_written_in_utc_and_sort_as_text() -> None:
    tokyo = datetime(2026, 1, 5, 11, tzinfo=timezone(timedelta(hours=9)))
    assert time_text(tokyo) == "2026-01-05T02:00:00.000000Z"
    assert time_text(tokyo) < time_text(tokyo + timedelta(microseconds=1))


def test_a_time_before_the_year_1000_can_be_read_again() -> None:
    """Its year has four digits, too. (Ingestion refuses it; a ledger that can't be read would stop every run.)"""
    assert time_text(datetime(206, 1, 5, 2, tzinfo=UTC)) == "0206-01-05T02:00:00.000000Z"


def test_a_ledger_that_is_no_text_is_an_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "ledger.jsonl").write_bytes(b"\xff\n")
    with pytest.raises(LedgerError, match=r"ledger\.jsonl: not a ledger"):
        Ledger.load(tmp_path)


@pytest.mark.parametrize("line", ["", "{", "[]", "{}", '{"state": "lost"}'])
def test_a_damaged_ledger_is_an_error_that_names_the_line(tmp_path: Path, line: str) -> None:
    Ledger.load(tmp_path).append(DELIVERY)
    with (tmp_path / "ledger.jsonl").open("a") as file:
        file.write(line + "\n")
    with pytest.raises(LedgerError, match=r"ledger\.jsonl, line 2: not an entry"):
        Ledger.load(tmp_path)
