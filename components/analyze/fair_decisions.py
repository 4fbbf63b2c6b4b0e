"""What `analyze` tells of fairness: a model's decisions without and with mitigation, on the same
rows.

Of several classes each is looked at against the rest, and of each difference the worst class
counts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgeline.artifacts import Artifact, group_decisions
from edgeline.artifacts.decision_threshold import USUAL, says_yes
from edgeline.artifacts.fairness import DIFFERENCES, MOST_GROUPS, WITHOUT, FairnessSettings
from edgeline.components.analyze import exact, group_thresholds, predict
from edgeline.components.analyze.decision import choose
from edgeline.components.analyze.decision_goal import DecisionGoal
from edgeline.components.analyze.group_fairness import (
    RESAMPLES,
    Estimate,
    GroupedRows,
    GroupFairness,
    measure,
)
from edgeline.components.analyze.vectorised_engine import Columns
from edgeline.errors import EdgelineError
from edgeline.formats.dtypes import Array

BINARY = "binary_classification"
MOST_CLASSES = 20
FILE = "fairness.json"
UNSERVED = (
    "thresholds by group are kept with the model, but edgeline's server and verify decide by one "
    "threshold: decide by edgeline.artifacts.group_decisions in your application"
)


@dataclass(frozen=True)
class FairnessSide:
    """One way to decide.

    Attributes:
        name: for people.
        classes: by the class that is looked at against the rest; "" of two classes.
        served: whether this is what the evaluated model, with its mitigation, does.
    """

    name: str
    classes: Mapping[str, GroupFairness]
    served: bool = False

    @property
    def worst(self) -> dict[str, Estimate]:
        """Each difference of the class in which it is worst."""
        found = {}
        for name, higher in DIFFERENCES.items():
            known = [each.differences[name] for each in self.classes.values()]
            known = [each for each in known if each.value is not None]
            end = min if higher else max
            found[name] = end(known, key=lambda each: each.value or 0.0, default=Estimate(None))
        return found

    @property
    def accuracy(self) -> Estimate:
        """Of two classes the share of right decisions; of several that of the class with the
        lowest, against the rest."""
        return min((each.accuracy for each in self.classes.values()), key=lambda e: e.value or 0.0)


@dataclass(frozen=True)
class FairnessResult:
    """What is told of fairness.

    Attributes:
        settings: what was asked.
        sides: ways to decide, the one that is compared with first.
        thresholds: by group, of the mitigation thresholds.
        other: the threshold of all other rows.
        notes: what is not computed or left out, in sentences without a stop.
    """

    settings: FairnessSettings
    sides: tuple[FairnessSide, ...]
    thresholds: Mapping[str, float]
    other: float
    notes: tuple[str, ...]

    @property
    def served(self) -> FairnessSide:
        return next(each for each in self.sides if each.served)

    def metadata(self) -> dict[str, Any]:
        """For `evaluation/v1`: what was asked and found, and the thresholds of groups."""
        found = {name: each.value for name, each in self.served.worst.items()}
        told = {
            "group": self.settings.group,
            "mitigation": self.settings.mitigation,
            "differences": found,
        }
        if not self.thresholds:
            return {"fairness": told}
        by_group = {
            "column": self.settings.group,
            "thresholds": dict(sorted(self.thresholds.items())),
            "other": self.other,
        }
        return {"fairness": told, group_decisions.KEY: by_group}

    def to_json(self) -> dict[str, Any]:
        return {
            **self.metadata(),
            "notes": list(self.notes),
            "sides": [
                {
                    "name": side.name,
                    "served": side.served,
                    "classes": {name: each.to_json() for name, each in side.classes.items()},
                }
                for side in self.sides
            ],
        }


@dataclass(frozen=True)
class JudgedRows:
    """What is judged.

    Attributes:
        settings: what was asked.
        columns: the evaluated rows, the candidate's predictions first, then the baseline's.
        parts: the Parquet files of these rows.
        model: `model/v1`; with one trained without its mitigation in it, where there is one.
        classes: class names.
        goal: of the decision threshold.
    """

    settings: FairnessSettings
    columns: Columns
    parts: list[Path]
    model: Artifact
    classes: Sequence[str]
    goal: DecisionGoal | None = None

    @property
    def names(self) -> list[str]:
        """Of the groups, by number."""
        return [str(each) for each in self.columns.values[self.settings.group]]

    @property
    def group(self) -> Array:
        return self.columns.codes[self.settings.group]

    @property
    def scores(self) -> Array:
        """Of the candidate."""
        return next(iter(self.columns.predictions.values()))

    @property
    def weight(self) -> Array | None:
        return self.columns.weights.get(next(iter(self.columns.predictions)))

    @property
    def looked_at(self) -> list[str]:
        """The classes that are looked at against the rest; "" of two."""
        return [""] if self.scores.ndim == 1 else list(self.classes[:MOST_CLASSES])

    def decided(self, scores: Array, threshold: float, number: int = 0) -> GroupedRows:
        """The rows as a class against the rest, by some model's scores."""
        label = self.columns.label
        if scores.ndim == 1:
            yes = says_yes(scores, threshold)
            return GroupedRows(label == 1, yes, scores, self.group, self.weight)
        yes = scores.argmax(1) == number
        return GroupedRows(label == number, yes, scores[:, number], self.group, self.weight)


def judge(
    judged: JudgedRows, threshold: float, seed: int = 0, with_intervals: bool = True
) -> FairnessResult:
    """Measure fairness of a model, of it without its mitigation, and of the baseline.

    Args:
        threshold: of the model's decision.
        seed: of the intervals and of the folds by which thresholds are tried.

    Raises:
        EdgelineError: there are more groups than anybody reads, or the model was trained without
            the mitigation that is asked for.
    """
    settings, names, looked_at = judged.settings, judged.names, judged.looked_at
    if len(names) > MOST_GROUPS:
        raise EdgelineError(
            f"fairness.group {settings.group!r} has {len(names):,} values, and at most "
            f"{MOST_GROUPS} groups are compared: name a column with fewer."
        )

    def told(name: str, rows: Sequence[GroupedRows], served: bool = False) -> FairnessSide:
        count = RESAMPLES if with_intervals else 0
        found = {
            each: measure(given, names, settings.min_rows, seed, f"{name} {each}", count)
            for each, given in zip(looked_at, rows, strict=True)
        }
        return FairnessSide(name, found, served)

    def side(name: str, scores: Array, at: float, served: bool = False) -> FairnessSide:
        rows = [judged.decided(scores, at, number) for number in range(len(looked_at))]
        return told(name, rows, served)

    notes: list[str] = []
    if len(judged.classes) > len(looked_at) > 1:
        notes.append(f"of {len(judged.classes)} classes the first {MOST_CLASSES} are looked at")
    sides: list[FairnessSide] = []
    thresholds: dict[str, float] = {}
    for scores in list(judged.columns.predictions.values())[1:]:
        sides.append(side("baseline", scores, _threshold(judged, scores)))
    if settings.mitigation == "thresholds":
        sides.append(side("one threshold", judged.scores, threshold))
        rows = judged.decided(judged.scores, threshold)
        thresholds = group_thresholds.choose(rows, names, threshold, settings)
        crossed = group_thresholds.crossed(rows, names, threshold, settings, seed)
        sides.append(told("thresholds by group", [crossed], served=True))
        if not thresholds:
            notes.append("fewer than two groups have enough rows of each label for thresholds")
    elif settings.trains:
        done = (judged.model.metadata.get("fairness") or {}).get("mitigation")
        if done != settings.mitigation:
            raise EdgelineError(
                f"fairness asks for {settings.mitigation}, but {judged.model.path} was trained "
                f"with {done or 'none'}: give train the same fairness."
            )
        if (folder := judged.model.path / WITHOUT).is_dir():
            scores = _scores(folder, judged)
            sides.append(side(f"without {settings.mitigation}", scores, _threshold(judged, scores)))
        else:
            notes.append(
                f"not compared with a training without {settings.mitigation}, which was not done: "
                "fairness.compare is false, or several workers trained"
            )
        sides.append(side(f"with {settings.mitigation}", judged.scores, threshold, served=True))
    else:
        sides.append(side("the model", judged.scores, threshold, served=True))
    notes += _notes(sides[-1], settings)
    return FairnessResult(settings, tuple(sides), thresholds, threshold, tuple(notes))


def _threshold(judged: JudgedRows, scores: Array) -> float:
    """The threshold of another model by the same goal, or the usual one."""
    if judged.goal is None or scores.ndim > 1:
        return USUAL
    weights = {} if judged.weight is None else {"": judged.weight}
    label = judged.columns.label.astype(np.float32)
    found = choose(judged.goal, exact.counted(BINARY, label, {"": scores}, weights)[""].by_score())
    return found.threshold if found.reached else USUAL


def _scores(folder: Path, judged: JudgedRows) -> Array:
    """What another model predicts of the same rows: float32 [rows] or [rows, classes]."""
    run, taken = predict.loaded({"": str(folder)}, judged.model.metadata["task"], {})
    found = [batch.predictions[""] for batch in predict.stream(run, judged.parts, taken)]
    predict.check_count(sum(map(len, found)), len(judged.columns.label), "Prediction")
    return np.concatenate(found)


def _notes(side: FairnessSide, settings: FairnessSettings) -> list[str]:
    first = next(iter(side.classes.values()))
    found = []
    if first.left_out:
        shown = [f"{name} ({count})" for name, count in list(first.left_out.items())[:10]]
        more = len(first.left_out) - len(shown)
        found.append(
            f"left out, with fewer than {settings.min_rows} rows: {', '.join(shown)}"
            + (f" and {more} more" if more else "")
        )
    for name, each in side.classes.items():
        found += [f"{name}: {said}" if name else said for said in each.undefined]
    return found


def put(overall: dict[str, Any], result: FairnessResult) -> dict[str, float]:
    """Put the differences among the metrics of all rows, as of `results.to_json`; those that have a
    value."""
    worst = result.served.worst
    for name, each in worst.items():
        overall["metrics"][name] = {
            key: value
            for key, value in each.to_json().items()
            if value is not None or key == "value"
        }
    return {name: each.value for name, each in worst.items() if each.value is not None}
