"""Generated sequences of deliveries, each compared with the reference model to the last row of every table.

`make test` plays a few; `make test-deep` plays new ones for as long as it is told to (MINUTES=30).
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, note, settings
from hypothesis import strategies as st

from include.ingestion import IngestionError
from include.pipeline import deliver
from include.rebuild import rebuild
from include.settings import Settings
from tests.conftest import day, settings_in
from tests.reference.extracts import START, Line, extracts, next_lines
from tests.reference.model import Reference
from tests.tables import read_tables

pytestmark = pytest.mark.slow

PROFILES = {
    "quick": settings(
        max_examples=2,
        derandomize=True,
        deadline=None,
        phases=(Phase.explicit, Phase.generate),  # shrinking takes minutes: test-deep does it
        suppress_health_check=list(HealthCheck),
    ),
    "deep": settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck)),
}

played = 0


@pytest.fixture(scope="module", autouse=True)
def count_deliveries() -> Iterator[None]:
    yield
    print(f"\n{played} deliveries played")


class Play:
    """One history, in a folder of its own, and the reference beside it."""

    def __init__(self, folder: Path) -> None:
        self.settings: Settings = settings_in(folder)
        self.reference = Reference()
        self.lines: dict[str, list[Line]] = dict(START)
        self.contents: dict[str, bytes] = {}
        self.day = 4
        self.delivered_at: datetime | None = None
        self.runs = 0

    def run(self, *, full_refresh: bool = False) -> None:
        global played
        played += 1
        self.runs += 1
        deliver(
            self.settings,
            logical_date=day(self.day),
            run_id=f"run_{self.runs}",
            accept_row_drop=True,
            full_refresh=full_refresh,
        )

    def next_delivery(self, data: st.DataObject) -> None:
        self.settings.input_path.mkdir(parents=True, exist_ok=True)
        correction = self.runs > 0 and data.draw(st.integers(0, 4), label="correction when 0") == 0
        self.day += not correction
        contents, records = {}, {}
        for file in START:
            self.lines[file] = data.draw(next_lines(file, self.lines[file]))
            extract = data.draw(extracts(file, self.lines[file]))
            contents[file], records[file] = extract.content, extract.records
            (self.settings.input_path / f"{file}.csv").write_bytes(extract.content)
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

    def compare(self, *, without_calculated_at: bool = False) -> None:
        found = read_tables(self.settings, without=("dbt_scd_id",))
        differing = []
        for table, expected in self.reference.tables().items():
            columns, *rows = found[table]
            if without_calculated_at and columns[-1] == "calculated_at":
                rows, expected = ([row[:-1] for row in part] for part in (rows, expected))
            differing += [f"{table}: expected, not found: {row}" for row in expected if row not in rows]
            differing += [f"{table}: found, not expected: {row}" for row in rows if row not in expected]
            differing += [f"{table}: {len(rows)} rows, {len(expected)} expected"] * (len(rows) != len(expected))
        assert not differing, "\n".join(differing)

    def older_is_refused(self) -> None:
        before = self.settings.duckdb_path.read_bytes()
        with pytest.raises(IngestionError, match="older than the last processed one"):
            deliver(self.settings, logical_date=day(self.day - 1), run_id="older")
        assert self.settings.duckdb_path.read_bytes() == before


@PROFILES[os.environ.get("GENERATED_DELIVERIES", "quick")]
@given(st.data())
def test_tables_equal_the_reference_after_every_delivery(data: st.DataObject) -> None:
    folder = Path(tempfile.mkdtemp(prefix="lc_generated."))
    try:
        play = Play(folder / "live")
        for _ in range(data.draw(st.integers(3, 5), label="deliveries")):
            play.next_delivery(data)
        play.older_is_refused()

        play.settings.duckdb_path.unlink()
        rebuild(play.settings)
        play.compare()

        play.run(full_refresh=True)
        play.compare(without_calculated_at=True)
    finally:
        shutil.rmtree(folder)
