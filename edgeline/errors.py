"""The exceptions that are meant to be read by people."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class EdgelineError(Exception):
    """Something the user can fix.

    The message is one sentence that names the file, row, column, parameter or
    operator at fault and says what to do. The command line prints it without a
    traceback and exits with 1.
    """


class UsageError(EdgelineError):
    """What was asked for does not exist or is malformed; the command line exits with 2."""


def first_line(error: BaseException) -> str:
    """What an error says first, without its full stop; the kind of error where it says nothing."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")


def did_you_mean(name: str, known: Iterable[str], what: str = "Choose one of") -> str:
    """A sentence for a name that is not known: the nearest that is, or all of them."""
    names = list(known)
    lower = {each.lower(): each for each in names}
    if near := difflib.get_close_matches(name.lower(), lower, 1):
        return f"Did you mean {lower[near[0]]}?"
    return f"{what} {', '.join(names)}." if names else "There are none."
