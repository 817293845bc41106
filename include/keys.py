"""Finds the readable keys of an extract, by staging's rules for keys (docs/architecture/data_flow.md)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import duckdb

from include.entities import KeyType
from include.quoting import literal

WHITE_SPACE = (
    *range(0x09, 0x0E),
    *(0x20, 0x85, 0xA0, 0x1680),
    *range(0x2000, 0x200C),
    *(0x2028, 0x2029, 0x202F, 0x205F, 0x2060, 0x3000, 0xFEFF),
)
"""The characters that are trimmed from both ends of a field, as dbt/macros/cleaning/clean_string.sql does."""

# trim() with these characters takes 0.8 s for a million strings, this expression 0.1 s.
_ANY_WHITE_SPACE = "[" + "".join(f"\\x{{{point:x}}}" for point in WHITE_SPACE) + "]"

_LAST = "\U0010ffff"
"""The last character in sort order: a text followed by it sorts after every text that begins with the same text."""


def _received(column: str) -> str:
    """Return the expression for the key of a record, by the rules of dbt/macros/cleaning/key_received.sql."""
    is_quoted = f"coalesce(contains(raw_record, '\"' || replace({column}, '\"', '\"\"') || '\"'), false)"
    return f"if(malformed_reason like '%quote%' and not {is_quoted}, replace({column}, '\"', ''), {column})"


def _trimmed(key: str) -> str:
    return f"regexp_replace({key}, '^{_ANY_WHITE_SPACE}+|{_ANY_WHITE_SPACE}+$', '', 'g')"


def _readable(key: str, key_type: KeyType) -> str:
    """Return the expression by which a trimmed key is compared; NULL if it can't be read."""
    if key_type == "number":
        return f"nullif(try_cast(case when regexp_full_match({key}, '[0-9]+') then {key} end as bigint), 0)"
    return f"case when lower({key}) not in ('', 'null', 'n/a', 'none') then {key} end"


@dataclass(frozen=True)
class KeyComparison:
    """How many distinct readable keys an extract has, and how many keys of the previous one are missing from it.

    `examples` are the first three of the missing keys: whole numbers or text.
    """

    distinct: int
    missing: int
    examples: Sequence[int | str]


def compare_keys(connection: duckdb.DuckDBPyConnection, column: str, key_type: KeyType) -> KeyComparison:
    """Compare the readable keys of the records in `extract` with those in `before`: two relations of the connection.

    A `number` consists of the digits 0-9, is between 1 and 9223372036854775807, and is compared as a number; `text` is
    anything that does not count as missing. Malformed records have keys, too.
    """
    received, received_before = (
        f"select {_received(column)} as key from {records}" for records in ("extract", "before")
    )
    [(distinct, missing, examples)] = connection.execute(f"""
        with found as materialized ({_distinct_keys(received, key_type)}),
        -- Most keys arrive again as the same text. Only the others have to be read.
        respelled as materialized (
            {_distinct_keys(f"select key from ({received_before}) anti join ({received}) using (key)", key_type)}
        ),
        missing as materialized (select key from respelled anti join found using (key) where key is not null)
        select
            (select count(key) from found),
            (select count(*) from missing),
            (select min(key, 3) from missing)
    """).fetchall()
    return KeyComparison(distinct, missing, examples or ())


def has_key(column: str, key: int | str) -> str:
    """Return the condition, over a landed file, that a record has this readable key: a number, or text.

    The ranges come first. They contain everything that may be read as the key, and let DuckDB skip the row groups that
    can't have it. Of a file that is ordered by key, it reads very little.
    """
    key_type: KeyType = "number" if isinstance(key, int) else "text"
    text = str(key)
    ranges = [
        (text, f"{text}#"),  # the key, white space or a stray quote after it
        (f"{text}\x7f", f"{text}{_LAST}"),  # other white space after it
        ("", "!"),  # white space before it
        ("\x7f", _LAST),  # other white space before it
        *((f'{text[:length]}"', f"{text[:length]}#") for length in range(len(text))),  # a stray quote within it
    ]
    if key_type == "number":
        ranges.append(("0", "1"))  # zeros before it
    within = " or ".join(f"{column} >= {literal(low)} and {column} < {literal(high)}" for low, high in ranges)
    readable = _readable(_trimmed(_received(column)), key_type)
    return f"({within}) and {readable} = {text if key_type == 'number' else literal(text)}"


def _distinct_keys(received: str, key_type: KeyType) -> str:
    """Return a query for the distinct keys. A NULL among them stands for all keys that can't be read.

    A filter on NULL here would be pushed down below the trimming, which would then run twice.
    """
    return f"""
        select distinct {_readable("key", key_type)} as key
        from (select {_trimmed("key")} as key from ({received}))
    """
