"""Statistics of examples, computed in a stream and without TensorFlow.

Two passes over the Parquet files: the first counts, the second fills the histograms whose
range the first has found. Rows are regrouped into blocks of 4,096, fewer where they are long, so
the result depends on the rows and their order alone, not on files, row groups or batches.
"""

from __future__ import annotations

import functools
import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from tensorflow_metadata.proto.v0 import schema_pb2, statistics_pb2

from edgeline.artifacts import Artifact, batches, examples, features
from edgeline.artifacts.quantiles import Quantiles
from edgeline.components.validate import combined, image_formats
from edgeline.components.validate import schema as schemas
from edgeline.components.validate import statistics as stats
from edgeline.components.validate.sketches import Moments, ValueCounts
from edgeline.errors import EdgelineError
from edgeline.formats.dtypes import Array

BLOCK_ROWS = 4096
STANDARD_BUCKETS = 10
QUANTILE_BUCKETS = 100
LONG_VALUE = 256  # bytes; longer values are told apart by their digest and not shown
_TYPES = {"int64": stats.INT, "float32": stats.FLOAT, "string": stats.STRING}


def compute(
    data: Artifact,
    schema: schema_pb2.Schema | None = None,
    passes_of: Callable[[str], Passes] | None = None,
) -> statistics_pb2.DatasetFeatureStatisticsList:
    """Statistics of every split.

    Args:
        data: `examples/v1`.
        schema: for what it says of sparse and weighted features and of images is counted, too.
        passes_of: gives what makes the passes over a split (see `spread_statistics`); None: this
            process.

    Returns:
        A `DatasetFeatureStatisticsList` with one dataset a split, named as the split.

    Raises:
        EdgelineError: a column has a type that no model takes, or the files of a split
            do not agree on the columns.
    """
    result = statistics_pb2.DatasetFeatureStatisticsList()
    for split in examples.splits(data):
        own = Passes(functools.partial(blocks, data, split))
        passes = passes_of(split) if passes_of else own
        result.datasets.append(_computed(data, split, passes, schema))
    return result


def compute_split(
    data: Artifact,
    split: str,
    batch_rows: int = batches.BATCH_ROWS,
    schema: schema_pb2.Schema | None = None,
) -> statistics_pb2.DatasetFeatureStatistics:
    """`DatasetFeatureStatistics` of one split. The result does not depend on `batch_rows`."""
    passes = Passes(lambda names: blocks(data, split, names, batch_rows))
    return _computed(data, split, passes, schema)


@dataclass
class SplitCounts:
    """What the first pass counts: the rows, of each column, and of several together."""

    columns: list[ColumnCounts]
    together: list[combined.CombinedCounts]
    rows: int = 0

    def count(self, block: pa.Table) -> None:
        """Take a block of rows in."""
        self.rows += block.num_rows
        for column in self.columns:
            column.count(block.column(column.name).combine_chunks())
        for each in self.together:
            each.count(block)

    def merge(self, other: SplitCounts) -> None:
        """Take in what was counted of other rows."""
        self.rows += other.rows
        for column, counted in zip(self.columns, other.columns, strict=True):
            column.merge(counted)
        for mine, counted_together in zip(self.together, other.together, strict=True):
            mine.merge(counted_together)


@dataclass(frozen=True)
class Passes:
    """The two passes over the rows, in this process.

    blocks: the rows from the first on, each time that it is called with the names of columns.
    """

    blocks: Callable[[Sequence[str]], Iterator[pa.Table]]

    def count(self, counts: SplitCounts) -> None:
        """The first pass."""
        for block in self.blocks([column.name for column in counts.columns]):
            counts.count(block)

    def fill(self, columns: Sequence[ColumnCounts]) -> None:
        """The second pass, over numbers whose range is known."""
        for block in self.blocks([column.name for column in columns]):
            for column in columns:
                column.fill(block.column(column.name).combine_chunks())


def _computed(
    data: Artifact, split: str, passes: Passes, schema: schema_pb2.Schema | None
) -> statistics_pb2.DatasetFeatureStatistics:
    dataset = statistics_pb2.DatasetFeatureStatistics(name=split)
    columns = [
        ColumnCounts(field.name, _type(field), pa.types.is_null(field.type), empty=_empty(field))
        for field in _schema(data, split)
    ]
    if schema is not None:
        images = {path for path, each, _ in schemas.walk(schema) if each.HasField("image_domain")}
        for column in columns:
            column.images = column.type == stats.STRING and column.name in images
    together = (
        [combined.CombinedCounts(each) for each in combined.of_schema(schema)] if schema else []
    )
    counts = SplitCounts(columns, together)
    passes.count(counts)
    dataset.num_examples = counts.rows
    numeric = [column for column in columns if column.moments.count]
    if numeric:
        passes.fill(numeric)
    for column in columns:
        dataset.features.append(column.result(dataset.num_examples))
    taken = {column.name for column in columns}
    dataset.features.extend(each.result() for each in together if each.feature.name not in taken)
    return dataset


@dataclass
class ColumnCounts:
    """All that is known of one column so far."""

    name: str
    type: int
    untyped: bool = False
    images: bool = False
    empty: bytes = b""  # how rows without a value have the feature, see `features.EMPTY`
    present: int = 0
    total: int = 0
    shortest: int | None = None
    longest: int = 0
    moments: Moments = field(default_factory=Moments)
    quantiles: Quantiles = field(default_factory=Quantiles)
    counts: ValueCounts = field(default_factory=lambda: ValueCounts(stats.MOST_COUNTED))
    formats: Counter[str] = field(default_factory=Counter)
    most_bytes: int = 0
    undefined: int = 0
    length: int = 0
    not_text: int = 0
    buckets: npt.NDArray[np.int64] = field(
        default_factory=lambda: np.zeros(STANDARD_BUCKETS, np.int64)
    )

    def count(self, array: pa.Array) -> None:
        """First pass over a block."""
        present = len(array) - array.null_count
        self.present += len(array) if self.empty else present
        if self.empty == features.NO_VALUES and array.null_count:
            self.shortest = 0
        if not present:
            return
        if features.is_list(array.type):
            lengths = pc.min_max(pc.list_value_length(array)).as_py()
            shortest, longest = lengths["min"], lengths["max"]
        else:
            shortest = longest = 1
        self.shortest = shortest if self.shortest is None else min(self.shortest, shortest)
        self.longest = max(self.longest, longest)
        values = _values(array)
        if features.is_list(array.type):
            self.undefined += values.null_count
        values = values.drop_null()
        self.total += len(values)
        if self.type == stats.STRING:
            self._count_strings(values)
            return
        self.quantiles.update(self.moments.update(_floats(values)))
        if self.type == stats.INT and self.counts.exact:
            self.counts.update(values)

    def merge(self, other: ColumnCounts) -> None:
        """Take in what the first pass counted of other rows."""
        self.present += other.present
        self.total += other.total
        shortest = [each for each in (self.shortest, other.shortest) if each is not None]
        self.shortest = min(shortest, default=None)
        self.longest = max(self.longest, other.longest)
        self.moments.merge(other.moments)
        self.quantiles.merge(other.quantiles)
        self.counts.merge(other.counts)
        self.formats.update(other.formats)
        self.most_bytes = max(self.most_bytes, other.most_bytes)
        self.undefined += other.undefined
        self.length += other.length
        self.not_text += other.not_text

    def fill(self, array: pa.Array) -> None:
        """Second pass over a block: the standard histogram, whose range is now known."""
        values = _floats(_values(array).drop_null())
        values = values[np.isfinite(values)]
        # halves, because the difference of two huge numbers is infinite
        low, high = self.moments.minimum / 2, self.moments.maximum / 2
        with np.errstate(invalid="ignore", divide="ignore"):
            place = np.nan_to_num((values / 2 - low) / (high - low) * STANDARD_BUCKETS)
        index = np.clip(place.astype(np.int64), 0, STANDARD_BUCKETS - 1)
        self.buckets += np.bincount(index, minlength=STANDARD_BUCKETS)

    def result(self, rows: int) -> statistics_pb2.FeatureNameStatistics:
        """The finished `FeatureNameStatistics`."""
        feature = statistics_pb2.FeatureNameStatistics(type=self.type)
        feature.path.step.append(self.name)
        if self.untyped:
            feature.custom_stats.add(name="untyped", num=1)
        (self._strings if self.type == stats.STRING else self._numbers)(feature)
        facts = stats.common(feature)
        facts.num_non_missing, facts.num_missing = self.present, rows - self.present
        facts.min_num_values, facts.max_num_values = self.shortest or 0, self.longest
        facts.avg_num_values = self.total / self.present if self.present else 0.0
        facts.tot_num_values = self.total
        return feature

    def _count_strings(self, values: pa.Array) -> None:
        self.not_text += _count_not_text(values)
        values = values.cast(pa.large_binary())
        lengths = _floats(pc.binary_length(values))
        self.length += int(lengths.sum())
        self.most_bytes = max(self.most_bytes, int(lengths.max(initial=0)))
        if self.images:
            self.formats.update(image_formats.count(values))
        if (lengths > LONG_VALUE).any():
            long = pa.array(lengths > LONG_VALUE)
            digests = [_digest(value.as_buffer()) for value in values.filter(long)]
            values = pc.replace_with_mask(values, long, pa.array(digests, pa.large_binary()))
        self.counts.update(values)

    def _strings(self, feature: statistics_pb2.FeatureNameStatistics) -> None:
        strings = feature.string_stats
        strings.unique = len(self.counts.counts) if self.counts.exact else self.counts.capacity
        strings.avg_length = self.length / self.total if self.total else 0.0
        strings.invalid_utf8_count = self.not_text
        shown = [
            (_text(value), count) for value, count in self.counts.ranked()[: stats.RANKED_VALUES]
        ]
        readable = [(text, count) for text, count in shown if text is not None]
        for text, count in readable[: stats.TOP_VALUES]:
            strings.top_values.add(value=text, frequency=count)
        _rank(strings.rank_histogram, readable)
        feature.custom_stats.add(name="count_error", num=self.counts.error)
        feature.custom_stats.add(name="max_bytes", num=self.most_bytes)
        if self.images:
            entry = feature.custom_stats.add(name="image_format_histogram")
            _rank(entry.rank_histogram, sorted(self.formats.items()))

    def _numbers(self, feature: statistics_pb2.FeatureNameStatistics) -> None:
        numbers, moments = feature.num_stats, self.moments
        numbers.SetInParent()
        feature.custom_stats.add(name="num_inf", num=moments.infinite)
        feature.custom_stats.add(name="num_negative_inf", num=moments.negative_infinite)
        if moments.count:
            numbers.mean, numbers.std_dev = moments.mean, moments.deviation
            numbers.num_zeros = moments.zeros
            numbers.min, numbers.max = moments.minimum, moments.maximum
            ranks = np.arange(QUANTILE_BUCKETS + 1) * moments.count / QUANTILE_BUCKETS
            edges = self.quantiles.at(np.maximum(np.ceil(ranks), 1).astype(np.int64))
            edges[0], edges[-1] = moments.minimum, moments.maximum
            middle = self.quantiles.at(np.array([(moments.count + 1) // 2, moments.count // 2 + 1]))
            numbers.median = float(middle[0] / 2 + middle[1] / 2)
            even = np.full(QUANTILE_BUCKETS, moments.count / QUANTILE_BUCKETS)
            steps = np.arange(STANDARD_BUCKETS + 1) / STANDARD_BUCKETS
            standard = moments.minimum * (1 - steps) + moments.maximum * steps
            self._histogram(numbers, "STANDARD", standard, self.buckets)
            self._histogram(numbers, "QUANTILES", edges, even)
            feature.custom_stats.add(name="quantile_rank_error", num=self.quantiles.error)
        elif moments.nan:
            self._histogram(numbers, "STANDARD", np.zeros(0), np.zeros(0))
        if self.type == stats.INT and self.counts.exact:
            feature.custom_stats.add(name="unique", num=len(self.counts.counts))
            entry = feature.custom_stats.add(name="value_counts")
            shown = self.counts.ranked()[: stats.RANKED_VALUES]
            _rank(entry.rank_histogram, [(str(value), count) for value, count in shown])

    def _histogram(
        self,
        numbers: statistics_pb2.NumericStatistics,
        kind: str,
        edges: Array,
        counts: Array,
    ) -> None:
        made = numbers.histograms.add(num_nan=self.moments.nan, num_undefined=self.undefined)
        made.type = statistics_pb2.Histogram.HistogramType.Value(kind)
        for low, high, count in zip(edges[:-1], edges[1:], counts, strict=True):
            made.buckets.add(low_value=low, high_value=high, sample_count=count)


def _schema(data: Artifact, split: str) -> pa.Schema:
    """The columns of a split, on which all its files must agree."""
    files = examples.parts(data, split)
    first = pq.read_schema(files[0]) if files else pa.schema([])
    for file in files:
        schema = pq.read_schema(file)
        if not schema.equals(first):
            fields = set(schema) ^ set(first)
            names = ", ".join(sorted({repr(field.name) for field in fields})) or "the order"
            raise EdgelineError(
                f"{file} and {files[0]} do not agree on the columns ({names}): "
                "ingest the data again with one type a column."
            )
    return first


def _empty(field: pa.Field) -> bytes:
    return bytes((field.metadata or {}).get(features.EMPTY, b""))


def _type(field: pa.Field) -> Any:
    if pa.types.is_null(field.type):  # nothing but missing values: nobody knows
        return stats.STRING
    return _TYPES[features.from_arrow_schema(pa.schema([field]))[0].dtype]


def blocks(
    data: Artifact, split: str, columns: Sequence[str], batch_rows: int = batches.BATCH_ROWS
) -> Iterator[pa.Table]:
    """A split in tables of BLOCK_ROWS rows, fewer where they are long, the last one shorter."""
    yield from regrouped(examples.read_batches(data, split, columns, batch_rows))


def regrouped(read: Iterable[pa.RecordBatch]) -> Iterator[pa.Table]:
    """Rows in tables of BLOCK_ROWS rows, fewer where they are long, the last one shorter."""
    block = batches.Group(BLOCK_ROWS)
    for batch in read:
        while batch.num_rows:
            batch = block.take(batch)
            if block.full:
                yield pa.Table.from_batches(block.release())
    if block.rows:
        yield pa.Table.from_batches(block.release())


def _values(array: pa.Array) -> pa.Array:
    """The values of a block, lists flattened, dictionaries decoded, bools as integers."""
    if features.is_list(array.type):
        array = array.drop_null().flatten()
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    return array.cast(pa.int64()) if pa.types.is_boolean(array.type) else array


def _floats(values: Any) -> npt.NDArray[np.float64]:
    # not to_numpy, which imports pandas wherever it is installed
    return np.asarray(np.from_dlpack(values.cast(pa.float64(), safe=False)), np.float64)


def _count_not_text(values: pa.Array) -> int:
    """How many values are not UTF-8; only binary columns can hold such."""
    if not (pa.types.is_binary(values.type) or pa.types.is_large_binary(values.type)):
        return 0
    try:
        values.cast(pa.large_string())
    except pa.ArrowInvalid:
        return sum(_text(value) is None for value in values.to_pylist())
    return 0


def _digest(value: pa.Buffer) -> bytes:
    # no UTF-8 text begins with this byte, so a digest is never taken for a value
    return b"\xff" + hashlib.sha256(value).digest()


def _text(value: bytes) -> str | None:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return None


def _rank(histogram: statistics_pb2.RankHistogram, values: Sequence[tuple[str, int]]) -> None:
    for rank, (label, count) in enumerate(values):
        histogram.buckets.add(low_rank=rank, high_rank=rank, label=label, sample_count=count)
