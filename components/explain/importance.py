"""How much each feature matters over many rows, with an interval, for all rows and by slice.

The importance of a feature is the mean of what it adds to the score in either direction. Its
interval is the percentile bootstrap over rows (B. Efron, R. Tibshirani, "An Introduction to the
Bootstrap", 1993): it says how far other rows like these could lead to another value, and nothing
of the estimate of a single row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

RESAMPLES = 1000
AT_ONCE = 1 << 22  # numbers of resampled rows that are held
ENDS = (0.025, 0.975)  # of an interval of 95 %
LEAST_ROWS = 20  # of a slice; the interval of fewer says nothing
MOST_SLICES = 40

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class FeatureImportance:
    """Of one feature.

    Attributes:
        value: the mean of |attribution|, in units of the score.
        lower, upper: ends of its 95 % interval.
        share: of the sum of all features' values; 0 where no feature adds anything.
    """

    feature: str
    value: float
    lower: float
    upper: float
    share: float

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class SliceImportance:
    """Of the rows in which a column has a value; `features` are the most important first."""

    column: str
    value: str
    rows: int
    features: tuple[FeatureImportance, ...]

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "features": [each.to_json() for each in self.features]}


def importances(values: Floats, names: Sequence[str], seed: int) -> list[FeatureImportance]:
    """The importance of each feature, the largest first.

    Args:
        values: attributions, float64 [rows, features], at least one row.
        names: of the features.
        seed: of the bootstrap.
    """
    sizes = np.abs(values)
    random = np.random.default_rng(seed)
    rows = len(sizes)
    chances, together = np.full(rows, 1 / rows), max(1, AT_ONCE // rows)
    resampled = np.empty((RESAMPLES, sizes.shape[1]))
    for start in range(0, RESAMPLES, together):
        some = resampled[start : start + together]
        some[:] = random.multinomial(rows, chances, size=len(some)) @ sizes / rows
    lower, upper = np.quantile(resampled, ENDS, axis=0)
    means = sizes.mean(axis=0)
    whole = float(means.sum()) or 1.0
    order = np.argsort(-means, kind="stable").tolist()
    return [
        FeatureImportance(
            names[at], float(means[at]), float(lower[at]), float(upper[at]), means[at] / whole
        )
        for at in order
    ]


def by_slice(
    values: Floats, names: Sequence[str], columns: Mapping[str, Sequence[str]], seed: int
) -> list[SliceImportance]:
    """The importances in the first `MOST_SLICES` slices of at least `LEAST_ROWS` rows: column by
    column, the largest slices first.

    Args:
        columns: values of the rows, as words, by column.
    """
    enough: list[tuple[str, str, list[int]]] = []
    for column, words in columns.items():
        inside: dict[str, list[int]] = {}
        for row, word in enumerate(words):
            inside.setdefault(word, []).append(row)
        largest = sorted(inside.items(), key=lambda each: -len(each[1]))
        enough += [(column, word, rows) for word, rows in largest if len(rows) >= LEAST_ROWS]
    return [
        SliceImportance(column, word, len(rows), tuple(importances(values[rows], names, seed)))
        for column, word, rows in enough[:MOST_SLICES]
    ]
