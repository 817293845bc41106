"""What a delivery costs against the floor: `python -m benchmarks.run --customers 100000`.

Plays a first and a daily delivery of generated extracts through each way there is, one after the other in one run,
each command a process of its own: the hand-written script (benchmarks/floor.py), `python -m include.deliver`, bare
`dbt build` on what is already landed, and `airflow dags test`. Prints seconds, ratios to the floor, the peak memory of
the largest process, and the time of each dbt node of the daily delivery. Times include the start of each process.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks.extracts import Shape, write_days
from include.dbt.runner import DBT_DIR
from include.quality.report import Report
from include.settings import PROJECT_ROOT

DELIVERED_AT = ("2026-01-05T02:00:00+00:00", "2026-01-06T02:00:00+00:00")
BIN = Path(sys.executable).parent


@dataclass(frozen=True)
class Cost:
    """Of one delivery: wall-clock seconds, and the peak resident memory of its largest process in bytes."""

    seconds: float
    peak_bytes: int


def measure(command: list[str | Path], variables: Mapping[str, str | Path] = {}, *, cwd: Path = PROJECT_ROOT) -> Cost:
    """Run a command to its end. Raises SystemExit with its output if it fails."""
    environment = {**os.environ, **{name: str(value) for name, value in variables.items()}}
    with tempfile.TemporaryFile() as output:
        begun = time.perf_counter()
        process = subprocess.Popen(command, cwd=cwd, env=environment, stdout=output, stderr=subprocess.STDOUT)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - begun
        if status:
            output.seek(0)
            sys.exit(f"{' '.join(map(str, command))} failed:\n{output.read().decode()[-3000:]}")
    return Cost(seconds, usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024))


def data_in(folder: Path, inputs: Path) -> dict[str, str | Path]:
    """Return the pipeline's settings for a way of its own."""
    (folder / "duckdb").mkdir(parents=True)
    return {
        "INPUT_PATH": inputs,
        "LANDING_PATH": folder / "landing",
        "OUTPUT_PATH": folder / "outputs",
        "DUCKDB_PATH": folder / "duckdb" / "lc_pipeline.duckdb",
        "DATA_QUALITY_REPORT_PATH": folder / "quality_reports",
    }


def floor(folder: Path, inputs: Path) -> list[Cost]:
    """Play both days by the hand-written script."""
    return [
        measure([sys.executable, "-m", "benchmarks.floor", inputs / at[:10], folder, at[:19].replace("T", " ")])
        for at in DELIVERED_AT
    ]


def deliver(folder: Path, inputs: Path) -> list[Cost]:
    """Play both days by `python -m include.deliver`."""
    data = data_in(folder, inputs)
    return [measure([sys.executable, "-m", "include.deliver", "--logical-date", at], data) for at in DELIVERED_AT]


def bare_dbt(folder: Path, inputs: Path) -> list[Cost]:
    """Build both days by `dbt build`, unit tests excepted; landing them is not measured."""
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
        measure([sys.executable, "-c", land, at], data)
        bare = {**data, "DBT_TARGET_PATH": folder / "target", "DBT_LOG_PATH": folder / "target"}
        costs.append(measure([BIN / "dbt", "build", "--exclude-resource-type", "unit_test"], bare, cwd=DBT_DIR))
    return costs


def dag(folder: Path, inputs: Path) -> list[Cost]:
    """Play both days by `airflow dags test`, in an Airflow of their own."""
    data = {**data_in(folder, inputs), "AIRFLOW_HOME": folder / "airflow"}
    measure([BIN / "airflow", "db", "migrate"], data)
    return [measure([BIN / "airflow", "dags", "test", "lc_pipeline", at], data) for at in DELIVERED_AT]


WAYS = {"floor": floor, "include.deliver": deliver, "dbt build": bare_dbt, "airflow dags test": dag}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.run", description=__doc__)
    parser.add_argument("--customers", type=int, default=100_000, help="accounts are three times as many")
    parser.add_argument("--dirty", type=float, default=Shape.dirty, help="share of dirty records")
    parser.add_argument(
        "--changed", type=float, default=Shape.changed, help="share of keys that change on the second day"
    )
    parser.add_argument("--seed", type=int, default=Shape.seed)
    parser.add_argument("--only", nargs="+", choices=WAYS, default=list(WAYS), help="the floor is always measured")
    options = parser.parse_args()

    with tempfile.TemporaryDirectory(prefix="lc_benchmark.") as name:
        scratch = Path(name)
        shape = Shape(options.customers, options.dirty, options.changed, options.seed)
        write_days(scratch / "inputs", shape)
        print(f"{shape}, {os.cpu_count()} cores, Python {sys.version.split()[0]}\n")
        print(f"{'':<20} {'first':>9} {'ratio':>6}   {'daily':>9} {'ratio':>6}   {'peak memory':>11}")
        costs = {}
        for way, play in WAYS.items():
            if way in ("floor", *options.only):
                costs[way] = play(scratch / way.replace(" ", "_"), scratch / "inputs")
                _print_costs(way, costs[way], costs["floor"])
        if "include.deliver" in costs:
            _print_nodes(scratch / "include.deliver" / "quality_reports")


def _print_costs(way: str, costs: list[Cost], floors: list[Cost]) -> None:
    columns = "   ".join(
        f"{cost.seconds:>7.1f} s {cost.seconds / floor.seconds:>6.1f}"
        for cost, floor in zip(costs, floors, strict=True)
    )
    print(f"{way:<20} {columns}   {max(cost.peak_bytes for cost in costs) / 2**30:>7.2f} GiB", flush=True)


def _print_nodes(reports: Path) -> None:
    """Print the time that dbt took for each node of the second delivery, the slowest first."""
    report = Report.load(max(reports.glob("*.json"), key=lambda path: path.stat().st_mtime_ns))
    nodes = [
        *((model.seconds or 0.0, model.kind, model.name) for model in report.models),
        *((test.seconds or 0.0, "test", test.name) for test in report.tests),
    ]
    print(
        f"\ndbt nodes of the daily delivery of include.deliver: {sum(node[0] for node in nodes):.1f} s over 2 threads"
    )
    for seconds, kind, name in sorted(nodes, reverse=True)[:25]:
        print(f"  {seconds:>6.2f} s  {kind:<8} {name}")


if __name__ == "__main__":
    main()
