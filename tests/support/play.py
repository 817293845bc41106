"""A generated history, played on one engine or more beside the reference model."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import ClassVar

import pytest
from hypothesis import HealthCheck, Phase, note, settings
from hypothesis import strategies as st

from include.ingestion import IngestionError
from include.pipeline import deliver
from include.rebuild import rebuild
from include.settings import Settings
from include.warehouse import open_warehouse
from tests.support.deliveries import day
from tests.support.generated_extracts import START, Line, extracts, next_lines
from tests.support.reference_model import Rates, Reference
from tests.support.tables import read_tables, rows_like

RATES = (
    Rates(None, (("20000", "0.02"), ("10000", "0.015"), ("0", "0.01")), "0.005"),
    Rates(date(2026, 1, 6), (("5000.50", "0.0250"), ("0", "0.0001")), "0.0075"),
    Rates(date(2026, 1, 8), (("33", "0.02"), ("0", "0.0001")), "0"),
)
"""Sets that take turns while the days from 2026-01-05 on are played."""

ANY_QUALITY = {"MAX_QUARANTINE_PCT": "100"}
"""Most of what is generated is wrong; the model says what becomes of it in the tables."""


ONE_HISTORY = settings(
    max_examples=2,  # the first one is always the simplest: see is_simplest()
    derandomize=True,
    deadline=None,
    phases=(Phase.explicit, Phase.generate),  # shrinking takes minutes: test-deep does it
    suppress_health_check=list(HealthCheck),
)
"""One history, the same each time."""


def is_simplest(data: st.DataObject) -> bool:
    """Return True if this is the example that Hypothesis begins with, whose files are all but empty: it shows nothing.

    To be drawn first.
    """
    return data.draw(st.integers(0, 999), label="simplest when 0") == 0


class Play:
    """One history on one engine or more, each in a folder of its own, and the reference beside it."""

    played: ClassVar[int] = 0
    """Deliveries of all histories, on each engine."""

    def __init__(self, *engines: Settings) -> None:
        self.engines = engines
        self.reference = Reference(RATES)
        self.lines: dict[str, list[Line]] = dict(START)
        self.contents: dict[str, bytes] = {}
        self.day = 4
        self.delivered_at: datetime | None = None
        self.runs = 0

    def run(self, *, full_refresh: bool = False) -> None:
        self.runs += 1
        for engine in self.engines:
            Play.played += 1
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
