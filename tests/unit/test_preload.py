"""The plugin that imports dbt once, in the scheduler."""

from __future__ import annotations

import pytest

from plugins.preload import is_scheduler


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["/venv/bin/airflow", "scheduler"], True),
        (["/venv/bin/airflow", "scheduler", "--num-runs", "1"], True),
        (["/venv/bin/airflow", "standalone"], False),
        (["/venv/bin/airflow", "api-server"], False),
        (["/venv/bin/airflow", "dag-processor"], False),
        (["/venv/bin/airflow", "triggerer"], False),
        (["/venv/bin/airflow", "dags", "test", "scheduler"], False),
        (["/venv/bin/airflow"], False),
    ],
)
def test_only_the_scheduler_preloads(arguments: list[str], expected: bool) -> None:
    assert is_scheduler(arguments) is expected
