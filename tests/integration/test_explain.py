"""What `python -m include.explain` prints, and the pages that lead to it. That it is right is in test_the_past.py."""

from __future__ import annotations

import json
import os
import shutil
import threading
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from include.as_of import main as as_of_main
from include.diff import main as diff_main
from include.explain.__main__ import main as explain_main
from include.quality.page import page_of
from include.quality.report import newest_report
from include.settings import Settings
from include.ui.pages import create_app
from tests.support.processes import error_line, held_by_another_process
from tests.support.settings import environment_of, settings_in
from tests.support.two_days import play

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def delivered(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Two days; on the second, account F comes in a bad record alone, and D has lost its customer."""
    settings = settings_in(tmp_path_factory.mktemp("explain"))
    play(settings, 5, "first")
    play(settings, 6, "second")
    return settings


@pytest.fixture(autouse=True)
def environment(delivered: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable, value in environment_of(delivered).items():
        monkeypatch.setenv(variable, value)


def test_one_delivery_has_one_time(capsys: pytest.CaptureFixture[str]) -> None:
    assert explain_main(["account", "A", "--at", "2026-01-05"]) == 0
    assert capsys.readouterr().out.startswith("account A: 1 version in 1 delivery, 2026-01-05 02:00 UTC\n")


def test_a_damaged_landed_file_is_one_line_that_names_it(
    delivered: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(delivered.landing_path, tmp_path / "landing")
    monkeypatch.setenv("LANDING_PATH", str(tmp_path / "landing"))
    damaged = min((tmp_path / "landing" / "accounts").iterdir())
    os.truncate(damaged, 300)

    assert explain_main(["account", "A"]) == 1

    assert error_line(capsys.readouterr().err).startswith(f"error: {damaged} can't be read: ")


def test_an_account_is_explained_in_80_columns(capsys: pytest.CaptureFixture[str]) -> None:
    assert explain_main(["account", "A"]) == 0

    assert (
        capsys.readouterr().out
        == """\
account A: 1 version in 2 deliveries, 2026-01-05 02:00 to 2026-01-06 02:00 UTC

2026-01-05 02:00: new
  received  accounts.csv, record 1: staged
            A,1,9999.99,savings
  landed by run first
  version   customer_id 1, balance_amount 9999.99, account_type savings
  interest  1.00% (from 0.00 below 10,000.00) + 0.50% loan bonus = 1.50%, by the
            rates from the beginning
            9,999.99 x 0.0150 = 149.999850, rounded 150.00
            new balance 10,149.99
  exported  account_summary

2026-01-06 02:00: its customer changed
  received  accounts.csv, record 1: staged
            A,1,9999.99,savings
  landed by run second
  version   customer_id 1, balance_amount 9999.99, account_type savings, valid
            since 2026-01-05 02:00
  interest  1.00% (from 0.00 below 10,000.00), by the rates from the beginning
            9,999.99 x 0.0100 = 99.999900, rounded 100.00
            new balance 10,099.99
  exported  account_summary
"""
    )


def test_names_are_masked_unless_they_are_to_be_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert explain_main(["customer", "1"]) == 0
    masked = capsys.readouterr().out
    assert explain_main(["customer", "1", "--show-names"]) == 0
    shown = capsys.readouterr().out

    assert "Ada" not in masked
    assert "*** (3 characters)" in masked
    assert "1,Ada,yes" in shown
    assert "customer_name ada" in shown


def test_a_key_that_was_never_valid_is_explained_by_its_records(capsys: pytest.CaptureFixture[str]) -> None:
    assert explain_main(["account", "F", "--json"]) == 0

    found = json.loads(capsys.readouterr().out)
    [episode] = found["episodes"]
    assert found["versions"] == 0
    assert episode["events"] == ["quarantined"]
    assert episode["received"][0]["reasons"] == ["balance is negative"]
    assert episode["version"] is None


def test_what_came_later_is_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    assert explain_main(["account", "A", "--at", "2026-01-05"]) == 0

    assert "2026-01-06" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ["account", "Z"],
            "error: there has never been an account 'Z' in the 2 deliveries up to 2026-01-06 02:00",
        ),
        (["customer", "99"], "; the nearest keys are 1, 2, 3"),
        (["customer", "Ada"], "error: 'Ada' is no customer_id: expected a whole number from 1 to 9223372036854775807"),
        (["customer", "0" * 5000], "expected a whole number from 1 to 9223372036854775807"),
        (["customer", "9" * 5000], "expected a whole number from 1 to 9223372036854775807"),
        (["account", "\udcff"], "expected text in UTF-8 without NUL"),
        (["account", "' or 1 = 1 --"], "error: there has never been an account"),
        (["account", "\\' or 1 = 1 --"], "error: there has never been an account"),
        (["account", "A", "--at", "2025-12-31"], "the landing begins with that of 2026-01-05T02:00:00.000000Z"),
    ],
)
def test_what_cannot_be_explained_is_one_clear_line(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert explain_main(arguments) == 1

    [line] = capsys.readouterr().err.splitlines()
    assert said in line


def test_a_landed_file_that_is_gone_is_named(
    delivered: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = next((delivered.landing_path / "accounts").glob("20260105*"))
    first.rename(tmp_path / first.name)
    try:
        assert explain_main(["account", "A"]) == 1
        assert as_of_main(["2026-01-06", "--to", str(tmp_path / "then")]) == 1
    finally:
        (tmp_path / first.name).rename(first)

    for line in capsys.readouterr().err.splitlines():
        assert line.startswith(
            f"error: {first} is missing: the landing does not reach back to the delivery of 2026-01-05"
        )


def test_as_of_overwrites_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "account_summary.csv").write_text("mine")

    assert as_of_main(["2026-01-05", "--to", str(tmp_path)]) == 1

    assert capsys.readouterr().err == f"error: {tmp_path} already has account_summary.csv: name a folder without them\n"
    assert [path.name for path in tmp_path.iterdir()] == ["account_summary.csv"]


def test_a_process_that_has_the_database_open_is_waited_for_and_named(
    delivered: Settings, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    with held_by_another_process(delivered.duckdb_path) as holder:
        timer = threading.Timer(1, holder.kill)
        timer.start()
        assert diff_main(["2026-01-05", "2026-01-06"]) == 0

    assert f"PID {holder.pid}" in caplog.text
    assert "which has the DuckDB file open" in caplog.text
    assert "interest" in capsys.readouterr().out


def test_two_days_without_a_delivery_between_them_do_not_differ(capsys: pytest.CaptureFixture[str]) -> None:
    assert diff_main(["2026-01-06", "2026-01-09"]) == 1

    assert "both are the delivery of 2026-01-06T02:00:00.000000Z" in capsys.readouterr().err


def test_changed_rows_are_written_with_names_masked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert diff_main(["2026-01-05", "2026-01-06", "--csv", str(tmp_path)]) == 0

    customers = (tmp_path / "changed_customers.csv").read_text().splitlines()
    assert customers == [
        "customer_id,what,customer_name_before,customer_name_after,has_loan_flag_before,has_loan_flag_after",
        "1,changed,***,***,true,false",
        "4,new,,***,,true",
    ]
    assert "B,changed" in (tmp_path / "changed_accounts.csv").read_text()
    assert str(tmp_path / "changed_accounts.csv") in capsys.readouterr().out


def test_airflow_serves_an_explanation_and_the_report_leads_to_it(delivered: Settings) -> None:
    page = page_of(newest_report(delivered.data_quality_report_path)).name
    client = TestClient(create_app())

    assert '<a href="explain/customer/3">3</a>' in client.get(f"/{page}").text  # stale
    answer = client.get("/explain/customer/3")
    assert answer.status_code == 200
    assert "stale" in answer.text
    assert "Cy" not in answer.text
    for address, said in (
        ("/explain/account/%22%3E%3Cscript%3E", "there has never been an account"),
        ("/explain/nothing/1", "invalid choice"),
        ("/explain/account/--help", "there has never been an account"),
        ("/explain/account/a%00b", ""),
    ):
        refused = client.get(address)
        assert refused.status_code == 404, address
        assert said in refused.text
        assert "<script>" not in refused.text
