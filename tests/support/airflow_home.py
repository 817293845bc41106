"""An Airflow of the test's own, in which the real DAG runs as people run it: `airflow dags test lc_pipeline`."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from include.settings import PROJECT_ROOT, Settings
from tests.support.processes import free_port, is_listening, wait_until
from tests.support.settings import environment_of


@dataclass(frozen=True)
class DagRun:
    """A run that has ended: whether it was green, and the state of each of its tasks."""

    succeeded: bool
    states: dict[str, str]
    log: str = field(repr=False)


class AirflowHome:
    """An empty AIRFLOW_HOME with a migrated SQLite database; the pipeline's data is where `settings` say."""

    def __init__(self, folder: Path, settings: Settings) -> None:
        self.environment = {
            **os.environ,
            "AIRFLOW_HOME": str(folder),
            "AIRFLOW__CORE__DAGS_FOLDER": str(PROJECT_ROOT / "dags"),
            "AIRFLOW__CORE__PLUGINS_FOLDER": str(PROJECT_ROOT / "plugins"),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__COSMOS__CACHE_DIR": str(folder / "cosmos"),
            **environment_of(settings),
        }
        folder.mkdir(parents=True)
        self.call("db", "migrate").check_returncode()

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

    def run_dag(self, logical_date: datetime, **params: bool) -> DagRun:
        """Run the whole DAG once for a logical date."""
        ended = self.call("dags", "test", "lc_pipeline", logical_date.isoformat(), "--conf", json.dumps(params))
        states = self.query(
            "select task_id, state from task_instance "
            "where run_id = (select run_id from dag_run order by id desc limit 1)"
        )
        return DagRun(ended.returncode == 0, dict(states), ended.stdout)

    def query(self, sql: str) -> list[Any]:
        """Ask Airflow's own database."""
        with closing(sqlite3.connect(Path(self.environment["AIRFLOW_HOME"], "airflow.db"), timeout=60)) as database:
            return database.execute(sql).fetchall()

    @contextmanager
    def scheduler(self) -> Iterator[None]:
        """Let Airflow run, as `make ui` does, for the length of the body; its logs are beside its database."""
        port = free_port()
        environment = {
            **self.environment,
            "AIRFLOW__API__PORT": str(port),
            "AIRFLOW__API__BASE_URL": f"http://localhost:{port}",
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"http://localhost:{port}/execution/",
        }
        components = []
        try:
            for command in ("api-server", "dag-processor", "scheduler --skip-serve-logs"):
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
