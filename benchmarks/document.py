"""Writes the results of the benchmark as docs/performance.md, with two plots (SVG)."""

from __future__ import annotations

import math
import os
import platform
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

from benchmarks.results import GIB, Results, SizeResult
from benchmarks.ways import TURNS
from include.settings import PROJECT_ROOT

DOCUMENT = PROJECT_ROOT / "docs" / "performance.md"
PLOTS = PROJECT_ROOT / "docs" / "images"

COLOURS = {
    "floor": "#767676",
    "include.deliver": "#2a5db0",
    "dbt build": "#2e7d32",
    "airflow dags test": "#b26a00",
    "scheduler": "#a2337d",
}

TEXT = """# Performance

`make benchmark` writes this page. It plays a first and a daily delivery of generated extracts in each way of running
the pipeline, beside the **floor**: a hand-written DuckDB script ([benchmarks/floor.py](../benchmarks/floor.py)) that
does the same job without contracts, tests, crash safety or Databricks. All rows of a table are from one run on one
machine, so compare the ratios and not the seconds. Times include the start of each process, except under the scheduler,
where they are those of the DAG run.

This run: {cores} cores, {memory:.0f} GiB of memory, Python {python}, DuckDB {duckdb}, dbt-core {dbt},
Airflow {airflow}.

## By size

Accounts are three times as many as customers, 0.2 % of the records are dirty, and 0.1 % of the keys change on the
second day. *Memory* is the peak of the largest process; in all but the floor, DuckDB may use `DUCKDB_MEMORY_LIMIT`, by
default half of the machine's memory. *Spilled* is what DuckDB had on disk at most. Large sizes are measured without
Airflow (`--airflow-up-to`).

{sizes}

![Seconds of the daily delivery by number of customers](images/benchmark_time.svg)

![Peak memory by number of customers](images/benchmark_memory.svg)

## By share of changed keys

`include.deliver`, {changed_customers:,} customers, daily delivery:

{changed}

## By history

`include.deliver`, {history_customers:,} customers: the median of {turns} deliveries after others. Each delivery changes
0.1 % of the keys. The rows are timed in turn.

{history}

## The earlier Dagster version

It ran one `dbt build` in one asset. When it was measured, bare `dbt build` took 34 s and a run through Dagster 108 s,
where the floor of that day took 6.2 s: 5.5 and 17.4 times the floor.
"""


def write_document(results: Results) -> Path:
    """Write the page and its plots; return the page's path."""
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    text = TEXT.format(
        cores=os.cpu_count(),
        memory=pages / GIB,
        python=platform.python_version(),
        duckdb=version("duckdb"),
        dbt=version("dbt-core"),
        airflow=version("apache-airflow"),
        sizes=_table(
            ("customers", "way", "first", "× floor", "daily", "× floor", "memory", "spilled"), map(_row, results.sizes)
        ),
        changed_customers=results.changed_customers,
        changed=_table(
            ("keys changed", "× floor"), ((f"{share:.2%}", f"{ratio:.1f}") for share, ratio in results.changed.items())
        ),
        history_customers=results.history_customers,
        turns=TURNS,
        history=_table(
            ("deliveries before", "seconds", "× the first row"),
            (
                (str(count), f"{seconds:.1f}", f"{seconds / next(iter(results.history.values())):.2f}")
                for count, seconds in results.history.items()
            ),
        ),
    )
    DOCUMENT.write_text(text, encoding="utf-8")
    _write_plot("benchmark_time.svg", "seconds, daily delivery", results.sizes, lambda result: result.costs[1].seconds)
    _write_plot("benchmark_memory.svg", "GiB, peak of the largest process", results.sizes, lambda result: result.memory)
    return DOCUMENT


def _row(result: SizeResult) -> tuple[str, ...]:
    memory = ("", "") if result.memory is None else (f"{result.memory:.1f} GiB", f"{result.spilled:.1f} GiB")
    (first, daily), (first_ratio, daily_ratio) = result.costs, result.ratios
    return (
        f"{result.customers:,}",
        result.way,
        f"{first.seconds:.1f} s",
        f"{first_ratio:.1f}",
        f"{daily.seconds:.1f} s",
        f"{daily_ratio:.1f}",
        *memory,
    )


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(row)} |" for row in (header, ["---"] * len(header), *rows))


def _write_plot(
    name: str, label: str, results: Sequence[SizeResult], value: Callable[[SizeResult], float | None]
) -> None:
    """Write a plot of a value against the number of customers, both axes logarithmic, one line for each way."""
    lines: dict[str, list[tuple[int, float]]] = {}
    for result in results:
        found = value(result)
        if found is not None:
            lines.setdefault(result.way, []).append((result.customers, found))
    (PLOTS / name).write_text(plot(lines, label), encoding="utf-8")


def plot(lines: Mapping[str, Sequence[tuple[int, float]]], label: str) -> str:
    """Return an SVG of lines through (customers, value), with its own background so that it is readable on any page."""
    points = [point for line in lines.values() for point in line]
    across = _axis([x for x, _ in points], 70, 560)
    upwards = _axis([y for _, y in points], 330, 50)
    ticks_x = sorted({x for x, _ in points})
    ticks_y = [
        factor * 10.0**power
        for power in range(-2, 5)
        for factor in (1, 2, 5)
        if min(y for _, y in points) * 0.8 <= factor * 10.0**power <= max(y for _, y in points) * 1.25
    ]
    parts = [
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 720 390" role="img" font-family="sans-serif" '
        'font-size="13">',
        f"<title>{label} by number of customers</title>",
        '<rect width="720" height="390" fill="#ffffff"/>',
        f'<text x="70" y="28" fill="#333333">{label}</text>',
        *(
            f'<line x1="70" x2="560" y1="{upwards(tick):.1f}" y2="{upwards(tick):.1f}" stroke="#e2e2e2"/>'
            f'<text x="62" y="{upwards(tick) + 4:.1f}" text-anchor="end" fill="#555555">{tick:g}</text>'
            for tick in ticks_y
        ),
        *(
            f'<text x="{across(tick):.1f}" y="354" text-anchor="middle" fill="#555555">{tick:,}</text>'
            for tick in ticks_x
        ),
        '<text x="315" y="378" text-anchor="middle" fill="#333333">customers</text>',
    ]
    labels = _spread({way: upwards(line[-1][1]) for way, line in lines.items()})
    for way, line in lines.items():
        colour = COLOURS[way]
        path = " ".join(f"{across(x):.1f},{upwards(y):.1f}" for x, y in line)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [f'<circle cx="{across(x):.1f}" cy="{upwards(y):.1f}" r="3.5" fill="{colour}"/>' for x, y in line]
        parts.append(f'<text x="572" y="{labels[way] + 4:.1f}" fill="{colour}">{way}</text>')
    return "\n".join([*parts, "</svg>", ""])


def _axis(values: Sequence[float], begin: float, end: float) -> Callable[[float], float]:
    """Return a function from a value to its position, with a little room at both ends."""
    low, high = math.log(min(values)) - 0.15, math.log(max(values)) + 0.15
    return lambda value: begin + (math.log(value) - low) / (high - low) * (end - begin)


def _spread(places: Mapping[str, float]) -> dict[str, float]:
    """Move labels apart, from top to bottom, so that they don't overlap."""
    moved: dict[str, float] = {}
    lowest = -math.inf
    for way, place in sorted(places.items(), key=lambda item: item[1]):
        lowest = moved[way] = max(place, lowest + 16)
    return moved
