"""Features that give the label away, as a copy of it does, or a column that is filled in later.

What is looked at is the first rows of the training split, as the network gets them.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from edgeline.artifacts import Artifact, examples
from edgeline.artifacts.features import Feature, to_numpy
from edgeline.formats.dtypes import Array

ROWS = 65_536
FEWEST = 100  # rows with which it is not chance
PER_VALUE = 10  # rows of a value, on average, with which it is not chance either


def warnings(
    transformed: Artifact, split: str, features: Sequence[Feature], label: Feature, task: str
) -> Iterator[str]:
    """Sentences on features from which the label follows alone.

    Args:
        transformed: a `transformed_examples/v1` artifact.
        split: whose first 65,536 rows are looked at.
        features: those that the network takes; of these, those with one value in a row.
        label: the label's column.
        task: one of `edgeline.artifacts.models.TASKS`.
    """
    single = [column for column in (*features, label) if int(np.prod(column.shape)) == 1]
    if label not in single:
        return
    names = [column.name for column in single]
    batch = next(iter(examples.read_batches(transformed, split, names, ROWS)), None)
    if batch is None or len(batch) < FEWEST:
        return
    arrays = {name: array.reshape(-1) for name, array in to_numpy(batch, single).items()}
    truth = arrays.pop(label.name)
    for name, values in arrays.items():
        if why := gives_away(values, truth, task):
            yield (
                f"feature {name!r} {why} the label in all of the {len(truth):,} rows looked at: is "
                "it known when the model is asked?"
            )


def gives_away(values: Array, truth: Array, task: str) -> str:
    """How a label follows from a feature alone, as the start of a sentence; "" where it does not.

    Args:
        values: of the feature, shape [rows].
        truth: of the label, of the same rows.
        task: one of `edgeline.artifacts.models.TASKS`.
    """
    if values.dtype.kind == truth.dtype.kind and _equal(values, truth):
        return "equals"
    if task == "regression":
        return "is a straight line of" if _is_line(values, truth) else ""
    codes, classes = _codes(values), _codes(truth)
    if codes.max() * PER_VALUE < len(codes):  # few values: does each have one class?
        pairs = np.unique(np.stack([codes, classes]), axis=1).shape[1]
        return "has values that each mean one class of" if pairs == codes.max() + 1 else ""
    return "separates the classes of" if _separates(values, classes) else ""


def _equal(values: Array, truth: Array) -> bool:
    if values.dtype == object:
        return bool((values == truth).all())
    return bool(np.array_equal(values, truth, equal_nan=values.dtype.kind == "f"))


def _codes(values: Array) -> npt.NDArray[np.int64]:
    found: npt.NDArray[np.int64] = np.unique(values, return_inverse=True)[1].reshape(-1)
    return found


def _is_line(values: Array, truth: Array) -> bool:
    """Whether one is the other times a number plus a number, to rounding."""
    if values.dtype.kind not in "iuf":
        return False
    x, y = values.astype(np.float64), truth.astype(np.float64)
    finite = np.isfinite(x) & np.isfinite(y)
    x, y = x[finite], y[finite]
    if len(x) < FEWEST or not x.std() or not y.std():
        return False
    return bool(abs(np.corrcoef(x, y)[0, 1]) > 1 - 1e-9)


def _separates(values: Array, classes: npt.NDArray[np.int64]) -> bool:
    """Whether all values of a class lie together, with none of another among them."""
    if values.dtype.kind not in "iuf" or not np.isfinite(values).all():
        return False
    ends = [(values[classes == c].min(), values[classes == c].max()) for c in np.unique(classes)]
    ends.sort()
    return all(high < low for (_, high), (low, _) in itertools.pairwise(ends))
