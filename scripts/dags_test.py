"""Run `airflow dags test lc_pipeline` in this process and show its tasks on stderr; Airflow's log goes to a file.

Used by scripts/run.sh: `python -m scripts.dags_test LOG [ARGUMENTS OF airflow dags test]`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TypeVar

from airflow import listeners
from airflow.sdk.listener import get_listener_manager

from include.progress import Display, Update, display
from include.ui import DAG_ID

F = TypeVar("F", bound=Callable[..., None])
listens: Callable[[F], F] = listeners.hookimpl


class TaskProgress:
    """An Airflow listener that shows how many of the DAG's tasks are done, and each task group as a step."""

    def __init__(self, shown_on: Display, update: Update) -> None:
        self._display, self._update = shown_on, update
        self._done: set[str] = set()
        self._group = ""
        self._step = ExitStack()
        self._update_group: Update = update

    @listens
    def on_task_instance_running(self, previous_state: Any, task_instance: Any) -> None:
        self._done.discard(task_instance.task_id)  # tried again
        if _group(task_instance.task_id) != self._group:
            self.close()
            self._group = _group(task_instance.task_id)
            self._update_group = self._step.enter_context(self._display.step(self._group))
        self._show(task_instance, task_instance.task_id.rpartition(".")[2])

    @listens
    def on_task_instance_success(self, previous_state: Any, task_instance: Any) -> None:
        self._end(task_instance)

    @listens
    def on_task_instance_skipped(self, previous_state: Any, task_instance: Any) -> None:
        self._end(task_instance)

    @listens
    def on_task_instance_failed(self, previous_state: Any, task_instance: Any, error: Any) -> None:
        self._end(task_instance)

    def close(self) -> None:
        """End the step of the group that was running."""
        self._step.close()

    def _end(self, task_instance: Any) -> None:
        self._done.add(task_instance.task_id)
        self._show(task_instance)

    def _show(self, task_instance: Any, running: str = "") -> None:
        every = list(task_instance.task.dag.task_ids)
        of_group = [task_id for task_id in every if _group(task_id) == self._group]
        self._update(f"{len(self._done)} of {len(every)} tasks", len(self._done), len(every))
        done = len(self._done.intersection(of_group))
        words = f"{done} of {len(of_group)} tasks" if len(of_group) > 1 else ""
        self._update_group(": ".join(filter(None, (words, running))), done, len(of_group))


def _group(task_id: str) -> str:
    return task_id.rpartition(".")[0] or task_id


def main() -> None:
    """Run the command, and exit with its status."""
    log, *arguments = sys.argv[1:]
    stderr = os.fdopen(os.dup(2), "w")
    with Path(log).open("wb") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    with display(stderr) as shown_on, shown_on.step(f"airflow dags test {DAG_ID}") as update, ExitStack() as at_end:
        progress = TaskProgress(shown_on, update)
        at_end.callback(progress.close)
        get_listener_manager().add_listener(progress)

        from airflow.__main__ import main as airflow

        sys.argv = ["airflow", "dags", "test", DAG_ID, *arguments]
        airflow()


if __name__ == "__main__":
    main()
