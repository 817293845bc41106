"""The local SQL warehouse as the tests of the pipeline use it: set up as docs/guides/databricks.md says."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from include.settings import PROJECT_ROOT, Settings
from local_warehouse.process import CLIENT_ID, CLIENT_SECRET, WarehouseProcess
from tests.support.settings import settings_in

GUIDE = PROJECT_ROOT / "docs" / "guides" / "databricks.md"
SCHEMA = "lc_pipeline"
"""One for all tests: dbt's parse of the project, which takes seconds, is kept for each name of a schema."""

Ask = Callable[[str], list[tuple[Any, ...]]]
"""Executes a statement and returns its rows."""

PRINCIPAL = {
    "DATABRICKS_TOKEN": "",
    "DATABRICKS_CLIENT_ID": CLIENT_ID,
    "DATABRICKS_CLIENT_SECRET": CLIENT_SECRET,
}


class LocalWarehouse(WarehouseProcess):
    """A process of the tests, with the guide's catalog."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, catalog="lending")

    def settings(self, folder: Path, **variables: str) -> Settings:
        """Return settings for an empty schema and volume, made by the statements of the guide."""
        for (name,) in self.execute("show schemas"):
            if name.startswith(SCHEMA):
                self.execute(f"drop schema {name} cascade")
        for statement in statements_of_the_guide(0):
            self.execute(statement)
        return settings_in(folder, **(self.environment(SCHEMA) | variables))

    def execute(self, statement: str) -> list[tuple[Any, ...]]:
        """Run a statement as an administrator would; return its rows."""
        with self.connect() as connection, connection.cursor() as cursor:
            cursor.execute(statement)
            return [tuple(row) for row in cursor.fetchall()]

    @contextmanager
    def faults(self, *faults: dict[str, Any]) -> Iterator[None]:
        """Make answers fail as local_warehouse/faults.py describes. Raises AssertionError if a fault has not come."""
        self.set_faults(*faults)
        try:
            yield
        finally:
            to_come = self.set_faults()
        assert to_come == []


def statements_of_the_guide(block: int) -> list[str]:
    """Return the statements of a block of SQL in the guide."""
    blocks = re.findall(r"^```sql\n(.*?)^```", GUIDE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    text = re.sub(r"--[^\n]*", "", blocks[block]).replace("<client id>", CLIENT_ID)
    return [statement.strip() for statement in text.split(";") if statement.strip()]


def rights_of_the_guide() -> list[tuple[str, str]]:
    """Return each privilege that the guide gives the principal, and on what: ("use catalog", "catalog lending")."""
    grants = [re.fullmatch(r"grant (.+) on (.+) to .+", statement) for statement in statements_of_the_guide(0)]
    return [(privilege, grant[2]) for grant in grants if grant for privilege in grant[1].split(", ")]
