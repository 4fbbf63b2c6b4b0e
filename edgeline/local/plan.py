"""What a compiled pipeline will run: its tasks in order, with what they wait for."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from edgeline.formats.names import CHANNEL
from edgeline.kubeflow.conditions import claims

CHOICE = "condition-branches-"  # how kfp's compiler names an If with an Elif or Else


@dataclass(frozen=True)
class PlannedTask:
    """One container task of a pipeline, conditions and nested pipelines unrolled.

    `component` is unique in the pipeline and names the task's folder locally. `needs` are
    the components whose outputs it takes, `gates` those whose outputs decide whether it runs,
    `condition` what must hold for it to run at all, `loop` the ParallelFor that it is in,
    `choices` each If with an Elif or Else that it is in, with the alternative of it: by the name of
    kfp's group, or where that was merged by the condition. `title` is
    what its author calls it, where tasks of the component are called differently.
    """

    name: str
    component: str
    needs: tuple[str, ...]
    gates: tuple[str, ...] = ()
    condition: str = ""
    exit_handler: bool = False
    loop: str = ""
    choices: tuple[tuple[str, str], ...] = ()
    title: str = ""


def plan(spec: Any) -> list[PlannedTask]:
    """The tasks of a `PipelineSpec` proto in an order in which they can run."""
    planned = _tasks(spec, spec.root.dag, {}, "", (), {}, "", ())
    titles: dict[str, set[str]] = {}
    for task in planned:
        titles.setdefault(_own_name(task.component), set()).add(task.title)
    return [
        task if len(titles[_own_name(task.component)]) > 1 else replace(task, title="")
        for task in planned
    ]


def _contested(conditions: Iterable[str]) -> set[str]:
    """What one of several conditions says holds, and another that it does not."""
    said = {claim for condition in conditions for claim in claims(condition)}
    held = {claim.text for claim in said if claim.holds}
    return {claim.text for claim in said if not claim.holds and claim.text in held}


def _own_name(component: str) -> str:
    """Of a component, without the number that kfp gives its second task."""
    return re.sub(r"-\d+$", "", component)


def _tasks(
    spec: Any,
    dag: Any,
    before: dict[str, set[str]],
    condition: str,
    gates: tuple[str, ...],
    given: dict[str, str],
    loop: str,
    choices: tuple[tuple[str, str], ...],
    choice: str = "",
) -> list[PlannedTask]:
    planned: list[PlannedTask] = []
    produced: dict[str, list[str]] = {}
    waiting = dict(sorted(dag.tasks.items()))
    contested = _contested(task.trigger_policy.condition for task in waiting.values())
    while waiting:
        ready = [n for n, task in waiting.items() if not waiting.keys() & set(task.dependent_tasks)]
        # an exit handler waits for everything, whatever its place in the file
        ready.sort(key=lambda n: (_is_exit_handler(waiting[n]), n))
        name = ready[0]
        task = waiting.pop(name)
        artifacts, parameters = (
            {
                key: producer
                for key, source in some.items()
                if (producer := _producer(source, produced, given))
            }
            for some in (task.inputs.artifacts, task.inputs.parameters)
        )
        sources = artifacts | parameters
        inner = spec.components[task.component_ref.name]
        own = task.trigger_policy.condition
        holds = " and ".join(filter(None, [condition, _words(own)]))
        deciding = {producer for key, producer in sources.items() if f"'{key}'" in own}
        own_gates = (*gates, *sorted(deciding))
        chosen = [(claim.text, str(claim.holds)) for claim in claims(own)]
        alternatives = [(choice, name)] if choice else [x for x in chosen if x[0] in contested]
        own_choices = (*choices, *alternatives)
        if inner.WhichOneof("implementation") == "dag":
            own_loop = name if task.WhichOneof("iterator") else loop
            inside = name if name.startswith(CHOICE) else ""
            below = _tasks(
                *(spec, inner.dag, before, holds, own_gates, sources, own_loop, own_choices),
                inside,
            )
            planned += below
            produced[name] = [step.component for step in below]
        else:
            component = task.component_ref.name.removeprefix("comp-")
            made = set(artifacts.values())
            implied = {other for each in made for other in before[each]}
            # a value of what its inputs come from anyway is no edge of its own
            taken = {producer for key, producer in parameters.items() if f"'{key}'" not in own}
            needs = tuple(sorted(made | taken - implied))
            before[component] = {*needs, *(other for each in needs for other in before[each])}
            last = _is_exit_handler(task)
            title = task.task_info.name
            planned.append(
                PlannedTask(
                    name, component, needs, own_gates, holds, last, loop, own_choices, title
                )
            )
            produced[name] = [component]
    return planned


def _producer(source: Any, produced: dict[str, list[str]], given: dict[str, str]) -> str:
    kind = source.WhichOneof("kind")
    if kind in ("task_output_artifact", "task_output_parameter"):
        return _last(produced, getattr(source, kind).producer_task)
    if kind in ("component_input_artifact", "component_input_parameter"):
        return given.get(getattr(source, kind), "")
    return ""


def _last(produced: dict[str, list[str]], task: str) -> str:
    return produced[task][-1] if produced.get(task) else ""


def _is_exit_handler(task: Any) -> bool:
    policy = task.trigger_policy
    return bool(policy.strategy == policy.TriggerStrategy.ALL_UPSTREAM_TASKS_COMPLETED)


def _words(condition: str) -> str:
    """A condition for people: `analyze-blessed`, not KFP's expression around it."""
    words = condition.replace(f"inputs.parameter_values['{CHANNEL}", "").replace("']", "")
    words = re.sub(r"!\((\S+) == false\)", r"\1", words.replace(" == true", ""))
    words = re.sub(r"!\(([^()]*)\)|(\S+) == false", r"not \1\2", words)
    return words.replace(" && ", " and ").replace(" || ", " or ")
