"""Splits in which each label has the same share, however rare it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from edgeline.components.ingest.row_hash import joined, value_bytes
from edgeline.components.ingest.rows import Rows
from edgeline.components.ingest.split import MOST_HASH, AllRows, Numbers, Shares, given_column
from edgeline.errors import EdgelineError

WHAT = "split_by['stratify'] names"
MOST = 1_000  # labels
EXACT = 4_096  # rows of a label whose hashes are kept; of more, how many fall into each bucket
BUCKETS = 4_096
Hashes = npt.NDArray[np.uint64]


@dataclass(frozen=True)
class StratifiedSplit:
    """By the hash of the row, with bounds for each label that give it its share.

    So a row falls into the same split in whatever order the rows come, and equal rows stay
    together. Of a label with up to 4,096 rows each split has its share to the row; of one with
    more, to a few in ten thousand.

    Attributes:
        column: of the labels.
        shares: of the splits.
        bounds: label, as it is hashed, to the hash at which each split but the last ends.
    """

    column: str
    shares: Shares
    bounds: Mapping[bytes, Hashes]

    @property
    def names(self) -> tuple[str, ...]:
        """The splits, in alphabetical order."""
        return self.shares.names

    @classmethod
    def planned(cls, column: str, shares: Shares, read: AllRows) -> StratifiedSplit:
        """After a look at all rows.

        Raises:
            EdgelineError: the column has too many values to be labels.
        """
        found: dict[bytes, _Label] = {}
        for _, rows in read():
            values, places = _labels(rows, column)
            for number, value in enumerate(values):
                found.setdefault(value, _Label()).update(rows.hashes[places == number])
            if len(found) > MOST:
                raise EdgelineError(
                    f"{WHAT} {column!r}, which has more than {MOST:,} values: name a column of "
                    "labels."
                )
        return cls(column, shares, {value: each.bounds(shares) for value, each in found.items()})

    def assign(self, rows: Rows) -> Numbers:
        """The number of each row's split, shape [rows]."""
        values, places = _labels(rows, self.column)
        bounds = np.stack([self.bounds[value] for value in values])[places]
        return np.asarray((rows.hashes[:, None] >= bounds).sum(axis=1))

    def told(self) -> Mapping[str, object]:
        """The column."""
        return {"stratify": self.column}


@dataclass
class _Label:
    rows: int = 0
    hashes: list[Hashes] = field(default_factory=list)  # of all rows, as long as these are few
    buckets: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))

    def update(self, found: Hashes) -> None:
        self.rows += len(found)
        self.hashes.append(found)
        if self.rows > EXACT:
            kept = np.concatenate(self.hashes)
            counted = np.bincount((kept // np.uint64(MOST_HASH // BUCKETS)).astype(np.int64))
            counted = np.pad(counted, (0, BUCKETS - len(counted)))
            self.buckets = self.buckets + counted if len(self.buckets) else counted
            self.hashes = []

    def bounds(self, shares: Shares) -> Hashes:
        """The hash at which each split but the last ends."""
        ends = [round(self.rows * end) for end in shares.ends]
        if self.rows <= EXACT:
            ordered = np.sort(np.concatenate(self.hashes))
            found = [int(ordered[end]) if end < self.rows else MOST_HASH - 1 for end in ends]
        else:
            sums = np.cumsum(self.buckets)
            places = [int(np.argmin(np.abs(sums - end))) + 1 for end in ends]
            found = [min(place * (MOST_HASH // BUCKETS), MOST_HASH - 1) for place in places]
        return np.array(found, np.uint64)


def _labels(rows: Rows, column: str) -> tuple[list[bytes], npt.NDArray[np.int32]]:
    """The labels that some rows have, and the number of each row's, shape [rows]."""
    values = joined([value_bytes(given_column(rows, column, WHAT))]).dictionary_encode()
    places = np.frombuffer(values.indices.buffers()[1], np.int32, len(values))
    labels: pa.Array = values.dictionary
    return labels.to_pylist(), places
