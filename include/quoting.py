"""Quotes names and strings for SQL, whatever characters they contain."""

from __future__ import annotations

BACKTICK = "`"
"""Databricks' quotation mark for names."""


def quoted(*names: str, mark: str = '"') -> str:
    """Return a qualified name, each part between marks: DuckDB's double quotes, or Databricks' backticks."""
    return ".".join(f"{mark}{name.replace(mark, mark * 2)}{mark}" for name in names)


def portable_literal(text: str) -> str:
    """Return a string as an expression for both engines. On Databricks a backslash in a literal is an escape."""
    parts = [literal(part) for part in text.split("\\")]
    return parts[0] if len(parts) == 1 else f"concat({', chr(92), '.join(parts)})"


def literal(text: str) -> str:
    """Return a string; on Databricks a backslash in it would be an escape."""
    return "'" + text.replace("'", "''") + "'"
