"""Seconds of task groups from what steps and nodes noted."""

from __future__ import annotations

from pathlib import Path

import pytest

from include.artifacts import artifacts_dir, timed_step
from include.quality.durations import task_group_seconds
from include.settings import Settings


def nodes(*names: str) -> dict[str, dict[str, object]]:
    return {name: {"resource_type": "model", "tags": ["staging"], "depends_on": {"nodes": []}} for name in names}


def timing(begin: int, end: int) -> dict[str, list[dict[str, str]]]:
    times = {"started_at": f"2026-01-05T02:00:{begin:02}Z", "completed_at": f"2026-01-05T02:00:{end:02}Z"}
    return {"timing": [{"name": "execute", **times}]}


def seconds(folder: Path, results: dict[str, dict[str, list[dict[str, str]]]]) -> dict[str, float | None]:
    found = task_group_seconds(folder, nodes(*results), results, report_seconds=1.5)
    return {group.group: group.seconds for group in found}


def test_nodes_that_work_at_the_same_time_count_once_and_gaps_do_not(tmp_path: Path) -> None:
    results = {"a": timing(0, 10), "b": timing(5, 12), "c": timing(30, 31)}

    assert seconds(tmp_path, results)["staging"] == 13.0


def test_what_was_not_noted_is_null(tmp_path: Path) -> None:
    found = seconds(tmp_path, {})

    assert found.pop("quality_report") == 1.5
    assert set(found.values()) == {None}


def test_a_step_that_fails_is_noted_too(settings: Settings) -> None:
    with pytest.raises(ValueError, match="bad"), timed_step(settings, "run", "export"):
        raise ValueError("bad")

    assert seconds(artifacts_dir(settings, "run"), {})["exports"] is not None
