"""Loads and warms up dbt and Cosmos once, in the scheduler, which forks the workers, instead of once in each task."""

from __future__ import annotations

import logging
import sys
from typing import Any

from airflow.plugins_manager import AirflowPlugin

from include.errors import PipelineError

log = logging.getLogger(__name__)


def is_scheduler(arguments: list[str]) -> bool:
    """Tell whether a process started with these arguments is the scheduler; other components run no tasks."""
    return "scheduler" in arguments[1:2]


class PreloadPlugin(AirflowPlugin):  # type: ignore[misc]
    """Airflow calls on_load() in every process that loads its plugins."""

    name = "preload"

    @classmethod
    def on_load(cls, *_args: Any, **_kwargs: Any) -> None:
        """Do in the scheduler what each dbt task would have to; see include.dbt_project.warm_up for what it costs."""
        if is_scheduler(sys.argv):
            from include.dbt_project import warm_up

            try:
                warm_up()
            except PipelineError as error:  # the DAG's import error says the same to people; tasks only start slower
                log.warning("dbt is not warmed up: %s", error)
