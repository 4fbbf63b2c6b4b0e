"""Thresholds that a first evaluation proposes: what the model holds, with its interval.

A bound is the worse end of the metric's 95 % interval, so that a model that is as good passes on
another split of this size; a metric that is not better than a constant answer gets none. They are
proposals: what a model must reach is for people to say.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edgeline.components.analyze.curves import Curves
from edgeline.runtimes.metric_names import ACCURACY, AUC_TFMA

DIGITS = 3
# by task: our name, TFMA's, whether higher is better, and the value of chance
METRICS: Mapping[str, Sequence[tuple[str, str, bool, float | None]]] = {
    "binary_classification": (
        (AUC_TFMA, "auc", True, 0.5),
        (ACCURACY, "binary_accuracy", True, None),
        ("recall", "recall", True, 0.0),
        ("precision", "precision", True, None),
    ),
    "multiclass_classification": ((ACCURACY, "sparse_categorical_accuracy", True, None),),
    "regression": (("root_mean_squared_error", "root_mean_squared_error", False, math.inf),),
}


@dataclass(frozen=True)
class Proposal:
    """A threshold of one metric, by TFMA's name, or why there is none.

    Attributes:
        metric: what it is called here.
        name: what `metrics_specs.thresholds` of an EvalConfig calls it.
        value: the metric's.
        bound: the proposed one; None where there is none.
        higher: whether it is a lower bound.
        why: what it is compared with.
    """

    metric: str
    name: str
    value: float
    bound: float | None
    higher: bool
    why: str


def proposals(overall: Mapping[str, Any], curves: Curves) -> list[Proposal]:
    """What is proposed of all rows; nothing where no interval was computed.

    Args:
        overall: the slice of all rows, see `results.to_json`.
        curves: counts of all rows.
    """
    return list(_proposed(overall["metrics"], curves))


def config(found: list[Proposal], given: Mapping[str, Any] | str) -> dict[str, Any]:
    """An EvalConfig with the proposed thresholds beside what was given; {} where there are none."""
    thresholds = {
        each.name: {
            "value_threshold": {"lower_bound" if each.higher else "upper_bound": each.bound}
        }
        for each in found
        if each.bound is not None
    }
    if not thresholds:
        return {}
    known = {} if isinstance(given, str) else dict(given)
    key = "metricsSpecs" if "metricsSpecs" in known else "metrics_specs"
    return {**known, key: [*known.get(key, []), {"thresholds": thresholds}]}


def to_text(eval_config: Mapping[str, Any]) -> str:
    """JSON, which is YAML, too."""
    return json.dumps(eval_config, indent=2, ensure_ascii=False)


def _proposed(metrics: Mapping[str, Any], curves: Curves) -> Iterator[Proposal]:
    for metric, name, higher, chance in METRICS[curves.task]:
        entry = metrics.get(metric, {})
        end = entry.get("lower" if higher else "upper")
        if not isinstance(end, float) or not isinstance(entry["value"], float):
            continue
        usual, why = _constant(metric, chance, curves)
        bound = _rounded(end, higher)
        good = bound > usual if higher else bound < usual
        yield Proposal(metric, name, entry["value"], bound if good else None, higher, why)


def _constant(metric: str, chance: float | None, curves: Curves) -> tuple[float, str]:
    """What an answer that is always the same has, with the words for it."""
    if chance is not None:
        words = {0.5: "a score at random has 0.5", 0.0: "a model that never says yes has 0"}
        return chance, words.get(chance, "")
    rows = curves.confusion().sum(axis=1)
    share = float((rows[1] if metric == "precision" else rows.max()) / max(rows.sum(), 1e-12))
    always = "always saying yes" if metric == "precision" else "always saying the commonest class"
    return share, f"{always} has {share:.3f}"


def _rounded(bound: float, higher: bool) -> float:
    """To three digits, away from the value."""
    if bound == 0 or not math.isfinite(bound):
        return bound
    step = 10.0 ** (math.floor(math.log10(abs(bound))) - DIGITS + 1)
    whole = math.floor(bound / step) if higher else math.ceil(bound / step)
    return float(f"{whole * step:.{DIGITS}g}")
