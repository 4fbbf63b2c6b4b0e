"""Sparse and weighted features of a schema: whether the columns that make them go together.

A row that has any of the columns must have all, each with as many values. What is counted are
TFDV's custom statistics of an entry with the feature's name:

| name                     | of       | what                                                |
|--------------------------|----------|-----------------------------------------------------|
| `missing_value`          | both     | rows without the value column                       |
| `missing_index`          | sparse   | rows without an index column, by column             |
| `max_length_diff`        | sparse   | by column, most indices beyond the values of a row  |
| `min_length_diff`        | sparse   | the least of these differences                      |
| `missing_weight`         | weighted | rows without the weight column                      |
| `max_weight_length_diff` | weighted | most weights beyond the values of a row             |
| `min_weight_length_diff` | weighted | the least of these differences                      |
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from tensorflow_metadata.proto.v0 import schema_pb2, statistics_pb2

from edgeline.artifacts import features
from edgeline.components.validate import schema as schemas
from edgeline.components.validate import statistics as stats
from edgeline.components.validate.anomalies import Breach


@dataclass(frozen=True)
class CombinedFeature:
    """A feature that several columns make.

    Attributes:
        value: the column of the values.
        others: its index columns, or its weight column.
    """

    name: str
    value: str
    others: tuple[str, ...]
    weighted: bool

    @property
    def columns(self) -> tuple[str, ...]:
        """All columns that make it."""
        return self.value, *self.others


def of_schema(schema: schema_pb2.Schema) -> list[CombinedFeature]:
    """The sparse and weighted features in use."""
    found = []
    for path, sparse in schemas.sparse_features(schema):
        prefix = path.removesuffix(sparse.name)
        indices = tuple(prefix + each.name for each in sparse.index_feature)
        found.append(CombinedFeature(path, prefix + sparse.value_feature.name, indices, False))
    for weighted in schema.weighted_feature:
        if schemas.is_live(weighted.lifecycle_stage):
            value, weight = (".".join(p.step) for p in (weighted.feature, weighted.weight_feature))
            found.append(CombinedFeature(weighted.name, value, (weight,), True))
    return found


@dataclass
class CombinedCounts:
    """What is counted of one combined feature."""

    feature: CombinedFeature
    missing: dict[str, int] = field(default_factory=dict)
    differences: dict[str, tuple[int, int]] = field(default_factory=dict)

    def count(self, block: pa.Table) -> None:
        """Take a block of rows in."""
        lengths = {name: _lengths(block, name) for name in self.feature.columns}
        present = np.any([found >= 0 for found in lengths.values()], axis=0)
        for name, found in lengths.items():
            absent = int(np.count_nonzero(present & (found < 0)))
            self.missing[name] = self.missing.get(name, 0) + absent
        values = np.maximum(lengths[self.feature.value], 0)
        for name in self.feature.others:
            apart = (np.maximum(lengths[name], 0) - values)[present]
            least, most = self.differences.get(name, (0, 0))
            if len(apart):
                least, most = min(least, int(apart.min())), max(most, int(apart.max()))
            self.differences[name] = least, most

    def merge(self, other: CombinedCounts) -> None:
        """Take in what was counted of other rows."""
        for name, absent in other.missing.items():
            self.missing[name] = self.missing.get(name, 0) + absent
        for name, (least, most) in other.differences.items():
            known = self.differences.get(name, (0, 0))
            self.differences[name] = min(known[0], least), max(known[1], most)

    def result(self) -> statistics_pb2.FeatureNameStatistics:
        """The finished entry."""
        made = statistics_pb2.FeatureNameStatistics()
        made.path.step.append(self.feature.name)
        made.custom_stats.add(name="missing_value", num=self.missing.get(self.feature.value, 0))
        if self.feature.weighted:
            (weight,) = self.feature.others
            least, most = self.differences.get(weight, (0, 0))
            made.custom_stats.add(name="missing_weight", num=self.missing.get(weight, 0))
            made.custom_stats.add(name="min_weight_length_diff", num=least)
            made.custom_stats.add(name="max_weight_length_diff", num=most)
            return made
        entries = [
            made.custom_stats.add(name=name).rank_histogram
            for name in ("missing_index", "min_length_diff", "max_length_diff")
        ]
        for name in self.feature.others:
            counts = self.missing.get(name, 0), *self.differences.get(name, (0, 0))
            for histogram, count in zip(entries, counts, strict=True):
                histogram.buckets.add(label=name, sample_count=count)
        return made


def check(
    schema: schema_pb2.Schema, entries: dict[str, statistics_pb2.FeatureNameStatistics]
) -> Iterator[tuple[str, Breach]]:
    """What is wrong with the combined features of a schema, each with the feature's name.

    Args:
        entries: the statistics of a split by name.
    """
    taken = {path for path, _, used in schemas.walk(schema) if used}
    for feature in of_schema(schema):
        what = "WEIGHTED" if feature.weighted else "SPARSE"
        if feature.name in taken:
            sentence = "is a feature of the schema already: give it a name of its own."
            yield feature.name, Breach(f"{what}_FEATURE_NAME_COLLISION", sentence)
            continue
        taken.add(feature.name)
        if feature.name in entries:
            for kind, sentence in _apart(entries[feature.name], feature.weighted):
                yield feature.name, Breach(f"{what}_FEATURE_{kind}", sentence)


def _apart(
    entry: statistics_pb2.FeatureNameStatistics, weighted: bool
) -> Iterator[tuple[str, str]]:
    if count := stats.custom_number(entry, "missing_value"):
        yield "MISSING_VALUE", f"lacks its values in {count:,.0f} rows that have the rest of it."
    if weighted:
        if count := stats.custom_number(entry, "missing_weight"):
            yield "MISSING_WEIGHT", f"lacks its weights in {count:,.0f} rows that have values."
        least = {"weights": stats.custom_number(entry, "min_weight_length_diff")}
        most = {"weights": stats.custom_number(entry, "max_weight_length_diff")}
    else:
        for name, count in _by_column(entry, "missing_index").items():
            if count:
                sentence = (
                    f"lacks its index {name!r} in {count:,.0f} rows that have the rest of it."
                )
                yield "MISSING_INDEX", sentence
        least, most = (
            {f"values of its index {name!r}": n for name, n in _by_column(entry, which).items()}
            for which in ("min_length_diff", "max_length_diff")
        )
    for what in least.keys() | most.keys():
        low, high = min(least.get(what, 0), 0), max(most.get(what, 0), 0)
        if least.get(what) or most.get(what):
            sentence = f"has {-low:,.0f} too few to {high:,.0f} too many {what} in a row."
            yield "LENGTH_MISMATCH", sentence


def _by_column(entry: statistics_pb2.FeatureNameStatistics, name: str) -> dict[str, float]:
    found = stats.custom(entry, name)
    return {b.label: b.sample_count for b in found.rank_histogram.buckets} if found else {}


def _lengths(block: pa.Table, name: str) -> npt.NDArray[np.int64]:
    """How many values each row has in a column; -1 where it has none of it."""
    if name not in block.column_names:
        return np.full(block.num_rows, -1, np.int64)
    column = block.column(name)
    valid = pc.is_valid(column)
    lengths = pc.list_value_length(column) if features.is_list(column.type) else 1
    counted = pc.if_else(valid, lengths, -1).cast(pa.int64()).combine_chunks()
    # not to_numpy, which imports pandas wherever it is installed
    return np.asarray(np.from_dlpack(counted), np.int64)
