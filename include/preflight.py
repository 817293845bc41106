"""Checks, before anything changes, that a run can write to all its paths."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from include.errors import PipelineError, one_line
from include.exports import CURRENT, FILES, MANIFEST
from include.settings import Settings

LONGEST_PATH = ("x" * 90, "x" * 140)
"""Two names, as long as those that a run creates below a folder of the settings (files.run_key, a temporary name)."""


class UnusablePath(PipelineError):
    """A path of the settings can't be written to. The message names the variable, the path and the reason."""


def check_paths(settings: Settings, *variables: str) -> None:
    """Create the folders of `variables`, by default all that a run writes to; raise UnusablePath if one can't be used.

    The check does what the run will do: it creates a file in each folder and, for the exports, a symbolic link. It
    removes them again.
    """
    checks: dict[str, Callable[[], None]] = {
        "DATA_QUALITY_REPORT_PATH": lambda: _check_folder(settings.data_quality_report_path),
        "LANDING_PATH": lambda: _check_folder(settings.landing_path),
        "OUTPUT_PATH": lambda: _check_exports(settings.output_path),
        "DUCKDB_PATH": lambda: _check_database(settings.duckdb_path),
    }
    written = [variable for variable in checks if variable != "DUCKDB_PATH" or settings.database_type == "duckdb"]
    for variable in variables or written:
        try:
            checks[variable]()
        except OSError as error:
            raise UnusablePath(f"{variable} can't be written to: {one_line(error)}") from error


def _check_folder(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(folder))
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with tempfile.TemporaryFile(dir=folder) as file:  # has no name, so a crash leaves nothing behind
            file.write(b"\n")
            file.flush()
        folder.joinpath(*LONGEST_PATH).stat()
    except FileNotFoundError:
        pass  # the path does not exist, but it is not too long
    except OSError as error:
        error.filename = str(folder)
        raise


def _check_exports(folder: Path) -> None:
    _check_folder(folder)
    for name in (CURRENT, *FILES, MANIFEST):
        if (folder / name).is_dir() and not (folder / name).is_symlink():
            raise UnusablePath(
                f"OUTPUT_PATH: {folder / name} is a folder: expected the link that a run makes; remove it"
            )
    if (folder / CURRENT).is_symlink():
        return
    link = folder / f"{CURRENT}.{os.getpid()}.tmp"
    link.unlink(missing_ok=True)
    try:
        link.symlink_to(MANIFEST)
    except OSError as error:
        raise UnusablePath(
            f"OUTPUT_PATH: {folder} takes no symbolic links ({error.strerror}), by which all exports are replaced "
            "together: let OUTPUT_PATH name a folder of another file system, and copy the files from there"
        ) from error
    link.unlink()


def _check_database(path: Path) -> None:
    _check_folder(path.parent)
    if not path.exists():
        return
    if not os.access(path, os.W_OK):  # not opened: closing it would drop DuckDB's locks
        raise UnusablePath(f"DUCKDB_PATH: {path} can't be written to: expected write permission")
    if path.stat().st_size == 0:
        raise UnusablePath(f"DUCKDB_PATH: {path} is empty: expected a DuckDB file, or none: remove it")
