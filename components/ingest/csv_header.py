"""The first row of a CSV file: names, without the blanks around them."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass

from edgeline.components.ingest.choice import ColumnChoice
from edgeline.components.ingest.formats import DELIMITERS
from edgeline.errors import EdgelineError

_DELIMITER = re.compile(r"sep=(.)", re.IGNORECASE)
_NUMBER = re.compile(r"\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*", re.ASCII)


@dataclass(frozen=True)
class CsvHeader:
    """The number of the row, and its cells."""

    row: int
    cells: tuple[str, ...]


def is_delimiter(cells: Sequence[str], delimiter: str, file: str) -> bool:
    """Whether a first row is `sep=;`, by which Excel says the delimiter.

    Raises:
        EdgelineError: it says another than is set.
    """
    found = _DELIMITER.fullmatch(delimiter.join(cells))
    if found and found[1] != delimiter:
        raise EdgelineError(
            f"{file}, row 1: {found[0]!r} says that the delimiter is {found[1]!r}: set delimiter "
            "to it."
        )
    return bool(found)


def names(header: CsvHeader) -> list[str]:
    """The columns' names."""
    return [cell.strip() for cell in header.cells]


def check(header: CsvHeader, file: str, delimiter: str, choice: ColumnChoice) -> None:
    """Refuse a row that is not a header.

    Raises:
        EdgelineError: it is one column that another delimiter would cut, numbers as data has them,
            or it has a column twice or one without a name that is not left out.
    """
    place, found = f"{file}, row {header.row}", names(header)
    others = [each for each in DELIMITERS if each in header.cells[0] and each != delimiter]
    if len(found) == 1 and others:
        raise EdgelineError(
            f"{place}: the header is one column, {found[0]!r}: set delimiter to {others[0]!r}, or "
            "name the column without it."
        )
    if (number := _value(found)) and number not in choice.rename:
        raise EdgelineError(
            f"{place}: the header has {number!r}, a number as rows of data have them: put a row "
            "of names above, or give that column a name with rename where it is one."
        )
    for column, name in enumerate(found, 1):
        if not name and choice.keeps("") and "" not in choice.rename:
            raise EdgelineError(
                f"{place}: column {column} has no name: name it, or leave it out with "
                'columns={"": false}.'
            )
        if name in found[: column - 1] and (name or choice.keeps("")):
            raise EdgelineError(
                f"{place}: columns {found.index(name) + 1} and {column} are both named {name!r}: "
                "rename one."
            )


def check_same(header: CsvHeader, file: str, first: CsvHeader, first_file: str) -> None:
    """Refuse a file with other columns than the first.

    Raises:
        EdgelineError: the first column that differs.
    """
    pairs = itertools.zip_longest(names(first), names(header))
    for column, (ours, theirs) in enumerate(pairs, 1):
        if ours != theirs:
            raise EdgelineError(
                f"{file} has {_named(theirs)} as column {column}, but {first_file} has "
                f"{_named(ours)}: give files with the same header."
            )


def notes(header: CsvHeader) -> list[str]:
    """What was made of the names, in a sentence each."""
    numbers = [name for name in names(header) if _NUMBER.fullmatch(name)]
    told = (
        [
            f"The header has numbers as names, {numbers[0]!r} first: where it is a row of data, "
            "put a row of names above."
        ]
        if numbers
        else []
    )
    return [*told, *_trimmed(header)]


def _trimmed(header: CsvHeader) -> list[str]:
    return [
        f"The header's {cell!r} is column {cell.strip()!r}, without the blanks around it."
        for cell in header.cells
        if cell != cell.strip()
    ]


def _value(found: Sequence[str]) -> str:
    """The first number, where the numbers are not names: these ascend, as years and counts do."""
    numbers = [name for name in found if _NUMBER.fullmatch(name)]
    values = [float(number) for number in numbers]
    ascend = all(one < next_one for one, next_one in itertools.pairwise(values))
    if not numbers or (ascend and (len(numbers) > 1 or (numbers[0].isdigit() and len(found) > 1))):
        return ""
    return numbers[0]


def _named(name: str | None) -> str:
    return "nothing" if name is None else repr(name)
