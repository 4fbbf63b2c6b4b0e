"""Which parts of a picture a prediction rests on: by occlusion, and by gradients.

M. Zeiler, R. Fergus, "Visualizing and Understanding Convolutional Networks", 2014: a patch of the
picture is covered with what the mean picture has there, and what the score falls by is the patch's
part; a pixel has the mean of the patches that cover it. Any model can be asked so. Integrated
gradients (see `gradients`) tell each pixel's part of the cloud model.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgeline.components.explain.agreement import spearman
from edgeline.components.explain.sides import ExplainedSide
from edgeline.errors import EdgelineError
from edgeline.formats.dtypes import Array

PATCHES = 7  # that lie beside each other along the longer side
MOST_PICTURES = 12
AT_ONCE_BYTES = 32 << 20  # of covered pictures

Arrays = Mapping[str, Array]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class HeatMaps:
    """Of one picture feature, over some rows.

    Attributes:
        numbers: of the rows in the split, int64 [rows].
        pictures: the rows' values, [rows, height, width, channels].
        cloud, edge: what covering a pixel takes from the score, float64 [rows, height, width].
        gradients: what each pixel adds to the cloud's score, [rows, height, width], NaN of rows for
            which there was no time; None where the model has none.
        correlations: Spearman's of the patches of cloud and edge, float64 [rows].
    """

    feature: str
    numbers: npt.NDArray[np.int64]
    pictures: Array
    cloud: Floats
    edge: Floats
    gradients: Floats | None
    correlations: Floats


def heat_maps(
    cloud: ExplainedSide,
    edge: ExplainedSide,
    rows: Arrays,
    numbers: npt.NDArray[np.int64],
    targets: npt.NDArray[np.int64],
    background: Arrays,
    feature: str,
    gradients: Array | None,
) -> HeatMaps:
    """The heat maps of a picture feature.

    Args:
        rows: raw features [rows, ...], `feature` as [rows, height, width, channels].
        targets: which output is explained of each row.
        background: rows whose mean picture covers a patch.
        gradients: of each value of the pictures, or None.

    Raises:
        EdgelineError: a model's answer is not finite.
    """
    mean = background[feature].astype(np.float64).mean(axis=0)
    if rows[feature].dtype.kind in "iu":
        mean = np.rint(mean)
    patches = patches_of(rows[feature].shape[1], rows[feature].shape[2])
    falls = [
        occlusion(side, rows, numbers, targets, feature, mean, patches) for side in (cloud, edge)
    ]
    maps = [_spread(each, patches, rows[feature].shape[1:3]) for each in falls]
    summed = None if gradients is None else gradients.astype(np.float64).sum(axis=-1)
    return HeatMaps(
        feature, numbers, rows[feature], maps[0], maps[1], summed, spearman(falls[0], falls[1])
    )


def patches_of(height: int, width: int) -> list[tuple[slice, slice]]:
    """Patches of a picture, each half over the next: `PATCHES` beside each other would fill it."""
    side = max(1, -(-max(height, width) // PATCHES))
    step = max(1, side // 2)
    tops, lefts = (
        sorted({*range(0, max(size - side, 0) + 1, step), max(size - side, 0)})
        for size in (height, width)
    )
    return [(slice(top, top + side), slice(left, left + side)) for top in tops for left in lefts]


def occlusion(
    side: ExplainedSide,
    rows: Arrays,
    numbers: npt.NDArray[np.int64],
    targets: npt.NDArray[np.int64],
    feature: str,
    cover: Array,
    patches: list[tuple[slice, slice]],
) -> Floats:
    """What the score falls by where a patch is covered: float64 [rows, patches]."""
    own = np.take_along_axis(_finite(side, rows, numbers), targets[:, None], axis=1)[:, 0]
    found = np.empty((len(targets), len(patches)))
    together = max(1, AT_ONCE_BYTES // max(rows[feature][0].nbytes, 1))
    for at in range(len(targets)):
        for start in range(0, len(patches), together):
            some = patches[start : start + together]
            covered = {
                name: np.repeat(array[at : at + 1], len(some), axis=0)
                for name, array in rows.items()
            }
            for place, patch in enumerate(some):
                covered[feature][(place, *patch)] = cover[patch]
            answer = _finite(side, covered, np.repeat(numbers[at], len(some)))[:, targets[at]]
            found[at, start : start + together] = own[at] - answer
    return found


def _finite(side: ExplainedSide, rows: Arrays, numbers: npt.NDArray[np.int64]) -> Floats:
    """Scores [rows, outputs], as the ranks of what is not finite would mean nothing."""
    found = side(rows)
    wrong = np.flatnonzero(~np.isfinite(found).all(axis=1))
    if len(wrong):
        raise EdgelineError(
            f"Of row {numbers[wrong[0]]:,}, or of it with a part covered, {side.words} answers "
            f"{found[wrong[0]].tolist()}, so it cannot be explained: make it give finite numbers."
        )
    return found


def _spread(falls: Floats, patches: list[tuple[slice, slice]], shape: tuple[int, ...]) -> Floats:
    """By pixel the mean of the patches over it."""
    total, covers = np.zeros((len(falls), *shape)), np.zeros(shape)
    for place, patch in enumerate(patches):
        total[(slice(None), *patch)] += falls[:, place, None, None]
        covers[patch] += 1
    return np.asarray(total / np.maximum(covers, 1))
