"""A DAG that waits for the mart account_summary, and continues only if the quality report allows it.

Copy it into your DAGs folder. It needs only the name of the asset.
"""

from __future__ import annotations

import logging
from typing import Any

from airflow.sdk import DAG, Asset, task

ACCOUNT_SUMMARY = Asset("account_summary")
GOOD_ENOUGH = ("pass", "warn")

log = logging.getLogger(__name__)

with DAG("follow_account_summary", schedule=[ACCOUNT_SUMMARY], tags=["example"]):

    @task.short_circuit
    def verdict_allows(*, triggering_asset_events: Any) -> bool:
        """Check the newest event that triggered this run. There can be several, if deliveries came in the meantime."""
        news = triggering_asset_events[ACCOUNT_SUMMARY][-1].extra
        log.info("%s: %s (%s)", news["verdict"], news["why"], news["report"])
        return news["verdict"] in GOOD_ENOUGH

    @task
    def use_it(*, triggering_asset_events: Any) -> None:
        """Do your work here: read the mart, or its export, as of `delivered_at`."""
        news = triggering_asset_events[ACCOUNT_SUMMARY][-1].extra
        log.info("account_summary as of %s: %s rows", news["delivered_at"], news["rows"])

    verdict_allows() >> use_it()
