"""Whose turn it is: one run at a time works on the deliveries of a landing.

`.turn.json`, beside the ledger, names the DAG run that has the turn; its last task releases it. `.deliver.lock` is held
while the turn is decided. Commands that work in a single process (include.deliver, include.rebuild,
`airflow dags test`) hold the lock until they end; the kernel releases it if the process dies.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from include.errors import PipelineError
from include.files import lock, replacing

_process_turn: ExitStack | None = None
"""The lock of an `airflow dags test` that runs in this process, while it has the turn."""


class NotItsTurn(PipelineError):
    """Another run has the turn. The message names it and says what to do."""


@contextmanager
def alone(landing: Path, doing: str) -> Iterator[None]:
    """Keep other runs out while the body runs. Raises files.Locked, or NotItsTurn while a DAG run is working.

    A DAG run that was killed looks as if it were still working. Only Airflow knows, and this does not ask it.
    """
    with lock(_lock(landing), doing):
        if other := holder(landing):
            raise NotItsTurn(
                f"{_turn(landing)}: the DAG run {other} is working; wait for it to end. If it was killed, or a task of "
                "it was cleared alone, trigger the DAG, which finishes its delivery, or remove this file"
            )
        yield


@contextmanager
def deciding(landing: Path, run_id: str) -> Iterator[ExitStack]:
    """Hold the lock while it is decided whether a run gets the turn; yield the stack that holds it.

    Raises files.Locked.
    """
    with ExitStack() as held:
        held.enter_context(lock(_lock(landing), f"running a delivery (run {run_id})"))
        yield held


def holder(landing: Path) -> str | None:
    """Return the id of the DAG run that has the turn. The run may have been killed since."""
    try:
        run_id: str = json.loads(_turn(landing).read_text(encoding="utf-8"))["run_id"]
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (ValueError, TypeError, KeyError) as error:
        raise NotItsTurn(f"{_turn(landing)} is damaged: remove it if no DAG run is working ({error!r})") from error
    return run_id


def take(landing: Path, run_id: str) -> None:
    """Give the turn to a DAG run. Call it within deciding()."""
    with replacing(_turn(landing)) as temporary:
        temporary.write_text(json.dumps({"run_id": run_id}) + "\n", encoding="utf-8")


def take_for_this_process(landing: Path, held: ExitStack) -> None:
    """Give the turn to the run of `airflow dags test` in this process, by keeping the lock of deciding()."""
    global _process_turn
    _process_turn = held.pop_all()
    _turn(landing).unlink(missing_ok=True)


def hold(landing: Path, run_id: str, *, has_ended: Callable[[str], bool]) -> None:
    """Check that it is the turn of run `run_id`. If nobody has the turn (a task was cleared alone), the run gets it.

    `has_ended` is asked about another run that has the turn. Nothing releases the turn of a run that was killed, or of
    which only a task was cleared. Raises NotItsTurn, or files.Locked.
    """
    if _process_turn or holder(landing) == run_id:
        return
    with deciding(landing, run_id):
        if (other := holder(landing)) and not has_ended(other):
            raise NotItsTurn(
                f"it is the turn of run {other}, which is working or was killed: clear this run from wait_for_turn on"
            )
        take(landing, run_id)


def release(landing: Path, run_id: str) -> None:
    """End the turn of run `run_id`, if it has it."""
    global _process_turn
    if _process_turn:
        _process_turn.close()
        _process_turn = None
    if holder(landing) == run_id:
        _turn(landing).unlink(missing_ok=True)


def _turn(landing: Path) -> Path:
    return landing / ".turn.json"


def _lock(landing: Path) -> Path:
    return landing / ".deliver.lock"
