"""How much a row of each class counts in the training loss, for classes that are rare.

`balanced` is scikit-learn's heuristic n / (k * n_class) of n rows and the k classes that have rows
(`sklearn.utils.class_weight.compute_class_weight`, after G. King and L. Zeng, Logistic Regression
in Rare Events Data, 2001); where rows have weights, these are summed in place of rows, as its
`sample_weight` does. Else weights are given by a class' name, or number: `yes=20,no=1`; a
class that is not named has 1.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgeline.artifacts import Artifact, example_weights
from edgeline.artifacts.examples import read_batches
from edgeline.artifacts.features import Feature, to_numpy
from edgeline.errors import EdgelineError, did_you_mean
from edgeline.formats.dtypes import Array

PARAMETER, BALANCED = "class_weights", "balanced"
MOST_CLASSES = 1 << 20  # of a label without a vocabulary
UNCALIBRATED = (
    "the model was trained with class weights, so its scores are not probabilities: choose the "
    "decision threshold by a decision_goal, and do not read a score as a chance"
)


@dataclass(frozen=True)
class ClassWeights:
    """Weights by class number.

    Attributes:
        names: of the classes.
        rows: how many of the training split each has.
        values: float32 [classes].
    """

    names: tuple[str, ...]
    rows: tuple[int, ...]
    values: npt.NDArray[np.float32]

    def to_json(self) -> dict[str, float]:
        return dict(zip(self.names, map(float, self.values), strict=True))


def of(
    given: str, transformed: Artifact, split: str, label: Feature, labels: Sequence[str] | None
) -> ClassWeights | None:
    """The weights that a parameter asks for; None where it is empty.

    Args:
        given: the parameter.
        transformed: a `transformed_examples/v1` artifact.
        split: the split whose rows are counted for `balanced`.
        label: its column.
        labels: the classes' names, where there are any.

    Raises:
        EdgelineError: it is none, a class does not exist, or the label is not a class number.
    """
    if not given.strip():
        return None
    rows, mass = _counted(transformed, split, label, labels)
    names = tuple(map(str, labels if labels is not None else range(len(rows))))
    if given.strip() == BALANCED:
        present = mass > 0
        values = np.ones(len(rows))
        values[present] = mass.sum() / (present.sum() * mass[present])
    else:
        values = _given(given, names)
    return ClassWeights(names, tuple(rows.tolist()), values.astype(np.float32))


def check(given: str, task: str) -> None:
    """Refuse weights of a task without classes, before anything is read.

    Raises:
        EdgelineError: as said.
    """
    if given.strip() and task == "regression":
        raise EdgelineError(
            f"{PARAMETER} is {given!r}, but the task is regression, which has no classes: leave it "
            "empty."
        )


def _given(given: str, names: Sequence[str]) -> npt.NDArray[np.float64]:
    values = np.ones(len(names))
    seen: set[int] = set()
    for part in given.split(","):
        name, equals, text = (each.strip() for each in part.rpartition("="))
        try:
            weight = float(text)
        except ValueError:
            weight = math.nan
        if not equals or not 0 < weight < math.inf:
            raise EdgelineError(
                f"{PARAMETER} is {given!r}, of which {part.strip()!r} is not a weight above 0: "
                f"give {BALANCED}, or each class with its weight, as in yes=20,no=1."
            )
        if name in names:
            place = list(names).index(name)
        elif name.isdecimal() and int(name) < len(names):
            place = int(name)
        else:
            hint = did_you_mean(name, names, "There are")
            raise EdgelineError(f"{PARAMETER} names a class {name!r}, which does not exist. {hint}")
        if place in seen:
            raise EdgelineError(f"{PARAMETER} names class {names[place]!r} twice: give it once.")
        seen.add(place)
        values[place] = weight
    return values


def _counted(
    transformed: Artifact, split: str, label: Feature, labels: Sequence[str] | None
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """How many rows each class has, and what they weigh."""
    counts = np.zeros(len(labels) if labels is not None else 2, np.int64)
    mass = counts.astype(np.float64)
    weighed_by = transformed.metadata.get(example_weights.KEY)
    done = 0
    for batch in read_batches(
        transformed, split, [label.name, *([weighed_by] if weighed_by else [])]
    ):
        values = to_numpy(batch, [label])[label.name].reshape(len(batch), -1)
        numeric = values.dtype.kind in "iufb" and values.shape[1] == 1
        found = values[:, 0].astype(np.float64) if numeric else np.full(len(batch), np.nan)
        most = len(counts) if labels is not None else MOST_CLASSES
        good = (found >= 0) & (found < most) & (found == np.floor(found))
        if not good.all():
            row = int((~good).argmax())
            raise EdgelineError(
                f"{PARAMETER} needs a label that is a class number from 0, but {label.name!r} is "
                f"{values[row].tolist()} in row {done + row} of split {split!r}: correct it in "
                "preprocessing_fn, or leave the parameter empty."
            )
        classes = found.astype(np.int64)
        weight = example_weights.of(batch, weighed_by) if weighed_by else np.ones(len(batch))
        counts = _added(counts, np.bincount(classes, minlength=len(counts)))
        mass = _added(mass, np.bincount(classes, weight, len(mass)))
        done += len(batch)
    return counts, mass


def _added(total: Array, more: Array) -> Array:
    """The sum of two arrays, of which the second is at least as long."""
    more[: len(total)] += total
    return more
