"""The stretch of time whose rows are looked at."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from datetime import datetime, timezone

from edgeline.errors import UsageError

MOST_HOURS = 24 * 366.0


@dataclass(frozen=True)
class PayloadWindow:
    """From `begin` to before `end`, in seconds since 1970."""

    begin: float
    end: float

    def __contains__(self, moment: float) -> bool:
        return self.begin <= moment < self.end

    def __str__(self) -> str:
        return f"{told(self.begin)} to {told(self.end)}"


def last_hours(hours: float, until: str) -> PayloadWindow:
    """The last hours before a time.

    Args:
        until: ISO 8601 with a zone; empty: now.

    Raises:
        UsageError: one of them cannot be.
    """
    if not (math.isfinite(hours) and 0 < hours <= MOST_HOURS):
        raise UsageError(
            f"window_hours is {hours:g}: give a number above 0, at most {MOST_HOURS:g}."
        )
    end = moment_of(until) if until else time.time()
    if end is None:
        raise UsageError(
            f"until is {until[:100]!r}: give a time with its zone, such as 2026-01-31T12:00:00Z, "
            "or leave it empty for now."
        )
    return PayloadWindow(end - hours * 3600.0, end)


def moment_of(text: object) -> float | None:
    """A time of ISO 8601 in seconds since 1970; None where it is not one, or has no zone."""
    if not isinstance(text, str):
        return None
    try:
        found = datetime.fromisoformat(text.replace("Z", "+00:00"))  # Python 3.10 takes no Z
        return found.timestamp() if found.tzinfo is not None else None
    except (ValueError, OverflowError):
        return None


def told(moment: float) -> str:
    """A time for people: ISO 8601, UTC."""
    return datetime.fromtimestamp(moment, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
