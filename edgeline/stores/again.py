"""Transfers that are tried again: a network that broke off, a store that restarts.

Only what may be done twice is (reading, and writing the same content to the same place), and a
refusal never is: keys do not get better. Each further attempt is a line on stderr, which is a
task's log.
"""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Callable
from typing import TypeVar

from edgeline.errors import EdgelineError

ATTEMPTS = 5
FIRST_PAUSE = (
    1.0  # seconds at most before the second attempt; twice as long before each further one
)
BUSY = (408, 429, 500, 502, 503, 504)  # statuses of HTTP that may be others in a moment
Done = TypeVar("Done")


class PassingError(EdgelineError):
    """A transfer broke off, or a store was not ready: it may work in a moment."""


def again(attempt: Callable[[], Done]) -> Done:
    """What an attempt gives, which is made several times while it raises PassingError.

    Args:
        attempt: one that may be made twice.

    Raises:
        PassingError: of the last attempt. All other exceptions at once.
    """
    for number in range(1, ATTEMPTS):
        try:
            return attempt()
        except PassingError as error:
            pause = FIRST_PAUSE * 2 ** (number - 1) * random.uniform(0.5, 1)
            told = f"{error} Trying again in {pause:.1f} s ({number + 1} of {ATTEMPTS})."
            print(told, file=sys.stderr, flush=True)
            time.sleep(pause)
    return attempt()
