"""Names and strings in SQL, whatever characters they have."""

from __future__ import annotations

BACKTICK = "`"
"""What Databricks has around a name."""


def quoted(*names: str, mark: str = '"') -> str:
    """Return a qualified name, each part between marks: DuckDB's double quotes, or Databricks' backticks."""
    return ".".join(f"{mark}{name.replace(mark, mark * 2)}{mark}" for name in names)


def literal(text: str) -> str:
    """Return a string; on Databricks a backslash in it would be an escape."""
    return "'" + text.replace("'", "''") + "'"
