"""Fairness indicators: the rates of the confusion matrix at several thresholds, slice by slice.

Names and formulas are those of the Fairness Indicators metric that TFMA used to carry:
`fairness_indicators_metrics/false_positive_rate@0.5`. TFMA 0.52 no longer holds it, so
`fairness_metric` registers one, for both engines, made of TFMA's own confusion matrices.
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
