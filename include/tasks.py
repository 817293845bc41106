"""The functions of the DAG's tasks, which connect Airflow to the rest of include/.

The DAG file imports this module, so modules that need duckdb and pyarrow (pipeline, ingestion, preflight) are imported
in the functions.
"""

from __future__ import annotations

import logging
import signal
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import datetime
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar

from airflow.providers.standard.operators.python import ShortCircuitOperator
from airflow.sdk import Asset, get_current_context
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException
from airflow.sdk.execution_time import task_runner
from airflow.sdk.execution_time.comms import GetDagRun
from airflow.sdk.execution_time.supervisor import InProcessSupervisorComms

from include import alerts, assets, turns
from include.artifacts import report_of
from include.errors import PipelineError, one_line
from include.files import Locked
from include.ledger import time_text
from include.settings import load_settings
from include.warehouse import WarehouseError

log = logging.getLogger(__name__)

T = TypeVar("T")

ACTIVE = ["queued", "running"]
"""The states of a DAG run that has not ended."""

ENDED = {"success", "failed", "skipped", "upstream_failed", "removed"}
"""The states of a task that will not run any more."""

LAST_TASK = "quality_report"


def delivery_time(dag_run: Any) -> datetime:
    """Return the time of the run's delivery, aware: its logical date, or its run_after if it has none (manual runs)."""
    time: datetime = dag_run.logical_date or dag_run.run_after
    return time


def fail_fast(function: Callable[..., T]) -> Callable[..., T]:
    """Wrap a task's function so that it fails in one line and without a retry if a retry is pointless."""

    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> T:
        from include.ingestion import IngestionError
        from include.preflight import UnusablePath

        try:
            return function(*args, **kwargs)
        except (IngestionError, turns.NotItsTurn, UnusablePath) as error:
            raise AirflowFailException(str(error)) from None
        except OSError as error:  # a full disk or a lost mount may be temporary
            raise PipelineError(one_line(error)) from None
        except WarehouseError as error:
            if error.is_transient:
                raise
            raise AirflowFailException(str(error)) from error

    return call


@fail_fast
def hold_turn(context: Any, _operator: Any = None) -> None:
    """Cosmos interceptor, called before each dbt task: fail the task if it is another run's turn.

    So a task that is cleared alone, without wait_for_turn, can't work on another run's delivery.
    """
    _check_process(context["dag_run"])
    turns.hold(
        load_settings().landing_path,
        context["run_id"],
        has_ended=lambda other: _working_run(other, context["ti"]) is None,
    )


def in_turn(function: Callable[..., T]) -> Callable[..., T]:
    """Wrap a task's function so that it runs only in its run's turn. See hold_turn() and fail_fast()."""

    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> T:
        hold_turn(get_current_context())
        return function(*args, **kwargs)

    return fail_fast(call)


@fail_fast
def wait_for_turn(*, dag_run: Any, ti: Any) -> bool:
    """Take the turn and return True if no other run comes first; otherwise log which run this one waits for.

    `airflow dags test` waits for no DAG run, since no scheduler works on it. The report says why a run is refused here.
    """
    from include.preflight import UnusablePath, check_paths

    settings = load_settings()
    try:
        check_paths(settings, "LANDING_PATH")
        _check_process(dag_run)
        if is_dag_test(dag_run):
            _end_at_ctrl_c()
        return _take_turn(settings.landing_path, dag_run, ti)
    except (turns.NotItsTurn, UnusablePath) as error:
        from include import pipeline

        with suppress(OSError):
            pipeline.note_refusal(
                settings, run_id=dag_run.run_id, logical_date=delivery_time(dag_run), error=one_line(error)
            )
        raise


def _take_turn(landing: Path, dag_run: Any, ti: Any) -> bool:
    """Take the turn and return True unless another run comes first.

    Deliveries are processed in the order of their times, one at a time: a run has its turn if no other run is working
    and no run of an earlier delivery is active. `max_active_runs` can't ensure that, since Airflow starts runs in the
    order of their creation and counts those of a backfill separately.
    """
    turns.release(landing, dag_run.run_id)  # taken by a killed try, or before the run was cleared
    try:
        with turns.deciding(landing, dag_run.run_id) as held:
            blocking = _working_run(turns.holder(landing), ti) or _earlier_run(dag_run, ti)
            if blocking and is_dag_test(dag_run):
                raise turns.NotItsTurn(
                    f"the DAG run {blocking} comes first, and no scheduler works on it now: let one end it (`make ui`, "
                    "with the DAG switched on), or mark it failed; then run again"
                )
            if blocking:
                log.info("waiting for %s to end", blocking)
                return False
            if is_dag_test(dag_run):
                turns.take_for_this_process(landing, held)
            else:
                turns.take(landing, dag_run.run_id)
    except Locked as error:
        log.info("waiting: %s", error)
        return False
    return True


def is_dag_test(dag_run: Any) -> bool:
    """Return True if the run was started by `airflow dags test`.

    If that process is killed, Airflow keeps calling the run active, so no run may wait for it. While the process lives,
    it holds the lock of include/turns.py.
    """
    return bool(dag_run.triggering_user_name == "dag_test")


def _check_process(dag_run: Any) -> None:
    """Raise NotItsTurn in a scheduler's process if the run was started by `airflow dags test`.

    A scheduler takes any run's tasks if the DAG is switched on: while that command works, or long after it was killed.
    """
    if is_dag_test(dag_run) and not isinstance(task_runner.SUPERVISOR_COMMS, InProcessSupervisorComms):
        raise turns.NotItsTurn(
            "`airflow dags test` has started this run, and a scheduler has taken this task: trigger the DAG instead, "
            "or switch it off before `airflow dags test`"
        )


def _end_at_ctrl_c() -> None:
    """Let Ctrl-C end this process. Airflow takes the exception for a failure of the task, and tries the task again."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)


def _working_run(run_id: str | None, ti: Any) -> str | None:
    """Return `run_id` if that run is still active, otherwise None: it has ended or was deleted."""
    return run_id if run_id and ti.get_dr_count(ti.dag_id, run_ids=[run_id], states=ACTIVE) else None


def _earlier_run(dag_run: Any, ti: Any) -> str | None:
    """Return id and time of an active run of an earlier delivery, or None. Runs of the same time are ordered by id.

    Airflow's API does not list active runs, only the states of a task in every run. So the state of the last task shows
    which runs may be active. These are checked one by one, beginning with the earliest by id.
    """
    if ti.get_dr_count(ti.dag_id, states=ACTIVE) < 2:
        return None
    states = ti.get_task_states(ti.dag_id, task_ids=[LAST_TASK])
    candidates = [run_id for run_id, tasks in states.items() if tasks[LAST_TASK] not in ENDED]
    for run_id in sorted(candidates, key=lambda run_id: run_id.partition("__")[2]):
        run = _run(ti.dag_id, run_id)
        if run.state in ACTIVE and not is_dag_test(run) and _place(run) < _place(dag_run):
            return f"{run_id}, of {time_text(delivery_time(run))},"
    return None


def _run(dag_id: str, run_id: str) -> Any:
    return task_runner.SUPERVISOR_COMMS.send(GetDagRun(dag_id=dag_id, run_id=run_id))


def _place(dag_run: Any) -> tuple[datetime, str]:
    return delivery_time(dag_run), dag_run.run_id


@in_turn
def ingest(*, dag_run: Any, params: dict[str, Any]) -> bool:
    """Land the delivery; return True if the next tasks have anything to do.

    With the param `preview`, play it on a copy instead, and keep the report.
    """
    from include import pipeline

    settings = load_settings()
    delivery = {
        "logical_date": delivery_time(dag_run),
        "run_id": dag_run.run_id,
        "accept_row_drop": params["accept_row_drop"],
        "discard_unfinished": params["discard_unfinished"],
        "dated_folder_only": dag_run.run_type == "backfill",
        "full_refresh": params["full_refresh"],
    }
    if params["preview"]:
        from include.preview import keep_report, preview

        with preview(settings, **delivery) as (report, error):
            kept = keep_report(report, settings.data_quality_report_path)
        log.info("nothing was landed; the preview's report is %s", kept)
        if error:
            log.warning("the delivery would fail: %s", one_line(error))
        return False
    ingestion = pipeline.ingest_delivery(settings, **delivery)
    return bool(params["full_refresh"]) or ingestion.outcome != "unchanged"


class IngestOperator(ShortCircuitOperator):  # type: ignore[misc]
    """Calls ingest(). If nothing is left to do, it skips the tasks up to the report.

    All at once: if only the next tasks were skipped, and those after them by their trigger rules, Airflow would take
    one step after another, and `airflow dags test` waits a second in each.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(python_callable=ingest, ignore_downstream_trigger_rules=True, **kwargs)

    def skip(self, ti: Any, tasks: Iterable[Any]) -> None:
        kept = {LAST_TASK, *self.dag.get_task(LAST_TASK).get_flat_relative_ids()}
        super().skip(ti, [task for task in tasks if task.task_id not in kept])


@in_turn
def write_files(*, dag_run: Any) -> None:
    """Write both marts as CSV and Parquet, where readers don't see them yet."""
    from include import pipeline

    pipeline.export(load_settings(), run_id=dag_run.run_id)


@in_turn
def publish_tables(*, dag_run: Any) -> None:
    """Replace the tables that consumers of the warehouse read, each in one statement."""
    from include import pipeline

    pipeline.publish_tables(load_settings(), run_id=dag_run.run_id)


@in_turn
def publish(*, dag_run: Any) -> None:
    """Publish the new exports, all at once, and mark the delivery as processed."""
    from include import pipeline

    pipeline.publish(load_settings(), run_id=dag_run.run_id)


@fail_fast
def quality_report(*, dag_run: Any, ti: Any, params: dict[str, Any]) -> str:
    """Write the run's quality report, whatever happened, and end the run's turn; fail if any task of the run failed, or
    if the report's verdict is `fail`.

    If alerts are set, send the one that the report calls for. Return the report's file name. A preview already has its
    report, and sends no alert.
    """
    from include import pipeline

    settings = load_settings()
    states = ti.get_task_states(ti.dag_id, run_ids=[dag_run.run_id])[dag_run.run_id]
    after = ti.task.get_flat_relative_ids()
    failed = sorted(
        task_id for task_id, state in states.items() if state in ("failed", "upstream_failed") and task_id not in after
    )
    failure = f"the run has failed tasks: {', '.join(failed)}" if failed else None
    is_preview = params["preview"]
    path = report_of(settings.data_quality_report_path, dag_run.run_id) if is_preview and not failure else None
    if path is None:
        path = pipeline.write_report(settings, run_id=dag_run.run_id, failure=failure, is_preview=is_preview)
    turns.release(settings.landing_path, dag_run.run_id)
    if not is_preview:
        alerts.notify(settings, path)
        failure = failure or pipeline.failure_in(path)
    if failure:
        raise AirflowFailException(failure)
    return path.name


def announce_assets(*, ti: Any, outlets: Any, outlet_events: Any) -> None:
    """Create an event for each of the task's outlets, with the report's values for it.

    Skip if the run changed nothing, because a task that succeeds creates events, and after an error, because a run that
    has published its data is not red.
    """
    from include.quality.report import Report

    try:
        settings = load_settings()
        path = settings.data_quality_report_path / ti.xcom_pull(task_ids=LAST_TASK)
        report = Report.load(path)
        names = tuple(asset.name for asset in outlets)
        described = assets.describe(settings, path, report, names) if assets.is_news(report) else {}
    except Exception as error:
        log.exception("nothing is announced")
        raise AirflowSkipException(f"nothing is announced: {one_line(error)}") from None
    if not described:
        raise AirflowSkipException("the run has changed nothing: nothing is announced")
    for name, extra in described.items():
        outlet_events[Asset(name)].extra = extra
