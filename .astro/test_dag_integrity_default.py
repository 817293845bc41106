"""What `astro dev parse` runs in the image: every DAG file imports, and has what the DAG processor would find in it."""

from __future__ import annotations

import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow.utils.db import initdb


@pytest.fixture(scope="module")
def dags() -> DagBag:
    initdb()
    return DagBag()


def test_every_dag_file_imports(dags: DagBag) -> None:
    assert dags.import_errors == {}


def test_the_pipeline_is_there(dags: DagBag) -> None:
    assert list(dags.dag_ids) == ["lc_pipeline"]
