"""Transformed examples as tf.data pipelines, streamed from Parquet."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeline import examples, features
from edgeline.artifacts import Artifact
from edgeline.features import Feature

SHUFFLE_ROWS = 65_536
EVALUATION_ROWS = 4096

Batch = tuple[dict[str, npt.NDArray[Any]], npt.NDArray[Any]]


def training_batches(
    transformed: Artifact,
    split: str,
    columns: Sequence[Feature],
    label: str,
    batch_size: int,
    seed: Sequence[int],
) -> Any:
    """An endless tf.data.Dataset of shuffled (features, label) batches.

    Rows are shuffled within blocks of 65,536, so memory does not grow with the data. The
    order depends on `seed` alone; with the epoch in it, a resumed training sees exactly
    what an uninterrupted one would have seen.
    """

    def blocks() -> Iterator[Batch]:
        for round_ in itertools.count():
            random = np.random.default_rng([*seed, round_])
            for batch in examples.read_batches(transformed, split, batch_rows=SHUFFLE_ROWS):
                order = random.permutation(batch.num_rows)
                arrays = {k: v[order] for k, v in features.to_numpy(batch, columns).items()}
                yield arrays, arrays.pop(label)

    return _dataset(blocks, columns, label).rebatch(batch_size, drop_remainder=True).prefetch(2)


def evaluation_batches(
    transformed: Artifact, split: str, columns: Sequence[Feature], label: str
) -> Any:
    """A tf.data.Dataset of (features, label) batches, each row once and in order."""

    def batches() -> Iterator[Batch]:
        for batch in examples.read_batches(transformed, split, batch_rows=EVALUATION_ROWS):
            arrays = features.to_numpy(batch, columns)
            yield arrays, arrays.pop(label)

    return _dataset(batches, columns, label).prefetch(2)


def _dataset(
    generator: Callable[[], Iterator[Batch]], columns: Sequence[Feature], label: str
) -> Any:
    import tensorflow as tf

    specs = {
        column.name: tf.TensorSpec([None, *column.shape], tf.dtypes.as_dtype(column.dtype))
        for column in columns
    }
    label_spec = specs.pop(label)
    return tf.data.Dataset.from_generator(generator, output_signature=(specs, label_spec))
