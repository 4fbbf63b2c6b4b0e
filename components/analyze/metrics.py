"""TFMA's metrics on whole columns at once: the engine of a single machine.

A metric is made of statistics that add up over batches of rows (a histogram of scores,
counts at thresholds, sums), each computed for all bootstrap resamples in one numpy
operation. What TFMA derives from a confusion matrix (AUC, precision, F1, ... over thirty
metrics) is asked of TFMA's own metric objects; only the counting is done here. So names
and definitions are TFMA's, and the tests hold every value against TFMA's own run.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from edgeline.components.analyze import fairness
from edgeline.errors import EdgelineError
from edgeline.formats.dtypes import Array

if TYPE_CHECKING:
    import tensorflow_model_analysis as tfma
    from tensorflow_model_analysis.metrics import metric_types
    from tensorflow_model_analysis.proto import config_pb2

BUCKETS = 10_000  # of TFMA's calibration histogram, from which its AUC is computed
EPSILON = 1e-7


@dataclass(frozen=True)
class SliceRows:
    """Some rows of one slice, seen by one model.

    label: float32 [rows]; prediction: float32 [rows] or [rows, classes];
    weight: float64 [samples, rows], the count of each row in each resample, times its example
    weight where the metric is weighted.
    """

    label: Array
    prediction: Array
    weight: Array


Statistic = Callable[[SliceRows], Array]
"""Rows to [samples, ...]; the statistic of two batches is the sum of theirs."""


@dataclass(frozen=True)
class MetricPlan:
    """One metric of one model: which statistics it needs and what it makes of them."""

    key: metric_types.MetricKey
    statistics: tuple[Statistic, ...]
    value: Callable[..., dict[metric_types.MetricKey, Any]]
    interval: bool = True


def plans(eval_config: tfma.EvalConfig) -> list[MetricPlan]:
    """How to compute each metric of an EvalConfig, for each of its models.

    Raises:
        EdgelineError: a metric that only TFMA on Beam computes.
    """
    from tensorflow_model_analysis.metrics import metric_specs

    for index, spec in enumerate(eval_config.metrics_specs):
        for field in ("binarize", "aggregate", "query_key", "output_names"):
            if spec.HasField(field) if field in _MESSAGES else getattr(spec, field):
                raise EdgelineError(
                    f"eval_config.metrics_specs[{index}].{field} is computed by TFMA on Beam "
                    "only: give beam_options, for example ['--runner=DirectRunner']."
                )
    return [
        _plan(key, config, metric)
        for key, config, metric in metric_specs.keys_and_metrics_from_specs(
            eval_config, eval_config.metrics_specs
        )
    ]


_MESSAGES = ("binarize", "aggregate")


def accumulate(
    statistics: Iterable[Statistic], rows: SliceRows, total: dict[Statistic, Array]
) -> None:
    """Add every statistic of some rows to its total."""
    for statistic in dict.fromkeys(statistics):
        found = statistic(rows)
        total[statistic] = total[statistic] + found if statistic in total else found


# --- statistics -----------------------------------------------------------------------------


def count(rows: SliceRows) -> Array:
    """Rows, or what they weigh: [samples]."""
    total: Array = rows.weight.sum(axis=1)
    return total


def histogram(rows: SliceRows) -> Array:
    """Negatives and positives by score bucket, as TFMA's calibration histogram.

    Returns:
        float64 [samples, 2, 10002]: bucket 0 holds scores below 0, the last those from 1 on.
    """
    bucket = np.clip(rows.prediction.astype(np.float64) * BUCKETS + 1, 0, BUCKETS + 1).astype(int)
    cell = bucket + (rows.label == 1) * (BUCKETS + 2)
    cells = 2 * (BUCKETS + 2)
    return np.stack([np.bincount(cell, line, cells) for line in rows.weight]).reshape(
        len(rows.weight), 2, BUCKETS + 2
    )


@dataclass(frozen=True)
class CountsAbove:
    """True and false positives and negatives where the score is above each threshold."""

    thresholds: tuple[float, ...]

    def __call__(self, rows: SliceRows) -> Array:
        """Counts: [samples, 4, thresholds], in the order tp, tn, fp, fn."""
        positive = (rows.label == 1)[:, None]
        above = rows.prediction.astype(np.float64)[:, None] > np.array(self.thresholds)
        cells = (positive & above, ~positive & ~above, ~positive & above, positive & ~above)
        return np.stack([rows.weight @ cell.astype(np.float64) for cell in cells], axis=1)


@dataclass(frozen=True)
class ClassCounts:
    """Rows by actual and predicted class where the top score is above each threshold."""

    thresholds: tuple[float, ...]

    def __call__(self, rows: SliceRows) -> Array:
        """Counts: [samples, thresholds, classes, 1 + classes]; column 0 is 'no prediction'."""
        classes = rows.prediction.shape[1]
        top = rows.prediction.argmax(axis=1)
        score = rows.prediction.max(axis=1)
        undecided = np.zeros(len(top), bool)
        tables = []
        for threshold in self.thresholds:
            undecided = undecided | (score <= threshold)
            cell = rows.label.astype(int) * (classes + 1) + np.where(undecided, 0, top + 1)
            tables.append(
                [np.bincount(cell, line, classes * (classes + 1)) for line in rows.weight]
            )
        return np.array(tables).swapaxes(0, 1).reshape(len(rows.weight), -1, classes, classes + 1)


@dataclass(frozen=True)
class Total:
    """The sum of a value over the rows."""

    of: Callable[[SliceRows], Array]

    def __call__(self, rows: SliceRows) -> Array:
        """Sums: [samples]."""
        return rows.weight @ self.of(rows).astype(np.float64)


def label(rows: SliceRows) -> Array:
    return rows.label


def prediction(rows: SliceRows) -> Array:
    return rows.prediction


def squared_label(rows: SliceRows) -> Array:
    return rows.label.astype(np.float64) ** 2


def squared_prediction(rows: SliceRows) -> Array:
    return rows.prediction.astype(np.float64) ** 2


def label_times_prediction(rows: SliceRows) -> Array:
    return rows.label.astype(np.float64) * rows.prediction


def squared_error(rows: SliceRows) -> Array:
    return (rows.label.astype(np.float64) - rows.prediction) ** 2


def absolute_error(rows: SliceRows) -> Array:
    return np.abs(rows.label.astype(np.float64) - rows.prediction)


def binary_crossentropy(rows: SliceRows) -> Array:
    """Keras' formula in its precision: the score is kept 1e-7 away from 0 and 1."""
    epsilon = np.float32(EPSILON)
    score = np.clip(rows.prediction, epsilon, 1 - epsilon)
    positive = rows.label == 1
    return -np.log(np.where(positive, score, 1 - score) + epsilon)


def exact_binary_crossentropy(rows: SliceRows) -> Array:
    """TFMA's own formula: infinite for a certain and wrong score."""
    score = rows.prediction
    with np.errstate(divide="ignore", invalid="ignore"):
        loss: Array = -rows.label * np.log(score) - (1 - rows.label) * np.log(1 - score)
    return loss


def sparse_crossentropy(rows: SliceRows) -> Array:
    """Keras' formula: scores kept 1e-7 away from 0 and 1 and normalised."""
    epsilon = np.float32(EPSILON)
    scores = np.clip(rows.prediction, epsilon, 1 - epsilon)
    own = np.take_along_axis(scores, rows.label.astype(int)[:, None], axis=1)[:, 0]
    loss: Array = np.log(scores.sum(axis=1)) - np.log(own)
    return loss


def sparse_accuracy(rows: SliceRows) -> Array:
    right: Array = rows.prediction.argmax(axis=1) == rows.label
    return right


# --- from statistics to values --------------------------------------------------------------


def _ratio(part: float, whole: float) -> float:
    return float(part) / float(whole) if not math.isclose(whole, 0, abs_tol=1e-8) else math.nan


def _root(part: float, whole: float) -> float:
    return math.sqrt(_ratio(part, whole))


def _squared_correlation(
    rows: float, labels: float, scores: float, labels2: float, scores2: float, products: float
) -> float:
    if rows <= 0:
        return math.nan
    spread = (labels2 - labels**2 / rows) * (scores2 - scores**2 / rows)
    return float((products - labels * scores / rows) ** 2 / spread) if spread > 0 else math.nan


_MEANS: dict[str, tuple[Callable[..., float], tuple[Statistic, ...]]] = {
    "ExampleCount": (float, (count,)),
    "WeightedExampleCount": (float, (count,)),
    "MeanLabel": (_ratio, (Total(label), count)),
    "MeanPrediction": (_ratio, (Total(prediction), count)),
    "Calibration": (_ratio, (Total(prediction), Total(label))),
    "MeanSquaredError": (_ratio, (Total(squared_error), count)),
    "RootMeanSquaredError": (_root, (Total(squared_error), count)),
    "MeanAbsoluteError": (_ratio, (Total(absolute_error), count)),
    "BinaryCrossentropy": (_ratio, (Total(binary_crossentropy), count)),
    "BinaryCrossEntropy": (_ratio, (Total(exact_binary_crossentropy), count)),
    "SparseCategoricalAccuracy": (_ratio, (Total(sparse_accuracy), count)),
    "SparseCategoricalCrossentropy": (_ratio, (Total(sparse_crossentropy), count)),
    "SquaredPearsonCorrelation": (
        _squared_correlation,
        (
            count,
            Total(label),
            Total(prediction),
            Total(squared_label),
            Total(squared_prediction),
            Total(label_times_prediction),
        ),
    ),
}


def _plan(
    key: metric_types.MetricKey, config: config_pb2.MetricConfig, metric: config_pb2.MetricConfig
) -> MetricPlan:
    from tensorflow_model_analysis.metrics import confusion_matrix_metrics

    name, options = config.class_name, _options(metric)
    if name in _MEANS and not (options.keys() & {"label_smoothing", "from_logits"}):
        formula, statistics = _MEANS[name]
        return MetricPlan(
            key,
            statistics,
            lambda *found: {key: formula(*found)},
            interval=getattr(metric, "compute_confidence_interval", True),
        )
    if key.sub_key is None and not options.get("top_k") and options.get("class_id") is None:
        if name == "FairnessIndicators":
            counts = CountsAbove(tuple(options["thresholds"]))
            return MetricPlan(key, (counts,), partial(_fairness, key, counts.thresholds))
        if name == "ConfusionMatrixAtThresholds":
            counts = CountsAbove(tuple(options["thresholds"]))
            return MetricPlan(
                key, (counts,), lambda found: {key: _matrices(counts.thresholds, found.tolist())}
            )
        if name == "MultiClassConfusionMatrixAtThresholds":
            classes = ClassCounts(tuple(options.get("thresholds") or [0.5]))
            return MetricPlan(
                key, (classes,), lambda found: {key: _class_matrices(classes.thresholds, found)}
            )
        if isinstance(metric, confusion_matrix_metrics.ConfusionMatrixMetricBase):
            return _confusion_plan(key, metric, options)
    raise EdgelineError(
        f"Metric {name} with config {config.config or '{}'} is computed by TFMA on Beam only: "
        "give beam_options, for example ['--runner=DirectRunner']."
    )


def _options(metric: config_pb2.MetricConfig) -> dict[str, Any]:
    """The options of a metric that differ from 'not given'."""
    given = metric.get_config()
    return {name: value for name, value in given.items() if value not in (None, 0.0, False)}


def _confusion_plan(
    key: metric_types.MetricKey, metric: config_pb2.MetricConfig, options: dict[str, Any]
) -> MetricPlan:
    own = inspect.signature(metric._metric_value).parameters.keys() - {"key", "matrices"}
    value = partial(
        metric._metric_value, key=key, **{name: metric.kwargs[name] for name in sorted(own)}
    )
    thresholds, number = metric.kwargs.get("thresholds"), options.get("num_thresholds")
    if thresholds is None and number is None:
        thresholds = metric._default_threshold()
    if thresholds is not None:
        listed = [thresholds] if isinstance(thresholds, (int, float)) else list(thresholds)
        counts = CountsAbove(tuple(map(float, listed)))
        return MetricPlan(
            key,
            (counts,),
            lambda found: {key: value(matrices=_matrices(counts.thresholds, found.tolist()))},
        )
    levels = _interpolated_thresholds(int(number or BUCKETS))
    first = _first_bucket_above(levels)
    return MetricPlan(
        key,
        (histogram,),
        lambda found: {key: value(matrices=_matrices_of_histogram(levels, first, found))},
    )


def _interpolated_thresholds(number: int) -> list[float]:
    inner = [(i + 1) / (number - 1) for i in range(number - 2)]
    return [-EPSILON, *inner, 1 + EPSILON]


def _first_bucket_above(thresholds: Sequence[float]) -> Array:
    """For each threshold the first histogram bucket that TFMA counts as above it."""
    left = np.concatenate([[-np.inf], np.arange(BUCKETS) / BUCKETS, [np.inf]])
    return np.searchsorted(left, np.array(thresholds) + EPSILON, side="left")


def _matrices_of_histogram(thresholds: Sequence[float], first: Array, found: Array) -> Any:
    """TFMA's matrices from one resample's histogram [2, 10002]."""
    below = np.zeros((2, found.shape[1] + 1))
    np.cumsum(found, axis=1, out=below[:, 1:])
    first = first.copy()
    first[0] = 0  # TFMA counts scores below 0 into the first interval
    first[-1] = found.shape[1]  # and none above 1 + epsilon
    (tn, fn), (negatives, positives) = below[:, first], below[:, -1]
    return _matrices(thresholds, (positives - fn, tn, negatives - tn, fn))


def _matrices(thresholds: Sequence[float], counts: Any) -> Any:
    from tensorflow_model_analysis.metrics import binary_confusion_matrices

    return binary_confusion_matrices.Matrices(list(thresholds), *counts)


def _class_matrices(thresholds: Sequence[float], found: Array) -> Any:
    from tensorflow_model_analysis.metrics import multi_class_confusion_matrix_metrics as tfma

    return tfma.Matrices(
        {
            threshold: {
                tfma.MatrixEntryKey(int(actual), int(predicted) - 1): float(
                    table[actual, predicted]
                )
                for actual, predicted in np.argwhere(table)
            }
            for threshold, table in zip(thresholds, found, strict=True)
        }
    )


def _fairness(
    key: metric_types.MetricKey, thresholds: Sequence[float], found: Array
) -> dict[metric_types.MetricKey, float]:
    rates = fairness.names_and_rates(thresholds, _matrices(thresholds, found.tolist()))
    return {key._replace(name=name): value for name, value in rates}
