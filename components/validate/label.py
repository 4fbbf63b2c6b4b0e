"""What each column says of the label by itself: mutual information and correlation, of some rows.

It is for people who look at data: what says nothing of the label may be left out, and what says
everything may be known only afterwards. Nothing is decided by it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from edgeline.artifacts import Artifact, examples, features

ROWS = 10_000
CELLS = 4_000_000  # of a table of many columns fewer rows are looked at
FEWEST = 100  # rows, with fewer of which most is chance
TOGETHER = 256  # columns that are held at once
BINS = 16  # of equal rows, of numbers that have many values
VALUES = 32  # of words and whole numbers, the last one for all others
Codes = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Association:
    """What a column says of the label.

    Attributes:
        name: the column's.
        bits: mutual information, in bits, corrected for chance.
        share: of the label's entropy, 0 to 1.
        correlation: Pearson's, where the column is a number and the label is one or has two
            classes; else None.
    """

    name: str
    bits: float
    share: float
    correlation: float | None


@dataclass(frozen=True)
class LabelReading:
    """How columns and the label belong together.

    Attributes:
        label: its column.
        split, rows: those that were looked at.
        entropy: of the label, in bits; of a number with many values, of its bins.
        second: the class that counts as 1 in correlations, of a label of two words; else "".
        columns: what says most first.
    """

    label: str
    split: str
    rows: int
    entropy: float
    second: str
    columns: tuple[Association, ...]


@dataclass(frozen=True)
class _Truth:
    """The label of the rows that have one: codes, and numbers where it can be correlated."""

    known: npt.NDArray[np.bool_]
    codes: Codes
    numbers: npt.NDArray[np.float64] | None
    entropy: float
    second: str


def read(data: Artifact, split: str, label: str) -> LabelReading | None:
    """What the columns of a split say of its label.

    Args:
        data: `examples/v1`.
        split: of which 10,000 rows are looked at (see `examples.read_sample`), of more than 400
            columns fewer.
        label: a column.

    Returns:
        None where it is no column, or too few rows have one, or all the same.
    """
    schema = examples.arrow_schema(data, split)
    names = [field.name for field in schema if _is_plain(field.type)]
    if label not in names:
        return None
    rows = max(min(ROWS, CELLS // len(names)), FEWEST)
    truth = _truth(_columns(data, split, [label], rows)[label])
    if truth is None:
        return None
    names.remove(label)
    found = []
    for first in range(0, len(names), TOGETHER):
        some = _columns(data, split, names[first : first + TOGETHER], rows)
        found += [_association(name, column, truth) for name, column in some.items()]
    found.sort(key=lambda each: (-each.share, each.name))
    return LabelReading(label, split, len(truth.codes), truth.entropy, truth.second, tuple(found))


def mutual_information(x: Codes, y: Codes) -> float:
    """Mutual information in bits, at least 0, of two columns of codes from 0, shape [rows].

    The plain estimate is too high by (K - 1)(L - 1) / 2N nats for K and L values in N rows, which
    is taken off (Miller, Note on the bias of information estimates, 1955).
    """
    columns = int(y.max()) + 1
    counts = np.bincount(x * columns + y, minlength=(int(x.max()) + 1) * columns)
    counts = counts.reshape(-1, columns)
    by_x, by_y = counts.sum(1), counts.sum(0)
    plain = _entropy(by_x) + _entropy(by_y) - _entropy(counts.reshape(-1))
    free = (np.count_nonzero(by_x) - 1) * (np.count_nonzero(by_y) - 1)
    return max(float(plain - free / (2 * len(x) * math.log(2))), 0.0)


def _is_plain(kind: pa.DataType) -> bool:
    """Whether a column has one number or word in a row, and no list, picture or other file."""
    files = pa.types.is_binary(kind) or pa.types.is_large_binary(kind)
    return not (files or features.is_list(kind))


def _columns(data: Artifact, split: str, names: list[str], rows: int) -> dict[str, pa.Array]:
    table = pa.Table.from_batches(list(examples.read_sample(data, split, names, rows)))
    return {name: pa.concat_arrays(table[name].chunks) for name in names}


def _truth(column: pa.Array) -> _Truth | None:
    known = ~np.asarray(column.is_null())
    codes, values = _codes(column.filter(pa.array(known)))
    if len(codes) < FEWEST or len(values) < 2:
        return None
    numbers, second = _numbers(column), ""
    if numbers is not None:
        numbers = numbers[known]
    elif len(values) == 2:
        numbers, second = codes.astype(np.float64), str(values[1])
    return _Truth(known, codes, numbers, _entropy(np.bincount(codes)), second)


def _association(name: str, column: pa.Array, truth: _Truth) -> Association:
    bits = mutual_information(_codes(column)[0][truth.known], truth.codes)
    share = min(bits / truth.entropy, 1.0)
    values = _numbers(column)
    if values is None or truth.numbers is None:
        return Association(name, bits, share, None)
    both = np.isfinite(values[truth.known]) & np.isfinite(truth.numbers)
    x, y = values[truth.known][both], truth.numbers[both]
    varied = len(x) >= FEWEST and np.ptp(x) > 0 and np.ptp(y) > 0
    return Association(name, bits, share, float(np.corrcoef(x, y)[0, 1]) if varied else None)


def _codes(column: pa.Array) -> tuple[Codes, list[Any]]:
    """A code from 0 for each row, in order of the values that codes stand for; those are second.

    A missing value has a code of its own, and so have all words together that are rare.
    """
    numbers = _numbers(column)
    if numbers is not None:
        finite = np.isfinite(numbers)
        values = np.unique(numbers[finite])
        if len(values) > VALUES:
            edges = np.quantile(numbers[finite], np.arange(1, BINS) / BINS)
            values = np.unique(edges)
            codes = np.searchsorted(values, numbers, "right")
            return np.where(finite, codes, len(values) + 1), [*values, None]
        return np.where(finite, np.searchsorted(values, numbers), len(values)), values.tolist()
    encoded = column.dictionary_encode()
    words = encoded.dictionary.to_pylist()
    # Arrow's functions that take a scalar, as fill_null, import pandas
    indices = encoded.indices.to_numpy(zero_copy_only=False)
    given = np.nan_to_num(indices, nan=len(words)).astype(np.int64)
    counts = np.bincount(given, minlength=len(words) + 1)
    usual = sorted(range(len(words)), key=lambda at: (-counts[at], words[at]))[: VALUES - 1]
    usual.sort(key=lambda at: words[at])
    places = np.full(len(words) + 1, len(usual))
    places[usual] = np.arange(len(usual))
    places[len(words)] = len(usual) + 1
    rest = [None] if len(words) > len(usual) else []
    return places[given], [*(words[at] for at in usual), *rest]


def _numbers(column: pa.Array) -> npt.NDArray[np.float64] | None:
    """The values of a column of numbers, NaN where one is missing; None of any other column."""
    kind = column.type
    if pa.types.is_boolean(kind):
        column = column.cast(pa.uint8())
    elif not (pa.types.is_integer(kind) or pa.types.is_floating(kind)):
        return None
    return np.asarray(column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False))


def _entropy(counts: npt.NDArray[np.int64]) -> float:
    """Of a distribution by its counts, in bits (Shannon, 1948)."""
    shares = counts[counts > 0] / counts.sum()
    return float(-(shares * np.log2(shares)).sum())
