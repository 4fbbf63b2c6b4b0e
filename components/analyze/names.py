"""What TFMA's metrics are called here, where `train` and `verify` have the same ones.

TFMA's own names stand in its result files and are what an EvalConfig's thresholds take. Everything
that people and pipelines read (`metrics.json`, the report, the metrics of the task) has the names
of `edgeline.runtimes.metrics`: one name for one definition. TFMA's AUC is an estimate of theirs, so
it is `auc_tfma`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING

from edgeline.artifacts.decision_threshold import USUAL
from edgeline.runtimes.metric_names import ACCURACY, AUC, AUC_TFMA, NAMES

if TYPE_CHECKING:
    import tensorflow_model_analysis as tfma
    from tensorflow_model_analysis.proto import config_pb2

ACCURACIES = {  # what each is called unless its config says otherwise
    "BinaryAccuracy": "binary_accuracy",
    "CategoricalAccuracy": "categorical_accuracy",
    "SparseCategoricalAccuracy": "sparse_categorical_accuracy",
}


def is_weighted(spec: config_pb2.MetricsSpec, eval_config: tfma.EvalConfig) -> bool:
    """Whether example weights count in the metrics of a spec, for any model."""
    if not weight_columns(eval_config):
        return False
    return bool(not spec.HasField("example_weights") or spec.example_weights.weighted)


def weight_columns(eval_config: tfma.EvalConfig) -> dict[str, str]:
    """The column of example weights by model name, of those models that have one."""
    return {
        spec.name: spec.example_weight_key
        for spec in eval_config.model_specs
        if spec.example_weight_key
    }


def shown(eval_config: tfma.EvalConfig) -> dict[str, str]:
    """Our names by TFMA's, for those metrics of an EvalConfig proto that differ."""
    found: dict[str, str] = {}
    for metric, options in _metrics(eval_config):
        if "name" in options:
            continue
        if metric.class_name == "AUC":
            found[AUC] = AUC_TFMA
        elif metric.class_name in ACCURACIES and options.get("threshold", USUAL) == USUAL:
            own = ACCURACIES[metric.class_name]
            found[own] = NAMES[own]
    taken = [metric.class_name == "Accuracy" for metric, _ in _metrics(eval_config)]
    if sum(name == ACCURACY for name in found.values()) + sum(taken) > 1:
        return {own: name for own, name in found.items() if name != ACCURACY}
    return found


def has_roc_auc(eval_config: tfma.EvalConfig) -> bool:
    """Whether an EvalConfig proto asks for the area under the ROC curve, by its usual name."""
    weighted = bool(weight_columns(eval_config))
    return any(
        metric.class_name == "AUC"
        and "name" not in options
        and options.get("curve") in (None, "ROC")
        for spec in eval_config.metrics_specs
        if is_weighted(spec, eval_config) == weighted
        for metric, options in _of(spec)
    )


def _metrics(
    eval_config: tfma.EvalConfig,
) -> list[tuple[config_pb2.MetricConfig, dict[str, object]]]:
    return [each for spec in eval_config.metrics_specs for each in _of(spec)]


def _of(spec: config_pb2.MetricsSpec) -> list[tuple[config_pb2.MetricConfig, dict[str, object]]]:
    return [(metric, _options(metric.config)) for metric in spec.metrics]


def _options(config: str) -> dict[str, object]:
    """A metric's config as TFMA reads it: JSON, of which the outer braces may be left out."""
    text = config.strip()
    found: dict[str, object] = json.loads(text if text.startswith("{") else f"{{{text}}}")
    return found


def weighed_by(columns: Mapping[str, str]) -> str:
    """By what metrics, slices and thresholds are weighted."""
    several = len(set(columns.values())) > 1
    by = ", ".join(f"{column} ({model})" for model, column in columns.items())
    return f"Weighted by {by if several else next(iter(columns.values()))}."
