"""Fairness indicators: the rates of the confusion matrix at several thresholds, slice by slice.

Names and formulas are those of the Fairness Indicators metric that TFMA used to carry:
`fairness_indicators_metrics/false_positive_rate@0.5`. TFMA 0.52 no longer holds it, so it
is registered here, for both engines, as a metric made of TFMA's own confusion matrices.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

PREFIX = "fairness_indicators_metrics"
DEFAULT_THRESHOLDS = tuple(tenth / 10 for tenth in range(1, 10))


def names_and_rates(thresholds: Sequence[float], matrices: Any) -> Iterator[tuple[str, float]]:
    """Name and value of every indicator at every threshold.

    Args:
        thresholds: decision thresholds, those of `matrices`.
        matrices: TFMA's `Matrices`: lists of true and false positives and negatives.

    Yields:
        `fairness_indicators_metrics/<rate>@<threshold>` and the rate, NaN where its
        denominator is 0.
    """
    digits = max(max(len(str(threshold)) - 2, 1) for threshold in thresholds)
    for index, threshold in enumerate(thresholds):
        tp, tn = float(matrices.tp[index]), float(matrices.tn[index])
        fp, fn = float(matrices.fp[index]), float(matrices.fn[index])
        rates = {
            "false_positive_rate": (fp, fp + tn),
            "false_negative_rate": (fn, tp + fn),
            "true_positive_rate": (tp, tp + fn),
            "true_negative_rate": (tn, fp + tn),
            "positive_rate": (tp + fp, tp + fp + tn + fn),
            "negative_rate": (tn + fn, tp + fp + tn + fn),
            "false_discovery_rate": (fp, tp + fp),
            "false_omission_rate": (fn, tn + fn),
            "precision": (tp, tp + fp),
            "recall": (tp, tp + fn),
        }
        for name, (part, whole) in rates.items():
            yield f"{PREFIX}/{name}@{threshold:.{digits}f}", part / whole if whole else float("nan")


def register() -> type[object]:
    """The metric class `FairnessIndicators`, known to TFMA from now on."""
    from tensorflow_model_analysis.metrics import (
        binary_confusion_matrices,
        metric_types,
        metric_util,
    )

    known: dict[str, type[object]] = metric_types.registered_metrics()
    if "FairnessIndicators" in known:
        return known["FairnessIndicators"]

    def computations(
        thresholds: Sequence[float],
        name: str,
        model_name: str = "",
        output_name: str = "",
        example_weighted: bool = False,  # by name, or TFMA takes weights for unsupported
        **options: object,
    ) -> object:
        del name
        matrices = binary_confusion_matrices.binary_confusion_matrices(
            thresholds=list(thresholds),
            model_name=model_name,
            output_name=output_name,
            example_weighted=example_weighted,
            **options,
        )

        def keyed(name: str) -> object:
            return metric_types.MetricKey(
                name=name,
                model_name=model_name,
                output_name=output_name,
                sub_key=options.get("sub_key"),
                example_weighted=example_weighted,
            )

        def result(metrics: Any) -> object:
            found = metrics[matrices[-1].keys[-1]]
            return {keyed(rate): value for rate, value in names_and_rates(list(thresholds), found)}

        zeros = binary_confusion_matrices.Matrices(list(thresholds), *[[0.0] * len(thresholds)] * 4)
        keys = [keyed(rate) for rate, _ in names_and_rates(list(thresholds), zeros)]
        return [*matrices, metric_types.DerivedMetricComputation(keys=keys, result=result)]

    class FairnessIndicators(metric_types.Metric):  # type: ignore[misc]
        """Rates of the confusion matrix at `thresholds`."""

        def __init__(
            self, thresholds: Sequence[float] = DEFAULT_THRESHOLDS, name: str = PREFIX
        ) -> None:
            super().__init__(
                metric_util.merge_per_key_computations(computations),
                thresholds=list(thresholds),
                name=name,
            )

    metric_types.register_metric(FairnessIndicators)
    return FairnessIndicators
