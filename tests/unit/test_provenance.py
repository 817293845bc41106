"""Which revision a run is of."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from include import provenance
from include.provenance import git_revision


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    def git(*arguments: str) -> None:
        identity = ["-c", "user.name=Ada", "-c", "user.email=ada@example.com"]
        subprocess.run(["git", "-C", tmp_path, *identity, *arguments], check=True, capture_output=True)

    git("init")
    (tmp_path / "file").write_text("one")
    git("add", "file")
    git("commit", "--message", "first")
    git("tag", "v1")
    monkeypatch.setattr(provenance, "PROJECT_ROOT", tmp_path)
    return tmp_path


def test_a_checkout_has_the_revision_of_its_commit(checkout: Path) -> None:
    head = subprocess.run(["git", "-C", checkout, "rev-parse", "HEAD"], check=True, capture_output=True, text=True)

    assert git_revision() == head.stdout.strip()


def test_a_changed_file_makes_it_dirty(checkout: Path) -> None:
    (checkout / "file").write_text("two")

    revision = git_revision()
    assert revision is not None
    assert revision.endswith("-dirty")


def test_an_image_has_the_revision_that_it_was_built_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provenance, "PROJECT_ROOT", tmp_path)
    monkeypatch.setenv("GIT_REVISION", "abc123")

    assert git_revision() == "abc123"


def test_where_there_is_neither_it_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provenance, "PROJECT_ROOT", tmp_path)
    monkeypatch.delenv("GIT_REVISION", raising=False)

    assert git_revision() is None
