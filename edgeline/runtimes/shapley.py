"""Permutation SHAP: what each raw feature adds to a model's answer, from its answers alone.

A background row becomes the explained row one feature at a time, in a random order and in the
reverse of it; what the score changes by when it is a feature's turn is that feature's part. The
mean over orders and background rows estimates the Shapley value (E. Strumbelj, I. Kononenko,
"Explaining prediction models and individual predictions with feature contributions", 2014; orders
with their reverse: R. Mitchell et al., "Sampling Permutations for Shapley Value Estimation", 2022).
The parts of a row and its base add up to its score, whatever the orders are.

`attribute` explains many rows, as many as there is time for; `edgeline.runtimes.shapley_rounds`
a few, as well as there is time for.

shap's PermutationExplainer averages over all background rows for each order. Here each background
row has an order of its own: as many answers of the model see many more orders, and the estimate,
which is of the same value, varies less. A feature whose value is the same in both rows changes
nothing, so its turn asks the model nothing.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgeline.errors import EdgelineError
from edgeline.formats.dtypes import Array

EVALUATIONS = 4000  # of the model for a row, where it has many features
AT_ONCE = 1 << 15  # rows that the model is asked at once
AT_ONCE_BYTES = 64 << 20  # of these
GOLDEN = (5**0.5 - 1) / 2

Arrays = Mapping[str, Array]
Floats = npt.NDArray[np.float64]
ModelAnswers = Callable[[Arrays], Floats]  # raw features [rows, ...] to scores [rows, outputs]


@dataclass(frozen=True)
class Attributions:
    """What each feature adds to the score of each row.

    Attributes:
        values: float64 [rows, features], in units of the score.
        base: the mean score of the background rows, float64 [rows].
        score: of the row itself, float64 [rows]; `base` and the sum of `values`.
        done: bool [rows]; the other rows, for which there was no time, are NaN.
    """

    values: Floats
    base: Floats
    score: Floats
    done: npt.NDArray[np.bool_]


def attribute(
    models: Sequence[ModelAnswers],
    rows: Arrays,
    numbers: npt.NDArray[np.int64],
    targets: npt.NDArray[np.int64],
    background: Arrays,
    seed: int = 0,
    until: float = float("inf"),
    evaluations: int = EVALUATIONS,
) -> Attributions:
    """Explain rows by a model's answers.

    Args:
        models: the model, once for each thread that may ask it.
        rows: raw features, [rows, ...] each; each is a feature, whatever its shape.
        numbers: of the rows, int64 [rows]: with the seed they determine a row's orders, so that it
            gets the same explanation among any others.
        targets: which output is explained of each row, int64 [rows].
        background: rows whose values stand for an unknown one, [background, ...].
        until: `time.monotonic()` after which no more rows are begun. Those that were are evenly
            spread, and there are always some.
        evaluations: of the model for each row, at most, though at least one background row is used.

    Raises:
        EdgelineError: the model refuses a row, or answers what is not finite.
    """
    count, features = len(numbers), list(rows)
    base, score = np.full((2, count), np.nan)
    found = Attributions(
        np.full((count, len(features)), np.nan), base, score, np.zeros(count, bool)
    )
    known = finite_scores(models[0], background, "to a row of the background")
    order = answers_of_an_order(len(features))
    most = max(1, min(len(known), evaluations // order))
    again = max(1, evaluations // (order * most))
    together = max(1, min(AT_ONCE, _fit(rows)) // (order * most * again))
    pieces = -(-count // together)
    waiting, lock = iter(evenly(pieces)), threading.Lock()
    begun = False
    failed = threading.Event()

    def work(answers: ModelAnswers) -> None:
        nonlocal begun
        while not failed.is_set():
            with lock:
                piece = None if begun and time.monotonic() > until else next(waiting, None)
                begun = True
            if piece is None:
                return
            # every so-manyth row, so that those of a piece are spread, too
            chosen = np.arange(piece, count, pieces)
            given = {name: array[chosen] for name, array in rows.items()}
            some = Pairs.of(given, numbers[chosen], background, (most, again), seed)
            try:
                target = targets[chosen]
                own = np.take_along_axis(finite_scores(answers, given), target[:, None], axis=1)
                values, base = some.explained(answers, own[:, 0], target, known)
            except BaseException:
                failed.set()
                raise
            found.values[chosen], found.base[chosen] = values.mean(axis=1), base
            found.score[chosen] = own[:, 0]
            found.done[chosen] = True

    if len(models) == 1:
        work(models[0])
        return found
    with ThreadPoolExecutor(len(models)) as pool:
        for each in [pool.submit(work, answers) for answers in models]:
            each.result()
    return found


@dataclass(frozen=True)
class Pairs:
    """Explained rows, each with some background rows, and an order for each of these.

    Attributes:
        row: which row a pair has, int64 [pairs].
        other: which background row, int64 [pairs].
        order: features in the order in which they change, int64 [pairs, features].
        changes: whether that changes a value, bool [pairs, features].
        pool: the rows and behind them the background.
    """

    row: npt.NDArray[np.int64]
    other: npt.NDArray[np.int64]
    order: npt.NDArray[np.int64]
    changes: npt.NDArray[np.bool_]
    pool: Arrays

    @classmethod
    def of(
        cls,
        rows: Arrays,
        numbers: npt.NDArray[np.int64],
        background: Arrays,
        orders_of: tuple[int, int],
        seed: int,
    ) -> Pairs:
        """Background rows of each row, so many, and so many orders with each of these."""
        others, orders = [], []
        names = list(rows)
        known = len(background[names[0]])
        for number in numbers.tolist():
            random = np.random.default_rng([seed, number])
            chosen = np.repeat(random.permutation(known)[: orders_of[0]], orders_of[1])
            order = random.permuted(np.tile(np.arange(len(names)), (len(chosen), 1)), axis=1)
            others += [chosen, chosen]
            orders += [order, order[:, ::-1]]
        row = np.repeat(np.arange(len(numbers)), 2 * orders_of[0] * orders_of[1])
        other, order = np.concatenate(others), np.concatenate(orders)
        differs = np.stack(
            [~alike(rows[name][row], background[name][other]) for name in names], axis=1
        )
        pool = {name: np.concatenate([rows[name], background[name]]) for name in names}
        return cls(row, other, order, np.take_along_axis(differs, order, axis=1), pool)

    def explained(
        self,
        answers: ModelAnswers,
        own: Floats,
        targets: npt.NDArray[np.int64],
        known: Floats,
        at_once: int = 0,
    ) -> tuple[Floats, Floats]:
        """What each pair's features add, [rows, pairs of each, features], and base [rows]; `own`
        are the rows' scores [rows], `known` the background's. The model is asked `at_once` rows at
        a time, with 0 `AT_ONCE`."""
        target = targets[self.row]
        turns = np.cumsum(self.changes, axis=1, dtype=np.int64)  # changes up to and with each turn
        total = turns[:, -1]
        # the last change gives the row itself, which is known
        pair, turn = np.nonzero(self.changes & (turns < total[:, None]))
        place = np.argsort(self.order, axis=1)
        first, second = self.row[pair], len(targets) + self.other[pair]
        asked = np.empty(len(pair))
        step = at_once or AT_ONCE
        for start in range(0, len(pair), step):
            here = slice(start, start + step)
            # [asked, features]: those of the explained row
            taken = place[pair[here]] <= turn[here, None]
            mixed = {
                name: array[np.where(taken[:, at], first[here], second[here])]
                for at, (name, array) in enumerate(self.pool.items())
            }
            scores = finite_scores(
                answers, mixed, "where a row has some of its features from another"
            )
            asked[here] = np.take_along_axis(scores, target[pair][here, None], axis=1)[:, 0]
        # scores by how many features have changed
        table = np.empty((len(self.row), self.order.shape[1] + 1))
        table[:, 0] = known[self.other, target]
        table[pair, turns[pair, turn]] = asked
        changed = total > 0
        table[np.flatnonzero(changed), total[changed]] = own[self.row[changed]]
        before = turns - self.changes.astype(np.int64)
        steps = np.take_along_axis(table, turns, 1) - np.take_along_axis(table, before, 1)
        values = np.empty_like(steps)
        np.put_along_axis(values, self.order, steps, axis=1)
        each = (len(targets), -1)
        return (
            values.reshape(*each, steps.shape[1]),
            table[:, 0].reshape(each).mean(axis=1),
        )


def answers_of_an_order(features: int) -> int:
    """Answers of the model that an order of so many features with its reverse needs at most."""
    return max(2 * (features - 1), 1)


def alike(first: Array, second: Array) -> npt.NDArray[np.bool_]:
    """Which rows of two arrays [rows, ...] are equal, missing values being equal: bool [rows]."""
    equal = np.asarray(first == second, bool)
    if first.dtype.kind == "f":
        equal |= np.isnan(first) & np.isnan(second)
    return np.asarray(equal.reshape(len(first), -1).all(axis=1))


def evenly(count: int) -> list[int]:
    """Numbers below `count`, each once, of which any first ones lie about evenly."""
    places = np.arange(count) * GOLDEN % 1
    found: list[int] = np.argsort(np.argsort(places, kind="stable"), kind="stable").tolist()
    return found


def _fit(rows: Arrays) -> int:
    """How many rows are at most `AT_ONCE_BYTES`."""
    one = sum(array.nbytes // max(len(array), 1) for array in rows.values())
    return max(1, AT_ONCE_BYTES // max(one, 1))


def finite_scores(answers: ModelAnswers, rows: Arrays, of: str = "to a row") -> Floats:
    """What the model answers to rows; `of` says which these are.

    Raises:
        EdgelineError: it is not finite.
    """
    found = answers(rows)
    if not np.isfinite(found).all():
        wrong = found[~np.isfinite(found).all(axis=1)][0].tolist()
        raise EdgelineError(
            f"The model answers {wrong} {of}, so it cannot be explained: make it give finite "
            "numbers for any values of the training."
        )
    return found
