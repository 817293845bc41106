"""A release is tagged only when its changelog is complete, everything is committed, and its version is new."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from include.settings import PROJECT_ROOT
from scripts.release import notes, release, version

CHANGELOG = """# Changelog

## [Unreleased]

## [1.2.0] - 2026-03-04

### Added

- A thing.

## [1.1.0] - 2026-01-01

- Old.
"""


def git(project: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=Test", "-c", "user.email=test@example.com"]
    return subprocess.run(
        ["git", *identity, *arguments], cwd=project, capture_output=True, text=True, check=True
    ).stdout


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for role in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{role}_NAME", "Test")
        monkeypatch.setenv(f"GIT_{role}_EMAIL", "test@example.com")
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "p"\nversion = "1.2.0"\n')
    (tmp_path / "CHANGELOG.md").write_text(CHANGELOG)
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "--quiet", "--message", "All")
    return tmp_path


def test_the_commit_is_tagged_with_the_changelogs_notes(project: Path) -> None:
    assert release(project) == "v1.2.0"
    assert (
        git(project, "tag", "--list", "--format=%(contents)", "v1.2.0").strip() == "v1.2.0\n\n### Added\n\n- A thing."
    )
    assert git(project, "rev-parse", "v1.2.0^{commit}") == git(project, "rev-parse", "HEAD")


def test_a_version_is_released_once(project: Path) -> None:
    release(project)
    with pytest.raises(ValueError, match=r"the tag v1\.2\.0 exists; raise `version` in pyproject\.toml"):
        release(project)


def test_everything_is_committed(project: Path) -> None:
    (project / "new.txt").write_text("")
    with pytest.raises(ValueError, match=r"not committed:\n\?\? new\.txt"):
        release(project)


@pytest.mark.parametrize(
    ("before", "after", "reason"),
    [
        ("## [Unreleased]\n", "## [Unreleased]\n\n- New.\n", r"changes under \[Unreleased\]"),
        ("## [1.2.0] - 2026-03-04", "## [1.2.0]", r"needs a section '## \[1\.2\.0\] - YYYY-MM-DD'"),
        ("### Added\n\n- A thing.\n", "", r"needs a section '## \[1\.2\.0\] - YYYY-MM-DD'"),
    ],
)
def test_the_changelog_is_complete(before: str, after: str, reason: str) -> None:
    assert before in CHANGELOG
    with pytest.raises(ValueError, match=reason):
        notes(CHANGELOG.replace(before, after), "1.2.0")


def test_the_changelog_knows_the_projects_version() -> None:
    changelog = (PROJECT_ROOT / "CHANGELOG.md").read_text()
    assert f"\n## [{version(PROJECT_ROOT)}] - " in changelog
