"""Copies of the repository, as a stranger would have them."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from include.settings import PROJECT_ROOT

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


def a_strangers_environment() -> dict[str, str]:
    """Return what a shell has from the start: nothing of this repository's, and nothing of pytest's."""
    kept = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "TZ", "USER", "SSL_CERT_FILE")
    return {name: value for name, value in os.environ.items() if name in kept}
