"""`python -m include.deliver` in a checkout where nothing was built, or where dbt/ has changed since."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from include.settings import PROJECT_ROOT
from tests.support.deliveries import day
from tests.support.settings import environment_of, settings_in

pytestmark = pytest.mark.slow

BUILT = shutil.ignore_patterns("target", "logs", "__pycache__")


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what include.deliver needs, and of nothing that was built."""
    folder = tmp_path_factory.mktemp("clone")
    for name in ("include", "dbt"):
        shutil.copytree(PROJECT_ROOT / name, folder / name, ignore=BUILT)
    return folder


def deliver_in(clone: Path, number: int) -> tuple[subprocess.CompletedProcess[str], dict[str, Any]]:
    """Deliver the sample files of a day; return how the process ended, and the newest report."""
    settings = settings_in(clone / "data", INPUT_PATH=str(PROJECT_ROOT / "data" / "inputs"))
    ended = subprocess.run(
        [sys.executable, "-m", "include.deliver", "--logical-date", day(number).isoformat()],
        cwd=clone,
        env={**os.environ, **environment_of(settings), "PYTHONPATH": str(clone)},
        capture_output=True,
        text=True,
        check=False,
    )
    reports = settings.data_quality_report_path.glob("*.json")
    newest = max(reports, key=lambda path: path.stat().st_mtime_ns, default=None)
    return ended, json.loads(newest.read_text()) if newest else {}


def test_a_project_that_dbt_cannot_parse_is_an_error_before_any_file_is_taken(clone: Path) -> None:
    broken = clone / "dbt" / "models" / "marts" / "broken.sql"
    broken.write_text("select * from {{ ref('nothing') }}\n")
    try:
        ended, report = deliver_in(clone, 5)
    finally:
        broken.unlink()

    assert (ended.returncode, report) == (1, {})
    assert ended.stderr.startswith("error: dbt could not parse")
    assert ended.stderr.count("\n") == 1
    assert not (clone / "data" / "landing" / "ledger.jsonl").exists()


def test_where_nothing_was_built_the_whole_delivery_is_done_and_reported(clone: Path) -> None:
    ended, report = deliver_in(clone, 5)

    assert ended.returncode == 0, ended.stderr
    assert report["totals"]["tests"]["not_run"] == 0
    assert report["verdict"] == "warn"


def test_what_was_added_to_the_project_since_it_was_built_runs_and_is_reported(clone: Path) -> None:
    deliver_in(clone, 5)
    added = clone / "dbt" / "tests" / "marts" / "assert_added.sql"
    added.write_text("-- Nothing.\nselect * from {{ ref('customer_profile') }} where 1 = 0\n")

    ended, report = deliver_in(clone, 6)

    assert ended.returncode == 0, ended.stderr
    assert {test["name"]: test["status"] for test in report["tests"]}["assert_added"] == "pass"
