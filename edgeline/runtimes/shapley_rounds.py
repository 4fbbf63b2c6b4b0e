"""Permutation SHAP of a few rows within a budget: rounds of orders, as many as there is time for.

In each round every background row has an order of its own and the reverse of it, as in
`shapley.attribute`, whose values with the round's number as seed and 0 as number of each row are
those of the round. Their mean estimates the Shapley value as well as so many orders do, and the
parts of a row and its base add up to its score, after any number of rounds.

How far off a part may be is the standard error of a mean over background rows (W. G. Cochran,
"Sampling Techniques", 1977, 2.6): other recorded rows, or other orders, would give another part.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic, process_time
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from edgeline.runtimes.shapley import (
    Arrays,
    Floats,
    ModelAnswers,
    Pairs,
    answers_of_an_order,
    finite_scores,
)

FEW, AT_ONCE = 4, 512  # rows that the model is asked at once, at first and at most
LOOK = 0.02  # seconds of a core between two looks at the budget, if the model is not slower
FIRST = 0.5  # of the time, that the first round may take by what the background's rows took
ROUNDS = 100  # after which a part hardly changes
T = TypeVar("T")


@dataclass(frozen=True)
class ShapleyEstimate:
    """What each feature adds to the score of each row.

    Attributes:
        values: float64 [rows, features], in units of the score.
        errors: the standard error of each value, float64 [rows, features]; NaN where one
            background row was used.
        base: the mean score of the background rows that were used, float64 [rows].
        score: of the row itself, float64 [rows]; `base` and the sum of `values`.
        orders: of the features, for each row, with their reverse.
        background_rows: different ones that were used, for each row.
        asked: rows that the model was asked.
    """

    values: Floats
    errors: Floats
    base: Floats
    score: Floats
    orders: int
    background_rows: int
    asked: int


class OutOfTimeError(Exception):
    """Not even one round was done in time."""


class UnwantedError(Exception):
    """Nobody waits for the answer any more."""


def least_evaluations(rows: int, features: int, background: int) -> int:
    """Rows that the model is asked for the smallest estimate: one order for each row."""
    return rows * (answers_of_an_order(features) + 1) + background


def estimate(
    asking: BudgetedAsking,
    model: ModelAnswers,
    rows: Arrays,
    own: Floats,
    targets: npt.NDArray[np.int64],
    background: Arrays,
) -> ShapleyEstimate:
    """Explain rows by a model's answers, as well as the budget allows.

    Args:
        asking: asks the model, within the budget. It may have asked the rows themselves already.
        model: raw features [rows, ...] to scores [rows, outputs].
        rows: raw features, [rows, ...] each; each is a feature, whatever its shape.
        own: the score of each row, finite, float64 [rows].
        targets: which output is explained of each row, int64 [rows].
        background: rows whose values stand for an unknown one, [background, ...] each.

    Raises:
        OutOfTimeError: the time was over in the first round.
        UnwantedError: nobody wants the answer.
        EdgelineError: the model refuses a row, or answers what is not finite.
    """

    def answers(some: Arrays) -> Floats:
        return np.concatenate(asking(model, some))

    count, features = len(targets), len(rows)
    began = monotonic()
    known = finite_scores(answers, background, "to a recorded row")
    rate = len(known) / max(monotonic() - began, 1e-6)
    order = count * answers_of_an_order(features)
    fit = int(min(asking.left, FIRST * (asking.until - monotonic()) * rate))
    used = max(1, min(len(known), fit // order))
    sums = np.zeros((count, len(known), features))
    pairs = np.zeros((count, len(known)), np.int64)
    bases, turn = np.zeros(count), 0
    rounds = max(1, min(ROUNDS, asking.left // (order * used)))
    while turn < rounds:
        made = Pairs.of(rows, np.zeros(count, np.int64), background, (used, 1), turn)
        try:
            steps, base = made.explained(answers, own, targets, known, AT_ONCE)
        except OutOfTimeError:
            if not turn:
                raise
            break
        np.add.at(sums, (made.row, made.other), steps.reshape(-1, features))
        np.add.at(pairs, (made.row, made.other), 1)
        bases, turn = bases + base, turn + 1
    return ShapleyEstimate(
        sums.sum(axis=1) / (2 * used * turn),
        _errors(sums, pairs),
        bases / turn,
        own,
        used * turn,
        int((pairs[0] > 0).sum()),
        asking.asked,
    )


def _errors(sums: Floats, pairs: npt.NDArray[np.int64]) -> Floats:
    """Standard errors [rows, features] of means over background rows, of sums [rows, background,
    features] over so many pairs [rows, background]."""
    found = np.full((sums.shape[0], sums.shape[2]), np.nan)
    for row, counts in enumerate(pairs):
        there = counts > 0
        if (number := int(there.sum())) > 1:
            means = sums[row, there] / counts[there, None]
            found[row] = means.std(axis=0, ddof=1) / np.sqrt(number)
    return found


class BudgetedAsking:
    """Asks a model a few rows at a time, as long as there is time and somebody waits.

    How many depends on how quick it is: a call cannot be ended. `asked` are the rows so far, `left`
    those that it may still be asked.
    """

    def __init__(
        self, evaluations: int, until: float, unwanted: Callable[[], bool] = lambda: False
    ) -> None:
        """A budget of rows, until a point of `time.monotonic`; `unwanted` is asked before each
        call of the model."""
        self._evaluations, self.until, self._unwanted = evaluations, until, unwanted
        self.asked, self._most = 0, FEW

    @property
    def left(self) -> int:
        return self._evaluations - self.asked

    def __call__(self, model: Callable[[Arrays], T], rows: Arrays) -> list[T]:
        """What a model answers to some rows after the others.

        Raises:
            OutOfTimeError: the time is over.
            UnwantedError: nobody wants the answer.
        """
        count = len(next(iter(rows.values())))
        found: list[T] = []
        start = 0
        while start < count:
            if self._unwanted():
                raise UnwantedError
            if monotonic() > self.until:
                raise OutOfTimeError
            end, began = min(count, start + self._most), process_time()
            found.append(model({name: array[start:end] for name, array in rows.items()}))
            spent = process_time() - began
            self.asked += end - start
            if spent > LOOK:
                self._most = max(1, self._most // 2)
            elif spent < LOOK / 2 and end - start == self._most:
                self._most = min(2 * self._most, AT_ONCE)
            start = end
        return found
