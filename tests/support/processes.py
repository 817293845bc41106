"""Other processes, and waiting for them."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path


@contextmanager
def held_by_another_process(database: Path) -> Iterator[subprocess.Popen[str]]:
    """Have another process, which is yielded, hold a DuckDB file."""
    script = f"import duckdb, sys; c = duckdb.connect({str(database)!r}); print('held', flush=True); sys.stdin.read()"
    process = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    process.stdout.readline()
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port: int = listening.getsockname()[1]
        return port


def is_listening(port: int) -> bool:
    """Return whether a server on this machine takes connections at a port."""
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def error_line(stderr: str) -> str:
    """Return the one line that says what is wrong; those before it, if there are any, are steps that were done."""
    *steps, error = stderr.splitlines()
    assert [line for line in steps if not re.fullmatch(r"\S.* \(\d+\.\d s\)", line)] == [], stderr
    return error


def wait_until(happened: Callable[[], object], *, seconds: int, every: float = 1) -> None:
    """Look every `every` seconds whether something has happened; raise TimeoutError if it has not within `seconds`."""
    end = time.monotonic() + seconds
    while not happened():
        if time.monotonic() > end:
            raise TimeoutError(f"waited {seconds} s")
        time.sleep(every)


def let_the_schedule_pass(within: timedelta) -> None:
    """Wait until 02:06 UTC if it is that near.

    The scheduled run of 02:00 would begin in the middle of a test, or within 5 minutes as the DAG is unpaused.
    """
    now = datetime.now(UTC)
    remaining = now.replace(hour=2, minute=6, second=0, microsecond=0) - now
    if timedelta(0) < remaining < within:
        time.sleep(remaining.total_seconds())
