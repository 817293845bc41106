"""Which runs are worth a message: every transition of verdicts, and which run is the one before."""

from __future__ import annotations

from typing import Any, get_args

import pytest

from include.alerts import event_of, previous_verdict
from include.ledger import FINISHED
from include.quality.report import Outcome, Report, Run, TrendEntry, Verdict


def report(verdict: Verdict, outcome: Outcome = "landed", *before: TrendEntry) -> Report:
    """Return a report of which the verdict, the outcome and the trend are given."""
    run: Any = Run.model_construct(outcome=outcome, run_id="this")
    return Report.model_construct(verdict=verdict, run=run, trend=(*before, entry("this", verdict, outcome)))


def entry(run_id: str, verdict: Verdict, outcome: Outcome = "landed") -> TrendEntry:
    return TrendEntry.model_construct(run_id=run_id, verdict=verdict, outcome=outcome)


TRANSITIONS = {
    (None, "pass"): None,
    (None, "warn"): None,
    (None, "fail"): "red",
    ("pass", "pass"): None,
    ("pass", "warn"): "worse",
    ("pass", "fail"): "red",
    ("warn", "pass"): "good again",
    ("warn", "warn"): None,
    ("warn", "fail"): "red",
    ("fail", "pass"): "good again",
    ("fail", "warn"): "good again",
    ("fail", "fail"): "red",
}


def test_every_transition_is_listed() -> None:
    verdicts = get_args(Verdict)

    assert TRANSITIONS.keys() == {(before, now) for before in (None, *verdicts) for now in verdicts}


@pytest.mark.parametrize("outcome", ["landed", "resumed"])
@pytest.mark.parametrize(("before", "now"), TRANSITIONS)
def test_a_red_run_is_told_and_any_other_where_the_verdict_changes(
    before: Verdict | None, now: Verdict, outcome: Outcome
) -> None:
    assert event_of(report(now, outcome), before) == TRANSITIONS[before, now]


@pytest.mark.parametrize("before", [None, *get_args(Verdict)])
def test_a_refused_delivery_is_told_each_time(before: Verdict | None) -> None:
    assert event_of(report("fail", "refused"), before) == "refused"


@pytest.mark.parametrize("before", [None, *get_args(Verdict)])
@pytest.mark.parametrize("now", get_args(Verdict))
def test_of_a_run_that_changed_nothing_only_a_failure_is_told(before: Verdict | None, now: Verdict) -> None:
    unchanged = report(now, "unchanged", *([entry("before", before)] if before else []))

    assert event_of(unchanged, previous_verdict(unchanged)) == ("red" if now == "fail" else None)


def test_the_first_run_has_none_before_it() -> None:
    assert previous_verdict(report("pass")) is None


def test_the_run_before_is_the_newest_other_one_in_the_trend() -> None:
    assert previous_verdict(report("pass", "landed", entry("older", "pass"), entry("newer", "warn"))) == "warn"


def test_a_run_that_changed_nothing_does_not_hide_that_the_one_before_it_was_refused() -> None:
    refused, unchanged = entry("day_6", "fail", "refused"), entry("day_5_again", "pass", "unchanged")

    assert previous_verdict(report("pass", "landed", refused, unchanged)) == "fail"


def test_a_run_that_failed_though_nothing_was_to_be_changed_is_the_run_before() -> None:
    assert (
        previous_verdict(report("pass", "landed", entry("good", "pass"), entry("bad", "fail", "unchanged"))) == "fail"
    )


def test_a_delivery_that_this_run_finished_first_does_not_hide_that_it_was_red() -> None:
    red, finished = entry("day_6", "fail"), entry(f"day_6{FINISHED}", "pass", "resumed")

    assert previous_verdict(report("pass", "landed", red, finished)) == "fail"
