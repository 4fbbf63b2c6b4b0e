"""Which rows of the training split a candidate learns from: those of a window of the data."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edgeline.errors import EdgelineError, did_you_mean

FIELDS = ("column", "from", "to")


@dataclass(frozen=True)
class TrainingRows:
    """Rows whose value of a column lies in a range.

    Attributes:
        column: of numbers, or of times (int64 microseconds since 1970 in UTC, as ingest stores
            them).
        start: the least value that is in; None: from the first on.
        end: the first value that is not in any more; None: to the last.
    """

    column: str
    start: float | None = None
    end: float | None = None

    @classmethod
    def parsed(cls, given: Any, place: str) -> TrainingRows:
        """Of an object, whose ends are numbers or times in ISO 8601.

        Raises:
            EdgelineError: begins with `place`; a field is unknown, missing or has another value.
        """
        form = 'write it as {"column": "when", "from": "2026-01-01", "to": "2026-07-01"}'
        if not isinstance(given, Mapping):
            raise EdgelineError(f"{place} is not an object: {form}.")
        for key in given:
            if key not in FIELDS:
                hint = did_you_mean(str(key), FIELDS, "It has")
                raise EdgelineError(f"{place}.{key}: there is no such field. {hint}")
        column = given.get("column", "")
        if not isinstance(column, str) or not column:
            raise EdgelineError(f"{place} names no column: {form}.")
        ends = [
            _number(given[key], f"{place}.{key}") if key in given else None for key in FIELDS[1:]
        ]
        start, end = ends
        if start is None and end is None:
            raise EdgelineError(f"{place} has neither from nor to: {form}.")
        if start is not None and end is not None and start >= end:
            raise EdgelineError(f"{place} is empty, since from is not below to: change one.")
        return cls(column, start, end)

    def to_json(self) -> dict[str, Any]:
        """As `parsed` takes it, with numbers."""
        ends = {"from": self.start, "to": self.end}
        return {"column": self.column, **{key: x for key, x in ends.items() if x is not None}}


def _number(value: Any, place: str) -> float:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not isinstance(value, str) and not (is_number and math.isfinite(value)):
        raise EdgelineError(f'{place} is not a number or a time such as "2026-01-01": correct it.')
    if not isinstance(value, str):
        return float(value)
    import pyarrow as pa  # which the questions before a run go without

    from edgeline.components.ingest import timestamps

    try:
        return float(timestamps.read(pa.array([value]))[0].as_py())
    except pa.ArrowInvalid:
        raise EdgelineError(
            f'{place} is {value!r}, which is not ISO 8601: give a time such as "2026-01-01" or '
            '"2026-01-01T12:00Z", or a number.'
        ) from None
