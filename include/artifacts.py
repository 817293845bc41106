"""What a run leaves for its quality report.

`<task>.run_results.json` of each dbt task, `<step>.step.json` of each other step, and `ingestion.json`.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from include.files import replacing, run_key
from include.settings import Settings

STEP_SUFFIX = ".step.json"


def artifacts_dir(settings: Settings, run_id: str) -> Path:
    """Return the folder of one run's artifacts, created if it is missing."""
    folder = settings.data_quality_report_path / "artifacts" / run_key(run_id)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def keep_run_results(settings: Settings, run_id: str, name: str, target: Path) -> list[dict[str, Any]]:
    """Copy dbt's run_results.json, if it has left one in `target`, to the artifacts of the run; return the results."""
    results = target / "run_results.json"
    if not results.exists():
        return []
    with replacing(artifacts_dir(settings, run_id) / f"{name}.run_results.json") as temporary:
        shutil.copyfile(results, temporary)
    kept: list[dict[str, Any]] = json.loads(results.read_text(encoding="utf-8"))["results"]
    return kept


@contextmanager
def timed_step(settings: Settings, run_id: str, step: str) -> Iterator[None]:
    """Note when the body of a step begins and ends, by the clock, however it ends; the last try of a step counts."""
    started_at = datetime.now(UTC)
    try:
        yield
    finally:
        times = {"started_at": started_at.isoformat(), "completed_at": datetime.now(UTC).isoformat()}
        with suppress(OSError), replacing(artifacts_dir(settings, run_id) / f"{step}{STEP_SUFFIX}") as temporary:
            temporary.write_text(json.dumps(times) + "\n", encoding="utf-8")
