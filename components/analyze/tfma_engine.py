"""The engine beyond a single machine: TFMA on Beam, fed with our predictions.

The rows are cut into slices, and the models packed into one file; each worker predicts a slice in
batches and hands TFMA one extract a row. Metrics, slices and intervals are TFMA's own. What workers
read and write lies in a folder that they reach by its address (see `edgeline.beam.exchange`).
"""

from __future__ import annotations

import copy
import itertools
import json
import shutil
import sys
import tempfile
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgeline.beam import runner as runners
from edgeline.beam import slices as cut
from edgeline.beam import spreading
from edgeline.beam.exchange import Exchange
from edgeline.beam.workers import Workers
from edgeline.components.analyze import curves, exact, names, predict, slices, worst_rows
from edgeline.components.analyze.decision_goal import DecisionGoal
from edgeline.components.analyze.worst_rows import WrongRow
from edgeline.errors import EdgelineError
from edgeline.stores.again import PassingError

if TYPE_CHECKING:
    import apache_beam as beam
    import tensorflow_model_analysis as tfma
    from tensorflow_model_analysis.proto import metrics_for_slice_pb2

BATCH_ROWS = 1024  # of a slice at least: counting costs TFMA about 1 ms a row


def evaluate(
    rows: int,
    model_paths: dict[str, str],
    task: str,
    eval_config: tfma.EvalConfig,
    slice_columns: list[str],
    seed: int,
    goals: Sequence[DecisionGoal],
    workers: Workers,
) -> tuple[
    list[metrics_for_slice_pb2.MetricsForSlice], curves.Curves, exact.Overall, list[WrongRow], None
]:
    """As `vectorised_engine.evaluate`, by Beam's workers, which leave the rows where they are.

    The seed makes intervals repeatable in this process only. A job that a lost worker ends is run
    again, up to `spreading.ATTEMPTS` times, from the predictions on: TFMA's sums are of all rows.

    Raises:
        ModelEndedError: as of `predict.loaded`.
        EdgelineError: of the models or the data; or the last job failed, or lost rows.
    """
    from tensorflow_model_analysis.proto import metrics_for_slice_pb2

    exchange = workers.exchange
    evaluation = uuid.uuid4().hex  # one of several on the same rows
    files = _files(model_paths)
    with tempfile.TemporaryDirectory(prefix="edgeline-") as folder:
        for path, name in files.items():
            shutil.copytree(path, Path(folder, name))
        spreading.give(exchange, evaluation, Path(folder))
    weight_columns = names.weight_columns(eval_config)
    step = Predicting(
        exchange,
        evaluation,
        dict(model_paths),
        files,
        task,
        tuple(slice_columns),
        weight_columns,
    )
    for attempt in range(1, spreading.ATTEMPTS + 1):
        result = f"made/{evaluation}-{attempt}"
        pipeline = workers.runner.pipeline()
        _build(pipeline, step, workers, eval_config, seed, goals, result)
        failure: EdgelineError | None = None
        try:
            runners.run(pipeline)
        except EdgelineError as error:
            failure = error
        except Exception as error:  # each runner has its own family
            failure = runners.failure(workers.runner, error)
        for name in exchange.names(f"refused/{evaluation}"):
            raise EdgelineError(exchange.get(name).decode())
        for name in exchange.names(f"ended/{evaluation}"):
            raise predict.ModelEndedError(exchange.get(name).decode())
        if failure is None:
            break
        if attempt == spreading.ATTEMPTS or not spreading.is_back(workers.runner):
            raise failure
        told = f"{failure} Evaluating again ({attempt + 1} of {spreading.ATTEMPTS})."
        print(told, file=sys.stderr, flush=True)
    found = [
        metrics_for_slice_pb2.MetricsForSlice.FromString(record)
        for record in _records(exchange.get(f"{result}/metrics"))
    ]
    table = np.frombuffer(exchange.get(f"{result}/table"), np.float64)
    overall = exact.Overall.from_json(json.loads(exchange.get(f"{result}/counts")))
    worst = [WrongRow(**each) for each in json.loads(exchange.get(f"{result}/worst"))]
    sums, cells = table[: curves.SUMS], table[curves.SUMS :]
    weighted = bool(weight_columns.keys() & {next(iter(model_paths))})
    drawn = curves.Curves(task, cells.reshape(_table_shape(task, len(cells))), sums, weighted)
    predict.check_count(drawn.rows, rows, "Prediction on Beam")
    _check_slices(found, rows)
    return found, drawn, overall, worst, None


def _files(model_paths: Mapping[str, str]) -> dict[str, str]:
    """By the path of each model what its folder is called in the exchange."""
    return {
        path: f"model-{place}" for place, path in enumerate(dict.fromkeys(model_paths.values()))
    }


def _build(
    pipeline: beam.Pipeline,
    step: Predicting,
    workers: Workers,
    eval_config: tfma.EvalConfig,
    seed: int,
    goals: Sequence[DecisionGoal],
    result: str,
) -> None:
    import apache_beam as beam
    from tensorflow_model_analysis.evaluators import metrics_plots_and_validations_evaluator
    from tensorflow_model_analysis.extractors import slice_key_extractor
    from tensorflow_model_analysis.writers import metrics_plots_and_validations_writer as writer

    from edgeline.components.analyze.slice_specs import ExactSpec

    exchange = workers.exchange
    firsts = itertools.accumulate((each.rows for each in workers.slices), initial=0)
    tasks = [
        (each.number, each.name, each.where, first)
        for each, first in zip(workers.slices, firsts, strict=False)
    ]
    extracts, tables, counts, wrong = (
        pipeline
        | "Slices" >> beam.Create(tasks)
        | "Spread" >> beam.Reshuffle()
        | "Predict" >> beam.FlatMap(step).with_outputs("tables", "counts", "wrong", main="extracts")
    )
    evaluator = metrics_plots_and_validations_evaluator.MetricsPlotsAndValidationsEvaluator(
        eval_config=_known_everywhere(eval_config), random_seed_for_testing=seed
    )
    evaluated = (
        extracts
        | "Slice"
        >> slice_key_extractor.SliceKeyExtractor(
            slice_spec=[ExactSpec(each) for each in eval_config.slicing_specs], materialize=False
        ).ptransform
        | "Evaluate" >> evaluator.ptransform
    )
    _ = (
        evaluated["metrics"]
        | "ToProto"
        >> beam.Map(
            lambda found: writer.convert_slice_metrics_to_proto(found, None).SerializeToString()
        )
        | "AllMetrics" >> beam.combiners.ToList()
        | "WriteMetrics"
        >> beam.Map(lambda records: exchange.put(f"{result}/metrics", _joined(records)))
    )
    _ = (
        tables
        | "AddTables" >> beam.CombineGlobally(_added).without_defaults()
        | "WriteTable"
        >> beam.Map(
            lambda table: exchange.put(f"{result}/table", np.asarray(table, float).tobytes())
        )
    )
    _ = (
        counts
        | "MergeCounts" >> beam.CombineGlobally(exact.merged).without_defaults()
        | "WriteCounts"
        >> beam.Map(
            lambda merged: exchange.put(
                f"{result}/counts", json.dumps(exact.overall(merged, goals).to_json()).encode()
            )
        )
    )
    _ = (
        wrong
        | "MergeWrong" >> beam.CombineGlobally(worst_rows.merged, step.task).without_defaults()
        | "WriteWrong"
        >> beam.Map(
            lambda rows: exchange.put(
                f"{result}/worst", json.dumps([asdict(row) for row in rows]).encode()
            )
        )
    )


def _known_everywhere(eval_config: tfma.EvalConfig) -> tfma.EvalConfig:
    """The config as workers understand it, which do not know what is registered in this process."""
    known = copy.deepcopy(eval_config)
    for spec in known.metrics_specs:
        for metric in spec.metrics:
            if metric.class_name == "FairnessIndicators":
                metric.module = "edgeline.components.analyze.fairness_metric"
    return known


class Predicting:
    """A slice to one extract per row; per batch a table of curves, what is exact and the rows that
    are furthest off."""

    def __init__(
        self,
        exchange: Exchange,
        evaluation: str,
        model_paths: dict[str, str],
        files: dict[str, str],
        task: str,
        slice_columns: tuple[str, ...],
        weight_columns: dict[str, str],
    ) -> None:
        self.exchange, self.evaluation = exchange, evaluation
        self.model_paths, self.files = model_paths, files
        self.task, self.slice_columns = task, slice_columns
        self.weight_columns = weight_columns

    def __call__(self, task: tuple[int, str, str, int]) -> Iterator[Any]:
        number, name, where, first = task
        try:
            yield from self._predicted(name, where, first)
        except PassingError:  # of the store: the job is run again
            raise
        except EdgelineError as error:  # another worker would find the same
            kind = "ended" if isinstance(error, predict.ModelEndedError) else "refused"
            self.exchange.put(f"{kind}/{self.evaluation}/{number:06d}", str(error).encode())

    def _predicted(self, name: str, where: str, first: int) -> Iterator[Any]:
        """Args: first: the place in the split of the slice's first row."""
        import apache_beam as beam

        run = spreading.ready(self.exchange, self.evaluation, self._load)
        for batch in cut.receive(self.exchange, name):
            found = run(batch, where)
            model, candidate = next(iter(found.predictions.items()))
            drawn = curves.of(self.task, found.label, candidate, found.weights.get(model))
            table = np.concatenate([drawn.sums, drawn.table.ravel()])
            yield beam.pvalue.TaggedOutput("tables", table)
            counted = exact.counted(self.task, found.label, found.predictions, found.weights)
            yield beam.pvalue.TaggedOutput("counts", counted)
            wrong = worst_rows.find(self.task, found.label, found.predictions, first)
            yield beam.pvalue.TaggedOutput("wrong", wrong)
            first += len(batch)
            yield from _extracts(found, list(self.slice_columns))

    def _load(self, folder: Path) -> predict.Predict:
        """The models as one function, whose messages name them by the paths that the task has."""
        here = {model: str(folder / self.files[path]) for model, path in self.model_paths.items()}
        named = {here[model]: path for model, path in self.model_paths.items()}
        run, _ = predict.loaded(here, self.task, self.weight_columns)

        def predicted(batch: Any, where: str) -> predict.Predicted:
            try:
                return run(batch, where)
            except EdgelineError as error:
                sentence = str(error)
                for path, told in named.items():
                    sentence = sentence.replace(path, told)
                ended = isinstance(error, predict.ModelEndedError)
                raise (predict.ModelEndedError if ended else EdgelineError)(sentence) from error

        return predicted


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


def _added(tables: Any) -> Any:
    total = None
    for table in tables:
        total = table if total is None else total + table
    return np.zeros(()) if total is None else total


def _joined(records: Sequence[bytes]) -> bytes:
    return b"".join(len(record).to_bytes(8, "little") + record for record in records)


def _records(joined: bytes) -> Iterator[bytes]:
    place = 0
    while place < len(joined):
        end = place + 8 + int.from_bytes(joined[place : place + 8], "little")
        yield joined[place + 8 : end]
        place = end


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
