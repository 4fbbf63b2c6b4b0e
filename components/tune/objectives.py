"""What a search makes better: numbers of the edge model, and of it compiled for a target.

| name                                   | of                                                      |
|----------------------------------------|---------------------------------------------------------|
| auc, accuracy, mean_squared_error      | the edge model on the eval split, after quantisation    |
| cloud_auc, ...                         | the trained model on the same rows                      |
| size_bytes                             | the edge model's file                                   |
| latency_p50_ms, latency_p99_ms         | a prediction of one row on this machine                 |
| peak_memory_mb                         | the process that runs the edge model on this machine    |
| parameters                             | the trained network                                     |
| max_difference, changed_decisions      | the edge model from the trained one                     |
| TARGET.size_bytes                      | the compiled model                                      |
| TARGET.share_on_accelerator            | its operators                                           |
| TARGET.arena_bytes, ...                | what the target's compiler tells of each model          |
| TARGET.auc, TARGET.latency_p99_ms, ... | the compiled model in the target's own runtime here     |
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edgeline.components.choose.rule import FIRST, MAXIMIZE, MINIMIZE, ChoiceRule, better
from edgeline.components.compile import target as targets
from edgeline.components.compile.target import SAVED_MODEL, TFLITE, Target
from edgeline.errors import EdgelineError, did_you_mean
from edgeline.formats import quantisation as quantisations
from edgeline.runtimes.metric_names import ACCURACY, AUC, MSE

PARAMETER = "objectives"
OF_TASK = {
    "binary_classification": (AUC, ACCURACY),
    "multiclass_classification": (ACCURACY,),
    "regression": (MSE,),
}
CLOUD = "cloud_"
SIZE, SHARE, LATENCY = "size_bytes", "share_on_accelerator", "latency_p99_ms"
OF_RUNNING = ("latency_p50_ms", LATENCY, "peak_memory_mb", "max_difference", "changed_decisions")
OF_EDGE = (SIZE, "parameters", *OF_RUNNING)
OF_COMPILED = (SIZE, SHARE)
MOST = 4  # a front of more is most of the trials


@dataclass(frozen=True)
class Objective:
    """A number that is to become larger or smaller.

    Attributes:
        name: as the table above has it.
        direction: maximize or minimize.
    """

    name: str
    direction: str

    @property
    def is_maximized(self) -> bool:
        return self.direction == MAXIMIZE

    @property
    def target(self) -> str:
        """The target whose compiled model it is of; "" of the edge model."""
        return self.name.rpartition(".")[0]

    @property
    def needs_running(self) -> bool:
        """Whether the model of a target has to be run for it."""
        name = self.name.rpartition(".")[2]
        return name in OF_RUNNING or any(name in each for each in OF_TASK.values())


def parse(given: Any, task: str, where: str = "Parameter training.objectives") -> list[Objective]:
    """The objectives of a list of names, or of objects with `name` and `direction`.

    Args:
        task: of the model, which decides which metrics there are.

    Raises:
        EdgelineError: begins with `where`; it is no such list, a name is there twice or is none of
            a number that will be measured, or nobody knows which end of it is better.
    """
    if task not in OF_TASK:
        raise EdgelineError(f"task is {task!r}: give one of {', '.join(OF_TASK)}.")
    if not isinstance(given, (list, tuple)) or not given:
        raise EdgelineError(f'{where} is not a list such as ["{OF_TASK[task][0]}", "{SIZE}"].')
    if len(given) > MOST:
        raise EdgelineError(
            f"{where} has {len(given)} objectives, more than {MOST}: ask for the others in "
            "requirements."
        )
    found = [_objective(each, task, f"{where}[{index}]") for index, each in enumerate(given)]
    names = [each.name for each in found]
    if twice := next((name for name in names if names.count(name) > 1), ""):
        raise EdgelineError(f"{where} has {twice} twice: leave one out.")
    return found


def usual(task: str) -> list[str]:
    """What to make better where nothing is said; nothing of an unknown task."""
    return [*OF_TASK.get(task, ())[:1]]


def targets_of(objectives: Sequence[Objective]) -> list[str]:
    """The targets that every trial is compiled for."""
    return list(dict.fromkeys(each.target for each in objectives if each.target))


def run_targets_of(objectives: Sequence[Objective]) -> list[str]:
    """Those of them whose models are run."""
    return targets_of([each for each in objectives if each.needs_running])


def rule_of(
    objectives: Sequence[Objective],
    task: str,
    choose_by: str = "",
    direction: str = "",
    tie: str = FIRST,
    tie_within: float = 0.0,
) -> ChoiceRule:
    """The rule by which one trial goes on: where nothing is said, by the first objective.

    Args:
        choose_by: any name that an objective may have, of a target that trials are compiled for.

    Raises:
        EdgelineError: no trial measures it, or as `ChoiceRule`.
    """
    name = choose_by or objectives[0].name
    known = {each.name: each.direction for each in objectives}
    if name not in known:
        _check_name(name, task, "choose_by")
        made = ["", *targets_of(objectives)]
        target = name.rpartition(".")[0]
        of_run = Objective(name, "").needs_running and target not in run_targets_of(objectives)
        if target not in made or (target and of_run):
            raise EdgelineError(
                f"choose_by is {name}, which no trial measures: add it to objectives."
            )
    way = direction or known.get(name) or direction_of(name, "choose_by")
    return ChoiceRule(choose_by=name, direction=way, tie=tie, tie_within=tie_within)


def faults(objectives: Sequence[Objective], quantisation: str) -> Iterator[str]:
    """Why the models of a target cannot be compiled for each trial here, a sentence for each.

    Args:
        quantisation: of the edge models.
    """
    for name in targets_of(objectives):
        if missing := targets.find(name).missing():
            yield f"{PARAMETER}: {name} cannot be measured: {missing}"
    yield from unfit(objectives, quantisation)


def unfit(objectives: Sequence[Objective], quantisation: str) -> Iterator[str]:
    """Why a target takes none of the edge models, wherever it is compiled for; see `faults`."""
    for name in targets_of(objectives):
        found = targets.find(name)
        known = quantisation in quantisations.NAMES and quantisation != quantisations.AUTO.name
        fits = TFLITE in found.takes and (
            not known or quantisations.of(quantisation) in found.quantisations
        )
        if not fits and SAVED_MODEL not in found.takes:
            wanted = " or ".join(row.name for row in found.quantisations)
            yield (
                f"{PARAMETER}: {name} takes models of quantisation {wanted}, but the edge models "
                f"are {quantisation}: set quantisation={found.quantisations[0].name}."
            )


def _objective(given: Any, task: str, place: str) -> Objective:
    value = {"name": given} if isinstance(given, str) else given
    if not isinstance(value, Mapping) or not isinstance(value.get("name"), str):
        raise EdgelineError(
            f'{place} is neither a name nor an object such as {{"name": "{SIZE}", "direction": '
            f'"{MINIMIZE}"}}.'
        )
    for key in value:
        if key not in ("name", "direction"):
            raise EdgelineError(f"{place}.{key}: there is no such field, only name and direction.")
    name, direction = value["name"], value.get("direction", "")
    _check_name(name, task, place)
    if direction not in ("", MAXIMIZE, MINIMIZE):
        raise EdgelineError(
            f"{place}.direction is {direction!r}: give {MAXIMIZE} or {MINIMIZE}, or leave it out."
        )
    return Objective(name, direction or direction_of(name, place))


def _check_name(name: str, task: str, place: str) -> None:
    """Refuse a name that no trial could give a number for."""
    target, _, fact = name.rpartition(".")
    metrics = OF_TASK[task]
    known: tuple[str, ...] = (*metrics, *(CLOUD + each for each in metrics), *OF_EDGE)
    if target:
        if not targets.is_known(target):
            hint = did_you_mean(target, targets.names())
            raise EdgelineError(f"{place} is {name}, but there is no target {target!r}. {hint}")
        compiled = targets.find(target)
        known = (*OF_COMPILED, *compiled.facts)
        if compiled.load is not None:
            known = (*known, *metrics, *OF_RUNNING)
        elif fact in (*metrics, *OF_RUNNING):
            raise EdgelineError(
                f"{place} is {name}, but only the device runs models of {target}: "
                f"{_known(compiled, known)}."
            )
    if fact not in known:
        owner = f"{target} tells" if target else f"A model of the task {task} has"
        hint = did_you_mean(fact, known, owner)
        raise EdgelineError(f"{place} is {name!r}, which nothing measures. {hint}")


def _known(compiled: Target, known: Sequence[str]) -> str:
    return f"give one of {', '.join(f'{compiled.name}.{each}' for each in known)}"


def direction_of(name: str, place: str) -> str:
    """Which end of a number is better, by its name.

    Raises:
        EdgelineError: the name does not tell.
    """
    own = name.rpartition(".")[2]
    if own.startswith("share"):
        return MAXIMIZE
    if own.endswith(("_bytes", "_ms", "_mb", "_mj", "cycles")) or own in OF_EDGE or own == "macs":
        return MINIMIZE
    try:
        return better(own)
    except EdgelineError:
        raise EdgelineError(
            f"{place} is {name!r}, whose name does not tell whether more is better: give it as "
            f'{{"name": "{name}", "direction": "{MINIMIZE}"}}, or {MAXIMIZE}.'
        ) from None
