"""Application: Parquet through a transform graph to Parquet, part by part, in order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from edgeline.artifacts import batches, example_weights
from edgeline.artifacts import features as raw
from edgeline.artifacts.ahead import ahead
from edgeline.artifacts.features import Feature
from edgeline.components.transform import beam_pipeline
from edgeline.components.transform.graph import ARROW_TYPES
from edgeline.components.transform.saved_graph import SavedGraph
from edgeline.errors import EdgelineError
from edgeline.formats.dtypes import Array

ROWS = "rows_transformed"


def apply(
    graph: Path,
    parts: Mapping[Path, Path],
    raw_features: Sequence[Feature],
    transformed: Sequence[Feature],
    beam_options: Sequence[str] = (),
    weight_column: str = "",
    loaded: SavedGraph | None = None,
) -> int:
    """Write each source part's transformed rows, in their order, to its target part.

    Args:
        graph: a folder in the layout of `tft.TFTransformOutput`.
        parts: target Parquet file by source Parquet file.
        raw_features: what the graph takes.
        transformed: what to write, one column each ([batch, 1] plain, else fixed-size lists).
        beam_options: see `beam_pipeline.create`.
        weight_column: of the source, written beside the transformed columns as float64; "": none.
        loaded: the graph, where it is loaded: of thousands of features that takes seconds.

    Returns:
        The number of rows written.

    Raises:
        EdgelineError: the graph fails on some rows, or rows were lost.
    """
    work = [(str(source), str(target)) for source, target in parts.items()]
    step = _TransformPart(str(graph), list(raw_features), list(transformed), weight_column)
    step.loaded = loaded
    rows = _on_beam(step, work, beam_options) if beam_options else sum(map(step, work))
    expected = sum(pq.read_metadata(source).num_rows for source in parts)
    written = sum(pq.read_metadata(target).num_rows for target in parts.values())
    if not rows == expected == written:
        raise EdgelineError(
            f"Beam transformed {rows} and wrote {written} of {expected} rows: "
            "the runner lost some, use another runner."
        )
    return rows


def _on_beam(
    step: _TransformPart, work: Sequence[tuple[str, str]], beam_options: Sequence[str]
) -> int:
    import apache_beam as beam

    pipeline = beam_pipeline.create(beam_options)
    pipeline | beam.Create(work) | beam.Reshuffle() | beam.Map(step) | beam.Map(_count)
    return beam_pipeline.run(pipeline, [ROWS])[ROWS]


def _count(rows: int) -> None:
    from apache_beam.metrics import Metrics

    Metrics.counter("edgeline", ROWS).inc(rows)


class _TransformPart:
    """One part through the graph, which is loaded once a worker; gives its number of rows."""

    def __init__(
        self,
        graph: str,
        raw_features: list[Feature],
        transformed: list[Feature],
        weight_column: str,
    ) -> None:
        self.graph, self.raw_features, self.transformed = graph, raw_features, transformed
        self.weight_column = weight_column
        self.loaded: SavedGraph | None = None

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "loaded": None}

    def __call__(self, work: tuple[str, str]) -> int:
        self.loaded = self.loaded or SavedGraph(Path(self.graph))
        source, target = work
        fields = [(f.name, _arrow_type(f)) for f in self.transformed]
        if self.weight_column:
            fields.append((self.weight_column, pa.float64()))
        schema = pa.schema(fields)
        rows = 0
        with pq.ParquetFile(source) as file, pq.ParquetWriter(target, schema) as writer:
            read = ahead(batches.stream(file))
            for batch in ahead(self._transform(batch, schema, Path(source)) for batch in read):
                writer.write_batch(batch)
                rows += batch.num_rows
        return rows

    def _transform(self, batch: pa.RecordBatch, schema: pa.Schema, source: Path) -> pa.RecordBatch:
        assert self.loaded is not None
        try:
            outputs = self.loaded(raw.to_numpy(batch, self.raw_features))
        except EdgelineError as error:
            raise EdgelineError(f"{source.parent.name}/{source.name}: {error}") from error
        columns = []
        for feature in self.transformed:
            values = outputs[feature.name]
            if len(values) != batch.num_rows:
                raise EdgelineError(
                    f"preprocessing_fn's output {feature.name!r} has {len(values)} rows for the "
                    f"{batch.num_rows} of a batch of {source.parent.name}/{source.name}: "
                    "give one row for each."
                )
            columns.append(_to_arrow(values, feature))
        if self.weight_column:
            columns.append(pa.array(example_weights.of(batch, self.weight_column)))
        return pa.RecordBatch.from_arrays(columns, schema=schema)


def _arrow_type(feature: Feature) -> pa.DataType:
    kind = ARROW_TYPES[feature.dtype]
    return kind if feature.shape == (1,) else pa.list_(kind, int(np.prod(feature.shape)))


def _to_arrow(values: Array, feature: Feature) -> pa.Array:
    flat = pa.array(values.ravel(), ARROW_TYPES[feature.dtype], from_pandas=False)
    if feature.shape == (1,):
        return flat
    return pa.FixedSizeListArray.from_arrays(flat, int(np.prod(feature.shape)))
