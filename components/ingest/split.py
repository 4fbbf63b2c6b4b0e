"""Which split a row belongs to: what all ways of splitting have in common, and the usual one.

Usually the row alone determines it, or the value of a key column, by a hash that never changes
(`row_hash`):

    split = the first, in alphabetical order, with hash < 2**64 * (weights up to it) / (all weights)

So a row falls into the same split in whatever file, order or company it comes; rows that are equal,
or have an equal key, stay together, and so do all rows whose key is missing.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from edgeline.components.ingest.row_hash import hashes, joined, value_bytes
from edgeline.components.ingest.rows import Rows
from edgeline.errors import EdgelineError

MOST_HASH = 2**64
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
Numbers = npt.NDArray[np.int64]
AllRows = Callable[[], Iterator[tuple[str, Rows]]]  # all rows from the start, with their file


class SplitRule(Protocol):
    """A way of splitting, which knows the names of its splits."""

    @property
    def names(self) -> tuple[str, ...]:
        """The splits."""

    def assign(self, rows: Rows) -> Numbers:
        """The number of each row's split, shape [rows]."""

    def told(self) -> Mapping[str, object]:
        """How the rows were split, for the metadata."""


@dataclass(frozen=True)
class Shares:
    """Splits in alphabetical order, and the share of all rows at which each but the last ends.

    The order is that of the names because a mapping's order is lost on the way
    through a pipeline's parameters.
    """

    names: tuple[str, ...]
    ends: tuple[Fraction, ...]

    @classmethod
    def from_ratios(cls, ratios: Mapping[str, float]) -> Shares:
        """Shares in proportion to some weights.

        Raises:
            EdgelineError: no split, a bad name, or a weight that is not above 0.
        """
        if not ratios:
            raise EdgelineError('split_ratios is empty: give for example {"train": 2, "eval": 1}.')
        for name, weight in ratios.items():
            if not NAME.fullmatch(name):
                raise EdgelineError(
                    f"split_ratios names a split {name!r}: use letters, digits, - and _ only."
                )
            number = isinstance(weight, (int, float)) and not isinstance(weight, bool)
            if not (number and math.isfinite(weight) and weight > 0):
                raise EdgelineError(
                    f"split_ratios gives {name!r} the weight {weight!r}: give a number above 0."
                )
        return cls.of({name: Fraction(ratios[name]) for name in sorted(ratios)})

    @classmethod
    def of(cls, weights: Mapping[str, Fraction]) -> Shares:
        """Shares of splits in this order."""
        sums = list(itertools.accumulate(weights.values()))
        return cls(tuple(weights), tuple(part / sums[-1] for part in sums[:-1]))

    def train_first(self) -> Shares:
        """The same with `train` as the first."""
        sizes = [
            end - start for start, end in itertools.pairwise((Fraction(0), *self.ends, Fraction(1)))
        ]
        by_name = dict(zip(self.names, sizes, strict=True))
        return self.of(dict(sorted(by_name.items(), key=lambda entry: entry[0] != "train")))


@dataclass(frozen=True)
class HashSplit:
    """By a hash of the whole row, or of the key column's value where there is one."""

    shares: Shares
    key: str = ""

    @property
    def names(self) -> tuple[str, ...]:
        """The splits, in alphabetical order."""
        return self.shares.names

    def assign(self, rows: Rows) -> Numbers:
        """The number of each row's split, shape [rows].

        Raises:
            EdgelineError: there is no column `key`.
        """
        bounds = np.array([int(MOST_HASH * end) for end in self.shares.ends], np.uint64)
        found = key_hashes(rows, self.key) if self.key else rows.hashes
        return np.searchsorted(bounds, found, side="right")

    def told(self) -> Mapping[str, object]:
        """The key, where there is one."""
        return {"key": self.key} if self.key else {}


def key_hashes(rows: Rows, key: str) -> npt.NDArray[np.uint64]:
    """The hash of the value that each row has in a column, shape [rows]."""
    column = given_column(rows, key, "split_key names")
    values = joined([value_bytes(column)]).dictionary_encode()
    places = np.frombuffer(values.indices.buffers()[1], np.int32, len(column))
    return hashes(values.dictionary)[places]


def given_column(rows: Rows, name: str, what: str) -> pa.Array:
    """A column as it is given, under the data's own name.

    Raises:
        EdgelineError: there is none.
    """
    return _column(rows.whole.given, name, what)


def typed_column(rows: Rows, name: str, what: str) -> pa.Array:
    """A column as it would be written, under the data's own name.

    Raises:
        EdgelineError: there is none.
    """
    return _column(rows.whole.typed, name, what)


def _column(batch: pa.RecordBatch, name: str, what: str) -> pa.Array:
    if name not in batch.schema.names:
        raise EdgelineError(
            f"{what} a column {name!r}, but the data has {', '.join(batch.schema.names)}: name "
            "one of them."
        )
    return batch.column(name)
