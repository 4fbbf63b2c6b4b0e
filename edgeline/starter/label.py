"""What a label is, which columns could be one, and which metrics fit it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from edgeline.artifacts import models
from edgeline.errors import EdgelineError
from edgeline.starter.facts import ColumnFacts

MOST_CLASSES = 100  # of a label of words
MOST_WHOLE = 20  # of a label of whole numbers: of more it is a quantity
RARE = 0.2  # share of the smaller class below which accuracy tells little
FEW = 10  # rows of a class below which nobody knows how well it is told
YES = ("yes", "true", "1", "y", "t", "positive", "fault", "fraud", "ja", "oui", "si", "sí", "sim")
NAMES = ("label", "target", "class", "outcome", "y")  # of columns that say so themselves
BINARY, MULTICLASS, REGRESSION = models.TASKS


@dataclass(frozen=True)
class Label:
    """What a label is.

    Attributes:
        name: its column.
        task: one of `edgeline.artifacts.models.TASKS`.
        told: in words.
        positive: of two values that which a yes means; else None.
        vocabulary: whether classes are numbered by a vocabulary.
        classes: how many there are.
        largest: the share of the commonest value.
        share: of two values, that of the positive one.
        mean, deviation: of a regression's.
        rare: classes with fewer than `FEW` rows.
    """

    name: str
    task: str
    told: str
    positive: Any = None
    vocabulary: bool = False
    classes: int = 0
    largest: float = 0.0
    share: float = 0.0
    mean: float = 0.0
    deviation: float = 0.0
    rare: tuple[Any, ...] = ()


@dataclass(frozen=True)
class ProposedThreshold:
    """A metric with its threshold, and what that is."""

    metric: str
    bound: str
    value: float
    why: str


def label_of(name: str, seen: ColumnFacts, rows: int, task: str = "") -> Label:
    """What a column is as a label.

    Args:
        task: what it is to be; "" for what its values tell.

    Raises:
        EdgelineError: it has missing values, one value, too many to be classes, or is not for the
            task.
    """
    if pa.types.is_nested(seen.type):
        raise EdgelineError(f"Column {name!r} holds lists, which are not labels: name another.")
    if seen.first_gap is not None:
        raise EdgelineError(
            f"Column {name!r} is missing in {rows - seen.filled:,} of {rows:,} rows, row "
            f"{seen.first_gap + 1} of the data first: leave rows without a label out."
        )
    values, count = seen.values, len(seen.values)
    if count < 2:
        raise EdgelineError(f"Column {name!r} has the same value in each row: name another label.")
    if seen.is_time:
        raise EdgelineError(
            f"Column {name!r} is a date or time, which is not a label: name another."
        )
    whole = pa.types.is_integer(seen.type)
    if not task:
        quantity = seen.is_number and not (whole and count <= MOST_WHOLE)
        task = BINARY if count == 2 else REGRESSION if quantity else MULTICLASS
    largest = max(values.values()) / rows
    if task == BINARY:
        if count != 2:
            raise EdgelineError(
                f"Column {name!r} has {_many(count, seen)} different values, and a binary "
                "classification has two: name another task or label."
            )
        yes = _positive(values)
        told = f"{yes!r} in {values[yes] / rows:.1%} of {rows:,} rows"
        share = values[yes] / rows
        return Label(name, BINARY, told, yes, largest=largest, share=share, rare=_rare(values))
    if task == REGRESSION:
        if not seen.is_number:
            raise EdgelineError(
                f"Column {name!r} holds words, and a regression predicts a number: name another "
                "task or label."
            )
        if not seen.is_measurable:
            raise EdgelineError(
                f"Column {name!r} has numbers as large as {seen.largest:.3g}, beyond what a model "
                "computes in 32 bits: scale it, or name another label."
            )
        told = f"a number, {seen.mean:.4g} on average with a deviation of {seen.deviation:.4g}"
        return Label(name, REGRESSION, told, mean=seen.mean, deviation=seen.deviation)
    if count > MOST_CLASSES:
        kind = "numbers" if seen.is_number else "texts"
        raise EdgelineError(
            f"Column {name!r} has {_many(count, seen)} different {kind}, too many to be classes "
            f"(at most {MOST_CLASSES}): name another label."
        )
    if not (whole or pa.types.is_string(seen.type) or pa.types.is_large_string(seen.type)):
        raise EdgelineError(
            f"Column {name!r} holds fractions, which are not classes: name another task or label."
        )
    told = f"one of {count} classes, the commonest {largest:.1%} of {rows:,} rows"
    numbered = whole and sorted(values) == list(range(count))
    return Label(*(name, MULTICLASS, told, None, not numbered, count, largest), rare=_rare(values))


def possible_labels(columns: Mapping[str, ColumnFacts], rows: int) -> dict[str, Label]:
    """The columns that could be a label, the likeliest first.

    A column that is called as a label is likeliest, then the last column, then the first, then
    classes before numbers. What has another value in each row is none.
    """
    found: dict[str, Label] = {}
    for name, seen in columns.items():
        if len(seen.values) >= rows and not pa.types.is_floating(seen.type):
            continue
        try:
            found[name] = label_of(name, seen, rows)
        except EdgelineError:
            continue
    names = list(columns)

    def unlikely(name: str) -> tuple[bool, bool, bool, bool]:
        return (
            not is_called_so(name),
            name != names[-1],
            name != names[0],
            found[name].task == REGRESSION,
        )

    return {name: found[name] for name in sorted(found, key=unlikely)}


def is_called_so(name: str) -> bool:
    """Whether a column says itself that it is the label."""
    return name.strip().lower() in NAMES


def proposals(label: Label) -> list[ProposedThreshold]:
    """Metrics that fit a label, each a little above an answer that is always the same."""
    if label.task == REGRESSION:
        why = f"always saying the mean has {label.deviation:.4g}"
        bound = float(f"{label.deviation:.4g}")
        return [ProposedThreshold("RootMeanSquaredError", "upper_bound", bound, why)]
    always = math.ceil(label.largest * 1000) / 1000
    if label.task == MULTICLASS:
        why = f"always saying the commonest class has {label.largest:.3f}"
        return [ProposedThreshold("SparseCategoricalAccuracy", "lower_bound", always, why)]
    found = [ProposedThreshold("AUC", "lower_bound", 0.6, "a score at random has 0.5")]
    if label.largest <= 1 - RARE:
        why = f"always giving the commoner answer has {label.largest:.3f}"
        return [*found, ProposedThreshold("BinaryAccuracy", "lower_bound", always, why)]
    # not recall: analyze counts it by scores above 0.5, which of a rare yes may be none
    share = label.share
    why = f"a score at random has {share:.3f}, and accuracy tells little: a constant "
    why += f"answer has {label.largest:.3f}"
    bound = float(f"{min(1.2 * share, (1 + share) / 2):.3g}")
    return [*found, ProposedThreshold("AUCPrecisionRecall", "lower_bound", bound, why)]


def decision_goal(label: Label) -> str:
    """What a yes is decided by: F1 of a rare one, which hardly ever has a score above 0.5."""
    return "f1" if label.task == BINARY and label.largest > 1 - RARE else ""


def eval_config(proposed: list[ProposedThreshold]) -> dict[str, Any]:
    """An EvalConfig with proposed thresholds, and the metrics that people look at beside."""
    metrics: list[dict[str, Any]] = [
        {"class_name": each.metric, "threshold": {"value_threshold": {each.bound: each.value}}}
        for each in proposed
    ]
    if proposed[0].metric == "AUC":
        beside = ("BinaryAccuracy", "Precision", "Recall")
        named = [each.metric for each in proposed]
        metrics += [{"class_name": name} for name in beside if name not in named]
    return {"metrics_specs": [{"metrics": metrics}]}


def _many(count: int, seen: ColumnFacts) -> str:
    return f"more than {count - 1:,}" if seen.is_many else f"{count:,}"


def _rare(values: Counter[Any]) -> tuple[Any, ...]:
    return tuple(value for value, count in values.items() if count < FEW)


def _positive(values: Counter[Any]) -> Any:
    """Of two values that which a yes means: a known word, or the rarer one."""
    known = [value for value in values if str(value).strip().lower() in YES]
    if len(known) == 1:
        return known[0]
    return min(sorted(values, key=str), key=values.__getitem__)
