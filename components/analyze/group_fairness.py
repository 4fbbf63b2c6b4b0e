"""How differently a classifier treats groups of rows: differences of rates, with intervals.

| metric                        | between groups, of decisions                              |
|-------------------------------|-----------------------------------------------------------|
| demographic_parity_difference | largest less smallest share of yes                        |
| demographic_parity_ratio      | smallest over largest share of yes                        |
| equalised_odds_difference     | the larger of two: the difference of true positive rates, |
|                               | and that of false positive rates                          |
| equal_opportunity_difference  | largest less smallest true positive rate                  |
| calibration_difference        | largest less smallest expected calibration error          |

Definitions are fairlearn's (`demographic_parity_difference`, `demographic_parity_ratio`,
`equalized_odds_difference`, `equal_opportunity_difference`, each between groups), after M. Hardt,
E. Price and N. Srebro, Equality of Opportunity in Supervised Learning, 2016. The expected
calibration error has 15 bins of equal width (C. Guo et al., On Calibration of Modern Neural
Networks, 2017), of the score of yes.

An interval is the value and, on both sides, the 95 % quantile of how far 1,000 Poisson resamples
lie from it (P. Hall, On Symmetric Bootstrap Confidence Intervals, 1988). The largest less the
smallest of several rates is larger in resamples than in truth, so of a difference that is the
difference of the groups' deviations from their own rates: by the triangle inequality the interval
covers the true one at least as often as it is meant to, however many groups there are. Of the ratio
it is so of its logarithm.

The rows of a cell (a group, a label, a decision, a narrow band of scores) are drawn together: their
number is a Poisson number with their count as its mean, which is what Poisson(1) draws of each add
up to. Of weighted rows it is scaled so that mean and variance are those of the sum (M. P. Fay and
E. J. Feuer, Confidence intervals for directly standardized rates, 1997).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgeline.artifacts.fairness import DIFFERENCES
from edgeline.components.analyze import confidence
from edgeline.formats.dtypes import Array

BINS, BANDS = 15, 8  # of the calibration error, and of a bin
RESAMPLES = 1000
MOST_CELLS = 1 << 22  # that are drawn together

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class GroupedRows:
    """Labelled, decided rows.

    label, yes: bool [rows]; score: of yes, 0 to 1, float32 [rows]; group: number of the group
    [rows]; weight: float64 [rows], None where each counts once.
    """

    label: Array
    yes: Array
    score: Array
    group: Array
    weight: Floats | None = None


@dataclass(frozen=True)
class Estimate:
    """A number with its 95 % interval; None where it is undefined."""

    value: float | None
    lower: float | None = None
    upper: float | None = None

    def to_json(self) -> dict[str, float | None]:
        return {"value": self.value, "lower": self.lower, "upper": self.upper}


@dataclass(frozen=True)
class GroupRates:
    """A group: rows; the share of yes among all, positive and negative rows; calibration error."""

    name: str
    rows: int
    positive_rate: Estimate
    true_positive_rate: Estimate
    false_positive_rate: Estimate
    calibration_error: Estimate

    def to_json(self) -> dict[str, object]:
        return {
            "name": self.name,
            "rows": self.rows,
            **{name: getattr(self, name).to_json() for name in RATES},
        }


RATES = ("positive_rate", "true_positive_rate", "false_positive_rate", "calibration_error")


@dataclass(frozen=True)
class GroupFairness:
    """What comes of some decisions.

    Attributes:
        groups: those that have enough rows, by falling number.
        left_out: rows of the others, by name.
        differences: by the names of `DIFFERENCES`.
        accuracy: of all rows, those of small groups too.
        undefined: why differences have no value, in sentences.
    """

    groups: tuple[GroupRates, ...]
    left_out: Mapping[str, int]
    differences: Mapping[str, Estimate]
    accuracy: Estimate
    undefined: tuple[str, ...] = ()

    def to_json(self) -> dict[str, object]:
        return {
            "groups": [each.to_json() for each in self.groups],
            "left_out": dict(self.left_out),
            "differences": {name: each.to_json() for name, each in self.differences.items()},
            "accuracy": self.accuracy.to_json(),
            "undefined": list(self.undefined),
        }


def measure(
    rows: GroupedRows,
    names: Sequence[str],
    min_rows: int,
    seed: int = 0,
    name: str = "",
    resamples: int = RESAMPLES,
) -> GroupFairness:
    """Rates of groups and their differences.

    Args:
        names: of the groups, by number.
        min_rows: a group with fewer rows is left out.
        seed, name: of the resamples, which differ by the name of what is measured.
        resamples: 0: no intervals.
    """
    counts = np.bincount(rows.group, minlength=len(names))
    kept = [int(at) for at in np.argsort(-counts, kind="stable") if counts[at] >= min_rows]
    left_out = {names[at]: int(counts[at]) for at in range(len(names)) if 0 < counts[at] < min_rows}
    weight = np.ones(len(rows.label)) if rows.weight is None else rows.weight
    place = np.full(len(names), len(kept))
    place[kept] = np.arange(len(kept))
    shape = (len(kept) + 1, 2, 2, BINS * BANDS)  # the last is of all small groups
    band = np.clip((rows.score * (BINS * BANDS)).astype(np.int64), 0, BINS * BANDS - 1)
    cell = np.ravel_multi_index(
        (place[rows.group], rows.label.astype(int), rows.yes.astype(int), band), shape
    )
    cells, inverse = np.unique(cell, return_inverse=True)
    mass = np.bincount(inverse, weight).astype(np.float64)
    squares = np.bincount(inverse, weight**2)
    score = np.bincount(inverse, weight * rows.score.astype(np.float64)) / np.where(mass, mass, 1)
    found = [_statistics(mass[None], score, cells, shape)]
    if resamples:
        random = confidence.generator(seed, f"fairness {name}")
        scale = np.where(mass > 0, squares / np.where(mass, mass, 1), 0)
        mean = np.where(scale > 0, mass / np.where(scale, scale, 1), 0)
        size = max(1, MOST_CELLS // int(np.prod(shape)))
        for start in range(0, resamples, size):
            drawn: Floats = scale * random.poisson(mean, (min(size, resamples - start), len(cells)))
            found.append(_statistics(drawn, score, cells, shape))
    value, *pieces = found
    again = {key: np.concatenate([each[key] for each in pieces]) for key in value if pieces}
    groups = tuple(
        GroupRates(
            names[at],
            int(counts[at]),
            *(
                _estimate(value[rate][0, number], again[rate][:, number] if again else None)
                for rate in RATES
            ),
        )
        for number, at in enumerate(kept)
    )
    with np.errstate(divide="ignore", invalid="ignore"):
        differences = _differences(value, again)
    accuracy = _estimate(value["accuracy"][0], again.get("accuracy"))
    return GroupFairness(groups, left_out, differences, accuracy, tuple(_undefined(groups)))


def _differences(value: Mapping[str, Floats], again: Mapping[str, Floats]) -> dict[str, Estimate]:
    """Of the rates of groups [1, groups] and of their resamples."""

    def of(*rates: str) -> Estimate:
        most = max(float(_range(value[rate])[0]) for rate in rates)
        if any(np.isnan(_range(value[rate])[0]) for rate in rates):
            return Estimate(None)
        if not again:
            return Estimate(most)
        off = np.fmax.reduce([_range(again[rate] - value[rate]) for rate in rates])
        return _around(most, _reach(off))

    selected = value["positive_rate"]
    least, most = (float(each[0]) for each in _ends(selected))
    ratio = Estimate(least / most if most else None)
    if np.isnan(least):
        ratio = Estimate(None)
    elif again and most:
        reach = _reach(_range(np.log(again["positive_rate"]) - np.log(selected), unknown=np.inf))
        assert ratio.value is not None
        ratio = Estimate(
            ratio.value,
            ratio.value * float(np.exp(-reach)),
            min(ratio.value * float(np.exp(reach)), 1.0),
        )
        if not ratio.value or not np.isfinite(reach):  # a group of which nobody gets a yes
            ratio = Estimate(ratio.value, 0.0, 1.0)
    found = (
        of("positive_rate"),
        ratio,
        of("true_positive_rate", "false_positive_rate"),
        of("true_positive_rate"),
        of("calibration_error"),
    )
    return dict(zip(DIFFERENCES, found, strict=True))


def _statistics(
    mass: Floats, score: Floats, cells: Array, shape: tuple[int, ...]
) -> dict[str, Floats]:
    """Rates [resamples, groups] and the accuracy [resamples] of what the cells weigh."""
    whole = np.zeros((len(mass), int(np.prod(shape))))
    whole[:, cells] = mass
    sums = whole.reshape(len(mass), *shape)
    right = sums[:, :, 0, 0].sum((1, 2)) + sums[:, :, 1, 1].sum((1, 2))
    accuracy = _share(right, whole.sum(1))
    scored = np.zeros_like(whole)
    scored[:, cells] = mass * score
    of_bins = (len(mass), *shape[:3], BINS, BANDS)
    binned = sums[:, :-1].reshape(of_bins[0], shape[0] - 1, *of_bins[2:])
    scores = scored.reshape(of_bins)[:, :-1].sum((2, 3, 5))
    by_label = binned.sum((3, 5))  # [resamples, groups, label, bins]
    error = np.abs(by_label[:, :, 1] - scores).sum(2)
    by_decision = binned.sum((4, 5))  # [resamples, groups, label, yes]
    yes, total = by_decision[..., 1], by_decision.sum(3)
    selected = _share(yes.sum(2), total.sum(2))
    tpr, fpr = _share(yes[:, :, 1], total[:, :, 1]), _share(yes[:, :, 0], total[:, :, 0])
    return {
        "positive_rate": selected,
        "true_positive_rate": tpr,
        "false_positive_rate": fpr,
        "calibration_error": _share(error, total.sum(2)),
        "accuracy": accuracy,
    }


def _ends(values: Floats) -> tuple[Floats, Floats]:
    """The smallest and the largest of a line, NaN where fewer than two are known."""
    known = ~np.isnan(values)
    few = known.sum(1) < 2
    least = np.where(known, values, np.inf).min(1, initial=np.inf)
    most = np.where(known, values, -np.inf).max(1, initial=-np.inf)
    return np.where(few, np.nan, least), np.where(few, np.nan, most)


def _range(values: Floats, unknown: float = np.nan) -> Floats:
    """Largest less smallest of a line; `unknown` stands for what is not finite."""
    values = np.where(np.isfinite(values), values, np.nan)
    least, most = _ends(values)
    lost = np.isnan(values).any(1) & np.isinf(unknown)
    return np.where(lost, unknown, most - least)


def _share(part: Floats, whole: Floats) -> Floats:
    return np.where(whole > 0, part / np.where(whole > 0, whole, 1), np.nan)


def _estimate(value: float, again: Floats | None) -> Estimate:
    """A share with its interval."""
    if np.isnan(value):
        return Estimate(None)
    return Estimate(float(value)) if again is None else _around(float(value), _reach(again - value))


def _reach(off: Floats) -> float:
    """How far 95 % of the resamples lie at most; NaN where none is known."""
    known = np.abs(off[~np.isnan(off)])
    return float(np.quantile(known, 0.95, method="higher")) if len(known) else np.nan


def _around(value: float, reach: float) -> Estimate:
    if np.isnan(reach) or not reach:  # rates of 0 or 1, whose resamples are all alike
        return Estimate(value)
    return Estimate(value, max(value - reach, 0.0), min(value + reach, 1.0))


def _undefined(groups: Sequence[GroupRates]) -> list[str]:
    if len(groups) < 2:
        few = "no group has" if not groups else f"only {groups[0].name} has"
        return [f"{few} enough rows, so no difference between groups is computed"]
    found = []
    for rate, side in (("true_positive_rate", "positive"), ("false_positive_rate", "negative")):
        lacking = [each.name for each in groups if getattr(each, rate).value is None]
        if lacking:
            words = ", ".join(lacking[:5]) + (f" and {len(lacking) - 5} more" * (len(lacking) > 5))
            what = (
                "equal opportunity and equalised odds" if side == "positive" else "equalised odds"
            )
            short = len(groups) - len(lacking) < 2
            found.append(
                f"there is no {side} row in {words}, so "
                + (f"{what} are not computed" if short else f"{what} leave it out")
            )
    return found
