"""Statistics of examples as tensorflow_metadata protos, streamed and without TensorFlow.

Two passes over the Parquet files: the first counts, the second fills the histograms whose
range the first has found. Rows are regrouped into blocks of 4,096, fewer where they are long, so
the result depends on the rows and their order alone, not on files, row groups or batches.

Beside the fields every reader of such statistics knows, a feature has `custom_stats`:

| name                  | of       | what                                                  |
|-----------------------|----------|-------------------------------------------------------|
| `num_inf`             | numbers  | infinite values; all else is about the finite ones    |
| `quantile_rank_error` | numbers  | bound of the quantiles' error (see sketches); 0: exact |
| `unique`              | integers | distinct values; absent above 10,000                  |
| `value_counts`        | integers | the 1,000 most frequent values; absent with `unique`  |
| `untyped`             | columns  | 1 for a column of Arrow's null type, counted as strings |
| `count_error`         | strings  | how much too low a count can be; 0: `unique` is exact |
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from google.protobuf.message import DecodeError
from tensorflow_metadata.proto.v0 import statistics_pb2

from edgeline import artifacts, batches, examples, features
from edgeline.artifacts import Artifact
from edgeline.components.validate.sketches import Moments, Quantiles, ValueCounts
from edgeline.errors import EdgelineError

SCHEMA = "statistics/v1"
FILE = "statistics.pb"
BLOCK_ROWS = 4096
STANDARD_BUCKETS = 10
QUANTILE_BUCKETS = 100
TOP_VALUES = 20
RANKED_VALUES = 1000
LONG_VALUE = 256  # bytes; longer values are told apart by their digest and not shown

INT, FLOAT, STRING = (
    statistics_pb2.FeatureNameStatistics.INT,
    statistics_pb2.FeatureNameStatistics.FLOAT,
    statistics_pb2.FeatureNameStatistics.STRING,
)
_TYPES = {"int64": INT, "float32": FLOAT, "string": STRING}


def compute(data: Artifact) -> Any:
    """Statistics of every split.

    Returns:
        A `DatasetFeatureStatisticsList` with one dataset a split, named as the split.

    Raises:
        EdgelineError: a column has a type that no model takes, or the files of a split
            do not agree on the columns.
    """
    result = statistics_pb2.DatasetFeatureStatisticsList()
    for split in examples.splits(data):
        result.datasets.append(compute_split(data, split))
    return result


def compute_split(data: Artifact, split: str, batch_rows: int = batches.BATCH_ROWS) -> Any:
    """`DatasetFeatureStatistics` of one split. The result does not depend on `batch_rows`."""
    dataset = statistics_pb2.DatasetFeatureStatistics(name=split)
    columns = [
        _Column(field.name, _type(field), untyped=pa.types.is_null(field.type))
        for field in _schema(data, split)
    ]
    for block in _blocks(data, split, [column.name for column in columns], batch_rows):
        dataset.num_examples += block.num_rows
        for column in columns:
            column.count(block.column(column.name).combine_chunks())
    numeric = [column for column in columns if column.moments.count]
    if numeric:
        for block in _blocks(data, split, [column.name for column in numeric], batch_rows):
            for column in numeric:
                column.fill(block.column(column.name).combine_chunks())
    for column in columns:
        dataset.features.append(column.result(dataset.num_examples))
    return dataset


def read(uri: str) -> Any:
    """Read a `DatasetFeatureStatisticsList`: a statistics artifact folder or a binary file.

    Raises:
        EdgelineError: there is no such file, or it is damaged.
    """
    path = Path(uri)
    file = artifacts.read(path, SCHEMA).path / FILE if path.is_dir() else path
    try:
        result = statistics_pb2.DatasetFeatureStatisticsList.FromString(file.read_bytes())
    except OSError as error:
        raise EdgelineError(
            f"The statistics {uri} cannot be read ({error.strerror}): give a statistics "
            f"artifact folder or its {FILE}."
        ) from error
    except DecodeError:
        raise EdgelineError(
            f"{file} is not a DatasetFeatureStatisticsList, or it is damaged: give the "
            f"{FILE} of a finished run."
        ) from None
    if not result.datasets:
        raise EdgelineError(f"{file} holds no statistics: give the {FILE} of a finished run.")
    return result


def to_json(statistics: Any) -> dict[str, Any]:
    """The same in short, for people and scripts: `{split: {"rows", "features": {name: ...}}}`."""
    return {
        dataset.name: {
            "rows": dataset.num_examples,
            "features": {name_of(feature): _feature_json(feature) for feature in dataset.features},
        }
        for dataset in statistics.datasets
    }


def name_of(feature: Any) -> str:
    """A feature's column name."""
    return feature.name or ".".join(feature.path.step)


def body(feature: Any) -> Any:
    """The feature's `num_stats`, `string_stats` or `bytes_stats`, whichever it has."""
    return getattr(feature, feature.WhichOneof("stats") or "num_stats")


def common(feature: Any) -> Any:
    """The feature's `common_stats`."""
    return body(feature).common_stats


def custom(feature: Any, name: str) -> Any | None:
    """A custom statistic of a feature (see the head of this module), or None."""
    return next((entry for entry in feature.custom_stats if entry.name == name), None)


def custom_number(feature: Any, name: str) -> float:
    """A custom statistic that is a number, 0 where there is none."""
    entry = custom(feature, name)
    return float(entry.num) if entry else 0.0


def distinct(feature: Any) -> tuple[int | None, bool]:
    """Number of distinct values, None where it was not counted, and whether it is exact."""
    if feature.WhichOneof("stats") == "string_stats":
        return feature.string_stats.unique, not custom_number(feature, "count_error")
    entry = custom(feature, "unique")
    return (int(entry.num), True) if entry else (None, False)


def ranked(feature: Any) -> list[tuple[str, float]] | None:
    """The most frequent values with their counts, or None where values were not counted."""
    if feature.WhichOneof("stats") == "string_stats":
        histogram = feature.string_stats.rank_histogram
    elif entry := custom(feature, "value_counts"):
        histogram = entry.rank_histogram
    else:
        return None
    return [(bucket.label, bucket.sample_count) for bucket in histogram.buckets]


def histogram(feature: Any, kind: str) -> Any | None:
    """The `STANDARD` or `QUANTILES` histogram of a numeric feature, or None."""
    wanted = statistics_pb2.Histogram.HistogramType.Value(kind)
    return next((h for h in feature.num_stats.histograms if h.type == wanted), None)


@dataclass
class _Column:
    """All that is known of one column so far."""

    name: str
    type: int
    untyped: bool = False
    present: int = 0
    total: int = 0
    shortest: int | None = None
    longest: int = 0
    moments: Moments = field(default_factory=Moments)
    quantiles: Quantiles = field(default_factory=Quantiles)
    counts: ValueCounts = field(default_factory=ValueCounts)
    undefined: int = 0
    length: int = 0
    not_text: int = 0
    buckets: npt.NDArray[np.int64] = field(
        default_factory=lambda: np.zeros(STANDARD_BUCKETS, np.int64)
    )

    def count(self, array: pa.Array) -> None:
        """First pass over a block."""
        present = len(array) - array.null_count
        if not present:
            return
        self.present += present
        if examples.is_list(array.type):
            lengths = pc.min_max(pc.list_value_length(array)).as_py()
            shortest, longest = lengths["min"], lengths["max"]
        else:
            shortest = longest = 1
        self.shortest = shortest if self.shortest is None else min(self.shortest, shortest)
        self.longest = max(self.longest, longest)
        values = _values(array)
        if examples.is_list(array.type):
            self.undefined += values.null_count
        values = values.drop_null()
        self.total += len(values)
        if self.type == STRING:
            self._count_strings(values)
            return
        self.quantiles.update(self.moments.update(_floats(values)))
        if self.type == INT and self.counts.exact:
            self.counts.update(values)

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

    def result(self, rows: int) -> Any:
        """The finished `FeatureNameStatistics`."""
        feature = statistics_pb2.FeatureNameStatistics(type=self.type)
        feature.path.step.append(self.name)
        if self.untyped:
            feature.custom_stats.add(name="untyped", num=1)
        (self._strings if self.type == STRING else self._numbers)(feature)
        facts = common(feature)
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
        if (lengths > LONG_VALUE).any():
            long = pa.array(lengths > LONG_VALUE)
            digests = [_digest(value.as_buffer()) for value in values.filter(long)]
            values = pc.replace_with_mask(values, long, pa.array(digests, pa.large_binary()))
        self.counts.update(values)

    def _strings(self, feature: Any) -> None:
        strings = feature.string_stats
        strings.unique = len(self.counts.counts) if self.counts.exact else self.counts.capacity
        strings.avg_length = self.length / self.total if self.total else 0.0
        strings.invalid_utf8_count = self.not_text
        shown = [(_text(value), count) for value, count in self.counts.ranked()[:RANKED_VALUES]]
        readable = [(text, count) for text, count in shown if text is not None]
        for text, count in readable[:TOP_VALUES]:
            strings.top_values.add(value=text, frequency=count)
        _rank(strings.rank_histogram, readable)
        feature.custom_stats.add(name="count_error", num=self.counts.error)

    def _numbers(self, feature: Any) -> None:
        numbers, moments = feature.num_stats, self.moments
        numbers.SetInParent()
        feature.custom_stats.add(name="num_inf", num=moments.infinite)
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
        if self.type == INT and self.counts.exact:
            feature.custom_stats.add(name="unique", num=len(self.counts.counts))
            entry = feature.custom_stats.add(name="value_counts")
            shown = self.counts.ranked()[:RANKED_VALUES]
            _rank(entry.rank_histogram, [(str(value), count) for value, count in shown])

    def _histogram(
        self, numbers: Any, kind: str, edges: npt.NDArray[Any], counts: npt.NDArray[Any]
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


def _type(field: pa.Field) -> Any:
    if pa.types.is_null(field.type):  # nothing but missing values: nobody knows
        return STRING
    return _TYPES[features.from_arrow_schema(pa.schema([field]))[0].dtype]


def _blocks(
    data: Artifact, split: str, columns: Sequence[str], batch_rows: int
) -> Iterator[pa.Table]:
    """A split in tables of BLOCK_ROWS rows, fewer where they are long, the last one shorter."""
    block = batches.Group(BLOCK_ROWS)
    for batch in examples.read_batches(data, split, columns, batch_rows):
        while batch.num_rows:
            batch = block.take(batch)
            if block.full:
                yield pa.Table.from_batches(block.release())
    if block.rows:
        yield pa.Table.from_batches(block.release())


def _values(array: pa.Array) -> pa.Array:
    """The values of a block, lists flattened, dictionaries decoded, bools as integers."""
    if examples.is_list(array.type):
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


def _rank(histogram: Any, values: Sequence[tuple[str, int]]) -> None:
    for rank, (label, count) in enumerate(values):
        histogram.buckets.add(low_rank=rank, high_rank=rank, label=label, sample_count=count)


def _feature_json(feature: Any) -> dict[str, Any]:
    facts = common(feature)
    unique, exact = distinct(feature)
    result: dict[str, Any] = {
        "type": statistics_pb2.FeatureNameStatistics.Type.Name(feature.type),
        "present": facts.num_non_missing,
        "missing": facts.num_missing,
        "values_per_row": [facts.min_num_values, facts.max_num_values],
    }
    if unique is not None:
        result |= {"distinct": unique, "distinct_is_exact": exact}
    if top := ranked(feature):
        result["top_values"] = [[value, int(count)] for value, count in top[:TOP_VALUES]]
    if feature.WhichOneof("stats") == "string_stats":
        return result | {"mean_length": feature.string_stats.avg_length}
    numbers = feature.num_stats
    made = histogram(feature, "STANDARD")
    result |= {"nan": made.num_nan if made else 0, "infinite": custom_number(feature, "num_inf")}
    if made and made.buckets:
        values = {
            "min": numbers.min,
            "median": numbers.median,
            "max": numbers.max,
            "mean": numbers.mean,
            "std_dev": numbers.std_dev,
        }
        result |= {name: value if math.isfinite(value) else None for name, value in values.items()}
        result["zeros"] = numbers.num_zeros
    return result
