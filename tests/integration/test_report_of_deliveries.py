"""What the quality report says of deliveries that it can read: money, causes, kept rows, what was not built."""

from __future__ import annotations

import json
import shutil
import tarfile
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pytest

from include import duckdb_session
from include.artifacts import artifacts_dir
from include.layers import LAYERS
from include.pipeline import DeliveryFailed, deliver, write_report
from include.quality.masking import shown_columns
from include.settings import PROJECT_ROOT, Settings
from tests.support.databases import execute
from tests.support.deliveries import account, customer, day, write_extracts
from tests.support.settings import settings_in
from tests.support.stages import Stage

pytestmark = pytest.mark.slow

DAY_5 = (
    [customer("1", name="Ada Lovelace", has_loan="yes"), customer("2", name="Bo Ek"), customer("3", name="Cy Oh")],
    [
        account("BALANCE", customer_id="1", balance="1000.00"),
        account("LOAN", customer_id="2", balance="2000.00"),
        account("CLOSED", customer_id="2", balance="300.00"),
        account("CHECKING", customer_id="2", balance="40.00", account_type="checking"),
        account("STALE", customer_id="1", balance="500.00"),
        account("ORPHANED", customer_id="3", balance="600.00"),
        account("CONVERTED", customer_id="1", balance="700.00"),
    ],
)
DAY_6 = (
    [customer("1", name="Ada Lovelace", has_loan="yes"), customer("2", name="Bo Ek", has_loan="yes")],
    [
        account("BALANCE", customer_id="1", balance="1100.00"),
        account("LOAN", customer_id="2", balance="2000.00"),
        account("CHECKING", customer_id="2", balance="40.00", account_type="checking"),
        account("STALE", customer_id="1", balance="Lovelace"),
        account("ORPHANED", customer_id="3", balance="600.00"),
        account("CONVERTED", customer_id="1", balance="700.00", account_type="checking"),
        account("NEW", customer_id="1", balance="800.00"),
        account("NEW", customer_id="1", balance="800.00"),
        account("UNKNOWN TYPE", customer_id="1", balance="9.99", account_type="loan"),
    ],
)
INTEREST = {"balance": "1.50", "loan flag": "10.00", "rate": "0.00", "new": "12.00", "closed": "-19.50"}
"""By 1 % and half a per cent for a loan: ORPHANED, CLOSED and CONVERTED bear 6.00, 3.00 and 10.50 no more."""


def report_in(path: Path) -> dict[str, Any]:
    report: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return report


def interest_in_the_mart(settings: Settings) -> Decimal:
    with duckdb.connect(settings.duckdb_path, read_only=True) as connection:
        row = connection.execute("select sum(annual_interest_amount) from main_marts.account_summary").fetchone()
    assert row is not None
    return Decimal(row[0])


class Days:
    """Two deliveries, with the sum of the interest that account_summary held after each."""

    def __init__(self, folder: Path) -> None:
        self.settings = settings_in(folder)
        self.interest: list[Decimal] = []
        self.paths: list[Path] = []
        for number, extracts in ((5, DAY_5), (6, DAY_6)):
            write_extracts(self.settings.input_path, *extracts)
            self.paths.append(deliver(self.settings, logical_date=day(number), run_id=f"day{number}"))
            self.interest.append(interest_in_the_mart(self.settings))

    @property
    def second(self) -> dict[str, Any]:
        return report_in(self.paths[1])


@pytest.fixture(scope="module")
def days(tmp_path_factory: pytest.TempPathFactory) -> Days:
    return Days(tmp_path_factory.mktemp("days") / "live")


@pytest.fixture
def copy(days: Days, tmp_path: Path) -> Settings:
    """The two days, to be gone on from."""
    shutil.copytree(days.settings.landing_path.parent, tmp_path / "copy", symlinks=True)
    return settings_in(tmp_path / "copy")


def test_the_interest_moved_is_told_by_cause_and_adds_up_to_what_the_mart_held_before_and_after(days: Days) -> None:
    interest = days.second["interest"]

    assert {cause["cause"]: cause["amount"] for cause in interest["causes"]} == INTEREST
    assert [Decimal(interest["before"]), Decimal(interest["after"])] == days.interest
    assert days.interest[1] - days.interest[0] == sum(Decimal(cause["amount"]) for cause in interest["causes"])


def test_the_first_delivery_moves_all_of_its_interest_as_new(days: Days) -> None:
    interest = report_in(days.paths[0])["interest"]

    assert interest["before"] == "0.00"
    assert {cause["cause"] for cause in interest["causes"] if cause["accounts"]} == {"new"}


def test_the_balances_add_up_from_the_file_to_the_exports(days: Days) -> None:
    assert days.second["balances"] == {
        "received": "6049.99",
        "staged": "5240.00",
        "duplicates": "800.00",
        "quarantined": "9.99",
        "unreadable_records": 1,
        "stale": "500.00",
        "current": "5740.00",
        "orphaned": "600.00",
        "checking": "740.00",
        "savings": "4400.00",
        "summarized": "4400.00",
        "interest": "66.00",
        "with_interest": "4466.00",
        "profiled": "4400.00",
        "profiled_interest": "66.00",
        "exported": "4400.00",
        "exported_interest": "66.00",
        "mismatches": [],
    }


def test_balances_that_do_not_add_up_make_the_verdict_fail(copy: Settings) -> None:
    with duckdb.connect(copy.duckdb_path) as connection:
        connection.execute("update main_marts.customer_profile set total_balance_amount = total_balance_amount + 0.01")

    report = report_in(write_report(copy, run_id="day6"))

    assert report["verdict"] == "fail"
    assert report["balances"]["mismatches"] == ["summarized 4400.00 is not profiled 4400.02"]
    assert report["why"].endswith("the balances do not add up: summarized 4400.00 is not profiled 4400.02")


def test_the_files_are_named_by_their_hashes_and_the_exports_by_theirs(days: Days) -> None:
    manifest = json.loads((days.settings.output_path / "manifest.json").read_text())
    ledger = [json.loads(line) for line in (days.settings.landing_path / "ledger.jsonl").read_text().splitlines()]

    assert [file["sha256"] for file in days.second["reconciliation"]] == [
        ledger[1]["customers_sha256"],
        ledger[1]["accounts_sha256"],
    ]
    assert {file["file"]: file["rows"] for file in days.second["exports"]} == {
        name: file["rows"] for name, file in manifest["files"].items()
    }


def test_every_task_group_says_how_long_it_worked(days: Days) -> None:
    seconds = {group["group"]: group["seconds"] for group in days.second["task_groups"]}

    assert list(seconds) == ["ingest", *LAYERS, "exports", "quality_report"]
    assert all(seconds.values())


def test_the_verdict_says_why_and_so_does_the_trend(days: Days) -> None:
    report = days.second

    assert report["verdict"] == "warn"
    assert report["why"] == (
        "2 of 9 records of accounts are quarantined; 1 account came only in quarantined records; "
        "1 account without a current customer"
    )
    assert [(run["run_id"], run["report"]) for run in report["trend"]] == [
        ("day5", days.paths[0].name),
        ("day6", days.paths[1].name),
    ]
    assert report["trend"][-1]["why"] == report["why"]


def test_quarantine_is_compared_with_the_delivery_before(copy: Settings) -> None:
    write_extracts(copy.input_path, DAY_6[0], [*DAY_6[1][:3], account("OTHER", balance="-1.00"), *DAY_6[1][4:8]])

    report = report_in(deliver(copy, logical_date=day(7), run_id="day7"))

    assert {entry["reason"]: (entry["records_before"], entry["records"]) for entry in report["quarantine"]} == {
        "balance is negative": (0, 1),
        "balance is not a number": (1, 0),
        "account_type is not savings or checking": (1, 0),
    }


def test_samples_of_quarantined_records_show_no_word_that_may_be_a_name(days: Days) -> None:
    [entry] = [entry for entry in days.second["quarantine"] if entry["reason"] == "balance is not a number"]

    assert entry["samples"][0]["account_id"] == "STALE"
    assert entry["samples"][0]["balance"] == "*** (8 characters)"
    assert "Lovelace" not in days.paths[1].read_text(encoding="utf-8")


def test_failing_rows_are_those_that_the_warehouse_keeps(copy: Settings) -> None:
    with duckdb.connect(copy.duckdb_path) as connection:
        connection.execute("update main_test_failures.assert_no_orphan_account set account_id = 'KEPT'")

    tests = {test["name"]: test for test in report_in(write_report(copy, run_id="day6"))["tests"]}

    assert tests["assert_no_orphan_account"]["kept_in"] == "main_test_failures.assert_no_orphan_account"
    assert tests["assert_no_orphan_account"]["failing_rows"] == [{"account_id": "KEPT", "customer_id": "3"}]


def test_all_rows_are_kept_until_the_test_runs_again(copy: Settings) -> None:
    def kept() -> int:
        with duckdb.connect(copy.duckdb_path, read_only=True) as connection:
            row = connection.execute("select count(*) from main_test_failures.assert_no_quarantined_account").fetchone()
        assert row is not None
        return int(row[0])

    assert kept() == 2
    write_extracts(copy.input_path, *DAY_5)
    deliver(copy, logical_date=day(7), run_id="day7")
    assert kept() == 0


def test_every_column_that_a_test_can_show_is_known(days: Days) -> None:
    """One that is not in the list is masked: add it where it is harmless, or here where it is not."""
    masked = {"name", "customer_name", "raw_record"}
    of_the_tested_column = {"unique_field", "value_field", "from_field"}
    columns = set()
    with duckdb.connect(days.settings.duckdb_path, read_only=True) as connection:
        for path in artifacts_dir(days.settings, "day6").glob("*.run_results.json"):
            for result in json.loads(path.read_text())["results"]:
                if result["unique_id"].startswith("test."):
                    columns |= set(connection.sql(f"select * from ({result['compiled_code']})").columns)

    assert len(columns) > 20
    assert columns - shown_columns() - of_the_tested_column == masked


def test_a_report_opens_one_connection(copy: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    connect_as_before = duckdb_session.connect
    opened: list[Path | None] = []

    def connect(database: Path | None = None, **options: Any) -> duckdb.DuckDBPyConnection:
        opened.append(database)
        return connect_as_before(database, **options)

    monkeypatch.setattr(duckdb_session, "connect", connect)
    write_report(copy, run_id="day6")

    assert opened.count(copy.duckdb_path) == 1


def test_each_test_says_what_a_failure_means(days: Days) -> None:
    assert [test["name"] for test in days.second["tests"] if not test["description"]] == []


def test_a_delivery_that_stops_in_staging_describes_no_table_after_it(copy: Settings) -> None:
    write_extracts(copy.input_path, DAY_6[0], [account(f"A{number}", balance="bad") for number in range(7)])
    with pytest.raises(DeliveryFailed):
        deliver(copy, logical_date=day(7), accept_row_drop=True, run_id="bad")

    report = report_in(Stage(copy.landing_path.parent).newest_report)

    assert report["why"].startswith("assert_quarantine_is_within_the_limit failed; ")
    assert report["reconciliation"][1]["quarantined"] == 7
    assert [report[section] for section in ("changes", "scd2", "marts", "interest", "exports")] == [None] * 5
    assert report["balances"]["received"] == "0.00"
    assert report["balances"]["current"] is None
    assert report["problems"] == [
        "the delivery was not published: the exports are as they were before it",
        "not built for this delivery, and not described here: snap_customer, snap_account, int_account_with_customer, "
        "account_summary, customer_profile, int_savings_account_only",
    ]


def test_a_task_that_was_killed_leaves_a_report_that_says_what_is_missing(copy: Settings) -> None:
    """Of the nodes of a killed dbt there is no result."""
    for path in artifacts_dir(copy, "day6").glob("*.run_results.json"):
        content = json.loads(path.read_text())
        content["results"] = [result for result in content["results"] if "snap_" not in result["unique_id"]]
        path.write_text(json.dumps(content))

    report = report_in(write_report(copy, run_id="day6", failure="the run has failed tasks: snapshots.snap_account"))

    assert report["verdict"] == "fail"
    assert report["why"].startswith("the run has failed tasks: snapshots.snap_account; ")
    assert report["reconciliation"] is not None
    assert report["changes"] is None
    assert any("snap_customer, snap_account" in problem for problem in report["problems"])


def test_a_rate_that_was_changed_in_place_is_a_problem(copy: Settings) -> None:
    path = copy.data_quality_report_path / Path(report_in(write_report(copy, run_id="day6"))["trend"][0]["report"])
    first = report_in(path)
    first["interest"]["after"] = "70.00"  # what the mart held then, by other rates
    path.write_text(json.dumps(first))

    problems = report_in(write_report(copy, run_id="day6"))["problems"]

    assert len(problems) == 1
    assert "is 62.00 by the rates that now stand for its day, and was 70.00" in problems[0]


def test_a_section_that_cannot_be_made_is_named_and_costs_no_other(copy: Settings) -> None:
    execute(copy.duckdb_path, "alter table main_marts.interest_rate_tier drop column from_balance_amount")

    report = report_in(deliver(copy, logical_date=day(6), run_id="again"))

    assert report["interest"] is None
    assert "a section could not be made: KeyError: 'from_balance_amount'" in report["problems"]
    assert report["balances"]["mismatches"] == []


def test_reports_of_earlier_versions_go_on_in_the_trend(copy: Settings) -> None:
    with tarfile.open(PROJECT_ROOT / "tests" / "fixtures" / "history_before_1.0.tar.xz") as archive:
        members = [member for member in archive if Path(member.name).name.startswith("quality_report_")]
        for member in members:
            member.name = Path(member.name).name
            archive.extract(member, copy.data_quality_report_path, filter="data")

    trend = report_in(write_report(copy, run_id="day6"))["trend"]

    assert len(members) >= 2
    assert {member.name for member in members} < {run["report"] for run in trend}
    assert {run["why"] for run in trend if run["report"] in {member.name for member in members}} == {None}
