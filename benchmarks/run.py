"""Measure the cost of a delivery against the floor: `python -m benchmarks.run`, which `make benchmark` calls.

Plays a first and a daily delivery of generated extracts in each way of running, one after the other: the hand-written
script (benchmarks/floor.py), `python -m include.deliver`, plain `dbt build` on landed files, `airflow dags test`, and a
triggered run under the scheduler. Then it plays other shares of changed keys and a longer history with include.deliver
only. Prints seconds, ratios to the floor, and memory; `--write` also writes docs/performance.md. Times include the
start of each process, except under the scheduler.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from benchmarks.document import write_document
from benchmarks.extracts import Shape, write_days
from benchmarks.results import Results, SizeResult
from benchmarks.ways import THROUGH_AIRFLOW, TURNS, WAYS, deliver, deliver_one, floor, play_history
from include.quality.report import Report


@contextmanager
def _extracts(shape: Shape) -> Iterator[Path]:
    """Yield a scratch folder with the two days in `inputs`."""
    with tempfile.TemporaryDirectory(prefix="lc_benchmark.") as name:
        write_days(Path(name, "inputs"), shape)
        yield Path(name)


def by_size(customers: int, ways: Sequence[str]) -> Iterator[SizeResult]:
    """Measure each way of running for a number of customers, the floor first."""
    print(f"\n{customers:,} customers, {3 * customers:,} accounts")
    with _extracts(Shape(customers)) as scratch:
        floors = floor(scratch / "floor", scratch / "inputs")
        yield SizeResult("floor", customers, floors, floors)
        for way in ways:
            yield SizeResult(way, customers, WAYS[way](scratch / way.replace(" ", "_"), scratch / "inputs"), floors)
        if "include.deliver" in ways:
            _print_nodes(scratch / "include.deliver" / "quality_reports")


def by_change(customers: int, changed: float) -> float:
    """Return a daily delivery's time with include.deliver, as a multiple of the floor, for a share of changed keys."""
    with _extracts(Shape(customers, changed=changed)) as scratch:
        (_, least), (_, daily) = (play(scratch / play.__name__, scratch / "inputs") for play in (floor, deliver))
    return daily.seconds / least.seconds


def by_history(customers: int, histories: Sequence[int]) -> dict[int, float]:
    """Return the median seconds of a delivery with include.deliver, for each number of deliveries before it.

    All histories are played first. Then the deliveries are timed in turn, so that a machine that becomes slower
    meanwhile slows all of them.
    """
    with _extracts(Shape(customers)) as scratch:
        folders = {count: scratch / f"after_{count}" for count in histories}
        following = {count: play_history(folder, scratch / "inputs", count) for count, folder in folders.items()}
        seconds: dict[int, list[float]] = {count: [] for count in histories}
        for turn in range(TURNS):
            for count, folder in folders.items():
                seconds[count].append(deliver_one(folder, folder / "days", following[count][turn]).seconds)
    return {count: median(found) for count, found in seconds.items()}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.run", description=__doc__)
    parser.add_argument(
        "--customers",
        type=int,
        nargs="+",
        default=[100_000, 1_000_000, 3_000_000],
        help="accounts are three times as many",
    )
    parser.add_argument("--only", nargs="+", choices=WAYS, default=list(WAYS), help="the floor is always measured")
    parser.add_argument(
        "--airflow-up-to", type=int, default=1_000_000, help="measure the DAG only up to this number of customers"
    )
    parser.add_argument(
        "--changed", type=float, nargs="*", default=[0.0001, 0.01, 0.1], help="other shares of changed keys"
    )
    parser.add_argument("--changed-customers", type=int, default=1_000_000, help="customers of these deliveries")
    parser.add_argument("--history", type=int, nargs="*", default=[1, 30, 365], help="deliveries before the ones timed")
    parser.add_argument("--history-customers", type=int, default=100_000, help="customers of these deliveries")
    parser.add_argument("--write", action="store_true", help="write docs/performance.md and its plots")
    options = parser.parse_args()

    results = Results(changed_customers=options.changed_customers, history_customers=options.history_customers)
    print(f"{'':<20} {'first':>9} {'ratio':>6}   {'daily':>9} {'ratio':>6}   {'memory':>8} {'spilled':>8}")
    for customers in options.customers:
        left_out = {"floor", *(THROUGH_AIRFLOW if customers > options.airflow_up_to else ())}
        for result in by_size(customers, [way for way in WAYS if way in options.only and way not in left_out]):
            results.sizes.append(result)
            print(result, flush=True)
    for changed in options.changed:
        results.changed[changed] = by_change(options.changed_customers, changed)
        print(f"{changed:.2%} of keys changed: {results.changed[changed]:.1f} times the floor", flush=True)
    if options.history:
        results.history = by_history(options.history_customers, options.history)
    for deliveries, seconds in results.history.items():
        print(f"after {deliveries} deliveries: {seconds:.1f} s")
    if options.write:
        print(f"written: {write_document(results)}")


def _print_nodes(reports: Path) -> None:
    """Print dbt's time for each node of the second delivery, the slowest first."""
    report = Report.load(max(reports.glob("*.json"), key=lambda path: path.stat().st_mtime_ns))
    nodes = [
        *((model.seconds or 0.0, model.kind, model.name) for model in report.models),
        *((test.seconds or 0.0, "test", test.name) for test in report.tests),
    ]
    print(f"dbt nodes of the daily delivery of include.deliver: {sum(node[0] for node in nodes):.1f} s")
    for seconds, kind, name in sorted(nodes, reverse=True)[:15]:
        print(f"  {seconds:>6.2f} s  {kind:<8} {name}")


if __name__ == "__main__":
    main()
