"""The content of a quality report. `python -m include.quality.report` writes the JSON schema that follows from it."""

from __future__ import annotations

import json
import sys
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Literal

from pydantic import (
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    PlainSerializer,
    ValidationError,
    WithJsonSchema,
)
from pydantic.json_schema import GenerateJsonSchema

from include.entities import ENTITIES
from include.errors import PipelineError
from include.files import replacing
from include.ingestion import Outcome as IngestionOutcome
from include.layers import LAYERS, Layer
from include.ledger import FILE_NAMES, time_text
from include.settings import PROJECT_ROOT, DatabaseType

SCHEMA_PATH = Path(__file__).with_name("quality_report.schema.json")
TREND_RUNS = 30
LISTED = 20
"""How many stale keys or orphan accounts are listed by name. All are counted."""
SAMPLE_ROWS = 5
"""How many failing rows of a test, or quarantined records of a reason, are shown."""

SchemaVersion = Literal["2.0"]
SCHEMA_VERSION: SchemaVersion = "2.0"
"""Trend and comparison still read what they need from reports of earlier versions (PastReport)."""

Status = Literal["pass", "warn", "fail", "error", "skipped", "not_run"]
Severity = Literal["error", "warn"]
Verdict = Literal["pass", "warn", "fail"]
Outcome = Literal[IngestionOutcome, "refused"]
TaskGroup = Literal["ingest", Layer, "exports", "quality_report"]
TASK_GROUPS: tuple[TaskGroup, ...] = ("ingest", *LAYERS, "exports", "quality_report")
Cause = Literal["balance", "loan flag", "rate", "new", "closed"]
OrphanReason = Literal["customer unknown", "customer deleted", "customer only ever quarantined"]
FileName = Annotated[str, Field(pattern=f"^({'|'.join(FILE_NAMES)})$")]
EntityName = Annotated[str, Field(pattern=f"^({'|'.join(entity.name for entity in ENTITIES)})$")]
Count = Annotated[int, Field(ge=0)]
Amount = Annotated[float, Field(ge=0)]
Time = Annotated[AwareDatetime, PlainSerializer(time_text)]
Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
Row = dict[str, str | None]
"""A row as text, by column. A column that is not known to be harmless is masked: `*** (12 characters)`."""
Money = Annotated[
    Decimal,
    PlainSerializer(lambda amount: f"{amount:.2f}"),
    WithJsonSchema({"type": "string", "pattern": r"^-?[0-9]+\.[0-9]{2}$"}),
]
"""An amount of money, exact to the cent; in JSON it is text, since a number there is a binary fraction to many."""


class NotAReport(PipelineError):
    """A file is not a report, or has another schema version. The message names the file and the first error."""


class Section(BaseModel):
    """A part of the report. It is immutable, and accepts neither unknown fields nor other types."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, serialize_by_alias=True)


class RunOutcome(Section):
    """A run and what became of its delivery."""

    run_id: str = Field(description="Airflow's run id, or that of include.deliver.")
    outcome: Outcome = Field(
        description="landed now; resumed, landed by an earlier run; unchanged, already processed; refused."
    )
    error: str | None = Field(description="Why it was refused, or why the run failed after that.")
    logical_date: Time | None = Field(description="The delivery's logical date.")
    delivered_at: Time | None = Field(description="The delivery's time; null if it was refused.")
    full_refresh: bool = Field(description="Whether intermediate and marts were rebuilt.")


class Versions(Section):
    """Versions of what ran; null where it is not installed."""

    python: str = Field(description="Python.")
    airflow: str | None = Field(description="apache-airflow-core.")
    cosmos: str | None = Field(description="astronomer-cosmos.")
    dbt: str | None = Field(description="dbt-core.")
    adapter: str | None = Field(description="dbt-duckdb or dbt-databricks, whichever the engine needs.")
    duckdb: str | None = Field(description="duckdb, which also writes the exports on Databricks.")


class IngestionNote(RunOutcome):
    """What ingestion records of a run for its report."""

    warnings: tuple[str, ...] = Field(
        default=(), description="Its warnings, for example of an old file. They become problems of the report."
    )


class Run(RunOutcome):
    """A run and its delivery."""

    generated_at: Time = Field(description="When the report was made, by the clock.")
    is_preview: bool = Field(
        default=False, description="Whether the delivery was played on a copy, of which nothing was kept."
    )
    database_type: DatabaseType = Field(description="The engine.")
    git_revision: str | None = Field(
        description="Commit of the checkout, with -dirty where files differ from it, or the one that the image was "
        "built from; null where there is neither."
    )
    manifest_sha256: Sha256 = Field(
        description="SHA-256 over the files of the dbt project, and dbt's version, that the manifest was made from."
    )
    versions: Versions = Field(description="Versions of what ran.")


class TaskGroupSeconds(Section):
    """How long a task group worked."""

    group: TaskGroup = Field(description="Its name in the DAG.")
    seconds: Amount | None = Field(
        description="Seconds in which at least one of its steps or dbt nodes was at work; of quality_report, until "
        "the report was put together. Null where that was not noted: it did not run, or was killed."
    )


class Counts(Section):
    """How many nodes have each status."""

    pass_: Count = Field(alias="pass", description="Succeeded.")
    warn: Count = Field(description="Found rows, severity warn.")
    fail: Count = Field(description="Found rows, severity error.")
    error: Count = Field(description="Could not be run.")
    skipped: Count = Field(description="Skipped by dbt, since something before it failed.")
    not_run: Count = Field(description="Has no result in this run.")


class Totals(Section):
    """Counts by status."""

    tests: Counts = Field(description="Data tests.")
    models: Counts = Field(description="Models, snapshots and seeds.")


class LayerCounts(Section):
    """Counts of a layer."""

    layer: Layer = Field(description="Its name.")
    tests: Counts = Field(description="Data tests.")
    models: Counts = Field(description="Models, snapshots and seeds.")


class SeverityCounts(Section):
    """Counts of a severity."""

    severity: Severity = Field(description="Its name.")
    tests: Counts = Field(description="Data tests.")


class Node(Section):
    """A node of the dbt project and its result in a run."""

    name: str = Field(description="Its name in dbt.")
    layer: Layer = Field(description="Its layer; of a test, the last one that it reads.")
    status: Status = Field(description="What became of it in this run.")
    seconds: Amount | None = Field(description="How long it took.")
    message: str | None = Field(description="dbt's message, if it could not be run.")


class BuiltNode(Node):
    """A model, snapshot or seed."""

    kind: Literal["model", "snapshot", "seed"] = Field(description="What it is.")


class DataTest(Node):
    """A data test."""

    description: str | None = Field(
        description="What a failure means and what to do; null where the test does not say."
    )
    models: tuple[str, ...] = Field(description="What it tests.")
    column: str | None = Field(description="The column, where it tests one.")
    severity: Severity = Field(description="error stops what is downstream, warn is reported.")
    failures: Count | None = Field(description="Rows that it found.")
    rows: Count | None = Field(description="Rows of the tested model, if it is one and the test found any.")
    failure_share: Amount | None = Field(description="failures / rows.")
    failing_rows: tuple[Row, ...] = Field(
        description=f"At most {SAMPLE_ROWS} of the rows found, as text; columns not known to be harmless are masked."
    )
    kept_in: str | None = Field(
        description="The table in which the warehouse keeps all rows that it found, unmasked, until it runs again; "
        "null where it keeps none."
    )
    sql: str | None = Field(description="The test's compiled SQL.")
    downstream: tuple[str, ...] = Field(description="Models and snapshots built from what it tests.")


class Reconciliation(Section):
    """What became of a file's records."""

    file: FileName = Field(description="Its name.")
    sha256: Sha256 = Field(description="SHA-256 of the file as received.")
    bytes: Count = Field(description="Its size.")
    read: Count = Field(description="Records read, malformed ones included.")
    staged: Count = Field(description="Records staged.")
    duplicates: Count = Field(description="Records identical to a staged one after cleaning.")
    quarantined: Count = Field(description="Records quarantined.")
    balanced: bool = Field(description="Whether it adds up; if not the verdict is fail.")


class UnknownColumn(Section):
    """A column of a file that the pipeline does not know; it is landed, but no model reads it."""

    file: FileName = Field(description="The file.")
    column: str = Field(description="Its header, as received.")
    since: Time = Field(description="The first delivery of the unbroken series that has it.")


class QuarantineReason(Section):
    """A reason for which records of a file are quarantined."""

    file: FileName = Field(description="The file.")
    reason: str = Field(description="The reason.")
    records: Count = Field(description="Records that have it.")
    records_before: Count | None = Field(
        description="Records that had it in the last report with a quarantine section, of another delivery; null "
        "where there is none."
    )
    samples: tuple[Row, ...] = Field(
        description=f"At most {SAMPLE_ROWS} of them, as received, by their place in the file; names are masked, and "
        "every field of a malformed record."
    )


class StaleKey(Section):
    """A key that arrived only in quarantined records."""

    key: str = Field(description="The key.")
    valid_from: Time = Field(description="Since when its current version is valid.")


class StaleKeys(Section):
    """The stale keys of an entity."""

    entity: EntityName = Field(description="Its name.")
    count: Count = Field(description="All stale keys.")
    keys: tuple[StaleKey, ...] = Field(description=f"The first {LISTED}.")


class OrphanAccount(Section):
    """A current account whose customer is not current."""

    account_id: str = Field(description="Its key.")
    customer_id: Count = Field(description="Its customer.")
    reason: OrphanReason = Field(description="Why the customer is not current.")


class OrphanAccounts(Section):
    """Current accounts whose customer is not current; they bear no interest."""

    count: Count = Field(description="All of them.")
    accounts: tuple[OrphanAccount, ...] = Field(description=f"The first {LISTED}.")


class SnapshotIntegrity(Section):
    """Whether the versions of a snapshot follow one another."""

    snapshot: str = Field(description="Its name.")
    versions: Count = Field(description="All versions.")
    current_versions: Count = Field(description="Versions without an end.")
    inverted: Count = Field(description="Versions that end before they begin, or as they begin.")
    overlapping: Count = Field(description="Versions that begin before the one before has ended.")


class KeyChanges(Section):
    """What the delivery made of an entity's keys."""

    entity: EntityName = Field(description="Its name.")
    new: Count = Field(description="Keys that had no version before.")
    changed: Count = Field(description="Keys with a version that took over from another.")
    closed: Count = Field(description="Keys that left.")
    returned: Count = Field(description="Keys that came back after they had left.")


class Balances(Section):
    """The balances of accounts.csv on their way from the file to the exports.

    received = staged + duplicates + quarantined; staged + stale = current; current = orphaned + checking + savings;
    savings = summarized = profiled = exported; summarized + interest = with_interest; interest = profiled_interest =
    exported_interest. An amount is null where its table was not built for this delivery, or can't be read; an equation
    with one is not checked.
    """

    received: Money | None = Field(description="Of all records whose balance can be read.")
    staged: Money | None = Field(description="Of staged records.")
    duplicates: Money | None = Field(description="Of records identical to a staged one: the money is there once.")
    quarantined: Money | None = Field(description="Of quarantined records whose balance can be read.")
    unreadable_records: Count | None = Field(
        description="Quarantined records in no sum: malformed, or with a balance that is missing or no valid amount."
    )
    stale: Money | None = Field(description="Of stale accounts: their last valid version stays current.")
    current: Money | None = Field(description="Of all accounts that are current in the history.")
    orphaned: Money | None = Field(description="Of current accounts without a current customer; they bear no interest.")
    checking: Money | None = Field(description="Of accounts with a customer that are no savings accounts.")
    savings: Money | None = Field(description="Of savings accounts with a customer.")
    summarized: Money | None = Field(description="original_balance_amount of account_summary.")
    interest: Money | None = Field(description="annual_interest_amount of account_summary.")
    with_interest: Money | None = Field(description="new_balance_amount of account_summary.")
    profiled: Money | None = Field(description="total_balance_amount of customer_profile.")
    profiled_interest: Money | None = Field(description="total_annual_interest_amount of customer_profile.")
    exported: Money | None = Field(description="original_balance_amount of the exported account_summary.")
    exported_interest: Money | None = Field(description="annual_interest_amount of the exported account_summary.")
    mismatches: tuple[str, ...] = Field(
        description="The equations that do not hold, with their amounts; if there are any the verdict is fail."
    )


class InterestCause(Section):
    """Why the yearly interest of accounts changed."""

    cause: Cause = Field(
        description="balance, loan flag (the customer's, or another customer), rate (other tiers hold); new: bears "
        "interest and did not, since the account is new, back, became savings or got its customer; closed: the reverse."
    )
    accounts: Count = Field(description="Accounts whose interest it changed; one can have several causes.")
    amount: Money = Field(description="By how much, in sum.")


class Interest(Section):
    """The yearly interest before the delivery and after it: before + the amounts of all causes = after.

    An account with several causes counts the balance first, then the loan flag, then the rate.
    """

    before: Money = Field(
        description="Of account_summary before the delivery, calculated from history and rates: what the causes moved, "
        "taken off `after`; 0 for the first delivery."
    )
    after: Money = Field(description="Of account_summary.")
    causes: tuple[InterestCause, ...] = Field(description="Every cause, also without accounts.")


class ExportedFile(Section):
    """An exported file."""

    file: str = Field(description="Its name in OUTPUT_PATH.")
    rows: Count = Field(description="Its rows.")
    bytes: Count = Field(description="Its size.")
    sha256: Sha256 = Field(description="SHA-256 of its content.")


class MartChanges(Section):
    """What the delivery made of a mart."""

    mart: str = Field(description="Its name.")
    total_rows: Count = Field(description="Its rows.")
    changed_rows: Count = Field(description="Rows that the delivery made or changed.")


class Comparison(Section):
    """Tests that found something, compared with the last run whose tests ran."""

    run_id: str | None = Field(description="That run; null if there is none.")
    new: tuple[str, ...] = Field(description="Tests that find something now, and found nothing in that run.")
    fixed: tuple[str, ...] = Field(description="Tests that found something in that run, and pass now.")
    still_failing: tuple[str, ...] = Field(description="Tests that find something now, and did in that run.")


class TrendEntry(Section):
    """A run among the last ones."""

    run_id: str = Field(description="Its id.")
    report: str = Field(description="Name of its report's file, in the same folder.")
    logical_date: Time | None = Field(default=None, description="Its delivery's logical date, also if it was refused.")
    delivered_at: Time | None = Field(description="Its delivery's time.")
    generated_at: Time = Field(description="When its report was made.")
    outcome: Outcome = Field(description="What became of its delivery.")
    verdict: Verdict = Field(description="Its verdict.")
    why: str | None = Field(description="The reason for the verdict; null in reports before version 2.0.")
    seconds: Amount | None = Field(description="Seconds of all its task groups; null in reports before version 2.0.")
    tests_failed: Count = Field(description="Tests with status fail or error.")
    tests_warned: Count = Field(description="Tests with status warn.")
    records_read: Count | None = Field(description="Records read.")
    records_quarantined: Count | None = Field(description="Records quarantined.")
    annual_interest_amount: Money | None = Field(
        description="The yearly interest after it; null where it is not known, or of a report before version 2.0."
    )


class Findings(Section):
    """The findings of a run, from which the verdict follows."""

    schema_version: SchemaVersion = Field(description="Version of this schema.")
    run: Run = Field(description="The run and its delivery.")
    problems: tuple[str, ...] = Field(
        description="What could not be found out, and why; what was not built or published; an unfinished delivery "
        "that was given up for this one; files older than MAX_FILE_AGE_HOURS; rates that were changed in place."
    )
    totals: Totals = Field(description="Counts by status.")
    task_groups: tuple[TaskGroupSeconds, ...] = Field(description="How long each task group worked, in order.")
    layers: tuple[LayerCounts, ...] = Field(
        description="Counts per layer, in order; a test belongs to the last layer that it reads."
    )
    severities: tuple[SeverityCounts, ...] = Field(description="Counts per severity.")
    tests: tuple[DataTest, ...] = Field(description="Every data test of the project.")
    models: tuple[BuiltNode, ...] = Field(description="Every model, snapshot and seed.")
    reconciliation: tuple[Reconciliation, ...] | None = Field(
        description="Per file: read = staged + duplicates + quarantined."
    )
    unknown_columns: tuple[UnknownColumn, ...] | None = Field(description="Columns that the pipeline does not know.")
    quarantine: tuple[QuarantineReason, ...] | None = Field(
        description="Records quarantined per file and reason; a record can have several reasons."
    )
    stale_keys: tuple[StaleKeys, ...] | None = Field(
        description="Keys that arrived only in quarantined records and keep their last valid version."
    )
    orphan_accounts: OrphanAccounts | None = Field(description="Accounts without a current customer.")
    scd2: tuple[SnapshotIntegrity, ...] | None = Field(description="Integrity of each snapshot.")
    changes: tuple[KeyChanges, ...] | None = Field(description="What the delivery made of each entity's keys.")
    marts: tuple[MartChanges, ...] | None = Field(description="What the delivery made of each mart.")
    balances: Balances | None = Field(description="The balances of accounts.csv on their way from file to exports.")
    interest: Interest | None = Field(description="The yearly interest before the delivery and after it, by cause.")
    exports: tuple[ExportedFile, ...] | None = Field(
        description="The exported files; null where those that readers see are of another delivery."
    )


class Report(Findings, title="Data-quality report of one run of lc_pipeline"):
    """All times are UTC, ISO 8601 with microseconds.

    A section that reads tables is null where they could not be read, or were not built for this delivery; `problems`
    then says why.
    """

    verdict: Verdict = Field(
        description="fail: refused, broken, not complete or not reconciled; warn: something for the sender; else pass."
    )
    why: str = Field(description="Why, in one sentence.")
    against_previous: Comparison = Field(
        description="Tests that found something, compared with the last run whose tests ran."
    )
    trend: tuple[TrendEntry, ...] = Field(
        description=f"The last runs, at most {TREND_RUNS}, oldest first, this one last."
    )

    @staticmethod
    def load(path: Path) -> Report:
        """Read a report that was written. Raises OSError, or NotAReport."""
        try:
            return Report.model_validate_json(path.read_bytes())
        except ValidationError as error:
            fault = error.errors()[0]
            where = "".join(f"{part}: " for part in fault["loc"])
            raise NotAReport(f"{path} holds no report of version {SCHEMA_VERSION}: {where}{fault['msg']}") from error


class _Past(BaseModel):
    """A part of a report of any version since 1.0. Fields that are not named here are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class PastRun(_Past):
    """See Run."""

    run_id: str
    outcome: Outcome
    logical_date: AwareDatetime | None = None
    delivered_at: AwareDatetime | None
    generated_at: AwareDatetime


class PastTest(_Past):
    """See DataTest."""

    name: str
    status: Status


class PastFile(_Past):
    """See Reconciliation."""

    read: Count
    quarantined: Count


class PastReason(_Past):
    """See QuarantineReason."""

    file: FileName
    reason: str
    records: Count


class PastTaskGroup(_Past):
    """See TaskGroupSeconds."""

    seconds: Amount | None


class PastInterest(_Past):
    """See Interest."""

    after: Decimal


class PastReport(_Past):
    """What trend and comparison need from an earlier report of any version."""

    run: PastRun
    verdict: Verdict
    why: str | None = None
    tests: tuple[PastTest, ...]
    reconciliation: tuple[PastFile, ...] | None
    quarantine: tuple[PastReason, ...] | None
    task_groups: tuple[PastTaskGroup, ...] = ()
    interest: PastInterest | None = None


def written_reports(folder: Path) -> list[Path]:
    """Return the reports of a folder, without previews, in the order in which they were written."""
    return sorted(folder.glob("quality_report_*.json"), key=lambda path: path.stat().st_mtime_ns)


def newest_report(folder: Path) -> Path:
    """Return the report that was written last, without previews. Raises PipelineError if there is none."""
    written = written_reports(folder)
    if not written:
        raise PipelineError(f"{folder} has no report yet: `make run` makes one")
    return written[-1]


class _WithoutFieldTitles(GenerateJsonSchema):
    """Leaves out the titles of fields, which only repeat their names."""

    def field_title_should_be_set(self, schema: object) -> bool:
        return False


def schema_text() -> str:
    """Return the text of the published schema of the report, quality_report.schema.json."""
    report = Report.model_json_schema(schema_generator=_WithoutFieldTitles)
    sections = report.pop("$defs")
    head = {
        "$schema": GenerateJsonSchema.schema_dialect,
        "$id": f"urn:lc-pipeline:quality-report:{SCHEMA_VERSION}",
    }
    return json.dumps({**head, **report, "$defs": sections}, indent=2) + "\n"


def main() -> int:
    """Write the schema and print its path; return 0."""
    with replacing(SCHEMA_PATH) as temporary:
        temporary.write_text(schema_text(), encoding="utf-8")
    print(SCHEMA_PATH.relative_to(PROJECT_ROOT))
    return 0


if __name__ == "__main__":
    sys.exit(main())
