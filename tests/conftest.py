"""Fixtures that all tests share. What tests import is in tests/support."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from include.dbt.runner import collect_garbage_less_often
from include.settings import Settings
from tests.support.settings import settings_in

if TYPE_CHECKING:
    from tests.support.local_warehouse import LocalWarehouse

collect_garbage_less_often()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Start the longest files first, so that neither of two workers is left alone with one at the end."""
    longest = (
        "test_scheduler",
        "e2e/test_alerts",
        "test_shell_blocks",
        "test_databricks",
        "test_sample_days",
        "test_generated",
        "test_columns",
        "test_the_past",
        "test_preview",
        "test_crash",
    )

    def place(item: pytest.Item) -> int:
        return next((place for place, name in enumerate(longest) if name in item.nodeid), len(longest))

    items.sort(key=place)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return settings_in(tmp_path)


@pytest.fixture(params=["duckdb", "databricks"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Settings:
    """Settings of each engine in turn."""
    if request.param == "duckdb":
        return settings_in(tmp_path)
    warehouse: LocalWarehouse = request.getfixturevalue("warehouse")
    return warehouse.settings(tmp_path)


@pytest.fixture(scope="session")
def warehouse(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalWarehouse]:
    """A local SQL warehouse for all tests of this process."""
    from tests.support.local_warehouse import LocalWarehouse

    # Each connection would read the system's certificates, a fifth of a delivery's time, though it goes by plain HTTP.
    os.environ["SSL_CERT_FILE"] = os.devnull

    warehouse = LocalWarehouse(tmp_path_factory.mktemp("warehouse"))
    warehouse.start()
    yield warehouse
    warehouse.end()
