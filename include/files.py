"""Writes files atomically: a reader never sees half a file, and a crash never leaves one."""

from __future__ import annotations

import errno
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

_SAFE_RUN_ID = re.compile(r"(?!.*-[0-9a-f]{16}$)[a-z0-9_]([a-z0-9._-]{0,78}[a-z0-9_])?")
"""Run ids that are file names as they are: none differs from another in case only, or looks like run_key()'s output."""


class Locked(PipelineError):
    """Another process holds the lock. The message names the lock file and the process."""


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path` to write to, then make it durable and rename it to `path`.

    If the body raises, `path` stays as it was. The folder is created if it is missing, and files that a killed process
    left there are removed. An OSError that names no file, such as that of a full disk, is made to name `path`.
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
    except OSError as error:
        if error.filename is None:
            error.filename = str(path)
        raise
    finally:
        temporary.unlink(missing_ok=True)


def sync(path: Path) -> None:
    """Wait until a file's content, or a folder's list of names, is on disk.

    File systems that can't sync a folder (CIFS, some FUSE) return EINVAL or ENOTSUP, which is ignored.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if not (path.is_dir() and error.errno in (errno.EINVAL, errno.ENOTSUP)):
            raise
    finally:
        os.close(descriptor)


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file's content in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def lock(path: Path, doing: str) -> Iterator[None]:
    """Hold an exclusive lock on a file while the body runs. The kernel releases it if the process dies.

    Raises Locked at once if another process holds it, naming the process and what it is `doing`, and PipelineError if
    the file system has no locks.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise Locked(f"{path} is locked: {file.read().strip() or 'another process'}; wait for it to end") from None
        except OSError as error:
            raise PipelineError(
                f"{path} can't be locked ({error.strerror}): expected a file system with locks (flock)"
            ) from error
        file.truncate(0)
        file.write(f"process {os.getpid()} is {doing}\n")
        file.flush()
        yield


@contextmanager
def scratch_folder(folder: Path) -> Iterator[Path]:
    """Yield an empty folder, and remove it afterwards. Files that a killed process left in it are removed first.

    Files that can't be removed, such as the `.nfs...` of a file that is still open on NFS, are left behind.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def show(path: Path, name: Path) -> None:
    """Make `name` a link to a file or folder, or a copy if the file system has no symbolic links."""
    name.parent.mkdir(parents=True, exist_ok=True)
    try:
        name.symlink_to(path)
    except OSError:
        if path.is_dir():
            shutil.copytree(path, name)
        else:
            shutil.copy2(path, name)


def run_key(run_id: str) -> str:
    """Return a run id as a file name of at most 80 characters, unique per run id.

    Airflow's run ids have up to 250 characters, including colons and plus signs. An id that is not a safe file name
    (also on a file system that ignores case) is reduced to its safe characters, and a hash makes it unique.
    """
    if _SAFE_RUN_ID.fullmatch(run_id):
        return run_id
    readable = re.sub(r"[^A-Za-z0-9._-]", "_", run_id)[:60].lstrip(".")
    return f"{readable}-{hashlib.sha256(run_id.encode()).hexdigest()[:16]}"
