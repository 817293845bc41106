"""Carry over the history that the Dagster version of this pipeline kept in DuckDB: `python -m migrations.dagster`.

Its snapshots say what was valid when. The migration derives from them the full extracts that it must have received, one
for each run that changed anything, lands them with their times, and plays them like any delivery. So this dbt project
builds the history by its own rules, and it can be rebuilt from the landing later. The old database is only read. The
columns of its snapshots and extracts are defined here as they were in that version.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import duckdb

from include import duckdb_paths
from include.dbt.manifest import load_manifest
from include.dbt.runner import DbtFailed, run_dbt
from include.errors import PipelineError, run_command
from include.files import lock, replacing, scratch_folder
from include.ingestion import ingest
from include.ledger import Ledger, time_text
from include.pipeline import deliver
from include.preflight import check_paths
from include.quoting import literal, quoted
from include.rebuild import rebuild
from include.settings import Settings, load_settings
from include.warehouse import Warehouse, open_warehouse

RUN_ID = "migrate_dagster"

LONGEST_RUN = timedelta(hours=1)
"""A run of the Dagster version leaves up to four times, seconds apart. Times further apart belong to different runs."""

MOST_SHOWN = 20
"""How many differing keys are printed by name."""

TIMES = {
    "dbt_valid_from": ("TIMESTAMP", "TIMESTAMP WITH TIME ZONE"),
    "dbt_valid_to": ("TIMESTAMP", "TIMESTAMP WITH TIME ZONE"),
}


class MigrationError(PipelineError):
    """The old database can't be carried over. The message says what was expected and what was found."""


@dataclass(frozen=True)
class Snapshot:
    """A snapshot, named alike in both versions of the pipeline: its columns, with their possible old types."""

    name: str
    table: str
    key: str
    types: dict[str, tuple[str, ...]]
    as_received: dict[str, str]
    """Each column of the extract, as SQL over a version."""

    @property
    def columns(self) -> str:
        """The key and the other columns, for SQL."""
        return ", ".join(self.types)

    @property
    def contents(self) -> list[str]:
        return [column for column in self.types if column != self.key]


SNAPSHOTS = (
    Snapshot(
        "customers",
        "snap_customer",
        "customer_id",
        {"customer_id": ("INTEGER", "BIGINT"), "customer_name": ("VARCHAR",), "has_loan_flag": ("BOOLEAN",)},
        {
            "CustomerID": "coalesce(received.customer_id, version.customer_id::varchar)",
            "Name": "coalesce(received.name, version.customer_name)",
            "HasLoan": "case when received.name is null then version.has_loan_flag::varchar else received.has_loan end",
        },
    ),
    Snapshot(
        "accounts",
        "snap_account",
        "account_id",
        {
            "account_id": ("VARCHAR",),
            "customer_id": ("INTEGER", "BIGINT"),
            "balance_amount": ("DECIMAL(18,2)",),
            "account_type": ("VARCHAR",),
        },
        {
            "AccountID": "version.account_id",
            "CustomerID": "version.customer_id::varchar",
            "Balance": "version.balance_amount::varchar",
            "AccountType": "version.account_type",
        },
    ),
)


def migrate(settings: Settings, old_database: Path, *, time_zone: str = "UTC", dry_run: bool = False) -> None:
    """Carry the history of `old_database` over into an empty one, printing progress and, at the end, a summary.

    `time_zone` is that of its times if they have none. Can be called again after a crash at any point. Raises
    MigrationError, or another PipelineError. If the input is refused, nothing has changed.
    """
    if not old_database.is_file():
        raise MigrationError(f"{old_database} is missing: expected the DuckDB file of the Dagster version")
    if settings.duckdb_path.exists() and settings.duckdb_path.samefile(old_database):
        raise MigrationError(f"DUCKDB_PATH is the old database, {old_database}: let it name a file of its own")
    with (
        tempfile.TemporaryDirectory(prefix=RUN_ID) as scratch,
        _old_history(old_database, time_zone, Path(scratch, "history.duckdb")) as history,
    ):
        deliveries = _deliveries(history)
        begun = _begun(settings, deliveries)
        _classify(history, settings, Path(scratch))
        print(_plan(history, deliveries), flush=True)
        if dry_run:
            return
        check_paths(settings)
        inputs = Path(scratch, "inputs")
        if begun == 0 and len(deliveries) > 1:
            _land(history, settings, inputs, deliveries[:-1])
        if len(deliveries) > 1 and begun < len(deliveries):
            rebuild(settings)
        _write_extracts(history, inputs, deliveries[-1])
        print(f"delivering the last one, of {time_text(deliveries[-1])}", flush=True)
        report = deliver(
            replace(settings, input_path=inputs, max_quarantine_pct=100.0),  # the old version took these records
            logical_date=deliveries[-1],
            run_id=RUN_ID,
            accept_row_drop=True,
        )
        print(f"report {report}")
        _compare(history, settings)


@contextmanager
def _old_history(path: Path, time_zone: str, scratch: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """Yield a connection to the new database `scratch`, with a table `versions_<name>` per snapshot: _collapse()."""
    with duckdb.connect(scratch) as connection:
        connection.execute("set TimeZone = 'UTC'")
        try:
            connection.execute(f"attach {duckdb_paths.literal(path.absolute())} as old (type duckdb, read_only)")
        except duckdb.Error as error:
            raise MigrationError(f"{path} can't be opened as a DuckDB file: {error}") from error
        schema = _find_schema(connection, path)
        for snapshot in SNAPSHOTS:
            _read(connection, path, schema, snapshot, time_zone)
        _place(connection, path)
        _read_received(connection)
        for snapshot in SNAPSHOTS:
            _collapse(connection, snapshot)
        connection.execute("detach old")
        yield connection


def _find_schema(connection: duckdb.DuckDBPyConnection, path: Path) -> str:
    """Return the schema that has both snapshots, and check their columns by name and type."""
    expected = {snapshot.table: {**snapshot.types, **TIMES} for snapshot in SNAPSHOTS}
    found: dict[str, dict[str, dict[str, str]]] = {}
    for schema, table, column, type_ in connection.execute(
        "select schema_name, table_name, column_name, data_type from duckdb_columns() where database_name = 'old'"
    ).fetchall():
        found.setdefault(schema, {}).setdefault(table, {})[column] = type_
    schemas = [schema for schema, tables in found.items() if expected.keys() <= tables.keys()]
    if len(schemas) != 1:
        raise MigrationError(
            f"{path}: expected one schema with the tables {' and '.join(expected)}, found "
            f"{', '.join(schemas) or 'none'} among the schemas {', '.join(sorted(found)) or '(no tables at all)'}"
        )
    for table, columns in expected.items():
        for column, types in columns.items():
            type_found = found[schemas[0]][table].get(column, "no such column")
            if type_found not in types:
                raise MigrationError(
                    f"{path}: {schemas[0]}.{table}.{column}: expected {' or '.join(types)}, found {type_found}"
                )
    return schemas[0]


def _read(connection: duckdb.DuckDBPyConnection, path: Path, schema: str, snapshot: Snapshot, time_zone: str) -> None:
    """Make `old_<name>`: the versions as they are, times in UTC. Raises MigrationError if they overlap."""
    table = quoted("old", schema, snapshot.table)

    def in_utc(column: str) -> str:
        aware = f"case when typeof({column}) = 'TIMESTAMP' then timezone({literal(time_zone)}, {column}::timestamp) "
        return f"timezone('UTC', {aware} else {column}::timestamptz end)"

    connection.execute(f"""
        create table old_{snapshot.name} as
        select
            {snapshot.columns},
            {in_utc("dbt_valid_from")} as begins,
            {in_utc("dbt_valid_to")} as ends,
            count(*) as rows
        from {table}
        group by all
    """)
    wrong = connection.execute(f"""
        select {snapshot.key}, begins, ends, lead(begins) over this_key as next_begins
        from old_{snapshot.name}
        window this_key as (partition by {snapshot.key} order by begins)
        qualify {snapshot.key} is null or begins is null or begins >= ends or coalesce(ends, 'infinity') > next_begins
        order by 1, 2
        limit 1
    """).fetchone()
    if wrong:
        key, begins, ends, next_begins = wrong
        raise MigrationError(
            f"{path}: {schema}.{snapshot.table}: {snapshot.key} {key!r}: expected versions that follow one another, "
            f"found one from {begins} to {ends or 'now'}" + (f" and another from {next_begins}" if next_begins else "")
        )


def _place(connection: duckdb.DuckDBPyConnection, path: Path) -> None:
    """Make `places`: for each time of the old versions the delivery that it belongs to, NULL if none comes after it.

    That is the start of its run, or, where no customer or no account was valid then, of the next run: an extract
    without records would have been refused, and what it closed was not closed.
    """
    events = connection.execute(
        " union all ".join(
            f"select begins as time, '{name} begin' as kind from old_{name} group by all union all "
            f"select ends, '{name} end' from old_{name} where ends is not null "
            f"and ends not in (select begins from old_{name}) group by all"
            for name in (snapshot.name for snapshot in SNAPSHOTS)
        )
    ).fetchall()
    runs = runs_of(events)
    connection.execute("create table runs (time timestamp, run timestamp)")
    if runs:
        connection.executemany("insert into runs values (?, ?)", list(runs.items()))
    held = [
        connection.execute(f"""
            select run, sum(sum(change)) over (order by run) > 0
            from (
                select run, 0 as change from runs
                union all select run, 1 from old_{snapshot.name} inner join runs on time = begins
                union all select run, -1 from old_{snapshot.name} inner join runs on time = ends
            )
            group by run
        """).fetchall()
        for snapshot in SNAPSHOTS
    ]
    usable = sorted(set.intersection(*({run for run, is_held in table if is_held} for table in held)))
    if not usable:
        raise MigrationError(f"{path}: expected customers and accounts valid at the same time, found none")
    connection.execute("create table places (time timestamp, delivery timestamp)")
    connection.executemany(
        "insert into places values (?, ?)",
        [(time, next(iter(usable[bisect_left(usable, run) :]), None)) for time, run in runs.items()],
    )


def runs_of(events: Iterable[tuple[datetime, str]]) -> dict[datetime, datetime]:
    """Map each time to the start of the run that left it there, from events (time, kind).

    A run leaves one event of a kind (customers begin, customers end, ...) at most, in any order, within LONGEST_RUN.
    """
    runs: dict[datetime, datetime] = {}
    kinds: set[str] = set()
    start: datetime | None = None
    for time, kind in sorted(events):
        if start is None or kind in kinds or time - start > LONGEST_RUN:
            start, kinds = time, set()
        kinds.add(kind)
        runs[time] = start
    return runs


def _read_received(connection: duckdb.DuckDBPyConnection) -> None:
    """Make `received`: the customers' records of the last run as they arrived, where the old database still has them.

    A customer record that differs in any byte makes a version, so the current version is landed as its record will
    arrive again. pandas read the extract there: an id can end in .0, and a loan flag that counted as missing is lost.
    """
    has_source = connection.execute(
        "select 1 from duckdb_columns() where database_name = 'old' and schema_name = 'main_source' "
        "and table_name = 'src_customer' and column_name in ('customer_id', 'name', 'has_loan') having count(*) = 3"
    ).fetchone()
    source = (
        "old.main_source.src_customer" if has_source else "(select null as customer_id, null as name, null as has_loan)"
    )
    connection.execute(f"""
        create table received as
        with source as (
            select
                regexp_extract(customer_id::varchar, '^( *[0-9]+ *)([.]0)?$', 1) as customer_id,
                name::varchar as name,
                has_loan::varchar as has_loan
            from {source}
        )
        select
            *,
            try_cast(trim(customer_id) as bigint) as key,
            lower(trim(name)) as customer_name,
            coalesce(lower(trim(has_loan)) in ('yes', 'y', 'true', '1'), false) as has_loan_flag
        from source
        qualify count(*) over (partition by key) = 1 and key is not null
    """)


def _collapse(connection: duckdb.DuckDBPyConnection, snapshot: Snapshot) -> None:
    """Make `versions_<name>`: numbered versions that differ from the previous one, or follow a gap, at delivery times.

    Each has its record as an extract would have it, under the extract's column names.
    """
    fields = ", ".join(f"{sql} as {field}" for field, sql in snapshot.as_received.items())
    received = (
        "received on version.ends is null and version.customer_id = received.key "
        "and version.customer_name = received.customer_name and version.has_loan_flag = received.has_loan_flag"
        if snapshot.name == "customers"
        else "(select null as name) as received on false"
    )
    differs = " or ".join(f"{column} is distinct from lag({column}) over this_key" for column in snapshot.contents)
    connection.execute(f"""
        create table versions_{snapshot.name} as
        with placed as (
            select {snapshot.columns}, begin_place.delivery as begins, end_place.delivery as ends
            from old_{snapshot.name}
            inner join places as begin_place on begins = begin_place.time
            left join places as end_place on ends = end_place.time
            where begin_place.delivery is not null and begin_place.delivery is distinct from end_place.delivery
        ),
        marked as (
            select *, lag(ends) over this_key is distinct from begins or {differs} as is_new
            from placed
            window this_key as (partition by {snapshot.key} order by begins)
        ),
        numbered as (
            select *, count(*) filter (is_new) over (partition by {snapshot.key} order by begins) as number_of_key
            from marked
        ),
        version as (
            select
                {snapshot.columns},
                min(begins) as begins,
                nullif(max(coalesce(ends, 'infinity')), 'infinity') as ends
            from numbered
            group by {snapshot.columns}, number_of_key
        )
        select row_number() over (order by version.{snapshot.key}, begins) as number, version.*, {fields}
        from version
        left join {received}
    """)


def _deliveries(history: duckdb.DuckDBPyConnection) -> list[datetime]:
    """Return the times at which anything changed: aware, in UTC, ascending."""
    times = " union ".join(
        f"select begins from versions_{snapshot.name} union select ends from versions_{snapshot.name}"
        for snapshot in SNAPSHOTS
    )
    found = history.execute(f"select * from ({times}) where begins is not null order by 1").fetchall()
    return [time.replace(tzinfo=UTC) for (time,) in found]


def _begun(settings: Settings, deliveries: list[datetime]) -> int:
    """Return how many of the deliveries an earlier try has landed: none, all but the last, or all.

    Raises MigrationError if our own history contains anything else.
    """
    ledger = Ledger.load(settings.landing_path)
    dates = [entry.logical_date for entry in ledger.entries]
    resumable = all(entry.run_id == RUN_ID for entry in ledger.entries) and dates in (deliveries[:-1], deliveries)
    if ledger.last and not resumable:
        raise MigrationError(
            f"{ledger.path} is not empty: expected no delivery before those of the old database, found one of "
            f"{time_text(ledger.last.logical_date)} by run {ledger.last.run_id}"
        )
    if not ledger.last and open_warehouse(settings, run_id=RUN_ID).has_history():
        raise MigrationError("the warehouse has history already: expected none before that of the old database")
    return len(dates)


def _classify(history: duckdb.DuckDBPyConnection, settings: Settings, scratch: Path) -> None:
    """Make `classified_<name>`: what staging makes of each version's record, and why it quarantines it, if it does.

    All records are staged as one delivery in a database of its own, so that every rule is dbt's.
    """
    folder = scratch / "classifying"
    scratch_settings = replace(
        settings,
        database_type="duckdb",
        dbt_target="dev",
        databricks=None,
        duckdb_path=folder / settings.duckdb_path.name,
        landing_path=folder / "landing",
        input_path=folder,
        data_quality_report_path=folder,
    )
    _write_extracts(history, folder, None)
    ingest(scratch_settings, logical_date=datetime(2000, 1, 1, tzinfo=UTC), run_id=RUN_ID)
    result = run_dbt(
        scratch_settings,
        ["run", "--quiet", "--select", "tag:source", "tag:staging"],
        manifest=load_manifest(scratch_settings),
        run_id=RUN_ID,
    )
    if not result.success:
        raise DbtFailed("dbt could not stage the old records: " + "; ".join(str(r.message) for r in result.result))
    warehouse = open_warehouse(scratch_settings)
    for snapshot in SNAPSHOTS:
        checked = warehouse.relation("staging", snapshot.table.replace("snap_", "stg_") + "_checked")
        select = (
            f"select source_row_number as number, {snapshot.columns}, "
            f"nullif(failure_reasons, 'conflicting duplicate') as reasons from {checked}"
        )
        _fetch(history, f"classified_{snapshot.name}", warehouse, select)


def _fetch(
    history: duckdb.DuckDBPyConnection, table: str, warehouse: Warehouse, select: str, columns: str = "*"
) -> None:
    """Make a table from the result of a query of the warehouse."""
    with warehouse.stream(select) as reader:
        history.register("reader", reader)
        history.execute(f"create table {table} as select {columns} from reader")
        history.unregister("reader")


def _write_extracts(history: duckdb.DuckDBPyConnection, folder: Path, time: datetime | None) -> None:
    """Write both extracts as they arrived at a time, or, without one, every version's record in order of number."""
    folder.mkdir(parents=True, exist_ok=True)
    for snapshot in SNAPSHOTS:
        at = f"timestamp '{time.astimezone(UTC):%Y-%m-%d %H:%M:%S.%f}'" if time else "null"
        history.execute(f"""
            copy (
                select {", ".join(snapshot.as_received)}
                from versions_{snapshot.name}
                where {at} is null or (begins <= {at} and coalesce(ends > {at}, true))
                order by number
            ) to {duckdb_paths.literal(folder / f"{snapshot.name}.csv")} (format csv, header, force_quote *)
        """)


def _land(history: duckdb.DuckDBPyConnection, settings: Settings, inputs: Path, deliveries: list[datetime]) -> None:
    """Land the deliveries beside the landing, then move them into it: the ledger last, as the commit point."""
    with (
        lock(settings.landing_path / ".ingest.lock", "carrying over the history of the Dagster version"),
        scratch_folder(settings.landing_path / ".migration") as beside,
    ):
        if Ledger.load(settings.landing_path).entries:
            raise MigrationError(f"{settings.landing_path} has received a delivery since it was found to be empty")
        landing = replace(settings, landing_path=beside, input_path=inputs)
        for number, time in enumerate(deliveries, start=1):
            print(f"landing {number} of {len(deliveries)}: {time_text(time)}", flush=True)
            _write_extracts(history, inputs, time)
            ingest(landing, logical_date=time, run_id=RUN_ID, accept_row_drop=True)
            ledger = Ledger.load(beside).mark_processed()
        for entry in ledger.entries:
            for snapshot in SNAPSHOTS:
                target = settings.landing_path / entry.file(snapshot.name).path
                target.parent.mkdir(exist_ok=True)
                (beside / entry.file(snapshot.name).path).replace(target)
        with replacing(settings.landing_path / ledger.path.name) as temporary:
            temporary.write_bytes(ledger.path.read_bytes())


def _plan(history: duckdb.DuckDBPyConnection, deliveries: list[datetime]) -> str:
    """Describe what will be carried over, and every kind of record that our rules quarantine."""
    lines = []
    for snapshot in SNAPSHOTS:
        rows, keys = _row(history, f"select sum(rows)::bigint, count(distinct {snapshot.key}) from old_{snapshot.name}")
        (versions,) = _row(history, f"select count(*) from versions_{snapshot.name}")
        lines.append(f"{snapshot.name}: versions found: {rows}, of {keys} keys; spurious: {rows - versions}")
        lines += [
            f"  to be quarantined: {count}, {reasons}"
            for reasons, count in history.execute(
                f"select reasons, count(*) from classified_{snapshot.name} where reasons is not null "
                "group by 1 order by 1"
            ).fetchall()
        ]
    lines += [
        f"the run of {run} UTC is left out: no customer or no account was valid then, so that it closed everything"
        for (run,) in history.execute(
            "select distinct run from runs join places using (time) where run is distinct from delivery order by 1"
        ).fetchall()
    ]
    first, last = time_text(deliveries[0]), time_text(deliveries[-1])
    return "\n".join([*lines, f"deliveries: {len(deliveries)}, the first of {first}, the last of {last}"])


def _compare(history: duckdb.DuckDBPyConnection, settings: Settings) -> None:
    """Print what our snapshots now contain, and each key that differs from the old ones, with the reason.

    Raises MigrationError if there is no reason for a difference.
    """
    warehouse = open_warehouse(settings, run_id=RUN_ID)
    unexplained = []
    for snapshot in SNAPSHOTS:
        select = f"select {snapshot.columns}, dbt_valid_from, dbt_valid_to from "
        select += warehouse.relation("snapshots", snapshot.table)
        times = "dbt_valid_from::timestamp as begins, dbt_valid_to::timestamp as ends"
        _fetch(history, f"new_{snapshot.name}", warehouse, select, f"{snapshot.columns}, {times}")
        versions, current = _row(history, f"select count(*), count(*) filter (ends is null) from new_{snapshot.name}")
        (quarantined,) = _row(history, f"select count(reasons) from classified_{snapshot.name}")
        differing = _differing_keys(history, snapshot)
        print(
            f"{snapshot.name}: versions carried over: {versions}, keys current: {current}, "
            f"records quarantined: {quarantined}, keys that differ from the old database: {len(differing)}"
        )
        for key, reason in differing[:MOST_SHOWN]:
            print(f"  {snapshot.key} {key}: {reason or 'no known reason'}")
        unexplained += [f"{snapshot.key} {key}" for key, reason in differing if not reason]
    if unexplained:
        raise MigrationError(
            f"keys that differ from the old database without a known reason: {len(unexplained)}, "
            f"{unexplained[0]} among them"
        )


def _differing_keys(history: duckdb.DuckDBPyConnection, snapshot: Snapshot) -> list[tuple[str, str | None]]:
    """Return each key whose versions differ between `versions_<name>` and `new_<name>`, and why."""
    columns = f"{snapshot.columns}, begins, ends"
    cleaned = " or ".join(f"classified.{column} is distinct from version.{column}" for column in snapshot.types)
    found: list[tuple[str, str | None]] = history.execute(f"""
        with differing as (
            select {snapshot.key} from (select {columns} from versions_{snapshot.name} except from new_{snapshot.name})
            union
            select {snapshot.key} from (from new_{snapshot.name} except select {columns} from versions_{snapshot.name})
        ),
        reasons as (
            select
                version.{snapshot.key},
                case
                    when classified.reasons is not null then 'quarantined: ' || classified.reasons
                    when {cleaned} then 'cleaned by the rules of staging'
                end as reason
            from versions_{snapshot.name} as version
            inner join classified_{snapshot.name} as classified using (number)
        )
        select differing.{snapshot.key}::varchar, string_agg(distinct reason, '; ')
        from differing
        left join reasons using ({snapshot.key})
        group by 1
        order by 1
    """).fetchall()
    return found


def _row(connection: duckdb.DuckDBPyConnection, select: str) -> tuple[int, ...]:
    row: tuple[int, ...] = connection.execute(select).fetchone()
    return row


def main(arguments: list[str] | None = None) -> int:
    """Return 0, or 1 with one line on stderr that says what is wrong."""
    options = _parser().parse_args(arguments)
    return run_command(
        lambda: migrate(load_settings(), options.database, time_zone=options.time_zone, dry_run=options.dry_run)
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m migrations.dagster", description=__doc__)
    parser.add_argument("database", type=Path, help="the DuckDB file of the Dagster version; it is only read")
    parser.add_argument(
        "--time-zone",
        type=_time_zone,
        default="UTC",
        metavar="Europe/Berlin",
        help="the zone of its machine, for times that it stored without one; default: UTC",
    )
    parser.add_argument("--dry-run", action="store_true", help="say what would be carried over, and change nothing")
    return parser


def _time_zone(name: str) -> str:
    try:
        return ZoneInfo(name).key
    except (OSError, ValueError) as error:
        raise argparse.ArgumentTypeError(f"{name!r} is no time zone such as Europe/Berlin") from error


if __name__ == "__main__":
    sys.exit(main())
