"""The ways of running deliveries. Each command runs in a separate process, which is timed and watched."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from include.dbt.runner import DBT_DIR, NO_UNIT_TESTS
from include.settings import PROJECT_ROOT

DELIVERED_AT = ("2026-01-05T02:00:00+00:00", "2026-01-06T02:00:00+00:00")
BIN = Path(sys.executable).parent
PORT = 18080
TURNS = 5
"""How often a delivery after each history is timed."""
SPILLS = ("duckdb", "landing/.scratch")


@dataclass(frozen=True)
class Cost:
    """One delivery: wall-clock seconds, and in bytes the peak resident memory of its largest process and the spill.

    The memory of a run under the scheduler is not measured: None.
    """

    seconds: float
    peak_bytes: int | None
    spilled_bytes: int = 0


def measure(
    command: list[str | Path], variables: Mapping[str, str | Path] = {}, *, cwd: Path = PROJECT_ROOT, data: Path
) -> Cost:
    """Run a command whose data is below `data`, and wait for it. Raises SystemExit with its output if it fails."""
    environment = {**os.environ, **{name: str(value) for name, value in variables.items()}}
    with tempfile.TemporaryFile() as output, _watched_spill(data) as spilled:
        begun = time.perf_counter()
        process = subprocess.Popen(command, cwd=cwd, env=environment, stdout=output, stderr=subprocess.STDOUT)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - begun
        if status:
            output.seek(0)
            sys.exit(f"{' '.join(map(str, command))} failed:\n{output.read().decode()[-3000:]}")
    peak_bytes = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return Cost(seconds, peak_bytes, max(spilled, default=0))


@contextmanager
def _watched_spill(data: Path) -> Iterator[list[int]]:
    """Record, five times a second, how many bytes DuckDB has spilled below a folder."""
    sizes: list[int] = []
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(0.2):
            sizes.append(sum(_size(file) for folder in SPILLS for file in spill_files(data / folder)))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield sizes
    finally:
        ended.set()
        watcher.join()


def spill_files(folder: Path) -> Iterator[Path]:
    """Find the files that DuckDB has spilled below a folder. Folders may vanish meanwhile: os.walk() ignores that."""
    for parent, _, names in os.walk(folder):
        yield from (Path(parent, name) for name in names if name.startswith("duckdb_temp_"))


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except FileNotFoundError:
        return 0


def data_in(folder: Path, inputs: Path) -> dict[str, str | Path]:
    """Return the pipeline's settings for one way of running, with separate folders."""
    (folder / "duckdb").mkdir(parents=True, exist_ok=True)
    return {
        "INPUT_PATH": inputs,
        "LANDING_PATH": folder / "landing",
        "OUTPUT_PATH": folder / "outputs",
        "DUCKDB_PATH": folder / "duckdb" / "lc_pipeline.duckdb",
        "DATA_QUALITY_REPORT_PATH": folder / "quality_reports",
    }


def floor(folder: Path, inputs: Path) -> list[Cost]:
    """Play both days with the hand-written script."""
    return [
        measure(
            [sys.executable, "-m", "benchmarks.floor", inputs / at[:10], folder, at[:19].replace("T", " ")], data=folder
        )
        for at in DELIVERED_AT
    ]


def deliver(folder: Path, inputs: Path) -> list[Cost]:
    """Play both days with `python -m include.deliver`."""
    return [deliver_one(folder, inputs, at) for at in DELIVERED_AT]


def deliver_one(folder: Path, inputs: Path, at: str) -> Cost:
    """Play one day with `python -m include.deliver`."""
    command: list[str | Path] = [sys.executable, "-m", "include.deliver", "--logical-date", at]
    return measure(command, data_in(folder, inputs), data=folder)


def bare_dbt(folder: Path, inputs: Path) -> list[Cost]:
    """Build both days with `dbt build`, without unit tests. Landing the files is not measured."""
    data = data_in(folder, inputs)
    land = """
import sys
from datetime import datetime
from include.ingestion import ingest
from include.ledger import Ledger
from include.settings import load_settings
settings = load_settings()
if Ledger.load(settings.landing_path).unfinished:
    Ledger.load(settings.landing_path).mark_processed()
ingest(settings, logical_date=datetime.fromisoformat(sys.argv[1]), run_id=sys.argv[1])
"""
    costs = []
    for at in DELIVERED_AT:
        measure([sys.executable, "-c", land, at], data, data=folder)
        bare = {**data, "DBT_TARGET_PATH": folder / "target", "DBT_LOG_PATH": folder / "target"}
        command: list[str | Path] = [BIN / "dbt", "build", *NO_UNIT_TESTS]
        costs.append(measure(command, bare, cwd=DBT_DIR, data=folder))
    return costs


def dags_test(folder: Path, inputs: Path) -> list[Cost]:
    """Play both days with `airflow dags test`, in a separate Airflow home."""
    data = {**data_in(folder, inputs), "AIRFLOW_HOME": folder / "airflow"}
    measure([BIN / "airflow", "db", "migrate"], data, data=folder)
    return [measure([BIN / "airflow", "dags", "test", "lc_pipeline", at], data, data=folder) for at in DELIVERED_AT]


def scheduler(folder: Path, inputs: Path) -> list[Cost]:
    """Play both days as triggered runs under Airflow's scheduler. The seconds are from a run's start to its end."""
    data = {
        **data_in(folder, inputs),
        "AIRFLOW_HOME": folder / "airflow",
        "AIRFLOW__API__PORT": str(PORT),
        "AIRFLOW__API__BASE_URL": f"http://localhost:{PORT}",
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"http://localhost:{PORT}/execution/",
    }
    environment = {**os.environ, **{name: str(value) for name, value in data.items()}}
    with (folder / "standalone.log").open("w") as log:
        standalone = subprocess.Popen(
            [BIN / "airflow", "standalone"], env=environment, stdout=log, stderr=log, start_new_session=True
        )
        try:
            _wait_for(folder, "select 1 from dag where dag_id = 'lc_pipeline'")
            measure([BIN / "airflow", "dags", "unpause", "lc_pipeline"], data, data=folder)
            return [_triggered(folder, data, at) for at in DELIVERED_AT]
        finally:
            os.killpg(standalone.pid, signal.SIGKILL)
            standalone.wait()


def _triggered(folder: Path, data: Mapping[str, str | Path], at: str) -> Cost:
    trigger: list[str | Path] = [BIN / "airflow", "dags", "trigger", "lc_pipeline"]
    measure([*trigger, "--run-id", at, "--logical-date", at], data, data=folder)
    [(state, seconds)] = _wait_for(
        folder,
        "select state, (julianday(end_date) - julianday(start_date)) * 86400 from dag_run "
        f"where run_id = '{at}' and end_date is not null",
    )
    if state != "success":
        sys.exit(f"the run of {at} under the scheduler ended as {state}")
    return Cost(seconds, None)


def _wait_for(folder: Path, query: str) -> list[Any]:
    """Query Airflow's database once a second, for at most half an hour, until there is a row."""
    for _ in range(1800):
        time.sleep(1)
        try:
            with closing(sqlite3.connect(folder / "airflow" / "airflow.db", timeout=60)) as database:
                rows = database.execute(query).fetchall()
        except sqlite3.OperationalError:  # not migrated yet
            continue
        if rows:
            return rows
    sys.exit(f"Airflow's scheduler gave no answer to {query}")


WAYS = {
    "floor": floor,
    "include.deliver": deliver,
    "dbt build": bare_dbt,
    "airflow dags test": dags_test,
    "scheduler": scheduler,
}
THROUGH_AIRFLOW = ("airflow dags test", "scheduler")


def play_history(folder: Path, inputs: Path, deliveries: int) -> list[str]:
    """Play `deliveries` days with include.deliver, in one process, the two of `inputs` in turn.

    Return the times of the TURNS days after them. The extracts of all days are in `folder / "days"`.
    """
    days = folder / "days"
    days.mkdir(parents=True)
    first = datetime.fromisoformat(DELIVERED_AT[0]) - timedelta(days=deliveries)
    times = [(first + timedelta(days=day)).isoformat() for day in range(deliveries + TURNS)]
    for number, at in enumerate(times):
        (days / at[:10]).symlink_to(inputs / DELIVERED_AT[number % 2][:10])
    play = """
import sys
from include.deliver import main
for at in sys.argv[1:]:
    assert main(["--logical-date", at]) == 0
"""
    measure([sys.executable, "-c", play, *times[:deliveries]], data_in(folder, days), data=folder)
    return times[deliveries:]
