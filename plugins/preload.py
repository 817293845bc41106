"""Loads and warms up dbt and Cosmos once, in the process that forks the tasks' processes, instead of in each task.

They are imported there and nowhere else: each process of Airflow imports this module.
"""

from __future__ import annotations

import logging
import sys
from typing import Any

from airflow.plugins_manager import AirflowPlugin

from include.errors import PipelineError

log = logging.getLogger(__name__)


def forks_tasks(arguments: list[str]) -> bool:
    """Return True if a process started with these arguments forks processes that run tasks: the scheduler (whose
    LocalExecutor does) and a Celery worker; other components run no tasks."""
    return arguments[1:2] == ["scheduler"] or arguments[1:3] == ["celery", "worker"]


class PreloadPlugin(AirflowPlugin):  # type: ignore[misc]
    """Airflow calls on_load() in every process that loads its plugins."""

    name = "preload"

    @classmethod
    def on_load(cls, *_args: Any, **_kwargs: Any) -> None:
        """Do beforehand what each dbt task would have to; see include.dbt.cosmos.warm_up for what it costs."""
        if forks_tasks(sys.argv):
            from include.dbt.cosmos import warm_up

            try:
                warm_up()
            except PipelineError as error:  # the DAG's import error says the same to people; tasks only start slower
                log.warning("dbt is not warmed up: %s", error)
