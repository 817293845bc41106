"""Starts, uses and kills the local warehouse as a separate process, for tests."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import databricks.sql
from databricks.sdk import WorkspaceClient
from databricks.sql.client import Connection

ROOT = Path(__file__).parents[1]
CLIENT_ID, CLIENT_SECRET = "the-service-principal", "dose-its-secret"


@dataclass
class WarehouseProcess:
    """A server on `folder`. `host`, `http_path`, `token` and `catalog` come from its first line of output."""

    folder: Path
    catalog: str = "main"
    host: str = field(init=False, default="")
    http_path: str = field(init=False, default="")
    token: str = field(init=False, default="")
    _process: subprocess.Popen[str] | None = field(init=False, default=None)

    def start(self) -> WarehouseProcess:
        """Start it; a restart keeps port and token. Its stderr goes to that of the caller.

        Raises RuntimeError if it ends at once.
        """
        arguments = ["--folder", self.folder, "--port", self.host.rpartition(":")[2] or 0, "--catalog", self.catalog]
        arguments += ["--client-id", CLIENT_ID, "--client-secret", CLIENT_SECRET]
        arguments += ["--token", self.token] if self.token else []
        self._process = subprocess.Popen(
            [sys.executable, "-m", "local_warehouse", *map(str, arguments)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the warehouse has ended with status {self._process.wait()}; its stderr says why")
        ready = json.loads(line)
        self.host, self.http_path, self.token = ready["host"], ready["http_path"], ready["token"]
        return self

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal, wait for the end, and return the exit status."""
        assert self._process
        self._process.send_signal(number)
        self._process.communicate(timeout=120)
        return self._process.returncode

    def connect(self, **options: Any) -> Connection:
        """Connect as the pipeline does, with additional `options`."""
        path = options.pop("http_path", self.http_path)
        given = {
            "server_hostname": self.host,
            "http_path": path,
            "access_token": self.token,
            "_connection_uri": self.host + path,
            "enable_telemetry": False,
            "catalog": self.catalog,
        }
        return databricks.sql.connect(**{**given, **options})

    def client(self, **options: Any) -> WorkspaceClient:
        """Return the SDK's client."""
        return WorkspaceClient(host=self.host, **(options or {"token": self.token}))

    def set_faults(self, *faults: dict[str, Any]) -> list[dict[str, Any]]:
        """Replace the server's faults (faults.py); return those that were still to come."""
        request = urllib.request.Request(
            f"{self.host}/_faults",
            method="PUT",
            data=json.dumps(faults).encode(),
            headers={"Authorization": f"Bearer {self.token}"},
        )
        with urllib.request.urlopen(request) as answer:
            to_come: list[dict[str, Any]] = json.load(answer)
        return to_come

    def environment(self, schema: str) -> dict[str, str]:
        """Return the pipeline's settings for this server."""
        return {
            "DATABASE_TYPE": "databricks",
            "DATABRICKS_CONNECTION_URI": self.host + self.http_path,
            "DATABRICKS_TOKEN": self.token,
            "DATABRICKS_CATALOG": self.catalog,
            "DATABRICKS_SCHEMA": schema,
            "DATABRICKS_VOLUME": f"/Volumes/{self.catalog}/{schema}/landing",
        }

    def statements(self) -> list[dict[str, Any]]:
        """Return the log of statements."""
        lines = (self.folder / "statements.jsonl").read_text(encoding="utf-8").split("\n")
        return [json.loads(line) for line in lines if line]
