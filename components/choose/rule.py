"""The rule by which the best candidate is chosen: a metric, which end of it is better, and ties."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from edgeline.artifacts.candidates import CandidateOutcome
from edgeline.errors import EdgelineError

MAXIMIZE, MINIMIZE = "maximize", "minimize"
FIRST, SMALLER, FASTER = "first", "smaller", "faster"
TIES: Mapping[str, Callable[[CandidateOutcome], float]] = {
    FIRST: lambda _: 0.0,
    SMALLER: lambda each: math.inf if each.size is None else each.size,
    FASTER: lambda each: math.inf if each.p99_ms is None else each.p99_ms,
}
DEFAULTS = ("auc", "accuracy", "mean_squared_error")
LOWER_IS_BETTER = ("error", "loss", "crossentropy", "rmse", "mse", "mae")  # in a metric's name
HIGHER_IS_BETTER = ("auc", "accuracy", "precision", "recall", "f1")


@dataclass(frozen=True)
class ChoiceRule:
    """How the best candidate is chosen.

    Attributes:
        choose_by: a metric's name; "" for the first of `DEFAULTS` that was computed.
        direction: maximize or minimize; "" for what is better of that metric.
        tie: first, smaller or faster, of those that are equally good.
        tie_within: how far from the best one counts as equally good.

    Raises:
        EdgelineError: a field has another value, or nobody knows which end of the metric is better.
    """

    choose_by: str = ""
    direction: str = ""
    tie: str = FIRST
    tie_within: float = 0.0

    def __post_init__(self) -> None:
        if self.direction not in ("", MAXIMIZE, MINIMIZE):
            raise EdgelineError(
                f"direction is {self.direction!r}: give {MAXIMIZE} or {MINIMIZE}, or leave it out."
            )
        if self.tie not in TIES:
            raise EdgelineError(f"tie is {self.tie!r}: give one of {', '.join(TIES)}.")
        if not (math.isfinite(self.tie_within) and self.tie_within >= 0):
            raise EdgelineError(f"tie_within is {self.tie_within}: give a number of at least 0.")
        if self.choose_by and not self.direction:
            better(self.choose_by)

    def metric_of(self, outcomes: Sequence[CandidateOutcome]) -> str:
        """The metric that decides among these.

        Raises:
            EdgelineError: none of them has it, or of the usual ones none was computed.
        """
        names = sorted({name for each in outcomes for name in each.metrics or {}})
        wanted = (self.choose_by,) if self.choose_by else DEFAULTS
        if not outcomes:
            return wanted[0]
        for name in wanted:
            if name in names:
                return name
        raise EdgelineError(
            f"The candidates have no {' or '.join(wanted)} to be chosen by: computed are "
            f"{', '.join(names)}. Give one as choose_by, or compute it with eval_config."
        )

    def is_higher_better(self, metric: str) -> bool:
        """Of the metric that decides."""
        return (self.direction or better(metric)) == MAXIMIZE

    def order(self, outcomes: Sequence[CandidateOutcome]) -> list[CandidateOutcome]:
        """Those with the metric, the one that goes on first, the others from the best on.

        Args:
            outcomes: approved candidates, in the order of the run's list.
        """
        metric = self.metric_of(outcomes)
        sign = -1.0 if self.is_higher_better(metric) else 1.0
        known = [each for each in outcomes if metric in (each.metrics or {})]
        ranked = sorted(known, key=lambda each: sign * (each.metrics or {})[metric])
        if not ranked:
            return []
        best = (ranked[0].metrics or {})[metric]
        alike = [
            each for each in known if abs((each.metrics or {})[metric] - best) <= self.tie_within
        ]
        first = min(alike, key=TIES[self.tie])  # of equal ones the first of the list
        return [first, *(each for each in ranked if each is not first)]

    def words(self, metric: str) -> str:
        """The rule in a sentence for people."""
        end = "highest" if self.is_higher_better(metric) else "lowest"
        near = f" within {self.tie_within:g} of it" if self.tie_within else " of equal ones"
        ties = {
            FIRST: "the first of the list",
            SMALLER: "the smallest edge model",
            FASTER: "the fastest edge model",
        }
        return f"The {end} {metric} goes on;{near} {ties[self.tie]}."


def better(metric: str) -> str:
    """Which end of a metric is better, by its name.

    Raises:
        EdgelineError: the name does not tell.
    """
    name = metric.casefold()
    if any(part in name for part in LOWER_IS_BETTER):
        return MINIMIZE
    if any(part in name for part in HIGHER_IS_BETTER):
        return MAXIMIZE
    raise EdgelineError(
        f"choose_by is {metric!r}, whose name does not tell whether more is better: give "
        f"direction, {MAXIMIZE} or {MINIMIZE}."
    )
