"""How the server ends: a signal may find it anywhere."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from include.settings import PROJECT_ROOT

SIGNAL_AT_EACH_LINE = """
import signal, sys
from local_warehouse import __main__ as server

class NoEngine:
    restart = attach_schema = stop = lambda *_: None

def line(*_):  # the first line of output: from here on, a client may send the signal
    sys.settrace(trace)
    return "ready"

def trace(frame, event, _):
    global left
    left -= event == "line"
    if left == 0:
        sys.settrace(None)
        signal.raise_signal(signal.SIGTERM)
    return trace

server.SailEngine, server._line = NoEngine, line
for left in range(1, 26):
    assert server.main(["--folder", sys.argv[1]]) == 0
"""


def test_a_signal_ends_it_at_whatever_line_of_python_it_comes(tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", SIGNAL_AT_EACH_LINE, tmp_path],
        cwd=PROJECT_ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.split() == ["ready"] * 25
