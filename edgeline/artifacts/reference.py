"""What a model met and said in training, in short: what live traffic is compared with.

`verify` makes it from the rows on which it compares the models, `publish` puts it into the bundle
as `reference.json` (below 100 kB), and the server compares with it (see
`edgeline.monitoring.drift`). Needs numpy alone.

Inputs and outputs are as the edge model stores them: a shift shows in quantised values as well.
Each becomes one or more columns of one value per row:

| array                       | columns                                                          |
|-----------------------------|------------------------------------------------------------------|
| one value per row             | itself                                                           |
| an output [rows, classes]   | `NAME.class`, the largest one's place, and `NAME.top`, its value |
| any other with more values  | `NAME.mean` and `NAME.deviation` (of an image: brightness and    |
|                             | contrast), over at most 4,096 evenly spaced values of a row      |

A column is categorical if it holds strings, or whole numbers of at most 100 kinds; else it is
numeric. Missing is NaN, -2**63 or the empty string, as in `edgeline.artifacts.features`.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from edgeline.artifacts.features import missing
from edgeline.errors import EdgelineError
from edgeline.formats import typed
from edgeline.formats.dtypes import Array

FILE = "reference.json"
FORMAT = "reference/v1"
MAX_BYTES = 100_000
SAMPLE_ROWS = 32_768
CATEGORIES = 100  # kinds of whole numbers up to which they are categories
VALUES = 4096  # of a row that are looked at
_MOST = 1 << 53  # rows; what a float counts
LONG = 64  # bytes; longer strings are told apart by a digest
_DETAIL = ((100, 200), (50, 50), (20, 20), (10, 5), (4, 0))  # quantiles and categories listed

Arrays = Mapping[str, Array]


@dataclass(frozen=True)
class Numbers:
    """A numeric column: how many of its values lie at or below each of `cuts`.

    Bin i holds the values v with cuts[i-1] < v <= cuts[i], the first and last are open. The cuts
    are quantiles; a value that fills a quantile or more has a bin of its own.

    Attributes:
        cuts: float64 [bins - 1], ascending.
        counts: int64 [bins], of values that are not missing.
        missing: how many are.
    """

    cuts: Array
    counts: Array
    missing: int

    @property
    def rows(self) -> int:
        return int(self.counts.sum()) + self.missing

    def to_json(self) -> dict[str, object]:
        return {
            "kind": "number",
            "missing": self.missing,
            "cuts": self.cuts.tolist(),
            "counts": self.counts.tolist(),
        }


@dataclass(frozen=True)
class Categories:
    """A categorical column.

    Attributes:
        values: how often each listed value came, the most frequent first.
        others: how often the values came that are not listed.
        singles: how many values came exactly once. Their share is about the chance that the next
            value is one that never came (I. J. Good, The population frequencies of species,
            Biometrika 40, 1953).
        missing: how many rows have no value.
    """

    values: Mapping[str, int]
    others: int
    singles: int
    missing: int

    @property
    def rows(self) -> int:
        return sum(self.values.values()) + self.others + self.missing

    def to_json(self) -> dict[str, object]:
        return {
            "kind": "category",
            "missing": self.missing,
            "values": dict(self.values),
            "others": self.others,
            "singles": self.singles,
        }


Column = Numbers | Categories


@dataclass(frozen=True)
class Reference:
    """Columns of the inputs and of the outputs, by name."""

    inputs: Mapping[str, Column]
    outputs: Mapping[str, Column]

    def to_json(self) -> dict[str, object]:
        sides = {"inputs": self.inputs, "outputs": self.outputs}
        return {
            "edgeline_reference": FORMAT,
            **{
                side: {name: column.to_json() for name, column in columns.items()}
                for side, columns in sides.items()
            },
        }


def columns(arrays: Arrays, outputs: bool) -> dict[str, Array]:
    """Named arrays [rows, ...] as columns [rows]; strings as object arrays of bytes or text."""
    found: dict[str, Array] = {}
    for name, array in arrays.items():
        if array.ndim == 0 or not array.size:
            continue
        rows = array.reshape(len(array), -1)
        width = rows.shape[1]
        if width == 1:
            found[name] = rows[:, 0]
        elif array.dtype.kind in "OSU":
            continue  # lists of strings have no one value per row
        elif outputs and array.ndim == 2:
            found[name + ".class"] = rows.argmax(axis=1)
            found[name + ".top"] = rows.max(axis=1)
        else:
            real = rows[:, :: -(-width // VALUES)].astype(np.float32)
            found[name + ".mean"] = real.mean(axis=1)
            found[name + ".deviation"] = real.std(axis=1)
    return found


def present(column: Array) -> tuple[Array, int]:
    """The values of a column that are not missing, and how many are."""
    absent = missing(column)
    if absent is None:
        return column, 0
    return column[~absent], int(np.count_nonzero(absent))


def bins(values: Array, cuts: Array) -> Array:
    """int64 [len(cuts) + 1]: how many values lie in each bin (see `Numbers`)."""
    places = np.searchsorted(cuts, values.astype(np.float64), side="left")
    return np.bincount(places, minlength=len(cuts) + 1).astype(np.int64)


def count(values: Array) -> Counter[str]:
    """How often each value comes, as text; long strings by a digest."""
    if values.dtype.kind in "OSU":
        return Counter(map(text_of, values.tolist()))
    kinds, times = np.unique(values, return_counts=True)
    return Counter(dict(zip(map(str, kinds.tolist()), times.tolist(), strict=True)))


@dataclass
class Builder:
    """Makes a reference of a stream of batches in bounded memory.

    Of more than `SAMPLE_ROWS` rows it keeps every second, fourth, eighth..., so the same rows
    give the same reference.
    """

    step: int = 1
    rows: int = 0
    kept: int = 0
    sides: tuple[dict[str, list[Array]], ...] = field(default_factory=lambda: ({}, {}))

    def add(self, inputs: Arrays, outputs: Arrays) -> None:
        """Take in a batch: what the edge model got and gave, [rows, ...] each."""
        count = len(next(iter(inputs.values())))
        chosen = np.arange(-self.rows % self.step, count, self.step)
        self.rows += count
        self.kept += len(chosen)
        for side, arrays in zip(self.sides, (inputs, outputs), strict=True):
            for name, column in columns(arrays, side is self.sides[1]).items():
                side.setdefault(name, []).append(column[chosen].copy())
        while self.kept > SAMPLE_ROWS:
            for side in self.sides:
                for name, parts in side.items():
                    side[name] = [np.concatenate(parts)[::2]]
            self.kept = -(-self.kept // 2)
            self.step *= 2

    def result(self) -> Reference:
        """The reference, in as much detail as fits into `MAX_BYTES`."""
        sides = [{n: np.concatenate(p) for n, p in side.items()} for side in self.sides]
        for quantiles, listed in _DETAIL:
            made = Reference(
                *({n: _column(n, c, quantiles, listed) for n, c in side.items()} for side in sides)
            )
            if len(dumps(made)) <= MAX_BYTES:
                break
        return made


def dumps(reference: Reference) -> bytes:
    """A reference as JSON; categories stay in their order."""
    return json.dumps(reference.to_json(), separators=(",", ":")).encode() + b"\n"


def read(file: str | Path) -> Reference:
    """Read a `reference.json`.

    Raises:
        EdgelineError: it is missing or malformed.
    """
    try:
        found: _File = typed.convert(typed.read(file), _File)
        if found.edgeline_reference != FORMAT:
            raise EdgelineError(f"it is of format {found.edgeline_reference[:40]!r}, not {FORMAT}")
        return Reference(
            *(
                {name: _from_json(column, name) for name, column in side.items()}
                for side in (found.inputs, found.outputs)
            )
        )
    except EdgelineError as error:
        reason = str(error).removeprefix(f"{file} ").rstrip(".")
        raise EdgelineError(
            f"{file} is not a reference ({reason}): publish the bundle again."
        ) from None


@dataclass(frozen=True)
class _File:
    edgeline_reference: str
    inputs: Mapping[str, Any]
    outputs: Mapping[str, Any]


@dataclass(frozen=True)
class _Numbers:
    kind: str
    missing: int
    cuts: tuple[float, ...]
    counts: tuple[int, ...]


@dataclass(frozen=True)
class _Categories:
    kind: str
    missing: int
    values: Mapping[str, int]
    others: int
    singles: int


def _column(name: str, column: Array, quantiles: int, listed: int) -> Column:
    values, missing = present(column)
    if values.dtype.kind not in "OSU" and not name.endswith(".class"):
        if values.dtype.kind == "f" or len(np.unique(values)) > CATEGORIES:
            return _numbers(values.astype(np.float64), missing, quantiles)
        listed = CATEGORIES  # numbers are short
    times = count(values)
    ranked = sorted(times.items(), key=lambda item: (-item[1], item[0]))
    return Categories(
        values=dict(ranked[:listed]),
        others=sum(number for _, number in ranked[listed:]),
        singles=sum(number == 1 for number in times.values()),
        missing=missing,
    )


def _numbers(values: Array, missing: int, quantiles: int) -> Numbers:
    ordered = np.sort(values[np.isfinite(values)])
    cuts = np.empty(0)
    if len(ordered):
        ranks = np.ceil(np.arange(quantiles + 1) * len(ordered) / quantiles).astype(np.int64)
        cuts = ordered[np.maximum(ranks, 1) - 1]
        atoms = np.unique(cuts[1:][cuts[1:] == cuts[:-1]])
        cuts = np.unique(np.concatenate([cuts[1:], np.nextafter(atoms, -np.inf)]))
    return Numbers(cuts, bins(values, cuts), missing)


def _from_json(value: object, name: str) -> Column:
    kind = value.get("kind") if isinstance(value, dict) else None
    if kind not in ("number", "category"):
        raise EdgelineError(f"column {name[:100]!r} is neither of numbers nor of categories")
    if kind == "number":
        read: _Numbers = typed.convert(value, _Numbers, name)
        counts, missing = read.counts, read.missing
        if len(counts) != len(read.cuts) + 1 or (np.diff(read.cuts) <= 0).any():
            raise EdgelineError(f"the bins of column {name[:100]!r} do not fit its cuts")
    else:
        listed: _Categories = typed.convert(value, _Categories, name)
        counts, missing = (*listed.values.values(), listed.others, listed.singles), listed.missing
    if min(missing, *counts) < 0 or missing + sum(counts) > _MOST:
        raise EdgelineError(f"column {name[:100]!r} counts what cannot be")
    if kind == "number":
        return Numbers(np.array(read.cuts, np.float64), np.array(counts, np.int64), missing)
    return Categories(listed.values, listed.others, listed.singles, missing)


def text_of(value: Any) -> str:
    """A string as it is listed: a long one by its digest."""
    data = value.encode(errors="replace") if isinstance(value, str) else bytes(value)
    if len(data) > LONG:
        return "sha256:" + hashlib.sha256(data).hexdigest()[:16]
    return data.decode(errors="backslashreplace")
