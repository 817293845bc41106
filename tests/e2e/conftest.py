"""The sample days, played once for all e2e tests: through the DAG, and through `python -m include.deliver`."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pytest

from include.deliver import main as deliver_main
from include.settings import PROJECT_ROOT, Settings
from tests.airflow_home import AirflowHome, DagRun
from tests.conftest import day, environment_of, settings_in

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


@pytest.fixture(scope="session")
def dag_stages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Stage]:
    """The sample days through the DAG, with two accidents on the second.

    First its accounts.csv arrives truncated and is refused. Then, with the right file, somebody has put an overlapping
    version into snap_customer by hand, so that a test fails in the middle of the run; it is taken out again, and the
    next run finishes the day.
    """
    folder = tmp_path_factory.mktemp("dag")
    recorder = Recorder(folder)
    settings = recorder.settings
    airflow = AirflowHome(folder / "airflow", settings)
    stages = {"2026-01-05": recorder.keep("2026-01-05", airflow.run_dag(DAYS["2026-01-05"]))}

    accounts = settings.input_path / "2026-01-06" / "accounts.csv"
    whole = accounts.read_bytes()
    accounts.write_bytes(whole[: len(whole) // 3])
    stages["refused"] = recorder.keep("refused", airflow.run_dag(DAYS["2026-01-06"]))
    accounts.write_bytes(whole)

    _execute(
        settings.duckdb_path,
        "insert into main_snapshots.snap_customer select * replace ('by hand' as dbt_scd_id, "
        "timestamp '2026-01-04' as dbt_valid_from, timestamp '2026-01-08' as dbt_valid_to) "
        "from main_snapshots.snap_customer where customer_id = 1",
    )
    stages["broken"] = recorder.keep("broken", airflow.run_dag(DAYS["2026-01-06"]))
    _execute(settings.duckdb_path, "delete from main_snapshots.snap_customer where dbt_scd_id = 'by hand'")

    for name in ("2026-01-06", "2026-01-07"):
        stages[name] = recorder.keep(name, airflow.run_dag(DAYS[name]))
    return stages


@pytest.fixture(scope="session")
def deliver_stages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Stage]:
    """The sample days through `python -m include.deliver`, whose main() is called in this process."""
    recorder = Recorder(tmp_path_factory.mktemp("deliver"))
    stages = {}
    with pytest.MonkeyPatch.context() as patch:
        for variable, value in environment_of(recorder.settings).items():
            patch.setenv(variable, value)
        for name, time in DAYS.items():
            assert deliver_main(["--logical-date", time.isoformat()]) == 0
            stages[name] = recorder.keep(name)
    return stages


def _execute(database: Path, sql: str) -> None:
    with duckdb.connect(database) as connection:
        connection.execute(sql)
