"""Cron expressions as KFP's server reads them: github.com/robfig/cron, six fields, seconds first.

The server refuses what its parser does not know, and takes `* * * * * *`, a run each second.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise

DAY = 24 * 60 * 60
DESCRIPTORS = {  # and the seconds between two runs, at least
    "@yearly": 365 * DAY,
    "@annually": 365 * DAY,
    "@monthly": 28 * DAY,
    "@weekly": 7 * DAY,
    "@daily": DAY,
    "@midnight": DAY,
    "@hourly": 60 * 60,
}
UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3}
MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")


@dataclass(frozen=True)
class CronField:
    """What one of the six may say."""

    name: str
    least: int
    most: int
    names: tuple[str, ...] = ()


FIELDS = (
    CronField("second", 0, 59),
    CronField("minute", 0, 59),
    CronField("hour", 0, 23),
    CronField("day", 1, 31),
    CronField("month", 1, 12, MONTHS),
    CronField("weekday", 0, 6, WEEKDAYS),
)


def shortest_gap(cron: str) -> float:
    """The seconds between two runs, at least; days are taken as if each had runs.

    Raises:
        ValueError: the server would refuse it; says which field is at fault.
    """
    text = cron.strip()
    if text.startswith("@every "):
        return _duration(text.removeprefix("@every ").strip())
    if text.startswith("@"):
        if text not in DESCRIPTORS:
            raise ValueError(f"{text} is not one of {', '.join(DESCRIPTORS)} and @every 1h30m")
        return float(DESCRIPTORS[text])
    parts = text.split()
    if len(parts) != len(FIELDS):
        raise ValueError(
            f"{len(parts)} fields are not the six of {', '.join(f.name for f in FIELDS)}"
        )
    seconds, minutes, hours, *_ = (
        _values(part, field) for part, field in zip(parts, FIELDS, strict=True)
    )
    times = [
        hour * 3600 + minute * 60 + second
        for hour in hours
        for minute in minutes
        for second in seconds
    ]
    # each day: the last run of one and the first of the next
    times.append(times[0] + DAY)
    return float(min(later - earlier for earlier, later in pairwise(times)))


def _values(part: str, field: CronField) -> list[int]:
    found: set[int] = set()
    for piece in part.split(","):
        span, slash, step = piece.partition("/")
        width = _number(step, field, ()) if slash else 1
        if width == 0:
            raise ValueError(f"{field.name} {piece} goes in steps of 0")
        first, dash, last = span.partition("-")
        if first in ("*", "?") and not dash:
            low, high = field.least, field.most
        else:
            low = _number(first, field, field.names)
            high = _number(last, field, field.names) if dash else (field.most if slash else low)
        if low < field.least or high > field.most or low > high:
            raise ValueError(f"{field.name} {piece} is not within {field.least} to {field.most}")
        found.update(range(low, high + 1, width))
    return sorted(found)


def _number(text: str, field: CronField, names: tuple[str, ...]) -> int:
    if text.lower() in names:
        return names.index(text.lower()) + field.least
    if not re.fullmatch(r"[0-9]{1,9}", text):
        raise ValueError(f"{field.name} {text!r} is not a number" + (" or name" if names else ""))
    return int(text)


def _duration(text: str) -> float:
    """Of Go: a sequence of numbers with units, such as 1h30m."""
    pieces = re.findall(r"([0-9]{1,12}(?:\.[0-9]{1,9})?)(ms|h|m|s)", text)
    if not pieces or "".join(number + unit for number, unit in pieces) != text:
        raise ValueError(f"@every {text} has no duration, for example 1h30m")
    return sum(float(number) * UNITS[unit] for number, unit in pieces)
