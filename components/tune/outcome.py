"""What a trial of a search found, and what became of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

COMPLETE, INFEASIBLE = "complete", "infeasible"
PRUNED, FAILED, INTERRUPTED = "pruned", "failed", "interrupted"
MEASURED = (COMPLETE, INFEASIBLE)  # states whose trials have values


class TrialFailedError(Exception):
    """Why a trial has no values, in one sentence for people."""


class TrialPrunedError(Exception):
    """When and why a trial was ended early, in one sentence for people."""


@dataclass(frozen=True)
class TrialMeasurement:
    """What was measured of a trial's models.

    Attributes:
        measured: numbers by name, as objectives name them.
        unmet: why the edge model could not be published, a sentence each.
        violation: how far it is from that, above 0 where `unmet` is not empty; without a unit.
        curve: a list a metric, one value an epoch.
    """

    measured: Mapping[str, float]
    unmet: tuple[str, ...] = ()
    violation: float = 0.0
    curve: Mapping[str, list[float]] = field(default_factory=dict)


@dataclass(frozen=True)
class TrialOutcome:
    """What became of one trial.

    Attributes:
        number: from 0, in the order in which trials began.
        state: COMPLETE; INFEASIBLE, whose edge model could not be published; PRUNED; FAILED; or
            INTERRUPTED, whose process ended before it did and which does not count.
        hyperparameters: those that the search chose.
        values: of the objectives, by name; empty where the state is none of MEASURED.
        reason: of every state but COMPLETE, for people.
        measured, curve: see `TrialMeasurement`.
        seconds: from its begin to its end.
    """

    number: int
    state: str
    hyperparameters: Mapping[str, Any] = field(default_factory=dict)
    values: Mapping[str, float] = field(default_factory=dict)
    reason: str = ""
    measured: Mapping[str, float] = field(default_factory=dict)
    curve: Mapping[str, list[float]] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def counts(self) -> bool:
        """Whether it is one of the trials that were asked for."""
        return self.state != INTERRUPTED

    def to_json(self) -> dict[str, Any]:
        return asdict(self)
