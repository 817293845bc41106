"""How commands end: one line on stderr, and a status."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest

from include import deliver, preview, rebuild, turns
from include.errors import INTERRUPTED, PipelineError, one_line
from include.past import embedded
from tests.support.settings import settings_in


@pytest.mark.parametrize(
    ("date", "message"),
    [
        ("2026-01-06", "lacks its offset from UTC: write 2026-01-06T00:00:00Z"),
        ("2026-01-06T02:00", "lacks its offset from UTC: write 2026-01-06T02:00:00Z"),
        ("0001-01-01T00:00:00+14:00", "is not an ISO 8601 time"),
        ("yesterday", "is not an ISO 8601 time"),
    ],
)
def test_a_logical_date_that_cannot_be_used_is_refused_with_one_that_can(
    capsys: pytest.CaptureFixture[str], date: str, message: str
) -> None:
    with pytest.raises(SystemExit):
        deliver.main(["--logical-date", date])
    assert message in capsys.readouterr().err


def interrupted(*_: object, **__: object) -> NoReturn:
    raise KeyboardInterrupt


def interrupted_in_a_library(*_: object, **__: object) -> NoReturn:
    try:
        raise KeyboardInterrupt
    except BaseException:
        raise ValueError("not valid") from None


@pytest.mark.parametrize("stop", [interrupted, interrupted_in_a_library])
@pytest.mark.parametrize(
    ("command", "called"),
    [
        (deliver.main, "include.deliver.deliver"),
        (preview.main, "include.preview.deliver"),
        (rebuild.main, "include.rebuild.rebuild"),
    ],
    ids=["deliver", "preview", "rebuild"],
)
def test_ctrl_c_ends_a_command_in_one_line(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    command: Callable[[list[str]], int],
    called: str,
    stop: Callable[..., NoReturn],
) -> None:
    monkeypatch.setenv("LANDING_PATH", str(tmp_path / "landing"))
    monkeypatch.setenv("DUCKDB_PATH", str(tmp_path / "duckdb" / "lc.duckdb"))
    monkeypatch.setattr(called, stop)

    assert command([]) == INTERRUPTED

    [line] = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error")]
    assert line.startswith("error: interrupted")


def test_errors_that_are_each_others_cause_are_one_line_too() -> None:
    first, second = ValueError("first"), ValueError("second")
    first.__cause__, second.__cause__ = second, first
    assert one_line(first) == "first"


@pytest.mark.parametrize("content", ["", "{}", "[]", "\x00"])
def test_a_damaged_turn_is_an_error_that_names_the_file(tmp_path: Path, content: str) -> None:
    turns.take(tmp_path, "some run")
    (tmp_path / ".turn.json").write_text(content)
    with pytest.raises(turns.NotItsTurn, match=r"\.turn\.json is damaged: remove it"):
        turns.holder(tmp_path)


@pytest.mark.parametrize("folder", ["what?", "back\\slash"])
def test_a_copy_of_the_history_is_not_put_where_duckdb_would_write_elsewhere(tmp_path: Path, folder: str) -> None:
    with pytest.raises(PipelineError, match="expected a path without"):
        embedded(settings_in(tmp_path), tmp_path / folder)
