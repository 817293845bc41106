"""The shell blocks of the documents, run as a reader would: in a copy of the repository, in order, in one shell."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from include.settings import PROJECT_ROOT
from tests.support.documents import RUN_DOCUMENTS, Block, blocks

pytestmark = pytest.mark.slow

_LEFT_BEHIND = shutil.ignore_patterns(
    ".git", ".venv", ".airflow", ".env", ".*_cache", ".hypothesis", "__pycache__", "logs", "target"
)
_MADE_BY_RUNS = ("landing", "outputs", "quality_reports", "demo", "warehouse")
_INSTALLED_FROM = ("requirements.lock", "scripts/install.sh")


def fresh_clone(folder: Path) -> Path:
    """Copy the repository as a clone would be, but for .venv, which is shared and which nothing is to install into."""
    shutil.copytree(PROJECT_ROOT, folder, ignore=_LEFT_BEHIND)
    for name in _MADE_BY_RUNS:
        shutil.rmtree(folder / "data" / name, ignore_errors=True)
    for path in (folder / "data" / "duckdb").glob("lc_pipeline*"):
        path.unlink()
    shutil.copytree(PROJECT_ROOT / "dbt" / "target", folder / "dbt" / "target", ignore=shutil.ignore_patterns("tmp*"))
    (folder / ".venv").symlink_to((PROJECT_ROOT / ".venv").resolve())
    for name in _INSTALLED_FROM:  # older than .venv/.installed, so that make finds it up to date
        os.utime(folder / name, (0, 0))
    return folder


def script_of(document: str, to_run: list[Block]) -> str:
    """Return one script of all blocks, each announced."""
    parts = ["set -eu"]
    for block in to_run:
        parts += [f"echo '=== {document}, line {block.line}'", block.text]
    return "\n".join(parts) + "\n"


def a_strangers_environment() -> dict[str, str]:
    """Return what a shell has from the start: nothing of this repository's, and nothing of pytest's."""
    kept = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "TZ", "USER", "SSL_CERT_FILE")
    return {name: value for name, value in os.environ.items() if name in kept}


@pytest.mark.parametrize("document", RUN_DOCUMENTS)
def test_every_shell_block_does_what_it_says(document: str, tmp_path: Path) -> None:
    found = blocks((PROJECT_ROOT / document).read_text(encoding="utf-8"))
    to_run = [block for block in found if block.language == "sh" and not block.not_run]
    folder = fresh_clone(tmp_path / "clone")

    ended = subprocess.run(
        ["bash", "-c", script_of(document, to_run)],
        cwd=folder,
        env=a_strangers_environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=900,
        check=False,
    )

    of_last_block = ended.stdout.rpartition("=== ")[2]
    assert ended.returncode == 0, of_last_block[:200] + " ... " + of_last_block[-5000:]
    assert ended.stdout.count("=== ") >= len(to_run)
