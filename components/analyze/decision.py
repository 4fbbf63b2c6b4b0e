"""From which score on a binary model says yes: the threshold that a declared goal asks for.

Goals are those of `decision_goal`. Every threshold that decides differently on some row is looked
at. Of several that are as good, the one nearest to 0.5 is taken. Precision, recall and F1 as in
C. J. van Rijsbergen, Information Retrieval, 1979.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np

from edgeline.artifacts.decision_threshold import USUAL, says_yes
from edgeline.components.analyze.decision_goal import PARAMETER, PROPOSED, DecisionGoal
from edgeline.formats.dtypes import Array
from edgeline.formats.told_apart import told_apart
from edgeline.runtimes.metrics import ScoreTable

SMALLEST = float(np.finfo(np.float32).tiny)
NEAR = 1e-9  # a share that is this near to what is asked for reaches it
MOST_DIGITS = 9


@dataclass(frozen=True)
class ThresholdOutcome:
    """What comes of deciding by a threshold: a score above it is a yes.

    Attributes:
        goal: what it was chosen by, as `decision_goal.parse` takes it; "" where nobody chose.
        reached: whether it holds the goal; where none does, this is the nearest to it.
        exact: whether scores were told apart; if not, they were counted in bins (see `ScoreTable`).
        true_positives, false_positives, false_negatives, true_negatives: rows.
    """

    goal: str
    threshold: float
    true_positives: float
    false_positives: float
    false_negatives: float
    true_negatives: float
    reached: bool = True
    exact: bool = True

    @property
    def precision(self) -> float | None:
        """None where nothing is a yes."""
        return _share(self.true_positives, self.true_positives + self.false_positives)

    @property
    def recall(self) -> float | None:
        """None where there is no positive row."""
        return _share(self.true_positives, self.true_positives + self.false_negatives)

    @property
    def f1(self) -> float | None:
        """None where there is neither a positive row nor a yes."""
        wrong = self.false_positives + self.false_negatives
        return _share(2 * self.true_positives, 2 * self.true_positives + wrong)

    @property
    def confusion(self) -> Array:
        """Rows by label and decision, [2, 2]."""
        return np.array(
            [
                [self.true_negatives, self.false_positives],
                [self.false_negatives, self.true_positives],
            ]
        )

    def to_json(self) -> dict[str, object]:
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, object]) -> ThresholdOutcome:
        return cls(**value)  # type: ignore[arg-type]

    def summary(self) -> dict[str, float | None]:
        """What people compare thresholds by."""
        return {
            "threshold": self.threshold,
            "precision": self.precision,
            "recall": self.recall,
            "f1": self.f1,
        }


def at(threshold: float, scores: ScoreTable) -> ThresholdOutcome:
    """What comes of a threshold that nobody chose."""
    yes = says_yes(scores.lowest, threshold)
    (tn, fn), (fp, tp) = (scores.counts[:, side].sum(axis=1).tolist() for side in (~yes, yes))
    return ThresholdOutcome("", threshold, tp, fp, fn, tn, exact=scores.exact)


def choose(goal: DecisionGoal, scores: ScoreTable) -> ThresholdOutcome:
    """The threshold that a goal asks for, or the nearest where none reaches it.

    Args:
        scores: of rows with a label.
    """
    total = scores.counts.sum(axis=1, keepdims=True)
    below = np.concatenate([np.zeros((2, 1)), np.cumsum(scores.counts, axis=1)], axis=1)
    (tn, fn), (fp, tp) = below, total - below
    least = np.maximum(np.concatenate([[0.0], scores.highest]), SMALLEST)
    most = np.minimum(np.concatenate([scores.lowest, [1.0]]), 1.0)
    possible = np.flatnonzero(least < most)
    if not total.all() or not len(possible):
        return replace(at(USUAL, scores), goal=str(goal), reached=False)
    tp, fp, fn, tn, least, most = (each[possible] for each in (tp, fp, fn, tn, least, most))
    precision = np.where(tp + fp > 0, tp / np.maximum(tp + fp, SMALLEST), 0.0)
    recall = tp / total[1]
    f1 = 2 * tp / (2 * tp + fp + fn)
    near = -np.abs((least + most) / 2 - USUAL)
    reached = np.ones(len(possible), bool)
    order: tuple[Array, ...]
    if goal.kind == "f1":
        order, reached = (f1,), f1 > 0
    elif goal.kind == "cost":
        order = (-(goal.false_negative * fn + goal.false_positive * fp),)
    else:
        asked, other = (recall, precision) if goal.kind == "recall" else (precision, recall)
        reached = asked >= goal.least - NEAR
        order = (other, asked) if reached.any() else (asked, other)
    chosen = np.flatnonzero(reached) if reached.any() else np.arange(len(possible))
    for values in (*order, near):
        best = values[chosen].max()
        chosen = chosen[values[chosen] >= best - NEAR * max(1.0, abs(best))]
    place = int(chosen[0])
    return ThresholdOutcome(
        str(goal),
        between(float(least[place]), float(most[place])),
        true_positives=float(tp[place]),
        false_positives=float(fp[place]),
        false_negatives=float(fn[place]),
        true_negatives=float(tn[place]),
        reached=bool(reached[place]),
        exact=scores.exact,
    )


def between(least: float, most: float) -> float:
    """A short number that decides as any from `least` up to below `most` does, as float32, too.

    It lies in the middle half of what there is, where it has at most nine digits: a model in
    another arithmetic gives scores that are a little off.
    """
    middle, quarter = (least + most) / 2, (most - least) / 4
    for digits in range(1, MOST_DIGITS + 1):
        short = round(middle, digits)
        if abs(short - middle) <= quarter and _fits(short, least, most):
            return short
    single = float(np.float32(middle))
    return single if _fits(single, least, most) else least


def sentence(decision: ThresholdOutcome, split: str) -> str:
    """Why a goal is not reached."""
    found = {"recall": decision.recall, "precision": decision.precision}
    kind, _, least = decision.goal.partition(">=")
    highest = found.get(kind)
    if decision.true_positives + decision.false_negatives == 0:
        why = f"{split} has no positive row"
    elif decision.true_negatives + decision.false_positives == 0:
        why = f"{split} has no negative row"
    elif highest is not None:
        shown, _ = told_apart(highest, float(least), ".3g")
        why = f"the highest {kind} is {shown}, at the threshold {decision.threshold:.3g}"
    else:
        why = "no positive row has a score above 0"
    return (
        f"No decision threshold reaches {decision.goal} on {split}: {why}. Correct {PARAMETER}, or "
        "the model."
    )


def summaries(chosen: ThresholdOutcome, usual: ThresholdOutcome) -> dict[str, float]:
    """Numbers of a run's table: of the chosen threshold, and of 0.5 beside them."""
    found = {"decision_threshold": chosen.threshold}
    for decision, behind in ((chosen, ""), (usual, f"_at_{USUAL:g}")):
        for name in ("precision", "recall", "f1"):
            value = getattr(decision, name)
            if value is not None:
                found[f"decision_{name}{behind}"] = value
    return found


def goals(declared: DecisionGoal | None) -> tuple[DecisionGoal, ...]:
    """The declared goal first, and those that a threshold is proposed for."""
    rest = tuple(goal for goal in PROPOSED if goal != declared)
    return rest if declared is None else (declared, *rest)


def decisions(asked: Iterable[DecisionGoal], scores: ScoreTable) -> list[ThresholdOutcome]:
    """What comes of 0.5, and of the threshold of each goal."""
    return [at(USUAL, scores), *(choose(goal, scores) for goal in asked)]


def of_goal(
    goal: DecisionGoal | None, decisions: Sequence[ThresholdOutcome]
) -> ThresholdOutcome | None:
    """What comes of the threshold of the declared goal; None where it is not reached."""
    if goal is None or not decisions[1].reached:
        return None
    return decisions[1]


def _fits(value: float, least: float, most: float) -> bool:
    return least <= value < most and least <= float(np.float32(value)) < most


def _share(part: float, whole: float) -> float | None:
    return part / whole if whole else None
