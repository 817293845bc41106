"""Which records of a landed file have a key, in whatever spelling."""

from __future__ import annotations

import duckdb
import pytest

from include.keys import has_key

SPELLINGS: dict[int | str, tuple[list[str], list[str]]] = {
    "A1": (
        ["A1", "A1 ", " A1", "\tA1\u200b", "A1\u3000", "\ufeffA1", "A1\u00a0"],
        ['A"1', '"A1', 'A1"', ' "A1"', 'A1"\u00a0'],
    ),
    'B"1': (['B"1', 'B"1 '], []),
    "A10": (["A10"], []),
    "a1": (["a1"], []),
    "\U0010ffffA1": (["\U0010ffffA1"], []),
    "A1\U0010ffff": (["A1\U0010ffff"], []),
    "é,9": (["é,9", "é,9 ", "\u00a0é,9"], ['é",9']),
    7: (["7", "07", "007", " 7", "7\t"], ['0"7', '"07', '7"']),
    70: (["70"], []),
}
"""Spellings of a key in any record, and in those that break at its quote, where a stray quote is not part of it."""

NO_KEY = ("A1x", "7 0", "0", "null", "", " ", None)


@pytest.mark.parametrize("key", SPELLINGS)
def test_a_key_is_found_in_every_spelling_and_no_other_is(key: int | str) -> None:
    every_spelling = [spelling for pair in SPELLINGS.values() for spellings in pair for spelling in spellings]
    with duckdb.connect() as connection:
        connection.execute(
            """
            create table landed as
            select *, case record when 'quoted' then '"' || replace(spelling, '"', '""') || '",1,"2' end as raw_record
            from (select unnest(?::varchar[]) as spelling)
            cross join (values
                ('well-formed', null),
                ('short', 'expected 4 fields, found 3'),
                ('broken', 'quote in an unquoted field'),
                ('quoted', 'unclosed quote')
            ) as records(record, malformed_reason)
            """,
            [[*every_spelling, *NO_KEY]],
        )
        found = connection.execute(f"select spelling, record from landed where {has_key('spelling', key)}").fetchall()

    in_any, in_broken = SPELLINGS[key]
    expected = [(spelling, record) for spelling in in_any for record in ("well-formed", "short", "quoted")]
    has_quote = isinstance(key, str) and '"' in key
    expected += [(spelling, "broken") for spelling in (*in_any, *in_broken) if not has_quote]
    assert sorted(found, key=str) == sorted(expected, key=str)
