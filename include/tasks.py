"""What stands between the DAG and the rest of include/: the tasks' functions, and how Cosmos renders a layer.

The heavy imports are inside the functions: the DAG file imports this module.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime
from functools import cache, wraps
from typing import TYPE_CHECKING, Any, TypeVar

from include.settings import load_settings

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator
    from cosmos.dbt.graph import DbtNode

log = logging.getLogger(__name__)

T = TypeVar("T")


def node_name(node: DbtNode) -> str:
    """Name a task as the dbt node that it builds, so that its file can be found by its name."""
    return str(node.name)


@cache
def _layer_of_each_test() -> dict[str, str]:
    from include.dbt_project import layer_of_each_test

    return layer_of_each_test()


def detached_tests_of(layer: str) -> Callable[..., BaseOperator | list[BaseOperator]]:
    """Return Cosmos' converter for the tests of several parents, which run as tasks of their own.

    Cosmos puts such a test into the group of every parent, so one that compares two layers would also run in the
    earlier layer's group, before the later one is built. Here it becomes a task of the last layer that it reads, and
    an empty list, to which any task can be chained, in the others.
    """

    def convert(*, task_id: str, task_args: dict[str, Any], dag: Any, task_group: Any, **_: Any) -> Any:
        from cosmos.operators.local import DbtTestLocalOperator

        # The id alone says which test it is: as `node`, Cosmos 1.15 passes the last one of the group.
        name = task_id.removesuffix("_test")
        if _layer_of_each_test()[name] != layer:
            return []
        return DbtTestLocalOperator(
            task_id=name, select=name, dag=dag, task_group=task_group, **{**task_args, "emit_datasets": False}
        )

    return convert


def delivery_time(dag_run: Any) -> datetime:
    """The time of the run's delivery: its logical date, or when a manual run has none, its run_after."""
    time: datetime = dag_run.logical_date or dag_run.run_after
    return time


def wait_for_turn(*, dag_run: Any, ti: Any) -> bool:
    """Tell whether no earlier run of the DAG is still to end: deliveries are processed in the order of their dates.

    `max_active_runs` doesn't hold for backfills: `airflow backfill create` starts ten runs at once, and the daily run
    beside them. That one lets the queued runs of a backfill go first, too; other queued runs wait for it to end.
    """
    earlier = [ti.get_previous_dagrun(state="running")]
    if dag_run.run_type != "backfill":
        queued = ti.get_previous_dagrun(state="queued")
        earlier.append(queued if queued and queued.run_type == "backfill" else None)
    waited_for = [run.run_id for run in earlier if run]
    if waited_for:
        log.info("waiting for %s to end", " and ".join(waited_for))
    return not waited_for


def final_errors(function: Callable[..., T]) -> Callable[..., T]:
    """Let a task fail at once, with one line, where trying it again would not help."""

    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> T:
        from airflow.sdk.exceptions import AirflowFailException

        from include.errors import PipelineError, one_line
        from include.ingestion import IngestionError
        from include.preflight import UnusablePath
        from include.warehouse import WarehouseError

        try:
            return function(*args, **kwargs)
        except (IngestionError, UnusablePath) as error:
            raise AirflowFailException(str(error)) from None
        except OSError as error:  # a disk that is full, or a mount that is gone, may be there again
            raise PipelineError(one_line(error)) from None
        except WarehouseError as error:
            if error.may_pass:
                raise
            raise AirflowFailException(str(error)) from error

    return call


@final_errors
def ingest(*, dag_run: Any, params: dict[str, Any]) -> bool:
    """Land the delivery; return whether there is anything to do after that."""
    from include import pipeline

    ingestion = pipeline.ingest_delivery(
        load_settings(),
        logical_date=delivery_time(dag_run),
        run_id=dag_run.run_id,
        accept_row_drop=params["accept_row_drop"],
        dated_folder_only=dag_run.run_type == "backfill",
        full_refresh=params["full_refresh"],
    )
    return bool(params["full_refresh"]) or ingestion.outcome != "unchanged"


@final_errors
def export_csv(*, dag_run: Any) -> None:
    """Write both marts as CSV, not yet visible to readers."""
    from include import pipeline

    pipeline.export(load_settings(), "csv", run_id=dag_run.run_id)


@final_errors
def export_parquet(*, dag_run: Any) -> None:
    """Write both marts as Parquet, not yet visible to readers."""
    from include import pipeline

    pipeline.export(load_settings(), "parquet", run_id=dag_run.run_id)


@final_errors
def publish_tables(*, dag_run: Any) -> None:
    """Replace the tables that consumers of the warehouse read, each in one statement."""
    from include import pipeline

    pipeline.publish_tables(load_settings(), run_id=dag_run.run_id)


@final_errors
def publish(*, dag_run: Any) -> None:
    """Show readers the new exports, all at once, and close the delivery: it is processed."""
    from include import pipeline

    pipeline.publish(load_settings(), run_id=dag_run.run_id)


@final_errors
def quality_report(*, dag_run: Any, ti: Any) -> None:
    """Write the run's quality report whatever happened; then fail if any task of the run failed."""
    from airflow.sdk.exceptions import AirflowFailException

    from include import pipeline

    states = ti.get_task_states(ti.dag_id, run_ids=[dag_run.run_id])[dag_run.run_id]
    failed = sorted(task_id for task_id, state in states.items() if state in ("failed", "upstream_failed"))
    failure = f"the run has failed tasks: {', '.join(failed)}" if failed else None
    pipeline.write_report(load_settings(), run_id=dag_run.run_id, failure=failure)
    if failure:
        raise AirflowFailException(failure)
