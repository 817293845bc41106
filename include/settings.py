"""The pipeline's settings: read from the environment and `.env` and validated, only here.

Code that runs without Airflow imports this module too, so Airflow is imported only to read a connection.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import time
from importlib.util import find_spec
from io import StringIO
from pathlib import Path
from typing import Any, Literal, TypeVar

from dotenv.parser import parse_stream

from include.errors import PipelineError
from include.layers import SCHEMAS

PROJECT_ROOT = Path(__file__).resolve().parent.parent

DEFAULT_MEMORY_LIMIT = "50%"
"""Share of the machine's or container's memory. The other half is for Python, dbt and the file system's cache."""

DatabaseType = Literal["duckdb", "databricks"]
DBT_TARGETS: dict[DatabaseType, str] = {"duckdb": "dev", "databricks": "prod"}

_TAKEN_DATABASE_NAMES = ("main", "temp", "system", "information_schema", *(f"main_{name}" for name in SCHEMAS))
"""Names of DuckDB's own databases and schemas, and of dbt's schemas."""

T = TypeVar("T")


class SettingsError(PipelineError):
    """Settings are missing or wrong. The message has one line per variable."""


@dataclass(frozen=True)
class DatabricksSettings:
    """How to reach the SQL warehouse, and where in Unity Catalog the tables and the landing are.

    Credentials are a personal access `token`, or a service principal's `client_id` and `client_secret` (OAuth
    machine-to-machine). `conn_id` names an Airflow connection for the values that are empty. `threads` is the number of
    dbt threads, and of tasks at a time. The host of a local warehouse includes scheme and port: http://127.0.0.1:8899.
    """

    host: str
    http_path: str
    catalog: str
    schema: str
    volume: str
    token: str = field(default="", repr=False)
    client_id: str = ""
    client_secret: str = field(default="", repr=False)
    conn_id: str = ""
    threads: int = 4
    liquid_clustering: bool = False

    @property
    def url(self) -> str:
        """The workspace's address: https, except for a local warehouse."""
        return self.host if "://" in self.host else f"https://{self.host}"

    @property
    def connection_uri(self) -> str:
        """The address of a local warehouse, which connector and dbt can't build from host and path; otherwise empty."""
        return f"{self.url}/{self.http_path.lstrip('/')}" if self.url.startswith("http://") else ""

    def for_rebuild(self) -> DatabricksSettings:
        """Return the same settings with other schemas and another folder, in which a rebuild makes the history."""
        return replace(self, schema=f"{self.schema}_rebuild", volume=f"{self.volume}/rebuild")

    def with_connection(self) -> DatabricksSettings:
        """Return these settings with empty values filled in from the Airflow connection `conn_id`.

        They are read as the provider does: the host; http_path from the extras; a token from the password or the extra
        `token`; or, with the extra `service_principal_oauth`, client id and secret from login and password. Raises
        SettingsError, which names what is missing in both.
        """
        if not self.conn_id:
            return self
        from airflow.sdk import BaseHook

        connection = BaseHook.get_connection(self.conn_id)
        extra = connection.extra_dejson
        is_principal = bool(extra.get("service_principal_oauth"))
        own = bool(self.token or self.client_id)
        host = connection.host or extra.get("host", "")
        try:
            host = self.host or (host and _host(host))
        except ValueError as error:
            raise SettingsError(f"the host of the Airflow connection {self.conn_id!r} {error}") from None
        found = replace(
            self,
            host=host,
            http_path=self.http_path or extra.get("http_path", ""),
            token=self.token if own or is_principal else connection.password or extra.get("token", ""),
            client_id=self.client_id if own or not is_principal else connection.login or "",
            client_secret=self.client_secret if own or not is_principal else connection.password or "",
        )
        missing = [name for name in ("host", "http_path") if not getattr(found, name)]
        if not found.token and not (found.client_id and found.client_secret):
            missing.append("password (a token, or a client secret with login and service_principal_oauth)")
        if missing:
            raise SettingsError(f"the Airflow connection {self.conn_id!r} lacks {', '.join(missing)}")
        return found


@dataclass(frozen=True)
class AlertSettings:
    """Who gets alerts, and by when a delivery must be published.

    `notifier` is the import path of an Airflow notifier, `notifier_args` are its arguments. `deadline` is a time of day
    in UTC.
    """

    email: tuple[str, ...] = ()
    notifier: str = ""
    notifier_args: dict[str, Any] = field(default_factory=dict, repr=False)
    deadline: time | None = None

    @property
    def on(self) -> bool:
        """True if anybody gets alerts."""
        return bool(self.email or self.notifier)


@dataclass(frozen=True)
class Settings:
    """Settings of one environment (docs/guides/configuration.md). Paths are absolute."""

    database_type: DatabaseType
    dbt_target: str
    duckdb_path: Path
    duckdb_memory_limit: str
    input_path: Path
    landing_path: Path
    output_path: Path
    data_quality_report_path: Path
    max_row_drop_pct: float
    max_quarantine_pct: float
    max_file_age_hours: float | None = None
    keep_exports: int = 2
    databricks: DatabricksSettings | None = None
    alerts: AlertSettings = AlertSettings()

    def connected(self) -> Settings:
        """Return the settings with credentials filled in (see DatabricksSettings.with_connection).

        This asks Airflow, so call it in tasks and not while the DAG is parsed.
        """
        return replace(self, databricks=self.databricks.with_connection()) if self.databricks else self

    def dbt_environment(self) -> dict[str, str]:
        """Return the variables that dbt/profiles.yml and the macros read, paths absolute, secrets included."""
        environment = {
            "DBT_TARGET": self.dbt_target,
            "DUCKDB_PATH": str(self.duckdb_path),
            "DUCKDB_MEMORY_LIMIT": self.duckdb_memory_limit,
            "LANDING_PATH": str(self.landing_path),
            "MAX_QUARANTINE_PCT": str(self.max_quarantine_pct),
        }
        if self.databricks:
            local = self.databricks.connection_uri
            environment |= {
                "DATABRICKS_HOST": "" if local else self.databricks.host,
                "DATABRICKS_HTTP_PATH": "" if local else self.databricks.http_path,
                "DATABRICKS_CONNECTION_URI": local,
                "DATABRICKS_CATALOG": self.databricks.catalog,
                "DATABRICKS_SCHEMA": self.databricks.schema,
                "DATABRICKS_VOLUME": self.databricks.volume,
                "DATABRICKS_TOKEN": self.databricks.token,
                "DATABRICKS_CLIENT_ID": self.databricks.client_id,
                "DATABRICKS_CLIENT_SECRET": self.databricks.client_secret,
                "DATABRICKS_THREADS": str(self.databricks.threads),
                "DATABRICKS_LIQUID_CLUSTERING": str(self.databricks.liquid_clustering).lower(),
            }
        return environment


def load_settings(environ: Mapping[str, str] | None = None) -> Settings:
    """Read the settings from `environ`, by default the process environment over the repository's `.env`.

    An empty variable counts as not set. Relative paths start at the repository's folder. Raises SettingsError, which
    names every variable that is missing or wrong and what was expected.
    """
    if environ is None:
        environ = _dotenv() | {name: value for name, value in os.environ.items() if value.strip()}
    reader = _Reader(environ)

    database_type: DatabaseType = reader.read("DATABASE_TYPE", "duckdb", _one_of(*DBT_TARGETS), "duckdb")
    target = DBT_TARGETS[database_type]
    settings = Settings(
        database_type=database_type,
        dbt_target=reader.read(
            "DBT_TARGET", target, _one_of(target, why=f" since DATABASE_TYPE is {database_type}"), target
        ),
        duckdb_path=reader.path("DUCKDB_PATH", "data/duckdb/lc_pipeline.duckdb", _check_database),
        duckdb_memory_limit=reader.read("DUCKDB_MEMORY_LIMIT", DEFAULT_MEMORY_LIMIT, _memory, DEFAULT_MEMORY_LIMIT),
        input_path=reader.path("INPUT_PATH", "data/inputs"),
        landing_path=reader.path("LANDING_PATH", "data/landing"),
        output_path=reader.path("OUTPUT_PATH", "data/outputs"),
        data_quality_report_path=reader.path("DATA_QUALITY_REPORT_PATH", "data/quality_reports"),
        max_row_drop_pct=reader.read("MAX_ROW_DROP_PCT", "50", _percentage, 0.0),
        max_quarantine_pct=reader.read("MAX_QUARANTINE_PCT", "50", _percentage, 0.0),
        max_file_age_hours=reader.read("MAX_FILE_AGE_HOURS", "", _hours, None),
        keep_exports=reader.read("KEEP_EXPORTS", "2", _versions_kept, 2),
        databricks=_databricks(reader) if database_type == "databricks" else None,
        alerts=_alerts(reader),
    )
    if reader.errors:
        raise SettingsError("\n".join(reader.errors))
    return settings


def _alerts(reader: _Reader) -> AlertSettings:
    alerts = AlertSettings(
        email=reader.read("ALERT_EMAIL", "", _addresses, ()),
        notifier=reader.read("ALERT_NOTIFIER", "", _notifier, ""),
        notifier_args=reader.read("ALERT_NOTIFIER_ARGS", "", _arguments, {}),
        deadline=reader.read("DELIVERY_DEADLINE", "", _time_of_day, None),
    )
    if reader.text("ALERT_NOTIFIER_ARGS") and not reader.text("ALERT_NOTIFIER"):
        reader.errors.append("ALERT_NOTIFIER is missing: ALERT_NOTIFIER_ARGS needs it")
    if alerts.deadline and not (reader.text("ALERT_EMAIL") or reader.text("ALERT_NOTIFIER")):
        reader.errors.append("ALERT_EMAIL is missing: DELIVERY_DEADLINE needs it, or ALERT_NOTIFIER")
    return alerts


def _databricks(reader: _Reader) -> DatabricksSettings:
    conn_id = reader.text("DATABRICKS_CONN_ID")
    local = reader.text("DATABRICKS_CONNECTION_URI")
    needed = reader.text if conn_id or local else reader.required
    host = needed("DATABRICKS_HOST") and reader.read("DATABRICKS_HOST", "", _host, "")
    http_path = needed("DATABRICKS_HTTP_PATH")
    if local:
        both = [name for name in ("DATABRICKS_HOST", "DATABRICKS_HTTP_PATH") if reader.text(name)]
        host, http_path = reader.read("DATABRICKS_CONNECTION_URI", "", _local_warehouse, ("", ""))
        if host and both:
            reader.errors.append(f"{both[0]} and DATABRICKS_CONNECTION_URI are both set: clear one of them")
    token, client_id, client_secret = (
        reader.text(f"DATABRICKS_{name}") for name in ("TOKEN", "CLIENT_ID", "CLIENT_SECRET")
    )
    catalog, schema = reader.required("DATABRICKS_CATALOG"), reader.required("DATABRICKS_SCHEMA")
    if token and (client_id or client_secret):
        reader.errors.append("DATABRICKS_TOKEN and DATABRICKS_CLIENT_ID are both set: clear one of them")
    elif bool(client_id) != bool(client_secret):
        missing, given = ("ID", "SECRET") if client_secret else ("SECRET", "ID")
        reader.errors.append(f"DATABRICKS_CLIENT_{missing} is missing: DATABRICKS_CLIENT_{given} needs it")
    elif not (token or client_id or conn_id):
        reader.errors.append(
            "DATABRICKS_TOKEN is missing: DATABASE_TYPE=databricks needs it, or DATABRICKS_CLIENT_ID and "
            "DATABRICKS_CLIENT_SECRET, or DATABRICKS_CONN_ID"
        )
    return DatabricksSettings(
        host=host,
        http_path=http_path,
        catalog=catalog,
        schema=schema,
        volume=reader.read("DATABRICKS_VOLUME", f"/Volumes/{catalog or '-'}/{schema or '-'}/landing", _volume, ""),
        token=token,
        client_id=client_id,
        client_secret=client_secret,
        conn_id=conn_id,
        threads=reader.read("DATABRICKS_THREADS", "4", _threads, 4),
        liquid_clustering=reader.read("DATABRICKS_LIQUID_CLUSTERING", "false", _one_of("true", "false"), "") == "true",
    )


def _dotenv() -> dict[str, str]:
    """Read the repository's `.env`. Raises SettingsError, which shows no value, since values may be secrets."""
    path = PROJECT_ROOT / ".env"
    if not path.exists():
        return {}
    try:
        bindings = list(parse_stream(StringIO(path.read_text(encoding="utf-8-sig"))))
    except UnicodeDecodeError as error:
        raise SettingsError(f"{path} must be text in UTF-8: {error}") from error
    broken = [binding.original.line for binding in bindings if binding.error]
    if broken:
        raise SettingsError(f"{path}, line {broken[0]}: expected NAME=value, with its quotes closed")
    return {binding.key: binding.value or "" for binding in bindings if binding.key}


class _Reader:
    """Reads variables one by one and collects all errors, so that they are reported together."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self.environ = environ
        self.errors: list[str] = []

    def read(self, name: str, default: str, convert: Callable[[str], T], otherwise: T) -> T:
        try:
            return convert(self.text(name) or default)
        except ValueError as error:
            self.errors.append(f"{name} {error}")
            return otherwise

    def text(self, name: str) -> str:
        return self.environ.get(name, "").strip()

    def path(self, name: str, default: str, check: Callable[[Path], None] = lambda path: None) -> Path:
        def convert(value: str) -> Path:
            path = _path(value)
            check(path)
            return path

        return self.read(name, default, convert, PROJECT_ROOT)

    def required(self, name: str) -> str:
        value = self.text(name)
        if not value:
            self.errors.append(f"{name} is missing: DATABASE_TYPE=databricks needs it")
        return value


def _path(value: str) -> Path:
    try:
        path = Path(value).expanduser()
    except RuntimeError:
        raise ValueError(f"must begin with the home of a user who exists, but is {value!r}") from None
    if "\0" in value or value.encode(errors="replace").decode() != value:
        raise ValueError(f"must be a path in UTF-8 without NUL, but is {value!r}")
    return Path(os.path.normpath(PROJECT_ROOT / path))


def _check_database(path: Path) -> None:
    """Raise ValueError if DuckDB or dbt can't use such a path, or if there is something else at the path.

    Each process reads the magic bytes once, before it connects: closing the file drops every lock that the process has
    on it, including DuckDB's.
    """
    name = path.name.lstrip(".").split(".")[0]  # as DuckDB names the database
    if name.lower() in _TAKEN_DATABASE_NAMES or set(name) & set("'\";"):
        raise ValueError(
            "must be a file whose name can name a database (without quotes and ;, and not main, temp, system, "
            f"information_schema or main_<layer>), but is {str(path)!r}"
        )
    if set(str(path)) & set("?#\\"):
        raise ValueError(
            f"must be a path without ? # \\, which DuckDB and dbt don't take literally, but is {str(path)!r}"
        )
    try:
        if path.is_dir():
            raise ValueError(f"must be a DuckDB file, but {path} is a folder")
        with path.open("rb") as file:
            start = file.read(16)
    except OSError:
        return  # not there yet; if it can't be read, the run that needs it says so
    if start and start[8:12] != b"DUCK":
        kind = "a SQLite" if start.startswith(b"SQLite format 3") else "another"
        raise ValueError(f"must be a DuckDB file, but {path} is {kind} file")


def _one_of(*allowed: T, why: str = "") -> Callable[[str], T]:
    def convert(value: str) -> T:
        for choice in allowed:
            if choice == value:
                return choice
        raise ValueError(f"must be {' or '.join(map(str, allowed))}{why}, but is {value!r}")

    return convert


def _threads(value: str) -> int:
    if not re.fullmatch(r"[1-9][0-9]?", value):
        raise ValueError(f"must be a number of statements at a time, 1 to 99, but is {value!r}")
    return int(value)


def _versions_kept(value: str) -> int:
    """Return how many exports are kept: at least two, since a reader may have a file of the previous one open."""
    if not re.fullmatch(r"[0-9]{1,6}", value) or int(value) < 2:
        raise ValueError(f"must be a number of exports to keep, 2 or more, but is {value!r}")
    return int(value)


def _memory(value: str) -> str:
    found = re.fullmatch(r"([0-9]{1,6}(?:\.[0-9]+)?) ?([KMGT]i?B|%)", value)
    if not found or float(found[1]) == 0 or (found[2] == "%" and float(found[1]) > 100):
        raise ValueError(f"must be an amount of memory such as 4GB, or a share of it such as 50%, but is {value!r}")
    return value


def _addresses(value: str) -> tuple[str, ...]:
    addresses = tuple(filter(None, re.split(r"\s*,\s*", value)))
    if not all(re.fullmatch(r"[^@\s,;<>]+@[^@\s,;<>]+", address) for address in addresses):
        raise ValueError(f"must be addresses such as ada@example.com, separated by commas, but is {value!r}")
    return addresses


def _notifier(value: str) -> str:
    """Return the import path of a class whose module is installed, without importing it."""
    if not value:
        return value
    with suppress(ImportError, ValueError):
        module, _, name = value.rpartition(".")
        if name.isidentifier() and find_spec(module):
            return value
    raise ValueError(
        "must be the class of an installed notifier, such as airflow.providers.smtp.notifications.smtp.SmtpNotifier, "
        f"but is {value!r}"
    )


def _arguments(value: str) -> dict[str, Any]:
    """Return a notifier's arguments. An error does not show them, since they may contain a secret."""
    try:
        arguments = json.loads(value or "{}")
    except ValueError as error:
        raise ValueError(f"must be the notifier's arguments as JSON, but is not valid JSON: {error}") from None
    if not isinstance(arguments, dict):
        raise ValueError("must be the notifier's arguments as a JSON object, but is another value")
    return arguments


def _time_of_day(value: str) -> time | None:
    if not value:
        return None
    if not re.fullmatch(r"([01][0-9]|2[0-3]):[0-5][0-9]", value):
        raise ValueError(f"must be a time of day in UTC such as 06:00, but is {value!r}")
    return time.fromisoformat(value)


def _percentage(value: str) -> float:
    if not re.fullmatch(r"[0-9]+(\.[0-9]+)?", value) or float(value) > 100:
        raise ValueError(f"must be a percentage from 0 to 100, but is {value!r}")
    return float(value)


def _hours(value: str) -> float | None:
    """Return a number of hours, or None if the value is empty."""
    if value and not (re.fullmatch(r"[0-9]+(\.[0-9]+)?", value) and float(value) > 0):
        raise ValueError(f"must be a number of hours above 0, or nothing, but is {value!r}")
    return float(value) if value else None


def _host(value: str) -> str:
    """Return the host name, with its port if there is one."""
    found = re.fullmatch(r"(?:(https?)://)?([A-Za-z0-9.-]+)(:[0-9]+)?/?", value)
    if not found:
        raise ValueError(
            f"must be a workspace's host such as adb-1234.5.azuredatabricks.net, but is {_without_secrets(value)}"
        )
    scheme, name, port = found.groups(default="")
    if scheme == "http":
        raise ValueError(f"must be reached by https, or the token could be read on the way, but is {value!r}")
    return name + port


def _without_secrets(value: str) -> str:
    """Return a value for a message: quoted, or described if it may be an address with a token or password."""
    return "an address with a user or a token" if "@" in value else repr(value)


def _local_warehouse(value: str) -> tuple[str, str]:
    """Return the host (with scheme and port) and the path of a warehouse on this machine."""
    found = re.fullmatch(r"(http://(?:127\.0\.0\.1|localhost)(?::[0-9]+)?)(/sql/[^\s?#]+)", value)
    if not found:
        raise ValueError(
            "must be a local warehouse's address such as http://127.0.0.1:8899/sql/1.0/warehouses/local, "
            f"but is {_without_secrets(value)}"
        )
    return found[1], found[2]


def _volume(value: str) -> str:
    if not re.fullmatch(r"/Volumes(/[^/]+){3,}/?", value):
        raise ValueError(f"must be a folder of a volume, /Volumes/<catalog>/<schema>/<volume>, but is {value!r}")
    if re.search(r"[`'\"*?\[\]{}\\=\x00-\x1f]|/\.\.?(/|$)", value):
        raise ValueError(
            f"must be a path that Spark takes literally, without quotes and * ? [ ] {{ }} \\ =, but is {value!r}"
        )
    return value.rstrip("/")
