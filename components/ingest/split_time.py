"""Splits that follow each other in time, so that a model is tried on what came later."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from edgeline.artifacts.quantiles import Quantiles
from edgeline.components.ingest import timestamps
from edgeline.components.ingest.rows import Rows
from edgeline.components.ingest.split import AllRows, Numbers, Shares, typed_column
from edgeline.errors import EdgelineError

WHAT = "split_by['time'] names"
LEAST_TIME = 1e13  # microseconds since 1970: smaller numbers are seconds, years and the like
EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


@dataclass(frozen=True)
class TimeSplit:
    """`train` is the earliest; the others follow in alphabetical order.

    Attributes:
        column: of times (int64 microseconds of UTC, as ingest stores them) or other numbers.
        names: the splits.
        cuts: the value at which each split but the first begins, ascending.
        as_time: whether the column is of times.
    """

    column: str
    names: tuple[str, ...]
    cuts: tuple[float, ...]
    as_time: bool

    @classmethod
    def planned(
        cls, column: str, cuts: Sequence[float | str], shares: Shares, read: AllRows
    ) -> TimeSplit:
        """After a look at all times.

        Args:
            cuts: where each split but the first begins; empty: where the shares say. Rows of one
                time stay together, and above some 16,000 rows a share is held to a thousandth.

        Raises:
            EdgelineError: the column is not of times or numbers, a row has none, the cuts are not
                as many as needed or leave a split without rows.
        """
        shares = shares.train_first()
        sketch, least, most, rows_seen = Quantiles(), math.inf, -math.inf, 0
        before: dict[str, int] = {}
        for file, rows in read():
            values = _times(rows, column, file, before.get(file, 0))
            before[file] = before.get(file, 0) + len(values)
            if len(values):
                sketch.update(values)
                least, most = min(least, values.min()), max(most, values.max())
                rows_seen += len(values)
        as_time = max(abs(least), abs(most)) > LEAST_TIME
        if rows_seen and not as_time and (text := [cut for cut in cuts if isinstance(cut, str)]):
            raise EdgelineError(
                f"split_by['cuts'] has the time {text[0]!r}, but {column!r} goes from {least:.15g} "
                f"to {most:.15g}, which are not microseconds since 1970: give numbers as it has."
            )
        if cuts:
            places = _given(cuts, shares)
        else:
            ranks = np.array([math.floor(rows_seen * end) + 1 for end in shares.ends], np.int64)
            places = tuple(map(float, sketch.at(ranks))) if rows_seen else ()
        made = cls(column, shares.names, places, as_time)
        ends = [-math.inf, *places, math.inf]
        for number, name in enumerate(shares.names if rows_seen else ()):
            lower, upper = ends[number], ends[number + 1]
            if not (lower < upper and lower <= most and upper > least):
                raise EdgelineError(
                    f"split_by['time'] leaves no rows to {name}: {column!r} goes from "
                    f"{made._shown(least)} to {made._shown(most)}"
                    f"{', and the cuts are ' + ', '.join(map(made._shown, places)) if cuts else ''}"
                    ": give cuts in between."
                )
        return made

    def assign(self, rows: Rows) -> Numbers:
        """The number of each row's split, shape [rows]."""
        values = _times(rows, self.column, "", 0)
        return np.searchsorted(np.array(self.cuts), values, side="right")

    def told(self) -> Mapping[str, object]:
        """The column, and where each split but the first begins."""
        return {"time": self.column, "cuts": [self._shown(cut) for cut in self.cuts]}

    def _shown(self, value: float) -> str:
        if not self.as_time:
            return f"{value:.15g}"
        try:
            return (EPOCH + timedelta(microseconds=int(value))).isoformat().replace("+00:00", "Z")
        except OverflowError:
            return f"{value:.0f}"


def _given(cuts: Sequence[float | str], shares: Shares) -> tuple[float, ...]:
    if len(cuts) != len(shares.ends):
        raise EdgelineError(
            f"split_by['cuts'] has {len(cuts)} values for the splits {', '.join(shares.names)}, "
            f"which begin in this order: give {len(shares.ends)}."
        )
    places = tuple(_number(cut) for cut in cuts)
    if list(places) != sorted(set(places)):
        raise EdgelineError(f"split_by['cuts'] is {list(cuts)}: give times that ascend.")
    return places


def _number(cut: float | str) -> float:
    if not isinstance(cut, str):
        if not math.isfinite(cut):
            raise EdgelineError(f"split_by['cuts'] has {cut}: give a finite number.")
        return float(cut)
    try:
        return float(timestamps.read(pa.array([cut]))[0].as_py())
    except pa.ArrowInvalid as error:
        raise EdgelineError(
            f"split_by['cuts'] has {cut!r}, which is not ISO 8601: give a time such as "
            '"2026-01-01" or "2026-01-01T12:00Z", or a number.'
        ) from error


def _times(rows: Rows, column: str, file: str, before: int) -> npt.NDArray[np.float64]:
    values = typed_column(rows, column, WHAT)
    if not (pa.types.is_integer(values.type) or pa.types.is_floating(values.type)):
        raise EdgelineError(
            f"{WHAT} {column!r}, which holds {values.type}: name a column of times or numbers; "
            "text in ISO 8601 of CSV, JSON and folders' names becomes times with column_types="
            f'{{"{column}": "timestamp"}}, other text where the data is written.'
        )
    found = values.cast(pa.float64(), safe=False)
    # NaN is as little a time as a missing value
    numbers = np.asarray(found.fill_null(math.nan).to_numpy(zero_copy_only=False))
    if not (finite := np.isfinite(numbers)).all():
        row = before + int(np.argmin(finite)) + 1
        raise EdgelineError(
            f"{file}, data row {row}: {column!r} has no time, so the row has no split: give it "
            "one, or leave the row out."
        )
    return numbers
