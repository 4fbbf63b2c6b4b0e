"""Counting columns in the bins of their reference, and judging what was counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from edgeline.artifacts.reference import (
    Arrays,
    Column,
    Numbers,
    Reference,
    bins,
    columns,
    count,
    present,
)
from edgeline.formats.dtypes import Array
from edgeline.monitoring.drift import Live, Thresholds, counts_of, histogram, judge

SIDES = ("inputs", "outputs")
_EXAMPLES = 5  # of unseen values that are told
_KEPT = 100


@dataclass
class ColumnTally:
    """What was counted of one column."""

    counts: Array
    missing: int = 0
    unseen: Counter[str] = field(default_factory=Counter)

    def __add__(self, other: ColumnTally) -> ColumnTally:
        unseen = Counter(dict((self.unseen + other.unseen).most_common(_KEPT)))
        return ColumnTally(self.counts + other.counts, self.missing + other.missing, unseen)


Tallies = dict[tuple[str, str], ColumnTally]  # by side and column


class ColumnCounter:
    """Counts the columns of a reference; as large for any number of rows."""

    def __init__(self, reference: Reference) -> None:
        self._columns: dict[tuple[str, str], Column] = {
            (side, name): column
            for side in SIDES
            for name, column in getattr(reference, side).items()
        }
        self._places = {
            key: {value: place for place, value in enumerate(column.values)}
            for key, column in self._columns.items()
            if not isinstance(column, Numbers)
        }

    def none(self) -> Tallies:
        """The tallies of no row."""
        return {
            key: ColumnTally(np.zeros(len(counts_of(column)), np.int64))
            for key, column in self._columns.items()
        }

    def add(self, side: str, found: Mapping[str, Array], into: Tallies) -> None:
        """Count columns [rows] of a side (see `joined`); those that the reference lacks are not."""
        for name, values in found.items():
            column, tally = self._columns.get((side, name)), into.get((side, name))
            if column is None or tally is None:
                continue
            there, missing = present(values)
            tally.missing += missing
            if isinstance(column, Numbers):
                tally.counts += bins(there, column.cuts)
                continue
            places = self._places[side, name]
            for value, times in count(there).items():
                place = places.get(value, -1)
                tally.counts[place] += times
                if place < 0 and (value in tally.unseen or len(tally.unseen) < _KEPT):
                    tally.unseen[value] += times

    def judged(self, tallies: Tallies, limits: Thresholds) -> dict[str, Any]:
        """Each column's statistics by `inputs` and `outputs`, and which of them are `drifting`."""
        sides: dict[str, dict[str, Any]] = {side: {} for side in SIDES}
        for (side, name), column in self._columns.items():
            tally = tallies[side, name]
            live = Live(tally.counts, tally.missing)
            found = judge(column, live, limits)
            found["histogram"] = histogram(column, live)
            if tally.unseen:
                found["unseen_values"] = [v for v, _ in tally.unseen.most_common(_EXAMPLES)]
            sides[side][name] = found
        drifting = [
            name for side in SIDES for name, found in sides[side].items() if found["drifting"]
        ]
        return {"drifting": drifting, **sides}


def joined(batch: Iterable[Arrays], outputs: bool) -> dict[str, Array]:
    """The columns of many predictions, each joined."""
    parts: dict[str, list[Array]] = {}
    for arrays in batch:
        for name, array in arrays.items():
            parts.setdefault(name, []).append(array)
    found: dict[str, Array] = {}
    for name, arrays_of in parts.items():
        same = len({array.shape[1:] for array in arrays_of}) == 1
        pieces = [np.concatenate(arrays_of)] if same else arrays_of
        for piece in pieces:
            for column, values in columns({name: piece}, outputs).items():
                before = found.get(column)
                found[column] = values if before is None else np.concatenate([before, values])
    return found
