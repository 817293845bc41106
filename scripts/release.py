"""Tag the checked-out commit as the release that pyproject.toml names: `make release`."""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tomllib
from pathlib import Path

from include.settings import PROJECT_ROOT


def version(project: Path) -> str:
    """Return the project's version, e.g. 1.0.0."""
    return str(tomllib.loads((project / "pyproject.toml").read_text())["project"]["version"])


def notes(changelog: str, number: str) -> str:
    """Return the changelog's section on a version.

    Raises ValueError if it has no dated section for it, if the section is empty, or if anything is unreleased.
    """
    sections: dict[str, str] = dict(re.findall(r"^## (.+?)$(.*?)(?=^## |\Z)", changelog, re.DOTALL | re.MULTILINE))
    if sections.get("[Unreleased]", "").strip():
        raise ValueError(f"CHANGELOG.md has changes under [Unreleased]; move them to [{number}] or to a new version")
    heading = re.compile(rf"\[{re.escape(number)}\] - \d{{4}}-\d\d-\d\d")
    said = "".join(text for title, text in sections.items() if heading.fullmatch(title)).strip()
    if not said:
        raise ValueError(f"CHANGELOG.md needs a section '## [{number}] - YYYY-MM-DD' that says what has changed")
    return said


def check(project: Path) -> tuple[str, str]:
    """Return the tag and the notes of the release. Raises ValueError with the reason if no release is possible."""
    number = version(project)
    tag = f"v{number}"
    said = notes((project / "CHANGELOG.md").read_text(), number)
    if changed := _git(project, "status", "--porcelain"):
        raise ValueError(f"there are changes that are not committed:\n{changed}")
    if _git(project, "tag", "--list", tag):
        raise ValueError(f"the tag {tag} exists; raise `version` in pyproject.toml")
    return tag, said


def release(project: Path) -> str:
    """Tag the commit, with the changelog's notes as the message; return the tag. Raises ValueError like `check`."""
    tag, said = check(project)
    _git(project, "tag", "--annotate", "--cleanup=verbatim", "--message", f"{tag}\n\n{said}", tag)
    return tag


def _git(project: Path, *arguments: str) -> str:
    return subprocess.run(
        ["git", *arguments], cwd=project, stdout=subprocess.PIPE, text=True, check=True
    ).stdout.rstrip()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="only check that it can be released")
    options = parser.parse_args()
    try:
        if options.check:
            print(f"{check(PROJECT_ROOT)[0]} can be released")
        else:
            print(f"tagged {release(PROJECT_ROOT)}; publish it with: git push --follow-tags")
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
