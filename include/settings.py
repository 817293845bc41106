"""The pipeline's settings: read from the environment and `.env` in this one place, validated, handed on as values."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeVar

from dotenv import dotenv_values

from include.errors import PipelineError

PROJECT_ROOT = Path(__file__).resolve().parent.parent

DatabaseType = Literal["duckdb", "databricks"]
DBT_TARGETS: dict[DatabaseType, str] = {"duckdb": "dev", "databricks": "prod"}

T = TypeVar("T")


class SettingsError(PipelineError):
    """Settings are missing or wrong; the message has one line for each variable."""


@dataclass(frozen=True)
class DatabricksSettings:
    """How to reach the SQL warehouse, and where in Unity Catalog the tables are."""

    host: str
    http_path: str
    catalog: str
    schema: str
    token: str = field(repr=False)


@dataclass(frozen=True)
class Settings:
    """Settings of one environment (design, section 8). Paths are absolute."""

    database_type: DatabaseType
    dbt_target: str
    duckdb_path: Path
    input_path: Path
    landing_path: Path
    output_path: Path
    data_quality_report_path: Path
    incremental_lookback_days: int
    max_row_drop_pct: float
    databricks: DatabricksSettings | None = None

    def dbt_environment(self) -> dict[str, str]:
        """Return the variables that dbt/profiles.yml and the macros read, paths absolute, secrets included."""
        environment = {
            "DBT_TARGET": self.dbt_target,
            "DUCKDB_PATH": str(self.duckdb_path),
            "LANDING_PATH": str(self.landing_path),
            "INCREMENTAL_LOOKBACK_DAYS": str(self.incremental_lookback_days),
        }
        if self.databricks:
            environment |= {
                "DATABRICKS_HOST": self.databricks.host,
                "DATABRICKS_HTTP_PATH": self.databricks.http_path,
                "DATABRICKS_CATALOG": self.databricks.catalog,
                "DATABRICKS_SCHEMA": self.databricks.schema,
                "DATABRICKS_TOKEN": self.databricks.token,
            }
        return environment


def load_settings(environ: Mapping[str, str] | None = None) -> Settings:
    """Read the settings from `environ`, by default the process environment over the repository's `.env`.

    A variable set to nothing counts as not set; relative paths start at the repository's folder. Raises SettingsError
    naming every variable that is missing or wrong and what was expected.
    """
    if environ is None:
        environ = {name: value or "" for name, value in dotenv_values(PROJECT_ROOT / ".env").items()} | dict(os.environ)
    reader = _Reader(environ)

    database_type: DatabaseType = reader.read("DATABASE_TYPE", "duckdb", _one_of(*DBT_TARGETS), "duckdb")
    target = DBT_TARGETS[database_type]
    settings = Settings(
        database_type=database_type,
        dbt_target=reader.read(
            "DBT_TARGET", target, _one_of(target, why=f" since DATABASE_TYPE is {database_type}"), target
        ),
        duckdb_path=reader.path("DUCKDB_PATH", "data/duckdb/lc_pipeline.duckdb"),
        input_path=reader.path("INPUT_PATH", "data/inputs"),
        landing_path=reader.path("LANDING_PATH", "data/landing"),
        output_path=reader.path("OUTPUT_PATH", "data/outputs"),
        data_quality_report_path=reader.path("DATA_QUALITY_REPORT_PATH", "data/quality_reports"),
        incremental_lookback_days=reader.read("INCREMENTAL_LOOKBACK_DAYS", "3", _whole_number, 0),
        max_row_drop_pct=reader.read("MAX_ROW_DROP_PCT", "50", _percentage, 0.0),
        databricks=_databricks(reader) if database_type == "databricks" else None,
    )
    if reader.errors:
        raise SettingsError("\n".join(reader.errors))
    return settings


def _databricks(reader: _Reader) -> DatabricksSettings:
    return DatabricksSettings(
        host=reader.required("DATABRICKS_HOST"),
        http_path=reader.required("DATABRICKS_HTTP_PATH"),
        catalog=reader.required("DATABRICKS_CATALOG"),
        schema=reader.required("DATABRICKS_SCHEMA"),
        token=reader.required("DATABRICKS_TOKEN"),
    )


class _Reader:
    """Reads variables one by one and collects what is wrong, so that all of it is told at once."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self.environ = environ
        self.errors: list[str] = []

    def read(self, name: str, default: str, convert: Callable[[str], T], otherwise: T) -> T:
        try:
            return convert(self.environ.get(name, "").strip() or default)
        except ValueError as error:
            self.errors.append(f"{name} {error}")
            return otherwise

    def path(self, name: str, default: str) -> Path:
        return Path(os.path.normpath(PROJECT_ROOT / Path(self.environ.get(name, "").strip() or default).expanduser()))

    def required(self, name: str) -> str:
        value = self.environ.get(name, "").strip()
        if not value:
            self.errors.append(f"{name} is missing: DATABASE_TYPE=databricks needs it")
        return value


def _one_of(*allowed: T, why: str = "") -> Callable[[str], T]:
    def convert(value: str) -> T:
        for choice in allowed:
            if choice == value:
                return choice
        raise ValueError(f"must be {' or '.join(map(str, allowed))}{why}, but is {value!r}")

    return convert


def _whole_number(value: str) -> int:
    if not re.fullmatch(r"[0-9]{1,6}", value):
        raise ValueError(f"must be a whole number of days, 0 or more, but is {value!r}")
    return int(value)


def _percentage(value: str) -> float:
    if not re.fullmatch(r"[0-9]+(\.[0-9]+)?", value) or float(value) > 100:
        raise ValueError(f"must be a percentage from 0 to 100, but is {value!r}")
    return float(value)
