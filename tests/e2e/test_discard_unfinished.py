"""A delivery whose records can't be used stops the DAG before any history changes, and is given up by the next run."""

from __future__ import annotations

from pathlib import Path

import pytest

from include.ledger import Ledger
from include.pipeline import deliver
from tests.support.airflow_home import AirflowHome
from tests.support.deliveries import account, customer, day, write_extracts
from tests.support.settings import settings_in
from tests.support.tables import read_tables

pytestmark = pytest.mark.slow

NUMBERS = [str(number) for number in range(1, 9)]
CUSTOMERS = [customer(number) for number in NUMBERS]
ACCOUNTS = [account(f"A{number}", customer_id=number) for number in NUMBERS]
WITHOUT_TYPE = [account(f"A{number}", customer_id=number, account_type="") for number in NUMBERS]
NEXT = ([*CUSTOMERS, customer("9")], ACCOUNTS[1:])


def test_a_useless_delivery_is_red_before_the_snapshots_and_given_up_on_request(tmp_path: Path) -> None:
    settings, undisturbed = settings_in(tmp_path / "live"), settings_in(tmp_path / "undisturbed")
    for each in (settings, undisturbed):
        write_extracts(each.input_path, CUSTOMERS, ACCOUNTS)
        deliver(each, logical_date=day(5), run_id="good")

    with AirflowHome(tmp_path / "airflow", settings).one_process() as run_dag:
        write_extracts(settings.input_path, CUSTOMERS, WITHOUT_TYPE)
        useless = run_dag(day(6))
        for each in (settings, undisturbed):
            write_extracts(each.input_path, *NEXT)
        given_up = run_dag(day(7), discard_unfinished=True)
    deliver(undisturbed, logical_date=day(7), run_id="next")

    assert not useless.succeeded
    assert {useless.states[f"snapshots.{name}"] for name in ("snap_customer", "snap_account")} == {"upstream_failed"}
    assert given_up.succeeded, given_up.log[-3000:]
    assert "giving up the delivery of 2026-01-06T02:00:00.000000Z" in given_up.log
    assert [entry.state for entry in Ledger.load(settings.landing_path).entries] == [
        "processed",
        "discarded",
        "processed",
    ]
    assert read_tables(settings) == read_tables(undisturbed)
