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


class PeerAllowances:
    """An allowance for each client, of so many clients."""

    def __init__(self, most: float, rate: float, peers: int = 4096) -> None:
        self._most, self._rate, self._peers = most, rate, peers
        self._of: dict[str, Allowance] = {}

    def spend(self, peer: str, amount: float = 1) -> bool:
        """Whether a client had as much, which is taken; what is refused costs nothing, so that the
        rate comes back."""
        allowance = self._allowance(peer)
        if allowance.spend(amount):
            return True
        allowance.give(amount)
        return False

    def charge(self, peer: str, amount: float) -> None:
        """Take more than a client may have left: it waits until that has come back."""
        self._allowance(peer).spend(amount)

    def _allowance(self, peer: str) -> Allowance:
        if (found := self._of.get(peer)) is None:
            if len(self._of) >= self._peers:
                full = [each for each, left in self._of.items() if left.is_full]
                for each in full or list(self._of)[: self._peers // 2]:
                    del self._of[each]
            found = self._of[peer] = Allowance(self._most, self._rate)
        return found
