"""Run the DAG once and print a summary, as `make run` does: `python -m scripts.run [ARGUMENTS OF airflow dags test]`.

Runs `airflow dags test lc_pipeline` in this process. Its long log goes to a file, the progress of its tasks to stderr.
"""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections import deque
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NoReturn, TextIO, TypeVar

from airflow import listeners
from airflow.configuration import AIRFLOW_HOME
from airflow.sdk.listener import get_listener_manager

from include.artifacts import report_of
from include.errors import INTERRUPTED
from include.progress import Display, Update, display
from include.quality.summary import summary
from include.settings import load_settings
from include.ui import DAG_ID

F = TypeVar("F", bound=Callable[..., None])
listens: Callable[[F], F] = listeners.hookimpl


class TaskProgress:
    """An Airflow listener that shows how many of the DAG's tasks are done, and each task group as a step.

    `run_id` is None until the first task runs.
    """

    def __init__(self, shown_on: Display, update: Update) -> None:
        self.run_id: str | None = None
        self._display, self._update = shown_on, update
        self._done: set[str] = set()
        self._group = ""
        self._step = ExitStack()
        self._update_group: Update = update

    @listens
    def on_task_instance_running(self, previous_state: Any, task_instance: Any) -> None:
        self.run_id = task_instance.run_id
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


def main() -> int:
    """Run the DAG, print the summary of its report, or else the end of its log, and return the exit status."""
    log = Path(AIRFLOW_HOME, "run.log")
    shown = log.relative_to(Path.cwd()) if log.is_relative_to(Path.cwd()) else log
    stdout, stderr = _divert_output(log)
    print(f"running: {' '.join(['airflow dags test', DAG_ID, *sys.argv[1:]])}  (log: {shown})", file=stdout, flush=True)
    status, run_id = _dags_test(sys.argv[1:], stderr)
    report = report_of(load_settings().data_quality_report_path, run_id) if run_id else None
    if report:
        print(summary(report, load_settings().output_path), file=stdout, flush=True)
    else:
        with log.open(errors="replace") as lines:
            print(*deque(lines, maxlen=40), sep="", end="", file=stdout, flush=True)
    if status:
        print(f"the run failed: see {shown}", file=stderr, flush=True)
    return status


def _divert_output(log: Path) -> tuple[TextIO, TextIO]:
    """Let stdout and stderr of this process go to a file; return the streams that they were before."""
    before = os.fdopen(os.dup(1), "w"), os.fdopen(os.dup(2), "w")
    with log.open("wb") as file:
        for descriptor in (1, 2):
            os.dup2(file.fileno(), descriptor)
    return before


def _dags_test(arguments: list[str], stderr: TextIO) -> tuple[int, str | None]:
    """Run `airflow dags test` with its progress on `stderr`; return its exit status, and the id of its run."""
    with ExitStack() as at_end:
        shown_on = at_end.enter_context(display(stderr))
        update = at_end.enter_context(shown_on.step(f"airflow dags test {DAG_ID}"))
        progress = TaskProgress(shown_on, update)
        at_end.callback(progress.close)
        get_listener_manager().add_listener(progress)

        def interrupt(*_: object) -> NoReturn:
            """End the process. Airflow would take an exception for a failure of the task, and try it again."""
            at_end.close()
            print("interrupted: the next run finishes what this one has begun", file=stderr, flush=True)
            os._exit(INTERRUPTED)

        signal.signal(signal.SIGINT, interrupt)

        from airflow.__main__ import main as airflow

        sys.argv = ["airflow", "dags", "test", DAG_ID, *arguments]
        try:
            airflow()
        except SystemExit as ended:
            if isinstance(ended.code, str):
                print(ended.code, file=sys.stderr, flush=True)
            return int(bool(ended.code)), progress.run_id
        except Exception:
            traceback.print_exc()
            return 1, progress.run_id
    return 0, progress.run_id


if __name__ == "__main__":
    sys.exit(main())
