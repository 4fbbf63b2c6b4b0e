"""Partial dependence: the mean score of rows if all of them had a certain value of a feature.

J. Friedman, "Greedy Function Approximation: A Gradient Boosting Machine", 2001. Numbers are asked
at their quantiles, words and few whole numbers at those that are most frequent. Rows that a value
does not go with are asked, too, so where features depend on each other the curve says what the
model does, and not what the world does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeline.artifacts.features import missing
from edgeline.formats.dtypes import Array
from edgeline.runtimes.shapley import ModelAnswers

MOST_FEATURES = 12
MOST_ROWS = 200  # over which a mean is taken
MOST_POINTS = 12
AT_ONCE_BYTES = 64 << 20  # of rows that are asked
MISSING_WORD = "(missing)"

Arrays = Mapping[str, Array]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Dependence:
    """Of one feature.

    Attributes:
        values: that all rows got, as words.
        places: where a number lies on an axis; empty where values are words.
        cloud, edge: mean scores.
    """

    feature: str
    values: tuple[str, ...]
    places: tuple[float, ...]
    cloud: tuple[float, ...]
    edge: tuple[float, ...]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def dependences(
    cloud: ModelAnswers, edge: ModelAnswers, rows: Arrays, names: Sequence[str], target: int
) -> list[Dependence]:
    """Of features that have one value in a row and several in the rows.

    Args:
        rows: raw features [rows, ...]; the first `MOST_ROWS` evenly spread ones are asked.
        names: the features, the most important first; `MOST_FEATURES` are looked at.
        target: the output whose score it is.
    """
    count = len(rows[names[0]]) if names else 0
    some = np.unique(np.linspace(0, count - 1, min(count, MOST_ROWS)).astype(np.int64))
    asked = {name: array[some] for name, array in rows.items()}
    found = []
    for name in names[:MOST_FEATURES]:
        array = rows[name]
        if array.size != len(array):
            continue
        points, are_numbers = grid(array)
        if len(points) < 2:
            continue
        means = [_means(side, asked, name, points, target) for side in (cloud, edge)]
        found.append(
            Dependence(
                name,
                tuple(map(in_words, points.tolist())),
                tuple(map(float, points)) if are_numbers else (),
                tuple(means[0].tolist()),
                tuple(means[1].tolist()),
            )
        )
    return found


def _means(side: ModelAnswers, rows: Arrays, name: str, points: Array, target: int) -> Floats:
    """The mean score of rows if all had each point's value, float64 [points]; at most
    `AT_ONCE_BYTES` of rows, which pictures beside the feature make large, are asked at once."""
    count = len(rows[name])
    together = max(1, AT_ONCE_BYTES // max(sum(each[0].nbytes for each in rows.values()), 1))
    scores = np.empty(len(points) * count)
    for start in range(0, len(scores), together):
        place = np.arange(start, min(start + together, len(scores)))
        given = {key: each[place % count] for key, each in rows.items() if key != name}
        given[name] = points[place // count].reshape(len(place), *rows[name].shape[1:])
        scores[place] = side({key: given[key] for key in rows})[:, target]
    return np.asarray(scores.reshape(len(points), count).mean(axis=1))


def grid(array: Array) -> tuple[Array, bool]:
    """The values at which a feature is asked, and whether they are numbers on an axis."""
    flat = array.reshape(-1)
    lacking = missing(flat)
    known = flat if lacking is None else flat[~lacking]
    distinct, counts = np.unique(known, return_counts=True)
    if array.dtype.kind in "iuf" and len(distinct) > MOST_POINTS:
        shares = np.linspace(0.02, 0.98, MOST_POINTS)
        return np.unique(np.quantile(known, shares, method="nearest")), True
    if array.dtype.kind in "iuf":
        return distinct, True
    points = distinct[np.argsort(-counts, kind="stable")][:MOST_POINTS]
    if lacking is not None and lacking.any():
        points = np.append(points[: MOST_POINTS - 1], flat[lacking][:1])
    return points, False


def in_words(value: object) -> str:
    """A raw value as a person reads it."""
    if isinstance(value, bytes):
        return value.decode(errors="replace") or MISSING_WORD
    if isinstance(value, float):
        return MISSING_WORD if value != value else f"{value:.6g}"
    return MISSING_WORD if value == -(2**63) else str(value)
