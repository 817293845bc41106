"""Measure how long an explanation takes after a year of deliveries: `python -m benchmarks.past`.

Plays two days with include.deliver, then extends the landing to `--deliveries` with copies of their files, and times
`python -m include.explain` `--times` times, including the start of the process.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from benchmarks.extracts import Shape, write_days
from benchmarks.ways import data_in, deliver, measure
from include.files import replacing
from include.ledger import FILE_NAMES, Delivery, Ledger


def grow(landing: Path, deliveries: int) -> None:
    """Copy the last delivery of a landing, an hour later each time, until there are that many deliveries."""
    ledger = Ledger.load(landing)
    entries = list(ledger.entries)
    for number in range(deliveries - len(entries)):
        entries.append(_copy(landing, ledger.entries[-1], number + 1))
    with replacing(ledger.path) as temporary:
        temporary.write_text("".join(f"{json.dumps(entry.to_json())}\n" for entry in entries), encoding="utf-8")


def _copy(landing: Path, delivery: Delivery, number: int) -> Delivery:
    later = timedelta(hours=number)
    files = {}
    for name in FILE_NAMES:
        record = delivery.file(name)
        path = f"{name}/copy_{number}.parquet"
        shutil.copyfile(landing / record.path, landing / path)
        files[name] = replace(record, path=path)
    logical_date, delivered_at = delivery.logical_date + later, delivery.delivered_at + later
    return Delivery(logical_date, delivered_at, delivery.state, delivery.run_id, **files)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.past", description=__doc__)
    parser.add_argument("--customers", type=int, default=1_000_000, help="accounts are three times as many")
    parser.add_argument("--deliveries", type=int, default=365)
    parser.add_argument("--times", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="lc_benchmark.") as name:
        folder = Path(name)
        write_days(folder / "inputs", Shape(options.customers))
        deliver(folder / "data", folder / "inputs")
        grow(folder / "data" / "landing", options.deliveries)
        size = sum(path.stat().st_size for path in (folder / "data" / "landing").rglob("*.parquet"))
        print(f"{options.customers:,} customers, {3 * options.customers:,} accounts, {options.deliveries} deliveries")
        print(f"landing: {size / 1e9:.1f} GB")
        for entity, key in (("account", f"A{options.customers}"), ("customer", str(options.customers // 2))):
            for _ in range(options.times):
                cost = measure(
                    [sys.executable, "-m", "include.explain", entity, key],
                    data_in(folder / "data", folder / "inputs"),
                    data=folder / "data",
                )
                memory = f"{(cost.peak_bytes or 0) / 2**30:.2f} GiB"
                print(f"explain {entity} {key:<10} {cost.seconds:>6.1f} s  {memory}", flush=True)


if __name__ == "__main__":
    main()
