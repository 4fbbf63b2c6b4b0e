"""Mistakes that can be told before a run's first task: all of them at once, in about a second.

A question is a function of what the run is given, in a module of its topic; it yields a sentence
for each mistake. It asks parameters, parses the module and reads the first bytes of local files,
imports neither TensorFlow nor kfp and runs nothing of the user's. What it cannot know it does not
mention: a run that would have worked is never refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from edgeline.errors import refuse_all
from edgeline.pipelines.parameter import Parameter
from edgeline.pipelines.parameters import complete
from edgeline.preflight import (
    candidates,
    card,
    columns,
    evaluation,
    module,
    packages,
    places,
    requirements,
    sharing,
    targets,
    tuning,
)
from edgeline.preflight.given import GivenRun

QUESTIONS: tuple[Callable[[GivenRun], Iterator[str]], ...] = (
    packages.installed,
    places.pins,
    places.inputs,
    places.empty,
    module.source,
    module.label,
    module.features,
    candidates.hyperparameters,
    candidates.tried,
    tuning.searched,
    tuning.hyperparameters,
    columns.names,
    columns.over_time,
    columns.schema,
    columns.batch,
    sharing.workers,
    evaluation.metrics,
    evaluation.decision_goal,
    evaluation.fairly,
    requirements.asked,
    card.declared,
    targets.known,
    targets.compilers,
    places.destination,
    places.runs,
)


def of_parameters(
    parameters: Mapping[str, Parameter], values: Mapping[str, Any], **where: Any
) -> GivenRun | None:
    """What a run of a pipeline is given; None of a pipeline that is none of edgeline's forms.

    Args:
        parameters: the pipeline's.
        values: as `edgeline.pipelines.parameters.check` gives them.
        **where: further attributes of `GivenRun`.
    """
    if not any(each.struct for each in parameters.values()):
        return None
    found: dict[str, Any] = {}
    asked: set[str] = set()
    for name, value in complete(parameters, values).items():
        parameter = parameters[name]
        if parameter.fields and isinstance(value, Mapping):
            found |= value
            asked |= values.get(name, {}).keys()
        else:
            found[parameter.called] = value
            asked |= {parameter.called} & values.keys()
    return GivenRun(found, frozenset(asked), **where)


def faults(run: GivenRun) -> list[str]:
    """Every mistake, a sentence each."""
    return list(dict.fromkeys(sentence for ask in QUESTIONS for sentence in ask(run)))


def refuse(run: GivenRun | None) -> None:
    """Refuse a run that cannot succeed.

    Raises:
        UsageError: every mistake, on a line each.
    """
    refuse_all(faults(run) if run else ())


def before_a_run_here(
    parameters: Mapping[str, Parameter], values: Mapping[str, Any], root: Path, docker: bool
) -> None:
    """Refuse a run on this machine that cannot succeed.

    Raises:
        UsageError: as `refuse`.
    """
    refuse(of_parameters(parameters, values, here=True, in_images=docker, root=root))


def before_a_run_there(parameters: Mapping[str, Parameter], values: Mapping[str, Any]) -> None:
    """Refuse a run on a server that cannot succeed, as far as this machine can tell.

    Raises:
        UsageError: as `refuse`.
    """
    refuse(of_parameters(parameters, values))


def before_compiling(parameters: Mapping[str, Parameter], values: Mapping[str, Any]) -> None:
    """Refuse defaults with which no run can succeed.

    Raises:
        UsageError: as `refuse`.
    """
    refuse(of_parameters(parameters, values, is_final=False))
