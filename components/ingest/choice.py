"""Which columns of the data are taken, and what they are called from then on.

`column_types`, `images` and `split_key` say the names that the data has; all that comes after
ingest has the new ones.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from edgeline.errors import EdgelineError


@dataclass(frozen=True)
class ColumnChoice:
    """What is taken of a table.

    Args:
        columns: column to whether it is taken: where any is, no other column is; else all but
            those that are not. Empty: all.
        rename: column to its new name.
        needed: columns that are read in any case, since they decide the split or order rows.
        lengths: column of lists that differ in length to the most values that one has.

    Attributes:
        seen: the columns that readers asked about.

    Raises:
        EdgelineError: `columns` both takes and leaves out, or says neither of a column, or
            `rename` gives no name or one twice.
    """

    columns: Mapping[str, bool] = field(default_factory=dict)
    rename: Mapping[str, str] = field(default_factory=dict)
    needed: frozenset[str] = frozenset()
    lengths: Mapping[str, int] = field(default_factory=dict)
    seen: dict[str, None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, taken in self.columns.items():
            if not isinstance(taken, bool):
                raise EdgelineError(f"columns gives {name!r} {taken!r}: give true or false.")
        if len(set(self.columns.values())) > 1:
            raise EdgelineError(
                "columns has both true and false: give those to take alone, each with true, or "
                "those to leave out, each with false."
            )
        for name, to in self.rename.items():
            if not to.strip():
                raise EdgelineError(f"rename gives {name!r} no name: give one.")
            if list(self.rename.values()).count(to) > 1:
                raise EdgelineError(f"rename calls several columns {to!r}: give two names.")

    def reads(self, name: str) -> bool:
        """Whether a reader reads a column; asked about each that the data has."""
        self.seen[name] = None
        return self.keeps(name) or name in self.needed

    def keeps(self, name: str) -> bool:
        """Whether examples have a column."""
        return is_taken(self.columns, name)


def whole_lengths(given: Mapping[str, float]) -> dict[str, int]:
    """The parameter `lengths`, whose numbers a pipeline's parameters make floats of.

    Raises:
        EdgelineError: one is not a whole number above 0.
    """
    for name, length in given.items():
        if not isinstance(length, (int, float)) or not (length >= 1 and length % 1 == 0):
            raise EdgelineError(f"lengths gives {name!r} {length!r}: give a whole number above 0.")
    return {name: int(length) for name, length in given.items()}


def too_long(name: str, length: int, declared: int, place: str) -> EdgelineError:
    """That a list is longer than is declared; the place is such as a file and its row."""
    return EdgelineError(
        f"{place}, column {name!r}: has {length} values, but lengths says at most {declared}: "
        "declare more, and cut it in preprocessing_fn, which does so on the device, too."
    )


def declaring(name: str, length: int) -> str:
    """What to do about lists that differ in length, of which one has `length` values."""
    return (
        f"declare the most values that one has, such as lengths={_as_parameter(name, length)} "
        "(what a shorter one lacks at its end is missing), or give lists of one length"
    )


def leaving_out(name: str) -> str:
    """What to do about a column that examples cannot hold."""
    return f"leave it out with columns={_as_parameter(name, False)}"


def is_taken(columns: Mapping[str, bool], name: str) -> bool:
    """Whether the parameter `columns` takes a column."""
    return columns.get(name, not any(columns.values()))


def _as_parameter(name: str, value: object) -> str:
    return json.dumps({name: value}, ensure_ascii=False)
