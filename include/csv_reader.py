"""Reads an extract strictly by RFC 4180 without losing anything: text that breaks the rules becomes a malformed record.

numpy picks out the lines that are certainly one well-formed record, which is nearly all of a usual file, and pyarrow's
C++ reader parses them in bulk. The tokenizer below reads the others one by one.
"""

from __future__ import annotations

import codecs
import difflib
import mmap
import re
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from include.errors import PipelineError
from include.keys import WHITE_SPACE
from include.landing import UNDECLARED, Column

BLOCK_BYTES = 4 * 1024 * 1024
"""How much of the file pyarrow gets at once. This bounds the memory that is needed besides the result."""

_QUOTED = re.compile(rb'"([^"]*+(?:""[^"]*+)*+)"')
_BARE = re.compile(rb'[^,"\r\n]*')


Content = bytes | mmap.mmap
"""The bytes of a file. Only what both types have is used: slices, len(), find() and rfind()."""


class BadExtract(PipelineError):
    """The file as a whole can't be accepted. The message names it, what was expected and what was found."""


class Record(NamedTuple):
    """A record by the strict rules: its fields, where the next one begins, and why it is malformed (None if not)."""

    fields: list[bytes]
    end: int
    reason: str | None


def read_csv(
    path: Path,
    columns: Sequence[Column],
    target: Path,
    *,
    name: Path | None = None,
    on_read: Callable[[int, int], None] = lambda end, rows: None,
) -> pa.Table:
    """Read an extract (docs/architecture/data_flow.md) into a table of strings, exactly as received.

    Its columns: those of `columns` that the file has, in that order; the file's other ones, as `received__<header>`;
    `source_row_number` (int64, from 1), `raw_record` (NULL where it equals the fields joined by commas) and
    `malformed_reason` (NULL for a well-formed record). Fields are NULL only where a malformed record lacks them.

    The table is mapped from the Arrow file that is written to `target`, and the extract, which must not change
    meanwhile, is mapped too, so that neither has to fit into memory. Messages call the extract `name`, by default
    `path`. `on_read` is called after each block with the bytes and the records read so far. Raises BadExtract.
    """
    name = name or path
    content = _content(path, name)
    start = len(codecs.BOM_UTF8) if content[:3] == codecs.BOM_UTF8 else 0
    start = _skip_empty_lines(content, start)
    if start == len(content):
        raise BadExtract(f"{name} is empty: expected the header {_names(columns)} and records")
    header = _Tokenizer(content).record(start)
    names = _landed_names(name, header, columns)
    reader = _Reader(content, len(names), named=max(position for position, column in enumerate(names, 1) if column))
    declared = [column.name for column in columns if column.name in names]
    kept = [*declared, *(column for column in names if column.startswith(UNDECLARED))]
    positions = [*(names.index(column) for column in kept), *range(len(names), len(reader.schema))]
    landed = [*kept, *reader.schema.names[len(names) :]]
    schema = pa.schema(
        [reader.schema.field(position).with_name(column) for position, column in zip(positions, landed, strict=True)]
    )
    with pa.ipc.new_file(target, schema) as written:
        for batch in reader.read(header.end, on_read):
            _check_unnamed(name, names, batch)
            written.write_batch(pa.record_batch([batch.column(position) for position in positions], schema))
    if reader.rows == 0:
        raise BadExtract(f"{name} has a header and no records: expected the full extract")
    return pa.ipc.open_file(pa.memory_map(str(target))).read_all()


def _content(path: Path, name: Path) -> Content:
    """Map the file. Raises BadExtract unless all of it is UTF-8 text."""
    try:
        with path.open("rb") as file:
            content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if path.stat().st_size else b""
    except FileNotFoundError:
        raise BadExtract(f"{name} is missing: expected the full extract") from None
    except OSError as error:
        raise BadExtract(f"{name} can't be read: expected the full extract ({error.strerror})") from None
    if content[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        raise BadExtract(f"{name} is UTF-16: expected UTF-8")
    zero = content.find(b"\0")
    if zero >= 0:
        raise BadExtract(f"{name}, line {_line(content, zero)}: found a NUL byte, expected text in UTF-8")
    decoder = codecs.getincrementaldecoder("utf-8")()
    for offset in range(0, len(content), BLOCK_BYTES):
        pending = len(decoder.getstate()[0])
        try:
            decoder.decode(content[offset : offset + BLOCK_BYTES], offset + BLOCK_BYTES >= len(content))
        except UnicodeDecodeError as error:
            at = offset - pending + error.start
            raise BadExtract(
                f"{name}, line {_line(content, at)}: byte 0x{content[at]:02x} at offset {at} is not UTF-8, which is "
                "expected"
            ) from None
    return content


def _line(content: Content, offset: int) -> int:
    """Return the number of the line in which an offset is, from 1."""
    blocks = range(0, offset, BLOCK_BYTES)
    return 1 + sum(content[block : min(block + BLOCK_BYTES, offset)].count(b"\n") for block in blocks)


def _skip_empty_lines(content: Content, start: int) -> int:
    while content[start : start + 1] == b"\n" or content[start : start + 2] == b"\r\n":
        start = content.find(b"\n", start) + 1
    return start


def _names(columns: Sequence[Column]) -> str:
    return ",".join(column.header for column in columns if column.is_required)


def _landed_names(path: Path, header: Record, columns: Sequence[Column]) -> list[str]:
    """Return the name of each column of the file in the landing; an empty string for a column without a header."""
    expected = f"expected the columns {_names(columns)}"
    found = [name.decode().strip() for name in header.fields]
    declared = {column.header.lower(): column.name for column in columns}
    values = {value.strip().lower() for name in found for value in re.split(r"[,;:^|\t]", name)}
    if not values & declared.keys():  # this may be a record, whose values a message does not show
        raise BadExtract(f"{path}: {expected}, found none of them in the first line. Is the header missing?")
    shown = re.split(r"[\r\n]", ",".join(found), maxsplit=1)[0]  # records may follow
    shown = shown if len(shown) <= 200 else shown[:200] + "..."
    is_closed_late = any(re.search(r"[\r\n][^,]*,", name) for name in found)
    reason = header.reason or ("a quote is closed in a later record" if is_closed_late else None)
    if reason:
        raise BadExtract(f"{path}: the header is malformed ({reason}): {expected}, found {shown}")
    lowered = [name.lower() for name in found]
    unknown = {name.lower(): name for name in found if name and name.lower() not in declared}
    missing = [column.header for column in columns if column.is_required and column.header.lower() not in lowered]
    spelling = {column.header.lower(): column.header for column in columns} | unknown
    repeated = [name for name in spelling if lowered.count(name) > 1]
    wrong = [
        *(f"{name} is missing" for name in missing),
        *(f"{spelling[name][:80]} is there {lowered.count(name)} times" for name in repeated),
    ]
    if wrong:
        more = f"; and {len(wrong) - 8} more" if len(wrong) > 8 else ""
        hint = _hint(found, missing, list(unknown.values()))
        raise BadExtract(f"{path}: {expected}, found {shown}: {'; '.join(wrong[:8])}{more}.{hint}")
    return [declared.get(name.lower(), f"{UNDECLARED}{name}" if name else "") for name in found]


def _hint(found: list[str], missing: list[str], unknown: list[str]) -> str:
    """Return a guess at what happened to the missing columns, or an empty string."""
    separator = next((mark for mark in ";\t|" if len(found) == 1 and mark in found[0]), None)
    if separator:
        return f" Are the fields separated by {separator!r} in place of a comma?"
    pairs = [(_likeness(new, old), new, old) for new in unknown for old in missing]
    likeness, new, old = max(pairs, default=(0.0, "", ""))
    is_likely = bool(new) and (len(missing) == 1 or likeness > 0.6)
    return f" Is {new[:80]!r} the new name of {old}?" if is_likely else ""


def _likeness(one: str, other: str) -> float:
    return difflib.SequenceMatcher(None, one[:80].lower(), other.lower()).ratio()


def _check_unnamed(path: Path, names: Sequence[str], records: pa.RecordBatch) -> None:
    """Refuse values in a column without a header. Such columns without values are a spreadsheet's trailing commas."""
    for position, name in enumerate(names):
        if name == "":
            value = pc.utf8_trim(records[position], "".join(map(chr, WHITE_SPACE)))
            is_value = pc.and_(pc.not_equal(value, ""), pc.is_null(records["malformed_reason"]))
            numbers = records["source_row_number"].filter(is_value)
            if len(numbers):
                raise BadExtract(
                    f"{path}: column {position + 1} has no name in the header, but a value in record {numbers[0]}: "
                    "expected a name"
                )


class _Tokenizer:
    """Reads single records by the strict rules."""

    def __init__(self, content: Content) -> None:
        self.content = content
        self.no_quote_from = len(content)

    def record(self, start: int) -> Record:
        """Read the record that begins at `start`; a broken one ends at its first line break."""
        content, at = self.content, start
        fields: list[bytes] = []
        while True:
            field_start = at
            is_quoted = content[at : at + 1] == b'"'
            if is_quoted:
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
                return Record([*fields, value], content.find(b"\n", at) + 1, None)
            elif is_quoted:
                return self._broken(start, field_start, fields, "text after a closing quote")
            elif following[:1] == b'"':
                return self._broken(start, field_start, fields, "quote in an unquoted field")
            else:
                return self._broken(start, field_start, fields, "carriage return in an unquoted field")

    def _closes(self, at: int) -> bool:
        """Return True if another quote follows the one at `at`. Many unclosed quotes don't each search to the end."""
        if at + 1 >= self.no_quote_from:
            return False
        if self.content.find(b'"', at + 1) < 0:
            self.no_quote_from = at + 1
            return False
        return True

    def _broken(self, start: int, field_start: int, fields: list[bytes], reason: str) -> Record:
        line_break = self.content.find(b"\n", start)
        end = line_break + 1 if line_break >= 0 else len(self.content)
        if field_start >= end:  # the fault is after a quoted line break, where the record ends
            raw, fields = raw_text(self.content, start, end), []
            return Record(raw.split(b","), end, reason)
        return Record([*fields, *raw_text(self.content, field_start, end).split(b",")], end, reason)


def raw_text(content: Content, start: int, end: int) -> bytes:
    """Return a record's text without its line break."""
    text = content[start:end]
    return text.removesuffix(b"\n").removesuffix(b"\r") if text.endswith(b"\n") else text


class _Lines:
    """The lines of a block, and which of them are simple: certainly one well-formed record each.

    A simple line has no lone CR, and its quotes, if any, are alternately the first and the last character of a field.
    Then no quote is escaped, none is open at the end, and every comma after an even number of quotes separates two
    fields. The number of these commas must be one less than the number of columns. A simple line doesn't begin with the
    first byte of a byte order mark either, which pyarrow drops from the first line.
    """

    def __init__(self, codes: np.ndarray, width: int) -> None:
        breaks = np.flatnonzero(codes == ord("\n"))
        self.codes = codes
        self.ends = breaks + 1
        if len(breaks) == 0 or breaks[-1] != len(codes) - 1:
            self.ends, breaks = np.append(self.ends, len(codes)), np.append(breaks, len(codes))
        self.starts = np.append(0, self.ends[:-1])
        has_crlf = (breaks > self.starts) & (breaks < len(codes)) & (codes[breaks - 1] == ord("\r"))
        self.text_ends = breaks - has_crlf
        self.is_empty = self.text_ends == self.starts

        returns = np.flatnonzero(codes == ord("\r"))
        quotes = np.flatnonzero(codes == ord('"'))
        commas = np.flatnonzero(codes == ord(","))
        line_of_return, line_of_quote, line_of_comma = (
            np.searchsorted(self.ends, positions, side="right") for positions in (returns, quotes, commas)
        )
        quotes_before = np.searchsorted(quotes, self.starts)
        quotes_on = np.diff(np.append(quotes_before, len(quotes)))
        opens = (np.arange(len(quotes)) - quotes_before[line_of_quote]) % 2 == 0
        at_start = (quotes == self.starts[line_of_quote]) | (codes[quotes - 1] == ord(","))
        at_end = (quotes + 1 == self.text_ends[line_of_quote]) | (
            codes[np.minimum(quotes + 1, len(codes) - 1)] == ord(",")
        )
        is_misplaced = ~np.where(opens, at_start, at_end)
        is_between = (np.searchsorted(quotes, commas) - quotes_before[line_of_comma]) % 2 == 0

        self.has_quotes = quotes_on > 0
        self.is_simple = quotes_on % 2 == 0
        self.is_simple &= np.bincount(line_of_comma[is_between], minlength=len(self.starts)) == width - 1
        self.is_simple[line_of_quote[is_misplaced]] = False
        self.is_simple[codes[self.starts] == codecs.BOM_UTF8[0]] = False
        self.is_simple[line_of_return[returns != self.text_ends[line_of_return]]] = False

    def text_of(self, chosen: np.ndarray, *, with_line_break: bool) -> np.ndarray:
        """Return the bytes of the chosen lines, concatenated."""
        ends = self.ends if with_line_break else self.text_ends
        if with_line_break and chosen.all():
            return self.codes
        steps = np.zeros(len(self.codes) + 1, np.int8)
        steps[self.starts[chosen]] += 1
        steps[ends[chosen]] -= 1
        kept: np.ndarray = self.codes[np.cumsum(steps[:-1], dtype=np.int8).view(bool)]
        return kept

    def raw_records(self, chosen: np.ndarray) -> pa.Array:
        """Return the text of each chosen line that has quotes, and NULL for the others, whose fields are the text."""
        has_quotes = self.has_quotes[chosen]
        if not has_quotes.any():
            return pa.nulls(len(has_quotes), pa.string())
        lengths = np.where(has_quotes, (self.text_ends - self.starts)[chosen], 0)
        offsets = np.append(0, np.cumsum(lengths)).astype(np.int32)
        text = self.text_of(chosen & self.has_quotes, with_line_break=False)
        return pa.StringArray.from_buffers(
            len(lengths),
            pa.py_buffer(offsets),
            pa.py_buffer(text),
            pa.py_buffer(np.packbits(has_quotes, bitorder="little")),
        )


class _Simple(NamedTuple):
    """The simple lines of a block: which of its lines they are, and their row numbers."""

    lines: _Lines
    chosen: np.ndarray
    numbers: np.ndarray


@dataclass
class _Rows:
    """Records that the tokenizer has read and that are not yet in the table."""

    fields: list[list[str | None]]
    numbers: list[int] = field(default_factory=list)
    raw: list[str | None] = field(default_factory=list)
    reasons: list[str | None] = field(default_factory=list)


class _Reader:
    """Reads the records that follow the header, in the file's order of columns.

    The header has `width` columns, of which those after the first `named` ones have no name. A spreadsheet writes such
    trailing commas in some records only, so a record may lack them.
    """

    def __init__(self, content: Content, width: int, *, named: int) -> None:
        self.content, self.width, self.named = content, width, named
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

    def read(self, start: int, on_read: Callable[[int, int], None]) -> Iterator[pa.RecordBatch]:
        """Read the records from `start`, block by block. Within a block they are in no particular order.

        While a thread parses the simple lines of a block, this one looks for those of the next.
        """
        at, parsing = start, None
        with ThreadPoolExecutor(max_workers=1) as parser:
            while at < len(self.content):
                end = self._block_end(at)
                at, simple = self._read_block(at, end) if end > at else (self._read_strictly(at), None)
                if parsing:
                    yield parsing.result()
                parsing = parser.submit(self._parse, simple) if simple else None
                yield from self._take_parts()
                on_read(at, self.rows)
            if parsing:
                yield parsing.result()
        self._flush()
        yield from self._take_parts()

    def _take_parts(self) -> list[pa.RecordBatch]:
        parts, self.parts = self.parts, []
        return parts

    def _block_end(self, at: int) -> int:
        """Return the end of the complete lines after `at` that fit into one block, or `at` if none fits."""
        limit = at + BLOCK_BYTES
        return len(self.content) if limit >= len(self.content) else self.content.rfind(b"\n", at, limit) + 1 or at

    def _read_block(self, start: int, end: int) -> tuple[int, _Simple | None]:
        """Read the records that begin in the lines of [start, end), except the simple lines.

        Return where the next record begins, and the simple lines, if any.
        """
        lines = _Lines(np.frombuffer(self.content, np.uint8, end - start, start), self.width)
        begins_record, at = ~lines.is_empty, end
        strict: list[tuple[int, Record]] = []
        next_line = 0
        for line in np.flatnonzero(begins_record & ~lines.is_simple).tolist():
            if line >= next_line:
                record = self.tokenizer.record(start + int(lines.starts[line]))
                next_line = int(np.searchsorted(lines.starts, record.end - start))
                begins_record[line + 1 : next_line] = False
                strict.append((line, record))
                at = max(at, record.end)
        numbers = self.rows + np.cumsum(begins_record)
        self.rows = int(numbers[-1])
        for line, record in strict:
            self._keep(record, start + int(lines.starts[line]), int(numbers[line]))
        is_simple = begins_record & lines.is_simple
        return at, _Simple(lines, is_simple, numbers[is_simple]) if is_simple.any() else None

    def _parse(self, simple: _Simple) -> pa.RecordBatch:
        """Parse the lines that pyarrow certainly reads by the same rules, all at once."""
        stretch = simple.lines.text_of(simple.chosen, with_line_break=True)
        names = self.schema.names[: self.width]
        read = pyarrow.csv.read_csv(
            pa.py_buffer(stretch),
            read_options=pyarrow.csv.ReadOptions(column_names=names, block_size=len(stretch) + 1, use_threads=False),
            convert_options=pyarrow.csv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False, check_utf8=False
            ),
        )
        count = len(simple.numbers)
        if read.num_rows != count:
            raise AssertionError(f"pyarrow read {read.num_rows} of {count} simple lines")
        columns = [column.combine_chunks() for column in read.columns]
        numbers = pa.array(simple.numbers, pa.int64())
        raw = simple.lines.raw_records(simple.chosen)
        return pa.record_batch([*columns, numbers, raw, pa.nulls(count, pa.string())], schema=self.schema)

    def _read_strictly(self, at: int) -> int:
        at = _skip_empty_lines(self.content, at)
        if at == len(self.content):
            return at
        self.rows += 1
        record = self.tokenizer.record(at)
        self._keep(record, at, self.rows)
        return record.end

    def _keep(self, record: Record, at: int, number: int) -> None:
        """Add a record that the tokenizer has read at `at`."""
        reason = record.reason
        if reason is None and not self.named <= len(record.fields) <= self.width:
            reason = f"expected {self.named} fields, found {len(record.fields)}"
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

    def _flush(self) -> None:
        pending = self.pending
        if pending.numbers:
            columns = [*pending.fields, pending.numbers, pending.raw, pending.reasons]
            self.parts.append(pa.record_batch(columns, schema=self.schema))
            self.pending = self._no_rows()
