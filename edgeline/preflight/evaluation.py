"""An eval_config: fields that it does not have, and metrics that a pipeline does not compute."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from edgeline.artifacts import fairness, requirements
from edgeline.components.analyze.decision_goal import PARAMETER, check_task, parse
from edgeline.components.analyze.supported import (
    FIELDS,
    MEANS,
    METRICS,
    METRICS_SPEC_REFUSED,
    OPTIONS_REFUSED,
    OUTPUT,
    THRESHOLDS,
    UNOFFERED,
    misfit,
)
from edgeline.errors import EdgelineError, did_you_mean
from edgeline.preflight.given import GivenRun

ROOT = "eval_config"
_CLASS_NAME = re.compile(r"""\bclass_name\s*:\s*["'](\w+)["']""")
OPEN = (  # fields whose keys are the user's own
    *("config", "feature_values", "featureValues", "thresholds"),
    *("example_weight_keys", "exampleWeightKeys"),
)


def metrics(run: GivenRun) -> Iterator[str]:
    """Fields and metrics of eval_config that analyze refuses, once the model is trained."""
    given, task = run.values.get(ROOT), run.values.get("task")
    if isinstance(given, str):
        yield from _in_text(given, task)
    config = _snake(given)
    if not isinstance(config, Mapping):
        return
    on_beam = bool(run.values.get("beam_options"))  # where TFMA computes all that it can
    yield from _unknown(config, "", ROOT)
    if config.get("cross_slicing_specs"):
        yield f"{ROOT}.cross_slicing_specs is not supported: use slicing_specs."
    for place, spec in _each(config, "model_specs", ROOT):
        for output in spec.get("example_weight_keys") or ():
            if output != OUTPUT:
                yield (
                    f"{place}.example_weight_keys weighs an output {output!r}, but a model has "
                    f"one, {OUTPUT!r}: weigh that, or give example_weight_key."
                )
    for place, spec in _each(config, "slicing_specs", ROOT):
        yield from _unknown(spec, "slicing_specs", place)
        if spec.get("slice_keys_sql"):
            yield (f"{place}.slice_keys_sql is not supported: use feature_keys and feature_values.")
    for place, spec in _each(config, "metrics_specs", ROOT):
        yield from _unknown(spec, "metrics_specs", place)
        for output in spec.get("output_names") or ():
            if output != OUTPUT:
                yield (
                    f"{place}.output_names has {output!r}, but a model has one output, "
                    f"{OUTPUT!r}: leave it out."
                )
        for name in METRICS_SPEC_REFUSED:
            if spec.get(name) and not on_beam:
                yield f"{place}.{name} is computed by TFMA on Beam only: remove it."
        for inside, metric in _each(spec, "metrics", place):
            yield from _unknown(metric, "metrics", inside)
            yield from _thresholds(metric.get("threshold"), f"{inside}.threshold")
            name = metric.get("class_name")
            if on_beam or not isinstance(name, str) or metric.get("module"):
                continue
            if why := _not_computed(name, task):
                yield f"{inside}.class_name {why}"
                continue
            options = _options(metric.get("config"))
            for option in OPTIONS_REFUSED[name in MEANS]:
                if options.get(option) not in (None, False) and (
                    options[option] or option == "class_id"
                ):
                    yield (
                        f"{inside}.config.{option} of {name} is computed by TFMA on Beam only: "
                        "remove it."
                    )


def decision_goal(run: GivenRun) -> Iterator[str]:
    """A decision_goal that is none, or is for a task without a threshold."""
    given, task = run.values.get(PARAMETER), run.values.get("task")
    if not isinstance(given, str):
        return
    try:
        parse(given)
        if isinstance(task, str):
            check_task(given, task)
    except EdgelineError as error:
        yield str(error)


def fairly(run: GivenRun) -> Iterator[str]:
    """Fairness that a step refuses, and requirements on it without groups."""
    given, task = run.values.get(fairness.NAME), run.values.get("task")
    asked = None
    try:
        if isinstance(given, Mapping):
            asked = fairness.parse(given)
            workers = run.values.get("workers")
            fairness.check(
                asked,
                str(task),
                workers=workers if isinstance(workers, int) else 1,
                beam=bool(run.values.get("beam_options")),
            )
        wanted = run.values.get(requirements.NAME)
        if isinstance(wanted, Mapping) and "source" not in run.values:
            fairness.check_required(asked, requirements.parse(wanted).metrics)
    except EdgelineError as error:
        yield str(error)


def _not_computed(name: str, task: Any) -> str:
    """Why a metric is not computed in a pipeline, without its place; "" where it is."""
    if name in (*METRICS, *UNOFFERED):
        return misfit(name, task) if isinstance(task, str) else ""
    hint = did_you_mean(name, METRICS, "Those that are computed are")
    rest = "" if hint.startswith("Those") else f" All are {', '.join(METRICS)}."
    return f"{name!r} is not computed. {hint}{rest}"


def _in_text(config: str, task: Any) -> Iterator[str]:
    """Metrics of a text proto, which only TFMA reads whole."""
    if config.lstrip().startswith("{"):
        return
    for name in dict.fromkeys(_CLASS_NAME.findall(config)):
        if "module" not in config and (why := _not_computed(name, task)):
            yield f"{ROOT}: class_name {why}"


def _thresholds(threshold: Any, place: str) -> Iterator[str]:
    """Fields that a metric's threshold does not have."""
    if not isinstance(threshold, Mapping):
        return
    for kind, bounds in threshold.items():
        if kind not in THRESHOLDS:
            hint = did_you_mean(kind, [*THRESHOLDS], "There are")
            yield f"{place}.{kind}: there is no such field. {hint}"
        for name in bounds if isinstance(bounds, Mapping) and kind in THRESHOLDS else ():
            if name not in THRESHOLDS[kind]:
                hint = did_you_mean(name, [*THRESHOLDS[kind]], "There are")
                yield f"{place}.{kind}.{name}: there is no such field. {hint}"


def _each(config: Mapping[str, Any], name: str, place: str) -> Iterator[tuple[str, Any]]:
    """The objects in a list of an object, with their places."""
    listed = config.get(name)
    if isinstance(listed, list):
        for index, each in enumerate(listed):
            if isinstance(each, Mapping):
                yield f"{place}.{name}[{index}]", each


def _options(config: Any) -> Mapping[str, Any]:
    """A metric's config, an object or JSON of which the outer braces may be left out."""
    if isinstance(config, str):
        text = config.strip()
        try:
            config = json.loads(text if text.startswith("{") else f"{{{text}}}")
        except ValueError:
            return {}
    return config if isinstance(config, Mapping) else {}


def _unknown(config: Mapping[str, Any], message: str, place: str) -> Iterator[str]:
    for name in config:
        if name not in FIELDS[message]:
            hint = did_you_mean(name, FIELDS[message], "There are")
            yield f"{place}.{name}: there is no such field. {hint}"


def _snake(value: Any) -> Any:
    """An object with the proto's names, where it has JSON's: `metricsSpecs`."""
    if isinstance(value, list):
        return [_snake(each) for each in value]
    if not isinstance(value, Mapping):
        return value
    return {
        re.sub(r"(?<=[a-z])([A-Z])", lambda found: f"_{found[1].lower()}", str(key)): each
        if key in OPEN
        else _snake(each)
        for key, each in value.items()
    }
