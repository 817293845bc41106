"""Deliveries in a process of their own, which is killed (SIGKILL) at a moment that a test chooses.

A moment is a line of text: `rename PATH` or `symlink PATH` just before a file gets its name; `sql STATEMENT` before a
statement to the engine, `sql done STATEMENT` just after it (not committed, where dbt has opened a transaction).
"""

from __future__ import annotations

import itertools
import multiprocessing
import os
import re
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import redirect_stdout
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from databricks.sql.client import Cursor as DatabricksCursor
from dbt.adapters.duckdb.environments.local import DuckDBCursorWrapper

from include.dbt.cosmos import preload, warm_up

_processes = multiprocessing.get_context("forkserver")  # dbt is warmed up once, in the server
_processes.set_forkserver_preload([__name__])
warm_up()
preload("databricks")

Moment = str | int | None
"""A regular expression for the moment to die at (its first occurrence), the moment's number, or None: live."""


def run_and_die(
    action: Callable[..., Any], *arguments: Any, at: Moment = None, after: float | None = None
) -> list[str]:
    """Call `action(*arguments)` in a process that dies at a moment, or `after` seconds; return the moments it saw.

    Raises AssertionError where the process did anything other than die there, or come to its end.
    """
    receiving, sending = _processes.Pipe(duplex=False)
    process = _processes.Process(target=_child, args=(sending, at, action, arguments))
    process.start()
    sending.close()
    moments = _received(receiving, process if after is not None else None, after)
    process.join()
    if after is None:
        expected = 0 if at is None else -signal.SIGKILL
        assert process.exitcode == expected, f"exit code {process.exitcode}, not {expected}, after {moments[-5:]}"
    return moments


def _received(receiving: Connection, process: Any, after: float | None) -> list[str]:
    timer = threading.Timer(after or 0, lambda: process and process.kill())
    timer.start()
    moments = []
    try:
        while True:
            moments.append(receiving.recv())
    except EOFError:
        return moments
    finally:
        timer.cancel()


def _child(sending: Connection, at: Moment, action: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    numbers, telling = itertools.count(), threading.Lock()

    def moment(text: str) -> None:
        with telling:
            sending.send(text)
            if next(numbers) == at or (isinstance(at, str) and re.search(at, text)):
                os.kill(os.getpid(), signal.SIGKILL)

    def audit(event: str, arguments: tuple[Any, ...]) -> None:
        if event in ("os.rename", "os.symlink"):
            moment(f"{event.removeprefix('os.')} {os.fspath(arguments[1])}")

    def telling_execute(execute: Callable[..., Any]) -> Callable[..., Any]:
        def told(self: Any, sql: str, *others: Any, **named: Any) -> Any:
            statement = " ".join(re.sub(r"^\s*/\*.*?\*/", "", sql, flags=re.DOTALL).split())[:2000]
            moment(f"sql {statement}")
            result = execute(self, sql, *others, **named)
            moment(f"sql done {statement}")
            return result

        return told

    for cursor in (DuckDBCursorWrapper, DatabricksCursor):
        cursor.execute = telling_execute(cursor.execute)
    sys.addaudithook(audit)
    with Path(os.devnull).open("w") as nowhere, redirect_stdout(nowhere):
        action(*arguments)
