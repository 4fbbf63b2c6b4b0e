"""The parameter `split_by`: splits that a column says, that follow each other in time, or that have
each label in the same share.

It needs no pyarrow, so that it can be checked before a run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edgeline.errors import EdgelineError

WAYS = ("column", "time", "stratify")
FIELDS = {"column": "names", "time": "cuts"}  # what else a way takes
EXAMPLES = (
    '{"column": "fold"}, {"time": "when"}, {"time": "when", "cuts": ["2026-01-01"]} or '
    '{"stratify": "label"}'
)


@dataclass(frozen=True)
class SplitBy:
    """A way of splitting, and its column.

    Attributes:
        way: column, time or stratify; empty: by a hash.
        column: the column, by the name that the data has.
        names: of `column`, its values that are not the split's own name, with that.
        cuts: of `time`, where each split but the last ends: numbers, or ISO 8601; empty: where
            split_ratios say.
    """

    way: str = ""
    column: str = ""
    names: Mapping[str, str] | None = None
    cuts: tuple[float | str, ...] = ()

    @classmethod
    def read(cls, given: Mapping[str, Any], key: str = "") -> SplitBy:
        """The parameter as it is given.

        Args:
            given: the parameter.
            key: the parameter split_key.

        Raises:
            EdgelineError: it says no way or several, or what its way does not take.
        """
        if not given:
            return cls()
        ways = [way for way in WAYS if way in given]
        if len(ways) != 1:
            raise EdgelineError(f"split_by is {dict(given)}: give one of {EXAMPLES}.")
        way, column = ways[0], given[ways[0]]
        if key:
            raise EdgelineError(
                f"split_key and split_by[{way!r}] both say how to split: give one of the two."
            )
        if not isinstance(column, str) or not column:
            raise EdgelineError(f"split_by[{way!r}] is {column!r}: give the name of a column.")
        extra = FIELDS.get(way, "")
        if unknown := [name for name in given if name not in (way, extra)]:
            raise EdgelineError(
                f"split_by has {unknown[0]!r}, which {way!r} does not take: give one of {EXAMPLES}."
            )
        return cls(way, column, _names(given.get("names", {})), _cuts(given.get("cuts", [])))


def _names(given: Any) -> Mapping[str, str]:
    if not isinstance(given, Mapping) or not all(isinstance(to, str) for to in given.values()):
        raise EdgelineError(
            f"split_by['names'] is {given!r}: give a value of the column and its split, for "
            'example {"validation": "eval"}.'
        )
    return {str(value): to for value, to in given.items()}


def _cuts(given: Any) -> tuple[float | str, ...]:
    cuts = given if isinstance(given, list | tuple) else [given]
    for cut in cuts:
        if isinstance(cut, bool) or not isinstance(cut, float | int | str):
            raise EdgelineError(
                f"split_by['cuts'] has {cut!r}: give numbers or times such as \"2026-01-01\"."
            )
    return tuple(cuts)
