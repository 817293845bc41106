"""The generic dbt tests written here, run by dbt on rows that they have to find and rows that they have to leave."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from include.dbt.runner import DBT_DIR


class Case(NamedTuple):
    """A generic test with its arguments, the rows it is run on (SQL), and how many it has to find."""

    test: str
    arguments: dict[str, Any]
    rows: str
    failures: int


def amounts(*values: str) -> str:
    return " union all ".join(f"select cast({value} as decimal(18, 2)) as amount" for value in values)


def versions(*ranges: str) -> str:
    """Write versions as 'key from until', days of January, '-' for none."""
    selects = []
    for text in ranges:
        key, begin, end = text.split()
        times = [
            f"timestamp '2026-01-{day} 02:00'" if day != "-" else "cast(null as timestamp)" for day in (begin, end)
        ]
        selects.append(f"select '{key}' as id, {times[0]} as valid_from, {times[1]} as valid_to")
    return " union all ".join(selects)


OVERLAP = {"key": "id", "valid_from": "valid_from", "valid_to": "valid_to"}
RANGE = {"starts_at": "valid_from", "ends_at": "valid_to"}
TYPES = {"amount": "decimal(18,2)"}

CASES = {
    "above_zero": Case("positive_value", {"column_name": "amount"}, amounts("0.01", "5"), 0),
    "zero_is_not_positive": Case("positive_value", {"column_name": "amount"}, amounts("0", "5"), 1),
    "negative": Case("positive_value", {"column_name": "amount"}, amounts("-0.01", "-2", "5"), 2),
    "null_is_not_judged": Case("positive_value", {"column_name": "amount"}, amounts("null"), 0),
    "zero_allowed": Case("positive_value", {"column_name": "amount", "zero_allowed": True}, amounts("0", "1"), 0),
    "negative_is_never_allowed": Case(
        "positive_value", {"column_name": "amount", "zero_allowed": True}, amounts("-0.01", "0"), 1
    ),
    "ranges_follow": Case("valid_date_range", RANGE, versions("a 05 06", "a 06 -"), 0),
    "ends_before_it_begins": Case("valid_date_range", RANGE, versions("a 06 05", "b 05 06"), 1),
    "ends_as_it_begins": Case("valid_date_range", RANGE, versions("a 05 05"), 1),
    "has_no_start": Case("valid_date_range", RANGE, versions("a - 05"), 1),
    "versions_touch": Case("scd2_no_overlap", OVERLAP, versions("a 05 06", "a 06 07", "a 07 -"), 0),
    "versions_with_a_gap": Case("scd2_no_overlap", OVERLAP, versions("a 05 06", "a 08 -"), 0),
    "keys_are_apart": Case("scd2_no_overlap", OVERLAP, versions("a 05 -", "b 05 -"), 0),
    "versions_overlap": Case("scd2_no_overlap", OVERLAP, versions("a 05 07", "a 06 -"), 1),
    "two_open_versions": Case("scd2_no_overlap", OVERLAP, versions("a 05 -", "a 06 -"), 1),
    "two_open_versions_from_one_time": Case("scd2_no_overlap", OVERLAP, versions("a 05 -", "a 05 -"), 1),
    "the_same_version_twice": Case("scd2_no_overlap", OVERLAP, versions("a 05 06", "a 05 06"), 1),
    "types_as_expected": Case("column_types", {"types": TYPES}, amounts("1"), 0),
    "another_scale": Case("column_types", {"types": {"amount": "decimal(18,4)"}}, amounts("1"), 1),
    "a_column_that_is_missing": Case("column_types", {"types": {**TYPES, "id": "bigint"}}, amounts("1"), 1),
    "a_column_that_nobody_expects": Case(
        "column_types", {"types": TYPES}, f"select *, 1 as extra from ({amounts('1')})", 1
    ),
}


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, int]:
    """Build one model and one test for each case, in a dbt project that borrows ours' tests and macros."""
    project = tmp_path_factory.mktemp("dbt")
    (project / "models").mkdir()
    (project / "dbt_project.yml").write_text(
        yaml.safe_dump(
            {
                "name": "generic_tests",
                "profile": "scratch",
                "macro-paths": [str(DBT_DIR / "macros" / "engine"), str(DBT_DIR / "tests" / "generic")],
            }
        )
    )
    (project / "profiles.yml").write_text(
        yaml.safe_dump(
            {"scratch": {"target": "dev", "outputs": {"dev": {"type": "duckdb", "path": str(project / "db.duckdb")}}}}
        )
    )
    models = []
    for name, case in CASES.items():
        (project / "models" / f"{name}.sql").write_text(case.rows)
        models.append(
            {"name": name, "data_tests": [{case.test: {"name": f"test_{name}", "arguments": case.arguments}}]}
        )
    (project / "models" / "cases.yml").write_text(yaml.safe_dump({"version": 2, "models": models}))

    subprocess.run(
        [Path(sys.executable).with_name("dbt"), "build", "--quiet"],
        cwd=project,
        env={**os.environ, "DBT_SEND_ANONYMOUS_USAGE_STATS": "False"},
        check=False,
    )
    results = json.loads((project / "target" / "run_results.json").read_text())["results"]
    return {
        result["unique_id"].split(".")[2].removeprefix("test_"): result["failures"]
        for result in results
        if result["unique_id"].startswith("test.")
    }


@pytest.mark.parametrize("name", CASES)
def test_a_generic_test_finds_just_the_rows_that_are_wrong(found: dict[str, int], name: str) -> None:
    assert found[name] == CASES[name].failures
