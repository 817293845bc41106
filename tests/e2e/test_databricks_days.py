"""The sample days through the real DAG on the `prod` target: dbt-databricks, connector and SDK as they are.

The SQL warehouse is the local one of local_warehouse, a process that they reach over HTTP.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path

import pytest

from include.files import run_key
from include.settings import Settings
from tests.support.airflow_home import AirflowHome, DagRun
from tests.support.local_warehouse import SCHEMA, LocalWarehouse
from tests.support.stages import DAYS, Recorder, Stage
from tests.support.tables import LAYER_OF, Table, read_table, read_types

STATEMENTS = Path(__file__).parent / "expected" / "databricks_statements.txt"

pytestmark = pytest.mark.slow


def as_airflow_connection(warehouse: LocalWarehouse) -> dict[str, str]:
    """Return variables that leave who connects to an Airflow connection alone."""
    connection = {"conn_type": "databricks", "password": warehouse.token}
    return {
        "DATABRICKS_TOKEN": "",
        "DATABRICKS_CONN_ID": "lending",
        "AIRFLOW_CONN_LENDING": json.dumps(connection),
    }


class Days:
    """The three days, played once, and the tables after each. Credentials are in an Airflow connection."""

    def __init__(self, folder: Path, warehouse: LocalWarehouse) -> None:
        self.folder = folder
        self.recorder = Recorder(folder, warehouse.settings(folder / "live"))
        self.settings: Settings = self.recorder.settings
        airflow = AirflowHome(folder / "airflow", self.settings)
        airflow.environment |= as_airflow_connection(warehouse)
        before = len(warehouse.statements())
        self.stages: dict[str, Stage] = {}
        self.tables: dict[tuple[str, str], Table] = {}
        with airflow.one_process() as run_dag:
            for name, time in DAYS.items():
                self.stages[name] = self.recorder.keep(name, run_dag(time))
                for table in LAYER_OF:
                    self.tables[name, table] = read_table(self.settings, table, without=("dbt_scd_id",))
        self.statements = [entry["statement"] for entry in warehouse.statements()[before:]]

    def run(self, name: str) -> DagRun:
        run = self.stages[name].run
        assert run is not None
        return run


@pytest.fixture(scope="module")
def days(tmp_path_factory: pytest.TempPathFactory, warehouse: LocalWarehouse) -> Days:
    return Days(tmp_path_factory.mktemp("databricks"), warehouse)


@pytest.mark.parametrize("name", DAYS)
def test_every_task_succeeds(days: Days, name: str) -> None:
    assert days.run(name).succeeded, days.run(name).log[-5000:]
    assert set(days.run(name).states.values()) == {"success"}
    assert "exports.publish_tables" in days.run(name).states


@pytest.mark.parametrize("table", LAYER_OF)
@pytest.mark.parametrize("name", DAYS)
def test_the_rows_are_those_that_duckdb_makes(
    days: Days, deliver_stages: dict[str, Stage], name: str, table: str
) -> None:
    on_duckdb = read_table(deliver_stages[name].settings, table, without=("dbt_scd_id",))

    assert days.tables[name, table] == on_duckdb


def test_the_types_are_those_that_duckdb_makes(days: Days, deliver_stages: dict[str, Stage]) -> None:
    assert read_types(days.settings) == read_types(deliver_stages["2026-01-07"].settings)


@pytest.mark.parametrize("name", DAYS)
def test_the_exports_are_those_that_duckdb_makes(days: Days, deliver_stages: dict[str, Stage], name: str) -> None:
    """CSV byte by byte. Parquet files hold the same rows and types, in row groups of the engine's batches."""
    import pyarrow.parquet as pq

    ours, others = days.stages[name].settings.output_path, deliver_stages[name].settings.output_path
    for mart in ("account_summary", "customer_profile"):
        assert (ours / f"{mart}.csv").read_bytes() == (others / f"{mart}.csv").read_bytes()
        assert pq.read_table(ours / f"{mart}.parquet").equals(pq.read_table(others / f"{mart}.parquet"))


@pytest.mark.parametrize("mart", ["account_summary", "customer_profile"])
def test_the_published_tables_hold_the_marts(days: Days, warehouse: LocalWarehouse, mart: str) -> None:
    published = warehouse.execute(f"select * from lending.{SCHEMA}.{mart}")

    assert sorted(published) == sorted(warehouse.execute(f"select * from lending.{SCHEMA}_marts.{mart}"))
    assert published


@pytest.mark.parametrize("name", DAYS)
def test_the_report_is_that_of_duckdb(days: Days, deliver_stages: dict[str, Stage], name: str) -> None:
    ours, others = (
        json.loads(stages[name].newest_report.read_text(encoding="utf-8")) for stages in (days.stages, deliver_stages)
    )

    sections = ("verdict", "why", "totals", "layers", "reconciliation", "quarantine", "stale_keys", "orphan_accounts")
    for section in (*sections, "scd2", "changes", "marts", "balances", "interest", "problems"):
        assert ours[section] == others[section], section
    rows = ({test["name"]: test["failing_rows"] for test in report["tests"]} for report in (ours, others))
    assert next(rows) == next(rows)


def test_rows_that_people_work_off_are_kept(days: Days, warehouse: LocalWarehouse) -> None:
    report = json.loads(days.stages["2026-01-07"].newest_report.read_text(encoding="utf-8"))
    kept = {test["kept_in"]: test["failures"] for test in report["tests"] if test["kept_in"]}

    assert len(kept) == 3
    assert {table: warehouse.execute(f"select count(*) from {table}") for table in kept} == {
        table: [(failures,)] for table, failures in kept.items()
    }


def test_no_secret_is_in_anything_that_a_run_leaves_behind(days: Days) -> None:
    left = [path for path in days.folder.rglob("*") if path.is_file()]
    texts = {path: path.read_bytes() for path in left} | {Path(n): days.run(n).log.encode() for n in DAYS}

    assert len(left) > 100
    assert days.settings.databricks is not None
    secret = days.settings.databricks.token.encode()
    assert [str(path) for path, text in texts.items() if secret in text] == []


def test_each_statement_names_its_run_and_node(days: Days) -> None:
    comments = [re.match(r"\s*/\* (.*?) \*/", statement) for statement in days.statements]
    named = [json.loads(comment[1]) for comment in comments if comment]
    runs = {run_key(json.loads(days.stages[name].newest_report.read_text())["run"]["run_id"]) for name in DAYS}

    assert runs <= {comment["run"] for comment in named}
    assert {"snap_account", "account_summary", "stg_customer_checked"} <= {comment.get("node") for comment in named}
    without = [statement for statement, comment in zip(days.statements, comments, strict=True) if not comment]
    assert {statement.split(" values")[0] for statement in without} == {  # dbt-databricks leaves it out at seeds
        f"insert overwrite `lending`.`{SCHEMA}_marts`.`interest_rate_tier`"
    }


def test_a_node_finds_its_delivery_with_one_statement(days: Days) -> None:
    """A command looks it up once, and remembers it: a snapshot needs it again and again."""
    lookups = [statement for statement in days.statements if "ledger.jsonl" in statement]
    comments = [json.loads(found[1]) for found in (re.match(r"\s*/\* (.*?) \*/", sql) for sql in lookups) if found]
    nodes = Counter((comment["run"], comment["node"]) for comment in comments)

    assert {"snap_customer", "snap_account", "account_summary"} <= {node for _, node in nodes}
    assert set(nodes.values()) == {1}


def test_the_kinds_of_statements_that_dbt_sends_are_those_that_are_known(days: Days) -> None:
    """A new version of dbt-databricks that sends others is to be looked at: does the real Databricks take them so?"""
    sent_by_dbt = [statement for statement in days.statements if f'"target": "{days.settings.dbt_target}"' in statement]

    assert kinds(sent_by_dbt) == STATEMENTS.read_text(encoding="utf-8").splitlines()


def kinds(statements: list[str]) -> list[str]:
    """Return the distinct statements, sorted, without comments, names and values."""
    found = set()
    for statement in statements:
        text = re.sub(r"/\*.*?\*/|--[^\n]*", " ", statement, flags=re.DOTALL)
        text = re.sub(r"'(?:[^'\\]|\\.|'')*'", "'...'", text)
        text = re.sub(r"`[^`]+`(\s*\.\s*`[^`]+`)*", "<name>", text)
        text = " ".join(text.split()).lower()
        head = re.split(r" (?:as )?(?:\(|with |select |using )", text)[0]
        found.add(re.sub(r"\b(?:lending|lc_pipeline\w*)(\.\w+)*|\d+", "<name>", head)[:160])
    return sorted(found)
