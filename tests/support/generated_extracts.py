"""Hypothesis strategies for deliveries: each changes the one before, in every way that the design speaks of."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import strategies as st

from tests.support.deliveries import ACCOUNTS_HEADER, CUSTOMERS_HEADER
from tests.support.reference_model import Record

HEADERS = {"customers": CUSTOMERS_HEADER.split(","), "accounts": ACCOUNTS_HEADER.split(",")}

BLANKS = (" ", "\t", "\x0b", "\x85", "\u00a0", "\u2009", "\u200b", "\u2060", "\ufeff")
"""What a file can have beside a value and nobody sees."""

IDS = ("1", "2", "3", "4", "5", "6", "7", "8")
ODD_IDS = (
    "01",
    " 2",
    "3\t",
    "0004",
    "\u200b5",
    "\u00a06\ufeff",
    "7\u200b8",
    "9223372036854775807",
    "9223372036854775808",
    "0",
    "00",
    "-1",
    "1.0",
    "1e0",
    "٣",
    "+5",
)
MISSING = ("", "  ", "null", "NULL", "N/a", "none", " None ", "\u200b", "\x0bnull\u2060", "\u00a0\x85")
NAMES = (
    "Ada",
    "ADA",
    " ada",
    "Bo, Jr",
    'Cy "C" Lee',
    "Di\nna",
    "Éva",
    "İSMET",
    "ΟΔΥΣΣΕΥΣ",
    "Straße",
    "\u00a0nbsp",
    "😀",
    "ﬁ",
    "a'b",
    "x\u202ey",
)
FLAGS = ("yes", "YES", "y", "true", "1", "no", "N", "False", "0", " yes ", "maybe", "ＹＥＳ", "2", "1.0")
BALANCES = (
    "0", "-0.00", "+5", "9999.99", "10000", "9999.994", "9999.995", "19999.99", "20000.00", "19999.995", "0.50",
    "33.33", "0.005", "9999999999999999.99", "9999999999999999.994", "9999999999999999.995", "10000000000000000", "-5",
    "-0.001", ".5", "5.", "1e3", "1,5", "abc", "0000000000000000000012.50", "٣",
)  # fmt: skip
TYPES = (
    "savings",
    "checking",
    "SAVINGS",
    " Checking ",
    "savings\u3000",
    "sav\u200bings",
    "loan",
    "ſavings",
    "checkin\u212a",
)
ACCOUNT_IDS = ("A1", "A2", 'A"3', "A4", "A5", "A6", "A7", "A8", "a1", "é,9")

BROKEN_QUOTES = {
    "stray quote": ("quote in an unquoted field", 'a"b'),
    "text after quote": ("text after a closing quote", '"a"b'),
}

text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=6)


def mostly(usual: tuple[str, ...], *others: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Draw a usual value two times of three."""
    return st.integers(0, 2).flatmap(lambda n: st.sampled_from(usual) if n else st.one_of(*others))


missing = st.sampled_from(MISSING)
customer_ids = mostly(IDS, st.sampled_from(ODD_IDS), missing, text)
FIELDS = {
    "customers": st.tuples(
        customer_ids,
        mostly(NAMES[:6], st.sampled_from(NAMES), missing, text),
        mostly(("yes", "no"), st.sampled_from(FLAGS), missing, text),
    ),
    "accounts": st.tuples(
        mostly(ACCOUNT_IDS, missing, text),
        customer_ids,
        mostly(BALANCES[:13], st.sampled_from(BALANCES), missing, text),
        mostly(TYPES[:2], st.sampled_from(TYPES), missing, text),
    ),
}


@dataclass(frozen=True)
class Extract:
    """A file as sent, and the records that it holds."""

    content: bytes
    records: tuple[Record, ...]


@dataclass(frozen=True)
class Line:
    """What a record is made from: fields by the design's header, and how it is broken, if it is."""

    fields: tuple[str, ...]
    damage: str | None = None


START = {
    "customers": [Line((id_, name, flag)) for id_, name, flag in zip(IDS, NAMES, ("yes", "no") * 4, strict=False)],
    "accounts": [
        Line((id_, customer_id, balance, type_))
        for id_, customer_id, balance, type_ in zip(
            ACCOUNT_IDS, IDS, BALANCES, ("savings", "savings", "checking") * 3, strict=False
        )
    ],
}
"""What the first delivery changes: each account with a customer of its own, so that a change has somebody to reach."""


def lines(file: str) -> st.SearchStrategy[Line]:
    damage = st.sampled_from([None] * 9 + ["short", "long", "stray quote", "text after quote"])
    return st.builds(Line, FIELDS[file], damage)


@st.composite
def next_lines(draw: st.DrawFn, file: str, before: list[Line]) -> list[Line]:
    """Keep most lines of the file before; change, break, fix, drop or repeat others; add new ones; reorder."""
    result = []
    for line in before:
        match draw(st.integers(0, 11)):
            case 0:
                continue
            case 1 | 2:
                changed = draw(st.integers(0, len(line.fields) - 1))
                other = draw(FIELDS[file])
                fields = tuple(other[i] if i == changed else value for i, value in enumerate(line.fields))
                result.append(Line(fields, line.damage))
            case 3:
                result.append(Line(line.fields, None if line.damage else draw(lines(file)).damage))
            case 4:
                result += [line, line]
            case 5:
                respelt = (f"{line.fields[0]}{draw(st.sampled_from(BLANKS))}", *line.fields[1:])
                result += [line, Line(respelt, line.damage)]
            case _:
                result.append(line)
    result += draw(st.lists(lines(file), max_size=6, min_size=0 if result else 1))
    return draw(st.permutations(result)) if draw(st.integers(0, 3)) == 0 else result


@st.composite
def extracts(draw: st.DrawFn, file: str, lines: list[Line]) -> Extract:
    """Write the lines as a file, in one of the ways in which a sender may write it."""
    header = HEADERS[file]
    if draw(st.integers(0, 3)) == 0:
        header, lines = (*header, "Note"), [Line((*line.fields, draw(text)), line.damage) for line in lines]
    order = draw(st.permutations(range(len(header)))) if draw(st.booleans()) else list(range(len(header)))
    newline = draw(st.sampled_from(["\n", "\r\n"]))
    quote_all = draw(st.booleans())
    spelling = draw(st.sampled_from([str, str.lower, str.upper, " {} ".format]))
    rows = [",".join(spelling(header[i]) for i in order)]
    records = []
    for line in lines:
        row, record = _record(line, order, len(HEADERS[file]), quote_all)
        if row:  # an empty line is no record
            rows.append(row)
            records.append(record)
        if draw(st.integers(0, 9)) == 0:
            rows.append("")
    bom = draw(st.sampled_from(["", "\ufeff"]))
    ends = newline if draw(st.booleans()) or not rows[-1] else ""
    return Extract((bom + newline.join(rows) + ends).encode(), tuple(records))


def _record(line: Line, order: list[int], declared: int, quote_all: bool) -> tuple[str, Record]:
    """Return the text of a line in the file's order of columns, and the record that it is: its declared fields."""
    fields = [line.fields[column] for column in order]
    malformed = None
    if line.damage in BROKEN_QUOTES:
        malformed, spoilt = BROKEN_QUOTES[line.damage]
        fields = ["".join(c for c in value if c not in ',"\r\n') for value in fields]
        fields[order.index(1)] = spoilt  # not the key, so that there is no doubt what the key is
        row = ",".join(fields)
    else:
        fields = {"short": fields[:-1], "long": [*fields, "more"]}.get(line.damage or "", fields)
        if line.damage:
            malformed = f"expected {len(order)} fields, found {len(fields)}"
        row = ",".join(_quoted(value) if quote_all or set(value) & set(',"\r\n') else value for value in fields)
    places = [order.index(column) for column in range(declared)]
    by_column = [fields[place] if place < len(fields) else None for place in places]
    raw = row if row != ",".join(fields[: len(order)]) else None
    return row, Record(tuple(by_column), malformed, raw)


def _quoted(value: str) -> str:
    return '"' + value.replace('"', '""') + '"'
