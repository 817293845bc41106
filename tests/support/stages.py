"""The sample days, and what was there after each run of them."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from include.settings import PROJECT_ROOT, Settings
from tests.support.airflow_home import DagRun
from tests.support.deliveries import day
from tests.support.settings import settings_in

DAYS = {"2026-01-05": day(5), "2026-01-06": day(6), "2026-01-07": day(7)}


@dataclass(frozen=True)
class Stage:
    """What was there after a run: a copy of the run's whole folder, and how the DAG run ended."""

    folder: Path
    run: DagRun | None = None

    @property
    def settings(self) -> Settings:
        return settings_in(self.folder)

    @property
    def newest_report(self) -> Path:
        return max(self.settings.data_quality_report_path.glob("*.json"), key=lambda path: path.stat().st_mtime_ns)


class Recorder:
    """Keeps a copy of the pipeline's data after each run."""

    def __init__(self, folder: Path, settings: Settings | None = None) -> None:
        self.live = folder / "live"
        self.stages = folder / "stages"
        self.settings = settings or settings_in(self.live)
        shutil.copytree(PROJECT_ROOT / "data" / "inputs", self.settings.input_path)

    def keep(self, name: str, run: DagRun | None = None) -> Stage:
        shutil.copytree(self.live, self.stages / name, symlinks=True)
        return Stage(self.stages / name, run)
