"""What would have to be otherwise: of a row the nearest recorded row with another decision.

Two steps, both on the edge model's decisions. Of the recorded rows that are decided otherwise the
nearest are taken, by Gower's distance (J. Gower, "A General Coefficient of Similarity and Some of
Its Properties", 1971): of numbers the difference over the range of 98 of 100 rows, of words whether
they differ. Then as few of the row's features as possible are given the values of that neighbour:
first one, then the one beside it that brings the score furthest, until the decision changes; what
can be taken back again is. Every value was recorded, though not in this combination, and a smaller
change may exist: nothing is said of what causes what.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeline.artifacts.features import missing
from edgeline.components.explain.dependence import in_words
from edgeline.components.explain.sides import ExplainedSides
from edgeline.formats.dtypes import Array
from edgeline.runtimes.shapley import alike

NEIGHBOURS = 3  # whose values are tried
RANGE = (0.01, 0.99)

Arrays = Mapping[str, Array]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class FeatureChange:
    """A feature that gets another value."""

    feature: str
    before: str
    after: str


@dataclass(frozen=True)
class Counterfactual:
    """Of one row.

    Attributes:
        row: of the split, from 0.
        neighbour: the number of the recorded row whose values were taken, in the background.
        distance: Gower's, between 0 and 1, of the row and that neighbour.
        before, after: decisions, in words.
        score, score_after: of the row's own class before and after.
        changes: as few as were found.
        differing: features in which the neighbour differs.
    """

    row: int
    neighbour: int
    distance: float
    before: str
    after: str
    score: float
    score_after: float
    changes: tuple[FeatureChange, ...]
    differing: int

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "changes": [asdict(each) for each in self.changes]}


def counterfactuals(
    sides: ExplainedSides, rows: Arrays, numbers: Sequence[int], recorded: Arrays
) -> list[Counterfactual]:
    """Of each row for which a recorded one is decided otherwise.

    Args:
        rows: raw features, [rows, ...] each.
        numbers: of the rows in the split.
        recorded: raw rows among which neighbours are looked for.
    """
    scores, known = sides.edge(rows), sides.edge(recorded)
    own, others = sides.decide(scores), sides.decide(known)
    found = []
    for at, number in enumerate(numbers):
        elsewhere = np.flatnonzero(others != own[at])
        if not len(elsewhere):
            continue
        row = {name: array[at : at + 1] for name, array in rows.items()}
        distances = gower(
            row, {name: array[elsewhere] for name, array in recorded.items()}, recorded
        )
        nearest = np.argsort(distances, kind="stable")[:NEIGHBOURS]
        tried = [
            (_sparsest(sides, row, int(own[at]), _at(recorded, int(elsewhere[place]))), place)
            for place in nearest.tolist()
        ]
        (names, differing, score, decision), place = min(tried, key=lambda each: len(each[0][0]))
        other = _at(recorded, int(elsewhere[place]))
        target = int(own[at]) if scores.shape[1] > 1 else 0
        found.append(
            Counterfactual(
                int(number),
                int(elsewhere[place]),
                float(distances[place]),
                sides.class_name(int(own[at])),
                sides.class_name(decision),
                float(scores[at, target]),
                float(score[target]),
                tuple(
                    FeatureChange(name, _words(row[name]), _words(other[name])) for name in names
                ),
                differing,
            )
        )
    return found


def gower(row: Arrays, others: Arrays, recorded: Arrays) -> Floats:
    """Distances of a row [1, ...] from others [others, ...]: float64 [others], 0 to 1."""
    parts: list[Floats] = []
    for name, own in row.items():
        there = others[name]
        if own.dtype.kind in "iuf":
            parts.append(_apart(own, there, recorded[name]))
        else:
            parts.append(np.asarray(~alike(np.repeat(own, len(there), axis=0), there), np.float64))
    return np.asarray(np.mean(parts, axis=0))


def _apart(own: Array, others: Array, recorded: Array) -> Floats:
    """Mean distances of numbers; a missing value is as far as can be from any other."""
    flat = recorded.reshape(len(recorded), -1)
    lacking = [missing(each) for each in (own, others, flat)]
    mine, theirs, gaps = (
        np.zeros(each.shape, bool) if found is None else found
        for each, found in zip((own, others, flat), lacking, strict=True)
    )
    known = np.where(gaps, np.nan, flat.astype(np.float64))
    if np.isnan(known).all():
        known = np.zeros((1, 1))
    low, high = np.nanquantile(known, RANGE)
    width = float(high - low) or 1.0
    distance = np.abs(others.astype(np.float64) - own.astype(np.float64)) / width
    distance = np.where(theirs & mine, 0.0, np.where(theirs | mine, 1.0, np.minimum(distance, 1)))
    return np.asarray(distance.reshape(len(others), -1).mean(axis=1))


def _sparsest(
    sides: ExplainedSides, row: Arrays, own: int, other: Arrays
) -> tuple[list[str], int, Floats, int]:
    """The features that change the decision with the neighbour's values, as few as are found;
    how many differ; the scores and the decision then."""
    differing = [name for name in row if not alike(row[name], other[name])[0]]
    taken: list[str] = []
    while True:
        left = [name for name in differing if name not in taken]
        scores = sides.edge(_mixed(row, other, [[*taken, name] for name in left]))
        decisions = sides.decide(scores)
        target = own if scores.shape[1] > 1 else 0
        # of two classes the score falls for a yes and rises for a no
        towards = -scores[:, target] if scores.shape[1] > 1 or own else scores[:, 0]
        other_way = np.flatnonzero(decisions != own)
        best = int(other_way[np.argmax(towards[other_way])] if len(other_way) else towards.argmax())
        taken.append(left[best])
        if len(other_way) or len(left) == 1:
            break
    score, decision = scores[best], int(decisions[best])
    for name in list(taken[:-1]):  # what the later ones made needless
        fewer = [each for each in taken if each != name]
        again = sides.edge(_mixed(row, other, [fewer]))
        if (then := int(sides.decide(again)[0])) != own:
            taken, score, decision = fewer, again[0], then
    return taken, len(differing), score, decision


def _mixed(row: Arrays, other: Arrays, taken: Sequence[Sequence[str]]) -> dict[str, Array]:
    """A row [1, ...] once for each list of features, which come from the other."""
    return {
        name: np.concatenate([(other if name in each else row)[name] for each in taken])
        for name in row
    }


def _at(rows: Arrays, place: int) -> dict[str, Array]:
    return {name: array[place : place + 1] for name, array in rows.items()}


def _words(value: Array) -> str:
    flat = value.reshape(-1).tolist()
    return ", ".join(map(in_words, flat[:4])) + (" …" if len(flat) > 4 else "")
