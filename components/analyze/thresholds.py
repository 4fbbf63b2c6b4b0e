"""Blessed or not: TFMA's own validation of the metrics, and its reasons in sentences.

TFMA's rules hold: a threshold without slices is checked on every slice, one under
`per_slice_thresholds` on those it names (an empty slicing spec is all rows), and a slice
that is named but has no row fails. Thresholds may stand with the metric or, by the metric's
name, in `metrics_specs.thresholds`; only there can single fairness indicators be named.
A change threshold compares with the baseline. With no threshold at all everything is
blessed (TFMA itself would bless nothing), and the report says so.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgeline.components.analyze import names, results, slices
from edgeline.components.analyze.evaluation_config import BASELINE
from edgeline.formats.told_apart import told_apart
from edgeline.reports.report import number
from edgeline.runtimes.metric_names import AUC, AUC_TFMA

if TYPE_CHECKING:
    import tensorflow_model_analysis as tfma
    from tensorflow_model_analysis.metrics import metric_types
    from tensorflow_model_analysis.proto import (
        config_pb2,
        metrics_for_slice_pb2,
        validation_result_pb2,
    )

ANY = "No threshold is set in eval_config, so any model is blessed."
ANY_PROPOSED = f"{ANY.removesuffix('.')}; the report proposes some."


@dataclass(frozen=True)
class Verdict:
    """Whether the model passes, why not, and what was not looked at."""

    blessed: bool
    failures: list[str]
    notes: list[str]
    proto: validation_result_pb2.ValidationResult


def judge(
    found: Sequence[metrics_for_slice_pb2.MetricsForSlice],
    eval_config: tfma.EvalConfig,
    change_thresholds_dropped: bool,
) -> Verdict:
    """Check the metrics of all slices against the thresholds of an EvalConfig.

    Args:
        found: MetricsForSlice protos.
        eval_config: EvalConfig proto.
        change_thresholds_dropped: whether change thresholds were given, but no baseline.
    """
    from tensorflow_model_analysis.evaluators import metrics_validator
    from tensorflow_model_analysis.writers import metrics_plots_and_validations_writer as writer

    combine = writer.CombineValidations(eval_config, rubber_stamp=change_thresholds_dropped)
    total = combine.create_accumulator()
    for proto in found:
        values = dict(_values(proto))
        checked = metrics_validator.validate_metrics((results.key_of(proto), values), eval_config)
        total = combine.add_input(total, checked)
    validation = combine.extract_output(total)
    notes = []
    if validation.missing_thresholds:
        notes.append(ANY)
    if change_thresholds_dropped:
        notes.append(
            "The change thresholds were not checked: there is no baseline model to compare with."
        )
    shown = names.shown(eval_config)
    failures = [
        _sentence(
            failure,
            shown.get(failure.metric_key.name, failure.metric_key.name),
            slices.name_of(results.key_of(one)),
            _baseline_value(found, one, failure),
        )
        for one in validation.metric_validations_per_slice
        for failure in one.failures
    ]
    failures += [_missing(spec) for spec in validation.missing_slices]
    failures = list(dict.fromkeys(failures))
    blessed = bool(validation.validation_ok or (validation.missing_thresholds and not failures))
    return Verdict(blessed, failures, notes, validation)


def bounds(eval_config: tfma.EvalConfig) -> dict[str, dict[str, float]]:
    """The bounds that an EvalConfig sets values of all rows, by our names of the metrics:
    `{"accuracy": {"lower": 0.85}}`. A metric that is bounded twice has the stricter bound."""
    from tensorflow_model_analysis.metrics import metric_specs
    from tensorflow_model_analysis.proto import config_pb2

    shown = names.shown(eval_config)
    by_key = metric_specs.metric_thresholds_from_metrics_specs(
        eval_config.metrics_specs, eval_config
    )
    found: dict[str, dict[str, float]] = {}
    for key, entries in by_key.items():
        for where, threshold in entries:
            of_all = where is None or where == config_pb2.SlicingSpec()
            if not of_all or not isinstance(threshold, config_pb2.GenericValueThreshold):
                continue
            own = found.setdefault(shown.get(key.name, key.name), {})
            if threshold.HasField("lower_bound"):
                own["lower"] = max(threshold.lower_bound.value, own.get("lower", -math.inf))
            if threshold.HasField("upper_bound"):
                own["upper"] = min(threshold.upper_bound.value, own.get("upper", math.inf))
    return found


def refused(verdict: Verdict, failure: str) -> Verdict:
    """A verdict with one more reason against the model, which no metric of TFMA's tells."""
    proto = type(verdict.proto)()
    proto.CopyFrom(verdict.proto)
    proto.validation_ok = False
    notes = [note for note in verdict.notes if note not in (ANY, ANY_PROPOSED)]
    return Verdict(False, [*verdict.failures, failure], notes, proto)


def _values(
    proto: metrics_for_slice_pb2.MetricsForSlice,
) -> Iterator[tuple[metric_types.MetricKey, float]]:
    from tensorflow_model_analysis.metrics import metric_types

    entries = proto.metric_keys_and_values
    # of a metric that is there both ways a threshold by name is about the weighted one
    for entry in sorted(entries, key=lambda entry: bool(entry.key.example_weighted.value)):
        if entry.value.WhichOneof("type") == "double_value":
            key, value = (
                metric_types.MetricKey.from_proto(entry.key),
                entry.value.double_value.value,
            )
            yield key, value
            # thresholds that metrics_specs.thresholds sets by name leave the weighting open
            yield key._replace(example_weighted=None), value


def _baseline_value(
    found: Sequence[metrics_for_slice_pb2.MetricsForSlice],
    one: validation_result_pb2.MetricsValidationForSlice,
    failure: validation_result_pb2.ValidationFailure,
) -> float | None:
    for proto in found:
        if proto.slice_key == one.slice_key:
            for entry in proto.metric_keys_and_values:
                if entry.key.name == failure.metric_key.name and entry.key.model_name == BASELINE:
                    return float(entry.value.double_value.value)
    return None


def _sentence(
    failure: validation_result_pb2.ValidationFailure, called: str, name: str, baseline: float | None
) -> str:
    where = "of all rows" if name == slices.OVERALL else f"of slice {name}"
    # the name that eval_config has; at the end of the sentence what it is here
    estimate = f" (as TFMA estimates it: {AUC_TFMA})" if called == AUC_TFMA else ""
    metric = f"{AUC if estimate else called} {where}"
    if not failure.HasField("metric_value"):
        return f"{metric} has a threshold, but eval_config does not compute this metric."
    value = failure.metric_value.double_value.value
    if value != value:
        return f"{metric} is undefined (the slice may hold one class only), but has a threshold."
    if failure.metric_threshold.HasField("change_threshold"):
        change = failure.metric_threshold.change_threshold
        return _change_sentence(metric, value, baseline, change, estimate)
    bounds = failure.metric_threshold.value_threshold
    if bounds.HasField("lower_bound") and value < bounds.lower_bound.value:
        side, bound = "below the lower bound", bounds.lower_bound.value
    else:
        side, bound = "above the upper bound", bounds.upper_bound.value
    hint = " (0 where the slice holds one class only)" if value == 0 else ""
    shown, limit = number(value), number(bound)
    if shown == limit:
        shown, limit = told_apart(value, bound)
    return f"{metric} is {shown}{hint}, {side} {limit}{estimate}."


def _change_sentence(
    metric: str,
    change: float,
    baseline: float | None,
    threshold: config_pb2.GenericChangeThreshold,
    estimate: str,
) -> str:
    from tensorflow_model_analysis.proto import config_pb2

    higher = threshold.direction == config_pb2.MetricDirection.HIGHER_IS_BETTER
    word = "at least" if higher else "at most"
    needed, changes = [], f"{change:+.4g}"
    if threshold.HasField("absolute"):
        wanted = threshold.absolute.value
        limit = number(wanted)
        if changes.removeprefix("+") == limit and change != wanted:
            changes, limit = told_apart(change, wanted, "+.4g")
        needed.append(f"{word} {limit}")
    if threshold.HasField("relative"):
        needed.append(f"{word} {100 * threshold.relative.value:+.3g}% of the baseline's value")
    compared = f" from the baseline's {number(baseline)}" if baseline is not None else ""
    return (
        f"{metric} changes by {changes}{compared}, but must change by "
        f"{' and '.join(needed)}{estimate}."
    )


def _missing(spec: config_pb2.SlicingSpec) -> str:
    values = [f"{name}: {value}" for name, value in sorted(spec.feature_values.items())]
    name = ", ".join([*sorted(spec.feature_keys), *values]) or slices.OVERALL
    return f"Slice {name} has a threshold, but no row is in it: correct its name or its data."
