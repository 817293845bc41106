"""Ingestion on real files: what is landed, what is refused, and that a refusal changes nothing."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import pytest

from include import ingestion
from include.errors import PipelineError
from include.files import Locked, lock
from include.ingestion import Ingestion, IngestionError, StillWritten, find_extracts, ingest, unfinished_before
from include.ledger import Ledger
from include.settings import Settings
from include.warehouse import open_warehouse
from tests.support.databases import execute
from tests.support.deliveries import CUSTOMERS_HEADER, account, customer, day, write_extracts

CUSTOMERS = [
    customer("1", name="Ada", has_loan="yes"),
    customer("2", name="Bo"),
    customer("3", name="Cy"),
    customer("4", name="Di"),
]
ACCOUNTS = [account("A", customer_id="1"), account("B", customer_id="2")]


def land(settings: Settings, number: int, *, processed: bool = True, **options: bool) -> Ingestion:
    """Ingest the delivery of a day and, unless told otherwise, close it as the rest of the pipeline would."""
    done = ingest(settings, logical_date=day(number), run_id=f"run_{number}", **options)
    if processed:
        Ledger.load(settings.landing_path).mark_processed()
    return done


def landed(settings: Settings, name: str, columns: str = "*") -> list[tuple[object, ...]]:
    """Return what the last entry of the ledger has landed of one file."""
    last = Ledger.load(settings.landing_path).last
    assert last is not None
    with duckdb.connect() as connection:
        connection.execute("set TimeZone = 'UTC'")
        path = settings.landing_path / last.file(name).path
        return connection.sql(f"select {columns} from '{path}' order by source_row_number").fetchall()


def states(settings: Settings) -> dict[str, str]:
    """Return the state of each run's delivery."""
    return {entry.run_id: entry.state for entry in Ledger.load(settings.landing_path).entries}


def everything_in(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and not path.name.endswith(".lock")
    }


@pytest.fixture
def first(settings: Settings) -> Settings:
    """A landing with the delivery of the fifth, processed."""
    write_extracts(settings.input_path, CUSTOMERS, ACCOUNTS)
    land(settings, 5)
    return settings


def test_a_delivery_is_landed_as_received(settings: Settings) -> None:
    customers = [customer("1", name="  Ada ", has_loan="yes"), customer("x", name="", has_loan=""), "3,Cy"]
    write_extracts(settings.input_path, customers, [account("A", balance="10.005")])

    done = land(settings, 5, processed=False)

    assert done.outcome == "landed"
    assert landed(settings, "customers", "customer_id, name, has_loan, source_row_number, malformed_reason") == [
        ("1", "  Ada ", "yes", 1, None),
        ("x", "", "", 2, None),
        ("3", "Cy", None, 3, "expected 3 fields, found 2"),
    ]
    assert landed(settings, "accounts", "account_id, balance") == [("A", "10.005")]


def test_the_ledger_records_what_was_received(settings: Settings) -> None:
    write_extracts(settings.input_path, [*CUSTOMERS, customer(" 1 "), customer("NULL"), "5,Ed"], ACCOUNTS)

    entry = land(settings, 5, processed=False).delivery

    assert (entry.state, entry.run_id) == ("landed", "run_5")
    assert entry.logical_date == entry.delivered_at == day(5)
    assert (entry.customers.rows, entry.customers.distinct_keys) == (7, 5)
    assert entry.customers.bytes == (settings.input_path / "customers.csv").stat().st_size
    assert Ledger.load(settings.landing_path).entries == (entry,)


def test_a_record_keeps_the_time_since_which_it_has_been_arriving(first: Settings) -> None:
    write_extracts(first.input_path, [CUSTOMERS[0], customer("2", name="BO"), CUSTOMERS[2], "3,Cy", "3,Cy"], ACCOUNTS)
    land(first, 6)
    write_extracts(first.input_path, [*CUSTOMERS[:3], "3,Cy", "3,Cy"], ACCOUNTS)
    land(first, 7)

    since = [(key, name, time.day) for key, name, time in landed(first, "customers", "customer_id, name, loaded_at")]  # type: ignore[attr-defined]

    assert since == [("1", "Ada", 5), ("2", "Bo", 7), ("3", "Cy", 5), ("3", "Cy", 6), ("3", "Cy", 6)]


def test_another_order_of_columns_quotes_and_line_breaks_is_the_same_record(first: Settings) -> None:
    (first.input_path / "customers.csv").write_bytes(
        b'\xef\xbb\xbfname,hasloan,CUSTOMERID\r\n"Ada",yes,1\r\nBo,no,2\r\nCy,no,3\r\nDi,no,4\r\n'
    )
    land(first, 6)

    assert {time for (time,) in landed(first, "customers", "loaded_at")} == {
        time for (time,) in landed(first, "accounts", "loaded_at")
    }


def test_the_same_delivery_again_changes_nothing(first: Settings) -> None:
    before = everything_in(first.landing_path)

    assert land(first, 5, processed=False).outcome == "unchanged"
    assert everything_in(first.landing_path) == before


def test_other_content_on_the_same_date_is_a_correction_a_microsecond_later(first: Settings) -> None:
    for number in (1, 2):
        write_extracts(first.input_path, [*CUSTOMERS, customer(f"{number}0")], ACCOUNTS)
        correction = land(first, 5).delivery
        assert correction.logical_date == day(5)
        assert correction.delivered_at == day(5) + timedelta(microseconds=number)


def test_a_correction_back_to_the_first_content_is_a_delivery_too(first: Settings) -> None:
    write_extracts(first.input_path, [*CUSTOMERS, customer("10")], ACCOUNTS)
    land(first, 5)
    write_extracts(first.input_path, CUSTOMERS, ACCOUNTS)

    assert land(first, 5).delivery.delivered_at == day(5) + timedelta(microseconds=2)


def test_an_older_delivery_is_refused_naming_both_times(first: Settings) -> None:
    before = everything_in(first.landing_path)

    with pytest.raises(IngestionError, match=r"2026-01-04T02:00.* is older than .* 2026-01-05T02:00"):
        land(first, 4)
    assert everything_in(first.landing_path) == before


def test_an_unfinished_delivery_is_finished_before_the_next_begins(first: Settings) -> None:
    land(first, 6, processed=False)

    unfinished = unfinished_before(first, logical_date=day(7))
    assert unfinished and unfinished.run_id == "run_6"
    assert unfinished_before(first, logical_date=day(6)) is None
    assert unfinished_before(first, logical_date=day(7), discard_unfinished=True) is None
    with pytest.raises(IngestionError, match=r"2026-01-06T02:00.* was landed by run run_6 but not processed"):
        land(first, 7)
    assert land(first, 6, processed=False).outcome == "resumed"


def begin_run_6(settings: Settings) -> None:
    """Land a delivery, and leave the warehouse with what its processing has made so far."""
    ingest(settings, logical_date=day(6), run_id="run_6", warehouse=open_warehouse(settings))
    execute(settings.duckdb_path, "create table made_by_run_6 as select 1 as x")


def test_a_correction_replaces_an_unfinished_delivery(first: Settings) -> None:
    begin_run_6(first)
    write_extracts(first.input_path, [*CUSTOMERS, customer("5")], ACCOUNTS)

    ingest(first, logical_date=day(6), run_id="again", warehouse=open_warehouse(first))

    assert not first.duckdb_path.exists(), "the tables are as they were before run_6"
    land(first, 6, processed=False)
    Ledger.load(first.landing_path).mark_processed()
    assert [entry.run_id for entry in Ledger.load(first.landing_path).processed] == ["run_5", "again"]


def test_a_discarded_delivery_makes_room_for_one_of_another_day(first: Settings) -> None:
    begin_run_6(first)

    done = ingest(first, logical_date=day(7), run_id="next", discard_unfinished=True, warehouse=open_warehouse(first))

    assert (done.outcome, done.delivery.delivered_at) == ("landed", day(7))
    assert not first.duckdb_path.exists(), "the tables are as they were before run_6"
    assert states(first) == {"run_5": "processed", "run_6": "discarded", "next": "landed"}


def test_a_discarded_delivery_may_be_of_a_later_day(first: Settings) -> None:
    """As one of 2062 is, that was landed before such dates were refused."""
    land(first, 20, processed=False)

    done = ingest(first, logical_date=day(6), run_id="next", discard_unfinished=True)

    assert done.delivery.delivered_at == day(6)
    with pytest.raises(IngestionError, match="is older than the last processed one"):
        land(first, 4, discard_unfinished=True)
    Ledger.load(first.landing_path).mark_processed()
    write_extracts(first.input_path, [*CUSTOMERS, customer("5")], ACCOUNTS)
    assert land(first, 20).delivery.delivered_at == day(20) + timedelta(microseconds=1)
    assert len(list((first.landing_path / "customers").glob("*.parquet"))) == 4


def test_a_delivery_that_another_run_landed_is_discarded_though_the_files_are_the_same(first: Settings) -> None:
    land(first, 6, processed=False)

    done = ingest(first, logical_date=day(6), run_id="again", discard_unfinished=True)

    assert (done.outcome, done.delivery.delivered_at) == ("landed", day(6) + timedelta(microseconds=1))
    assert states(first) == {"run_5": "processed", "run_6": "discarded", "again": "landed"}


def test_a_run_that_is_tried_again_does_not_discard_its_own_delivery(first: Settings) -> None:
    land(first, 6, processed=False)
    for _ in range(2):
        done = ingest(first, logical_date=day(7), run_id="next", discard_unfinished=True)

    assert (done.outcome, done.delivery.delivered_at) == ("resumed", day(7))


def test_files_that_are_refused_discard_nothing(first: Settings) -> None:
    begin_run_6(first)
    before = everything_in(first.landing_path)
    write_extracts(first.input_path, CUSTOMERS, [])

    with pytest.raises(IngestionError, match="a header and no records"):
        ingest(first, logical_date=day(7), run_id="next", discard_unfinished=True, warehouse=open_warehouse(first))
    assert first.duckdb_path.exists()
    assert everything_in(first.landing_path) == before


def test_a_date_more_than_a_day_ahead_of_the_clock_is_refused_naming_both(settings: Settings) -> None:
    write_extracts(settings.input_path, CUSTOMERS, ACCOUNTS)

    with pytest.raises(IngestionError, match=r"9062-01-06T02:00.* is more than a day ahead of the clock, 2\d\d\d-"):
        ingest(settings, logical_date=datetime(9062, 1, 6, 2, tzinfo=UTC), run_id="typed")
    assert everything_in(settings.landing_path) == {}


def test_a_landed_file_that_is_gone_is_named_and_nothing_is_landed(first: Settings) -> None:
    landed = first.landing_path / Ledger.load(first.landing_path).entries[-1].accounts.path
    landed.unlink()
    before = everything_in(first.landing_path)

    with pytest.raises(PipelineError, match=re.escape(str(landed))):
        ingest(first, logical_date=day(6), run_id="next")
    assert everything_in(first.landing_path) == before


def test_a_date_whose_year_lacks_a_digit_is_refused(settings: Settings) -> None:
    write_extracts(settings.input_path, CUSTOMERS, ACCOUNTS)
    with pytest.raises(IngestionError, match=r"0206-01-06T02:00:00.* is before the year 1900"):
        ingest(settings, logical_date=datetime(206, 1, 6, 2, tzinfo=UTC), run_id="mistyped")


def test_a_date_within_a_day_of_the_clock_is_taken(settings: Settings) -> None:
    write_extracts(settings.input_path, CUSTOMERS, ACCOUNTS)

    tomorrow = datetime.now(UTC) + timedelta(hours=23)
    assert ingest(settings, logical_date=tomorrow, run_id="early").outcome == "landed"


def test_keys_that_fall_too_far_are_refused_as_truncated(first: Settings) -> None:
    before = everything_in(first.landing_path)
    write_extracts(first.input_path, CUSTOMERS[:1], ACCOUNTS)

    with pytest.raises(
        IngestionError, match=r"customers\.csv lacks 3 of the 4 values of customer_id .*\(for example 2, 3, 4\)"
    ):
        land(first, 6)
    assert everything_in(first.landing_path) == before


@pytest.mark.parametrize("spelling", ["{}.0", "-{}", "{}e0", "x{}", "9{}"])
def test_as_many_keys_that_are_none_of_the_last_delivery_are_refused(first: Settings, spelling: str) -> None:
    keys = [spelling.format(number) for number in range(1, 5)]
    write_extracts(first.input_path, [customer(key) for key in keys], ACCOUNTS)

    with pytest.raises(IngestionError, match="lacks 4 of the 4 values of customer_id"):
        land(first, 6)


def test_account_ids_that_lose_their_leading_zeros_are_refused(settings: Settings) -> None:
    write_extracts(settings.input_path, CUSTOMERS, [account("001"), account("002")])
    land(settings, 5)
    write_extracts(settings.input_path, CUSTOMERS, [account("1"), account("2")])

    with pytest.raises(IngestionError, match=r"lacks 2 of the 2 values of account_id .*\(for example '001', '002'\)"):
        land(settings, 6)


def test_another_spelling_of_a_number_is_the_same_customer(first: Settings) -> None:
    spelt = [customer("01"), customer(" 2\t"), customer("\u00a03\u200b"), '4","0",Di']
    write_extracts(first.input_path, spelt, [account(" A\u3000"), "B,2"])

    assert land(replace(first, max_row_drop_pct=0.0), 6).delivery.customers.distinct_keys == 4


def test_a_delivery_without_a_readable_key_leaves_nothing_to_compare_with(settings: Settings) -> None:
    write_extracts(settings.input_path, [customer("1.0")], [account("n/a")])
    land(settings, 5)
    write_extracts(settings.input_path, CUSTOMERS, ACCOUNTS)

    assert land(replace(settings, max_row_drop_pct=0.0), 6).outcome == "landed"


def test_keys_are_compared_with_those_of_the_last_delivery_that_was_processed(first: Settings) -> None:
    write_extracts(first.input_path, [customer("7")], ACCOUNTS)
    land(first, 6, processed=False, accept_row_drop=True)
    write_extracts(first.input_path, CUSTOMERS, ACCOUNTS)

    assert land(replace(first, max_row_drop_pct=0.0), 6).delivery.delivered_at > day(6)


def test_a_long_key_with_line_breaks_does_not_break_the_message(settings: Settings) -> None:
    write_extracts(settings.input_path, CUSTOMERS, [account("A\n" + "x" * 1000)])
    land(settings, 5)
    write_extracts(settings.input_path, CUSTOMERS, ACCOUNTS)

    with pytest.raises(IngestionError, match="lacks 1 of the 1 values") as refused:
        land(settings, 6)
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 500


def test_a_fall_by_just_the_limit_is_taken(first: Settings) -> None:
    write_extracts(first.input_path, CUSTOMERS[:2], ACCOUNTS)

    assert land(first, 6).outcome == "landed"


def test_the_limit_is_a_setting(first: Settings) -> None:
    write_extracts(first.input_path, CUSTOMERS[:3], ACCOUNTS)

    with pytest.raises(IngestionError, match=r"lacks 1 of the 4 .* more than MAX_ROW_DROP_PCT \(10 %\)"):
        land(replace(first, max_row_drop_pct=10.0), 6)


def test_a_fall_is_taken_when_somebody_accepts_it(first: Settings) -> None:
    write_extracts(first.input_path, CUSTOMERS[:1], ACCOUNTS)

    assert land(first, 6, accept_row_drop=True).outcome == "landed"


def test_malformed_records_count_as_keys_that_are_still_there(first: Settings) -> None:
    write_extracts(first.input_path, [record.replace(",", ",x,") for record in CUSTOMERS], ACCOUNTS)

    assert land(first, 6).outcome == "landed"


def test_the_folder_of_the_day_goes_before_the_loose_files(settings: Settings) -> None:
    write_extracts(settings.input_path, CUSTOMERS, ACCOUNTS)
    write_extracts(settings.input_path / "2026-01-06", [customer("9")], ACCOUNTS)

    assert find_extracts(settings.input_path, day(5))["customers"] == settings.input_path / "customers.csv"
    assert find_extracts(settings.input_path, day(6))["customers"].parent.name == "2026-01-06"


def test_a_backfill_takes_nothing_but_the_folder_of_the_day(settings: Settings) -> None:
    write_extracts(settings.input_path, CUSTOMERS, ACCOUNTS)

    with pytest.raises(IngestionError, match=r"2026-01-06 has no customers\.csv and no accounts\.csv: a backfill"):
        land(settings, 6, dated_folder_only=True)


def test_a_folder_of_the_day_with_one_file_is_refused(settings: Settings) -> None:
    write_extracts(settings.input_path, CUSTOMERS, ACCOUNTS)
    write_extracts(settings.input_path / "2026-01-06", CUSTOMERS, ACCOUNTS)
    (settings.input_path / "2026-01-06" / "accounts.csv").unlink()

    with pytest.raises(IngestionError, match=r"2026-01-06 has no accounts\.csv"):
        land(settings, 6)


def test_a_logical_date_east_of_utc_belongs_to_its_day_in_utc(settings: Settings) -> None:
    write_extracts(settings.input_path / "2026-01-06", CUSTOMERS, ACCOUNTS)

    found = find_extracts(settings.input_path, datetime.fromisoformat("2026-01-07T05:00:00+09:00"))

    assert found["accounts"].parent.name == "2026-01-06"


@pytest.mark.parametrize(
    "so_far",
    [[], ["CustomerID,Name"], [CUSTOMERS_HEADER], [CUSTOMERS_HEADER, customer()], [CUSTOMERS_HEADER, *CUSTOMERS]],
    ids=["nothing", "half the header", "the header", "too few records", "enough records"],
)
@pytest.mark.parametrize("is_replaced", [True, False], ids=["replaced", "gone"])
def test_a_file_that_changes_while_it_is_read_is_for_another_try_wherever_it_ended(
    first: Settings, monkeypatch: pytest.MonkeyPatch, so_far: list[str], is_replaced: bool
) -> None:
    before = Ledger.load(first.landing_path).entries
    write_extracts(first.input_path, [*CUSTOMERS, customer("5")], ACCOUNTS)
    customers = first.input_path / "customers.csv"
    complete = customers.read_text()
    customers.write_text("\n".join(so_far))
    read = ingestion.read_csv

    def change_while_reading(*arguments: object, **named: object) -> object:
        customers.unlink(missing_ok=True)
        if is_replaced:
            customers.write_text(complete)
        return read(*arguments, **named)

    with monkeypatch.context() as patch:
        patch.setattr(ingestion, "read_csv", change_while_reading)
        with pytest.raises(StillWritten, match=r"customers\.csv changed while it was read"):
            land(first, 6)
    assert Ledger.load(first.landing_path).entries == before
    customers.write_text(complete)
    assert land(first, 6).outcome == "landed"


def test_two_ingestions_at_once_do_not_mix(first: Settings) -> None:
    with (
        lock(first.landing_path / ".ingest.lock", "ingesting a delivery (run other)"),
        pytest.raises(Locked, match=rf"process {os.getpid()} is ingesting a delivery \(run other\)"),
    ):
        land(first, 6)


def test_the_log_says_what_a_delivery_takes_in_the_landing(first: Settings, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", logger="include"):
        land(first, 6)
    for name in ("customers", "accounts"):
        received, landed = (
            first.input_path / f"{name}.csv",
            first.landing_path / name / "20260106T020000000000Z.parquet",
        )
        assert f"landed {name}.csv, {received.stat().st_size:,} bytes, as " in caplog.text
        assert f"{landed.name}: {landed.stat().st_size:,} bytes" in caplog.text


def test_an_earlier_landing_is_never_touched(first: Settings) -> None:
    before = everything_in(first.landing_path)
    write_extracts(first.input_path, [*CUSTOMERS, customer("5")], ACCOUNTS)
    land(first, 6)

    after = everything_in(first.landing_path)
    assert {name: after[name] for name in before if name.endswith(".parquet")} == {
        name: content for name, content in before.items() if name.endswith(".parquet")
    }
    assert len(after) == len(before) + 2
