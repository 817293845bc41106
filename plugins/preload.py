"""Loads and warms up what tasks need once, in the process that forks the task processes, instead of in each task.

Every Airflow process imports this module, so what few of them need is imported in the functions.
"""

from __future__ import annotations

import logging
import sys
from typing import Any

from airflow.plugins_manager import AirflowPlugin

from include.errors import one_line

log = logging.getLogger(__name__)


def forks_tasks(arguments: list[str]) -> bool:
    """Return True if a process with these arguments forks processes that run tasks: the scheduler (with the
    LocalExecutor) and a Celery worker. Other components run no tasks."""
    return arguments[1:2] == ["scheduler"] or arguments[1:3] == ["celery", "worker"]


def runs_tasks(arguments: list[str]) -> bool:
    """Return True if a process with these arguments runs tasks itself. It also imports Airflow's API server (5 s)."""
    return arguments[1:3] == ["dags", "test"]


class PreloadPlugin(AirflowPlugin):  # type: ignore[misc]
    """Airflow calls on_load() in every process that loads its plugins."""

    name = "preload"

    @classmethod
    def on_load(cls, *_args: Any, **_kwargs: Any) -> None:
        """Do once what each task would otherwise repeat (include.dbt.cosmos.warm_up says what it costs)."""
        if runs_tasks(sys.argv):
            from include.dbt.runner import collect_garbage_less_often

            collect_garbage_less_often()
        if forks_tasks(sys.argv):
            from include.dbt.cosmos import warm_up

            try:
                warm_up()
            except Exception as error:  # the DAG's import error shows it; here tasks only start more slowly
                log.warning("not all is loaded before tasks are forked: %s", one_line(error))
