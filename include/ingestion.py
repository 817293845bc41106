"""Two CSV extracts become a landed delivery: checked as wholes, kept as received, entered in the ledger last."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from include import duckdb_paths
from include.csv_reader import BadExtract, read_csv
from include.errors import PipelineError, one_line
from include.files import Locked, lock, replacing, sha256
from include.ledger import Delivery, FileRecord, Ledger, time_text
from include.settings import Settings

if TYPE_CHECKING:
    import duckdb

Outcome = Literal["landed", "resumed", "unchanged"]


@dataclass(frozen=True)
class FileSpec:
    """One of the two extracts: its name, its columns (header name -> name in the landing) and its key."""

    name: str
    columns: Mapping[str, str]
    key: str


CUSTOMERS = FileSpec(
    "customers", {"CustomerID": "customer_id", "Name": "name", "HasLoan": "has_loan"}, key="customer_id"
)
ACCOUNTS = FileSpec(
    "accounts",
    {"AccountID": "account_id", "CustomerID": "customer_id", "Balance": "balance", "AccountType": "account_type"},
    key="account_id",
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
    dated_folder_only: bool = False,
    before_commit: Callable[[Delivery | None], None] = lambda replaced: None,
) -> Ingestion:
    """Land the delivery of `logical_date` (aware), by the rules of section 4 of the design.

    `before_commit` is called when the files are landed and the ledger is about to be written, with the unfinished
    delivery that this one replaces, if any. Raises IngestionError, UnfinishedDelivery among them.
    """
    try:
        with lock(settings.landing_path / ".ingest.lock", f"ingesting a delivery (run {run_id})"):
            return _ingest(settings, logical_date, run_id, accept_row_drop, dated_folder_only, before_commit)
    except (BadExtract, Locked) as error:
        raise IngestionError(str(error)) from error


def _ingest(
    settings: Settings,
    logical_date: datetime,
    run_id: str,
    accept_row_drop: bool,
    dated_folder_only: bool,
    before_commit: Callable[[Delivery | None], None],
) -> Ingestion:
    ledger = Ledger.load(settings.landing_path)
    logical_date = logical_date.astimezone(UTC)
    last = ledger.last
    before = ledger.last_processed
    if before and logical_date < before.logical_date:
        raise IngestionError(
            f"the delivery of {time_text(logical_date)} is older than the last processed one, of "
            f"{time_text(before.logical_date)}: deliveries have to come in the order of their logical dates"
        )
    if ledger.unfinished and logical_date != ledger.unfinished.logical_date:
        raise UnfinishedDelivery(
            f"the delivery of {time_text(ledger.unfinished.logical_date)} was landed by run {ledger.unfinished.run_id} "
            "but not processed, and has to be finished first"
        )

    paths = find_extracts(settings.input_path, logical_date, dated_folder_only=dated_folder_only)
    seen = {name: _fingerprint(path) for name, path in paths.items()}
    digests = {name: _digest(path) for name, path in paths.items()}
    if last and logical_date == last.logical_date and all(last.file(n).sha256 == d for n, d in digests.items()):
        return Ingestion("resumed" if last.state == "landed" else "unchanged", last)

    max_drop_pct = 100.0 if accept_row_drop else settings.max_row_drop_pct
    extracts = {}
    for spec in FILES:
        extracts[spec.name] = _Extract(spec, paths[spec.name], digests[spec.name])
        extracts[spec.name].check_drop(before.file(spec.name) if before else None, max_drop_pct)
    for name, path in paths.items():
        if _fingerprint(path) != seen[name]:
            raise IngestionError(
                f"{path} changed while it was read: wait until the sender has finished it, and try again"
            )

    delivered_at = max(logical_date, last.delivered_at + timedelta(microseconds=1)) if last else logical_date
    records = {
        name: extract.land(settings.landing_path, delivered_at, before.file(name) if before else None)
        for name, extract in extracts.items()
    }
    delivery = Delivery(logical_date, delivered_at, "landed", run_id, records["customers"], records["accounts"])
    before_commit(ledger.unfinished)
    ledger.append(delivery)
    return Ingestion("landed", delivery)


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

    def __init__(self, spec: FileSpec, path: Path, digest: str) -> None:
        self.spec, self.path, self.digest = spec, path, digest
        self.size = path.stat().st_size
        self.records = read_csv(path, spec.columns)
        with self._connection() as connection:
            self.distinct_keys = _distinct_keys(connection, spec)

    def check_drop(self, before: FileRecord | None, max_drop_pct: float) -> None:
        """Raise IngestionError if the distinct keys fell by more than `max_drop_pct` percent."""
        if before and self.distinct_keys < before.distinct_keys * (1 - max_drop_pct / 100):
            raise IngestionError(
                f"{self.path} has {self.distinct_keys} distinct values of {self.spec.key}, the last delivery had "
                f"{before.distinct_keys}: they fell by more than MAX_ROW_DROP_PCT ({max_drop_pct:g} %); "
                "the extract is probably truncated. If it is complete, run again with accept_row_drop"
            )

    def land(self, landing_path: Path, delivered_at: datetime, before: FileRecord | None) -> FileRecord:
        """Write the records into the landing, not yet entered in the ledger.

        Raises IngestionError where that can't be done, e.g. on a full disk.
        """
        import duckdb

        landed = f"{self.spec.name}/{delivered_at:%Y%m%dT%H%M%S%fZ}.parquet"
        with self._connection() as connection, replacing(landing_path / landed) as temporary:
            earlier = landing_path / before.path if before else None
            try:
                _write_landing(connection, self.spec, temporary, delivered_at, earlier)
            except duckdb.Error as error:
                raise IngestionError(f"{landing_path / landed} can't be written: {one_line(error)}") from error
        return FileRecord(landed, self.digest, self.size, self.records.num_rows, self.distinct_keys)

    @contextmanager
    def _connection(self) -> Iterator[duckdb.DuckDBPyConnection]:
        import duckdb

        with duckdb.connect() as connection:
            connection.execute("set TimeZone = 'UTC'")
            connection.register("extract", self.records)
            yield connection


def _distinct_keys(connection: duckdb.DuckDBPyConnection, spec: FileSpec) -> int:
    """Count the distinct keys, malformed records included, trimmed; what counts as missing is not counted."""
    row = connection.execute(f"""
        select count(*) filter (lower(key) not in ('', 'null', 'n/a', 'none'))
        from (select distinct trim({spec.key}, E' \\t\\r\\n') as key from extract)
    """).fetchone()
    return int(row[0]) if row else 0


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
