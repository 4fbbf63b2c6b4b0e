"""Application: Parquet through a transform graph to Parquet, part by part, in order."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from edgeline.artifacts import batches, example_weights, fairness
from edgeline.artifacts import features as raw
from edgeline.artifacts.ahead import ahead
from edgeline.artifacts.features import Feature
from edgeline.beam import slices, spreading
from edgeline.beam.workers import Workers
from edgeline.components.transform.graph import ARROW_TYPES
from edgeline.components.transform.saved_graph import SavedGraph
from edgeline.errors import EdgelineError
from edgeline.formats.dtypes import Array

STAGE = "transformed"


def apply(
    graph: Path,
    parts: Mapping[Path, Path],
    raw_features: Sequence[Feature],
    transformed: Sequence[Feature],
    weight_column: str = "",
    loaded: SavedGraph | None = None,
    group_column: str = "",
) -> int:
    """Write each source part's transformed rows, in their order, to its target part.

    Args:
        graph: a folder in the layout of `tft.TFTransformOutput`.
        parts: target Parquet file by source Parquet file.
        raw_features: what the graph takes.
        transformed: what to write, one column each ([batch, 1] plain, else fixed-size lists).
        weight_column: of the source, written beside the transformed columns as float64; "": none.
        loaded: the graph, where it is loaded: of thousands of features that takes seconds.
        group_column: of the source, written as it is under the name `fairness.GROUP`; "": none.

    Returns:
        The number of rows written.

    Raises:
        EdgelineError: the graph fails on some rows, or rows were lost.
    """
    work = _work(parts, raw_features, transformed, weight_column, group_column)
    call = work.called(loaded or SavedGraph(graph))
    rows = 0
    for source, target in parts.items():
        where = f"{source.parent.name}/{source.name}"
        with pq.ParquetFile(source) as file, pq.ParquetWriter(target, work.schema) as writer:
            read = ahead(batches.stream(file, work.columns))
            for batch in ahead(call(batch, where) for batch in read):
                writer.write_batch(batch)
                rows += batch.num_rows
    _check_count(rows, parts)
    return rows


def spread(
    graph: Path,
    parts: Mapping[Path, Path],
    raw_features: Sequence[Feature],
    transformed: Sequence[Feature],
    weight_column: str,
    workers: Workers,
    group_column: str = "",
) -> int:
    """As `apply`, by Beam's workers: the same files, byte for byte."""
    work = _work(parts, raw_features, transformed, weight_column, group_column)
    sent = [each for each in workers.slices if each.part in parts]
    spreading.give(workers.exchange, STAGE, graph)
    made = spreading.spread(work, sent, workers.exchange, workers.runner, STAGE)
    pairs = zip(made, sent, strict=True)
    rows = 0
    for source, group in itertools.groupby(pairs, key=lambda pair: pair[1].part):
        with pq.ParquetWriter(parts[source], work.schema) as writer:
            for packed, _ in group:
                with pa.ipc.open_stream(packed) as stream:
                    for batch in stream:
                        writer.write_batch(batch)
                        rows += batch.num_rows
    for target in parts.values():
        if not target.exists():  # of a part without rows
            pq.ParquetWriter(target, work.schema).close()
    _check_count(rows, parts)
    return rows


def _work(
    parts: Mapping[Path, Path],
    raw_features: Sequence[Feature],
    transformed: Sequence[Feature],
    weight_column: str,
    group_column: str,
) -> Transforming:
    kind = None
    if group_column:
        kind = pq.read_schema(next(iter(parts))).field(group_column).type
    return Transforming(tuple(raw_features), tuple(transformed), weight_column, group_column, kind)


def _check_count(rows: int, parts: Mapping[Path, Path]) -> None:
    expected = sum(pq.read_metadata(source).num_rows for source in parts)
    written = sum(pq.read_metadata(target).num_rows for target in parts.values())
    if not rows == expected == written:
        raise EdgelineError(
            f"{rows} rows were transformed and {written} written of {expected}: run again, and "
            "report it if it stays so."
        )


@dataclass(frozen=True)
class Transforming:
    """Raw rows to transformed ones, as `edgeline.beam.spreading.SliceWork` too."""

    raw_features: tuple[Feature, ...]
    transformed: tuple[Feature, ...]
    weight_column: str
    group_column: str = ""
    group_type: pa.DataType | None = None

    @property
    def columns(self) -> list[str]:
        """The raw columns that are read."""
        beside = [each for each in (self.weight_column, self.group_column) if each]
        return list(dict.fromkeys([*(feature.name for feature in self.raw_features), *beside]))

    @property
    def schema(self) -> pa.Schema:
        """Of the transformed rows."""
        fields = [(f.name, _arrow_type(f)) for f in self.transformed]
        if self.weight_column:
            fields.append((self.weight_column, pa.float64()))
        if self.group_column:
            fields.append((fairness.GROUP, self.group_type))
        return pa.schema(fields)

    def load(self, files: Path) -> Callable[[spreading.Rows, str], bytes]:
        call = self.called(SavedGraph(files))
        return lambda rows, where: slices.pack([call(batch, where) for batch in rows])

    def called(self, graph: SavedGraph) -> Callable[[pa.RecordBatch, str], pa.RecordBatch]:
        """A function of raw rows and a word for where they are from.

        Raises:
            EdgelineError: (the function) the graph fails on the rows, or gives other rows.
        """
        schema = self.schema

        def call(batch: pa.RecordBatch, where: str) -> pa.RecordBatch:
            try:
                outputs = graph(raw.to_numpy(batch, self.raw_features))
            except EdgelineError as error:
                raise EdgelineError(f"{where}: {error}") from error
            columns = []
            for feature in self.transformed:
                values = outputs[feature.name]
                if len(values) != batch.num_rows:
                    raise EdgelineError(
                        f"preprocessing_fn's output {feature.name!r} has {len(values)} rows for "
                        f"the {batch.num_rows} of a batch of {where}: give one row for each."
                    )
                columns.append(_to_arrow(values, feature))
            if self.weight_column:
                columns.append(pa.array(example_weights.of(batch, self.weight_column)))
            if self.group_column:
                columns.append(batch.column(self.group_column))
            return pa.RecordBatch.from_arrays(columns, schema=schema)

        return call


def _arrow_type(feature: Feature) -> pa.DataType:
    kind = ARROW_TYPES[feature.dtype]
    return kind if feature.shape == (1,) else pa.list_(kind, int(np.prod(feature.shape)))


def _to_arrow(values: Array, feature: Feature) -> pa.Array:
    flat = pa.array(values.ravel(), ARROW_TYPES[feature.dtype], from_pandas=False)
    if feature.shape == (1,):
        return flat
    return pa.FixedSizeListArray.from_arrays(flat, int(np.prod(feature.shape)))
