"""The pipeline's additions to Airflow's UI: pages, their guard, and links. plugins/quality.py registers them."""

import re

DAG_ID = "lc_pipeline"
"""Users who may read this DAG may read the pages."""

PAGES = "/data-quality"
"""Where the quality reports are, below Airflow's own address."""

PLAIN_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._~-]{0,99}")
"""A key that needs no escaping in HTML or in a URL: the pages link it to its explanation."""
