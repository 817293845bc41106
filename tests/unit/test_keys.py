"""Which records of a landed file have a key: the quick condition finds what the plain rule finds."""

from __future__ import annotations

import duckdb
import pytest

from include.keys import _readable, _received, _trimmed, has_key
from include.quoting import literal

SPELLINGS = (
    *("A1", "A1 ", " A1", "\tA1\u200b", "A1\u3000", "\ufeffA1", "A1\u00a0", "\U0010ffffA1", "A1\U0010ffff"),
    *('A"1', '"A1', 'A1"', ' "A1"', 'A1"\u00a0', "A1x", "A10", "a1", "é,9", "é,9 ", "\u00a0é,9", 'é",9'),
    *("7", "07", "007", " 7", "7\t", '0"7', '"07', '7"', "70", "7 0", "0", "null", "", " ", None),
)
FOUND = {"A1": 19, "A10": 2, "é,9": 7, "\U0010ffffA1": 2, "a1": 2, 7: 13, 70: 2, "none": 0}
"""How many of the spellings are each key, well-formed or malformed; a quote is dropped from a malformed one alone."""


@pytest.mark.parametrize("key", FOUND)
def test_a_key_is_found_in_every_spelling_and_no_other_is(key: int | str) -> None:
    with duckdb.connect() as connection:
        connection.execute(
            "create table landed as select * from (select unnest(?::varchar[]) as spelling) "
            "cross join (values (null), ('broken')) as reasons(malformed_reason)",
            [list(SPELLINGS)],
        )
        found = connection.execute(f"select * from landed where {has_key('spelling', key)} order by all").fetchall()
        plain = _readable(_trimmed(_received("spelling")), "number" if isinstance(key, int) else "text")
        wanted = str(key) if isinstance(key, int) else literal(key)
        expected = connection.execute(f"select * from landed where {plain} = {wanted} order by all").fetchall()

    assert found == expected
    assert len(found) == FOUND[key]
