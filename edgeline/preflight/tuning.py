"""The search of a run: its space and objectives, missing compilers, the module's function."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from edgeline.errors import EdgelineError, did_you_mean
from edgeline.preflight import module
from edgeline.preflight.given import GivenRun

FUNCTION = "search_space"
OBJECTIVES = "objectives"


def is_searched(run: GivenRun) -> bool:
    """Whether hyperparameters are searched for."""
    return OBJECTIVES in run.values


def targets(run: GivenRun) -> list[str]:
    """The targets that trials are compiled for; none where the objectives are not in order."""
    if not is_searched(run):
        return []
    from edgeline.components.settings import tuning  # numpy comes with it
    from edgeline.components.tune.objectives import targets_of

    try:
        return targets_of(tuning.check(run.values))
    except EdgelineError:
        return []


def searched(run: GivenRun) -> Iterator[str]:
    """What the run's first task refuses, and what its trials would all fail for."""
    if not is_searched(run):
        return
    from edgeline.components.settings import tuning
    from edgeline.components.tune import objectives

    try:
        found = tuning.check(run.values)
    except EdgelineError as error:
        yield str(error)
        return
    is_here = run.here and not run.in_images
    ask = objectives.faults if is_here else objectives.unfit
    yield from ask(found, run.text("quantisation"))
    if run.values.get(FUNCTION) or run.module is None:
        return
    place = run.module.code.shown(run.module.code.entry)
    if run.module.lacks(FUNCTION):
        yield (
            f"{place} has no function {FUNCTION}, and {FUNCTION} is not given: write "
            f"{FUNCTION}(trial), which returns hyperparameters, or give the object."
        )
    elif line := run.module.cannot_take(FUNCTION, 1):
        called = f"{FUNCTION}(trial)"
        yield f"{place}:{line}: {FUNCTION} cannot be called as {called}: fix its arguments."
    elif line := run.module.gives_nothing(FUNCTION):
        yield f"{place}:{line}: {FUNCTION} returns nothing: return hyperparameters by name."


def hyperparameters(run: GivenRun) -> Iterator[str]:
    """What build_model takes and neither the search nor the run gives, and what is searched and it
    never takes; a function's are not known."""
    space, given = run.values.get(FUNCTION), run.values.get("hyperparameters")
    if isinstance(space, dict) and space and isinstance(given, dict):
        whole = {**given, **dict.fromkeys(space)}
        yield from module.hyperparameters(
            replace(run, values={**run.values, "hyperparameters": whole})
        )
        yield from _unread(run, space)


def _unread(run: GivenRun, space: Mapping[str, object]) -> Iterator[str]:
    """All trials would be the same but for chance."""
    read = run.module.read_items("build_model", 1) if run.module and run.is_final else None
    if run.module is None or read is None:
        return
    place = run.module.code.shown(run.module.code.entry)
    for name in space:
        if name not in read:
            hint = did_you_mean(name, sorted(read), "It reads") if read else "It reads none."
            yield (
                f"{FUNCTION} has the hyperparameter {name!r}, which build_model of {place} never "
                f"reads: correct the name, or leave it out. {hint}"
            )
