"""The engine of a single machine: predictions kept as columns, metrics a slice at a time.

Of a binary task 5 bytes per row are kept, and 2 of each slice column; all else is of the size of a
batch, or of a slice.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from edgeline.artifacts.slice_values import SliceValue
from edgeline.components.analyze import (
    confidence,
    curves,
    exact,
    metrics,
    names,
    predict,
    slices,
    worst_rows,
)
from edgeline.components.analyze.decision_goal import DecisionGoal
from edgeline.components.analyze.evaluation_config import BASELINE
from edgeline.components.analyze.worst_rows import WrongRow
from edgeline.formats.dtypes import Array

if TYPE_CHECKING:
    import tensorflow_model_analysis as tfma
    from tensorflow_model_analysis.proto import metrics_for_slice_pb2

CHUNK_ROWS = 16_384  # with their weights in each resample
PIECE_ROWS = 1 << 18


@dataclass(frozen=True)
class Columns:
    """The evaluated rows.

    label: uint8 of a binary task, else float32; predictions: float32; weights: float64 by model
    name, of those that have some; codes: of slice values.
    """

    label: Array
    predictions: dict[str, npt.NDArray[np.float32]]
    weights: dict[str, npt.NDArray[np.float64]]
    codes: dict[str, slices.Codes]
    values: dict[str, list[SliceValue]]


def evaluate(
    parts: list[Path],
    rows: int,
    model_paths: dict[str, str],
    task: str,
    eval_config: tfma.EvalConfig,
    slice_columns: list[str],
    seed: int,
    goals: Sequence[DecisionGoal],
) -> tuple[
    list[metrics_for_slice_pb2.MetricsForSlice],
    curves.Curves,
    exact.Overall,
    list[WrongRow],
    Columns,
]:
    """Metrics of every slice as MetricsForSlice protos, the curves and what is exact of all rows,
    the rows that are furthest off, and the evaluated rows.

    Args:
        parts: Parquet files of raw rows.
        rows: how many rows they hold; fewer or more predictions are an error.
        model_paths: `model/v1` folders by model name, the candidate first.
        task: one of `edgeline.artifacts.models.TASKS`.
        eval_config: EvalConfig proto.
        slice_columns: raw columns to slice by.
        seed: of the bootstrap.
        goals: what decision thresholds are chosen by.
    """
    planned = metrics.plans(eval_config)
    weight_columns = names.weight_columns(eval_config)
    columns = _predicted(parts, rows, model_paths, task, slice_columns, weight_columns)
    with_intervals = eval_config.options.compute_confidence_intervals.value
    found = [
        _slice_metrics(key, members, columns, planned, with_intervals, seed)
        for key, members in slices.rows_of_slices(
            eval_config.slicing_specs, columns.codes, columns.values, rows
        )
    ]
    candidate = next(iter(model_paths))
    drawn = None
    counted: exact.Counted = {}
    for piece in _chunks(slice(None), rows, PIECE_ROWS):
        label = columns.label[piece].astype(np.float32)
        scores = {model: values[piece] for model, values in columns.predictions.items()}
        weights = {model: values[piece] for model, values in columns.weights.items()}
        of_piece = curves.of(task, label, scores[candidate], weights.get(candidate))
        drawn = of_piece if drawn is None else drawn + of_piece
        counted = exact.merged([counted, exact.counted(task, label, scores, weights)])
    assert drawn is not None  # a split without rows is refused before
    worst = worst_rows.find(task, columns.label, columns.predictions)
    return found, drawn, exact.overall(counted, goals), worst, columns


def _predicted(
    parts: list[Path],
    rows: int,
    model_paths: dict[str, str],
    task: str,
    slice_columns: list[str],
    weight_columns: dict[str, str],
) -> Columns:
    run, taken = predict.loaded(model_paths, task, weight_columns)
    label = np.empty(rows, np.uint8 if task == "binary_classification" else np.float32)
    weights = {model: np.empty(rows, np.float64) for model in weight_columns}
    predictions: dict[str, npt.NDArray[np.float32]] = {}
    codes: dict[str, slices.Codes] = {name: np.empty(rows, np.int16) for name in slice_columns}
    dictionaries = {name: slices.Dictionary() for name in slice_columns}
    done = 0
    for batch in predict.stream(run, parts, sorted({*taken, *slice_columns})):
        here = slice(done, done + len(batch.label))
        label[here] = batch.label
        for model, values in batch.predictions.items():
            if model not in predictions:
                predictions[model] = np.empty((rows, *values.shape[1:]), np.float32)
            predictions[model][here] = values
        for model, found in batch.weights.items():
            weights[model][here] = found
        for name in slice_columns:
            codes[name][here] = dictionaries[name].encode(batch.raw.column(name), name)
        done += len(batch.label)
    predict.check_count(done, rows, "Prediction")
    met = {name: dictionary.values for name, dictionary in dictionaries.items()}
    return Columns(label, predictions, weights, codes, met)


def _slice_metrics(
    key: slices.SliceKey,
    members: slices.Members | slice,
    columns: Columns,
    planned: list[metrics.MetricPlan],
    with_intervals: bool,
    seed: int,
) -> object:
    """One slice's MetricsForSlice proto."""
    from tensorflow_model_analysis.writers import metrics_plots_and_validations_writer as writer

    random = confidence.generator(seed, slices.name_of(key))
    statistics: dict[_Counting, dict[metrics.Statistic, Array]] = {}
    wanted: dict[_Counting, list[metrics.Statistic]] = {}
    for plan in planned:
        wanted.setdefault(_counting(plan), []).extend(plan.statistics)
    for chunk in _chunks(members, len(columns.label), CHUNK_ROWS):
        drawn = confidence.weights(random, len(columns.label[chunk]), with_intervals)
        label = columns.label[chunk].astype(np.float32)
        for counting, needed in wanted.items():
            model, weighted = counting
            weight = drawn
            if weighted and model in columns.weights:
                weight = drawn * columns.weights[model][chunk]
            rows = metrics.SliceRows(label, columns.predictions[model][chunk], weight)
            metrics.accumulate(needed, rows, statistics.setdefault(counting, {}))
    samples = confidence.SAMPLES + 1 if with_intervals else 1
    values = [_sample_metrics(planned, statistics, sample) for sample in range(samples)]
    result = values[0]
    if with_intervals:
        plain = {plan.key for plan in planned if not plan.interval}
        result = {
            name: value
            if name in plain
            else confidence.with_interval(value, [sample[name] for sample in values[1:]])
            for name, value in result.items()
        }
    return writer.convert_slice_metrics_to_proto((key, result), None)


_Counting = tuple[str, bool]  # a model's name, and whether example weights count


def _counting(plan: metrics.MetricPlan) -> _Counting:
    return plan.key.model_name, bool(plan.key.example_weighted)


def _sample_metrics(
    planned: list[metrics.MetricPlan],
    statistics: dict[_Counting, dict[metrics.Statistic, Array]],
    sample: int,
) -> dict[object, object]:
    """Values of every metric of every model in one resample, and the changes to the baseline."""
    found: dict[Any, Any] = {}
    with np.errstate(divide="ignore", invalid="ignore"):
        for plan in planned:
            own = statistics[_counting(plan)]
            found.update(plan.value(*(own[statistic][sample] for statistic in plan.statistics)))
        for key in list(found):
            baseline = key._replace(model_name=BASELINE)
            if key != baseline and baseline in found:
                found[key.make_diff_key()] = found[key] - found[baseline]
    return found


def _chunks(members: slices.Members | slice, rows: int, most: int) -> Iterator[Any]:
    if isinstance(members, slice):
        for start in range(0, rows, most):
            yield slice(start, min(start + most, rows))
    else:
        for start in range(0, len(members), most):
            yield members[start : start + most]
