"""Training that treats groups of rows alike: by weights of rows, or by a term of the loss.

reweighing: a row of group g and label y weighs P(g) P(y) / P(g, y), so that in the weighted rows
group and label are independent (F. Kamiran and T. Calders, Data preprocessing techniques for
classification without discrimination, 2012). Where rows have weights, these are summed in place of
rows. A group with fewer than `min_rows` keeps the weights that it has.

penalty: the loss of a batch gets `weight` times the variance of the groups' mean scores around
their common mean, each group by its share of the rows (after T. Calders et al., Controlling
Attribute Effect in Linear Regression, 2013); for equalised odds among rows of each label, for equal
opportunity among positive ones. Means of a batch are rough where it has few rows of a group: give a
batch_size of some hundreds.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from edgeline.artifacts import Artifact
from edgeline.artifacts.examples import read_batches
from edgeline.artifacts.fairness import GROUP, MOST_GROUPS, FairnessSettings
from edgeline.artifacts.features import Feature, to_numpy
from edgeline.artifacts.slice_values import SliceValue, encoded
from edgeline.components.train import optimising
from edgeline.components.train.export import named
from edgeline.errors import EdgelineError
from edgeline.formats.dtypes import Array

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

Weigh = Callable[[pa.RecordBatch], Array]
MOST_CLASSES = 1000


@dataclass(frozen=True)
class GroupWeights:
    """What a row of each group and label weighs.

    Attributes:
        settings: what was asked.
        label: its column.
        values: of the groups.
        rows: of groups by class [groups, classes].
        table: weights by group and class, float32 [groups, classes].
        before: weights of rows that they are multiplied with, and their columns; None: 1.
    """

    settings: FairnessSettings
    label: Feature
    values: tuple[SliceValue, ...]
    rows: Array
    table: npt.NDArray[np.float32]
    before: Weigh | None
    before_columns: tuple[str, ...]

    @property
    def columns(self) -> list[str]:
        """The columns of a batch that are read, beside the features."""
        return [GROUP, *self.before_columns]

    @property
    def width(self) -> tuple[int, ...]:
        """The shape of a row's weight: with the penalty its group is beside it."""
        return (2,) if self.settings.mitigation == "penalty" else ()

    @property
    def small(self) -> list[str]:
        """Groups that have too few rows."""
        few = self.rows.sum(1) < self.settings.min_rows
        return [str(value) for value, is_few in zip(self.values, few, strict=True) if is_few]

    def __call__(self, batch: pa.RecordBatch) -> npt.NDArray[np.float32]:
        """Of a batch's rows: weights [rows], or [rows, 2] with the number of the group, -1 where it
        is small."""
        group = self._groups(batch)
        weight = self.table[group, _classes(batch, self.label)]
        if self.before is not None:
            weight = weight * self.before(batch)
        if not self.width:
            return np.asarray(weight, np.float32)
        few = self.rows.sum(1) < self.settings.min_rows
        return np.stack([weight, np.where(few[group], -1, group)], 1).astype(np.float32)

    def _groups(self, batch: pa.RecordBatch) -> Array:
        numbers = {value: number for number, value in enumerate(self.values)}
        indices, values = encoded(batch.column(GROUP), self.settings.group)
        return np.array([numbers[value] for value in values], np.int64)[indices]

    def note(self) -> str:
        """What was done, in a sentence without a stop."""
        what = f"{self.settings.mitigation} by {len(self.values)} groups of {self.settings.group}"
        if self.small:
            shown = ", ".join(self.small[:10]) + (" and others" if len(self.small) > 10 else "")
            what += f"; left out, with fewer than {self.settings.min_rows} rows: {shown}"
        return what


def group_weights(
    settings: FairnessSettings,
    transformed: Artifact,
    split: str,
    label: Feature,
    before: Weigh | None = None,
    before_columns: tuple[str, ...] = (),
) -> GroupWeights:
    """The weights of a split.

    Args:
        transformed: `transformed_examples/v1` with the groups beside the features.
        label: its column, a class number.
        before: what rows weigh anyhow, by columns that are read.

    Raises:
        EdgelineError: the groups are not there or too many, or the label is not a class number.
    """
    if transformed.metadata.get(GROUP) != settings.group:
        raise EdgelineError(
            f"fairness asks for {settings.mitigation} by {settings.group!r}, which "
            f"{transformed.path} lacks: give transform the same fairness."
        )
    numbers: dict[SliceValue, int] = {}
    rows = np.zeros((MOST_GROUPS, MOST_CLASSES), np.int64)
    mass = np.zeros((MOST_GROUPS, MOST_CLASSES))
    most = 0
    for batch in read_batches(transformed, split, [label.name, GROUP, *before_columns]):
        indices, values = encoded(batch.column(GROUP), settings.group)
        known = [numbers.setdefault(value, len(numbers)) for value in values]
        if len(numbers) > MOST_GROUPS:
            raise EdgelineError(
                f"fairness.group {settings.group!r} has more than {MOST_GROUPS} values: name a "
                "column with fewer."
            )
        group, truth = np.array(known, np.int64)[indices], _classes(batch, label)
        weight = np.ones(len(batch)) if before is None else before(batch)
        np.add.at(rows, (group, truth), 1)
        np.add.at(mass, (group, truth), weight)
        most = max(most, int(truth.max(initial=0)))
    rows, mass = rows[: len(numbers), : most + 1], mass[: len(numbers), : most + 1]
    table = np.ones(mass.shape)
    if settings.mitigation == "reweighing":
        large = rows.sum(1) >= settings.min_rows
        kept = np.where(large[:, None], mass, 0)
        expected = kept.sum(1, keepdims=True) * kept.sum(0, keepdims=True) / max(kept.sum(), 1e-12)
        table = np.where(kept > 0, expected / np.where(kept > 0, kept, 1), 1.0)
    return GroupWeights(
        *(settings, label, tuple(numbers), rows, table.astype(np.float32)), before, before_columns
    )


def _classes(batch: pa.RecordBatch, label: Feature) -> Array:
    values = to_numpy(batch, [label])[label.name].reshape(len(batch), -1)[:, 0]
    found = np.asarray(values, np.float64) if values.dtype.kind in "iufb" else np.full(1, np.nan)
    if not ((found >= 0) & (found < MOST_CLASSES) & (found == np.floor(found))).all():
        raise EdgelineError(
            f"fairness needs a label that is a class number from 0 to {MOST_CLASSES - 1}, and "
            f"{label.name!r} is not in every row: correct it in preprocessing_fn."
        )
    return found.astype(np.int64)


@contextlib.contextmanager
def penalised(model: keras.Model, weights: GroupWeights) -> Iterator[Callable[[], None]]:
    """Add the penalty to a model's loss in steps whose graph is made in this context.

    What `build_model` brings, its loss and its own `train_step`, stays: the groups are taken from
    beside the weights of a batch, and what `compute_loss` gives becomes larger.

    Yields:
        A function that, once a step was made, refuses a `train_step` that calls no `compute_loss`.

    Raises:
        EdgelineError: it is a tf_keras model.
    """
    import inspect

    import keras
    import tensorflow as tf

    if optimising.is_legacy(model):
        raise EdgelineError(
            "fairness has the mitigation penalty, but build_model gave a tf_keras model, which "
            "does not take it: give reweighing, or a Keras 3 model."
        )
    train_step, compute_loss = model.train_step, model.compute_loss
    takes_training = "training" in inspect.signature(compute_loss).parameters
    settings, here = weights.settings, {"group": None, "counted": False}

    def step(data: Any) -> Any:
        x, y, both = keras.utils.unpack_x_y_sample_weight(data)
        here["group"] = tf.cast(both[:, 1], tf.int32)
        try:
            return train_step((x, y, both[:, 0]))
        finally:
            here["group"] = None

    def loss(
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Any:
        more = {"training": training} if takes_training else {}
        found = compute_loss(x=x, y=y, y_pred=y_pred, sample_weight=sample_weight, **more)
        if here["group"] is None:
            return found
        here["counted"] = True
        score = named(y_pred)["prediction"]
        gap = variance(score, y, here["group"], len(weights.values), settings.criterion)
        return found + tf.cast(settings.weight * gap, found.dtype)

    def check() -> None:
        if not here["counted"]:
            raise EdgelineError(
                "fairness has the mitigation penalty, but the train_step of build_model's network "
                "does not call compute_loss, where it is added: call it, or give reweighing."
            )

    model.train_step, model.compute_loss = step, loss
    try:
        yield check
    finally:
        for name in ("train_step", "compute_loss"):
            vars(model).pop(name, None)


def variance(
    score: tf.Tensor, label: tf.Tensor, group: tf.Tensor, groups: int, criterion: str
) -> tf.Tensor:
    """The variance of the groups' mean scores around their common mean, float32 [].

    Args:
        score, label: [rows, 1] or [rows].
        group: int32 [rows], from 0; rows of -1 do not count.
        groups: how many there are.
        criterion: `equalised_odds` sums the variances of both labels, `equal_opportunity` takes
            that of positive rows, `demographic_parity` that of all.
    """
    import tensorflow as tf

    score = tf.cast(tf.reshape(score, [-1]), tf.float32)
    positive = tf.cast(tf.reshape(label, [-1]), tf.float32)
    sides = {
        "equalised_odds": (positive, 1 - positive),
        "equal_opportunity": (positive,),
        "demographic_parity": (tf.ones_like(positive),),
    }[criterion]
    members = tf.one_hot(group, groups)
    found = tf.zeros([])
    for side in sides:
        mass = members * side[:, None]
        count = tf.reduce_sum(mass, 0)
        means = tf.linalg.matvec(mass, score, transpose_a=True) / tf.maximum(count, 1)
        share = count / tf.maximum(tf.reduce_sum(count), 1)
        mean = tf.reduce_sum(share * means)
        found += tf.reduce_sum(share * tf.square(means - mean))
    return found
