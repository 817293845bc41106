"""The steps of one delivery, as the DAG's tasks and `python -m include.deliver` call them.

ingest_delivery -> dbt (Cosmos in the DAG, build() here) -> export -> publish -> write_report
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from include.artifacts import INGESTION_NOTE, artifacts_dir, forget_results, timed_step
from include.dbt.manifest import current_manifest, load_manifest
from include.dbt.runner import NO_UNIT_TESTS, NodeProgress, run_dbt
from include.errors import PipelineError, one_line
from include.exports import publish_exports, write_exports
from include.files import replacing
from include.history import check_history
from include.ingestion import Ingestion, IngestionError, ingest, unfinished_before
from include.ledger import FINISHED, Ledger, time_text
from include.preflight import check_paths
from include.progress import step
from include.quality import build as quality_report
from include.quality.report import IngestionNote, Outcome, Report
from include.settings import Settings
from include.turns import alone
from include.warehouse import open_warehouse

if TYPE_CHECKING:
    from dbt.contracts.results import RunResult

BUILD = ["build", *NO_UNIT_TESTS]
"""dbt's command for a delivery."""


class DeliveryFailed(PipelineError):
    """The delivery was landed but can't be finished. The next run continues it. The message names what failed."""


def deliver(
    settings: Settings,
    *,
    logical_date: datetime,
    run_id: str,
    full_refresh: bool = False,
    accept_row_drop: bool = False,
    discard_unfinished: bool = False,
    dated_folder_only: bool = False,
    is_preview: bool = False,
) -> Path:
    """Run one delivery end to end in this process; return the path of its quality report, which is always written.

    `logical_date` is aware. A dbt project that can't be parsed fails before any file is read. Raises IngestionError,
    DeliveryFailed, WarehouseError, ExportError, DbtFailed, UnusablePath, OSError, or the errors of turns.alone() if
    another run is working.
    """
    check_paths(settings, "DATA_QUALITY_REPORT_PATH", "LANDING_PATH")
    with step("parse dbt project"):
        current_manifest(settings)
    failure: str | None = None
    with alone(settings.landing_path, f"running a delivery (run {run_id})"):
        try:
            ingestion = ingest_delivery(
                settings,
                logical_date=logical_date,
                run_id=run_id,
                accept_row_drop=accept_row_drop,
                discard_unfinished=discard_unfinished,
                dated_folder_only=dated_folder_only,
                full_refresh=full_refresh,
            )
            if full_refresh or ingestion.outcome != "unchanged":
                _process(settings, run_id=run_id, full_refresh=full_refresh)
        except BaseException as error:  # also Ctrl-C
            failure = one_line(error)
            raise
        finally:
            report = write_report(settings, run_id=run_id, failure=failure, is_preview=is_preview)
    return report


def ingest_delivery(
    settings: Settings,
    *,
    logical_date: datetime,
    run_id: str,
    accept_row_drop: bool = False,
    discard_unfinished: bool = False,
    dated_folder_only: bool = False,
    full_refresh: bool = False,
) -> Ingestion:
    """Land the delivery, and record the outcome for the report.

    An earlier unfinished delivery is finished first. With `discard_unfinished` it is given up once the new files are
    accepted, and the tables return to their state before it.

    Raises the errors of ingest(), IngestionError if the tables and the landing don't belong together, and UnusablePath
    if a path can't be written to.
    """
    check_paths(settings, "DATA_QUALITY_REPORT_PATH")  # nothing could be recorded without it
    outcome: Outcome = "refused"
    delivered_at: datetime | None = None
    message: str | None = None
    warnings: tuple[str, ...] = ()
    try:
        check_paths(settings)
        warehouse = open_warehouse(settings, run_id=run_id)
        warehouse.check_session()
        check_history(settings, warehouse)

        if unfinished_before(settings, logical_date=logical_date, discard_unfinished=discard_unfinished):
            _finish(settings)
        with timed_step(settings, run_id, "ingest"):
            ingestion = ingest(
                settings,
                logical_date=logical_date,
                run_id=run_id,
                accept_row_drop=accept_row_drop,
                discard_unfinished=discard_unfinished,
                dated_folder_only=dated_folder_only,
                warehouse=warehouse,
            )
            outcome, delivered_at = ingestion.outcome, ingestion.delivery.delivered_at
            if full_refresh or outcome != "unchanged":
                forget_results(settings, run_id)  # of an earlier try: the tasks that follow run again
            warnings = ingestion.warnings
            warehouse.receive(settings.landing_path, ingestion.delivery)
        return ingestion
    except Exception as error:
        message = one_line(error)
        raise
    finally:
        _note_ingestion(settings, run_id, outcome, message, logical_date, delivered_at, full_refresh, warnings)


def note_refusal(settings: Settings, *, run_id: str, logical_date: datetime, error: str) -> None:
    """Record for the report why a run has not come as far as ingestion, unless an earlier try of it has."""
    if not _ingestion_note(settings, run_id).exists():
        _note_ingestion(settings, run_id, "refused", error, logical_date, None, full_refresh=False)


def build(
    settings: Settings,
    *,
    run_id: str,
    full_refresh: bool = False,
    select: Sequence[str] = (),
    with_tests: bool = True,
) -> None:
    """Run dbt for the current delivery, by default all nodes. Raises DeliveryFailed, which names those that failed."""
    args = [
        *BUILD,
        *([] if with_tests else ["--exclude-resource-type", "test"]),
        *(["--full-refresh"] if full_refresh else []),
        *(["--select", *select] if select else []),
    ]
    with step("dbt build") as update:
        result = run_dbt(
            settings, args, manifest=load_manifest(settings), run_id=run_id, on_event=NodeProgress(update).on_event
        )
        if not result.success:
            failed = [_explain(node) for node in result.result if node.status in ("error", "fail")]
            raise DeliveryFailed("dbt failed: " + "; ".join(failed))


def export(settings: Settings, *, run_id: str) -> None:
    """Write both marts as Parquet and CSV, where readers don't see them yet."""
    with step("export"), timed_step(settings, run_id, "export"):
        write_exports(open_warehouse(settings, run_id=run_id), settings.output_path, run_id=run_id)


def publish_tables(settings: Settings, *, run_id: str) -> None:
    """Replace the tables that consumers of the warehouse read."""
    with step("publish tables"), timed_step(settings, run_id, "publish_tables"):
        open_warehouse(settings, run_id=run_id).publish_tables()


def publish(settings: Settings, *, run_id: str) -> None:
    """Publish the run's exports, all at once, and mark the delivery as processed.

    Raises DeliveryFailed if another run has landed a later delivery since.
    """
    ledger = Ledger.load(settings.landing_path)
    delivered_at = _delivered_at_of(settings, run_id)
    if ledger.last is None or ledger.last.delivered_at != delivered_at:
        raise DeliveryFailed(
            f"the delivery of {time_text(delivered_at)} was overtaken: a later run has finished it and landed "
            "another one"
        )
    with step("publish"), timed_step(settings, run_id, "publish"):
        publish_exports(settings.output_path, run_id=run_id, delivered_at=delivered_at, keep=settings.keep_exports)
        if ledger.unfinished:
            ledger.mark_processed()
        open_warehouse(settings, run_id=run_id).discard_checkpoint()


def write_report(settings: Settings, *, run_id: str, failure: str | None = None, is_preview: bool = False) -> Path:
    """Write the run's quality report, whatever happened; return its path. `failure` says why the run failed, if it did.

    Raises UnusablePath if DATA_QUALITY_REPORT_PATH can't be written to.
    """
    check_paths(settings, "DATA_QUALITY_REPORT_PATH")
    with step("quality report"):
        return quality_report.write_report(
            settings,
            run_id=run_id,
            warehouse=open_warehouse(settings, run_id=run_id),
            failure=failure,
            is_preview=is_preview,
        )


def failure_in(report: Path) -> str | None:
    """Return why a run must fail although its tasks succeeded (its report's verdict is `fail`), or None."""
    found = Report.load(report)
    return f"the quality report's verdict is fail: {found.why}" if found.verdict == "fail" else None


def _process(settings: Settings, *, run_id: str, full_refresh: bool = False) -> None:
    build(settings, run_id=run_id, full_refresh=full_refresh)
    export(settings, run_id=run_id)
    publish_tables(settings, run_id=run_id)
    publish(settings, run_id=run_id)


def _finish(settings: Settings) -> None:
    """Process the delivery that an earlier run landed, as a separate run with its own report."""
    unfinished = Ledger.load(settings.landing_path).unfinished
    if unfinished is None:
        return
    run_id = f"{unfinished.run_id}{FINISHED}"
    failure: str | None = None
    forget_results(settings, run_id)
    _note_ingestion(
        settings, run_id, "resumed", None, unfinished.logical_date, unfinished.delivered_at, full_refresh=False
    )
    try:
        open_warehouse(settings, run_id=run_id).receive(settings.landing_path, unfinished)
        _process(settings, run_id=run_id)
    except Exception as error:
        failure = one_line(error)
        if not isinstance(error, DeliveryFailed):
            raise
        raise DeliveryFailed(
            f"the delivery of {time_text(unfinished.logical_date)} has to be finished first, and failed again: {error}"
        ) from error
    finally:
        write_report(settings, run_id=run_id, failure=failure)


def _note_ingestion(
    settings: Settings,
    run_id: str,
    outcome: Outcome,
    error: str | None,
    logical_date: datetime,
    delivered_at: datetime | None,
    full_refresh: bool,
    warnings: tuple[str, ...] = (),
) -> None:
    note = IngestionNote(
        run_id=run_id,
        outcome=outcome,
        error=error,
        logical_date=logical_date,
        delivered_at=delivered_at,
        full_refresh=full_refresh,
        warnings=warnings,
    )
    with replacing(_ingestion_note(settings, run_id)) as temporary:
        temporary.write_text(note.model_dump_json(indent=2) + "\n", encoding="utf-8")


def _delivered_at_of(settings: Settings, run_id: str) -> datetime:
    note = _ingestion_note(settings, run_id)
    landed = IngestionNote.model_validate_json(note.read_bytes()).delivered_at if note.exists() else None
    if landed is None:
        raise IngestionError(f"run {run_id} has landed no delivery: clear the run from wait_for_turn on")
    return landed


def _ingestion_note(settings: Settings, run_id: str) -> Path:
    return artifacts_dir(settings, run_id) / INGESTION_NOTE


def _explain(node: RunResult) -> str:
    what = " ".join((node.message or "").split())
    return f"{node.node.name} ({what})" if what else str(node.node.name)
