"""The exceptions that are meant to be read by people."""

from __future__ import annotations

import errno
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

_PATHS = (  # what is wrong with a path, and not with the disk
    *(errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENOTEMPTY),
    *(errno.EACCES, errno.EPERM, errno.EROFS, errno.ENAMETOOLONG, errno.ELOOP, errno.EINVAL),
    *(errno.EFBIG, errno.ENXIO),
)

__all__ = ["EdgelineError", "UsageError"]


class EdgelineError(Exception):
    """Something the user can fix.

    The message is one sentence that names the file, row, column, parameter or
    operator at fault and says what to do. The command line prints it without a
    traceback and exits with `exit_code`: 1 for what the work found, such as a failed check,
    damaged content or a server that is away.
    """

    exit_code = 1


class UsageError(EdgelineError):
    """What was typed is wrong: an option, a value, or a path that is missing or malformed."""

    exit_code = 2


def refuse_all(faults: Sequence[str]) -> None:
    """Refuse for several reasons at once; nothing happens where there is none.

    Raises:
        UsageError: with one, it is the sentence; else each is on a line of its own.
    """
    faults = list(dict.fromkeys(faults))
    if len(faults) == 1:
        raise UsageError(faults[0])
    if faults:
        lines = "".join(f"\n- {sentence}" for sentence in faults)
        raise UsageError(f"{len(faults)} mistakes, and nothing has run:{lines}")


@contextmanager
def asked_for() -> Iterator[None]:
    """What is wrong with a file or value that the user has named is wrong usage.

    For functions that also read what the work finds.

    Raises:
        UsageError: for any EdgelineError inside, with its sentence.
    """
    try:
        yield
    except UsageError:
        raise
    except EdgelineError as error:
        raise UsageError(str(error)) from error


def at_path(error: OSError, sentence: str) -> EdgelineError:
    """The error for a path that the user has named.

    Returns:
        a UsageError where the path is at fault (missing, of another kind, not permitted), an
        EdgelineError where the disk is (full, broken).
    """
    return (UsageError if error.errno in _PATHS else EdgelineError)(sentence)


def first_line(error: BaseException) -> str:
    """What an error says first, without its full stop; the kind of error where it says nothing."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")


def shortened(value: str) -> str:
    """What was typed, as it is told: nobody reads thousands of characters."""
    return value if len(value) <= 300 else f"{value[:100]}…"


def harmless(text: str) -> str:
    """A text as a terminal may show it: what moves its cursor, names its window or turns the order
    of letters stands as an escape, since data and servers put their own words in sentences."""
    if text.isprintable():
        return text
    return "".join(
        each
        if each.isprintable() or each in "\n\t" or unicodedata.category(each) == "Zs"
        else each.encode("unicode_escape").decode("ascii")
        for each in text
    )


def did_you_mean(name: str, known: Iterable[str], what: str = "Choose one of") -> str:
    """A sentence for a name that is not known: the nearest that is, or all of them."""
    import difflib  # a server needs it for a mistake alone

    names = list(known)
    lower = {each.lower(): each for each in names}
    if near := difflib.get_close_matches(name.lower(), lower, 1):
        return f"Did you mean {lower[near[0]]}?"
    return f"{what} {', '.join(names)}." if names else "There are none."
