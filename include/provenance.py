"""The revision of this project and the versions of its dependencies, for the report."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version

from include.settings import PROJECT_ROOT


def git_revision() -> str | None:
    """Return the commit of this checkout, with -dirty if tracked files differ from it.

    An image has no checkout; its build sets GIT_REVISION to the commit. Return None if there is neither.
    """
    if not (PROJECT_ROOT / ".git").exists():
        return os.environ.get("GIT_REVISION") or None
    command = ["git", "-C", str(PROJECT_ROOT), "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=20).stdout.strip() or None
    except (OSError, subprocess.SubprocessError):  # no git, or a folder that belongs to somebody else
        return None


def python_version() -> str:
    """Return Python's version."""
    return platform.python_version()


def package_version(package: str) -> str | None:
    """Return the version of a package, or None if it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None
