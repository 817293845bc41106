"""The stack of docker-compose.yaml as its tests use it."""

from __future__ import annotations

import json
import shutil
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.containers.engine import Docker
from tests.support.processes import wait_until

AIRFLOW_HOME = "/usr/local/airflow"


@dataclass
class Stack:
    """The running stack, and its REST API as a person's script would use it."""

    engine: Docker
    port: int
    token: str = ""

    def secret(self, name: str) -> str:
        return self.engine.exec("scheduler", "cat", f"{AIRFLOW_HOME}/secrets/{name}")

    def log_in(self) -> None:
        answer = self.call("POST", "/auth/token", {"username": "admin", "password": self.secret("airflow_password")})
        self.token = answer["access_token"]

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """Call the REST API; raises urllib's HTTPError for a status of 400 and more."""
        headers = {"Content-Type": "application/json"} | (
            {"Authorization": f"Bearer {self.token}"} if self.token else {}
        )
        data = json.dumps(body).encode() if body is not None else None
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", data, headers, method=method)
        with urllib.request.urlopen(request, timeout=60) as response:
            return json.load(response)

    def status(self, method: str, path: str, body: Any = None) -> int:
        try:
            self.call(method, path, body)
        except urllib.error.HTTPError as error:
            return error.code
        return 200

    def trigger(self, logical_date: str) -> str:
        """Trigger lc_pipeline; return the run's path in the API."""
        runs = "/api/v2/dags/lc_pipeline/dagRuns"
        return f"{runs}/{self.call('POST', runs, {'logical_date': logical_date})['dag_run_id']}"

    def wait_for(self, run: str, state: str) -> None:
        ended = ("success", "failed")
        wait_until(lambda: self.call("GET", run)["state"] in ended, seconds=1500)
        tasks = self.call("GET", f"{run}/taskInstances?limit=100")["task_instances"]
        assert self.call("GET", run)["state"] == state, {task["task_id"]: task["state"] for task in tasks}

    def data(self, folder: Path) -> Path:
        """Copy the data volume out of the stack; return the copy."""
        shutil.rmtree(folder, ignore_errors=True)
        self.engine.engine("cp", f"{self.engine.services()['scheduler']['Id']}:{AIRFLOW_HOME}/data", str(folder))
        return folder
