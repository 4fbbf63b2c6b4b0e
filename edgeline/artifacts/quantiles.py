"""Order statistics of a stream in bounded memory."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

Values = npt.NDArray[np.float64]


@dataclass
class Quantiles:
    """Order statistics of a stream: exact below `capacity` values, then within a stated rank error.

    The multi-level collapse of Manku, Rajagopalan and Lindsay (1998): a level that holds
    `capacity` values is sorted and every other one goes up a level with double weight,
    beginning with the first and the second in turn. One collapse at weight w moves a rank
    by at most w, so the error of a rank is at most `levels / capacity` of all values:
    0.02% of 150 thousand, 0.1% of a billion.
    """

    capacity: int = 16_384
    levels: list[list[Values]] = field(default_factory=lambda: [[]])
    collapses: list[int] = field(default_factory=lambda: [0])

    def update(self, values: Values) -> None:
        """Take a block of finite values in."""
        self._take(values, 0)

    def _take(self, values: Values, level: int) -> None:
        while len(self.levels) <= level:
            self.levels.append([])
            self.collapses.append(0)
        while True:
            self.levels[level].append(values)
            if sum(map(len, self.levels[level])) < self.capacity:
                return
            full = np.concatenate(self.levels[level])
            even = len(full) - len(full) % 2
            values = np.sort(full[:even])[self.collapses[level] % 2 :: 2].copy()
            self.levels[level] = [full[even:]]
            self.collapses[level] += 1
            level += 1
            if level == len(self.levels):
                self.levels.append([])
                self.collapses.append(0)

    def merge(self, other: Quantiles) -> None:
        """Take in what another has seen, level by level, so that the error is that of one."""
        for level, parts in enumerate(other.levels):
            for part in parts:
                if len(part):
                    self._take(part, level)

    @property
    def error(self) -> float:
        """Greatest error of a rank, as a share of all values; 0 while exact."""
        return (len(self.levels) - 1) / self.capacity

    def at(self, ranks: npt.NDArray[np.int64]) -> Values:
        """The values of these ranks, 1 being the smallest; there must be a value."""
        values = np.concatenate([part for level in self.levels for part in level])
        weights = np.concatenate(
            [np.full(len(part), 2**i) for i, level in enumerate(self.levels) for part in level]
        )
        order = np.argsort(values, kind="stable")
        index = np.searchsorted(np.cumsum(weights[order]), ranks)
        answer: Values = values[order][np.minimum(index, len(values) - 1)]
        return answer
