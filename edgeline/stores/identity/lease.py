"""Values that expire and are fetched again before they do."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from edgeline.errors import EdgelineError

Value = TypeVar("Value")
AHEAD = 300.0  # seconds before its end at which a value is renewed, at most a quarter of its time


@dataclass(frozen=True)
class Lease(Generic[Value]):
    """A value and when it ends, in seconds since 1970; infinity where it does not."""

    value: Value
    expires: float = float("inf")


class Ends:
    """When what a client was given in the last minutes ends, or ended."""

    def __init__(self) -> None:
        self._last: deque[float] = deque(maxlen=4)

    def add(self, lease: Lease[Value]) -> None:
        """Another one was given."""
        if lease.expires not in self._last:
            self._last.append(lease.expires)

    def any_since(self, moment: float) -> bool:
        """Whether one has ended since then, so that a refusal may be for that."""
        return any(moment <= ends <= time.time() for ends in self._last)


class Renewed(Generic[Value]):
    """A value that is fetched when it is first needed, and again shortly before it ends.

    It may be called by several threads. Where it cannot be renewed, the old one counts to its end.
    """

    def __init__(self, fetch: Callable[[], Lease[Value]]) -> None:
        self._fetch = fetch
        self._lock = threading.Lock()
        self._lease: Lease[Value] | None = None
        self._renew_at = 0.0

    def __call__(self) -> Lease[Value]:
        """What counts now.

        Raises:
            PassingError: whoever gives it does not answer, and there is none that still counts.
            EdgelineError: it is refused, likewise.
        """
        with self._lock:
            now = time.time()
            if self._lease is None or now >= self._renew_at:
                try:
                    self._lease = self._fetch()
                except EdgelineError:
                    if self._lease is None or now >= self._lease.expires:
                        raise
                    return self._lease
                left = self._lease.expires - now
                self._renew_at = self._lease.expires - min(AHEAD, left / 4)
            return self._lease
