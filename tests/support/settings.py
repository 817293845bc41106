"""Settings for tests: every path in a folder of the test's own."""

from __future__ import annotations

from pathlib import Path

from include.settings import Settings, load_settings

# Settings of a workspace that is nowhere, for what reads settings and connects to nothing.
DATABRICKS = {
    "DATABASE_TYPE": "databricks",
    "DATABRICKS_HOST": "https://adb.example",
    "DATABRICKS_HTTP_PATH": "/sql/1.0/warehouses/abc",
    "DATABRICKS_CATALOG": "lending",
    "DATABRICKS_SCHEMA": "lc",
    "DATABRICKS_TOKEN": "dapi-secret",
}


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
