"""How long the task groups of a run worked, from the times of its steps and of dbt's nodes."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from include.artifacts import STEP_SUFFIX
from include.dbt.manifest import layer_of
from include.quality.report import TASK_GROUPS, TaskGroup, TaskGroupSeconds

Interval = tuple[datetime, datetime]

_TASK_GROUP_OF = {"ingest": "ingest"}
"""The task group of a step. All other steps belong to the exports."""


def task_group_seconds(
    artifacts: Path,
    nodes: Mapping[str, Any],
    results: Mapping[str, Mapping[str, Any]],
    *,
    report_seconds: float,
) -> tuple[TaskGroupSeconds, ...]:
    """Return for each task group the seconds in which at least one of its steps or dbt nodes was running.

    `nodes` are the manifest's, `results` dbt's result of each that has one, by unique id.
    """
    intervals: dict[str, list[Interval]] = defaultdict(list)
    for path in artifacts.glob(f"[!.]*{STEP_SUFFIX}"):
        step = path.name.removesuffix(STEP_SUFFIX)
        with suppress(OSError, ValueError, KeyError):
            intervals[_TASK_GROUP_OF.get(step, "exports")].append(_interval(json.loads(path.read_bytes())))
    for unique_id, result in results.items():
        if unique_id in nodes:
            timing = [_interval(part) for part in result.get("timing", ()) if part["completed_at"]]
            intervals[layer_of(unique_id, nodes)] += timing
    seconds: dict[TaskGroup, float | None] = {
        group: _covered(intervals[group]) if intervals[group] else None for group in TASK_GROUPS
    }
    seconds["quality_report"] = report_seconds
    return tuple(
        TaskGroupSeconds(group=group, seconds=None if found is None else round(found, 3))
        for group, found in seconds.items()
    )


def _interval(times: Mapping[str, str]) -> Interval:
    return datetime.fromisoformat(times["started_at"]), datetime.fromisoformat(times["completed_at"])


def _covered(intervals: Iterable[Interval]) -> float:
    """Return the seconds that at least one interval covers."""
    covered, end = timedelta(), None
    for started, completed in sorted(intervals):
        if end is None or started > end:
            covered += completed - started
            end = completed
        elif completed > end:
            covered += completed - end
            end = completed
    return covered.total_seconds()
