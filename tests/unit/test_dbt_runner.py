"""dbt commands that follow one another in one process, as in `airflow dags test` and `python -m include.rebuild`."""

from __future__ import annotations

from pathlib import Path

import pytest
from dbt.adapters.base import impl
from dbt_common.behavior_flags import BehaviorFlagRendered

from include.dbt.cosmos import preload
from include.dbt.manifest import load_manifest
from include.dbt.runner import invoke
from tests.support.settings import DATABRICKS, settings_in


def test_a_command_does_not_carry_the_flags_of_the_commands_before(tmp_path: Path) -> None:
    settings = settings_in(tmp_path, **DATABRICKS)

    for _ in range(2):
        listed = invoke(settings, ["--quiet", "list", "--output", "name"], tmp_path, manifest=load_manifest(settings))
        assert "account_summary" in listed.result

    names = [flag["name"] for flag in impl.DEFAULT_BASE_BEHAVIOR_FLAGS]
    assert "use_materialization_v2" in names
    assert sorted(names) == sorted(set(names))


@pytest.fixture
def no_reading_of_the_stack(monkeypatch: pytest.MonkeyPatch) -> None:
    def read() -> str:
        raise AssertionError("dbt reads the stack")

    monkeypatch.setattr(BehaviorFlagRendered, "_default_source", staticmethod(read))


@pytest.mark.usefixtures("no_reading_of_the_stack")
def test_a_command_does_not_read_the_stack_for_each_behavior_flag(tmp_path: Path) -> None:
    settings = settings_in(tmp_path, **DATABRICKS)

    listed = invoke(settings, ["--quiet", "list", "--output", "name"], tmp_path, manifest=load_manifest(settings))

    assert "account_summary" in listed.result


@pytest.mark.usefixtures("no_reading_of_the_stack")
def test_a_task_does_not_read_the_stack_for_a_behavior_flag() -> None:
    preload.__wrapped__("duckdb")

    BehaviorFlagRendered({"name": "a_flag", "default": False, "docs_url": "https://docs.getdbt.com"}, {})
