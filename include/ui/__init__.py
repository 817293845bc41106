"""What the pipeline adds to Airflow's UI: pages, their guard, and links. plugins/quality.py hands them to Airflow."""

import re

DAG_ID = "lc_pipeline"
"""Whoever may read this DAG may read the pages."""

PAGES = "/data-quality"
"""Where the quality reports are, below Airflow's own address."""

PLAIN_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._~-]{0,99}")
"""A key that is the same in HTML and in an address: the pages link it to what became of it."""
