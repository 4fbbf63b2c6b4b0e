"""A rollout as it is declared, and what comes of it: promote, return or wait.

A rollout says how a new version of a model (the candidate) is tried beside the one that serves
(the stable one): as a `canary` it answers a share of the requests; as a `shadow` it gets copies
of a share of them, and its answers are only compared. Declared in a JSON file (`--rollouts`):

    {"rollouts": [{"model": "taxi", "mode": "canary", "weight": 0.05, "requests": 1000}]}
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Literal, get_args

from edgeline.errors import EdgelineError, UsageError, asked_for
from edgeline.formats import typed
from edgeline.formats.told_apart import told_apart

Mode = Literal["canary", "shadow"]
Comparison = Literal["values", "class"]
Action = Literal["start", "promote", "return", "end"]


@dataclass(frozen=True)
class Rollout:
    """How a model's candidate is tried, and the limits that it has to keep.

    Attributes:
        model: the model's name.
        mode: `canary` or `shadow`.
        weight: the share of requests that a canary answers or that a shadow gets copies of,
            0 to 1.
        header: `name: value` of requests that always go to a canary; empty for none.
        requests: how many the candidate must have seen before it is promoted.
        seconds: how long it must have been tried before it is promoted.
        timeout: seconds after which it is returned if it was not promoted; 0 for never.
        errors: the largest share of requests on which it may fail where the stable one does not.
        disagreements: the largest share of a shadow's rows that may differ.
        latency_ratio: the largest median time of its runs beside that of the stable one; 0 to
            leave time out of the judgement.
        tolerance: how far two real values may be apart and still agree, as a share of the
            stable one's where that is above 1.
        compare: what a shadow compares: all `values`, or the `class` with the highest score (of
            a binary model with a decision threshold: the decision).
        automatic: whether a candidate that keeps its limits is promoted without being asked.
            One that breaks them is always returned.
    """

    model: str
    mode: Mode = "canary"
    weight: float = 0.1
    header: str = ""
    requests: int = 100
    seconds: float = 60.0
    timeout: float = 0.0
    errors: float = 0.01
    disagreements: float = 0.01
    latency_ratio: float = 2.0
    tolerance: float = 1e-3
    compare: Comparison = "values"
    automatic: bool = True

    def to_json(self) -> dict[str, object]:
        return asdict(self)


@dataclass(frozen=True)
class Seen:
    """What a rollout has shown so far. Times of runs are medians in seconds, 0 if unknown."""

    elapsed: float
    requests: int
    errors: int
    rows: int
    disagreements: int
    stable_time: float
    candidate_time: float

    @property
    def latency_ratio(self) -> float:
        """The candidate's median beside the stable one's; 0 where either is unknown."""
        return self.candidate_time / self.stable_time if self.stable_time else 0.0


@dataclass(frozen=True)
class RolloutVerdict:
    """What comes of a rollout; `reason` is one sentence."""

    action: Action
    reason: str


def judge(rollout: Rollout, seen: Seen) -> RolloutVerdict | None:
    """Promote, return, or None to go on.

    A limit on a share is broken as soon as it would still be after all requests that the rollout
    asks for, were the rest of them good: a bad candidate does not have to fail a hundred times.
    """
    for count, total, limit, what in (
        (seen.errors, seen.requests, rollout.errors, "requests failed"),
        (seen.disagreements, seen.rows, rollout.disagreements, "rows disagreed"),
    ):
        if count > limit * max(total, rollout.requests):
            share, most = told_apart(count / total, limit, ".1%")
            return RolloutVerdict(
                "return", f"{count} of {total} {what} ({share}), and at most {most} may."
            )
    enough = seen.requests >= rollout.requests
    ratio = seen.latency_ratio
    if enough and rollout.latency_ratio and ratio > rollout.latency_ratio:
        times, most = told_apart(ratio, rollout.latency_ratio, ".3g")
        return RolloutVerdict(
            "return",
            f"a run takes {times} times as long as the stable version's, and at most "
            f"{most} times is allowed.",
        )
    if enough and seen.elapsed >= rollout.seconds and rollout.automatic:
        return RolloutVerdict(
            "promote",
            f"it kept all limits over {seen.requests} requests and {seen.elapsed:.0f} s.",
        )
    if rollout.timeout and seen.elapsed >= rollout.timeout:
        return RolloutVerdict(
            "return",
            f"it was not promoted within {rollout.timeout:g} s "
            f"({seen.requests} of {rollout.requests} requests seen).",
        )
    return None


def read(path: str | Path) -> dict[str, Rollout]:
    """The rollouts of a file, by model.

    Raises:
        UsageError: the file is missing or malformed.
    """
    if not Path(path).exists():
        raise UsageError(f"{path} is missing: give a file of rollouts.")
    with asked_for():
        value = typed.read(path)
    entries = value.get("rollouts") if isinstance(value, dict) else None
    if not isinstance(entries, list):
        raise UsageError(f"{path} has no list 'rollouts'.")
    try:
        rollouts = [parse(entry) for entry in entries]
    except EdgelineError as error:
        raise UsageError(f"{path}: {error}") from None
    return {rollout.model: rollout for rollout in rollouts}


def parse(value: object) -> Rollout:
    """A rollout from its JSON object.

    Raises:
        EdgelineError: a field is unknown, missing, or has a value that it cannot have.
    """
    if not isinstance(value, Mapping) or not isinstance(value.get("model"), str):
        raise EdgelineError("A rollout is an object with at least a 'model'.")
    known = [field.name for field in fields(Rollout)]
    for name in value:
        if name not in known:
            raise EdgelineError(
                f"A rollout has no {str(name)[:100]!r}: it takes {', '.join(known)}."
            )
    for name, choices in (("mode", get_args(Mode)), ("compare", get_args(Comparison))):
        if isinstance(given := value.get(name), str) and given not in choices:
            raise EdgelineError(f"The {name!r} of a rollout is {' or '.join(choices)}.")
    try:
        rollout: Rollout = typed.convert(value, Rollout)
    except EdgelineError as error:
        raise EdgelineError(f"A rollout is malformed: {error}.") from None
    _check(rollout)
    return rollout


def _check(rollout: Rollout) -> None:
    for name in ("weight", "errors", "disagreements"):
        if not 0 <= getattr(rollout, name) <= 1:
            raise EdgelineError(f"The {name!r} of a rollout is a share: give 0 to 1.")
    for name in ("seconds", "timeout", "latency_ratio", "tolerance"):
        if getattr(rollout, name) < 0:
            raise EdgelineError(f"The {name!r} of a rollout is not negative.")
    if rollout.requests < 1:
        raise EdgelineError("The 'requests' of a rollout are at least 1.")
    if rollout.header and not all(part.strip() for part in rollout.header.partition(":")):
        raise EdgelineError("The 'header' of a rollout is 'name: value'.")
