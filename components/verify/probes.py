"""Probes: the questions that a split does not hold, made of a few of its rows.

A probe is a row of the split in which one feature, or two, hold something else:

| feature      | what it is given                                                              |
|--------------|-------------------------------------------------------------------------------|
| each         | missing (see `edgeline.artifacts.features`); with each other one; all at once |
| float32      | infinities, zeros, -1, a denormal, the split's smallest and largest, times 10 |
| int64        | 0, -1, the split's smallest and largest, one beyond and times 10, beyond 31   |
|              | and 32 bits, the largest                                                      |
| string       | a value that is nowhere, very long, not ASCII, not UTF-8                      |
| with few     | each value of the split, and of the model's vocabularies (see `vocabularies`) |
| a list       | the same in each place, and its first value missing                           |
| a picture    | all of its smallest and largest value, and all of one colour                  |

A picture is asked with no value missing, as none comes so: it is one of the features that are not
proven missing (see `unproven`). Its size is that of its feature, which is never free here.
Features of more than `MOST_VALUES` values, and more pairs than `MOST_PAIRS`, are asked in part,
and `ProbeRows.left_out` says so.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from edgeline.artifacts.features import MISSING, MISSING_INT, Feature, missing
from edgeline.artifacts.sampling import spread
from edgeline.components.verify import vocabularies as of_graph
from edgeline.errors import EdgelineError
from edgeline.formats.dtypes import Array

BASES = 3  # rows of the split that each probe of one feature is made of
MOST_VALUES = 1000  # of a feature, that are asked each
FEW = 100  # whole numbers up to which they are categories
MOST_PAIRS = 500
MOST_BYTES = 256_000_000  # of all rows; beyond it each probe is made of one row, and some of none

MISSED, VALUE, CATEGORY, PAIR, ALL, PICTURE, RANGE = (
    "missing", "value", "category", "pair", "all", "picture", "range",
)  # fmt: skip
ENDS = (" (smallest)", " (largest)")
EACH_BASE = (MISSED, VALUE, ALL, RANGE)  # the others are asked on one row, in turn

Arrays = Mapping[str, Array]


@dataclass(frozen=True)
class Probe:
    """A question.

    Attributes:
        kind: MISSED, VALUE, CATEGORY, PAIR, ALL, PICTURE or RANGE.
        features: whose values are replaced.
        what: by what, in words.
        values: for each of the features; one for all places of it, or one for each channel.
        beyond: whether the split holds hardly anything as small or as large: it is one of its ends
            or beyond. What is asked as one of few values is not.
        first: whether only the first place of a list is replaced.
    """

    kind: str
    features: tuple[str, ...]
    what: str
    values: tuple[object, ...]
    beyond: bool = False
    first: bool = False

    @property
    def words(self) -> str:
        """For example `hour missing`, `fare = inf`, `hour and day missing`."""
        if self.kind == ALL:
            return "every feature missing"
        if self.kind == RANGE:
            return f"the transformed feature {self.features[0]} {self.what}"
        return f"{' and '.join(self.features)} {self.what}"


@dataclass(frozen=True)
class Sample:
    """Some rows of the split, [rows, ...] by name, and which they are."""

    rows: Arrays
    numbers: Sequence[int]

    def only(self, places: Sequence[int]) -> Sample:
        """Some of them."""
        rows = {name: array[list(places)] for name, array in self.rows.items()}
        return Sample(rows, [self.numbers[place] for place in places])


@dataclass(frozen=True)
class ProbeRows:
    """Probes as rows.

    Attributes:
        probes: the probe of each row.
        rows: the row of the split that each is made of.
        left_out: what was not asked, a phrase each.
    """

    probes: tuple[Probe, ...]
    rows: tuple[int, ...]
    left_out: tuple[str, ...]
    bases: Arrays = field(repr=False)
    places: tuple[int, ...] = field(repr=False)

    def pieces(self, most_bytes: int = 32_000_000) -> Iterator[tuple[slice, dict[str, Array]]]:
        """The rows as named arrays [rows, ...], in pieces of about so many bytes."""
        step = max(1, most_bytes // max(_row_bytes(self.bases), 1))
        for start in range(0, len(self.probes), step):
            part = slice(start, min(start + step, len(self.probes)))
            places = np.array(self.places[part], np.int64)
            arrays = {name: array[places] for name, array in self.bases.items()}
            for row, probe in enumerate(self.probes[part]):
                _put(probe, arrays, row)
            yield part, arrays

    def before_and_after(self, row: int) -> tuple[dict[str, Array], dict[str, Array]]:
        """The row of the split that one is made of, and the row itself, [1, ...] each."""
        before = {name: array[[self.places[row]]] for name, array in self.bases.items()}
        after = {name: array.copy() for name, array in before.items()}
        _put(self.probes[row], after, 0)
        return before, after


def _put(probe: Probe, arrays: Arrays, row: int) -> None:
    """Replace the values of a row by those of a probe."""
    for name, value in zip(probe.features, probe.values, strict=True):
        if probe.first:
            arrays[name][row].reshape(-1)[0] = value
        else:
            arrays[name][row] = value


@dataclass
class SeenColumn:
    """What the split holds of one feature.

    Attributes:
        least, largest: of the numbers that are finite and not missing; None where there is none.
        values: the different strings or whole numbers, in their order; at most `MOST_VALUES`.
        more: whether there are others.
        absent: the first row with a missing value; None where there is none.
    """

    least: float | int | None = None
    largest: float | int | None = None
    values: dict[bytes | int, None] = field(default_factory=dict)
    more: bool = False
    absent: int | None = None


class SeenValues:
    """What a split holds of each feature, batch by batch."""

    def __init__(self, features: Sequence[Feature]) -> None:
        self.columns = {feature.name: SeenColumn() for feature in features}
        self._pictures = {feature.name for feature in features if is_picture(feature)}
        self._rows = 0

    def add(self, arrays: Arrays) -> None:
        """Take in a batch, [rows, ...] each; features that it lacks stay as they are."""
        for name, column in self.columns.items():
            if name in arrays and arrays[name].size:
                self._add(column, arrays[name], name in self._pictures)
        self._rows += len(next(iter(arrays.values())))

    def refuse_missing(self, never_missing: Sequence[str], split: str) -> None:
        """Check that what is said never to be missing is not.

        Raises:
            EdgelineError: a row of the split lacks it.
        """
        for name in never_missing:
            if (row := self.columns[name].absent) is not None:
                raise EdgelineError(
                    f"never_missing lists {name!r}, but row {row:,} of split {split} has none: "
                    "leave it out of never_missing, and fill it in preprocessing_fn."
                )

    def _add(self, column: SeenColumn, array: Array, picture: bool) -> None:
        gone = missing(array)
        if gone is not None and column.absent is None and gone.any():
            rows = gone.reshape(len(gone), -1).any(axis=1)
            column.absent = self._rows + int(np.argmax(rows))
        if array.dtype.kind in "iuf":
            numbers = array if gone is None else array[~gone]
            if array.dtype.kind == "f":
                numbers = numbers[np.isfinite(numbers)]
            if numbers.size:
                least, largest = numbers.min().item(), numbers.max().item()
                column.least = least if column.least is None else min(least, column.least)
                column.largest = largest if column.largest is None else max(largest, column.largest)
        if array.dtype.kind != "f" and not picture and not column.more:
            flat = np.unique(array) if array.dtype.kind in "iu" else array.reshape(-1)
            column.values |= dict.fromkeys(v for v in flat.tolist() if v not in (MISSING_INT, b""))
            if len(column.values) > MOST_VALUES:
                column.values = dict.fromkeys(itertools.islice(column.values, MOST_VALUES))
                column.more = True


def check_never_missing(never_missing: Sequence[str], features: Sequence[Feature]) -> None:
    """Check that all features that are listed are raw features of the model.

    Raises:
        EdgelineError: one is not.
    """
    known = [feature.name for feature in features]
    for name in never_missing:
        if name not in known:
            raise EdgelineError(
                f"never_missing lists {str(name)[:100]!r}, but the model takes "
                f"{', '.join(known)}: name raw features of it."
            )


def is_picture(feature: Feature) -> bool:
    """Whether a feature has height, width and channels."""
    return len(feature.shape) == 3


def unproven(features: Sequence[Feature], never_missing: Sequence[str]) -> list[str]:
    """Features of which no missing value is asked: those that are listed, and pictures."""
    return sorted({*never_missing, *(each.name for each in features if is_picture(each))})


def make(
    features: Sequence[Feature],
    sample: Sample,
    seen: SeenValues,
    vocabularies: Mapping[str, Sequence[bytes]] = {},
    never_missing: Sequence[str] = (),
) -> ProbeRows:
    """The probes of a model's features.

    Args:
        features: that are asked about; the rows may hold others, which stay as they are.
        sample: rows on which the two models agree; without any nothing is asked.
        seen: the whole split.
        vocabularies: the words of each feature (see `vocabularies.by_feature`).
        never_missing: features that are asked with a value only.
    """
    left_out: list[str] = []
    probes: list[Probe] = []
    for feature in features:
        column, words = seen.columns[feature.name], vocabularies.get(feature.name, ())
        probes += _of(feature, sample.rows, column, of_graph.values(feature, words), left_out)
    unasked = unproven(features, never_missing)
    may = [feature for feature in features if feature.name not in unasked]
    probes = [probe for probe in probes if probe.kind != MISSED or probe.features[0] not in unasked]
    count = math.comb(len(may), 2)
    pairs: Iterable[tuple[Feature, ...]] = itertools.combinations(may, 2)
    if count > MOST_PAIRS:
        left_out.append(f"{count - MOST_PAIRS:,} of {count:,} pairs of missing features")
        chosen = set(spread(count, MOST_PAIRS).tolist())
        pairs = (pair for place, pair in enumerate(pairs) if place in chosen)
    probes += [_missing(PAIR, pair) for pair in pairs]
    if len(may) > 2:
        probes.append(_missing(ALL, may))
    return _as_rows(probes, sample, left_out)


def ranges(features: Sequence[Feature], sample: Sample, seen: SeenValues) -> ProbeRows:
    """The ends of the range of each transformed feature, for a model that takes those.

    Arguments are as in `make`; strings have no range.
    """
    probes: list[Probe] = []
    for feature in features:
        column = seen.columns[feature.name]
        for note, value in (("smallest", column.least), ("largest", column.largest)):
            if value is not None:
                what = f"= {shown(value)} ({note})"
                probes.append(Probe(RANGE, (feature.name,), what, (value,)))
    return _as_rows(probes, sample, [])


def _as_rows(probes: list[Probe], sample: Sample, left_out: list[str]) -> ProbeRows:
    """Each probe of one feature on each base row; categories and pairs on one, in turn."""
    rows, numbers = sample.rows, sample.numbers
    if not len(numbers):
        return ProbeRows(
            (), (), (f"all {len(probes):,} probes, as no row is answered alike",), rows, ()
        )
    chosen = spread(len(numbers), BASES).tolist()
    room = MOST_BYTES // max(_row_bytes(rows), 1)
    singles = sum(probe.kind in EACH_BASE for probe in probes)
    if len(probes) + (len(chosen) - 1) * singles > room:
        chosen = chosen[:1]
    if len(probes) > room:
        left_out.append(f"{len(probes) - room:,} of {len(probes):,} probes, as rows are large")
        probes = [probes[place] for place in spread(len(probes), room)]
    asked: list[Probe] = []
    places: list[int] = []
    for turn, probe in enumerate(probes):
        each = range(len(chosen)) if probe.kind in EACH_BASE else [turn % len(chosen)]
        asked += [probe] * len(each)
        places += each
    bases = {name: array[chosen] for name, array in rows.items()}
    from_rows = tuple(int(numbers[chosen[place]]) for place in places)
    return ProbeRows(tuple(asked), from_rows, tuple(left_out), bases, tuple(places))


def _of(
    feature: Feature,
    rows: Arrays,
    column: SeenColumn,
    words: Sequence[bytes | int],
    left_out: list[str],
) -> Iterator[Probe]:
    """The probes of one feature alone; `words` are those of vocabularies."""
    if is_picture(feature):
        yield from _of_picture(feature, rows[feature.name], column)
        return
    name = feature.name
    yield _missing(MISSED, [feature])
    if math.prod(feature.shape) > 1:
        first = _missing(MISSED, [feature])
        yield Probe(MISSED, (name,), "missing in its first place", first.values, first=True)
    for what, value in _VALUES[feature.dtype](column):
        beyond = what.endswith(ENDS) or not (isinstance(value, bytes) or _within(value, column))
        yield Probe(VALUE, (name,), what, (value,), beyond)
    if feature.dtype == "float32":
        return
    for value in _categories(feature, column, words, left_out):
        yield Probe(CATEGORY, (name,), f"= {shown(value)}", (value,))


def _categories(
    feature: Feature, column: SeenColumn, words: Sequence[bytes | int], left_out: list[str]
) -> list[bytes | int]:
    """What is asked one by one: the split's values, then words evenly spread over the others."""
    values = list(column.values)
    if feature.dtype == "int64" and len(values) > FEW:
        values = []
    elif column.more or len(values) > MOST_VALUES:
        left_out.append(f"all but {MOST_VALUES:,} values of {feature.name}")
        values = values[:MOST_VALUES]
    others = [
        word for word in words if word not in column.values and word not in (b"", MISSING_INT)
    ]
    room = MOST_VALUES - len(values)
    if len(others) > room:
        left_out.append(
            f"{len(others) - room:,} of {len(others):,} words of vocabularies for {feature.name}"
        )
        others = [others[place] for place in spread(len(others), room)] if room else []
    return values + others


def _of_picture(feature: Feature, rows: Array, column: SeenColumn) -> Iterator[Probe]:
    if column.least is None:
        return
    for what, value in (("smallest", column.least), ("largest", column.largest)):
        yield Probe(PICTURE, (feature.name,), f"= {shown(value)} ({what}) all over", (value,))
    pixels = rows[:1].reshape(-1, feature.shape[-1])  # of any feature, one that is a picture
    colour = np.array([np.median(channel) for channel in pixels.T], rows.dtype)
    yield Probe(PICTURE, (feature.name,), f"of one colour {colour.tolist()}", (colour,))


def _missing(kind: str, features: Sequence[Feature]) -> Probe:
    names = tuple(feature.name for feature in features)
    return Probe(kind, names, "missing", tuple(MISSING[feature.dtype] for feature in features))


def _floats(column: SeenColumn) -> Iterator[tuple[str, float]]:
    least, largest = column.least, column.largest
    found: dict[bytes, tuple[str, float]] = {}
    named: list[tuple[str, float]] = [
        ("", math.inf), ("", -math.inf), ("", 0.0), ("", -0.0), ("", -1.0), (" (denormal)", 1e-45),
    ]  # fmt: skip
    if least is not None and largest is not None:
        named += list(zip(ENDS, (least, largest), strict=True))
        named += [(" (smallest x 10)", 10.0 * least), (" (largest x 10)", 10.0 * largest)]
    for note, given in named:
        with np.errstate(over="ignore"):
            value = np.float32(given)
        found.setdefault(value.tobytes(), (f"= {shown(value.item())}{note}", value.item()))
    yield from found.values()


def _integers(column: SeenColumn) -> Iterator[tuple[str, int]]:
    named: list[tuple[str, int]] = [("", 0), ("", -1)]
    if column.least is not None and column.largest is not None:
        least, largest = int(column.least), int(column.largest)
        named += list(zip(ENDS, (least, largest), strict=True))
        named += [(" (below the smallest)", least - 1), (" (above the largest)", largest + 1)]
        named += [(" (smallest x 10)", 10 * least), (" (largest x 10)", 10 * largest)]
        # what keeps the low 32 bits alone takes these for a value of the split
        named += [("", 2**32 + least), ("", largest - 2**32)]
    named += [("", 2**31), ("", -(2**31) - 1), (" (the largest)", 2**63 - 1)]
    found: dict[int, str] = {}
    for note, value in named:
        if MISSING_INT < value < 2**63:
            found.setdefault(value, f"= {value}{note}")
    yield from ((what, value) for value, what in found.items())


def _strings(_: SeenColumn) -> Iterator[tuple[str, bytes]]:
    for note, value in (
        ("", b"no such category"),
        (" (10,000 letters)", b"x" * 10_000),
        ("", "\u00fcnknown \u985e\u5225 \U0001f695".encode()),
        (" (not UTF-8)", b"\xff\xfe\x80"),
    ):
        yield f"= {shown(value)}{note}", value


_VALUES = {"float32": _floats, "int64": _integers, "string": _strings}


def _within(value: object, column: SeenColumn) -> bool:
    if column.least is None or column.largest is None or not isinstance(value, (int, float)):
        return False
    return column.least <= value <= column.largest


def shown(value: object) -> str:
    """A value for people, short."""
    if isinstance(value, bytes):
        text = value.decode(errors="backslashreplace")
        return f"'{text}'" if len(text) <= 40 else f"'{text[:24]}…'"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _row_bytes(rows: Arrays) -> int:
    return sum(array[:1].nbytes for array in rows.values())
