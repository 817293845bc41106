"""Whose turn it is. tests/e2e/test_scheduler.py shows the same with Airflow's own runs."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from include.tasks import wait_for_turn


@pytest.mark.parametrize(
    ("this", "running", "queued", "is_turn"),
    [
        ("scheduled", None, None, True),
        ("scheduled", "backfill", None, False),
        ("scheduled", None, "backfill", False),
        ("backfill", "backfill", None, False),
        ("backfill", "manual", None, False),
        ("backfill", None, "backfill", True),  # of a backfill that runs backwards: it waits for this one
        ("scheduled", None, "manual", True),  # max_active_runs lets it wait for this one
    ],
)
def test_a_run_waits_for_earlier_ones_that_do_not_wait_for_it(
    this: str, running: str | None, queued: str | None, is_turn: bool
) -> None:
    earlier = {
        state: SimpleNamespace(run_id=f"{run_type}__1", run_type=run_type) if run_type else None
        for state, run_type in (("running", running), ("queued", queued))
    }
    instance = SimpleNamespace(get_previous_dagrun=lambda state: earlier[state])

    assert wait_for_turn(dag_run=SimpleNamespace(run_type=this), ti=instance) is is_turn
