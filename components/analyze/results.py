"""The result: TFMA's own files, so that its tools read them, and the same as plain JSON."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeline import artifacts
from edgeline.components.analyze import scales, slices
from edgeline.components.analyze.evaluation_config import BASELINE
from edgeline.runtimes.metric_names import AUC

if TYPE_CHECKING:
    import tensorflow_model_analysis as tfma
    from tensorflow_model_analysis.metrics import metric_types
    from tensorflow_model_analysis.proto import metrics_for_slice_pb2, validation_result_pb2

EXAMPLE_COUNT = "example_count"
SHARD = "-00000-of-00001.tfrecord"


def in_order(
    found: Iterable[metrics_for_slice_pb2.MetricsForSlice],
) -> list[metrics_for_slice_pb2.MetricsForSlice]:
    """MetricsForSlice protos, all rows first."""
    return sorted(found, key=lambda proto: slices.order_of(key_of(proto)))


def key_of(proto: metrics_for_slice_pb2.MetricsForSlice) -> slices.SliceKey:
    """The slice key of a MetricsForSlice or MetricsValidationForSlice proto."""
    from tensorflow_model_analysis.slicer import slicer_lib

    key: slices.SliceKey = slicer_lib.deserialize_slice_key(proto.slice_key)
    return key


def write_tfma(
    folder: Path,
    found: Sequence[metrics_for_slice_pb2.MetricsForSlice],
    validation: validation_result_pb2.ValidationResult,
    eval_config: tfma.EvalConfig,
) -> None:
    """Write what `tfma.load_eval_result` and `tfma.load_validation_result` read.

    `metrics-*`, `plots-*`, `attributions-*`, `validations-*.tfrecord` and `eval_config.json`.
    """
    import tensorflow as tf
    from google.protobuf import json_format
    from tensorflow_model_analysis import version
    from tensorflow_model_analysis.proto import config_pb2

    files = {"metrics": found, "plots": [], "attributions": [], "validations": [validation]}
    for name, protos in files.items():
        with tf.io.TFRecordWriter(str(folder / f"{name}{SHARD}")) as writer:
            for proto in protos:
                writer.write(proto.SerializeToString(deterministic=True))
    run = config_pb2.EvalRun(
        eval_config=eval_config, version=version.VERSION, data_location="", file_format="parquet"
    )
    run.model_locations.update({spec.name: "" for spec in eval_config.model_specs})
    artifacts.write_json(folder / "eval_config.json", json_format.MessageToDict(run))


def to_json(
    found: Sequence[metrics_for_slice_pb2.MetricsForSlice],
    names: Mapping[str, str],
    weighted: bool = False,
) -> list[dict[str, object]]:
    """Every slice as plain JSON values, NaN and infinities as null.

    Args:
        found: MetricsForSlice protos.
        names: what TFMA's metrics are called, see `names.shown`.
        weighted: whether example weights count: a metric in which they do not is then called
            `NAME[unweighted]`, and what TFMA calls `example_count` is `weighted_example_count`
            where it is the sum of weights. `example_count` are rows in any case.

    Returns:
        A list of `{"slice": {column: value}, "name": ..., "examples": rows or None,
        "metrics": {name: {"value", "lower", "upper"}}}`, with `baseline` and `change`
        beside `metrics` where two models are compared. Lower and upper bounds are there
        only with confidence intervals, within the metric's scale; a matrix is an object instead
        of a number.
    """
    return [_slice_to_json(proto, names, weighted) for proto in found]


def put_auc(overall: dict[str, Any], exact: Mapping[str, float | None]) -> None:
    """Put the AUC of all rows before the other metrics of a slice of `to_json`.

    Args:
        exact: by model, the candidate first; None where its rows have one class only.
    """
    values = list(exact.values())
    groups = dict(zip(("metrics", "baseline"), values, strict=False))
    if len(values) > 1:
        both = values[0] is not None and values[1] is not None
        groups["change"] = values[0] - values[1] if both else None  # type: ignore[operator]
    for group, value in groups.items():
        overall[group] = {AUC: {"value": value}, **overall.get(group, {})}


def scalars(one: Mapping[str, Any]) -> dict[str, float]:
    """The finite plain numbers among the metrics of a slice of `to_json`."""
    return {
        name: entry["value"]
        for name, entry in one["metrics"].items()
        if isinstance(entry["value"], float)
    }


def _slice_to_json(
    proto: metrics_for_slice_pb2.MetricsForSlice, names: Mapping[str, str], weighted: bool
) -> dict[str, Any]:
    key = key_of(proto)
    groups: dict[str, dict[str, Any]] = {"metrics": {}, "baseline": {}, "change": {}}
    for entry in proto.metric_keys_and_values:
        group = (
            "change"
            if entry.key.is_diff
            else "baseline"
            if entry.key.model_name == BASELINE
            else "metrics"
        )
        name = _name(entry.key, names, weighted)
        groups[group][name] = _entry_to_json(entry, "" if group == "change" else name)
    examples = groups["metrics"].get(EXAMPLE_COUNT, {}).get("value")
    return {
        "slice": dict(key),
        "name": slices.name_of(key),
        "examples": None if examples is None else int(examples),
        **{name: group for name, group in groups.items() if group or name == "metrics"},
    }


def _name(key: metric_types.MetricKey, names: Mapping[str, str], weighted: bool) -> str:
    sub_key, name = key.sub_key, names.get(key.name, str(key.name))
    parts = [f"{field.name}={value.value}" for field, value in sub_key.ListFields()]
    if weighted and name == EXAMPLE_COUNT:
        return f"weighted_{name}" if key.example_weighted.value else name
    if weighted and not key.example_weighted.value:
        parts.append("unweighted")
    return f"{name}[{','.join(parts)}]" if parts else name


def _entry_to_json(entry: Any, metric: str) -> dict[str, Any]:
    """A value with its interval, which is clipped to the metric's scale ("": none is known)."""
    value = {"value": _value(entry.value)}
    if entry.HasField("confidence_interval"):
        bounds = entry.confidence_interval
        if bounds.lower_bound.WhichOneof("type") == "double_value":
            ends = {"lower": _value(bounds.lower_bound), "upper": _value(bounds.upper_bound)}
            value |= {side: scales.clipped(metric, end) for side, end in ends.items()}
    return value


def _value(proto: metrics_for_slice_pb2.MetricValue) -> Any:
    from google.protobuf import json_format

    if proto.WhichOneof("type") == "double_value":
        number = proto.double_value.value
        return float(number) if math.isfinite(number) else None
    return _without_nan(json_format.MessageToDict(proto, preserving_proto_field_name=True))


def _without_nan(value: object) -> object:
    if isinstance(value, dict):
        return {name: _without_nan(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_without_nan(item) for item in value]
    return None if value in ("NaN", "Infinity", "-Infinity") else value
