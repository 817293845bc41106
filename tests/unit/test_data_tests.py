"""What holds of every data test of the dbt project."""

from __future__ import annotations

import json
from typing import Any

import pytest

from include.dbt.descriptions import test_description as description_of
from include.dbt.manifest import build_manifest, manifest_path


@pytest.fixture(scope="module")
def manifest() -> dict[str, Any]:
    build_manifest()
    found: dict[str, Any] = json.loads(manifest_path().read_text(encoding="utf-8"))
    return found


@pytest.fixture(scope="module")
def data_tests(manifest: dict[str, Any]) -> list[dict[str, Any]]:
    return [node for node in manifest["nodes"].values() if node["resource_type"] == "test"]


def test_a_test_keeps_its_rows_if_and_only_if_it_warns(data_tests: list[dict[str, Any]]) -> None:
    warns = {test["name"] for test in data_tests if test["config"]["severity"].lower() == "warn"}
    keeps = {test["name"] for test in data_tests if test["config"]["store_failures"]}

    assert warns == keeps
    assert warns


def test_every_test_says_what_a_failure_means(manifest: dict[str, Any], data_tests: list[dict[str, Any]]) -> None:
    assert [test["name"] for test in data_tests if not description_of(test, manifest)] == []


def test_a_tests_own_description_goes_before_that_of_its_kind(
    manifest: dict[str, Any], data_tests: list[dict[str, Any]]
) -> None:
    unique = next(test for test in data_tests if test.get("test_metadata", {}).get("name") == "unique")

    assert description_of(unique, manifest) != "Its own."
    assert description_of({**unique, "description": "Its own."}, manifest) == "Its own."


def test_kept_rows_go_to_a_schema_of_their_own(data_tests: list[dict[str, Any]]) -> None:
    assert {test["schema"] for test in data_tests if test["config"]["store_failures"]} == {"main_test_failures"}
