"""Airflow without a scheduler, in a process of its own: a test makes DAG runs in it, and has single tasks or whole
commands run.

The process reads one call as a line of JSON from its stdin, `[name, {arguments}]`, and answers with one on its stdout.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any
from uuid import UUID

from include.settings import PROJECT_ROOT


class AirflowProcess:
    """The test's end of it: `environment` is that of an AirflowHome."""

    def __init__(self, environment: dict[str, str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.airflow_process"],
            cwd=PROJECT_ROOT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def begin(self, landing: Path) -> None:
        """Forget all runs; this is where deliveries are landed from now on."""
        self._call("begin", landing=str(landing))

    def add_run(
        self,
        run_id: str,
        time: datetime,
        *,
        logical: bool = True,
        type_: str = "manual",
        state: str = "running",
        user: str | None = None,
    ) -> None:
        """Make a run whose logical date, or with `logical=False` whose run_after, is `time`."""
        self._call(
            "add_run", run_id=run_id, time=time.isoformat(), logical=logical, type_=type_, state=state, user=user
        )

    def end_run(self, run_id: str, state: str = "success") -> None:
        """Set the last state of a run, as somebody may by hand: none of its tasks is looked at."""
        self._call("end_run", run_id=run_id, state=state)

    def mark_task(self, run_id: str, task_id: str, state: str) -> None:
        """Set the state of a task."""
        self._call("mark_task", run_id=run_id, task_id=task_id, state=state)

    def next_tasks(self, run_id: str) -> list[str]:
        """Do with a run what a scheduler does until it finds tasks to start, or nothing more to do; return these."""
        tasks: list[str] = self._call("next_tasks", run_id=run_id)
        return tasks

    def mark_failed(self, run_id: str) -> str:
        """Mark a run failed, as the UI does, and return the state that it then has."""
        return str(self._call("mark_failed", run_id=run_id))

    def delete_run(self, run_id: str) -> None:
        """Delete a run, as `airflow dags delete` or the UI does."""
        self._call("delete_run", run_id=run_id)

    def run_task(self, run_id: str, task_id: str) -> tuple[str, str]:
        """Run one task, whatever is upstream; return its state and its log, with the error that it ended with."""
        state, log = self._call("run_task", run_id=run_id, task_id=task_id)
        return state, log

    def command(self, *arguments: str) -> tuple[bool, str]:
        """Run an airflow command; return whether it succeeded, and its stdout and stderr together."""
        succeeded, output = self._call("command", arguments=arguments)
        return succeeded, output

    def close(self) -> None:
        """End the process."""
        self._process.communicate()

    def _call(self, name: str, **arguments: Any) -> Any:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps([name, arguments]) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the process has ended with status {self._process.wait()}")
        return json.loads(line)


class _Server:
    @cached_property
    def dag(self) -> Any:
        from airflow.dag_processing.bundles.manager import DagBundlesManager
        from airflow.dag_processing.dagbag import BundleDagBag, sync_bag_to_db

        DagBundlesManager().sync_bundles_to_db()
        (bundle,) = DagBundlesManager().get_all_dag_bundles()
        bundle.initialize()
        bag = BundleDagBag(dag_folder=bundle.path, bundle_path=bundle.path, bundle_name=bundle.name)
        sync_bag_to_db(bag, bundle.name, bundle.version)
        return bag.dags["lc_pipeline"]

    @cached_property
    def scheduler_dag(self) -> Any:
        from airflow.serialization.serialized_objects import DagSerialization

        return DagSerialization.deserialize_dag(DagSerialization.serialize_dag(self.dag))

    @cached_property
    def log(self) -> _Lines:
        lines = _Lines()
        logging.getLogger("include").addHandler(lines)
        logging.getLogger("include").setLevel(logging.INFO)
        return lines

    def begin(self, landing: str) -> None:
        from airflow.models.dagrun import DagRun
        from airflow.utils.session import create_session
        from sqlalchemy import delete

        os.environ["LANDING_PATH"] = landing
        with create_session() as session:
            session.execute(delete(DagRun))

    def add_run(self, run_id: str, time: str, logical: bool, type_: str, state: str, user: str | None) -> None:
        from airflow.utils.state import DagRunState
        from airflow.utils.types import DagRunTriggeredByType, DagRunType

        date = datetime.fromisoformat(time)
        self.scheduler_dag.create_dagrun(
            run_id=run_id,
            logical_date=date if logical else None,
            data_interval=(date, date) if logical else None,
            run_after=datetime.now(UTC) if logical else date,
            run_type=DagRunType(type_),
            triggered_by=DagRunTriggeredByType.CLI,
            triggering_user_name=user,
            state=DagRunState(state),
        )

    def end_run(self, run_id: str, state: str) -> None:
        from airflow.utils.session import create_session

        with create_session() as session:
            self._run(session, run_id).state = state

    def mark_task(self, run_id: str, task_id: str, state: str) -> None:
        from airflow.utils.session import create_session

        with create_session() as session:
            self._run(session, run_id).get_task_instance(task_id, session=session).state = state

    def next_tasks(self, run_id: str) -> list[str]:
        from airflow.utils.session import create_session

        states: list[str] = []
        while True:
            with create_session() as session:
                run = self._run(session, run_id)
                run.dag = self.scheduler_dag
                tasks, _ = run.update_state(session=session)
                before, states = states, [instance.state for instance in run.get_task_instances(session=session)]
                if tasks or states == before:
                    return [task.task_id for task in tasks]

    def mark_failed(self, run_id: str) -> str:
        from airflow.api.common.mark_tasks import set_dag_run_state_to_failed
        from airflow.utils.session import create_session

        with create_session() as session:
            set_dag_run_state_to_failed(dag=self.scheduler_dag, run_id=run_id, commit=True, session=session)
            return str(self._run(session, run_id).state)

    def delete_run(self, run_id: str) -> None:
        from airflow.utils.session import create_session

        with create_session() as session:
            session.delete(self._run(session, run_id))

    def run_task(self, run_id: str, task_id: str) -> tuple[str, str]:
        from airflow.sdk.api.datamodels._generated import TaskInstance
        from airflow.sdk.execution_time.supervisor import run_task_in_process
        from airflow.utils.session import create_session

        with create_session() as session:
            instance = self._run(session, run_id).get_task_instance(task_id, session=session)
            instance.state = "queued"
            instance.try_number += 1
            handed_over = TaskInstance(
                id=UUID(str(instance.id)),
                dag_version_id=UUID(str(instance.dag_version_id)),
                task_id=task_id,
                dag_id=self.dag.dag_id,
                run_id=run_id,
                try_number=instance.try_number,
                map_index=-1,
            )
        self.log.lines.clear()
        result = run_task_in_process(ti=handed_over, task=self.dag.get_task(task_id))
        return str(result.state.value), "\n".join([*self.log.lines, *([str(result.error)] if result.error else [])])

    def command(self, arguments: list[str]) -> tuple[bool, str]:
        from airflow.__main__ import main

        sys.argv = ["airflow", *arguments]
        with tempfile.TemporaryFile() as output, _output_to(output.fileno()):
            succeeded = True
            try:
                main()
            except SystemExit as ended:
                succeeded = not ended.code
                if not succeeded:
                    print(ended)
            except Exception:
                succeeded = False
                traceback.print_exc()
            sys.stdout.flush()
            output.seek(0)
            return succeeded, output.read().decode()

    @staticmethod
    def _run(session: Any, run_id: str) -> Any:
        from airflow.models.dagrun import DagRun
        from sqlalchemy import select

        return session.scalars(select(DagRun).where(DagRun.run_id == run_id)).one()


class _Lines(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


@contextmanager
def _output_to(file: int) -> Iterator[None]:
    """Let stdout and stderr go to a file for the length of the body."""
    kept = {descriptor: os.dup(descriptor) for descriptor in (1, 2)}
    try:
        for descriptor in kept:
            os.dup2(file, descriptor)
        yield
    finally:
        for descriptor, copy in kept.items():
            os.dup2(copy, descriptor)
            os.close(copy)


def main() -> None:
    """Answer calls until stdin ends. What Airflow and its tasks print goes to stderr, except what commands return."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    server = _Server()
    for line in sys.stdin:
        name, arguments = json.loads(line)
        answers.write(json.dumps(getattr(server, name)(**arguments)) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
