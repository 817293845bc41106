"""What the pipeline adds to Airflow's UI: pages, their guard, and links. plugins/quality.py hands them to Airflow."""

DAG_ID = "lc_pipeline"
"""Whoever may read this DAG may read the pages."""

PAGES = "/data-quality"
"""Where the quality reports are, below Airflow's own address."""
