"""Writing files so that neither a reader nor a crash ever sees half of one."""

from __future__ import annotations

import fcntl
import glob
import hashlib
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from include.errors import PipelineError


class Locked(PipelineError):
    """Another process holds the lock; the message names the lock's file and the process."""


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path` to write to, then make it durable and rename it to `path`.

    When the body raises, `path` stays as it was. The folder is created if it is missing, and what a killed process left
    there of an earlier try is removed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    for left_behind in path.parent.glob(f".{glob.escape(path.name)}.*.tmp"):
        left_behind.unlink(missing_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        sync(temporary)
        temporary.replace(path)
        sync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def sync(path: Path) -> None:
    """Wait until a file's content, or a folder's list of names, is on disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file's content in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def lock(path: Path, doing: str) -> Iterator[None]:
    """Hold an exclusive lock on a file for the length of the body; the kernel lets go of it if the process dies.

    Raises Locked at once, saying who is `doing` what, if another process holds it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise Locked(f"{path} is locked: {file.read().strip() or 'another process'}; wait for it to end") from None
        file.truncate(0)
        file.write(f"process {os.getpid()} is {doing}\n")
        file.flush()
        yield


@contextmanager
def scratch_folder(folder: Path) -> Iterator[Path]:
    """Give an empty folder, without what a killed process has left in it, and remove it afterwards."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def run_key(run_id: str) -> str:
    """Return a run id as a name for files: Airflow's contain colons and plus signs."""
    return re.sub(r"[^A-Za-z0-9._-]", "_", run_id)
