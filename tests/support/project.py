"""A copy of the dbt project that the pipeline uses in place of the repository's, for tests that change it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from include.dbt import runner
from include.settings import PROJECT_ROOT

ADD_A_COLUMN = PROJECT_ROOT / "docs" / "guides" / "add_a_column.patch"
"""The recipe of docs/guides/development.md: accounts.csv may have a column OpenedDate, and account_summary has it."""


def use_copy(folder: Path, patch: pytest.MonkeyPatch) -> Path:
    """Copy the dbt project into `folder` and let the pipeline use the copy; return its path."""
    project = folder / "dbt"
    shutil.copytree(runner.DBT_DIR, project, ignore=shutil.ignore_patterns("target", "logs"))
    patch.setattr(runner, "DBT_DIR", project)
    return project


def add_column(project: Path) -> None:
    """Change a copy of the dbt project as ADD_A_COLUMN does."""
    subprocess.run(["git", "apply", "--include=dbt/*", ADD_A_COLUMN], cwd=project.parent, check=True)
