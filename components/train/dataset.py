"""Transformed examples as tf.data pipelines, streamed from Parquet."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from edgeline.artifacts import Artifact, batches, example_weights, examples, features
from edgeline.artifacts.features import Feature
from edgeline.components.train.fair_training import GroupWeights
from edgeline.errors import EdgelineError
from edgeline.formats.dtypes import Array

if TYPE_CHECKING:
    import tensorflow as tf

SHUFFLE_ROWS, SHUFFLE_BYTES = 65_536, 256 << 20
EVALUATION_ROWS = 4096

TrainingBatch = tuple[dict[str, Array], Array] | tuple[dict[str, Array], Array, Array]


@dataclass(frozen=True)
class RowWeights:
    """The column of example weights of transformed examples, and its mean over a split.

    Weights are divided by the mean, so that a learning rate means what it does without them.
    """

    column: str
    mean: float

    @classmethod
    def of(cls, transformed: Artifact, split: str) -> RowWeights | None:
        """None where each row counts once."""
        column = transformed.metadata.get(example_weights.KEY)
        if not column:
            return None
        return cls(column, example_weights.mean(transformed, split, column))

    @property
    def columns(self) -> list[str]:
        """The columns of a batch that are read, beside the features."""
        return [self.column]

    @property
    def width(self) -> tuple[int, ...]:
        """The shape of a row's weight."""
        return ()

    def __call__(self, batch: pa.RecordBatch) -> npt.NDArray[np.float32]:
        """Of a batch's rows, float32 [rows], 1 on average."""
        return (example_weights.of(batch, self.column) / self.mean).astype(np.float32)


@dataclass(frozen=True)
class Share:
    """What of each batch a process takes: the `index`-th of `count` equal parts, for its replicas.

    Attributes:
        replicas: devices of this process, which take equal parts of its own.
    """

    index: int = 0
    count: int = 1
    replicas: int = 1

    @classmethod
    def of(cls, strategy: tf.distribute.Strategy | None, index: int, count: int) -> Share:
        """Of a worker, one of `count`; all of it where there is no strategy."""
        if strategy is None:
            return cls()
        return cls(index, count, strategy.num_replicas_in_sync // count)

    def check(self, batch_size: int) -> None:
        """Refuse a batch that the replicas of all processes do not share equally.

        Raises:
            EdgelineError: as said.
        """
        everywhere = self.count * self.replicas
        if batch_size % everywhere:
            raise EdgelineError(
                f"Parameter 'batch_size' is {batch_size}, which {self.count} workers with "
                f"{self.replicas} GPUs each cannot share equally: give a multiple of {everywhere}."
            )

    def of_batches(self, whole: tf.data.Dataset, batch_size: int) -> tf.data.Dataset:
        """The batches of this process' replicas, in turn, of batches that all have together."""
        import tensorflow as tf

        size = batch_size // self.count
        start = self.index * size

        def own(*batch: Any) -> Any:
            return tf.nest.map_structure(lambda each: each[start : start + size], batch)

        if self.count > 1:
            whole = whole.map(own)
        if self.replicas > 1:
            whole = whole.rebatch(size // self.replicas, drop_remainder=True)
        # without this TensorFlow's workers ask each other at every step whether they have a batch
        return whole.apply(tf.data.experimental.assert_cardinality(tf.data.INFINITE_CARDINALITY))


WHOLE = Share()


def training_batches(
    transformed: Artifact,
    split: str,
    columns: Sequence[Feature],
    label: str,
    batch_size: int,
    seed: Sequence[int],
    class_weights: npt.NDArray[np.float32] | None = None,
    row_weights: RowWeights | GroupWeights | None = None,
    share: Share = WHOLE,
) -> tf.data.Dataset:
    """An endless tf.data.Dataset of shuffled (features, label) batches.

    With `class_weights` [classes] or `row_weights` there is a third: the weight of each row, the
    product of both, float32 [rows]; of `GroupWeights` for a penalty [rows, 2], the second number
    the row's group.

    Rows are shuffled within blocks of 65,536, or of 256 MiB where rows are long, so memory does
    not grow with the data. The order depends on `seed` alone; with the epoch in it, a resumed
    training sees exactly what an uninterrupted one would have seen. With a `share` the batches are
    those of one process, and all processes' together are what one would have.
    """

    def shuffled() -> Iterator[TrainingBatch]:
        for round_ in itertools.count():
            random = np.random.default_rng([*seed, round_])
            for block in _blocks(transformed, split, names, random):
                for arrays, truth, weight in _permuted(block, columns, label, random, row_weights):
                    if class_weights is not None:
                        by_class = class_weights[truth.reshape(-1).astype(np.int64)]
                        weight = by_class if weight is None else _multiplied(weight, by_class)
                    yield (arrays, truth) if weight is None else (arrays, truth, weight)

    names = [column.name for column in columns] + (row_weights.columns if row_weights else [])
    weighted = class_weights is not None or row_weights is not None
    width = row_weights.width if row_weights else ()
    batches_of = _dataset(shuffled, columns, label, weighted, width)
    whole = batches_of.rebatch(batch_size, drop_remainder=True)
    return (whole if share == WHOLE else share.of_batches(whole, batch_size)).prefetch(2)


def evaluation_batches(
    transformed: Artifact,
    split: str,
    columns: Sequence[Feature],
    label: str,
    row_weights: RowWeights | None = None,
    share: Share = WHOLE,
) -> tf.data.Dataset:
    """A tf.data.Dataset of (features, label) batches, each row once and in order.

    With `row_weights` there is a third, see `training_batches`. Of several processes each has
    other batches.
    """

    def in_order() -> Iterator[TrainingBatch]:
        for batch in examples.read_batches(transformed, split, batch_rows=EVALUATION_ROWS):
            arrays = features.to_numpy(batch, columns)
            truth = arrays.pop(label)
            yield (arrays, truth, row_weights(batch)) if row_weights else (arrays, truth)

    found = _dataset(in_order, columns, label, weighted=row_weights is not None)
    return found.shard(share.count, share.index).prefetch(2)


def _blocks(
    transformed: Artifact, split: str, columns: Sequence[str], random: np.random.Generator
) -> Iterator[list[pa.RecordBatch]]:
    """What is shuffled together: rows that lie together, as long as these are many.

    Of long rows (images) a block holds few, of one class only where the data is sorted by class:
    it is made of row groups from all over the split.
    """
    parts = examples.parts(transformed, split)
    footers = [pq.read_metadata(part) for part in parts]
    bounds = (columns, SHUFFLE_ROWS, SHUFFLE_BYTES)
    if all(batches.rows_within(footer, *bounds) == SHUFFLE_ROWS for footer in footers):
        for batch in examples.read_batches(transformed, split, *bounds):
            yield [batch]
        return
    places = [
        (part, group)
        for part, footer in zip(parts, footers, strict=True)
        for group in range(footer.num_row_groups)
    ]
    block = batches.Group(SHUFFLE_ROWS, SHUFFLE_BYTES)
    for place in random.permutation(len(places)):
        part, group = places[place]
        with pq.ParquetFile(part) as file:
            for batch in batches.stream(file, columns, row_groups=[group]):
                while batch.num_rows:
                    batch = block.take(batch)
                    if block.full:
                        yield block.release()
    if block.rows:
        yield block.release()


def _permuted(
    block: list[pa.RecordBatch],
    columns: Sequence[Feature],
    label: str,
    random: np.random.Generator,
    row_weights: RowWeights | GroupWeights | None,
) -> Iterator[tuple[dict[str, Array], Array, Array | None]]:
    """The rows of a block in random order, some at a time."""
    order = random.permutation(sum(batch.num_rows for batch in block))
    size = sum(batch.nbytes for batch in block) // max(len(order), 1)
    step = max(1, min(EVALUATION_ROWS, batches.BATCH_BYTES // max(size, 1)))
    given = [features.to_numpy(batch, columns) for batch in block]
    arrays = {column.name: np.concatenate([g[column.name] for g in given]) for column in columns}
    weights = np.concatenate([row_weights(batch) for batch in block]) if row_weights else None
    del given
    block.clear()
    for start in range(0, len(order), step):
        taken = order[start : start + step]
        piece = {name: array[taken] for name, array in arrays.items()}
        yield piece, piece.pop(label), None if weights is None else weights[taken]


def _multiplied(weight: Array, by_class: Array) -> Array:
    """Weights [rows] or, with the group beside them, [rows, 2]."""
    if weight.ndim == 1:
        return weight * by_class
    return np.stack([weight[:, 0] * by_class, weight[:, 1]], 1)


def _dataset(
    generator: Callable[[], Iterator[TrainingBatch]],
    columns: Sequence[Feature],
    label: str,
    weighted: bool = False,
    width: tuple[int, ...] = (),
) -> tf.data.Dataset:
    import tensorflow as tf

    specs = {
        column.name: tf.TensorSpec([None, *column.shape], tf.dtypes.as_dtype(column.dtype))
        for column in columns
    }
    label_spec = specs.pop(label)
    weights = [tf.TensorSpec([None, *width], tf.float32)] if weighted else []
    signature = (specs, label_spec, *weights)
    return tf.data.Dataset.from_generator(generator, output_signature=signature)
