"""Paths in DuckDB's SQL, taken literally, whatever characters they contain.

By default DuckDB's readers treat `*`, `?` and `[` as patterns, and a folder `name=Bob` as a column `name`.
dbt/macros/engine/landing.sql does the same for dbt.
"""

from __future__ import annotations

import glob
from pathlib import Path

from include import quoting


def literal(path: Path) -> str:
    """Return a path as a literal for `copy ... to` and `attach`, which have no patterns."""
    return quoting.literal(str(path))


def read(format_: str, path: Path, options: str = "") -> str:
    """Return a call of read_csv, read_parquet, ... that reads this one file; `options` as in `header = true`."""
    pattern = literal(Path(glob.escape(str(path))))
    return f"read_{format_}({pattern}, hive_partitioning = false{', ' if options else ''}{options})"
