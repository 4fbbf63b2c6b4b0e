"""Pictures among the data: examples of each class, and those that two splits nearly share.

A picture that is in the training split and, resized, cropped by a pixel or compressed again, in
another one, makes an evaluation better than the model is; ingest tells of equal rows alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgeline.artifacts import Artifact, examples
from edgeline.artifacts.features import Feature, to_numpy
from edgeline.formats.dtypes import Array
from edgeline.reports import pictures
from edgeline.reports.pictures import picture_columns

MOST = 4000  # pictures of a split that are looked at
MOST_BYTES = 512 << 20  # of a split's pictures that are read
EACH = 8  # examples of a class
SIDE = 16  # of the grey pictures that are compared
ALIKE = 0.998  # correlation of two grey pictures from which they are nearly the same
PLAIN = 1.0  # standard deviation of 0 to 255 below which a picture shows nothing to compare
AT_ONCE = 512  # rows of the matrix of correlations


@dataclass(frozen=True)
class Looked:
    """Some pictures of a split.

    Attributes:
        split: its name.
        of: rows that it has.
        shown: uint8 [rows, height, width, channels], for people.
        grey: float32 [rows, SIDE * SIDE or fewer], of mean 0 and length 1; 0 where one is plain.
        labels: a text of each, or "" where there is no label.
    """

    split: str
    of: int
    shown: npt.NDArray[np.uint8]
    grey: npt.NDArray[np.float32]
    labels: Sequence[str]


@dataclass(frozen=True)
class AlikePair:
    """Two pictures of different splits that are nearly the same: splits, and places in these."""

    first: Looked
    at: int
    second: Looked
    beside: int
    correlation: float

    @property
    def disagree(self) -> bool:
        """The two have different labels."""
        return self.first.labels[self.at] != self.second.labels[self.beside]


def columns(data: Artifact, split: str) -> list[Feature]:
    """The columns of a split that are pictures."""
    return picture_columns(examples.arrow_schema(data, split))


def look(data: Artifact, split: str, column: Feature, label: str) -> Looked:
    """Pictures of a split, evenly over it.

    Args:
        label: the column of their classes, or "".
    """
    most = min(MOST, max(MOST_BYTES // (4 * int(np.prod(column.shape))), 1))
    shown: list[npt.NDArray[np.uint8]] = []
    grey: list[npt.NDArray[np.float32]] = []
    labels: list[str] = []
    within = (0.0, 0.0)
    for batch in examples.read_sample(
        data, split, [column.name, *([label] if label else [])], most
    ):
        raw = to_numpy(batch, [column])[column.name]
        within = within if shown else pictures.span(raw)
        shown.append(pictures.to_bytes(pictures.shrunk(raw), within))
        grey.append(_comparable(raw, within))
        classes = batch.column(label).to_pylist() if label else [""] * len(batch)
        labels += ["missing" if each is None else str(each) for each in classes]
    rows = examples.splits(data)[split]
    return Looked(split, rows, np.concatenate(shown), np.concatenate(grey), labels)


def by_class(looked: Looked) -> Iterator[tuple[str, int, list[int]]]:
    """Of each class, those with most pictures first: name, pictures, and places of a few."""
    labels = np.array(looked.labels, object)
    names, counts = np.unique(labels.astype(str), return_counts=True)
    for at in np.lexsort((names, -counts)):
        places = np.flatnonzero(labels == names[at])
        few = places[np.arange(min(len(places), EACH)) * len(places) // min(len(places), EACH)]
        yield str(names[at]), int(counts[at]), few.tolist()


def nearly_same(first: Looked, second: Looked) -> list[AlikePair]:
    """For each picture of the second the one of the first that is nearly the same, if there is one:
    pairs of different labels first, then those that are most alike."""
    found = []
    for start in range(0, len(second.grey), AT_ONCE):
        alike = second.grey[start : start + AT_ONCE] @ first.grey.T
        best = alike.argmax(1)
        values = alike[np.arange(len(alike)), best]
        found += [
            AlikePair(first, int(best[place]), second, start + int(place), float(values[place]))
            for place in np.flatnonzero(values >= ALIKE)
        ]
    return sorted(found, key=lambda pair: (not pair.disagree, -pair.correlation, pair.beside))


def _comparable(raw: Array, within: tuple[float, float]) -> npt.NDArray[np.float32]:
    grey = np.nan_to_num(pictures.shrunk(raw, SIDE).mean(3).reshape(len(raw), -1))
    grey -= grey.mean(1, keepdims=True)
    lengths = np.sqrt((grey**2).sum(1, keepdims=True))
    varied = lengths > PLAIN * (within[1] - within[0]) / 255 * np.sqrt(grey.shape[1])
    return np.asarray(np.where(varied, grey / np.maximum(lengths, 1e-9), 0), np.float32)
