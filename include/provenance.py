"""What ran: the revision of this project and the versions of what it stands on."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version

from include.settings import PROJECT_ROOT


def git_revision() -> str | None:
    """Return the commit of this checkout, with -dirty where tracked files differ from it.

    An image has no checkout; its build puts the commit into GIT_REVISION. Where there is neither: None.
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
    """Return the version of a package, None where it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None
