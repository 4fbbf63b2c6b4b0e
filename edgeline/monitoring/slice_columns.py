"""Columns by whose values labelled rows are measured too (`--decay-slices`)."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from edgeline.artifacts.features import missing
from edgeline.artifacts.reference import Categories, Column, Numbers, Reference, text_of
from edgeline.formats.dtypes import Array
from edgeline.monitoring.kept_answers import NOT_KNOWN

OTHER, MISSING = 0xFFFF, 0xFFFE
_CALLED = {OTHER: "(other)", MISSING: "(missing)", NOT_KNOWN: "(not known)"}


@dataclass(frozen=True)
class SliceColumn:
    """A column whose values are slices: those that its reference lists, of numbers quarters.

    Attributes:
        names: of the slices, by their codes.
        places: codes of values, for `codes`; cuts where the column is of numbers.
    """

    column: str
    names: tuple[str, ...]
    places: Mapping[str, int] | Array

    def codes(self, values: Array) -> Array:
        """Of values [rows]: uint16 [rows]."""
        absent = missing(values)
        if isinstance(self.places, Mapping):
            strings = values.dtype.kind in "OSU"
            texts = map(text_of if strings else str, values.tolist())
            found = np.array([self.places.get(each, OTHER) for each in texts], np.uint16)
        else:
            places = np.searchsorted(self.places, values.astype(np.float64), side="left")
            found = places.astype(np.uint16)
        if absent is not None:
            found[absent] = MISSING
        return found

    def name(self, code: int) -> str:
        """What a slice is called."""
        known = self.names[code] if code < len(self.names) else _CALLED[NOT_KNOWN]
        return _CALLED.get(code, known)


def unknown_slices(reference: Reference | None, asked: str) -> list[str]:
    """The names in `decay_slices` that are not a column of a model's inputs."""
    known = reference.inputs if reference is not None else {}
    return [name for name in _names(asked) if name not in known]


def slice_columns(reference: Reference | None, asked: str) -> list[SliceColumn]:
    known = reference.inputs if reference is not None else {}
    return [_slice_column(name, known[name]) for name in _names(asked) if name in known]


def _names(asked: str) -> list[str]:
    return list(dict.fromkeys(filter(None, map(str.strip, asked.split(",")))))


def _slice_column(name: str, column: Column) -> SliceColumn:
    if isinstance(column, Categories):
        values = tuple(column.values)
        return SliceColumn(name, values, {value: place for place, value in enumerate(values)})
    assert isinstance(column, Numbers)
    total = np.cumsum(column.counts)
    quarters = np.searchsorted(total, total[-1] * np.array([0.25, 0.5, 0.75]))
    cuts = np.unique(column.cuts[np.minimum(quarters, len(column.cuts) - 1)])
    ends = [f"{cut:.4g}" for cut in cuts]
    between = [f"above {a} to {b}" for a, b in itertools.pairwise(ends)]
    names = (f"to {ends[0]}", *between, f"above {ends[-1]}") if ends else ("all",)
    return SliceColumn(name, names, cuts)
