"""A decision threshold for each group, so that groups are decided about alike.

The post-processing of M. Hardt, E. Price and N. Srebro, Equality of Opportunity in Supervised
Learning, 2016, with thresholds alone: theirs may also decide by chance, which nobody can explain to
the person concerned. So the rates cannot always be made equal. Looked for is the smallest
difference that costs no more accuracy than is allowed: all groups' rates have to lie within a
window of that width, and of the thresholds that hold it each group has its most accurate one, of
nearly equal ones that which lies near the threshold of all rows: a score is a little another one in
other arithmetic, and few rows tell where between distant thresholds to decide.

What comes of thresholds is told for rows that they were not chosen on: rows are put into five folds
by chance, and each fold is decided by thresholds of the other four.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from edgeline.artifacts.decision_threshold import says_yes
from edgeline.artifacts.fairness import FairnessSettings
from edgeline.components.analyze import confidence
from edgeline.components.analyze.decision import between
from edgeline.components.analyze.group_fairness import Floats, GroupedRows
from edgeline.formats.dtypes import Array

CUTS = 100  # thresholds of a group that are looked at, at quantiles of its scores
STARTS = 51  # of a window, from 0 to 1
HALVINGS = 7  # of what the difference may be
FOLDS = 5
EDGE = 0.01  # no threshold is nearer to 0 or 1, where scores of sure rows lie close together
FAR = 0.01  # of a group's rows that have to be right instead, for a threshold that is 1 away


@dataclass(frozen=True)
class _Group:
    """What comes of each threshold of a group: rates of yes [axes, cuts], right rows [cuts], and
    these less what it costs to be far from the usual threshold [cuts]."""

    thresholds: Floats
    rates: Floats
    right: Floats
    worth: Floats


def choose(
    rows: GroupedRows, names: Sequence[str], usual: float, settings: FairnessSettings
) -> dict[str, float]:
    """The threshold of each group that has enough rows, by its name.

    Left out are groups that have fewer than `min_rows`, or no row of a label that the criterion is
    about: these are decided by `usual`.

    Args:
        names: of the groups, by number.
        usual: the threshold of all rows.
    """
    weight = np.ones(len(rows.label)) if rows.weight is None else rows.weight
    groups: dict[str, _Group] = {}
    for number, name in enumerate(names):
        here = rows.group == number
        if here.sum() < settings.min_rows:
            continue
        found = _cuts(rows.label[here], rows.score[here], weight[here], usual, settings.criterion)
        if found is not None:
            groups[name] = found
    if len(groups) < 2:
        return {}
    given = list(groups.values())
    at_usual = sum(float(each.right[0]) for each in given)  # the first cut is the usual one
    least = at_usual - settings.max_accuracy_drop * float(weight.sum())
    rates = np.stack([each.rates[:, 0] for each in given])
    widest = float((rates.max(0) - rates.min(0)).max())
    best = np.zeros(len(given), int)
    low, high = 0.0, widest
    for _ in range(HALVINGS):
        width = (low + high) / 2
        chosen = _within(given, width)
        if chosen is not None and _right(given, chosen) >= least:
            best, high = chosen, width
        else:
            low = width
    return {
        name: float(each.thresholds[cut])
        for (name, each), cut in zip(groups.items(), best.tolist(), strict=True)
    }


def decide(
    score: Array,
    group: Array,
    names: Sequence[str],
    thresholds: Mapping[str, float],
    usual: float,
) -> Array:
    """Which rows are a yes, bool [rows]; a group without a threshold has the usual one."""
    by_group = np.array([thresholds.get(name, usual) for name in names], np.float32)
    return says_yes(score, by_group[group])  # type: ignore[arg-type]


def crossed(
    rows: GroupedRows, names: Sequence[str], usual: float, settings: FairnessSettings, seed: int
) -> GroupedRows:
    """The rows as they are decided by thresholds that were chosen on other rows."""
    random = confidence.generator(seed, "folds")
    fold = random.permutation(len(rows.label)) % FOLDS
    yes = np.zeros(len(rows.label), bool)
    # of a group that has just enough rows, fewer are among the others
    least = max(1, int(settings.min_rows * (1 - 2 / FOLDS)))
    for number in range(FOLDS):
        here = fold == number
        others = _some(rows, ~here)
        thresholds = choose(others, names, usual, replace(settings, min_rows=least))
        yes[here] = decide(rows.score[here], rows.group[here], names, thresholds, usual)
    return replace(rows, yes=yes)


def _some(rows: GroupedRows, which: Array) -> GroupedRows:
    weight = None if rows.weight is None else rows.weight[which]
    return GroupedRows(
        rows.label[which], rows.yes[which], rows.score[which], rows.group[which], weight
    )


def _cuts(
    label: Array, score: Array, weight: Floats, usual: float, criterion: str
) -> _Group | None:
    """What comes of a group's thresholds, the usual one first; None where a rate is unknown."""
    order = np.argsort(score, kind="stable")
    score, label, weight = score[order], label[order], weight[order]
    positive = np.concatenate([[0.0], np.cumsum(weight * label)])
    total = np.concatenate([[0.0], np.cumsum(weight)])
    # a cut is the number of rows that are a no: between two different scores, or beyond all
    possible = np.flatnonzero(np.concatenate([[True], score[1:] > score[:-1], [True]]))
    places = np.unique(np.linspace(0, len(possible) - 1, CUTS).round().astype(int))
    cuts = possible[places]
    usual_cut = int(np.searchsorted(score, np.float32(usual), side="right"))
    cuts = np.concatenate([[usual_cut], cuts[cuts != usual_cut]])
    yes, hit = total[-1] - total[cuts], positive[-1] - positive[cuts]
    negatives = total[-1] - positive[-1]
    if criterion == "demographic_parity":
        rates = [yes / total[-1]]
    elif not positive[-1] or (criterion == "equalised_odds" and not negatives):
        return None
    else:
        rates = [hit / positive[-1]]
        if criterion == "equalised_odds":
            rates.append((yes - hit) / negatives)
    right = hit + (total[cuts] - positive[cuts])
    ends = np.concatenate([[0.0], score.astype(np.float64), [1.0]])
    thresholds = [usual] + [between(float(ends[cut]), float(ends[cut + 1])) for cut in cuts[1:]]
    kept = np.array([EDGE <= each <= 1 - EDGE for each in thresholds])
    kept[0] = True
    far = np.abs(np.array(thresholds) - usual)
    worth = right - FAR * total[-1] * far
    return _Group(np.array(thresholds)[kept], np.stack(rates)[:, kept], right[kept], worth[kept])


def _within(groups: Sequence[_Group], width: float) -> Array | None:
    """The best cut of each group, all of whose rates lie within a window; None: no window holds one
    of each."""
    starts = np.linspace(0, 1, STARTS)
    shape = (STARTS,) * len(groups[0].rates)
    total = np.zeros(shape)
    chosen = []
    for each in groups:
        there = np.ones((*shape, each.rates.shape[1]), bool)
        for axis, rate in enumerate(each.rates):
            held = (rate >= starts[:, None] - 1e-9) & (rate <= starts[:, None] + width + 1e-9)
            there &= held if len(shape) == 1 else np.expand_dims(held, 1 - axis)
        worth = np.where(there, each.worth, -np.inf)
        chosen.append(worth.argmax(-1))
        total += worth.max(-1)
    best = np.unravel_index(int(total.argmax()), shape)
    if not np.isfinite(total[best]):
        return None
    return np.array([each[best] for each in chosen])


def _right(groups: Sequence[_Group], chosen: Array) -> float:
    return sum(float(each.right[cut]) for each, cut in zip(groups, chosen, strict=True))
