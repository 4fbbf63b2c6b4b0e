"""How often the edge model is right where its score is so high: a map from scores to probabilities.

`verify` fits it to the held-out rows on which it compares the models, `publish` puts it into the
bundle as `calibration.json`, and the server estimates from it how good the model still is (see
`edgeline.runtimes.estimated`). Needs numpy alone.

The map is the isotonic regression of outcomes on scores: the rising steps with the least squared
error, found by pooling adjacent violators (M. Ayer et al., An empirical distribution function for
sampling with incomplete information, Annals of Mathematical Statistics 26, 1955; for scores of
classifiers B. Zadrozny and C. Elkan, Transforming classifier scores into accurate multiclass
probability estimates, KDD 2002). Between two steps it is linear, beyond the ends constant, as
scikit-learn's `IsotonicRegression(out_of_bounds="clip")` is.

| task       | score                     | probability that           |
|------------|---------------------------|----------------------------|
| binary     | the positive class's      | the label is positive      |
| multiclass | the largest of a row      | its class is the label     |

A regression has no score, and no map.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from edgeline.errors import EdgelineError
from edgeline.formats import typed
from edgeline.formats.dtypes import Array

FILE = "calibration.json"
FORMAT = "calibration/v1"
LEAST_ROWS = 100  # labelled ones; of fewer no map is made
MOST_ROWS = 1 << 20  # evenly spread ones that a map is made of
MOST_STEPS = 400
TASKS = (BINARY, MULTICLASS) = ("binary_classification", "multiclass_classification")
METRICS = ("accuracy", "auc")


@dataclass(frozen=True)
class Calibration:
    """The steps of a map, by rising score.

    Attributes:
        task: one of `TASKS`.
        lows, highs: the smallest and largest score of each step, float64 [steps].
        probabilities: float64 [steps], never falling.
        rows: held-out rows of each step, int64 [steps].
        metrics: what the edge model reached on these rows: `accuracy`, of a binary model `auc`.
    """

    task: str
    lows: Array
    highs: Array
    probabilities: Array
    rows: Array
    metrics: Mapping[str, float]

    def __call__(self, scores: Array) -> Array:
        """The probability of each score, float64 in its shape; of NaN that of the lowest."""
        places = np.column_stack([self.lows, self.highs]).reshape(-1)
        values = np.repeat(self.probabilities, 2)
        real = np.where(np.isnan(scores), -np.inf, scores)
        return np.asarray(np.interp(real, places, values), np.float64)

    def segments(self, scores: Array) -> Array:
        """Where each score lies, int64: at 2i + 1 in step i, at 2i between it and the one before.

        There are `2 * steps + 1` segments.
        """
        real = np.where(np.isnan(scores), -np.inf, np.asarray(scores, np.float64))
        below = np.searchsorted(self.lows, real, side="right")
        above = np.searchsorted(self.highs, real, side="left")
        return np.asarray(below + above, np.int64)

    @property
    def variances(self) -> Array:
        """Of the probability of each segment, as few held-out rows make it uncertain: float64.

        p (1 - p) / rows of a step, p with one right and one wrong row added (Laplace), so that a
        step of three right rows is not certain; between two steps the larger of the two.
        """
        p = (self.probabilities * self.rows + 1) / (self.rows + 2)
        steps = p * (1 - p) / self.rows
        found = np.empty(2 * len(steps) + 1)
        found[1::2] = steps
        found[0], found[-1] = steps[0], steps[-1]
        found[2:-1:2] = np.maximum(steps[1:], steps[:-1])
        return found

    def to_json(self) -> dict[str, object]:
        return {
            "edgeline_calibration": FORMAT,
            "task": self.task,
            "lows": self.lows.tolist(),
            "highs": self.highs.tolist(),
            "probabilities": self.probabilities.tolist(),
            "rows": self.rows.tolist(),
            "metrics": dict(self.metrics),
        }


def fit(task: str, scores: Array, outcomes: Array, metrics: Mapping[str, float]) -> Calibration:
    """The map of held-out rows.

    Args:
        scores: finite [rows], at least one.
        outcomes: what a probability is of, bool or 0 and 1 [rows].
    """
    places, which = np.unique(np.asarray(scores, np.float64), return_inverse=True)
    rows = np.bincount(which.reshape(-1)).astype(np.float64)
    sums = np.bincount(which.reshape(-1), np.asarray(outcomes, np.float64))
    steps: list[list[float]] = []  # low, high, sum of outcomes, rows
    for place, total, count in zip(places, sums, rows, strict=True):
        steps.append([place, place, total, count])
        while len(steps) > 1 and steps[-2][2] * steps[-1][3] >= steps[-1][2] * steps[-2][3]:
            _pool(steps, len(steps) - 2)
    while len(steps) > MOST_STEPS:
        table = np.array(steps)
        p, n = table[:, 2] / table[:, 3], table[:, 3]
        costs = (p[1:] - p[:-1]) ** 2 * n[1:] * n[:-1] / (n[1:] + n[:-1])
        _pool(steps, int(np.argmin(costs)))
    lows, highs, sums, rows = np.array(steps).T
    return Calibration(task, lows, highs, sums / rows, rows.astype(np.int64), metrics)


def _pool(steps: list[list[float]], place: int) -> None:
    """Make one step of two neighbours."""
    _, high, total, count = steps.pop(place + 1)
    steps[place][1] = high
    steps[place][2] += total
    steps[place][3] += count


@dataclass
class CalibrationRows:
    """The scores and outcomes of held-out rows, as they come.

    Args:
        task: of the model; of one that has no map nothing is kept.
        rows: how many will come; of more than `MOST_ROWS` evenly spread ones are kept.
    """

    task: str
    rows: int
    seen: int = 0
    kept: list[tuple[Array, Array]] = field(default_factory=list)

    def add(self, prediction: Array, label: Array) -> None:
        """Take in predictions [rows, n] and labels [rows]; those that are not finite are left out,
        and so are rows with a score that is not."""
        if self.task not in TASKS:
            return
        step = -(-self.rows // MOST_ROWS)
        chosen = np.arange(-self.seen % step, len(label), step)
        self.seen += len(label)
        prediction, label = prediction[chosen], label[chosen].astype(np.float64)
        if self.task == BINARY:
            scores, outcomes = prediction[:, -1], label > 0.5
        else:
            scores, outcomes = prediction.max(axis=1), prediction.argmax(axis=1) == label
        good = np.isfinite(scores) & np.isfinite(label)
        self.kept.append((scores[good].astype(np.float32), outcomes[good]))

    def result(self, metrics: Mapping[str, float | None]) -> Calibration | None:
        """The map; None of a regression, or of fewer than `LEAST_ROWS` rows.

        `metrics` are those of the edge model on these rows.
        """
        scores = np.concatenate([s for s, _ in self.kept]) if self.kept else np.zeros(0)
        if len(scores) < LEAST_ROWS:
            return None
        outcomes = np.concatenate([o for _, o in self.kept])
        known = {name: metrics.get(name) for name in METRICS}
        told = {name: value for name, value in known.items() if value is not None}
        return fit(self.task, scores, outcomes, told)


def dumps(calibration: Calibration) -> bytes:
    """A map as a file, the same bytes for the same map; floats in full, so below 40 kB."""
    return json.dumps(calibration.to_json(), separators=(",", ":")).encode() + b"\n"


def read(file: str | Path) -> Calibration:
    """Read a `calibration.json`.

    Raises:
        EdgelineError: it is missing or malformed.
    """
    try:
        return convert(typed.read(file))
    except EdgelineError as error:
        reason = str(error).removeprefix(f"{file} ").rstrip(".")
        raise EdgelineError(
            f"{file} is not a calibration of scores ({reason}): publish the bundle again."
        ) from None


def convert(value: object) -> Calibration:
    """The map that JSON is of (see `Calibration.to_json`).

    Raises:
        EdgelineError: it is malformed.
    """
    found: _File = typed.convert(value, _File)
    return _checked(found)


@dataclass(frozen=True)
class _File:
    edgeline_calibration: str
    task: str
    lows: tuple[float, ...]
    highs: tuple[float, ...]
    probabilities: tuple[float, ...]
    rows: tuple[int, ...]
    metrics: Mapping[str, float]


def _checked(found: _File) -> Calibration:
    if found.edgeline_calibration != FORMAT:
        raise EdgelineError(f"it is of format {found.edgeline_calibration[:40]!r}, not {FORMAT}")
    if found.task not in TASKS:
        raise EdgelineError(f"the task {found.task[:40]!r} has no scores")
    sizes = {len(each) for each in (found.lows, found.highs, found.probabilities, found.rows)}
    if len(sizes) > 1 or not 0 < len(found.rows) <= MOST_STEPS:
        raise EdgelineError(f"it does not have 1 to {MOST_STEPS} steps in each list")
    if min(found.rows) < 1 or sum(found.rows) > 1 << 53:
        raise EdgelineError("rows has a number of rows that cannot be")
    lows, highs, p = (
        np.array(each, np.float64) for each in (found.lows, found.highs, found.probabilities)
    )
    if not np.isfinite([lows, highs, p]).all() or (lows > highs).any():
        raise EdgelineError("a step has no finite beginning and end")
    if (highs[:-1] >= lows[1:]).any() or (np.diff(p) < 0).any() or p[0] < 0 or p[-1] > 1:
        raise EdgelineError("its steps do not rise, within 0 and 1")
    if any(not 0 <= found.metrics.get(name, 0.0) <= 1 for name in METRICS):
        raise EdgelineError("metrics has a value beyond 0 and 1")
    known = {name: found.metrics[name] for name in METRICS if name in found.metrics}
    return Calibration(found.task, lows, highs, p, np.array(found.rows, np.int64), known)
