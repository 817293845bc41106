"""The daily pipeline: files in, history and interest calculations out. Wiring only; the work is in include/."""

from __future__ import annotations

from datetime import time, timedelta
from typing import Any

from airflow.sdk import CronTriggerTimetable, Param, TaskGroup, TriggerRule, chain, task
from cosmos import DbtTaskGroup, ExecutionConfig, ProfileConfig, ProjectConfig, RenderConfig
from cosmos.constants import ExecutionMode, InvocationMode, LoadMode, TestBehavior, TestIndirectSelection
from cosmos.operators.local import DbtTestLocalOperator

from include import alerts, tasks
from include.assets import lineage
from include.dag import PipelineDag
from include.dbt import manifest, runner
from include.dbt.cosmos import collect_run_results, layers_to_render, node_name, prepare_task
from include.layers import Layer
from include.settings import load_settings
from include.ui.links import QualityReportLink

DOC = """
### What it does
Takes the day's full extracts of customers and accounts, keeps their complete history and publishes the interest
calculations: `wait_for_turn >> ingest >> source >> staging >> snapshots >> intermediate >> marts >> exports >>
quality_report >> assets`. The last group updates Airflow's assets, from the extracts to the exports, after a
green run; it can't fail a run.

### When it is red
- **`ingest`**: the delivery was refused, and nothing of it was taken. The last line of its log names the file or the
  row, what was expected and what was found. Have the file replaced and clear this run, which keeps its logical date; if
  many keys are rightly gone, trigger the DAG with `accept_row_drop`.
- **a dbt task**: a model or an error-severity test failed. What comes after it did not run; the exports are the last
  good ones. The log names the test, the report shows failing rows. Fix the cause and trigger again: the delivery is
  finished first. If its files are wrong, trigger the next delivery with `discard_unfinished`: it is given up.
- **any task, with `is locked by`**: another process has the DuckDB file. End it (the message names it); clear the task.
- **`wait_for_turn`** is *up for reschedule*: another run is working, or a run of an earlier delivery (for example of
  a backfill) has not ended. Its log names the run.
- **any task, with `it is the turn of run ...`**: the task was cleared alone. Clear the run from `wait_for_turn` on.
- **`quality_report`** names the earlier task that failed. If none did, its verdict is `fail`: the report says why.

A run for a delivery that is already processed changes nothing. Every run has a quality report, red ones included: see
the run's tab *Quality report*, or *Quality* in the toolbar.
"""

SCHEDULED_AT = time(2)  # UTC

settings = load_settings()

project = ProjectConfig(
    dbt_project_path=runner.DBT_DIR,
    manifest_path=manifest.check_manifest(),
    install_dbt_deps=False,
    partial_parse=False,  # prepare_task passes dbt the parsed project
)
profile = ProfileConfig(
    profile_name=runner.PROFILE,
    target_name=settings.dbt_target,
    profiles_yml_filepath=runner.DBT_DIR / "profiles.yml",
)
execution = ExecutionConfig(
    execution_mode=ExecutionMode.LOCAL,
    invocation_mode=InvocationMode.DBT_RUNNER,
    test_indirect_selection=TestIndirectSelection.CAUTIOUS,  # a model's task runs the tests that read only this model
)
dbt_args: dict[str, Any] = {
    "full_refresh": "{{ params.full_refresh }}",
    # A task looks at the schemas of its own nodes only, and Cosmos would not keep dbt's log file.
    "dbt_cmd_global_flags": ["--no-populate-cache", *runner.NO_LOG_FILE],
    "dbt_cmd_flags": [*runner.NO_UNIT_TESTS],
    "interceptors": [tasks.hold_turn, prepare_task],
    "callback": collect_run_results,
}


tests_of_several_tables = manifest.tests_of_several_tables()


def layer_group(layer: Layer) -> DbtTaskGroup:
    """Return a layer's task group: its models with their own tests, then the tests that read several tables."""
    with DbtTaskGroup(
        group_id=layer,
        project_config=project,
        profile_config=profile,
        execution_config=execution,
        render_config=RenderConfig(
            load_method=LoadMode.DBT_MANIFEST,
            select=[f"tag:{layer}"],
            test_behavior=TestBehavior.BUILD,
            normalize_task_id=node_name,
            normalize_task_display_name=node_name,
            emit_datasets=False,
        ),
        operator_args=dbt_args,
    ) as group:
        built = list(group.get_leaves())
        if names := tests_of_several_tables[layer]:
            tests = DbtTestLocalOperator(
                task_id="tests",
                select=names,
                project_dir=runner.DBT_DIR,
                profile_config=profile,
                invocation_mode=InvocationMode.DBT_RUNNER,
                install_deps=False,
                partial_parse=False,
                emit_datasets=False,
                **dbt_args,
            )
            chain(built, tests)
    return group


with PipelineDag(
    "lc_pipeline",
    description="Daily extracts of customers and accounts to history, interest calculations and exports",
    doc_md=DOC,
    # In UTC, whatever core.default_timezone is. Unpausing does not run the past 02:00 at once, as it would with a
    # start_date, or until 04:24 by default. For 5 minutes it does, or a parse at 02:00 could put off the first run.
    schedule=CronTriggerTimetable(f"{SCHEDULED_AT:%M %H} * * *", timezone="UTC", run_immediately=timedelta(minutes=5)),
    catchup=False,
    max_active_runs=16,  # wait_for_turn lets one work at a time; with 1, a waiting run would keep an earlier one queued
    max_active_tasks=settings.databricks.threads if settings.databricks else 1,  # one process can hold a DuckDB file
    on_failure_callback=alerts.run_failed if settings.alerts.on else None,  # if quality_report could not send the alert
    deadline=alerts.deadline(settings, SCHEDULED_AT),
    tags=["lending", "dbt", settings.database_type],
    default_args={
        "owner": "lending-data",
        "retries": 2,
        "retry_delay": timedelta(seconds=30),
        "retry_exponential_backoff": 2,
        "max_retry_delay": timedelta(minutes=10),
    },
    params={
        "full_refresh": Param(
            False,
            type="boolean",
            title="Full refresh",
            description="Rebuild the intermediate and marts tables from the snapshots, even if the delivery is already "
            "processed. History is kept; `calculated_at` is set again.",
        ),
        "accept_row_drop": Param(
            False,
            type="boolean",
            title="Accept a drop in rows",
            description="Take the files even if more than MAX_ROW_DROP_PCT percent of the last delivery's keys are "
            "missing from one of them. Set it once somebody has confirmed that the extract is complete.",
        ),
        "discard_unfinished": Param(
            False,
            type="boolean",
            title="Discard an unfinished delivery",
            description="Give up an earlier delivery that was landed and fails its tests, instead of finishing it "
            "first: the tables return to the state before it, and this run's files are taken. Nothing is lost where "
            "they are newer full extracts. Without an unfinished delivery it changes nothing.",
        ),
        "preview": Param(
            False,
            type="boolean",
            title="Preview",
            description="Play the delivery on a copy, of which nothing is kept but the quality report, marked as a "
            "preview. The run is green even where the delivery would be refused; the report says so.",
        ),
    },
) as dag:
    layers = [layer_group(layer) for layer in layers_to_render()]

    with TaskGroup("exports") as exports:
        steps = [tasks.write_files, *([tasks.publish_tables] if settings.databricks else []), tasks.publish]
        chain(*(task(step)() for step in steps))

    # weight_rule: otherwise the many waiting runs of a backfill come before the tasks of the run that they wait for
    turn = task.sensor(mode="reschedule", poke_interval=15, timeout=24 * 3600, weight_rule="absolute")(
        tasks.wait_for_turn
    )()
    ingest = tasks.IngestOperator(task_id="ingest")
    chain(turn, ingest, *layers, exports)

    # It waits for each task, not only for the last one, which is upstream_failed as soon as any task has failed, while
    # another task of the same layer may still run or wait for its retry.
    before = dag.tasks
    report = task(trigger_rule=TriggerRule.ALL_DONE)(tasks.quality_report)()
    report.operator.operator_extra_links = (QualityReportLink(),)
    chain(before, report)

    # No teardowns: for a pending one, Airflow keeps a run that is marked failed running, and then calls it green.
    with TaskGroup("assets"):
        for step in lineage(settings.database_type):
            report >> task(task_id=step.name, inlets=step.inlets, outlets=step.outlets)(tasks.announce_assets)()
