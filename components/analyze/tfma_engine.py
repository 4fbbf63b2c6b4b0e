"""The engine beyond a single machine: TFMA on Beam, fed with our predictions.

Each worker takes whole Parquet files, predicts in large batches and hands TFMA one
extract a row. Metrics, slices and intervals are TFMA's own. The artifacts, and the folder
that `--temp_location` names, must lie where every worker can read and write them.
"""

from __future__ import annotations

import base64
import contextlib
import json
import tempfile
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgeline.components.analyze import curves, exact, names, predict, slices
from edgeline.components.analyze.decision_goal import DecisionGoal
from edgeline.components.transform import beam_pipeline

if TYPE_CHECKING:
    import apache_beam as beam
    import tensorflow_model_analysis as tfma
    from tensorflow_model_analysis.proto import metrics_for_slice_pb2


def evaluate(
    parts: list[Path],
    rows: int,
    model_paths: dict[str, str],
    task: str,
    eval_config: tfma.EvalConfig,
    slice_columns: list[str],
    seed: int,
    goals: Sequence[DecisionGoal],
    beam_options: list[str],
) -> tuple[list[metrics_for_slice_pb2.MetricsForSlice], curves.Curves, exact.Overall]:
    """As `vectorised_engine.evaluate`, on the runner that `beam_options` name.

    Without a `--runner` (or with the DirectRunner) the in-memory runner of this process is
    used. The seed makes intervals repeatable on that runner only.
    """
    import apache_beam as beam
    from tensorflow_model_analysis.evaluators import metrics_plots_and_validations_evaluator
    from tensorflow_model_analysis.extractors import slice_key_extractor
    from tensorflow_model_analysis.proto import metrics_for_slice_pb2
    from tensorflow_model_analysis.writers import metrics_plots_and_validations_writer as writer

    pipeline = beam_pipeline.create(beam_options)
    with _shared_folder(pipeline) as folder:
        extracts, tables, counts = (
            pipeline
            | "Parts" >> beam.Create([str(part) for part in parts])
            | "Spread" >> beam.Reshuffle()
            | "Predict"
            >> beam.ParDo(
                _predicting(model_paths, task, slice_columns, names.weight_columns(eval_config))
            ).with_outputs("tables", "counts", main="extracts")
        )
        evaluator = metrics_plots_and_validations_evaluator.MetricsPlotsAndValidationsEvaluator(
            eval_config=eval_config, random_seed_for_testing=seed
        )
        evaluation = (
            extracts
            | "Slice"
            >> slice_key_extractor.SliceKeyExtractor(
                eval_config=eval_config, materialize=False
            ).ptransform
            | "Evaluate" >> evaluator.ptransform
        )
        _ = (
            evaluation["metrics"]
            | "ToProto"
            >> beam.Map(
                lambda found: _packed(
                    writer.convert_slice_metrics_to_proto(found, None).SerializeToString()
                )
            )
            | "WriteMetrics" >> beam.io.WriteToText(f"{folder}/metrics", num_shards=1)
        )
        _ = (
            tables
            | "AddTables" >> beam.CombineGlobally(_added).without_defaults()
            | "PackTable" >> beam.Map(lambda table: _packed(np.asarray(table, float).tobytes()))
            | "WriteTable" >> beam.io.WriteToText(f"{folder}/table", num_shards=1)
        )
        _ = (
            counts
            | "MergeCounts" >> beam.CombineGlobally(exact.merged).without_defaults()
            | "PackCounts"
            >> beam.Map(
                lambda merged: _packed(json.dumps(exact.overall(merged, goals).to_json()).encode())
            )
            | "WriteCounts" >> beam.io.WriteToText(f"{folder}/counts", num_shards=1)
        )
        pipeline.run().wait_until_finish()
        found = [
            metrics_for_slice_pb2.MetricsForSlice.FromString(record)
            for record in _records(folder, "metrics")
        ]
        table = np.frombuffer(next(_records(folder, "table")), np.float64)
        overall = exact.Overall.from_json(json.loads(next(_records(folder, "counts"))))
    sums, cells = table[: curves.SUMS], table[curves.SUMS :]
    weighted = bool(names.weight_columns(eval_config).keys() & {next(iter(model_paths))})
    drawn = cells.reshape(_table_shape(task, len(cells)))
    result = curves.Curves(task, drawn, sums, weighted)
    predict.check_count(result.rows, rows, "Prediction on Beam")
    _check_slices(found, rows)
    return found, result, overall


def _predicting(
    model_paths: dict[str, str],
    task: str,
    slice_columns: list[str],
    weight_columns: dict[str, str],
) -> Any:
    import apache_beam as beam

    class Predicting(beam.DoFn):  # type: ignore[misc]
        """A Parquet file to one extract a row, and one table of curves a batch."""

        def setup(self) -> None:
            self.run, self.columns = predict.loaded(model_paths, task, weight_columns)

        def process(self, part: str) -> Iterator[Any]:
            columns = sorted({*self.columns, *slice_columns})
            for batch in predict.stream(self.run, [Path(part)], columns):
                model, candidate = next(iter(batch.predictions.items()))
                drawn = curves.of(task, batch.label, candidate, batch.weights.get(model))
                table = np.concatenate([drawn.sums, drawn.table.ravel()])
                yield beam.pvalue.TaggedOutput("tables", table)
                found = exact.counted(task, batch.label, batch.predictions, batch.weights)
                yield beam.pvalue.TaggedOutput("counts", found)
                yield from _extracts(batch, slice_columns)

    return Predicting()


def _extracts(batch: predict.Predicted, slice_columns: list[str]) -> Iterator[dict[str, Any]]:
    """TFMA's input: features, labels and predictions of one row each."""
    from tensorflow_model_analysis import constants

    values = {name: slices.row_values(batch.raw.column(name), name) for name in slice_columns}
    rows = len(batch.label)
    predictions = {model: scores.reshape(rows, -1) for model, scores in batch.predictions.items()}
    alone = next(iter(predictions)) if len(predictions) == 1 else None
    for row in range(rows):
        scores = {model: found[row] for model, found in predictions.items()}
        weights = {model: found[row : row + 1] for model, found in batch.weights.items()}
        yield {
            constants.FEATURES_KEY: {
                name: slices.as_feature(column[row]) for name, column in values.items()
            },
            constants.LABELS_KEY: batch.label[row : row + 1],
            constants.PREDICTIONS_KEY: scores if alone is None else scores[alone],
            **_weighing(weights, alone),
        }


def _weighing(weights: dict[str, Any], alone: str | None) -> dict[str, Any]:
    """What TFMA takes for the example weights of a row: by model name where there are two."""
    from tensorflow_model_analysis import constants

    if not weights:
        return {}
    return {constants.EXAMPLE_WEIGHTS_KEY: weights if alone is None else weights[alone]}


@contextlib.contextmanager
def _shared_folder(pipeline: beam.Pipeline) -> Iterator[str]:
    """A new folder below `--temp_location` (or this machine's), removed in the end."""
    from apache_beam.io.filesystems import FileSystems
    from apache_beam.options.pipeline_options import GoogleCloudOptions

    place = pipeline.options.view_as(GoogleCloudOptions).temp_location or tempfile.gettempdir()
    folder = FileSystems.join(place, f"edgeline-analyze-{uuid.uuid4().hex}")
    FileSystems.mkdirs(folder)
    try:
        yield folder
    finally:
        FileSystems.delete([folder])


def _packed(record: bytes) -> str:
    return base64.b64encode(record).decode()


def _added(tables: Any) -> Any:
    total = None
    for table in tables:
        total = table if total is None else total + table
    return np.zeros(()) if total is None else total


def _records(folder: str, name: str) -> Iterator[bytes]:
    from apache_beam.io.filesystems import FileSystems

    [found] = FileSystems.match([f"{folder}/{name}-*"])
    for file in found.metadata_list:
        with FileSystems.open(file.path) as stream:
            yield from map(base64.b64decode, stream.read().splitlines())


def _table_shape(task: str, cells: int) -> tuple[int, ...]:
    if task == "binary_classification":
        return (3, curves.BINS)
    side = round(cells**0.5)
    return (side, side)


def _check_slices(found: list[metrics_for_slice_pb2.MetricsForSlice], rows: int) -> None:
    """All rows must be in the slice of all rows: TFMA counts them itself where asked to."""
    for proto in found:
        if not proto.slice_key.single_slice_keys:
            for entry in proto.metric_keys_and_values:
                key = entry.key
                if key.name == "example_count" and not key.is_diff | key.example_weighted.value:
                    predict.check_count(round(entry.value.double_value.value), rows, "TFMA")
