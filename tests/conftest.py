"""What all tests share: settings that point into a folder of the test's own, and deliveries written as CSV."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from include.settings import Settings, load_settings

if TYPE_CHECKING:
    from tests.local_warehouse import LocalWarehouse

CUSTOMERS_HEADER = "CustomerID,Name,HasLoan"
ACCOUNTS_HEADER = "AccountID,CustomerID,Balance,AccountType"

# Settings of a workspace that is nowhere, for what reads settings and connects to nothing.
DATABRICKS = {
    "DATABASE_TYPE": "databricks",
    "DATABRICKS_HOST": "https://adb.example",
    "DATABRICKS_HTTP_PATH": "/sql/1.0/warehouses/abc",
    "DATABRICKS_CATALOG": "lending",
    "DATABRICKS_SCHEMA": "lc",
    "DATABRICKS_TOKEN": "dapi-secret",
}

WriteExtracts = Callable[[Iterable[str], Iterable[str]], None]


def settings_in(folder: Path, **variables: str) -> Settings:
    """Return settings whose every path is below `folder`."""
    return load_settings(
        {
            "DUCKDB_PATH": str(folder / "duckdb" / "lc_pipeline.duckdb"),
            "INPUT_PATH": str(folder / "inputs"),
            "LANDING_PATH": str(folder / "landing"),
            "OUTPUT_PATH": str(folder / "outputs"),
            "DATA_QUALITY_REPORT_PATH": str(folder / "quality_reports"),
            **variables,
        }
    )


def environment_of(settings: Settings) -> dict[str, str]:
    """Return the variables that lead another process to the same paths and the same warehouse."""
    names = ("DUCKDB_PATH", "INPUT_PATH", "LANDING_PATH", "OUTPUT_PATH", "DATA_QUALITY_REPORT_PATH")
    databricks = {name: value for name, value in settings.dbt_environment().items() if name.startswith("DATABRICKS_")}
    return {
        **{name: str(getattr(settings, name.lower())) for name in names},
        "DATABASE_TYPE": settings.database_type,
        **databricks,
    }


def day(number: int) -> datetime:
    """Return the logical date of a day of January 2026, at the hour of the schedule."""
    return datetime(2026, 1, number, 2, tzinfo=UTC)


def write_extracts(folder: Path, customers: Iterable[str], accounts: Iterable[str]) -> None:
    """Write both extracts into `folder`, from records without their headers."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "customers.csv").write_text("\n".join([CUSTOMERS_HEADER, *customers, ""]), encoding="utf-8")
    (folder / "accounts.csv").write_text("\n".join([ACCOUNTS_HEADER, *accounts, ""]), encoding="utf-8")


@contextmanager
def held_by_another_process(database: Path) -> Iterator[subprocess.Popen[str]]:
    """Let another process, which is given, hold a DuckDB file."""
    script = f"import duckdb, sys; c = duckdb.connect({str(database)!r}); print('held', flush=True); sys.stdin.read()"
    process = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    process.stdout.readline()
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let the longest files begin first, so that neither of two workers is left alone with one at the end."""
    longest = (
        "test_scheduler",
        "test_shell_blocks",
        "test_databricks",
        "test_sample_days",
        "test_generated",
        "test_crash",
    )

    def place(item: pytest.Item) -> int:
        return next((place for place, name in enumerate(longest) if name in item.nodeid), len(longest))

    items.sort(key=place)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return settings_in(tmp_path)


@pytest.fixture(scope="session")
def warehouse(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalWarehouse]:
    """A local SQL warehouse for all tests of this process."""
    from tests.local_warehouse import LocalWarehouse

    # Each connection would read the system's certificates, a fifth of a delivery's time, though it goes by plain HTTP.
    os.environ["SSL_CERT_FILE"] = os.devnull

    warehouse = LocalWarehouse(tmp_path_factory.mktemp("warehouse"))
    warehouse.start()
    yield warehouse
    warehouse.end()
