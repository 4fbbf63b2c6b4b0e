"""How a run is begun, and found again: by its mark, which is its folder here and its name there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from edgeline.errors import EdgelineError, UsageError
from edgeline.pipelines.flat import fields_called
from edgeline.pipelines.parameter import Parameter
from edgeline.triggers import judging
from edgeline.triggers.rules import CANDIDATE, TriggerRule, filled
from edgeline.triggers.store import Firing

BASELINE = "baseline"


@dataclass(frozen=True)
class FoundRun:
    """What is found of a run.

    Attributes:
        state: absent: it was never begun; stopped: its processes are gone before its end.
        place: its folder, or its identifier on the server.
        said: why it failed.
    """

    state: Literal["absent", "running", "stopped", "succeeded", "failed"]
    place: str = ""
    said: str = ""


class RefusedRunError(EdgelineError):
    """A run that is not begun, now or later: the sentence is its end."""


class Launcher(Protocol):
    """Where runs go.

    Attributes:
        settle: seconds after which a run that was asked for is found if it is ever there.
        every: seconds between two looks at a run.
    """

    settle: float
    every: float

    def look(self, firing: Firing) -> FoundRun:
        """What there is of a run.

        Raises:
            UnavailableError: nobody can tell now.
            EdgelineError: it is refused.
        """
        ...

    def begin(self, firing: Firing) -> str:
        """Begin a run that is absent or stopped; its place.

        Raises:
            RefusedRunError: it is not to be begun at all.
            UnavailableError: nobody can tell whether it has begun.
            EdgelineError: it is refused.
        """
        ...


def arguments(firing: Firing, known: Mapping[str, Parameter]) -> dict[str, Any]:
    """The pipeline's parameters that a run is given, beside those that `data` makes."""
    rule = firing.ordered
    places = {
        "rule": rule.name,
        "mark": firing.mark,
        "model": rule.model,
        "since": judging.told(firing.since),
        "until": judging.told(firing.decided),
    }
    given: dict[str, Any] = filled(dict(rule.run.parameters), places)
    return {**given, **candidate(rule, known), **gate(rule, known)}


def gate(rule: TriggerRule, known: Mapping[str, Parameter]) -> dict[str, Any]:
    """The parameter by which a run here, which nobody watches, is compared with what is published;
    none where the rule names something to compare with, or the pipeline compares with nothing."""
    named = fields_called(BASELINE, known)
    if not rule.run.is_here or not named or _names_baseline(rule):
        return {}
    return {named[0].called: "latest"}


def is_compared(rule: TriggerRule, known: Mapping[str, Parameter]) -> bool:
    """Whether a rule's models are compared with something, or the rule says with nothing."""
    return bool(_names_baseline(rule) or gate(rule, known))


def uncompared(rule: TriggerRule, known: Mapping[str, Parameter]) -> str:
    """That nothing compares a rule's models with what is published, and what to do; "" where
    something does, or the rule says that nothing is to."""
    if is_compared(rule, known):
        return ""
    if fields_called(BASELINE, known):
        why, way_out = "", "set baseline in its parameters, to latest or to nothing"
    else:
        why = f": its pipeline {rule.run.pipeline} does not have the parameter baseline"
        way_out = "labels that are wrong, and a model that is worse, are stopped by nothing else"
    return (
        f"Rule {rule.name!r}: its models are not compared with what is published{why}; {way_out}."
    )


def _names_baseline(rule: TriggerRule) -> bool:
    """Whether a rule's parameters name a baseline, as a field or in an object, or say none."""
    set_ = {name.rpartition(".")[2] for name in rule.run.parameters} | {
        field
        for value in rule.run.parameters.values()
        if isinstance(value, dict)
        for field in value
    }
    return bool(set_ & {BASELINE, "baseline_model_uri"})


def candidate(rule: TriggerRule, known: Mapping[str, Parameter]) -> dict[str, Any]:
    """The parameter by which a pipeline publishes as a candidate, or not.

    Raises:
        UsageError: the pipeline has none, or the rule sets it, too.
    """
    named = fields_called(CANDIDATE, known)
    name = named[0].called if named else CANDIDATE
    if CANDIDATE not in known and not named:
        if rule.then == CANDIDATE:
            raise UsageError(
                f"Rule {rule.name!r} has then: candidate, and its pipeline {rule.run.pipeline} "
                "does not publish candidates: give then: publish."
            )
        return {}
    if rule.run.parameters.keys() & {name, CANDIDATE}:
        raise UsageError(
            f"Rule {rule.name!r} sets the parameter {CANDIDATE}, which `then` does: leave it out."
        )
    return {name: rule.name if rule.then == CANDIDATE else ""}


def check(rule: TriggerRule, definition: Any) -> dict[str, Any]:
    """The parameters of a rule's runs, checked against its pipeline as they would be now.

    Raises:
        EdgelineError: the pipeline does not have one, does not take a value, or requires one that
            is left out.
    """
    from edgeline.pipelines.parameters import check as checked
    from edgeline.pipelines.parameters import missing, parameters_of

    known = parameters_of(definition)
    given = arguments(Firing("mark", rule.name, "", (), 0.0, 0.0, rule), known)
    if rule.run.data is not None:
        if "data" not in known:
            raise EdgelineError(
                f"Rule {rule.name!r} has run.data, and its pipeline {rule.run.pipeline} does not "
                "have the parameter data: leave run.data out."
            )
        given["data"] = rule.run.data.base
    given = checked(given, known, f"Rule {rule.name!r}: parameter ")
    if absent := missing(known, given):
        raise EdgelineError(
            f"Rule {rule.name!r} leaves out {', '.join(absent)}, which pipeline "
            f"{rule.run.pipeline} requires: add it to run.parameters."
        )
    return given
