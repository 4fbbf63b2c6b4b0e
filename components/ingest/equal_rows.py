"""How many rows are equal, within a split and across: told by their hashes, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from edgeline.components.ingest.split import Numbers

MOST = 1 << 17  # distinct rows that are held; of more, every second, fourth, eighth, …
TRAIN = "train"


class EqualRows:
    """Counts equal rows.

    Exact up to 131,072 distinct rows. Of more, those are counted whose hash ends with some zero
    bits, with all that are equal to them, and stand for the others.
    """

    def __init__(self) -> None:
        self._bits = 0
        self._hashes = np.zeros(0, np.uint64)
        self._splits = np.zeros(0, np.int64)
        self._counts = np.zeros(0, np.int64)
        self._waiting: list[tuple[npt.NDArray[np.uint64], Numbers]] = []
        self._rows = 0

    def update(self, hashes: npt.NDArray[np.uint64], splits: Numbers) -> None:
        """Take in the hashes of some rows and the numbers of their splits, shape [rows] each."""
        kept = self._sampled(hashes)
        self._waiting.append((hashes[kept], splits[kept]))
        self._rows += int(kept.sum())
        if self._rows > 2 * MOST:
            self._merge()

    def within(self, names: Sequence[str]) -> Mapping[str, int]:
        """Of each split, how many rows equal an earlier one of it; splits that have any."""
        self._merge()
        found = {
            name: int((self._counts[self._splits == number] - 1).sum()) << self._bits
            for number, name in enumerate(names)
        }
        return {name: count for name, count in found.items() if count}

    def warnings(self, names: Sequence[str], rows: Sequence[int]) -> Iterator[str]:
        """Sentences on splits that have rows of `train`.

        Args:
            names: of the splits, by number.
            rows: how many rows each has.
        """
        self._merge()
        if TRAIN not in names:
            return
        trained = self._hashes[self._splits == names.index(TRAIN)]
        for number, name in enumerate(names):
            own = self._splits == number
            known = np.isin(self._hashes[own], trained)
            leaked = int(self._counts[own][known].sum()) << self._bits
            if leaked and name != TRAIN:
                yield (
                    f"{'about ' if self._bits else ''}{leaked:,} of the {rows[number]:,} rows of "
                    f"{name} equal a row of train, so the model has seen them"
                )

    def _sampled(self, hashes: npt.NDArray[np.uint64]) -> npt.NDArray[np.bool_]:
        sampled: npt.NDArray[np.bool_] = hashes & np.uint64((1 << self._bits) - 1) == 0
        return sampled

    def _merge(self) -> None:
        hashes = np.concatenate([self._hashes, *(each for each, _ in self._waiting)])
        splits = np.concatenate([self._splits, *(each for _, each in self._waiting)])
        counts = np.concatenate([self._counts, np.ones(len(hashes) - len(self._counts), np.int64)])
        order = np.lexsort((splits, hashes))
        hashes, splits, counts = hashes[order], splits[order], counts[order]
        first = np.ones(len(hashes), np.bool_)
        first[1:] = (hashes[1:] != hashes[:-1]) | (splits[1:] != splits[:-1])
        starts = np.flatnonzero(first)
        self._hashes, self._splits = hashes[starts], splits[starts]
        self._counts = np.add.reduceat(counts, starts) if len(starts) else counts
        while len(self._hashes) > MOST:
            self._bits += 1
            kept = self._sampled(self._hashes)
            self._hashes, self._splits = self._hashes[kept], self._splits[kept]
            self._counts = self._counts[kept]
        self._waiting, self._rows = [], len(self._hashes)
