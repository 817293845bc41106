"""Shows the progress of a command on stderr: bars on a terminal, otherwise a line per finished step.

Code reports its steps with `step()`; the command chooses once, with `shown()`, where they are shown. Without that, as
in Airflow's tasks, nothing is shown. If stderr can't be written to, the work continues.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from contextvars import ContextVar
from typing import TYPE_CHECKING, Protocol, TextIO

if TYPE_CHECKING:
    from rich.progress import Progress


class Update(Protocol):
    """Show the progress of a step: a text, and `done` of `total` in any unit for the bar. Any thread may call it."""

    def __call__(self, text: str, done: float = 0, total: float = 0) -> None: ...


class Display(Protocol):
    """A place where steps are shown."""

    def step(self, name: str) -> AbstractContextManager[Update]:
        """Show a step while the body runs; yield the function that reports its progress."""
        ...


class _Nothing:
    @contextmanager
    def step(self, name: str) -> Iterator[Update]:
        yield lambda text, done=0, total=0: None


class _Lines:
    """One line per finished step. A step that fails has none: its error is shown where it is caught."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    @contextmanager
    def step(self, name: str) -> Iterator[Update]:
        began, said = time.monotonic(), [""]

        def update(text: str, done: float = 0, total: float = 0) -> None:
            said[0] = text

        yield update
        words = f"{name}: {said[0]}" if said[0] else name
        with suppress(OSError, ValueError):  # stderr is closed
            print(f"{words} ({time.monotonic() - began:.1f} s)", file=self._stream, flush=True)


class _Bars:
    """One row per step, with its bar and its seconds."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    @contextmanager
    def step(self, name: str) -> Iterator[Update]:
        row = self._progress.add_task(name, total=None, text="")

        def update(text: str, done: float = 0, total: float = 0) -> None:
            self._progress.update(row, text=text, completed=done, total=total or None)

        try:
            yield update
            self._progress.update(row, completed=1, total=1)
        except BaseException:
            self._progress.update(row, description=f"{name} failed")
            raise
        finally:
            self._progress.stop_task(row)


_shown: ContextVar[Display] = ContextVar("shown")


def step(name: str) -> AbstractContextManager[Update]:
    """Show a step of the work on the command's display, if there is one. See Display.step()."""
    return _shown.get(_Nothing()).step(name)


@contextmanager
def shown() -> Iterator[None]:
    """Show the steps of the body on stderr."""
    with display(sys.stderr) as on_stderr:
        token = _shown.set(on_stderr)
        try:
            yield
        finally:
            _shown.reset(token)


@contextmanager
def hidden() -> Iterator[None]:
    """Don't show the steps of the body: they are parts of a step that is already shown."""
    token = _shown.set(_Nothing())
    try:
        yield
    finally:
        _shown.reset(token)


@contextmanager
def display(stream: TextIO) -> Iterator[Display]:
    """Yield the display for a stream: bars on a terminal, otherwise lines."""
    if _is_terminal(stream):
        with _bars(stream) as bars:
            yield bars
    else:
        yield _Lines(stream)


def _is_terminal(stream: TextIO) -> bool:
    return stream.isatty() and os.environ.get("TERM", "") not in ("", "dumb", "unknown")


@contextmanager
def _bars(stream: TextIO) -> Iterator[Display]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
    from rich.table import Column

    progress = Progress(
        SpinnerColumn("line", finished_text=" "),  # ASCII, since a terminal may support nothing else
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=20),
        TimeElapsedColumn(),
        TextColumn("{task.fields[text]}", markup=False, table_column=Column(no_wrap=True, overflow="ellipsis")),
        console=Console(file=stream),
        refresh_per_second=2,  # 1 % of a core
        redirect_stdout=False,  # stdout has the result of the command
        redirect_stderr=stream is sys.stderr,  # log lines appear above the bars
    )
    with suppress(OSError):
        progress.start()
    try:
        yield _Bars(progress)
    finally:
        with suppress(OSError):
            progress.stop()
