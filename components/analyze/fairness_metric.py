"""The metric class `FairnessIndicators`, for TFMA. Importing this imports TFMA.

It stands in a module of its own so that TFMA finds it in any process, by a MetricConfig's `module`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tensorflow_model_analysis.metrics import (
    binary_confusion_matrices,
    metric_types,
    metric_util,
)

from edgeline.components.analyze.fairness import DEFAULT_THRESHOLDS, PREFIX, names_and_rates


class FairnessIndicators(metric_types.Metric):  # type: ignore[misc]
    """Rates of the confusion matrix at `thresholds`."""

    def __init__(
        self, thresholds: Sequence[float] = DEFAULT_THRESHOLDS, name: str = PREFIX
    ) -> None:
        super().__init__(
            metric_util.merge_per_key_computations(_computations),
            thresholds=list(thresholds),
            name=name,
        )


def register() -> type[object]:
    """The metric class, known to TFMA by its name from now on in this process."""
    if FairnessIndicators.__name__ not in metric_types.registered_metrics():
        metric_types.register_metric(FairnessIndicators)
    return FairnessIndicators


def _computations(
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
