"""What a report shows of a row."""

from __future__ import annotations

from datetime import datetime

import pytest

from include.quality.masking import masked


@pytest.mark.parametrize("column", ["name", "customer_name", "raw_record", "email", "Name"])
def test_names_raw_text_and_unknown_columns_are_masked(column: str) -> None:
    assert masked({"customer_id": 7, column: "Ada Lovelace"}) == {"customer_id": "7", column: "*** (12 characters)"}


def test_every_field_of_a_malformed_record_is_masked() -> None:
    row = {"customer_id": "7", "has_loan": "yes", "source_row_number": 3, "failure_reasons": "malformed record: x"}

    assert masked(row) == {
        "customer_id": "*** (1 characters)",
        "has_loan": "*** (3 characters)",
        "source_row_number": "3",
        "failure_reasons": "malformed record: x",
    }


@pytest.mark.parametrize("value", ["12e3", "1.2.3", "-0.01", "25x", "NULL", " Savings "])
def test_a_bad_value_that_is_no_word_is_shown(value: str) -> None:
    assert masked({"balance": value}) == {"balance": value}


@pytest.mark.parametrize("value", ["Lovelace", "李", "J. O", "perhaps"])
def test_a_word_that_is_no_keyword_is_masked_in_a_field_as_received(value: str) -> None:
    assert masked({"has_loan": value}) == {"has_loan": f"*** ({len(value)} characters)"}


@pytest.mark.parametrize(("tested", "shown"), [("customer_id", "7"), ("customer_name", "*** (1 characters)")])
def test_a_generic_tests_column_is_shown_as_the_one_that_it_tests(tested: str, shown: str) -> None:
    assert masked({"unique_field": 7}, tested_column=tested) == {"unique_field": shown}


def test_times_are_utc_and_long_texts_are_cut() -> None:
    row = masked({"loaded_at": datetime(2026, 1, 5, 2), "account_id": "A" * 300})  # noqa: DTZ001, as DuckDB gives it

    assert row == {"loaded_at": "2026-01-05T02:00:00.000000Z", "account_id": "A" * 200 + "... (300 characters)"}
