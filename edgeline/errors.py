"""The one exception that is meant to be read by people."""

from __future__ import annotations


class EdgelineError(Exception):
    """Something the user can mend.

    The message is one sentence that names the file, row, column, parameter or
    operator at fault and says what to do. The command line prints it without a
    traceback and exits with 1.
    """


def first_line(error: BaseException) -> str:
    """What an error says first, without its full stop; the kind of error where it says nothing."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
