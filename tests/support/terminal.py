"""Pseudo-terminals: what a command shows on one."""

from __future__ import annotations

import os
import re
import select
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

_CONTROLS = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def read_terminal(master: int) -> str:
    """Return what has been written to a pseudo-terminal so far, without what moves the cursor and colours."""
    written = b""
    while select.select([master], [], [], 0)[0]:
        try:
            part = os.read(master, 65536)
        except OSError:  # Linux says so where the other side is closed
            break
        written += part
    return _CONTROLS.sub("", written.decode(errors="replace"))


def run_on_terminal(
    arguments: Sequence[str], *, cwd: Path, environment: Mapping[str, str]
) -> tuple[subprocess.CompletedProcess[str], str]:
    """Run a command whose stderr is a terminal; return it with its stdout, and what the terminal has shown."""
    master, slave = os.openpty()
    process = subprocess.Popen(
        arguments,
        cwd=cwd,
        env={**environment, "TERM": "xterm", "COLUMNS": "120"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=slave,
        text=True,
    )
    os.close(slave)
    shown = b""
    while True:
        try:
            part = os.read(master, 65536)
        except OSError:
            break
        if not part:
            break
        shown += part
    os.close(master)
    printed, _ = process.communicate()
    ended = subprocess.CompletedProcess(arguments, process.returncode, printed)
    return ended, _CONTROLS.sub("", shown.decode(errors="replace"))
