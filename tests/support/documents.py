"""What the tests of the documentation read: the repository's documents, their code, and their shell blocks."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from include.settings import PROJECT_ROOT

RUN_DOCUMENTS = ("README.md", "QUICK_START.md", "PIPELINE_EXECUTION_GUIDE.md")
"""The documents whose shell blocks are run by tests/e2e/test_shell_blocks.py."""

_MADE_BY_RUNS = ("dbt/target", "dbt/logs", "logs", *(f"data/{name}" for name in ("landing", "demo", "warehouse")))
_NOT_RUN = re.compile(r"<!-- not run: (\S.*?) -->")


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, its text, the line it begins in (from 1), and why it is not run, if it is not."""

    language: str
    text: str
    line: int
    not_run: str | None


def documents() -> list[Path]:
    """Return every Markdown file of the repository, without what is installed or made by a run."""
    found = []
    for path in PROJECT_ROOT.rglob("*.md"):
        relative = path.relative_to(PROJECT_ROOT)
        is_hidden = any(part.startswith(".") for part in relative.parts)
        if not is_hidden and not str(relative).startswith(_MADE_BY_RUNS):
            found.append(path)
    return sorted(found)


def blocks(text: str) -> list[Block]:
    """Return the fenced blocks of a document, in order."""
    found: list[Block] = []
    lines = text.splitlines()
    opened: int | None = None
    for number, line in enumerate(lines):
        if not line.startswith("```"):
            continue
        if opened is None:
            opened = number
            continue
        mark = _NOT_RUN.fullmatch(lines[opened - 1]) if opened else None
        found.append(
            Block(lines[opened][3:].strip(), "\n".join(lines[opened + 1 : number]), opened + 1, mark and mark[1])
        )
        opened = None
    return found


def prose(text: str) -> str:
    """Return a document without its fenced blocks and code spans."""
    without_blocks = re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)
    return re.sub(r"(`+)(?!`).*?(?<!`)\1(?!`)", "", without_blocks, flags=re.DOTALL)


def code(text: str) -> list[str]:
    """Return what a document shows as code: the lines of its shell blocks, and its code spans."""
    without_blocks = re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)
    spans = [found[1] for found in re.findall(r"(`+)(?!`)(.+?)(?<!`)\1(?!`)", without_blocks, flags=re.DOTALL)]
    return [line for block in blocks(text) if block.language in ("sh", "") for line in block.text.splitlines()] + spans


def anchors(text: str) -> set[str]:
    """Return the anchors of a document's headings, as GitHub makes them."""
    without_blocks = re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)
    found: dict[str, int] = {}
    result = set()
    for heading in re.findall(r"^#{1,6} +(.+?) *$", without_blocks, flags=re.MULTILINE):
        visible = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "")
        anchor = re.sub(r"[^\w\- ]", "", visible.lower()).replace(" ", "-")
        count = found.get(anchor, 0)
        found[anchor] = count + 1
        result.add(f"{anchor}-{count}" if count else anchor)
    return result
