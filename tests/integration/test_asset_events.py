"""Which runs are news to those who wait for an asset, by their real reports. What the events say: tests/e2e."""

from __future__ import annotations

import pytest

from include import assets, exports
from include.pipeline import deliver
from include.quality.report import Report
from include.settings import Settings
from tests.support.deliveries import account, customer, day, write_extracts


def test_the_exports_are_those_that_are_written() -> None:
    assert assets.EXPORTS == exports.FILES


@pytest.mark.slow
def test_a_run_that_changed_nothing_is_no_news_and_one_that_published_something_is(settings: Settings) -> None:
    write_extracts(settings.input_path, [customer("1")], [account("A", customer_id="1")])
    first, again = (Report.load(deliver(settings, logical_date=day(5), run_id=name)) for name in ("first", "again"))

    assert (first.run.outcome, first.verdict, assets.is_news(first)) == ("landed", "pass", True)
    assert (again.run.outcome, again.verdict, assets.is_news(again)) == ("unchanged", "pass", False)
    refreshed = again.model_copy(update={"run": again.run.model_copy(update={"full_refresh": True})})
    assert assets.is_news(refreshed)
    assert not assets.is_news(first.model_copy(update={"verdict": "fail"}))


@pytest.mark.slow
def test_a_run_whose_exports_were_replaced_meanwhile_announces_no_other_runs_hashes(settings: Settings) -> None:
    write_extracts(settings.input_path, [customer("1")], [account("A", customer_id="1")])
    path = deliver(settings, logical_date=day(5), run_id="first")
    write_extracts(settings.input_path, [customer("1")], [account("A", customer_id="1", balance="7")])
    deliver(settings, logical_date=day(6), run_id="second")

    described = assets.describe(settings, path, Report.load(path), ("account_summary.csv", "customers.csv"))
    assert "sha256" not in described["account_summary.csv"]
    assert described["customers.csv"]["rows"] == 1
