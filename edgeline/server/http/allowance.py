"""How much work that nobody asked for a client may make: so many at once, so many a second."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic


class Allowance:
    """A token bucket: it holds `most`, and `rate` come back a second."""

    def __init__(self, most: float, rate: float, clock: Callable[[], float] = monotonic) -> None:
        self._most, self._rate, self._clock = most, rate, clock
        self._left, self._time = most, clock()

    def spend(self, amount: float = 1) -> bool:
        """Whether there was as much, which is taken."""
        if self._left < amount:
            self._refill()
        self._left -= amount
        return self._left >= 0

    def give(self, amount: float) -> None:
        """Some more, for work that was asked for."""
        self._left = min(self._most, self._left + amount)

    @property
    def is_full(self) -> bool:
        """Whether all of it has come back."""
        self._refill()
        return self._left == self._most

    def _refill(self) -> None:
        now = self._clock()
        self._left = min(self._most, self._left + (now - self._time) * self._rate)
        self._time = now
