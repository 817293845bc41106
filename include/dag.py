"""The class of the DAG."""

from __future__ import annotations

from typing import Any

from airflow.sdk import DAG


class PipelineDag(DAG):  # type: ignore[misc]
    """A DAG that `airflow dags test` runs only where no scheduler would take its tasks meanwhile."""

    def test(self, *args: Any, **kwargs: Any) -> Any:
        """Run the DAG once in this process. Raises SystemExit if a scheduler is running and the DAG is switched on."""
        from airflow.jobs.job import most_recent_job
        from airflow.models.dag import DagModel

        scheduler, dag = most_recent_job("SchedulerJob"), DagModel.get_current(self.dag_id)
        if scheduler and scheduler.is_alive() and dag and not dag.is_paused:
            raise SystemExit(
                "a scheduler is running, and the DAG is switched on: trigger the DAG instead, or switch it off first "
                f"(`airflow dags pause {self.dag_id}`)"
            )
        return super().test(*args, **kwargs)
