"""What the sample days must give, for people to read and review: tests/e2e/expected/sample_days.md.

`make expected` writes it. The other tables are compared with the reference model and between the engines.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from pathlib import Path

from include.pipeline import deliver
from include.settings import PROJECT_ROOT, Settings
from tests.support.settings import settings_in
from tests.support.stages import DAYS
from tests.support.tables import Table, read_table

PATH = PROJECT_ROOT / "tests" / "e2e" / "expected" / "sample_days.md"
TABLES = (
    "quarantine_customer",
    "quarantine_account",
    "snap_customer",
    "snap_account",
    "account_summary",
    "customer_profile",
)


def expected_rows(day: str, table: str) -> str:
    """Return the rows of a table after a day, as as_markdown() writes them."""
    sections = re.split(r"^## (.+)\n+", PATH.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return dict(zip(sections[1::2], sections[2::2], strict=True))[f"{day}, {table}"].strip()


def actual_rows(settings: Settings, table: str) -> str:
    """Return a table's rows as as_markdown() writes them, without the key that dbt makes of a version."""
    return as_markdown(read_table(settings, table, without=("dbt_scd_id",)))


def as_markdown(table: Table) -> str:
    """Write a table of text as a Markdown table; a line break within a value is shown as `\\n`."""
    rows = [[value.replace("|", "\\|").replace("\n", "\\n") for value in row] for row in table]
    return "\n".join(f"| {' | '.join(row)} |" for row in [rows[0], ["---"] * len(rows[0]), *rows[1:]])


def main() -> None:
    """Play the sample days in a scratch folder and write what they give."""
    parts = ["# What the sample days must give\n", "Written by `make expected`: review each change of it.\n"]
    with tempfile.TemporaryDirectory() as folder:
        settings = settings_in(Path(folder))
        shutil.copytree(PROJECT_ROOT / "data" / "inputs", settings.input_path)
        for day, time in DAYS.items():
            deliver(settings, logical_date=time, run_id=day)
            parts += [f"## {day}, {table}\n\n{actual_rows(settings, table)}\n" for table in TABLES]
    PATH.write_text("\n".join(parts), encoding="utf-8")


if __name__ == "__main__":
    main()
