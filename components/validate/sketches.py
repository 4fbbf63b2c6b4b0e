"""What can be known of a column in bounded memory: moments and frequent values.

Every sketch is fed blocks of values in the order of the rows and is deterministic: the
same blocks give the same answer, and nothing is drawn at random.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

Values = npt.NDArray[np.float64]


@dataclass
class Moments:
    """Count, mean, variance, range and zeros of the finite values; NaN and infinity apart.

    Blocks are merged by the pairwise formula of Chan, Golub and LeVeque (1979), which
    keeps its precision where a sum of squares would lose it.
    """

    count: int = 0
    mean: float = 0.0
    squares: float = 0.0
    minimum: float = math.inf
    maximum: float = -math.inf
    zeros: int = 0
    nan: int = 0
    infinite: int = 0
    negative_infinite: int = 0

    def update(self, values: Values) -> Values:
        """Take a block in and return its finite values."""
        finite = np.isfinite(values)
        if not finite.all():
            nan = int(np.isnan(values).sum())
            self.nan += nan
            self.infinite += len(values) - int(finite.sum()) - nan
            self.negative_infinite += int(np.isneginf(values).sum())
            values = values[finite]
        if not len(values):
            return values
        self.minimum = min(self.minimum, float(values.min()))
        self.maximum = max(self.maximum, float(values.max()))
        self.zeros += len(values) - int(np.count_nonzero(values))
        with np.errstate(over="ignore", invalid="ignore"):
            mean = values.mean()
            squares = np.square(values - mean).sum()
            total = self.count + len(values)
            delta = mean - self.mean
            self.squares = float(
                self.squares + squares + delta * delta * self.count * len(values) / total
            )
            self.mean = float(self.mean + delta * len(values) / total)
        self.count = total
        return values

    def merge(self, other: Moments) -> None:
        """Take in what another has seen, by the same formula."""
        self.minimum = min(self.minimum, other.minimum)
        self.maximum = max(self.maximum, other.maximum)
        self.zeros += other.zeros
        self.nan += other.nan
        self.infinite += other.infinite
        self.negative_infinite += other.negative_infinite
        if not other.count:
            return
        with np.errstate(over="ignore", invalid="ignore"):
            total = self.count + other.count
            delta = np.float64(other.mean) - self.mean
            between = delta * delta * self.count * other.count / total
            self.squares = float(self.squares + other.squares + between)
            self.mean = float(self.mean + delta * other.count / total)
        self.count = total

    @property
    def deviation(self) -> float:
        """Standard deviation of the population."""
        return math.sqrt(self.squares / self.count) if self.count else 0.0


@dataclass
class ValueCounts:
    """How often each value occurs: exact up to `capacity` distinct values, then the frequent ones.

    Beyond it the smallest counts make room by the rule of Misra and Gries (1982) in the
    mergeable form of Agarwal et al. (2012): a count is too low by at most `error`, which
    is at most the number of values / (capacity + 1), and a value that is more frequent
    than that is never lost.
    """

    capacity: int = 10_000
    counts: dict[object, int] = field(default_factory=dict)
    error: int = 0

    def update(self, values: pa.Array) -> None:
        """Take a block of values without nulls in."""
        found = pc.value_counts(values)
        keys, times = found.field("values").to_pylist(), found.field("counts").to_pylist()
        self._add(zip(keys, times, strict=True))

    def merge(self, other: ValueCounts) -> None:
        """Take in what another has counted; the errors add up."""
        self.error += other.error
        self._add(other.counts.items())

    def _add(self, counted: Iterable[tuple[Any, int]]) -> None:
        for key, count in counted:
            self.counts[key] = self.counts.get(key, 0) + count
        if len(self.counts) > self.capacity:
            least = sorted(self.counts.values(), reverse=True)[self.capacity]
            self.counts = {k: n - least for k, n in self.counts.items() if n > least}
            self.error += least

    @property
    def exact(self) -> bool:
        return self.error == 0

    def ranked(self) -> list[tuple[Any, int]]:
        """Values with their counts, the most frequent first, ties in the values' order."""
        return sorted(self.counts.items(), key=lambda item: (-item[1], item[0]))
