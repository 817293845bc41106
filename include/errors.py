"""The base class of the pipeline's errors, and how an error is shown to people."""

import sys
from collections.abc import Callable


class PipelineError(Exception):
    """Something that a person has to fix; the message says what is wrong and what to do, and needs no traceback."""


def one_line(error: BaseException) -> str:
    """Return what an error says in one line; of an operating system's error that is the path and the reason."""
    if isinstance(error, OSError) and error.strerror:
        path = error.filename2 or error.filename
        return f"{path}: {error.strerror}" if path is not None else error.strerror
    return " ".join(str(error).split()) or type(error).__name__


def run_command(command: Callable[[], object]) -> int:
    """Call what a command does; return 0, or 1 after one line on stderr that says what is wrong."""
    try:
        command()
    except (PipelineError, OSError) as error:
        print(f"error: {one_line(error)}", file=sys.stderr)
        return 1
    return 0
