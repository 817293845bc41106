"""Lands a delivery: checks both extracts as a whole, stores them as received, and enters them in the ledger last."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

import duckdb

from include import duckdb_paths, duckdb_session
from include.csv_reader import BLOCK_BYTES, BadExtract, read_csv
from include.entities import ENTITIES, Entity
from include.errors import PipelineError, one_line
from include.files import lock, replacing, scratch_folder
from include.keys import compare_keys
from include.landing import Column, declared_columns, declared_values, undeclared_headers
from include.ledger import Delivery, FileRecord, Ledger, time_text
from include.progress import Update, step
from include.settings import Settings
from include.warehouse import Warehouse

log = logging.getLogger(__name__)

Outcome = Literal["landed", "resumed", "unchanged"]

MAX_AHEAD = timedelta(days=1)
"""How far a logical date may be ahead of the clock. A later one is a typing error, and would block all earlier days."""

EARLIEST = datetime(1900, 1, 1, tzinfo=UTC)
"""The earliest logical date. One before it is a typing error."""


class IngestionError(PipelineError):
    """The delivery is refused and nothing has changed. The message names the file or the times, and what to do."""


class StillWritten(PipelineError):
    """A file changed while it was read, and nothing else has changed. Another try may find it complete."""


@dataclass(frozen=True)
class Ingestion:
    """The outcome: `landed` now, `resumed` (landed by an earlier run) or `unchanged` (already processed)."""

    outcome: Outcome
    delivery: Delivery
    warnings: tuple[str, ...] = ()
    """Warnings about the files, which were accepted nevertheless."""


def unfinished_before(
    settings: Settings, *, logical_date: datetime, discard_unfinished: bool = False
) -> Delivery | None:
    """Return the unfinished delivery that must be finished before that of `logical_date`, or None.

    It is None if the unfinished delivery is that of `logical_date` itself, and with `discard_unfinished`. Raises
    IngestionError if the delivery of `logical_date` would be refused because of its time.
    """
    ledger = Ledger.load(settings.landing_path)
    _check_date(ledger, logical_date)
    unfinished = ledger.unfinished
    return None if discard_unfinished or (unfinished and unfinished.logical_date == logical_date) else unfinished


def ingest(
    settings: Settings,
    *,
    logical_date: datetime,
    run_id: str,
    accept_row_drop: bool = False,
    discard_unfinished: bool = False,
    dated_folder_only: bool = False,
    warehouse: Warehouse | None = None,
) -> Ingestion:
    """Land the delivery of `logical_date` (aware), by the rules of docs/architecture/data_flow.md.

    `discard_unfinished` lets it replace the unfinished delivery of another run, whatever its date. Once the files are
    landed and before the ledger is written, `warehouse` keeps a checkpoint of its tables or, if this delivery replaces
    an unfinished one, returns to the checkpoint from before that. Raises IngestionError, or another PipelineError where
    another try may succeed: StillWritten, or files.Locked while another process ingests.
    """
    try:
        with (
            lock(settings.landing_path / ".ingest.lock", f"ingesting a delivery (run {run_id})"),
            step("ingest") as update,
            scratch_folder(settings.landing_path / ".scratch") as scratch,
            duckdb_session.connect(memory_limit=settings.duckdb_memory_limit, spill=scratch / "spill") as connection,
        ):
            ledger = Ledger.load(settings.landing_path)
            logical_date = logical_date.astimezone(UTC)
            _check_date(ledger, logical_date)
            # A retried run finds its own delivery, and continues with it.
            unfinished = ledger.unfinished
            discards = discard_unfinished and unfinished is not None and unfinished.run_id != run_id
            if unfinished and unfinished.logical_date != logical_date and not discards:
                raise IngestionError(
                    f"the delivery of {time_text(unfinished.logical_date)} was landed by run {unfinished.run_id} but "
                    "not processed, and has to be finished first"
                )
            paths = find_extracts(settings.input_path, logical_date, dated_folder_only=dated_folder_only)
            with _unchanged(paths):
                warnings = _old_files(paths, logical_date, settings.max_file_age_hours)
                digests = {name: _receive(path, scratch / path.name) for name, path in paths.items()}
                last = ledger.last
                if last and not discards and _is_same(last, logical_date, digests):
                    update("the files are those of the last delivery")
                    return Ingestion("resumed" if last.state == "landed" else "unchanged", last, warnings)

                max_drop_pct = 100.0 if accept_row_drop else settings.max_row_drop_pct
                extracts = [
                    _Extract(settings, scratch, connection, entity, paths, digests, ledger.last_processed, update)
                    for entity in ENTITIES
                ]
                for extract in extracts:
                    extract.check_drop(max_drop_pct)
            update("writing the landing")
            delivered_at = _delivered_at(ledger, logical_date)
            files = {extract.entity.file: extract.land(settings.landing_path, delivered_at) for extract in extracts}
            delivery = Delivery(logical_date, delivered_at, "landed", run_id, **files)
            if warehouse:
                _prepare(warehouse, replaced=unfinished)
            ledger.append(delivery)
            update(", ".join(f"{delivery.file(name).rows:,} {name}" for name in paths))
            return Ingestion("landed", delivery, warnings)
    except BadExtract as error:
        raise IngestionError(str(error)) from error
    except duckdb.Error as error:  # such as a full disk, or a landed file that is gone
        raise PipelineError(f"{settings.landing_path}: {one_line(error)}") from error


def _prepare(warehouse: Warehouse, replaced: Delivery | None) -> None:
    """Keep a checkpoint of the tables, or return to the one from before the delivery that is replaced."""
    if replaced is None:
        warehouse.checkpoint()
        return
    log.warning(
        "giving up the delivery of %s, which run %s landed and did not finish: the tables return to what they were",
        time_text(replaced.logical_date),
        replaced.run_id,
    )
    warehouse.restore()


def _check_date(ledger: Ledger, logical_date: datetime) -> None:
    now = datetime.now(UTC)
    if logical_date < EARLIEST:
        raise IngestionError(
            f"the logical date {time_text(logical_date)} is before the year {EARLIEST.year}. Run again with the day of "
            "the files"
        )
    if logical_date > now + MAX_AHEAD:
        raise IngestionError(
            f"the logical date {time_text(logical_date)} is more than a day ahead of the clock, {time_text(now)}: "
            "every delivery before it would be refused as older. Run again with the day of the files"
        )
    before = ledger.last_processed
    if before and logical_date < before.logical_date:
        raise IngestionError(
            f"the delivery of {time_text(logical_date)} is older than the last processed one, of "
            f"{time_text(before.logical_date)}: deliveries have to come in the order of their logical dates"
        )


def _is_same(delivery: Delivery, logical_date: datetime, digests: Mapping[str, str]) -> bool:
    """Return True if the delivery has this logical date and these files."""
    return delivery.logical_date == logical_date and all(
        delivery.file(name).sha256 == digest for name, digest in digests.items()
    )


def _delivered_at(ledger: Ledger, logical_date: datetime) -> datetime:
    """Return the logical date, or the first microsecond after it that is later than all history and still unused.

    The time of a discarded delivery is used: its landed files are named after it.
    """
    delivered_at = logical_date
    if ledger.last_processed:
        delivered_at = max(delivered_at, ledger.last_processed.delivered_at + timedelta(microseconds=1))
    taken = {entry.delivered_at for entry in ledger.entries}
    while delivered_at in taken:
        delivered_at += timedelta(microseconds=1)
    return delivered_at


def find_extracts(input_path: Path, logical_date: datetime, *, dated_folder_only: bool = False) -> dict[str, Path]:
    """Return the path of each file of the delivery of `logical_date`, from the day's folder or else the loose files.

    Raises IngestionError if the day's folder has only one of the two files, or is required and missing.
    """
    dated = input_path / f"{logical_date.astimezone(UTC):%Y-%m-%d}"
    names = [f"{entity.file}.csv" for entity in ENTITIES]
    missing = [name for name in names if not _is_there(dated / name)]
    if missing and dated_folder_only:
        raise IngestionError(
            f"{dated} has no {' and no '.join(missing)}: a backfill takes each day's files from the day's own folder"
        )
    if len(missing) == 1:
        raise IngestionError(f"{dated} has no {missing[0]}: a day's folder has to hold {' and '.join(names)}")
    folder = input_path if missing else dated
    return {entity.file: folder / f"{entity.file}.csv" for entity in ENTITIES}


def _is_there(path: Path) -> bool:
    """Return True if the path exists. A path that is too long, or in a folder that can't be read, does not."""
    try:
        path.stat()
    except OSError:
        return False
    return True


def _fingerprint(path: Path) -> tuple[int, int, int]:
    try:
        found = path.stat()
    except OSError as error:
        raise IngestionError(f"{path} is missing: expected the full extract ({error.strerror})") from error
    if not path.is_file():
        raise IngestionError(f"{path} is not a file: expected the full extract")
    return found.st_size, found.st_mtime_ns, found.st_ino


def _old_files(paths: Mapping[str, Path], logical_date: datetime, max_age_hours: float | None) -> tuple[str, ...]:
    """Log and return a warning for each file that was last changed more than `max_age_hours` before the run's time."""
    if max_age_hours is None:
        return ()
    warnings = []
    for path in paths.values():
        changed = datetime.fromtimestamp(path.stat().st_mtime, UTC)
        hours = (logical_date - changed) / timedelta(hours=1)
        if hours > max_age_hours:
            warnings.append(
                f"{path.name} is {hours:.0f} hours old: it was last changed at {time_text(changed)}, and "
                f"MAX_FILE_AGE_HOURS is {max_age_hours:g}. Has the sender delivered?"
            )
            log.warning("%s", warnings[-1])
    return tuple(warnings)


@contextmanager
def _unchanged(paths: Mapping[str, Path]) -> Iterator[None]:
    """Raise StillWritten if a file changes while the body reads it, whatever the body finds wrong with it."""
    before = {path: _fingerprint(path) for path in paths.values()}
    try:
        yield
    finally:
        for path, fingerprint in before.items():
            if not _is_there(path) or _fingerprint(path) != fingerprint:
                raise StillWritten(f"{path} changed while it was read: try again when its sender has finished it")


def _receive(path: Path, copy: Path) -> str:
    """Copy an extract, since its sender could still truncate it while it is read; return the copy's SHA-256."""
    digest = hashlib.sha256()
    with _writing(copy), copy.open("wb") as target:
        for block in _blocks(path):
            digest.update(block)
            target.write(block)
    return digest.hexdigest()


def _blocks(path: Path) -> Iterator[bytes]:
    try:
        with path.open("rb") as file:
            while block := file.read(BLOCK_BYTES):
                yield block
    except OSError as error:
        raise IngestionError(f"{path} can't be read: expected the full extract ({error.strerror})") from error


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Raise IngestionError if the body can't write the file, e.g. because the disk is full."""
    try:
        yield
    except (duckdb.Error, OSError) as error:
        raise IngestionError(f"{path} can't be written: {one_line(error)}") from error


class _Extract:
    """An extract that was read and accepted, and is not in the landing yet."""

    def __init__(
        self,
        settings: Settings,
        scratch: Path,
        connection: duckdb.DuckDBPyConnection,
        entity: Entity,
        paths: Mapping[str, Path],
        digests: Mapping[str, str],
        last_processed: Delivery | None,
        update: Update,
    ) -> None:
        self.entity, self.path, self.digest = entity, paths[entity.file], digests[entity.file]
        before = last_processed.file(entity.file) if last_processed else None
        self.before = settings.landing_path / before.path if before else None
        self.keys_before = before.distinct_keys if before else 0
        copy, records = scratch / self.path.name, scratch / f"{entity.file}.arrow"
        self.size = copy.stat().st_size
        self.columns = declared_columns(entity)
        self._connection = connection

        def show(end: int, rows: int) -> None:
            of_file = f"{end / 1e6:.1f} of {self.size / 1e6:.1f} MB"
            update(f"{self.path.name}: {rows:,} records, {of_file}", end, self.size)

        with _writing(records):
            self.records = read_csv(copy, self.columns, records, name=self.path, on_read=show)
        update(f"{self.path.name}: comparing its keys with those of the last delivery")
        self._register()
        self.keys = compare_keys(connection, entity.key, entity.key_type)
        self.undeclared = undeclared_headers(self.records.column_names)
        if self.undeclared:
            log.warning(
                "%s has columns that the pipeline does not know: %s. They are landed, but no model reads them",
                self.path,
                ", ".join(self.undeclared),
            )

    def _register(self) -> None:
        """Give the connection the relations `extract` and `before` (the landed file of the last processed delivery)."""
        self._connection.register("extract", self.records)
        self._connection.execute(
            "create or replace view before as select *, loaded_at as loaded_before "
            f"from {duckdb_paths.read('parquet', self.before)}"
            if self.before
            else "create or replace view before as select *, null::timestamptz as loaded_before from extract limit 0"
        )

    def check_drop(self, max_drop_pct: float) -> None:
        """Raise IngestionError if more than `max_drop_pct` percent of the last delivery's readable keys are missing."""
        keys = self.keys
        if keys.missing * 100 > max_drop_pct * self.keys_before:
            examples = ", ".join(_shown(key) for key in keys.examples)
            raise IngestionError(
                f"{self.path} lacks {keys.missing} of the {self.keys_before} values of {self.entity.key} that the "
                f"last delivery had (for example {examples}), more than MAX_ROW_DROP_PCT ({max_drop_pct:g} %): the "
                "extract is truncated, or its keys are damaged. If it is right, run again with accept_row_drop"
            )

    def land(self, landing_path: Path, delivered_at: datetime) -> FileRecord:
        """Write the records into the landing, without an entry in the ledger yet.

        Raises IngestionError if that fails, e.g. because the disk is full.
        """
        landed = f"{self.entity.file}/{delivered_at:%Y%m%dT%H%M%S%fZ}.parquet"
        target = landing_path / landed
        self._register()
        with replacing(target) as temporary, _writing(target):
            _write_landing(self._connection, self.columns, self.entity.key, temporary, delivered_at)
        landed_bytes = f"{target.stat().st_size:,}"
        log.info("landed %s, %s bytes, as %s: %s bytes", self.path.name, f"{self.size:,}", landed, landed_bytes)
        return FileRecord(landed, self.digest, self.size, self.records.num_rows, self.keys.distinct, self.undeclared)


def _shown(key: int | str) -> str:
    """Format a key for a message: text is quoted, control characters are escaped, long keys are shortened."""
    return str(key) if isinstance(key, int) else repr(key if len(key) <= 40 else f"{key[:37]}...")


def _write_landing(
    connection: duckdb.DuckDBPyConnection, columns: Sequence[Column], key: str, target: Path, delivered_at: datetime
) -> None:
    """Write `extract` with `delivered_at` and `loaded_at`, the time since which this exact record has arrived.

    That is the record's loaded_at in the landed file `before` if its declared fields are the same there, otherwise
    delivered_at. Quotes and the order of columns don't matter, except in a malformed record, where the whole text
    counts. Records are ordered by their key as received, so that a search for one key reads only a small part of the
    file.
    """
    names = [*(f"same_{column.name}" for column in columns), "same_text"]
    same = " and ".join(f"received.{name} is not distinct from known.{name}" for name in names)
    # The subquery takes the first of several records that are the same, which all have one loaded_before. A join would
    # repeat the received record for each of them.
    connection.execute("set scalar_subquery_error_on_multiple_rows = false")
    connection.execute(
        f"""
        copy (
            select
                received.* exclude ({", ".join(names)}),
                $delivered_at::timestamptz as delivered_at,
                coalesce(
                    (
                        select loaded_before
                        from (select {_identity(connection, "before", columns)}, loaded_before from before) as known
                        where {same}
                    ),
                    $delivered_at
                )::timestamptz as loaded_at
            from (select *, {_identity(connection, "extract", columns)} from extract) as received
            order by received.{key}
        ) to {duckdb_paths.literal(target)} (format parquet, compression zstd)
        """,
        {"delivered_at": delivered_at},
    )


def _identity(connection: duckdb.DuckDBPyConnection, relation: str, columns: Sequence[Column]) -> str:
    """Return the select list of the values by which two records are compared."""
    found = [name for name, *_ in connection.execute(f"describe {relation}").fetchall()]
    values = [f"{value} as same_{name}" for name, value in declared_values(columns, found).items()]
    text_of_malformed = "case when malformed_reason is not null then coalesce(raw_record, '') end"
    return ", ".join([*values, f"{text_of_malformed} as same_text"])
