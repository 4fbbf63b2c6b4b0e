"""Cells of a CSV file, which are text, as values of a declared or inferred type.

Numbers have Python's form, blanks around them allowed, or the one that `decimal` and `thousands`
say: `1.234,5` with ',' and '.'. A sign of thousands stands before each three digits or nowhere.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from edgeline.components.ingest import timestamps
from edgeline.errors import EdgelineError

TRUE, FALSE = ("true", "t", "yes", "y", "1"), ("false", "f", "no", "n", "0")
TYPES = {  # in column_types: as examples hold it
    "int64": pa.int64(),
    "float": pa.float64(),
    "string": pa.string(),
    "bool": pa.int64(),
    "percent": pa.float64(),
    timestamps.NAME: pa.int64(),
}
DECIMALS, THOUSANDS = ".,", ("", ",", ".", " ", "'", "_", "\u00a0", "\u202f")


def check_types(column_types: Mapping[str, str]) -> None:
    """Refuse a type that is none of `TYPES`.

    Raises:
        EdgelineError: the first such.
    """
    for column, name in column_types.items():
        if name not in TYPES:
            raise EdgelineError(
                f"column_types gives {column!r} the type {name!r}: "
                f"the types are {', '.join(TYPES)}."
            )


@dataclass(frozen=True)
class Cells:
    """How cells are read.

    Args:
        decimal: the sign before a number's fraction, `.` or `,`.
        thousands: the sign between thousands; empty: none.

    Raises:
        EdgelineError: a sign is none, or both are the same.
    """

    decimal: str = "."
    thousands: str = ""

    def __post_init__(self) -> None:
        if len(self.decimal) != 1 or self.decimal not in DECIMALS:
            raise EdgelineError(f"decimal is {self.decimal!r}: give . or ,.")
        if self.thousands not in THOUSANDS:
            known = ", ".join(repr(sign) for sign in THOUSANDS if sign)
            raise EdgelineError(f"thousands is {self.thousands!r}: give one of {known}, or none.")
        if self.decimal == self.thousands:
            raise EdgelineError(
                f"decimal and thousands are both {self.decimal!r}: give two signs that differ."
            )

    def read(self, column: pa.Array, name: str) -> pa.Array:
        """Text as a type of `TYPES`; a null stays one.

        Raises:
            pa.ArrowInvalid: a cell is not such a value.
        """
        if name == "string":
            return column
        if name == timestamps.NAME:
            return timestamps.read(column)
        if name == "bool":
            return _truths(column)
        if name == "percent":
            shares = pc.replace_substring_regex(column, r"^([^%]*?)\s*%\s*$", r"\1")
            if pc.any(pc.equal(shares, column)).as_py():
                raise pa.ArrowInvalid("a cell has no percent sign")
            return pc.divide(self._number(shares, pa.float64()), 100.0)
        return self._number(column, TYPES[name])

    def fit(self, column: pa.Array, name: str) -> bool:
        """Whether all cells are values of a type."""
        try:
            self.read(column, name)
        except pa.ArrowInvalid:
            return False
        return True

    def first_misfit(self, column: pa.Array, name: str) -> int:
        """The first cell that is not a value of a type; there is one."""
        low, high = 0, len(column)  # it lies in low..high
        while high - low > 1:
            middle = (low + high) // 2
            if self.fit(column.slice(low, middle - low), name):
                low = middle
            else:
                high = middle
        return low

    def numbers(self, column: pa.Array) -> pa.Array:
        """Which cells are numbers, of whatever size; null where a cell is missing."""
        return pc.match_substring_regex(self.plain(column), NUMBER)

    def _number(self, column: pa.Array, kind: pa.DataType) -> pa.Array:
        column = self.plain(column)
        try:
            return _decimal_digits(column).cast(kind)
        except pa.ArrowInvalid:
            return _decimal_digits(pc.utf8_trim_whitespace(column)).cast(kind)

    def plain(self, column: pa.Array) -> pa.Array:
        """Numbers in Python's form; what is none stays none."""
        if self.thousands:
            mark = re.escape(self.thousands)
            grouped = rf"^\s*[+-]?\d{{1,3}}(?:{mark}\d{{3}})+(?:{re.escape(self.decimal)}\d*)?\s*$"
            without = pc.replace_substring(column, self.thousands, "")
            column = pc.if_else(pc.match_substring_regex(column, grouped), without, column)
        if self.decimal != ".":
            column = pc.replace_substring(column, ".", "?")
            column = pc.replace_substring(column, self.decimal, ".")
        return column


NUMBER = r"^\s*[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?\s*$"


def _decimal_digits(column: pa.Array) -> pa.Array:
    """The same; 0x10, which Arrow takes for 16, is not a number here."""
    # one by one: starts_with is twice as slow where it ignores case
    if any(pc.any(pc.starts_with(column, sign)).as_py() for sign in ("0x", "0X")):
        raise pa.ArrowInvalid("a cell is hexadecimal")
    return column


def _truths(column: pa.Array) -> pa.Array:
    words = pc.utf8_lower(pc.utf8_trim_whitespace(column))
    true, false = (
        pc.match_substring_regex(words, f"^(?:{'|'.join(known)})$") for known in (TRUE, FALSE)
    )
    if not pc.all(pc.or_(true, false)).as_py():
        raise pa.ArrowInvalid("a cell is neither true nor false")
    return true.cast(pa.int64())
