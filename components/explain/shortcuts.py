"""Shortcuts: a feature that carries nearly all, so that the others hardly count.

R. Geirhos et al., "Shortcut Learning in Deep Neural Networks", 2020. Such a feature is often the
label in another form, an identifier, or what only these data have. Two signs are looked for: its
share of the importance, and how much of the metric's distance from guessing is lost where this
feature alone is permuted over the rows (L. Breiman, "Random Forests", 2001).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeline.components.explain.importance import FeatureImportance
from edgeline.formats.dtypes import Array
from edgeline.runtimes import metrics
from edgeline.runtimes.metric_names import ACCURACY, AUC, MSE
from edgeline.runtimes.shapley import ModelAnswers

SHARE = 0.8  # of the importance, above which a feature carries all
LOST = 0.9  # of what a metric is better than guessing
LEAST_SKILL = 0.02  # of the metric; a model that guesses has no shortcut
REPEATS = 5  # permutations of a feature, whose mean counts
MOST_FEATURES = 50  # that are permuted, the most important ones

Arrays = Mapping[str, Array]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class PermutedFeature:
    """The metric with one feature permuted.

    Attributes:
        value: the mean over the permutations.
        lost: the share of what the metric is better than guessing; above 1 where it is worse then.
    """

    feature: str
    value: float
    lost: float


@dataclass(frozen=True)
class Skill:
    """How good the edge model is on the explained rows, and what each feature has of it.

    Attributes:
        metric: auc, accuracy or mean_squared_error.
        value: on the rows as they are.
        guess: without any feature: 0.5, the share of the most frequent label, or the variance.
        permuted: by feature, what loses most first.
    """

    metric: str
    value: float
    guess: float
    permuted: tuple[PermutedFeature, ...]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Shortcut:
    """A feature that carries nearly all, and the sentence that says so."""

    feature: str
    sentence: str


def skill(
    answers: ModelAnswers,
    rows: Arrays,
    label: Array,
    task: str,
    names: Sequence[str],
    seed: int,
) -> Skill | None:
    """The metric of labelled rows, as they are and with each feature permuted.

    Args:
        label: as a model's signature `evaluate` gives it, [rows]; rows where it is not finite are
            left out.
        names: of features, the most important first.

    Returns:
        None where no row has a label, or all have the same.
    """
    known = np.isfinite(label.astype(np.float64))
    if len(np.unique(label[known])) < 2:
        return None
    rows = {name: array[known] for name, array in rows.items()}
    label, random = label[known], np.random.default_rng(seed)

    def measured(given: Arrays) -> float:
        counted = metrics.metric(task, 0.5)
        counted.add(answers(given), label)
        value = counted.result()[metric]
        assert value is not None  # both labels are there
        return value

    if task == "binary_classification":
        metric, guess = AUC, 0.5
    elif task == "regression":
        metric, guess = MSE, float(label.astype(np.float64).var())
    else:
        metric = ACCURACY
        guess = float(np.unique(label, return_counts=True)[1].max() / len(label))
    value = measured(rows)
    if abs(value - guess) < LEAST_SKILL * (guess if metric == MSE else 1):
        return Skill(metric, value, guess, ())
    permuted = []
    for name in names[:MOST_FEATURES]:
        orders = [random.permutation(len(label)) for _ in range(REPEATS)]
        mean = float(np.mean([measured({**rows, name: rows[name][each]}) for each in orders]))
        permuted.append(PermutedFeature(name, mean, (value - mean) / (value - guess)))
    permuted.sort(key=lambda each: -each.lost)
    return Skill(metric, value, guess, tuple(permuted))


def shortcuts(found: Sequence[FeatureImportance], measured: Skill | None) -> list[Shortcut]:
    """The features of several that carry nearly all, if there are any.

    Args:
        found: the importances, the largest first.
        measured: as `skill` gives it.
    """
    if len(found) < 2:
        return []
    named: dict[str, list[str]] = {}
    if found[0].share > SHARE:
        named[found[0].feature] = [f"carries {found[0].share:.0%} of the importance"]
    for each in measured.permuted if measured else ():
        assert measured
        if each.lost >= LOST:
            named.setdefault(each.feature, []).append(
                f"alone holds all of {measured.metric}: permuted over the rows, it falls from "
                f"{measured.value:.3f} to {each.value:.3f}, where guessing gives "
                f"{measured.guess:.3f}"
                if measured.metric != MSE
                else f"alone holds all of the fit: permuted over the rows, {MSE} grows from "
                f"{measured.value:.4g} to {each.value:.4g}, where guessing gives "
                f"{measured.guess:.4g}"
            )
    return [
        Shortcut(
            name,
            f"{name!r} {' and '.join(said)}. Is it the label in another form, an identifier, or "
            "something that only these data have?",
        )
        for name, said in named.items()
    ]
