"""The base class of the pipeline's errors, and how errors are shown."""

import sys
from collections.abc import Callable


class PipelineError(Exception):
    """An error that a person must fix. The message says what is wrong and what to do, and needs no traceback."""


def is_interrupt(error: BaseException) -> bool:
    """Return True if Ctrl-C is behind the error. Some libraries turn a KeyboardInterrupt into an error of their own."""
    chain: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and cause not in chain:  # two errors can be each other's cause
        chain.append(cause)
        cause = cause.__cause__ or cause.__context__
    return any(isinstance(each, KeyboardInterrupt) for each in chain)


def one_line(error: BaseException) -> str:
    """Return an error's message in one line; for an OSError, the path and the reason; "interrupted" after Ctrl-C."""
    if is_interrupt(error):
        return "interrupted"
    if isinstance(error, OSError) and error.strerror:
        path = error.filename2 or error.filename
        return f"{path}: {error.strerror}" if path is not None else error.strerror
    return " ".join(str(error).split()) or type(error).__name__


INTERRUPTED = 130
"""The exit status of a command that was ended with Ctrl-C, as shells have it."""


def run_command(command: Callable[[], object]) -> int:
    """Call the function of a command; return 0, or 1 or INTERRUPTED after one line on stderr that says why."""
    try:
        command()
    except BaseException as error:
        is_stopped = is_interrupt(error)
        if not (is_stopped or isinstance(error, (PipelineError, OSError))):
            raise
        print(f"error: {one_line(error)}", file=sys.stderr)
        return INTERRUPTED if is_stopped else 1
    return 0
