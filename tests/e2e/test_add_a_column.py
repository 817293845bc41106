"""The recipe for a new column (docs/guides/development.md), followed in a copy of the repository."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.support.clones import a_strangers_environment, fresh_clone
from tests.support.project import ADD_A_COLUMN

pytestmark = pytest.mark.slow

RECIPE = """
set -eu
git init -q . && git add . && git -c user.name=a -c user.email=a@example.org commit -qm "as it was"
git apply "$1"
make docs expected
git status --porcelain
"""
FAST_PART = """
set -eu
. ./env.sh
pytest -q -p no:cacheprovider -m "not slow" tests/unit tests/dags
pytest -q -p no:cacheprovider tests/integration/test_generated_deliveries.py -k reference
pytest -q -p no:cacheprovider tests/integration/test_report_of_deliveries.py -k every_column
"""


def run(script: str, folder: Path) -> str:
    ended = subprocess.run(
        ["bash", "-c", script, "bash", ADD_A_COLUMN],
        cwd=folder,
        env=a_strangers_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=1800,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout[-5000:]
    return ended.stdout


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """A copy with one more column, and the files that it took."""
    folder = fresh_clone(tmp_path_factory.mktemp("recipe") / "clone")
    status = run(RECIPE, folder).splitlines()
    return folder, [line.removeprefix(" M ") for line in status if line.startswith(" M ")]


def test_a_column_takes_twelve_files_and_the_sample_days_show_it(copy: tuple[Path, list[str]]) -> None:
    folder, changed = copy

    assert len(changed) <= 12, changed
    assert "| opened_date |" in (folder / "tests" / "e2e" / "expected" / "sample_days.md").read_text()


def test_the_fast_tests_pass_and_every_delivery_and_rebuild_equals_the_reference(copy: tuple[Path, list[str]]) -> None:
    folder, _ = copy

    run(FAST_PART, folder)
