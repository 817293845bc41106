"""The sample days, played once for all e2e tests: through the DAG, and through `python -m include.deliver`."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path

import pytest
from filelock import FileLock
from pydantic import TypeAdapter

from include.deliver import main as deliver_main
from tests.support.airflow_home import AirflowHome
from tests.support.databases import execute
from tests.support.processes import let_the_schedule_pass
from tests.support.settings import environment_of
from tests.support.stages import DAYS, Recorder, Stage

STAGES = TypeAdapter(dict[str, Stage])


@pytest.fixture
def not_across_the_schedule() -> None:
    let_the_schedule_pass(timedelta(minutes=20))


@pytest.fixture(scope="session")
def dag_stages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Stage]:
    """The stages of play_dag(), which is played once for all of pytest-xdist's processes."""
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    with FileLock(shared / "dag_stages.lock"):
        kept = shared / "dag_stages.json"
        if not kept.exists():
            kept.write_bytes(STAGES.dump_json(play_dag(shared / "dag_stages")))
        return STAGES.validate_json(kept.read_bytes())


def play_dag(folder: Path) -> dict[str, Stage]:
    """The sample days through the DAG, with two accidents on the second, and a preview of the third.

    First its accounts.csv arrives truncated and is refused. Then, with the right file, somebody has put an overlapping
    version into snap_customer by hand, so that a test fails in the middle of the run; it is taken out again, and the
    next run finishes the day. In the end a row of a mart is deleted by hand, and the last day runs again.
    """
    recorder = Recorder(folder)
    settings = recorder.settings
    with AirflowHome(folder / "airflow", settings).one_process() as run_dag:
        stages = {"2026-01-05": recorder.keep("2026-01-05", run_dag(DAYS["2026-01-05"]))}

        accounts = settings.input_path / "2026-01-06" / "accounts.csv"
        whole = accounts.read_bytes()
        accounts.write_bytes(whole[: len(whole) // 3])
        stages["refused"] = recorder.keep("refused", run_dag(DAYS["2026-01-06"]))
        accounts.write_bytes(whole)

        execute(
            settings.duckdb_path,
            "insert into main_snapshots.snap_customer select * replace ('by hand' as dbt_scd_id, "
            "timestamp '2026-01-04' as dbt_valid_from, timestamp '2026-01-08' as dbt_valid_to) "
            "from main_snapshots.snap_customer where customer_id = 1",
        )
        stages["broken"] = recorder.keep("broken", run_dag(DAYS["2026-01-06"]))
        execute(settings.duckdb_path, "delete from main_snapshots.snap_customer where dbt_scd_id = 'by hand'")

        stages["2026-01-06"] = recorder.keep("2026-01-06", run_dag(DAYS["2026-01-06"]))
        stages["preview"] = recorder.keep("preview", run_dag(DAYS["2026-01-07"], preview=True))
        stages["2026-01-07"] = recorder.keep("2026-01-07", run_dag(DAYS["2026-01-07"]))

        execute(settings.duckdb_path, "delete from main_marts.account_summary where account_id = 'S19'")
        stages["tampered"] = recorder.keep("tampered", run_dag(DAYS["2026-01-07"]))
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
