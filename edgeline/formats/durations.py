"""Times as people write them: `30m`, `1h30m`, `2d`, or a number of seconds."""

from __future__ import annotations

import re

_UNITS = {"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0}
_PIECE = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,6})?)([dhms])")


def seconds(value: object) -> float:
    """The seconds of a duration.

    Raises:
        ValueError: it is none, or negative.
    """
    if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < 1e12:
        return float(value)
    pieces = _PIECE.findall(value) if isinstance(value, str) else []
    if not pieces or "".join(number + unit for number, unit in pieces) != value:
        raise ValueError(f"{str(value)[:40]!r} is not a duration: give seconds, or 30m, 12h, 2d")
    return sum(float(number) * _UNITS[unit] for number, unit in pieces)


def about(value: float) -> str:
    """A duration for people, to the minute where it has some."""
    return told(value // 60 * 60 if value >= 120 else value // 1)


def told(value: float) -> str:
    """A duration for people, in its largest whole unit."""
    for unit, size in _UNITS.items():
        if value and value % size == 0:
            return f"{value / size:g} {unit}"
    return f"{value:g} s"
