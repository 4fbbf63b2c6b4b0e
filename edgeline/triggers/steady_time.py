"""The time of day without its jumps ahead, by which things are forgotten: what a wrong clock has
forgotten, no later correction brings back, and a repeated event would count again."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic


class SteadyTime:
    """Goes on with the monotonic clock while the time of day is ahead of it; a machine that was
    suspended is believed after some time."""

    def __init__(
        self, slack: float, patience: float, ticks: Callable[[], float] = monotonic
    ) -> None:
        """
        Args:
            slack: seconds ahead that are not a jump.
            patience: seconds after which a time of day that stays ahead is taken to be right.
        """
        self._slack, self._patience, self._ticks = slack, patience, ticks
        self._time, self._at = 0.0, 0.0  # what was believed last, and when
        self._ahead: float | None = None  # since when the time of day is ahead
        self._begun = False

    def __call__(self, now: float) -> float:
        """The time until which it is safe to forget, of the time of day."""
        ticks = self._ticks()
        steady = self._time + ticks - self._at
        if self._begun and now > steady + self._slack:
            self._ahead = ticks if self._ahead is None else self._ahead
            if ticks < self._ahead + self._patience:
                return steady
        self._begun, self._ahead = True, None
        self._time, self._at = now, ticks
        return now
