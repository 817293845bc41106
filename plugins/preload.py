"""Loads dbt, its adapter and Cosmos once, in the scheduler, which forks the workers, instead of once in each task."""

from __future__ import annotations

import sys
from typing import Any

from airflow.plugins_manager import AirflowPlugin


def is_scheduler(arguments: list[str]) -> bool:
    """Tell whether a process started with these arguments is the scheduler; other components run no tasks."""
    return "scheduler" in arguments[1:2]


class PreloadPlugin(AirflowPlugin):  # type: ignore[misc]
    """Airflow calls on_load() in every process that loads its plugins."""

    name = "preload"

    @classmethod
    def on_load(cls, *_args: Any, **_kwargs: Any) -> None:
        """Import in the scheduler what each dbt task needs; see include.dbt_project.import_dbt for what it costs."""
        if is_scheduler(sys.argv):
            from include.dbt_project import import_dbt

            import_dbt()
