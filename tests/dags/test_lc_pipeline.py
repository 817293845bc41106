"""The DAG as Airflow parses it: that it can be imported, its shape, and what every task of ours must have."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow.sdk import DAG, Asset, CronTriggerTimetable, DeadlineReference, TriggerRule
from airflow.serialization.encoders import coerce_to_core_timetable
from airflow.serialization.serialized_objects import DagSerialization
from airflow.timetables.base import TimeRestriction

from include import tasks
from include.dbt import manifest
from include.exports import FILES
from include.layers import LAYERS
from include.settings import PROJECT_ROOT
from tests.support.settings import DATABRICKS

DAG_FILE = PROJECT_ROOT / "dags" / "lc_pipeline.py"
START = ("wait_for_turn", "ingest")
GROUPS = (*LAYERS, "exports")
END = ("quality_report",)
ASSETS = "assets"


def parse() -> DagBag:
    return DagBag(str(DAG_FILE), bundle_path=PROJECT_ROOT / "dags")


TARGETS: dict[str, dict[str, str]] = {"duckdb": {}, "databricks": DATABRICKS}


@pytest.fixture(scope="module", params=TARGETS)
def dag(request: pytest.FixtureRequest) -> Iterator[DAG]:
    """The DAG as it is on each engine."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in TARGETS[request.param].items():
            patch.setenv(name, value)
        bag = parse()
        assert bag.import_errors == {}
        yield bag.dags["lc_pipeline"]


def group_of(task_id: str) -> str:
    return task_id.rpartition(".")[0]


@pytest.mark.parametrize("target", TARGETS)
def test_reading_the_dag_file_imports_neither_dbt_nor_an_engine(target: str) -> None:
    script = """
import runpy
import sys

runpy.run_path("dags/lc_pipeline.py")
heavy = ("databricks.sql", "databricks.sdk", "dbt.cli.main", "duckdb", "numpy", "pandas", "pyarrow")
print([module for module in heavy if module in sys.modules])
"""
    printed = subprocess.run(
        [sys.executable, "-c", script],
        cwd=PROJECT_ROOT,
        env={**os.environ, **TARGETS[target]},
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    ).stdout

    assert printed.splitlines()[-1] == "[]"


def test_there_is_a_task_group_for_each_layer_and_the_exports(dag: DAG) -> None:
    assert [name for name in dag.task_group_dict if name in GROUPS] == list(GROUPS)
    assert {group_of(task.task_id) for task in dag.tasks} == {*GROUPS, ASSETS, ""}
    assert {task.task_id for task in dag.tasks if not group_of(task.task_id)} == {*START, *END}


def test_each_layer_waits_for_the_one_before(dag: DAG) -> None:
    chain = [*START, *GROUPS, *END, ASSETS]

    def place(task_id: str) -> int:
        return chain.index(group_of(task_id) or task_id)

    for task in dag.tasks:
        before = {place(other) for other in dag.get_task(task.task_id).get_flat_relative_ids(upstream=True)}
        assert before - {place(task.task_id)} == set(range(place(task.task_id))), task.task_id


def test_each_dbt_node_is_in_the_group_of_its_layer(dag: DAG) -> None:
    tasks = {task.task_id for task in dag.tasks}

    assert {
        "source.src_customer",
        "source.src_account",
        "staging.stg_customer_checked",
        "staging.stg_customer",
        "staging.quarantine_account",
        "snapshots.snap_customer",
        "snapshots.snap_account",
        "intermediate.int_account_with_customer",
        "intermediate.int_savings_account_only",
        "marts.account_summary",
        "marts.customer_profile",
        "exports.write_files",
        "exports.publish",
    } <= tasks


def test_the_tests_of_several_tables_are_the_last_task_of_the_last_layer_that_they_read(dag: DAG) -> None:
    nodes = json.loads(manifest.manifest_path().read_text())["nodes"]
    expected: dict[str, set[str]] = {}
    for node in nodes.values():
        if node["resource_type"] == "test" and len(set(node["depends_on"]["nodes"])) > 1:
            read = [nodes[name]["schema"].rpartition("_")[2] for name in node["depends_on"]["nodes"]]
            last = max(read, key=LAYERS.index)
            expected.setdefault(f"{last}.tests", set()).add(node["name"])

    of_several = [task for task in dag.tasks if task.label == "tests"]
    assert {task.task_id: set(task.select) for task in of_several} == expected  # type: ignore[attr-defined]
    for task in of_several:
        group = {name for name in dag.task_ids if group_of(name) == group_of(task.task_id)}
        assert task.get_flat_relative_ids(upstream=True) >= group - {task.task_id}, task.task_id


def test_each_dbt_test_is_in_the_folder_of_the_layer_in_which_it_runs() -> None:
    nodes = json.loads(manifest.manifest_path().read_text())["nodes"]
    folders = {
        name: Path(node["original_file_path"]).parts[1]
        for name, node in nodes.items()
        if node["resource_type"] == "test" and node["original_file_path"].startswith("tests/")
    }

    assert folders
    assert folders == {name: manifest.layer_of(name, nodes) for name in folders}


@pytest.mark.parametrize("task_id", ["marts.tests", "staging.stg_account", "exports.publish", "ingest"])
def test_a_tasks_own_process_parses_what_the_task_needs(task_id: str, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = parse().dags["lc_pipeline"]
    monkeypatch.setenv("_AIRFLOW_PARSING_CONTEXT_DAG_ID", "lc_pipeline")
    monkeypatch.setenv("_AIRFLOW_PARSING_CONTEXT_TASK_ID", task_id)

    part = parse().dags["lc_pipeline"]

    assert {group_of(name) for name in part.task_ids} & set(LAYERS) == (
        set(LAYERS) if task_id == "ingest" else {group_of(task_id)} & set(LAYERS)
    )
    found, expected = part.get_task(task_id), whole.get_task(task_id)
    assert (type(found), found.trigger_rule, found.retries) == (type(expected), expected.trigger_rule, expected.retries)
    if group_of(task_id) in LAYERS:
        command, _ = found.build_cmd(context={}, cmd_flags=[])  # type: ignore[union-attr]
        assert command == expected.build_cmd(context={}, cmd_flags=[])[0]  # type: ignore[union-attr]


def test_a_model_is_built_together_with_its_tests(dag: DAG) -> None:
    command, _ = dag.get_task("marts.account_summary").build_cmd(context={}, cmd_flags=[])  # type: ignore[union-attr]

    assert "build" in command


def test_nothing_ends_a_run_but_the_report_which_runs_whatever_happened(dag: DAG) -> None:
    """A leaf with all_done that succeeds would make a failed run green: tests/e2e shows that ours does not."""
    leaves = [task for task in dag.tasks if not task.downstream_task_ids]

    assert {group_of(task.task_id) for task in leaves} == {ASSETS}
    assert [task.upstream_task_ids for task in leaves] == [{"quality_report"}] * len(leaves)
    always = [task.task_id for task in dag.tasks if task.trigger_rule != TriggerRule.ALL_SUCCESS]
    assert always == ["quality_report"]
    assert dag.get_task("quality_report").trigger_rule == TriggerRule.ALL_DONE


def test_every_task_has_an_owner_and_is_tried_again_with_back_off(dag: DAG) -> None:
    for task in dag.tasks:
        assert task.owner == "lending-data", task.task_id
        assert task.retries == 2, task.task_id
        assert task.retry_exponential_backoff, task.task_id


def test_the_dag_says_when_it_runs_what_it_is_and_what_to_do_when_it_is_red(dag: DAG) -> None:
    assert isinstance(dag.schedule, CronTriggerTimetable)
    assert not dag.catchup
    assert {"lending", "dbt"} <= dag.tags
    assert dag.description
    assert "### When it is red" in (dag.doc_md or "")


def test_it_runs_at_two_in_utc_wherever_airflow_is() -> None:
    """`core.default_timezone` is read when Airflow is imported, hence the process."""
    script = """
from datetime import UTC, datetime

from airflow.dag_processing.dagbag import DagBag
from airflow.serialization.encoders import coerce_to_core_timetable
from airflow.timetables.base import DataInterval, TimeRestriction

dag = DagBag("dags/lc_pipeline.py").dags["lc_pipeline"]
ran = datetime(2026, 1, 5, 2, tzinfo=UTC)
info = coerce_to_core_timetable(dag.timetable).next_dagrun_info(
    last_automated_data_interval=DataInterval.exact(ran), restriction=TimeRestriction(None, None, catchup=True)
)
print(dag.timezone.name, info.logical_date.isoformat(), info.run_after.isoformat())
"""
    printed = subprocess.run(
        [sys.executable, "-c", script],
        cwd=PROJECT_ROOT,
        env={**os.environ, "AIRFLOW__CORE__DEFAULT_TIMEZONE": "Asia/Tokyo"},
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    ).stdout

    assert printed.splitlines()[-1] == "Asia/Tokyo 2026-01-06T02:00:00+00:00 2026-01-06T02:00:00+00:00"


@pytest.mark.parametrize(("minutes_past_two", "day"), [(1, 5), (6, 6)])
def test_the_first_scheduled_run_is_the_next_one_unless_it_is_due_just_now(
    dag: DAG, monkeypatch: pytest.MonkeyPatch, minutes_past_two: int, day: int
) -> None:
    now = datetime(2026, 1, 5, 2, minutes_past_two, tzinfo=UTC)
    monkeypatch.setattr("airflow.timetables.trigger.utcnow", lambda: now)
    first = coerce_to_core_timetable(dag.timetable).next_dagrun_info(
        last_automated_data_interval=None, restriction=TimeRestriction(None, None, catchup=False)
    )
    assert first
    assert first.run_after == datetime(2026, 1, day, 2, tzinfo=UTC)


def test_a_run_that_waits_leaves_room_for_an_earlier_one(dag: DAG) -> None:
    """Else the one would wait for ever for the other, which Airflow keeps queued (tests/e2e/test_scheduler.py)."""
    assert dag.max_active_runs > 1


def test_runs_that_wait_do_not_go_before_the_tasks_of_the_run_that_works(dag: DAG) -> None:
    scheduled = DagSerialization.deserialize_dag(DagSerialization.serialize_dag(dag)).task_dict
    weight = {name: task.weight_rule.get_weight(SimpleNamespace(task=task)) for name, task in scheduled.items()}

    assert weight["wait_for_turn"] == min(weight.values()) < weight["ingest"]


def test_each_task_that_works_on_a_delivery_holds_the_turn(dag: DAG) -> None:
    for task in dag.tasks:
        if group_of(task.task_id) in LAYERS:
            assert tasks.hold_turn in task.interceptors, task.task_id  # type: ignore[union-attr]


def test_tasks_run_side_by_side_but_on_duckdb_where_one_holds_the_file(dag: DAG) -> None:
    assert dag.max_active_tasks == (1 if "duckdb" in dag.tags else 4)


def test_on_databricks_tables_are_published_once_all_exports_are_written(dag: DAG) -> None:
    tables = "exports.publish_tables"
    assert (tables in dag.task_ids) is ("databricks" in dag.tags)

    if "databricks" in dag.tags:
        assert dag.get_task(tables).upstream_task_ids == {"exports.write_files"}
        assert dag.get_task(tables).downstream_task_ids == {"exports.publish", "quality_report"}


def test_the_lineage_leads_from_the_extracts_to_what_is_published(dag: DAG) -> None:
    steps = {
        task.label: ({asset.name for asset in task.inlets}, {asset.name for asset in task.outlets})
        for task in dag.tasks
        if task.inlets or task.outlets
    }
    extracts, snapshots = {"customers.csv", "accounts.csv"}, {"snap_customer", "snap_account"}
    marts = {"account_summary", "customer_profile"}
    published = {f"published.{mart}" for mart in marts} if "databricks" in dag.tags else set()

    assert steps == {
        "extracts": (set(), extracts),
        "snapshots": (extracts, snapshots),
        "marts": (snapshots, marts),
        "exports": (marts, {*FILES, *published}),
    }


def test_an_asset_is_known_by_its_name_alone(dag: DAG) -> None:
    """So that a DAG elsewhere can name it, and finds it on both engines."""
    assets = [asset for task in dag.tasks for asset in (*task.inlets, *task.outlets)]

    assert assets
    assert {asset.name: (asset.uri, asset.group) for asset in assets} == {
        asset.name: (Asset(asset.name).uri, Asset(asset.name).group) for asset in assets
    }


def test_nobody_is_told_anything_unless_it_is_set(dag: DAG) -> None:
    assert not dag.on_failure_callback
    assert dag.deadline is None


@pytest.mark.parametrize(
    ("deadline", "interval"),
    [("06:00", timedelta(hours=4)), ("02:30", timedelta(minutes=30)), ("01:00", timedelta(hours=23))],
)
def test_a_deadline_counts_from_the_time_for_which_a_run_is_scheduled(
    monkeypatch: pytest.MonkeyPatch, deadline: str, interval: timedelta
) -> None:
    monkeypatch.setenv("ALERT_EMAIL", "ada@example.com")
    monkeypatch.setenv("DELIVERY_DEADLINE", deadline)

    dag = parse().dags["lc_pipeline"]

    assert dag.deadline
    assert [(alert.reference, alert.interval) for alert in dag.deadline] == [
        (DeadlineReference.DAGRUN_LOGICAL_DATE, interval)
    ]


def test_no_secret_is_in_what_airflow_keeps_of_the_dag(dag: DAG) -> None:
    kept = json.dumps(DagSerialization.to_dict(dag), default=str)

    assert "exports.publish" in kept
    assert "dapi-secret" not in kept


def test_every_parameter_is_described_for_the_trigger_form(dag: DAG) -> None:
    params = {name: dag.params.get_param(name) for name in dag.params}

    assert params.keys() == {"full_refresh", "accept_row_drop", "discard_unfinished", "preview"}
    for name, param in params.items():
        assert param.value is False, name
        assert param.schema["type"] == "boolean", name
        assert len(param.description or "") > 60, name


def test_unit_tests_do_not_run_on_the_days_data(dag: DAG) -> None:
    of_dbt = [task for task in dag.tasks if hasattr(task, "dbt_cmd_flags")]

    assert len(of_dbt) > 10
    assert [
        task.task_id for task in of_dbt if "--exclude-resource-type unit_test" not in " ".join(task.dbt_cmd_flags)
    ] == []


@pytest.fixture
def target(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A dbt target folder of the test's own, with a copy of the manifest."""
    for name in ("manifest.json", "manifest.sha256"):
        (tmp_path / name).write_bytes((manifest.target_dir() / name).read_bytes())
    monkeypatch.setattr(manifest, "target_dir", lambda: tmp_path)
    return tmp_path


def test_a_missing_manifest_is_built_when_the_dag_is_parsed(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__CORE__DAGBAG_IMPORT_TIMEOUT", "600")  # a busy machine may need more than 30 s
    (target / "manifest.json").unlink()

    assert parse().import_errors == {}
    assert (target / "manifest.json").exists()


def test_a_manifest_older_than_the_dbt_project_is_an_import_error(target: Path) -> None:
    (target / "manifest.sha256").write_text("of other sources")

    (error,) = parse().import_errors.values()
    assert "is older than the dbt project" in error
    assert "run `make manifest`" in error


def test_wrong_settings_are_an_import_error_that_names_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAX_ROW_DROP_PCT", "half")

    (error,) = parse().import_errors.values()
    assert "MAX_ROW_DROP_PCT must be a percentage from 0 to 100, but is 'half'" in error
