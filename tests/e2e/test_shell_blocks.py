"""The shell blocks of the documents, run as a reader would: in a copy of the repository, in order, in one shell."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from include.settings import PROJECT_ROOT
from tests.support.clones import a_strangers_environment, fresh_clone
from tests.support.documents import RUN_DOCUMENTS, Block, blocks

pytestmark = pytest.mark.slow


def script_of(document: str, to_run: list[Block]) -> str:
    """Return one script of all blocks, each announced."""
    parts = ["set -eu"]
    for block in to_run:
        parts += [f"echo '=== {document}, line {block.line}'", block.text]
    return "\n".join(parts) + "\n"


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
