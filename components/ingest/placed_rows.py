"""Which rows can be in a window over time, and what went into none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc

from edgeline.artifacts.features import MISSING_INT, is_list, shape_of, with_shape
from edgeline.artifacts.windows import Windows
from edgeline.components.ingest.arrow_numbers import Mask, scalar, to_bools, to_mask
from edgeline.components.ingest.rows import Rows
from edgeline.components.ingest.split import typed_column
from edgeline.errors import EdgelineError


@dataclass
class Dropped:
    """What went into no window, counted.

    Attributes:
        no_time, no_key: rows that lack it.
        same_time: rows with the time of another of their series.
        short: rows of series, or of pieces between gaps, with fewer than a window.
        short_series: series without any window.
        behind: rows behind the last window of their piece, or between two.
        across: windows whose rows are of several splits.
    """

    no_time: int = 0
    no_key: int = 0
    same_time: int = 0
    short: int = 0
    short_series: int = 0
    behind: int = 0
    across: int = 0

    def told(self, windows: Windows) -> dict[str, int]:
        """In words, with their number; what there is none of is left out."""
        by = f" and {windows.key}" if windows.key else ""
        pieces = "series or pieces between gaps" if windows.max_gap else "series"
        named = {
            f"rows without {windows.time}": self.no_time,
            f"rows without {windows.key}": self.no_key,
            f"rows with the {windows.time}{by} of an earlier row": self.same_time,
            f"rows of {pieces} with fewer than {windows.size} rows": self.short,
            f"series without a window, by {windows.key}": self.short_series if windows.key else 0,
            "rows between or behind windows": self.behind,
            "windows across splits": self.across,
        }
        return {name: count for name, count in named.items() if count}


def left_out_sentence(left_out: Mapping[str, int]) -> str:
    """What `Dropped.told` says, as a sentence."""
    counts = ", ".join(f"{count:,} {what}" for what, count in left_out.items())
    return f"windows leave out {counts}"


def no_window(placed: PlacedRows) -> EdgelineError:
    """That there is not one window, and why."""
    windows, left_out = placed.windows, placed.dropped.told(placed.windows)
    why = f" ({left_out_sentence(left_out)})" if left_out else ""
    gap = ""
    if windows.max_gap is not None:
        gap = (
            f", or a larger max_gap than {windows.max_gap:,}, which is in the unit of "
            f"{windows.time!r}: microseconds where it holds times"
        )
    return EdgelineError(
        f"The data gives no window of {windows.size} rows{why}: give a smaller size, or more rows "
        f"of each series{gap}."
    )


def schema_of(schema: pa.Schema, windows: Windows) -> pa.Schema:
    """The schema of windows of rows.

    Raises:
        EdgelineError: a column of the windows is not there, or holds lists that differ in length.
    """
    for name in windows.columns:
        place = schema.get_field_index(name)
        if place < 0:
            raise EdgelineError(
                f"windows['columns'] has {name!r}, but what is taken of the data has "
                f"{', '.join(schema.names)}: name one of them."
            )
        column = schema.field(place)
        if is_list(column.type) and not pa.types.is_fixed_size_list(column.type):
            raise EdgelineError(
                f"windows['columns'] has {name!r}, which holds lists that differ in length: "
                "windows are of numbers, text and lists of one length."
            )
        schema = schema.set(place, _window_field(column, windows.size))
    return schema


def _window_field(column: pa.Field, size: int) -> pa.Field:
    if not is_list(column.type):
        return pa.field(column.name, pa.list_(column.type, size))
    inner = shape_of(column) or (column.type.list_size,)
    flat = pa.list_(column.type.value_type, size * column.type.list_size)
    return with_shape(pa.field(column.name, flat), (size, *inner))


@dataclass
class PlacedRows:
    """Which rows can be in a window: `windows` have the names that the data has."""

    windows: Windows
    dropped: Dropped = field(default_factory=Dropped)
    key_dtype: str = ""  # as a feature, once there were rows

    def rows(self, rows: Rows, count: bool = True) -> tuple[Rows, pa.Array, pa.Array | None]:
        """Those with time and key, their times, and their keys where there is one.

        Args:
            count: whether those that are left out are counted.

        Raises:
            EdgelineError: there is no such column, or it is of another type.
        """
        time = typed_column(rows, self.windows.time, "windows['time'] names")
        if not pa.types.is_integer(time.type):
            raise EdgelineError(
                f"windows['time'] names {self.windows.time!r}, which holds {time.type}: name a "
                "column of times or whole numbers; text in ISO 8601 of CSV and JSON becomes times "
                f'with column_types={{"{self.windows.time}": "timestamp"}}.'
            )
        timed, key = to_mask(time.is_valid()), None
        kept = timed
        if self.windows.key:
            key = typed_column(rows, self.windows.key, "windows['key'] names")
            self.key_dtype = "int64" if pa.types.is_integer(key.type) else "string"
            kept = kept & self._keyed(key)
        if count:
            self.dropped.no_time += int((~timed).sum())
            self.dropped.no_key += int((timed & ~kept).sum())
        if kept.all():
            return rows, time, key
        chosen = to_bools(kept)
        return (
            _filtered(rows, chosen),
            time.filter(chosen),
            None if key is None else key.filter(chosen),
        )

    def _keyed(self, key: pa.Array) -> Mask:
        if pa.types.is_integer(key.type):
            return to_mask(pc.fill_null(pc.not_equal(key, scalar(MISSING_INT)), False))
        if pa.types.is_string(key.type) or pa.types.is_binary(key.type):
            return to_mask(pc.fill_null(pc.greater(pc.binary_length(key), scalar(0)), False))
        raise EdgelineError(
            f"windows['key'] names {self.windows.key!r}, which holds {key.type}: name a column of "
            "text or whole numbers."
        )


def _filtered(rows: Rows, chosen: pa.Array) -> Rows:
    before = _filtered(rows.before, chosen) if rows.before is not None else None
    return Rows(rows.typed.filter(chosen), rows.given.filter(chosen), before)
