"""What is shown of a command's steps: bars on a terminal, lines elsewhere, nothing where nobody asked."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

import pytest

from include.progress import display, shown, step
from tests.support.terminal import read_terminal


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[int, TextIO]]:
    """A pseudo-terminal: its master's descriptor, and the side that a command writes to."""
    monkeypatch.setenv("TERM", "xterm")
    master, slave = os.openpty()
    with os.fdopen(slave, "w") as stream:
        yield master, stream
    os.close(master)


def test_without_a_terminal_each_step_is_one_line_when_it_is_done() -> None:
    stream = io.StringIO()
    with display(stream) as shown_on:
        with shown_on.step("ingest") as update:
            update("half", 1, 2)
            update("2 records", 2, 2)
        assert stream.getvalue().startswith("ingest: 2 records (")
        with shown_on.step("publish"):
            pass

    assert [line.partition(" (")[0] for line in stream.getvalue().splitlines()] == ["ingest: 2 records", "publish"]


def test_on_a_terminal_a_step_has_a_bar_and_words(terminal: tuple[int, TextIO]) -> None:
    master, stream = terminal
    with display(stream) as shown_on, shown_on.step("ingest") as update:
        update("[b]half[/b] of it", 1, 2)

    text = read_terminal(master)
    assert "ingest" in text
    assert "[b]half[/b] of it" in text
    assert "0:00:00" in text


def test_on_a_terminal_a_step_that_fails_is_marked_and_its_error_goes_on(terminal: tuple[int, TextIO]) -> None:
    master, stream = terminal
    with pytest.raises(ValueError, match="no"), display(stream) as shown_on, shown_on.step("ingest"):
        raise ValueError("no")

    assert "ingest failed" in read_terminal(master)


def test_on_a_dumb_terminal_there_are_lines(terminal: tuple[int, TextIO], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    master, stream = terminal
    with display(stream) as shown_on, shown_on.step("ingest"):
        pass

    assert read_terminal(master).startswith("ingest (")


def test_a_terminal_that_knows_ascii_alone_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    master, slave = os.openpty()
    with os.fdopen(slave, "w", encoding="ascii") as stream, display(stream) as shown_on, shown_on.step("ingest"):
        pass

    assert "ingest" in read_terminal(master)


def test_without_a_terminal_a_step_that_fails_leaves_the_line_to_its_error() -> None:
    stream = io.StringIO()
    with pytest.raises(ValueError, match="no"), display(stream) as shown_on, shown_on.step("ingest"):
        raise ValueError("no")

    assert stream.getvalue() == ""


def test_nothing_is_shown_unless_a_command_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    with step("ingest") as update:
        update("half", 1, 2)

    assert capsys.readouterr() == ("", "")


def test_what_a_command_shows_is_on_stderr_and_ends_with_it(capsys: pytest.CaptureFixture[str]) -> None:
    with shown(), step("ingest"):
        pass
    with step("publish"):
        pass

    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("ingest (")
    assert "publish" not in printed.err


def test_the_work_goes_on_where_nobody_reads_stderr_any_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = False
    monkeypatch.setattr(sys, "stderr", os.fdopen(writer, "w", buffering=1))
    with shown(), step("ingest"):
        done = True

    assert done
