"""Generated sequences of deliveries, each compared with the reference model to the last row of every table.

`make test` plays a few; `make test-deep` plays new ones for a time (MINUTES=30).
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, note, settings
from hypothesis import strategies as st

from include.ingestion import IngestionError
from include.pipeline import deliver
from include.rebuild import rebuild
from include.settings import Settings
from include.warehouse import open_warehouse
from tests.support.deliveries import day
from tests.support.generated_extracts import START, Line, extracts, next_lines
from tests.support.local_warehouse import LocalWarehouse
from tests.support.rates import as_seed, change_rates
from tests.support.reference_model import Rates, Reference
from tests.support.settings import settings_in
from tests.support.tables import read_tables, read_types, rows_like

pytestmark = pytest.mark.slow

PROFILES = {
    "quick": settings(
        max_examples=1,
        derandomize=True,
        deadline=None,
        phases=(Phase.explicit, Phase.generate),  # shrinking takes minutes: test-deep does it
        suppress_health_check=list(HealthCheck),
    ),
    "deep": settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck)),
}

PROFILE = PROFILES[os.environ.get("GENERATED_DELIVERIES", "quick")]

RATES = (
    Rates(None, (("20000", "0.02"), ("10000", "0.015"), ("0", "0.01")), "0.005"),
    Rates(date(2026, 1, 6), (("5000.50", "0.0250"), ("0", "0.0001")), "0.0075"),
    Rates(date(2026, 1, 8), (("33", "0.02"), ("0", "0.0001")), "0"),
)
"""Sets that take turns while the days from 2026-01-05 on are played."""

ANY_QUALITY = {"MAX_QUARANTINE_PCT": "100"}
"""Most of what is generated is wrong; the model tells what becomes of it in the tables."""

played = 0


@pytest.fixture(scope="module", autouse=True)
def dated_rates(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        change_rates(lambda _: as_seed(RATES), tmp_path_factory.mktemp("rates"), patch)
        yield


@pytest.fixture(scope="module", autouse=True)
def count_deliveries() -> Iterator[None]:
    yield
    print(f"\n{played} deliveries played")


class Play:
    """One history on one engine or more, each in a folder of its own, and the reference beside it."""

    def __init__(self, *engines: Settings) -> None:
        self.engines = engines
        self.reference = Reference(RATES)
        self.lines: dict[str, list[Line]] = dict(START)
        self.contents: dict[str, bytes] = {}
        self.day = 4
        self.delivered_at: datetime | None = None
        self.runs = 0

    def run(self, *, full_refresh: bool = False) -> None:
        global played
        self.runs += 1
        for engine in self.engines:
            played += 1
            deliver(
                engine,
                logical_date=day(self.day),
                run_id=f"run_{self.runs}",
                accept_row_drop=True,
                full_refresh=full_refresh,
            )

    def next_delivery(self, data: st.DataObject) -> None:
        correction = self.runs > 0 and data.draw(st.integers(0, 4), label="correction when 0") == 0
        self.day += not correction
        contents, records = {}, {}
        for file in START:
            self.lines[file] = data.draw(next_lines(file, self.lines[file]))
            extract = data.draw(extracts(file, self.lines[file]))
            contents[file], records[file] = extract.content, extract.records
            for engine in self.engines:
                engine.input_path.mkdir(parents=True, exist_ok=True)
                (engine.input_path / f"{file}.csv").write_bytes(extract.content)
            note(f"day {self.day}, {file}: {extract.content.decode()!r}")
        if not (correction and contents == self.contents):
            now = day(self.day).replace(tzinfo=None)
            if correction and self.delivered_at:
                now = self.delivered_at + timedelta(microseconds=1)
            self.reference.deliver(now, records["customers"], records["accounts"])
            self.delivered_at = now
        self.contents = contents
        self.run()
        self.compare()

    def compare(self, *, without: tuple[str, ...] = ()) -> None:
        differing = []
        for engine in self.engines:
            found = read_tables(engine, without=("dbt_scd_id", *without))
            for table, known in self.reference.tables().items():
                columns, *rows = found[table]
                expected = rows_like(
                    columns, [{name: row[name] for name in row if name not in without} for row in known]
                )
                name = f"{engine.database_type}, {table}"
                differing += [f"{name}: expected, not found: {row}" for row in expected if row not in rows]
                differing += [f"{name}: found, not expected: {row}" for row in rows if row not in expected]
                differing += [f"{name}: {len(rows)} rows, {len(expected)} expected"] * (len(rows) != len(expected))
        assert not differing, "\n".join(differing)

    def older_is_refused(self) -> None:
        for engine in self.engines:
            with pytest.raises(IngestionError, match="older than the last processed one"):
                deliver(engine, logical_date=day(self.day - 1), run_id="older")
        self.compare()

    def to_the_end(self, data: st.DataObject, deliveries: int) -> None:
        for _ in range(deliveries):
            self.next_delivery(data)
        self.older_is_refused()

        for engine in self.engines:
            open_warehouse(engine).clear()
            rebuild(engine)
        self.compare()

        self.run(full_refresh=True)
        self.compare(without=("calculated_at",))


@PROFILE
@given(st.data())
def test_tables_equal_the_reference_after_every_delivery(data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory(prefix="lc_generated.") as folder:
        Play(settings_in(Path(folder), **ANY_QUALITY)).to_the_end(
            data, data.draw(st.integers(3, 5), label="deliveries")
        )


@settings(PROFILE, max_examples=max(1, PROFILE.max_examples // 5))
@given(st.data())
def test_both_engines_make_the_same_rows_of_the_same_types(warehouse: LocalWarehouse, data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory(prefix="lc_generated.") as folder:
        engines = (
            settings_in(Path(folder, "duckdb"), **ANY_QUALITY),
            warehouse.settings(Path(folder, "databricks"), **ANY_QUALITY),
        )
        Play(*engines).to_the_end(data, deliveries=2)

        assert read_types(engines[1]) == read_types(engines[0])
