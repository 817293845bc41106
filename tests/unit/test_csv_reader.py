from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from include import csv_reader
from include.csv_reader import BadExtract, read_csv
from include.landing import Column

COLUMNS = (Column("customer_id", "CustomerID"), Column("name", "Name"), Column("has_loan", "HasLoan"))
OPENED = Column("opened_date", "OpenedDate", is_required=False)
NAMES = [column.name for column in COLUMNS]
HEADER = b"CustomerID,Name,HasLoan\n"

Read = Callable[[bytes], list[tuple[Any, ...]]]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """Read bytes as an extract: (customer_id, name, has_loan, source_row_number, raw_record, malformed_reason)."""

    def read(content: bytes) -> list[tuple[Any, ...]]:
        return rows(tmp_path / "customers.csv", content)

    return read


def rows(path: Path, content: bytes) -> list[tuple[Any, ...]]:
    path.write_bytes(content)
    table = read_csv(path, COLUMNS, path.with_suffix(".arrow"))
    assert table.column_names == [*NAMES, "source_row_number", "raw_record", "malformed_reason"]
    return sorted((tuple(row.values()) for row in table.to_pylist()), key=lambda row: row[3])


def test_fields_are_kept_exactly_as_received(read: Read) -> None:
    assert read(HEADER + " 01 ,İpek\t,\n2,NULL,\U0001f600".encode()) == [
        (" 01 ", "İpek\t", "", 1, None, None),
        ("2", "NULL", "\U0001f600", 2, None, None),
    ]


def test_a_column_that_nobody_declared_is_kept_under_its_header(tmp_path: Path) -> None:
    (tmp_path / "customers.csv").write_bytes(b'Age, Home Town,HasLoan,Name,CustomerID\n4,"Bern",yes,Ann,1\n5,,no,Bob\n')
    table = read_csv(tmp_path / "customers.csv", COLUMNS, tmp_path / "customers.arrow")
    assert [name for name in table.column_names if name not in NAMES][:2] == ["received__Age", "received__Home Town"]
    assert table.select([*NAMES, "received__Age", "received__Home Town", "malformed_reason"]).to_pylist() == [
        dict(zip((*NAMES, "received__Age", "received__Home Town", "malformed_reason"), row, strict=True))
        for row in [
            ("1", "Ann", "yes", "4", "Bern", None),
            (None, "Bob", "no", "5", "", "expected 5 fields, found 4"),
        ]
    ]


@pytest.mark.parametrize(("header", "names"), [("", NAMES), (",OPENEDDATE", [*NAMES, "opened_date"])])
def test_an_optional_column_may_be_missing(tmp_path: Path, header: str, names: list[str]) -> None:
    value = ",2020" if header else ""
    (tmp_path / "customers.csv").write_text(f"CustomerID,Name,HasLoan{header}\n1,Ann,yes{value}\n")
    table = read_csv(tmp_path / "customers.csv", (*COLUMNS, OPENED), tmp_path / "customers.arrow")
    assert table.column_names[: len(names)] == names


def test_columns_without_a_name_and_without_a_value_are_no_columns(read: Read) -> None:
    found = read(HEADER[:-1] + b",, \n1,Ann,yes, ,\xe3\x80\x80\n2,Bob,no,\n3,Cy,no\n4,Di\n5,Ed,no,,,\n")
    assert [(*row[:4], row[5]) for row in found] == [
        ("1", "Ann", "yes", 1, None),
        ("2", "Bob", "no", 2, None),
        ("3", "Cy", "no", 3, None),
        ("4", "Di", None, 4, "expected 3 fields, found 2"),
        ("5", "Ed", "no", 5, "expected 3 fields, found 6"),
    ]


def test_quotes_take_commas_quotes_and_line_breaks(read: Read) -> None:
    assert read(HEADER + b'1,"Doe, ""Jo""\r\nDoe","yes"\n') == [
        ("1", 'Doe, "Jo"\r\nDoe', "yes", 1, '1,"Doe, ""Jo""\r\nDoe","yes"', None)
    ]


@pytest.mark.parametrize("line_break", [b"\n", b"\r\n"])
@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf"])
def test_line_breaks_and_a_byte_order_mark_are_no_data(read: Read, line_break: bytes, bom: bytes) -> None:
    lines = [b"CustomerID,Name,HasLoan", b"1,Ann,yes", b"", b'2,"Bob",no', b""]
    assert [row[:5] for row in read(bom + line_break.join(lines))] == [
        ("1", "Ann", "yes", 1, None),
        ("2", "Bob", "no", 2, '2,"Bob",no'),
    ]


def test_a_byte_order_mark_that_begins_a_record_is_data(read: Read) -> None:
    """As where somebody has put files together."""
    found = read(HEADER + b"\xef\xbb\xbf1,Ann,yes\n\xef\xbb\xbf2,Bob,no\n3,Cy,no\n")
    assert [row[:4] for row in found] == [
        ("\ufeff1", "Ann", "yes", 1), ("\ufeff2", "Bob", "no", 2), ("3", "Cy", "no", 3)
    ]  # fmt: skip


def test_header_matches_trimmed_in_any_case_and_order(read: Read) -> None:
    assert read(b' HASLOAN ,customerid,"name"\nyes,1,Ann\n') == [("1", "Ann", "yes", 1, None, None)]


@pytest.mark.parametrize(
    ("record", "fields", "reason"),
    [
        ("1,Ann", ("1", "Ann", None), "expected 3 fields, found 2"),
        ("1,Ann,yes,more", ("1", "Ann", "yes"), "expected 3 fields, found 4"),
        ("   ", ("   ", None, None), "expected 3 fields, found 1"),
        ('1,A"nn,yes', ("1", 'A"nn', "yes"), "quote in an unquoted field"),
        ('1,"Ann"e,yes', ("1", '"Ann"e', "yes"), "text after a closing quote"),
        ('1,"Ann,yes', ("1", '"Ann', "yes"), "unclosed quote"),
        ("1,An\rn,yes", ("1", "An\rn", "yes"), "carriage return in an unquoted field"),
        ('1,A"n', ("1", 'A"n', None), "quote in an unquoted field"),
    ],
)
def test_a_malformed_record_says_why_and_costs_no_other(
    read: Read, record: str, fields: tuple[str | None, ...], reason: str
) -> None:
    found = read(HEADER + b"7,Eve,no\n" + record.encode() + b"\n8,Bob,no\n")
    assert [found[0], found[2]] == [("7", "Eve", "no", 1, None, None), ("8", "Bob", "no", 3, None, None)]
    assert found[1][:3] == fields
    assert found[1][5] == reason
    assert (found[1][4] or ",".join(field for field in fields if field is not None)) == record


def test_a_malformed_record_ends_at_its_first_line_break(read: Read) -> None:
    found = read(HEADER + b'1,"Ann\nsmith" x,yes\n2,Bob,no\n')
    assert [(*row[:3], row[5]) for row in found] == [
        ("1", '"Ann', None, "text after a closing quote"),
        ('smith" x', "yes", None, "quote in an unquoted field"),
        ("2", "Bob", "no", None),
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty: expected the header CustomerID,Name,HasLoan"),
        (b"\xef\xbb\xbf\r\n\n", "is empty"),
        (HEADER, "has a header and no records"),
        (HEADER + b"\n\r\n", "has a header and no records"),
        (b"CustomerID,Name\n1,Ann\n", "HasLoan is missing"),
        (b"CustomerID,FullName,HasLoan\n1,Ann,yes\n", "Name is missing. Is 'FullName' the new name of Name?"),
        (b"CustomerID,Name,HasLoan,AGE, age\n1,Ann,yes,4,5\n", "age is there 2 times"),
        (
            HEADER[:-1] + b",,\n1,Ann,yes,,\n2,Bob,no,,x\n",
            "column 5 has no name in the header, but a value in record 2",
        ),
        (b"CustomerID,Name,name,HasLoan\n1,Ann,Ann,yes\n", "Name is there 2 times"),
        (b"CustomerID;Name;HasLoan\n1;Ann;yes\n", "separated by ';'"),
        (b'CustomerID,"Name"x,HasLoan\n1,Ann,yes\n', "the header is malformed (text after a closing quote)"),
        (HEADER + b"1,Ann,yes\n2,B\xf6b,no\n", "line 3: byte 0xf6 at offset 37 is not UTF-8"),
        (HEADER + b"1,Ann,yes\xc3", "line 2: byte 0xc3"),
        (HEADER + b"1,A\0nn,yes\n", "line 2: found a NUL byte"),
        ("CustomerID,Name,HasLoan\n".encode("utf-16"), "is UTF-16: expected UTF-8"),
    ],
)
def test_a_file_that_is_no_extract_is_refused_saying_why(read: Read, content: bytes, message: str) -> None:
    with pytest.raises(BadExtract) as error:
        read(content)
    assert "customers.csv" in str(error.value)
    assert message in str(error.value)


def test_a_carriage_return_at_the_end_of_the_file_is_no_line_break(read: Read) -> None:
    [row] = read(HEADER + b"1,Ann,yes\r")
    assert (row[2], row[5]) == ("yes\r", "carriage return in an unquoted field")


@pytest.mark.parametrize(
    "content",
    [
        b"1,Ann Smith,yes\n2,Bob,no\n",
        b"1;Ann Smith;yes\n",
        b"1\tAnn Smith\tyes\n",
        b"1^Ann Smith^yes\n",
        b"1 Ann Smith yes\n",
        b'"1,Ann Smith,yes"\n"2,Bob,no"\n',
    ],
)
def test_a_record_in_place_of_the_header_is_not_shown(read: Read, content: bytes) -> None:
    """It may have a customer's name, and the message goes into logs, reports and mails."""
    with pytest.raises(BadExtract) as error:
        read(content)
    assert str(error.value).endswith("found none of them in the first line. Is the header missing?")
    assert "Ann" not in str(error.value)


@pytest.mark.parametrize(
    "content",
    [
        b"CustomerID,Name,HasLoan\r1,Ann,yes\r",
        b'CustomerID,"Name\n1,Ann",yes\n2,Bob,no\n',
        b'CustomerID,Name,"HasLoan\n1,Ann,yes\n2,Bob,no"\n3,Cy,no\n',
        b'CustomerID,Name,HasLoan,"Note\n1,Ann,yes,a\n2,Bob,no,"\n3,Cy,no,c\n',
    ],
    ids=["carriage returns alone", "in a needed column", "the last needed column", "in another column"],
)
def test_records_that_come_with_the_header_are_not_shown(read: Read, content: bytes) -> None:
    with pytest.raises(BadExtract) as error:
        read(content)
    assert "the header is malformed" in str(error.value)
    assert "found CustomerID,Name" in str(error.value)
    assert "Ann" not in str(error.value)


def test_a_name_in_the_header_may_have_a_line_break(tmp_path: Path) -> None:
    (tmp_path / "customers.csv").write_bytes(b'CustomerID,Name,HasLoan,"Note\n(ours)"\n1,Ann,yes,x\n')
    table = read_csv(tmp_path / "customers.csv", COLUMNS, tmp_path / "customers.arrow")
    assert table["received__Note\n(ours)"].to_pylist() == ["x"]


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadExtract, match=r"nothing\.csv is missing"):
        read_csv(tmp_path / "nothing.csv", COLUMNS, tmp_path / "nothing.arrow")
    with pytest.raises(BadExtract, match="can't be read"):
        read_csv(tmp_path, COLUMNS, tmp_path / "folder.arrow")


def test_a_byte_that_is_not_utf8_is_found_where_blocks_meet(read: Read, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_reader, "BLOCK_BYTES", 7)
    assert read(HEADER + "1,ééééééé,yes\n".encode())[0][1] == "ééééééé"
    with pytest.raises(BadExtract, match="byte 0xff at offset 31"):
        read(HEADER + b"1,\xc3\xa9\xc3\xa9a\xff,yes\n")


def test_it_is_told_after_each_block_how_much_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_reader, "BLOCK_BYTES", 20)
    path = tmp_path / "customers.csv"
    path.write_bytes(HEADER + b"1,Ann,yes\n" * 5)
    told: list[tuple[int, int]] = []

    read_csv(path, COLUMNS, tmp_path / "records.arrow", on_read=lambda end, rows: told.append((end, rows)))

    assert told == [(len(HEADER) + 10 * rows, rows) for rows in (2, 4, 5)]


def test_many_unclosed_quotes_are_each_one_record(read: Read) -> None:
    found = read(HEADER + b'1,"a,b\n' * 20_001)
    assert len(found) == 20_001
    assert found[-1][5] == "unclosed quote"


def slow_records(text: str, width: int) -> list[tuple[Any, ...]]:
    """Read records by a state machine, character by character: slow, and plain enough to be believed."""
    records: list[tuple[Any, ...]] = []
    at = 0
    while at < len(text):
        if text[at] == "\n" or text[at : at + 2] == "\r\n":
            at = text.index("\n", at) + 1
            continue
        fields, value, state, reason, here = [], "", "start", None, at
        before, first_field = [], at
        while True:
            char = text[here] if here < len(text) else None
            ends = char is None or char == "\n" or text[here : here + 2] == "\r\n"
            if state == "quoted":
                if char is None:
                    reason = "unclosed quote"
                    break
                if char == '"' and text[here + 1 : here + 2] == '"':
                    value, here = value + '"', here + 2
                elif char == '"':
                    state, here = "closed", here + 1
                else:
                    value, here = value + char, here + 1
            elif ends or char == ",":
                fields.append(value)
                value, state = "", "start"
                if ends:
                    break
                here += 1
                before, first_field = list(fields), here
            elif state == "start" and char == '"':
                state, here = "quoted", here + 1
            elif state == "closed":
                reason = "text after a closing quote"
                break
            elif char in '"\r':
                reason = "quote in an unquoted field" if char == '"' else "carriage return in an unquoted field"
                break
            else:
                value, state, here = value + str(char), "bare", here + 1
        if reason:
            line_end = text.find("\n", at)
            end = next_at = line_end if line_end >= 0 else len(text)
            next_at += 1
            raw = text[at:end]
            rest = text[first_field:end] if first_field <= end else None
            if line_end >= 0:
                raw = raw.removesuffix("\r")
                rest = rest.removesuffix("\r") if rest is not None else None
            fields = raw.split(",") if rest is None else [*before, *rest.split(",")]
        else:
            raw, next_at = text[at:here], here + (2 if text[here : here + 2] == "\r\n" else 1)
            if len(fields) != width:
                reason = f"expected {width} fields, found {len(fields)}"
        kept = fields[:width]
        records.append(
            (
                *kept,
                *[None] * (width - len(kept)),
                len(records) + 1,
                None if raw == ",".join(kept) else raw,
                reason,
            )
        )
        at = next_at
    return records


FIELDS = st.sampled_from(["", "a", "é,", '"a"', '""', '"a,b"', '"a""b"', '"a\nb"', 'a"b', '"a"b', '"a', '"', "a\rb"])
LINES = st.lists(st.lists(FIELDS, min_size=1, max_size=4).map(",".join), max_size=6)


@given(
    text=st.one_of(
        st.text(alphabet='a,,"\r\n\n é', max_size=60),
        st.tuples(st.sampled_from(["\n", "\r\n"]), LINES).map(lambda lines: lines[0].join(lines[1])),
    ),
    plain=st.integers(0, 3),
    block=st.sampled_from([1, 5, 30, csv_reader.BLOCK_BYTES]),
)
@hypothesis_settings(max_examples=1500, deadline=None)
def test_reading_agrees_with_a_state_machine(
    tmp_path_factory: pytest.TempPathFactory, text: str, plain: int, block: int
) -> None:
    body = "1,Ann,yes\n" * plain + text + "\n9,Zoe,no"
    path = tmp_path_factory.getbasetemp() / "customers.csv"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(csv_reader, "BLOCK_BYTES", block)
        assert rows(path, HEADER + body.encode()) == slow_records(body, 3)
