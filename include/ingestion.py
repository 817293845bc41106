"""Two CSV extracts become a landed delivery: checked as wholes, kept as received, entered in the ledger last."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

import duckdb

from include import duckdb_paths
from include.csv_reader import BadExtract, read_csv
from include.errors import PipelineError, one_line
from include.files import Locked, lock, replacing, sha256
from include.keys import KeyType, compare_keys
from include.ledger import Delivery, FileRecord, Ledger, time_text
from include.settings import Settings

Outcome = Literal["landed", "resumed", "unchanged"]

MAX_AHEAD = timedelta(days=1)
"""How far a logical date may lie ahead of the clock: beyond it is a typing error, which would bar every later day."""


@dataclass(frozen=True)
class FileSpec:
    """One of the two extracts: its name, its columns (header name -> name in the landing) and its key."""

    name: str
    columns: Mapping[str, str]
    key: str
    key_type: KeyType


CUSTOMERS = FileSpec(
    "customers",
    {"CustomerID": "customer_id", "Name": "name", "HasLoan": "has_loan"},
    key="customer_id",
    key_type="number",
)
ACCOUNTS = FileSpec(
    "accounts",
    {"AccountID": "account_id", "CustomerID": "customer_id", "Balance": "balance", "AccountType": "account_type"},
    key="account_id",
    key_type="text",
)
FILES = (CUSTOMERS, ACCOUNTS)


class IngestionError(PipelineError):
    """The delivery is refused and nothing has changed; the message names the file or the times, and what to do."""


class UnfinishedDelivery(IngestionError):
    """An earlier delivery was landed but not processed, and has to be finished first."""


@dataclass(frozen=True)
class Ingestion:
    """What became of a delivery: `landed` now, `resumed` (landed by an earlier run) or `unchanged` (processed)."""

    outcome: Outcome
    delivery: Delivery


def ingest(
    settings: Settings,
    *,
    logical_date: datetime,
    run_id: str,
    accept_row_drop: bool = False,
    discard_unfinished: bool = False,
    dated_folder_only: bool = False,
    before_commit: Callable[[Delivery | None], None] = lambda replaced: None,
) -> Ingestion:
    """Land the delivery of `logical_date` (aware), by the rules of section 4 of the design.

    `discard_unfinished` lets it replace the unfinished delivery of another run, whatever that one's date is.
    `before_commit` is called when the files are landed and the ledger is about to be written, with the unfinished
    delivery that this one replaces, if any. Raises IngestionError, UnfinishedDelivery among them.
    """
    try:
        with lock(settings.landing_path / ".ingest.lock", f"ingesting a delivery (run {run_id})"):
            return _ingest(
                settings, logical_date, run_id, accept_row_drop, discard_unfinished, dated_folder_only, before_commit
            )
    except (BadExtract, Locked) as error:
        raise IngestionError(str(error)) from error


def _ingest(
    settings: Settings,
    logical_date: datetime,
    run_id: str,
    accept_row_drop: bool,
    discard_unfinished: bool,
    dated_folder_only: bool,
    before_commit: Callable[[Delivery | None], None],
) -> Ingestion:
    ledger = Ledger.load(settings.landing_path)
    logical_date = logical_date.astimezone(UTC)
    _check_clock(logical_date)
    last = ledger.last
    before = ledger.last_processed
    if before and logical_date < before.logical_date:
        raise IngestionError(
            f"the delivery of {time_text(logical_date)} is older than the last processed one, of "
            f"{time_text(before.logical_date)}: deliveries have to come in the order of their logical dates"
        )
    # A run that is tried again finds its own delivery, which it has to go on with.
    discards = discard_unfinished and ledger.unfinished is not None and ledger.unfinished.run_id != run_id
    if ledger.unfinished and logical_date != ledger.unfinished.logical_date and not discards:
        raise UnfinishedDelivery(
            f"the delivery of {time_text(ledger.unfinished.logical_date)} was landed by run {ledger.unfinished.run_id} "
            "but not processed, and has to be finished first"
        )

    paths = find_extracts(settings.input_path, logical_date, dated_folder_only=dated_folder_only)
    seen = {name: _fingerprint(path) for name, path in paths.items()}
    digests = {name: _digest(path) for name, path in paths.items()}
    is_last = last and logical_date == last.logical_date and all(last.file(n).sha256 == d for n, d in digests.items())
    if last and is_last and not discards:
        return Ingestion("resumed" if last.state == "landed" else "unchanged", last)

    max_drop_pct = 100.0 if accept_row_drop else settings.max_row_drop_pct
    extracts = {}
    for spec in FILES:
        landed_before = settings.landing_path / before.file(spec.name).path if before else None
        extracts[spec.name] = _Extract(spec, paths[spec.name], digests[spec.name], landed_before)
        extracts[spec.name].check_drop(max_drop_pct)
    for name, path in paths.items():
        if _fingerprint(path) != seen[name]:
            raise IngestionError(
                f"{path} changed while it was read: wait until the sender has finished it, and try again"
            )

    delivered_at = _delivered_at(ledger, logical_date)
    records = {name: extract.land(settings.landing_path, delivered_at) for name, extract in extracts.items()}
    delivery = Delivery(logical_date, delivered_at, "landed", run_id, records["customers"], records["accounts"])
    before_commit(ledger.unfinished)
    ledger.append(delivery)
    return Ingestion("landed", delivery)


def _check_clock(logical_date: datetime) -> None:
    now = datetime.now(UTC)
    if logical_date > now + MAX_AHEAD:
        raise IngestionError(
            f"the logical date {time_text(logical_date)} is more than a day ahead of the clock, {time_text(now)}: "
            "every delivery before it would be refused as older. Run again with the day of the files"
        )


def _delivered_at(ledger: Ledger, logical_date: datetime) -> datetime:
    """Return the logical date, or the first microsecond after it that is later than all history and still free.

    A time that a discarded delivery had is not free: it names the files of its landing.
    """
    delivered_at = logical_date
    if ledger.last_processed:
        delivered_at = max(delivered_at, ledger.last_processed.delivered_at + timedelta(microseconds=1))
    taken = {entry.delivered_at for entry in ledger.entries}
    while delivered_at in taken:
        delivered_at += timedelta(microseconds=1)
    return delivered_at


def find_extracts(input_path: Path, logical_date: datetime, *, dated_folder_only: bool = False) -> dict[str, Path]:
    """Return the path of each file of the delivery of `logical_date`: the day's folder goes before the loose files.

    Raises IngestionError where the day's folder holds one file of the two, or has to be there and is not.
    """
    dated = input_path / f"{logical_date.astimezone(UTC):%Y-%m-%d}"
    names = [f"{spec.name}.csv" for spec in FILES]
    missing = [name for name in names if not _is_there(dated / name)]
    if missing and dated_folder_only:
        raise IngestionError(
            f"{dated} has no {' and no '.join(missing)}: a backfill takes each day's files from the day's own folder"
        )
    if len(missing) == 1:
        raise IngestionError(f"{dated} has no {missing[0]}: a day's folder has to hold {' and '.join(names)}")
    folder = input_path if missing else dated
    return {spec.name: folder / f"{spec.name}.csv" for spec in FILES}


def _is_there(path: Path) -> bool:
    """Return whether a path leads anywhere; one that is too long, or in a closed folder, does not."""
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
        raise IngestionError(f"{path} is no file: expected the full extract")
    return found.st_size, found.st_mtime_ns, found.st_ino


def _digest(path: Path) -> str:
    try:
        return sha256(path)
    except OSError as error:
        raise IngestionError(f"{path} can't be read: expected the full extract ({error.strerror})") from error


class _Extract:
    """One extract, read and found to be one, not yet in the landing."""

    def __init__(self, spec: FileSpec, path: Path, digest: str, before: Path | None) -> None:
        """`before` is the landing of the last processed delivery."""
        self.spec, self.path, self.digest, self.before = spec, path, digest, before
        self.size = path.stat().st_size
        self.records = read_csv(path, spec.columns)
        self.keys = compare_keys(self.records, before, spec.key, spec.key_type)

    def check_drop(self, max_drop_pct: float) -> None:
        """Raise IngestionError if more than `max_drop_pct` percent of the last delivery's readable keys are missing."""
        keys = self.keys
        if keys.missing * 100 > max_drop_pct * keys.distinct_before:
            examples = ", ".join(_shown(key) for key in keys.examples)
            raise IngestionError(
                f"{self.path} lacks {keys.missing} of the {keys.distinct_before} values of {self.spec.key} that the "
                f"last delivery had (for example {examples}), more than MAX_ROW_DROP_PCT ({max_drop_pct:g} %): the "
                "extract is truncated, or its keys are damaged. If it is right, run again with accept_row_drop"
            )

    def land(self, landing_path: Path, delivered_at: datetime) -> FileRecord:
        """Write the records into the landing, not yet entered in the ledger.

        Raises IngestionError where that can't be done, e.g. on a full disk.
        """
        landed = f"{self.spec.name}/{delivered_at:%Y%m%dT%H%M%S%fZ}.parquet"
        with self._connection() as connection, replacing(landing_path / landed) as temporary:
            try:
                _write_landing(connection, self.spec, temporary, delivered_at, self.before)
            except duckdb.Error as error:
                raise IngestionError(f"{landing_path / landed} can't be written: {one_line(error)}") from error
        return FileRecord(landed, self.digest, self.size, self.records.num_rows, self.keys.distinct)

    @contextmanager
    def _connection(self) -> Iterator[duckdb.DuckDBPyConnection]:
        with duckdb.connect() as connection:
            connection.execute("set TimeZone = 'UTC'")
            connection.register("extract", self.records)
            yield connection


def _shown(key: int | str) -> str:
    """A key for a message: text in quotes, control characters escaped, cut to a length that can be read."""
    return str(key) if isinstance(key, int) else repr(key if len(key) <= 40 else f"{key[:37]}...")


def _write_landing(
    connection: duckdb.DuckDBPyConnection, spec: FileSpec, target: Path, delivered_at: datetime, before: Path | None
) -> None:
    """Write the extract with `delivered_at`, and with `loaded_at`: since when this exact record has been arriving.

    That is the record's loaded_at in the landing before, where its fields were there too, else delivered_at (design,
    section 5). Quotes and the order of columns are not the record's; of a malformed one all its text is.
    """
    same = " and ".join(
        f"extract.{column} is not distinct from before.{column}"
        for column in (*spec.columns.values(), "malformed_text")
    )
    columns = ", ".join(spec.columns.values())
    text_of_malformed = "case when malformed_reason is not null then coalesce(raw_record, '') end as malformed_text"
    connection.execute(
        f"create view before as select distinct {columns}, {text_of_malformed}, loaded_at "
        f"from {duckdb_paths.read('parquet', before)}"
        if before
        else f"create view before as select {columns}, null as malformed_text, null as loaded_at from extract limit 0"
    )
    connection.execute(
        f"""
        copy (
            select
                extract.* exclude (malformed_text),
                $delivered_at::timestamptz as delivered_at,
                coalesce(before.loaded_at, $delivered_at)::timestamptz as loaded_at
            from (select *, {text_of_malformed} from extract) as extract
            left join before on {same}
        ) to {duckdb_paths.literal(target)} (format parquet)
        """,
        {"delivered_at": delivered_at},
    )
