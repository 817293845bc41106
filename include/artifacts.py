"""The files that a run leaves for its quality report, and the name of the report.

`<task>.run_results.json` of each dbt task, `<step>.step.json` of each other step, and the note of ingestion.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from include.files import replacing, run_key
from include.settings import Settings

STEP_SUFFIX = ".step.json"
INGESTION_NOTE = "ingestion.json"
RUN_RESULTS = "run_results.json"
"""The name that dbt gives the file of its results."""

REPORT_NAME = r"(?:quality_report|preview)_[0-9]{8}T[0-9]{12}Z_"
"""A pattern for the names of report_name(), up to the run."""


def artifacts_dir(settings: Settings, run_id: str) -> Path:
    """Return the folder of one run's artifacts, created if it is missing."""
    folder = settings.data_quality_report_path / "artifacts" / run_key(run_id)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def keep_run_results(settings: Settings, run_id: str, name: str, target: Path) -> list[dict[str, Any]]:
    """Copy dbt's run_results.json from `target`, if there is one, to the artifacts of the run; return the results."""
    results = target / RUN_RESULTS
    if not results.exists():
        return []
    with replacing(artifacts_dir(settings, run_id) / f"{name}.{RUN_RESULTS}") as temporary:
        shutil.copyfile(results, temporary)
    kept: list[dict[str, Any]] = json.loads(results.read_text(encoding="utf-8"))["results"]
    return kept


def forget_results(settings: Settings, run_id: str) -> None:
    """Remove what an earlier try of the run has left of dbt's results and of its steps."""
    for path in artifacts_dir(settings, run_id).iterdir():
        if path.name.endswith((f".{RUN_RESULTS}", STEP_SUFFIX)):
            path.unlink(missing_ok=True)


def report_name(time: datetime, run_id: str, *, is_preview: bool = False) -> str:
    """Return the name of a run's report, without a suffix. Previews have another prefix, so no list includes them."""
    return f"{'preview' if is_preview else 'quality_report'}_{time:%Y%m%dT%H%M%S%fZ}_{run_key(run_id)}"


def report_of(folder: Path, run_id: str, suffix: str = ".json") -> Path | None:
    """Return a run's report, or None. A run that was cleared can have several; the newest one counts."""
    name = re.compile(REPORT_NAME + re.escape(run_key(run_id) + suffix))
    try:
        found = [entry for entry in os.scandir(folder) if name.fullmatch(entry.name)]
    except OSError:
        return None
    newest = max(found, key=lambda entry: entry.stat(follow_symlinks=False).st_mtime_ns, default=None)
    return Path(newest.path) if newest else None


@contextmanager
def timed_step(settings: Settings, run_id: str, step: str) -> Iterator[None]:
    """Record when a step begins and ends, also if it fails. The last try of a step counts."""
    started_at = datetime.now(UTC)
    try:
        yield
    finally:
        times = {"started_at": started_at.isoformat(), "completed_at": datetime.now(UTC).isoformat()}
        with suppress(OSError), replacing(artifacts_dir(settings, run_id) / f"{step}{STEP_SUFFIX}") as temporary:
            temporary.write_text(json.dumps(times) + "\n", encoding="utf-8")
