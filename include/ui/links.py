"""The address of a run's quality report in Airflow's UI, and the link to it on the task that writes it."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from airflow.sdk import BaseOperatorLink, conf

from include.ui import PAGES


def report_url(dag_id: str, run_id: str) -> str:
    """Return the address of a run's quality report; absolute if Airflow knows its own address (`[api] base_url`)."""
    base: str = conf.get("api", "base_url", fallback="")
    return f"{base.rstrip('/')}{PAGES}/dags/{quote(dag_id, safe='')}/runs/{quote(run_id, safe='')}"


class QualityReportLink(BaseOperatorLink):  # type: ignore[misc]
    """The link on the task. It is shown for each try that has ended, whatever its state."""

    name = "Quality report"

    def get_link(self, operator: Any, *, ti_key: Any) -> str:
        """Return the address of the report of the task's run."""
        return report_url(ti_key.dag_id, ti_key.run_id)
