"""The base class of the pipeline's errors, and how errors are shown."""

import sys
from collections.abc import Callable


class PipelineError(Exception):
    """An error that a person must fix. The message says what is wrong and what to do, and needs no traceback."""


def one_line(error: BaseException) -> str:
    """Return an error's message in one line; for an OSError, the path and the reason."""
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
    except (PipelineError, OSError) as error:
        print(f"error: {one_line(error)}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("error: interrupted", file=sys.stderr)
        return INTERRUPTED
    return 0
