"""What the columns of CSV files hold, told from every cell.

A column is int64 when every value is an integer, else double when every value is a number, else
string; one without a value is double, one of whole numbers of which some are beyond 64 bits is
string, as doubles would make one of several. Where somebody may have meant something else, or a
double does not hold a number, there is a note, with the count, the first such cell and its row.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

import pyarrow as pa
import pyarrow.compute as pc

from edgeline.components.ingest.csv_cells import Cells
from edgeline.stores.storage import File

WHOLE = r"^\s*[+-]?\d+\s*$"
LONG = r"^\s*[+-]?0*[1-9]\d{18,}\s*$"  # that may be beyond 64 bits
MANY = r"^[+-]?0*[1-9]\d{15,}$"  # digits of a whole number that a double may not hold
CODES = r"^\s*(?:[+-]?0\d|\+\d{6,15}\s*$)"  # what a number does not keep: 00042, +4930123456
TRUTHS = r"(?i)^\s*(?:true|false)\s*$"
PERCENT = r"^\s*[+-]?\d[\d.,]*\s*%\s*$"
SPACED = (  # 1 234.5, and numbers without a sign between thousands beside it
    r"^\s*[+-]?(?:\d+(?:\.\d*)?|\d{1,3}(?:[\x{a0}\x{202f}' ]\d{3})+(?:[.,]\d+)?)\s*$"
)
CURRENCY = r"^\s*[+-]?\s*(?:[$€£¥₹]\s*[+-]?\d[\d.,]*|\d[\d.,]*\s*[$€£¥₹])\s*$"
ABSENT = r"(?i)^\s*(?:n/?a|nan|null|none|-{1,2}|\?)\s*$"  # what other programs write for a gap
QUOTED = r"^\s*'.*'\s*$"
FORMS: Mapping[str, Callable[[pa.Array], pa.Array]] = {  # of text that could be read as more
    "bool": lambda cells: pc.match_substring_regex(cells, TRUTHS),
    "percent": lambda cells: pc.match_substring_regex(cells, PERCENT),
    "decimal": Cells(",").numbers,
    "thousands": Cells(".", ",").numbers,
    "spaced": lambda cells: pc.match_substring_regex(cells, SPACED),
    "currency": lambda cells: pc.match_substring_regex(cells, CURRENCY),
    "quoted": lambda cells: pc.match_substring_regex(cells, QUOTED),
}
WITH_PLAIN = ("decimal", "thousands", "spaced")  # forms that plain numbers have, too


@dataclass(frozen=True)
class CellPlace:
    """A cell: its file, its row among those with cells, from 0 below the header, and its text."""

    file: File
    row: int
    text: str


@dataclass
class _Form:
    """How many cells have a form, and the first that is not a number as it stands."""

    count: int = 0
    first: CellPlace | None = None


@dataclass
class _Column:
    filled: int = 0
    absent: int = 0  # of what is not a number, how many other programs write for a gap
    numbers: int = 0
    integer: bool = True
    whole: bool = True
    text: bool = False  # and nothing else is to be found
    other: CellPlace | None = None  # the first that is not a number
    wide: CellPlace | None = None  # the first whole number beyond 64 bits
    large: bool = False  # whether a number is one that doubles may not hold
    codes: int = 0
    first_code: CellPlace | None = None
    forms: dict[str, _Form] = field(default_factory=lambda: {form: _Form() for form in FORMS})

    @property
    def kind(self) -> pa.DataType:
        if self.other or (self.whole and self.wide):
            return pa.string()
        return pa.int64() if self.filled and self.integer else pa.float64()


class Kinds:
    """Looks at batches of cells; `types` and `notes` then tell what was seen."""

    def __init__(self, names: Sequence[str], cells: Cells) -> None:
        self._columns = {name: _Column() for name in names}
        self._cells = cells

    def count_batch(self, batch: pa.RecordBatch, file: File, before: int) -> None:
        """Count the cells of a batch; `before` rows of the file came before it."""
        for name, column in self._columns.items():
            cells = batch.column(name)
            if count := len(cells) - cells.null_count:
                column.filled += count
                if not column.text:
                    self._look(column, cells, count, file, before)

    def types(self) -> dict[str, pa.DataType]:
        """Column to type."""
        return {name: column.kind for name, column in self._columns.items()}

    def large(self) -> list[str]:
        """Columns that are double and may have whole numbers that doubles do not hold."""
        return [
            name
            for name, column in self._columns.items()
            if column.large and column.kind == pa.float64()
        ]

    def notes(self, row: Callable[[CellPlace], str]) -> list[str]:
        """A sentence for each column that may be meant in another way.

        Args:
            row: how a cell's place is told.
        """
        found = []
        for name, column in self._columns.items():
            if told := _note(column, row):
                found.append(f"Column {name!r}{told}")
        return found

    def _look(self, column: _Column, cells: pa.Array, count: int, file: File, before: int) -> None:
        def place(found: int) -> CellPlace:
            return CellPlace(file, before + found, cells[found].as_py())

        # what does not fit costs Arrow ten times what fits, so no type is tried in vain again
        if column.integer and self._fit(column, cells, "int64"):
            column.numbers += count
            self._codes(column, cells, place)
            return
        column.integer = False
        if column.other is None and self._fit(column, cells, "float"):
            column.numbers += count
            if column.whole:
                self._wide(column, cells, place)
                self._codes(column, cells, place)
            return
        column.whole = False
        numbers = self._cells.numbers(cells)
        words = pc.invert(numbers)
        for name, form in list(column.forms.items()):
            if not form.count and name in WITH_PLAIN:
                form.count = column.numbers  # all cells of the batches before
            fitting = FORMS[name](cells)
            form.count += fitting.true_count
            if 2 * form.count < column.filled:
                del column.forms[name]
            elif form.first is None and (both := pc.and_(fitting, words)).true_count:
                form.first = place(_first(both))
        column.numbers += numbers.true_count
        absent = pc.match_substring_regex(cells, ABSENT)
        column.absent += pc.and_(absent, words).true_count
        if column.other is None:
            other = _first(words) if words.true_count else self._cells.first_misfit(cells, "float")
            column.other = place(other)
        # what is mostly words stays so: the rest of it need not be looked at
        column.text = not column.forms and 2 * column.numbers < column.filled - column.absent

    def _fit(self, column: _Column, cells: pa.Array, name: str) -> bool:
        """Whether all cells are values of a type, and whether one of them is large."""
        try:
            values = self._cells.read(cells, name)
        except pa.ArrowInvalid:
            return False
        ends = pc.min_max(values)
        low, high = ends["min"].as_py(), ends["max"].as_py()
        column.large |= low is not None and (low <= -(2**53) or high >= 2**53)
        return True

    def _codes(self, column: _Column, cells: pa.Array, place: Callable[[int], CellPlace]) -> None:
        if not any(pc.any(pc.starts_with(cells, sign)).as_py() for sign in "0+"):
            return
        codes = pc.match_substring_regex(cells, CODES)
        if codes.true_count:
            column.codes += codes.true_count
            column.first_code = column.first_code or place(_first(codes))

    def _wide(self, column: _Column, cells: pa.Array, place: Callable[[int], CellPlace]) -> None:
        plain = self._cells.plain(cells)
        column.whole = bool(pc.all(pc.match_substring_regex(plain, WHOLE)).as_py())
        if column.whole and column.wide is None:
            for found in pc.indices_nonzero(pc.match_substring_regex(plain, LONG)):
                if not -(2**63) <= int(plain[found.as_py()].as_py()) < 2**63:
                    column.wide = place(found.as_py())
                    break


@dataclass
class Rounded:
    """Counts the cells of a column of doubles that are numbers which no double is.

    Args:
        cells: how they are read.
    """

    cells: Cells
    count: int = 0
    first: CellPlace | None = None

    def count_batch(self, column: pa.Array, file: File, before: int) -> None:
        """Count those of a batch; `before` rows of the file came before it."""
        plain = pc.utf8_trim_whitespace(self.cells.plain(column))
        infinite = pc.is_inf(self.cells.read(column, "float"))
        odd = pc.or_(pc.match_substring_regex(plain, MANY), infinite)
        for found in pc.indices_nonzero(odd).to_pylist():
            number = plain[found].as_py()
            if Decimal(float(number)) != Decimal(number):
                self.count += 1
                self.first = self.first or CellPlace(file, before + found, column[found].as_py())


def _first(mask: pa.Array) -> int:
    """The first place that is true; there is one. (`pc.index` takes a scalar: imports pandas.)"""
    return int(pc.indices_nonzero(mask)[0].as_py())


def _note(column: _Column, row: Callable[[CellPlace], str]) -> str:
    if column.other is None:
        if column.whole and column.wide:
            return (
                f" has whole numbers beyond 64 bits, {row(column.wide)}, and was read as text: "
                "declare float in column_types for numbers, of which several then become one."
            )
        if column.first_code and column.whole:
            sign = "a plus" if column.first_code.text.lstrip().startswith("+") else "a zero"
            return (
                f": {column.codes:,} of {column.filled:,} cells begin with {sign}, "
                f"{row(column.first_code)}, and were read as numbers: declare string in "
                "column_types to keep it."
            )
        return ""
    most = max((form.count for form in column.forms.values()), default=0)
    if most > column.numbers:
        names = tuple(name for name, form in column.forms.items() if form.count == most)
        first = column.forms[names[0]].first
        what, way = _WAYS[names if names in _WAYS else names[:1]]
        return (
            f": {most:,} of {column.filled:,} cells are {what}"
            f"{f', {row(first)}' if first else ''}, and were read as text: {way}."
        )
    if column.numbers and 2 * column.numbers >= column.filled - column.absent:
        return (
            f": {column.numbers:,} of {column.filled:,} cells are numbers, {row(column.other)} is "
            "not, and so it was read as text: add the cell to null_values, or declare string in "
            "column_types."
        )
    return ""


_WAYS: Mapping[tuple[str, ...], tuple[str, str]] = {
    ("bool",): ("true or false", "declare bool in column_types for 1 and 0"),
    ("percent",): ("percentages", "declare percent in column_types for shares of 1"),
    ("decimal",): ("numbers with a comma", "set decimal to ','"),
    ("thousands",): ("numbers with commas", "set thousands to ','"),
    ("spaced",): (
        "numbers with a sign between thousands",
        "set thousands to that sign, and decimal to ',' where it stands before a fraction",
    ),
    ("currency",): ("amounts of a currency", "write them without its sign"),
    ("quoted",): ("in single quotes", "write double quotes, or none"),
    ("decimal", "thousands"): (
        "numbers with a comma",
        "set thousands to ',' where it stands between thousands, decimal to ',' where before a "
        "fraction",
    ),
}
