"""The one exception that is meant to be read by people."""

from __future__ import annotations


class EdgelineError(Exception):
    """Something the user can mend.

    The message is one sentence that names the file, row, column, parameter or
    operator at fault and says what to do. The command line prints it without a
    traceback and exits with 1.
    """
