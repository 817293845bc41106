"""Generated sequences of deliveries, each compared with the reference model to the last row of every table.

`make test` plays a few; `make test-deep` plays new ones for a time (MINUTES=30).
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.local_warehouse import LocalWarehouse
from tests.support.play import ANY_QUALITY, ONE_HISTORY, RATES, Play, is_simplest
from tests.support.rates import as_seed, change_rates
from tests.support.settings import settings_in
from tests.support.tables import read_types

pytestmark = pytest.mark.slow

PROFILES = {
    "quick": ONE_HISTORY,
    "deep": settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck)),
}

PROFILE = PROFILES[os.environ.get("GENERATED_DELIVERIES", "quick")]


@pytest.fixture(scope="module", autouse=True)
def dated_rates(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        change_rates(lambda _: as_seed(RATES), tmp_path_factory.mktemp("rates"), patch)
        yield


@pytest.fixture(scope="module", autouse=True)
def count_deliveries() -> Iterator[None]:
    yield
    print(f"\n{Play.played} deliveries played")


@PROFILE
@given(st.data())
def test_tables_equal_the_reference_after_every_delivery(data: st.DataObject) -> None:
    if is_simplest(data):
        return
    with tempfile.TemporaryDirectory(prefix="lc_generated.") as folder:
        Play(settings_in(Path(folder), **ANY_QUALITY)).to_the_end(
            data, data.draw(st.integers(3, 5), label="deliveries")
        )


@settings(PROFILE, max_examples=max(2, PROFILE.max_examples // 5))
@given(st.data())
def test_both_engines_make_the_same_rows_of_the_same_types(warehouse: LocalWarehouse, data: st.DataObject) -> None:
    if is_simplest(data):
        return
    with tempfile.TemporaryDirectory(prefix="lc_generated.") as folder:
        engines = (
            settings_in(Path(folder, "duckdb"), **ANY_QUALITY),
            warehouse.settings(Path(folder, "databricks"), **ANY_QUALITY),
        )
        Play(*engines).to_the_end(data, deliveries=2)

        assert read_types(engines[1]) == read_types(engines[0])
