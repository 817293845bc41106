"""Masks the rows of a report: only columns that are known to be harmless are shown, so no names and no raw text."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from include.entities import ACCOUNT
from include.landing import harmless_columns
from include.ledger import time_text
from include.quality.report import Row

_OTHERS = """
    row_key record_key dbt_scd_id source_row_number
    expected_account_id existing_account_id savings_account_id summary_account_id
    staged_account_id current_account_id staged_customer_id current_customer_id
    summed_customer_id profile_customer_id
    balance_amount original_balance_amount annual_interest_amount new_balance_amount total_balance_amount
    total_annual_interest_amount from_balance_amount below_balance_amount previous_below_balance_amount
    next_from_balance_amount interest_rate_pct base_rate_pct loan_bonus_pct limit_pct
    has_loan_flag record_status failure_reasons malformed_reason file_name entity
    loaded_at calculated_at valid_from_at valid_from_date dbt_updated_at dbt_valid_from dbt_valid_to previous_valid_to
    n_records record_count quarantined_count read_count accounted_count found_count landed_count lowest_row_number
    highest_row_number total_accounts_count tiers_from_the_beginning version_number tier_number
    column_name expected_type found_type
"""
"""Columns of tables and tests that are shown: ids, amounts, rates, flags, times, counts and reasons."""

_TESTED = ("unique_field", "value_field", "from_field")
"""Names that dbt's generic tests give to the column that they test."""

_SHIFTED = frozenset({"source_row_number", "failure_reasons", "malformed_reason", "loaded_at"})
"""The columns of a malformed record that are shown. Its fields may be shifted, for example a name into the balance."""

_KEYWORDS = frozenset(["yes", "y", "no", "n", "true", "false", "savings", "checking", "null", "none", "n/a"])

_LONGEST = 200


def shown_columns() -> frozenset[str]:
    """Return the columns that are shown: the harmless ones of the files, and those of models and tests."""
    return harmless_columns() | frozenset(_OTHERS.split())


def masked(row: Mapping[str, object], *, tested_column: str | None = None) -> Row:
    """Return a row as text, with every column masked that is not known to be harmless.

    `tested_column` is the column that dbt's generic tests show under another name.
    """
    reasons = str(row.get("failure_reasons") or "")
    is_malformed = reasons.startswith("malformed") or row.get("malformed_reason") is not None
    shown = _SHIFTED if is_malformed else shown_columns()
    names = {column: tested_column if column in _TESTED else column.lower() for column in row}
    return {
        column: _as_text(value, is_shown=names[column] in shown and not _may_be_a_name(names[column], value))
        for column, value in row.items()
    }


def aware(value: datetime) -> datetime:
    """Return an engine's time, which is in UTC, with its time zone."""
    return value if value.tzinfo else value.replace(tzinfo=UTC)


def _may_be_a_name(column: str | None, value: object) -> bool:
    """Return True if a value as received is a word that the pipeline does not know.

    A name whose comma was not quoted shifts into the next column. The key of an account may be any text.
    """
    if (
        column == ACCOUNT.key
        or column not in harmless_columns()
        or not isinstance(value, str)
        or value.strip().lower() in _KEYWORDS
    ):
        return False
    return not value.isascii() or sum(character.isalpha() for character in value) > 1


def _as_text(value: object, *, is_shown: bool) -> str | None:
    if value is None:
        return None
    text = time_text(aware(value)) if isinstance(value, datetime) else str(value)
    if not is_shown:
        return f"*** ({len(text)} characters)"
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}... ({len(text)} characters)"
