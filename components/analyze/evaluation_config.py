"""What to measure: an EvalConfig of TensorFlow Model Analysis, given as JSON or text proto.

The proto (`tensorflow_model_analysis.proto.config_pb2.EvalConfig`) is the one language for
metrics, slices and thresholds, for both engines:

    {"slicing_specs": [{"feature_keys": ["payment_type"]}],
     "metrics_specs": [{"metrics": [
         {"class_name": "AUC", "threshold": {
             "value_threshold": {"lower_bound": 0.7},
             "change_threshold": {"absolute": -0.01, "direction": "HIGHER_IS_BETTER"}}},
         {"class_name": "FairnessIndicators", "config": {"thresholds": [0.5]}}]}]}

A metric's `config` may be an object here (in the proto it is JSON in a string).
"""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from edgeline.components.analyze.supported import OUTPUT, misfit
from edgeline.errors import EdgelineError

if TYPE_CHECKING:
    import tensorflow_model_analysis as tfma

CANDIDATE, BASELINE = "candidate", "baseline"
# KFP makes floats of all numbers of a parameter, and TFMA insists on integers here
WHOLE_NUMBERS = {"num_thresholds", "num_buckets", "class_id", "top_k", "k"}
DEFAULT_METRICS: Mapping[str, list[dict[str, object]]] = {
    "binary_classification": [
        {"class_name": "ExampleCount"},
        {"class_name": "AUC"},
        {"class_name": "AUCPrecisionRecall"},
        {"class_name": "BinaryAccuracy"},
        {"class_name": "Precision"},
        {"class_name": "Recall"},
        {"class_name": "BinaryCrossentropy"},
        {"class_name": "MeanLabel"},
        {"class_name": "MeanPrediction"},
        {"class_name": "Calibration"},
        {"class_name": "FairnessIndicators", "config": {"thresholds": [0.25, 0.5, 0.75]}},
    ],
    "multiclass_classification": [
        {"class_name": "ExampleCount"},
        {"class_name": "SparseCategoricalAccuracy"},
        {"class_name": "SparseCategoricalCrossentropy"},
        {"class_name": "MultiClassConfusionMatrixAtThresholds"},
    ],
    "regression": [
        {"class_name": "ExampleCount"},
        {"class_name": "MeanSquaredError"},
        {"class_name": "RootMeanSquaredError"},
        {"class_name": "MeanAbsoluteError"},
        {"class_name": "SquaredPearsonCorrelation"},
        {"class_name": "MeanLabel"},
        {"class_name": "MeanPrediction"},
    ],
}


def parse(
    config: Mapping[str, object] | str,
    task: str,
    has_baseline: bool,
    confidence_intervals: bool,
    weight_column: str = "",
) -> tfma.EvalConfig:
    """A complete EvalConfig proto.

    Metrics default by task; the row count and the slice of all rows are always there. The
    models are named as TFMA names them: one model has the empty name, two are `candidate`
    and `baseline`. Intervals are by Poisson bootstrap. Without a baseline the change
    thresholds are dropped, as TFMA does for a first run (see `has_change_thresholds`).

    A column of example weights is what TFMA has as `example_weight_key`, for both models unless
    each has its own. Metrics are then weighted but for those of a spec whose `example_weights` say
    `unweighted`; the row count is there beside.

    Args:
        config: an object, or a string with JSON or text proto; empty for the defaults.
        task: one of `edgeline.artifacts.models.TASKS`.
        has_baseline: whether there is a second model to compare with.
        confidence_intervals: whether intervals are computed.
        weight_column: that of the model's training, where the config names none; "": none.

    Raises:
        EdgelineError: the field of `eval_config` at fault.
    """
    from tensorflow_model_analysis.proto import config_pb2
    from tensorflow_model_analysis.utils import config_util

    from edgeline.components.analyze import fairness_metric

    fairness_metric.register()
    proto = _to_proto(config)
    weighing = _weight_columns(proto, weight_column)
    del proto.model_specs[:]
    proto.model_specs.add()
    _leave_out_output(proto)
    _check_weighting(proto, any(weighing.values()))
    if not any(spec.metrics for spec in proto.metrics_specs):
        proto.metrics_specs.add().CopyFrom(
            _to_proto({"metrics_specs": [{"metrics": DEFAULT_METRICS[task]}]}).metrics_specs[0]
        )
    if any(weighing.values()):
        rows = proto.metrics_specs.add()
        rows.metrics.add(class_name="ExampleCount")
        rows.example_weights.unweighted = True
    elif not any(m.class_name == "ExampleCount" for s in proto.metrics_specs for m in s.metrics):
        proto.metrics_specs.add().metrics.add(class_name="ExampleCount")
    _check_metrics(proto)
    if not any(not spec.feature_keys and not spec.feature_values for spec in proto.slicing_specs):
        proto.slicing_specs.insert(0, config_pb2.SlicingSpec())
    proto.options.include_default_metrics.value = False
    proto.options.compute_confidence_intervals.value = confidence_intervals
    if confidence_intervals:
        proto.options.confidence_intervals.method = (
            config_pb2.ConfidenceIntervalOptions.POISSON_BOOTSTRAP
        )
    for spec in proto.metrics_specs:
        del spec.model_names[:]
    proto = config_util.update_eval_config_with_defaults(
        proto, has_baseline=has_baseline, rubber_stamp=True
    )
    for spec in proto.model_specs:
        spec.example_weight_key = weighing[spec.name or CANDIDATE]
    try:
        config_util.verify_eval_config(proto)
    except ValueError as error:
        raise EdgelineError(f"eval_config is wrong: {_one_line(error)}.") from error
    return proto


def _weight_columns(proto: tfma.EvalConfig, usual: str) -> dict[str, str]:
    """The column of example weights of candidate and baseline; "" where each row counts once."""
    own: dict[str, str] = {}
    for index, spec in enumerate(proto.model_specs):
        field = f"eval_config.model_specs[{index}]"
        column, by_output = spec.example_weight_key, dict(spec.example_weight_keys)
        if column and by_output:
            raise EdgelineError(
                f"{field} has example_weight_key and example_weight_keys: leave one of them out."
            )
        for output in by_output:
            if output != OUTPUT:
                raise EdgelineError(
                    f"{field}.example_weight_keys weighs an output {output!r}, but a model has "
                    f"one, {OUTPUT!r}: weigh that, or give example_weight_key."
                )
        own[BASELINE if spec.is_baseline else CANDIDATE] = column or by_output.get(OUTPUT, "")
    candidate = own.get(CANDIDATE) or usual
    return {CANDIDATE: candidate, BASELINE: own.get(BASELINE) or candidate}


def _leave_out_output(proto: tfma.EvalConfig) -> None:
    """Metrics of the only output are those of the model, which TFMA gives no output's name."""
    for index, spec in enumerate(proto.metrics_specs):
        for output in spec.output_names:
            if output != OUTPUT:
                raise EdgelineError(
                    f"eval_config.metrics_specs[{index}].output_names has {output!r}, but a model "
                    f"has one output, {OUTPUT!r}: leave it out."
                )
        del spec.output_names[:]


def _check_weighting(proto: tfma.EvalConfig, weighted: bool) -> None:
    for index, spec in enumerate(proto.metrics_specs):
        if not spec.HasField("example_weights"):
            continue
        field, asked = f"eval_config.metrics_specs[{index}].example_weights", spec.example_weights
        if asked.weighted and not weighted:
            raise EdgelineError(
                f"{field} asks for weighted metrics, but there are no weights: name their column "
                "in model_specs.example_weight_key, or train with weight_column."
            )
        if not asked.weighted and not asked.unweighted:
            raise EdgelineError(
                f"{field} is neither weighted nor unweighted: set one of them, or both."
            )


def check_task(proto: tfma.EvalConfig, task: str) -> None:
    """Refuse metrics that labels and predictions of a task have no meaning for.

    Raises:
        EdgelineError: the metric, and those that the task has.
    """
    for i, spec in enumerate(proto.metrics_specs):
        for j, metric in enumerate(spec.metrics):
            if not metric.module and (why := misfit(metric.class_name, task)):
                raise EdgelineError(f"eval_config.metrics_specs[{i}].metrics[{j}].class_name {why}")


def slice_columns(proto: tfma.EvalConfig) -> list[str]:
    """The raw columns that the slices of an EvalConfig are made of, sorted."""
    if proto.cross_slicing_specs:
        raise EdgelineError("eval_config.cross_slicing_specs is not supported: use slicing_specs.")
    names: set[str] = set()
    for index, spec in enumerate(proto.slicing_specs):
        if spec.slice_keys_sql:
            raise EdgelineError(
                f"eval_config.slicing_specs[{index}].slice_keys_sql is not supported: "
                "use feature_keys and feature_values."
            )
        names |= {*spec.feature_keys, *spec.feature_values}
    return sorted(names)


def has_change_thresholds(config: Mapping[str, object] | str) -> bool:
    """Whether a config, as given by the user, compares with a baseline."""
    from tensorflow_model_analysis.utils import config_util

    return bool(config_util.has_change_threshold(_to_proto(config)))


def to_json(proto: tfma.EvalConfig) -> dict[str, object]:
    """An EvalConfig proto as an object."""
    from google.protobuf import json_format

    value: dict[str, object] = json_format.MessageToDict(proto, preserving_proto_field_name=True)
    return value


def _to_proto(config: Mapping[str, Any] | str) -> tfma.EvalConfig:
    from google.protobuf import json_format, text_format
    from tensorflow_model_analysis.proto import config_pb2

    proto = config_pb2.EvalConfig()
    if isinstance(config, str) and config.strip() and not config.lstrip().startswith("{"):
        try:
            return text_format.Parse(config, proto)
        except text_format.ParseError as error:
            raise EdgelineError(
                f"eval_config is not a text proto of EvalConfig: {_one_line(error)}."
            ) from error
    if isinstance(config, str):
        try:
            config = json.loads(config or "{}")
        except ValueError as error:
            raise EdgelineError(f"eval_config is not JSON: {error}.") from error
    try:
        return json_format.ParseDict(_with_string_configs(config), proto)
    except json_format.ParseError as error:
        raise EdgelineError(f"eval_config is wrong: {_one_line(error)}.") from error


def _with_string_configs(given: Any) -> Any:
    config = copy.deepcopy(dict(given))
    for spec in config.get("metrics_specs") or config.get("metricsSpecs") or []:
        for metric in spec.get("metrics", []) if isinstance(spec, dict) else []:
            if isinstance(metric, dict) and isinstance(metric.get("config"), dict):
                for name in WHOLE_NUMBERS & metric["config"].keys():
                    metric["config"][name] = int(metric["config"][name])
                metric["config"] = json.dumps(metric["config"], sort_keys=True)
    return config


def _check_metrics(proto: tfma.EvalConfig) -> None:
    from tensorflow_model_analysis.metrics import metric_specs

    for i, spec in enumerate(proto.metrics_specs):
        for j, metric in enumerate(spec.metrics):
            field = f"eval_config.metrics_specs[{i}].metrics[{j}]"
            try:
                metric_specs.metric_instance(metric)
            except TypeError as error:
                raise EdgelineError(
                    f"{field}.config does not fit {metric.class_name}: {_one_line(error)}."
                ) from error
            except json.JSONDecodeError as error:
                raise EdgelineError(f"{field}.config is not JSON: {error}.") from error
            except (ValueError, ImportError, AttributeError, NotImplementedError) as error:
                raise EdgelineError(
                    f"{field}.class_name {metric.class_name!r} is not a metric of TFMA or Keras "
                    "(for example AUC, BinaryAccuracy, MeanSquaredError): correct it."
                ) from error


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".")
