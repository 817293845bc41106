"""The sample extracts of three days, through the real DAG; the expected rows are in expected/sample_days.md.

A day's files and what happens in them are described in data/inputs/README.md.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow.parquet as pq
import pytest

from include.as_of import main as as_of_main
from include.dbt.manifest import manifest_path
from include.diff import main as diff_main
from include.explain.__main__ import main as explain_main
from include.quality.report import SCHEMA_PATH
from include.settings import PROJECT_ROOT
from tests.support import expected
from tests.support.documents import blocks
from tests.support.settings import environment_of, settings_in
from tests.support.stages import DAYS, Stage
from tests.support.tables import read_csv, read_table, read_tables

MARTS = ("account_summary", "customer_profile")

pytestmark = pytest.mark.slow


def report_of(stage: Stage) -> dict[str, Any]:
    report: dict[str, Any] = json.loads(stage.newest_report.read_text(encoding="utf-8"))
    return report


def outputs_of(stage: Stage) -> dict[str, str]:
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in stage.settings.output_path.iterdir()
        if not path.name.startswith(".")
    }


@pytest.mark.parametrize("table", expected.TABLES)
@pytest.mark.parametrize("name", DAYS)
def test_the_dag_makes_the_expected_rows(dag_stages: dict[str, Stage], name: str, table: str) -> None:
    assert expected.actual_rows(dag_stages[name].settings, table) == expected.expected_rows(name, table)


@pytest.mark.parametrize("name", DAYS)
def test_deliver_makes_the_same_rows_as_the_dag_in_every_column(
    dag_stages: dict[str, Stage], deliver_stages: dict[str, Stage], name: str
) -> None:
    by_dag, by_deliver = (read_tables(stages[name].settings) for stages in (dag_stages, deliver_stages))

    assert by_deliver == by_dag


@pytest.mark.parametrize("name", DAYS)
def test_deliver_makes_the_same_exports_as_the_dag(
    dag_stages: dict[str, Stage], deliver_stages: dict[str, Stage], name: str
) -> None:
    by_dag, by_deliver = outputs_of(dag_stages[name]), outputs_of(deliver_stages[name])

    assert by_dag.keys() == {f"{mart}.{format_}" for mart in MARTS for format_ in ("csv", "parquet")} | {
        "manifest.json"
    }
    assert {file: by_deliver[file] for file in by_deliver if file != "manifest.json"} == {
        file: by_dag[file] for file in by_dag if file != "manifest.json"
    }


@pytest.mark.parametrize("zone", ["Asia/Tokyo", "America/New_York"])
def test_every_time_zone_makes_the_same_tables_and_exports(
    deliver_stages: dict[str, Stage], tmp_path: Path, zone: str
) -> None:
    """The zone is the process's, and the logical dates are written with its offset."""
    settings = settings_in(tmp_path / "live")
    shutil.copytree(PROJECT_ROOT / "data" / "inputs", settings.input_path)
    script = (
        "import sys; from include.deliver import main; sys.exit(any(main(['--logical-date', t]) for t in sys.argv[1:]))"
    )
    subprocess.run(
        [sys.executable, "-c", script, *(time.astimezone(ZoneInfo(zone)).isoformat() for time in DAYS.values())],
        cwd=PROJECT_ROOT,
        env={**os.environ, **environment_of(settings), "TZ": zone},
        check=True,
    )

    last = deliver_stages["2026-01-07"]
    assert read_tables(settings) == read_tables(last.settings)
    by_zone = outputs_of(Stage(tmp_path / "live"))
    assert {name: by_zone[name] for name in by_zone if name != "manifest.json"} == {
        name: digest for name, digest in outputs_of(last).items() if name != "manifest.json"
    }


@pytest.mark.parametrize("name", DAYS)
def test_every_task_of_a_good_delivery_succeeds(dag_stages: dict[str, Stage], name: str) -> None:
    run = dag_stages[name].run
    assert run is not None

    assert run.succeeded, run.log[-5000:]
    assert set(run.states.values()) == {"success"}


@pytest.mark.parametrize("name", DAYS)
@pytest.mark.parametrize("mart", MARTS)
def test_csv_and_parquet_hold_the_mart(dag_stages: dict[str, Stage], name: str, mart: str) -> None:
    settings = dag_stages[name].settings
    header, *rows = read_table(settings, mart)
    published = [
        [value.replace(" ", "T") + ".000000Z" if value.startswith("2026") else value for value in row] for row in rows
    ]

    exported = read_csv(settings.output_path / f"{mart}.csv")
    assert exported[0] == header
    assert sorted(exported[1:]) == sorted(map(tuple, published))
    keys = [row[0] for row in exported[1:]]
    assert keys == sorted(keys, key=lambda key: (int(key) if mart == "customer_profile" else 0, key))
    parquet = pq.read_table(settings.output_path / f"{mart}.parquet")
    assert parquet.column_names == list(header)
    assert [str(key) for key in parquet[0].to_pylist()] == keys


PARQUET_TYPES = {
    "string": "string",
    "bigint": "int64",
    "boolean": "bool",
    "date": "date32[day]",
    "timestamp": "timestamp[us, tz=UTC]",
}


@pytest.mark.parametrize("mart", MARTS)
def test_parquet_has_the_columns_and_types_of_the_contract(dag_stages: dict[str, Stage], mart: str) -> None:
    nodes = json.loads(manifest_path().read_text(encoding="utf-8"))["nodes"]
    contract = {
        name: re.sub(r"^decimal\((\d+),(\d+)\)", r"decimal128(\1, \2)", column["data_type"])
        for name, column in nodes[f"model.lc_pipeline.{mart}"]["columns"].items()
    }
    schema = pq.read_schema(dag_stages["2026-01-07"].settings.output_path / f"{mart}.parquet")

    assert [(field.name, str(field.type)) for field in schema] == [
        (name, PARQUET_TYPES.get(type_, type_)) for name, type_ in contract.items()
    ]


@pytest.mark.parametrize("name", DAYS)
def test_the_manifest_describes_the_files(dag_stages: dict[str, Stage], name: str) -> None:
    folder = dag_stages[name].settings.output_path
    manifest = json.loads((folder / "manifest.json").read_text())

    assert manifest["delivered_at"] == f"{name}T02:00:00.000000Z"
    assert manifest["run_id"]
    for file, described in manifest["files"].items():
        content = (folder / file).read_bytes()
        assert described["bytes"] == len(content)
        assert described["sha256"] == hashlib.sha256(content).hexdigest()
        mart = file.split(".")[0]
        assert described["rows"] == len(read_table(dag_stages[name].settings, mart)) - 1
    assert len(manifest["files"]) == 4


def test_every_report_meets_its_schema(dag_stages: dict[str, Stage], deliver_stages: dict[str, Stage]) -> None:
    import jsonschema

    schema = json.loads(SCHEMA_PATH.read_text())
    reports = [
        path
        for stages in (dag_stages, deliver_stages)
        for path in stages["2026-01-07"].settings.data_quality_report_path.glob("*.json")
    ]

    assert len(reports) == 9  # of the DAG: refused, broken and preview, too
    for path in reports:
        jsonschema.validate(json.loads(path.read_text()), schema)


@pytest.mark.parametrize(
    ("name", "reconciled", "stale", "orphans"),
    [
        (
            "2026-01-05",
            {"customers": (36, 22, 1, 13), "accounts": (50, 31, 1, 18)},
            [],
            {
                "O1": "customer unknown",
                "O2": "customer only ever quarantined",
            },
        ),
        ("2026-01-06", {"customers": (35, 21, 1, 13), "accounts": (48, 28, 1, 19)}, ["15", "S19"], {}),
        ("2026-01-07", {"customers": (36, 23, 1, 12), "accounts": (50, 32, 2, 16)}, [], {"C04": "customer deleted"}),
    ],
)
def test_the_report_says_what_came_of_the_records(
    dag_stages: dict[str, Stage],
    name: str,
    reconciled: dict[str, tuple[int, int, int, int]],
    stale: list[str],
    orphans: dict[str, str],
) -> None:
    report = report_of(dag_stages[name])

    assert report["verdict"] == "warn"
    assert {
        file["file"]: (file["read"], file["staged"], file["duplicates"], file["quarantined"])
        for file in report["reconciliation"]
    } == reconciled
    assert [key["key"] for entity in report["stale_keys"] for key in entity["keys"]] == stale
    assert {entry["account_id"]: entry["reason"] for entry in report["orphan_accounts"]["accounts"]} == orphans


def test_the_report_counts_what_changed(dag_stages: dict[str, Stage]) -> None:
    assert report_of(dag_stages["2026-01-06"])["changes"] == [
        {"entity": "customer", "new": 2, "changed": 1, "closed": 2, "returned": 0},
        {"entity": "account", "new": 0, "changed": 4, "closed": 2, "returned": 0},
    ]
    assert report_of(dag_stages["2026-01-07"])["changes"] == [
        {"entity": "customer", "new": 1, "changed": 0, "closed": 1, "returned": 1},
        {"entity": "account", "new": 2, "changed": 0, "closed": 0, "returned": 1},
    ]


def test_the_reports_of_dag_and_deliver_agree(dag_stages: dict[str, Stage], deliver_stages: dict[str, Stage]) -> None:
    sections = (
        "verdict",
        "totals",
        "layers",
        "severities",
        "reconciliation",
        "quarantine",
        "stale_keys",
        "orphan_accounts",
        "scd2",
        "changes",
        "marts",
    )
    by_dag, by_deliver = (report_of(stages["2026-01-07"]) for stages in (dag_stages, deliver_stages))

    assert {section: by_deliver[section] for section in sections} == {section: by_dag[section] for section in sections}


def test_a_preview_is_green_and_lands_nothing_but_its_report(dag_stages: dict[str, Stage]) -> None:
    before, previewed, after = (dag_stages[name] for name in ("2026-01-06", "preview", "2026-01-07"))
    assert previewed.run is not None

    assert previewed.run.succeeded, previewed.run.log[-5000:]
    done = {task for task, state in previewed.run.states.items() if state == "success"}
    assert done == {"wait_for_turn", "ingest", "quality_report"}
    assert set(previewed.run.states.values()) == {"success", "skipped"}
    assert previewed.run.events == {}
    assert previewed.settings.duckdb_path.read_bytes() == before.settings.duckdb_path.read_bytes()
    assert outputs_of(previewed) == outputs_of(before)
    ledger = "landing/ledger.jsonl"
    assert (previewed.folder / ledger).read_bytes() == (before.folder / ledger).read_bytes()
    index = "quality_reports/index.html"
    assert (previewed.folder / index).read_bytes() == (before.folder / index).read_bytes()

    said, real = report_of(previewed), report_of(after)
    assert said["run"]["is_preview"]
    assert not real["run"]["is_preview"]
    for section in ("reconciliation", "quarantine", "changes", "marts", "balances", "interest"):
        assert said[section] == real[section], section
    assert said["run"]["run_id"] not in [entry["run_id"] for entry in real["trend"]]


def test_the_tasks_that_have_nothing_to_do_are_skipped_at_once(dag_stages: dict[str, Stage]) -> None:
    run = dag_stages["preview"].run
    assert run is not None

    assert "[DAG TEST] end task task_id=ingest" in run.log
    assert "No tasks to run" not in run.log  # `dags test` says so, and waits a second, while skipping spreads


def test_a_run_whose_report_says_fail_is_red_though_its_tasks_succeed(dag_stages: dict[str, Stage]) -> None:
    tampered = dag_stages["tampered"]
    assert tampered.run is not None

    assert report_of(tampered)["verdict"] == "fail"
    assert not tampered.run.succeeded
    assert [task for task, state in tampered.run.states.items() if state == "failed"] == ["quality_report"]
    assert "the quality report's verdict is fail: the balances do not add up" in tampered.run.log


def test_a_refused_delivery_makes_the_run_red_and_changes_nothing_but_the_report(dag_stages: dict[str, Stage]) -> None:
    before, refused = dag_stages["2026-01-05"], dag_stages["refused"]
    assert refused.run is not None

    assert not refused.run.succeeded
    assert refused.run.states["ingest"] == "failed"
    assert refused.run.states["quality_report"] == "failed"
    assert {task for task, state in refused.run.states.items() if state == "success"} == {"wait_for_turn"}
    assert set(refused.run.states.values()) == {"success", "failed", "upstream_failed"}
    assert refused.settings.duckdb_path.read_bytes() == before.settings.duckdb_path.read_bytes()
    assert outputs_of(refused) == outputs_of(before)
    ledger = "landing/ledger.jsonl"
    assert (refused.folder / ledger).read_bytes() == (before.folder / ledger).read_bytes()


def test_the_report_of_a_refused_delivery_says_why(dag_stages: dict[str, Stage]) -> None:
    report = report_of(dag_stages["refused"])

    assert report["verdict"] == "fail"
    assert report["run"]["outcome"] == "refused"
    assert "accounts.csv lacks 32 of the 47 values of account_id that the last delivery had" in report["run"]["error"]
    assert report["totals"]["tests"]["not_run"] == sum(report["totals"]["tests"].values())


def test_a_failing_test_stops_what_comes_after_it_and_the_run_is_red(dag_stages: dict[str, Stage]) -> None:
    before, broken = dag_stages["2026-01-05"], dag_stages["broken"]
    assert broken.run is not None

    assert not broken.run.succeeded
    assert broken.run.states["snapshots.snap_customer"] == "failed"
    assert broken.run.states["intermediate.int_account_with_customer"] == "upstream_failed"
    assert broken.run.states["exports.publish"] == "upstream_failed"
    assert broken.run.states["quality_report"] == "failed"
    for mart in MARTS:
        assert read_table(broken.settings, mart) == read_table(before.settings, mart)
    assert outputs_of(broken) == outputs_of(before)


def test_the_report_of_a_failed_run_names_the_test_and_shows_its_rows(dag_stages: dict[str, Stage]) -> None:
    report = report_of(dag_stages["broken"])
    failed = {test["name"]: test for test in report["tests"] if test["status"] == "fail"}

    assert report["verdict"] == "fail"
    overlap = next(test for name, test in failed.items() if name.startswith("scd2_no_overlap_snap_customer"))
    assert overlap["failures"] == 1
    assert overlap["failing_rows"][0]["customer_id"] == "1"
    assert "alma" not in json.dumps(report)
    assert "int_account_with_customer" in overlap["downstream"]


def test_the_run_after_a_failed_one_finishes_the_delivery(dag_stages: dict[str, Stage]) -> None:
    report = report_of(dag_stages["2026-01-06"])

    assert report["run"]["outcome"] == "resumed"
    assert any(name.startswith("scd2_no_overlap_snap_customer") for name in report["against_previous"]["fixed"])


def test_the_difference_of_two_days_in_a_row_counts_the_keys_as_the_report_does(
    deliver_stages: dict[str, Stage], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stage = deliver_stages["2026-01-07"]
    for variable, value in environment_of(stage.settings).items():
        monkeypatch.setenv(variable, value)

    assert diff_main(["2026-01-06", "2026-01-07", "--json"]) == 0

    changes = report_of(stage)["changes"]
    assert json.loads(capsys.readouterr().out)["keys"] == changes
    assert [of_entity["returned"] for of_entity in changes] == [1, 1]


def test_the_guide_to_the_past_shows_what_the_commands_print(
    deliver_stages: dict[str, Stage],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    commands = {"explain": explain_main, "diff": diff_main, "as_of": as_of_main}
    guide = blocks((PROJECT_ROOT / "docs/guides/asking_the_past.md").read_text(encoding="utf-8"))
    shown = [(one.text, two.text) for one, two in pairwise(guide) if two.language == "text"]
    for variable, value in environment_of(deliver_stages["2026-01-07"].settings).items():
        monkeypatch.setenv(variable, value)
    monkeypatch.chdir(tmp_path)

    for command, output in shown:
        name, *arguments = command.removeprefix("python -m include.").split()
        assert commands[name](arguments) == 0
        assert re.sub(r"run deliver__[0-9T:.-]+", "run RUN", capsys.readouterr().out) == f"{output}\n"
    assert len(shown) == len(commands)
