"""An Airflow of the test's own, in which the real DAG runs as people run it: `airflow dags test lc_pipeline`."""

from __future__ import annotations

import json
import os
import secrets
import signal
import sqlite3
import subprocess
import tempfile
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

from include.settings import PROJECT_ROOT, Settings
from tests.support.airflow_process import AirflowProcess
from tests.support.processes import free_port, is_listening, wait_until
from tests.support.settings import environment_of

DATABASE = "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"
SECRET = secrets.token_urlsafe(64)


@cache
def _migrated_database() -> bytes:
    """Return the SQLite database that `airflow db migrate` makes, which takes seconds."""
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "AIRFLOW_HOME": folder, "AIRFLOW__CORE__LOAD_EXAMPLES": "False"}
        subprocess.run(["airflow", "db", "migrate"], cwd=PROJECT_ROOT, env=environment, capture_output=True, check=True)
        return Path(folder, "airflow.db").read_bytes()


@dataclass(frozen=True)
class DagRun:
    """A run that has ended: whether it was green, the state of each of its tasks, and what it said of each asset."""

    succeeded: bool
    states: dict[str, str]
    events: dict[str, dict[str, Any]]
    log: str = field(repr=False)


class AirflowHome:
    """An AIRFLOW_HOME with an empty, migrated database, SQLite unless another is set.

    The pipeline's data is where `settings` say.
    """

    def __init__(self, folder: Path, settings: Settings) -> None:
        self.environment = {
            **os.environ,
            "AIRFLOW_HOME": str(folder),
            "AIRFLOW__CORE__DAGS_FOLDER": str(PROJECT_ROOT / "dags"),
            "AIRFLOW__CORE__PLUGINS_FOLDER": str(PROJECT_ROOT / "plugins"),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__COSMOS__CACHE_DIR": str(folder / "cosmos"),
            # Processes that start side by side would each make their own.
            "AIRFLOW__API__SECRET_KEY": SECRET,
            "AIRFLOW__API_AUTH__JWT_SECRET": SECRET,
            "AIRFLOW__CORE__FERNET_KEY": "",
            **environment_of(settings),
        }
        folder.mkdir(parents=True)
        if self.environment.get(DATABASE):
            self.succeed("db", "migrate")
        else:
            (folder / "airflow.db").write_bytes(_migrated_database())

    def call(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run an airflow command; stdout and stderr come together in `stdout`."""
        return subprocess.run(
            ["airflow", *arguments],
            cwd=PROJECT_ROOT,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )

    def succeed(self, *arguments: str) -> None:
        """Run an airflow command that has to succeed. Raises AssertionError with its output where it does not."""
        ended = self.call(*arguments)
        assert ended.returncode == 0, f"airflow {' '.join(arguments)}:\n{ended.stdout[-5000:]}"

    def run_dag(self, logical_date: datetime, **params: bool) -> DagRun:
        """Run the whole DAG once for a logical date."""
        ended = self.call(*_dags_test(logical_date, params))
        return self._last_run(ended.returncode == 0, ended.stdout)

    @contextmanager
    def one_process(self) -> Iterator[Callable[..., DagRun]]:
        """Yield a run_dag() whose runs share a process: what Airflow and dbt do once in a process takes 10 s."""
        process = AirflowProcess(self.environment)

        def run_dag(logical_date: datetime, **params: bool) -> DagRun:
            return self._last_run(*process.command(*_dags_test(logical_date, params)))

        try:
            yield run_dag
        finally:
            process.close()

    def _last_run(self, succeeded: bool, log: str) -> DagRun:
        states = self.query(
            "select task_id, state from task_instance "
            "where run_id = (select run_id from dag_run order by id desc limit 1)"
        )
        events = self.query(
            "select asset.name, asset_event.extra from asset_event join asset on asset.id = asset_event.asset_id "
            "where source_run_id = (select run_id from dag_run order by id desc limit 1)"
        )
        extras = {name: json.loads(extra) for name, extra in events}
        return DagRun(succeeded, dict(states), extras, log)

    def query(self, sql: str) -> list[Any]:
        """Ask Airflow's own database."""
        with closing(sqlite3.connect(Path(self.environment["AIRFLOW_HOME"], "airflow.db"), timeout=60)) as database:
            return database.execute(sql).fetchall()

    @contextmanager
    def scheduler(self) -> Iterator[str]:
        """Run Airflow, as `make ui` does, for the length of the body; yield the UI's address.

        Its logs are beside its database.
        """
        port = free_port()
        with self._running(port, "api-server", "dag-processor", "scheduler --skip-serve-logs"):
            yield f"http://localhost:{port}"

    @contextmanager
    def ui(self, path: str = "") -> Iterator[str]:
        """Run the API server for the length of the body, with the UI at `path`; yield the UI's address."""
        port = free_port()
        address = f"http://localhost:{port}{path}"
        with self._running(port, "api-server", path=path):
            wait_until(lambda: _answers(f"{address}/api/v2/version"), seconds=180)
            yield address

    @contextmanager
    def _running(self, port: int, *commands: str, path: str = "") -> Iterator[None]:
        environment = {
            **self.environment,
            "AIRFLOW__API__HOST": "127.0.0.1",
            "AIRFLOW__API__PORT": str(port),
            "AIRFLOW__API__BASE_URL": f"http://localhost:{port}{path}",
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"http://localhost:{port}{path}/execution/",
        }
        components = []
        try:
            for command in commands:
                name = command.split()[0]
                with Path(self.environment["AIRFLOW_HOME"], f"{name}.log").open("w") as log:
                    components.append(
                        subprocess.Popen(
                            ["airflow", *command.split()],
                            cwd=PROJECT_ROOT,
                            env=environment,
                            stdout=log,
                            stderr=subprocess.STDOUT,
                            start_new_session=True,
                        )
                    )
            wait_until(lambda: is_listening(port), seconds=300)  # or the first task fails
            yield
        finally:
            for component in components:
                os.killpg(component.pid, signal.SIGKILL)
                component.wait()


def _dags_test(logical_date: datetime, params: dict[str, bool]) -> tuple[str, ...]:
    return "dags", "test", "lc_pipeline", logical_date.isoformat(), "--conf", json.dumps(params)


def _answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(address, timeout=10) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False
