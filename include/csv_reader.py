"""Reads an extract strictly as RFC 4180 says, losing nothing: what breaks the rules is kept as a malformed record.

Stretches of lines without a quote or a lone CR, nearly the whole of a usual file, are read by pyarrow's C++ reader with
quoting turned off, which then can't disagree with the rules; the records in between are read by the tokenizer below.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from include.errors import PipelineError

if TYPE_CHECKING:
    import pyarrow as pa

BLOCK_BYTES = 16 * 1024 * 1024
"""How much of the file is handed to pyarrow at once; bounds memory beside the result."""

_QUOTED = re.compile(rb'"([^"]*+(?:""[^"]*+)*+)"')
_BARE = re.compile(rb'[^,"\r\n]*')
_IRREGULAR = re.compile(rb'"|\r(?!\n)')


class BadExtract(PipelineError):
    """The file as a whole can't be taken; the message names it, what was expected and what was found."""


class Record(NamedTuple):
    """A record by the strict rules: its fields, where the next one begins, and why it is malformed, if it is."""

    fields: list[bytes]
    end: int
    reason: str | None


def read_csv(path: Path, columns: Mapping[str, str]) -> pa.Table:
    """Read an extract (design, section 4) into a table of strings, exactly as received.

    `columns` maps the header's names to the table's, which follow in that order. Further columns: `source_row_number`
    (int64, from 1), `raw_record` (NULL where it equals the fields joined by commas) and `malformed_reason` (NULL for a
    well-formed record). Fields are NULL only where a malformed record lacks them. Raises BadExtract.
    """
    content = _content(path)
    start = len(codecs.BOM_UTF8) if content.startswith(codecs.BOM_UTF8) else 0
    start = _skip_empty_lines(content, start)
    if start == len(content):
        raise BadExtract(f"{path} is empty: expected the header {','.join(columns)} and records")
    header = _Tokenizer(content).record(start)
    order = _order(path, header, columns)
    table = _Reader(content, len(columns)).read(header.end)
    if table.num_rows == 0:
        raise BadExtract(f"{path} has a header and no records: expected the full extract")
    positions = [order.index(name) for name in columns]
    return table.select([*positions, *range(len(columns), table.num_columns)]).rename_columns(
        [*columns.values(), "source_row_number", "raw_record", "malformed_reason"]
    )


def _content(path: Path) -> bytes:
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise BadExtract(f"{path} is missing: expected the full extract") from None
    except OSError as error:
        raise BadExtract(f"{path} can't be read: expected a file, found: {error.strerror}") from None
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise BadExtract(f"{path} is UTF-16: expected UTF-8")
    zero = content.find(b"\0")
    if zero >= 0:
        raise BadExtract(f"{path}, line {_line(content, zero)}: found a NUL byte, expected text in UTF-8")
    decoder = codecs.getincrementaldecoder("utf-8")()
    for offset in range(0, len(content), BLOCK_BYTES):
        pending = len(decoder.getstate()[0])
        try:
            decoder.decode(content[offset : offset + BLOCK_BYTES], offset + BLOCK_BYTES >= len(content))
        except UnicodeDecodeError as error:
            at = offset - pending + error.start
            raise BadExtract(
                f"{path}, line {_line(content, at)}: byte 0x{content[at]:02x} at offset {at} is not UTF-8, which is "
                "expected"
            ) from None
    return content


def _line(content: bytes, offset: int) -> int:
    return content.count(b"\n", 0, offset) + 1


def _skip_empty_lines(content: bytes, start: int) -> int:
    while start < len(content) and content.startswith((b"\n", b"\r\n"), start):
        start = content.index(b"\n", start) + 1
    return start


def _order(path: Path, header: Record, columns: Mapping[str, str]) -> list[str]:
    """Return the expected names in the file's order."""
    expected = f"expected the columns {','.join(columns)}"
    found = [name.decode() for name in header.fields]
    shown = ",".join(found) if len(",".join(found)) <= 200 else ",".join(found)[:200] + "..."
    if header.reason:
        raise BadExtract(f"{path}: the header is malformed ({header.reason}): {expected}, found {shown}")
    known = {name.lower(): name for name in columns}
    order = [known.get(name.strip().lower(), "") for name in found]
    wrong = [
        *(f"{name} is missing" for name in columns if name not in order),
        *(f"{name} is there {order.count(name)} times" for name in columns if order.count(name) > 1),
        *(f"{name.strip()[:80]!r} is unknown" for name, is_known in zip(found, order, strict=True) if not is_known),
    ]
    if wrong:
        separators = [mark for mark in ";\t|" if len(found) == 1 and mark in found[0]]
        hint = f" Are the fields separated by {separators[0]!r} in place of a comma?" if separators else ""
        more = f"; and {len(wrong) - 8} more" if len(wrong) > 8 else ""
        raise BadExtract(f"{path}: {expected}, found {shown}: {'; '.join(wrong[:8])}{more}.{hint}")
    return order


class _Tokenizer:
    """Reads single records by the strict rules."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.no_quote_from = len(content)

    def record(self, start: int) -> Record:
        """Read the record that begins at `start`; a broken one ends at its first line break."""
        content, at = self.content, start
        fields: list[bytes] = []
        while True:
            field_start = at
            if content.startswith(b'"', at):
                match = _QUOTED.match(content, at) if self._closes(at) else None
                if match is None:
                    return self._broken(start, field_start, fields, "unclosed quote")
                value, at = match[1].replace(b'""', b'"'), match.end()
            else:
                match = _BARE.match(content, at)
                value, at = (match[0], match.end()) if match else (b"", at)
            if at == len(content):
                return Record([*fields, value], at, None)
            following = content[at : at + 2]
            if following[:1] == b",":
                fields.append(value)
                at += 1
            elif following[:1] == b"\n" or following == b"\r\n":
                return Record([*fields, value], content.index(b"\n", at) + 1, None)
            elif content.startswith(b'"', field_start):
                return self._broken(start, field_start, fields, "text after a closing quote")
            elif following[:1] == b'"':
                return self._broken(start, field_start, fields, "quote in an unquoted field")
            else:
                return self._broken(start, field_start, fields, "carriage return in an unquoted field")

    def _closes(self, at: int) -> bool:
        """Tell whether any quote follows the one at `at`, so that many unclosed ones don't each search to the end."""
        if at + 1 >= self.no_quote_from:
            return False
        if self.content.find(b'"', at + 1) < 0:
            self.no_quote_from = at + 1
            return False
        return True

    def _broken(self, start: int, field_start: int, fields: list[bytes], reason: str) -> Record:
        line_break = self.content.find(b"\n", start)
        end = line_break + 1 if line_break >= 0 else len(self.content)
        if field_start >= end:  # the break is behind a quoted line break: the record ends before it
            raw, fields = raw_text(self.content, start, end), []
            return Record(raw.split(b","), end, reason)
        return Record([*fields, *raw_text(self.content, field_start, end).split(b",")], end, reason)


def raw_text(content: bytes, start: int, end: int) -> bytes:
    """Return a record's text without its line break."""
    text = content[start:end]
    return text.removesuffix(b"\n").removesuffix(b"\r") if text.endswith(b"\n") else text


@dataclass
class _Rows:
    """Records that the tokenizer has read, waiting to become a part of the table."""

    fields: list[list[str | None]]
    numbers: list[int] = field(default_factory=list)
    raw: list[str | None] = field(default_factory=list)
    reasons: list[str | None] = field(default_factory=list)


class _Reader:
    """Reads the records that follow the header, in the file's order of columns."""

    def __init__(self, content: bytes, width: int) -> None:
        import pyarrow as pa

        self.content, self.width = content, width
        self.tokenizer = _Tokenizer(content)
        self.schema = pa.schema(
            [
                *((f"field_{number}", pa.string()) for number in range(width)),
                ("source_row_number", pa.int64()),
                ("raw_record", pa.string()),
                ("malformed_reason", pa.string()),
            ]
        )
        self.rows = 0
        self.pending = self._no_rows()
        self.parts: list[pa.RecordBatch] = []

    def _no_rows(self) -> _Rows:
        return _Rows([[] for _ in range(self.width)])

    def read(self, start: int) -> pa.Table:
        import pyarrow as pa

        at = start
        while at < len(self.content):
            plain_end = self._plain_end(at)
            if plain_end > at:
                self._read_plain(at, plain_end)
                at = plain_end
            else:
                at = self._read_strictly(at)
        self._flush()
        return pa.Table.from_batches(self.parts, self.schema)

    def _plain_end(self, at: int) -> int:
        """Return the end of the stretch of lines from `at`, in one block, that hold no quote and no lone CR."""
        limit = min(at + BLOCK_BYTES, len(self.content))
        irregular = _IRREGULAR.search(self.content, at, min(limit + 1, len(self.content)))
        if irregular:
            limit = irregular.start()
        elif limit == len(self.content):
            return limit
        return self.content.rfind(b"\n", at, limit) + 1 or at

    def _read_plain(self, start: int, end: int) -> None:
        """Read lines without quotes: those with as many commas as they should have by pyarrow, the others strictly."""
        import numpy as np
        import pyarrow as pa
        import pyarrow.csv

        stretch = memoryview(self.content)[start:end]
        codes = np.frombuffer(stretch, np.uint8)
        ends = np.flatnonzero(codes == ord("\n"))
        if len(ends) == 0 or ends[-1] != len(codes) - 1:
            ends = np.append(ends, len(codes))  # the last line has no line break
        starts = np.append(0, ends[:-1] + 1)
        is_empty = (ends == starts) | ((ends == starts + 1) & (codes[np.minimum(starts, len(codes) - 1)] == ord("\r")))
        starts, ends = starts[~is_empty], ends[~is_empty]
        commas = np.flatnonzero(codes == ord(","))
        is_wrong = np.searchsorted(commas, ends) - np.searchsorted(commas, starts) != self.width - 1
        numbers = np.arange(self.rows + 1, self.rows + 1 + len(starts))
        for number, at in zip(numbers[is_wrong], starts[is_wrong], strict=True):
            self._strict(start + int(at), int(number))
        self.rows += len(starts)
        if is_wrong.all():
            return

        names = self.schema.names[: self.width]
        read = pyarrow.csv.read_csv(
            pa.py_buffer(stretch),
            read_options=pyarrow.csv.ReadOptions(column_names=names, block_size=len(stretch) + 1, use_threads=False),
            parse_options=pyarrow.csv.ParseOptions(quote_char=False, invalid_row_handler=lambda row: "skip"),
            convert_options=pyarrow.csv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False, check_utf8=False
            ),
        ).combine_chunks()
        kept = numbers[~is_wrong]
        if read.num_rows != len(kept):
            raise AssertionError(f"pyarrow read {read.num_rows} of {len(kept)} lines that have no quote")
        nothing = pa.nulls(len(kept), pa.string())
        columns = [column.combine_chunks() for column in read.columns]
        self.parts.append(pa.record_batch([*columns, pa.array(kept, pa.int64()), nothing, nothing], schema=self.schema))

    def _read_strictly(self, at: int) -> int:
        at = _skip_empty_lines(self.content, at)
        if at == len(self.content):
            return at
        self.rows += 1
        return self._strict(at, self.rows)

    def _strict(self, at: int, number: int) -> int:
        record = self.tokenizer.record(at)
        reason = record.reason
        if reason is None and len(record.fields) != self.width:
            reason = f"expected {self.width} fields, found {len(record.fields)}"
        raw = raw_text(self.content, at, record.end).decode()
        values: list[str | None] = [value.decode() for value in record.fields[: self.width]]
        values += [None] * (self.width - len(values))
        pending = self.pending
        for column, value in zip(pending.fields, values, strict=True):
            column.append(value)
        pending.numbers.append(number)
        pending.raw.append(None if raw == ",".join(value for value in values if value is not None) else raw)
        pending.reasons.append(reason)
        if len(pending.numbers) >= 100_000 or len(raw) > 1_000_000:
            self._flush()
        return record.end

    def _flush(self) -> None:
        import pyarrow as pa

        pending = self.pending
        if pending.numbers:
            columns = [*pending.fields, pending.numbers, pending.raw, pending.reasons]
            self.parts.append(pa.record_batch(columns, schema=self.schema))
            self.pending = self._no_rows()
