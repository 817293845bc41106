"""The local SQL warehouse (tests/warehouse) as a process of the tests, set up as docs/guides/databricks.md says."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests
from databricks import sql

from include.settings import PROJECT_ROOT, Settings
from tests.airflow_home import free_port
from tests.conftest import settings_in

GUIDE = PROJECT_ROOT / "docs" / "guides" / "databricks.md"
TOKEN = "dapi-token-of-the-tests"  # noqa: S105
CLIENT_ID, CLIENT_SECRET = "principal-of-the-tests", "dose-secret-of-the-tests"


class LocalWarehouse:
    """A warehouse on a port of its own, which it keeps when it is killed and started again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.http_path = "/sql/1.0/warehouses/local"
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """Start it and wait until it answers."""
        options = {
            "--folder": self.folder,
            "--port": self.port,
            "--token": TOKEN,
            "--client-id": CLIENT_ID,
            "--client-secret": CLIENT_SECRET,
            "--catalog": "lending",
            "--http-path": self.http_path,
        }
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.warehouse", *(str(part) for option in options.items() for part in option)],
            cwd=PROJECT_ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        ready = json.loads(self._process.stdout.readline())
        assert ready["host"] == self.url

    def kill(self) -> None:
        """End it without a warning, as a crash does."""
        if self._process:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def execute(self, statement: str) -> list[tuple[Any, ...]]:
        """Run a statement as an administrator would; return its rows."""
        with (
            sql.connect(
                server_hostname=f"127.0.0.1:{self.port}",
                http_path=self.http_path,
                access_token=TOKEN,
                _connection_uri=f"{self.url}{self.http_path}",
                enable_telemetry=False,
            ) as connection,
            connection.cursor() as cursor,
        ):
            cursor.execute(statement)
            return [tuple(row) for row in cursor.fetchall()]

    def settings(self, folder: Path, **variables: str) -> Settings:
        """Return settings for a schema of its own, made by the statements of the guide."""
        schema = f"lc_{uuid.uuid4().hex[:8]}"
        for statement in statements_of_the_guide()[:1]:
            for single in statement.replace("lc_pipeline", schema).replace("<client id>", CLIENT_ID).split(";"):
                if re.sub(r"--.*", "", single).strip():
                    self.execute(single)
        return settings_in(
            folder,
            DATABASE_TYPE="databricks",
            DATABRICKS_HOST=self.url,
            DATABRICKS_HTTP_PATH=self.http_path,
            DATABRICKS_CATALOG="lending",
            DATABRICKS_SCHEMA=schema,
            **({"DATABRICKS_TOKEN": TOKEN} | variables),
        )

    def statements(self) -> list[dict[str, Any]]:
        """Return what has been executed so far, with its outcome."""
        return [json.loads(line) for line in (self.folder / "statements.jsonl").read_text().splitlines()]

    @contextmanager
    def faults(self, **faults: Any) -> Iterator[None]:
        """Let answers fail as tests/warehouse/faults.py describes."""
        self._set_faults(faults)
        try:
            yield
        finally:
            self._set_faults({})

    def _set_faults(self, faults: dict[str, Any]) -> None:
        headers = {"Authorization": f"Bearer {TOKEN}"}
        requests.put(f"{self.url}/_faults", json=faults, headers=headers, timeout=10).raise_for_status()


def statements_of_the_guide() -> list[str]:
    """Return the blocks of SQL in the guide, in its order."""
    return re.findall(r"^```sql\n(.*?)^```", GUIDE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
