"""One warehouse for all tests that don't kill it, and a schema of its own for each."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterator
from typing import Any

import pytest
from databricks.sql.client import Connection

from local_warehouse.process import WarehouseProcess
from tests.support.local_warehouse import Ask

_NUMBERS = itertools.count()

logging.getLogger("databricks.sql").setLevel(logging.WARNING)  # it would show every answer's bytes with a failure


@pytest.fixture(scope="session")
def warehouse(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WarehouseProcess]:
    process = WarehouseProcess(tmp_path_factory.mktemp("warehouse")).start()
    yield process
    assert process.end() == 0


@pytest.fixture
def schema(warehouse: WarehouseProcess) -> str:
    """The name of an empty schema."""
    name = f"test_{next(_NUMBERS)}"
    with warehouse.connect() as connection, connection.cursor() as cursor:
        cursor.execute(f"create schema {name}")
    return name


@pytest.fixture
def connection(warehouse: WarehouseProcess, schema: str) -> Iterator[Connection]:
    with warehouse.connect(schema=schema) as connection:
        yield connection


@pytest.fixture
def ask(connection: Connection) -> Ask:
    """Execute a statement in the test's schema and return its rows as tuples."""

    def execute(statement: str) -> list[tuple[Any, ...]]:
        with connection.cursor() as cursor:
            cursor.execute(statement)
            return [tuple(row) for row in cursor.fetchall()]

    return execute
