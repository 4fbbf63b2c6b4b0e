"""Groups of a compiled pipeline that hold one task, merged into the graph around them.

kfp makes a graph of every `If`, and of the branches of one with an `Else` another around them. Each
costs a run's workflow four nodes and three copies of its interface, and a driver more to wait for,
where the server takes a condition on any task (backend/src/v2/compiler/argocompiler/dag.go, task).
So a task that is a condition's only one gets the condition itself, and branches lie beside each
other. What people read of the condition is in the task's name then: "publish, if approved".

A loop and an importer cannot have a condition (dag.go, iteratorTask and task), and what the driver
itself does, as making a volume, does not heed one (driver/container.go); so an `If` around one
stays, and so does one whose results are used outside.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

from edgeline.kubeflow.task import container_of

Json = dict[str, Any]

ITERATORS = ("parameterIterator", "artifactIterator")
KINDS = ("parameters", "artifacts")
DRIVER_S = "argostub/"  # begins the images of what the driver does itself
OWN_NAME = re.compile(r"condition(-branches)?-\d+")  # which kfp gives where the author gives none


def merge_single(pipeline: Json) -> None:
    """Merge groups with one task, and groups of branches, into what they are in, in place.

    Args:
        pipeline: KFP's IR.
    """
    components = pipeline.get("components", {})
    while found := min(_mergeable(pipeline), default=None):
        _, around, name = found
        holder = components[around] if around else pipeline["root"]
        group = holder["dag"]["tasks"].pop(name)
        inner = components.pop(group["componentRef"]["name"])["dag"]["tasks"]
        for task in inner.values():
            _move_out(task, group)
        for task in holder["dag"]["tasks"].values():
            after = task.get("dependentTasks", [])
            if name in after:
                task["dependentTasks"] = sorted({*after, *inner} - {name})
        holder["dag"]["tasks"] |= inner


def _mergeable(pipeline: Json) -> Iterator[tuple[int, str, str]]:
    """The groups that may be merged: how many tasks, the graph around them, "" the root, and name.

    Those of one task come first: branches that are a condition's only task can have it.
    """
    components = pipeline.get("components", {})
    holders = {"": pipeline["root"], **components}
    uses = Counter(
        task["componentRef"]["name"]
        for holder in holders.values()
        for task in holder.get("dag", {}).get("tasks", {}).values()
    )
    for around, holder in holders.items():
        tasks = holder.get("dag", {}).get("tasks", {})
        for name, group in tasks.items():
            called = group["componentRef"]["name"]
            dag = components.get(called, {}).get("dag", {})
            if not called.startswith("comp-condition-") or uses[called] > 1 or "outputs" in dag:
                continue
            inner = dag.get("tasks", {})
            is_branches = called.startswith("comp-condition-branches-")
            if (is_branches or len(inner) == 1) and all(
                each not in tasks and _can_move(task, group) and _heeds_condition(pipeline, task)
                for each, task in inner.items()
            ):
                yield len(inner), around, name


def _heeds_condition(pipeline: Json, task: Json) -> bool:
    component = pipeline["components"].get(task["componentRef"]["name"], {})
    image = container_of(pipeline, component).get("image", DRIVER_S)
    is_plain = not str(image).startswith(DRIVER_S)
    return ("dag" in component or is_plain) and not any(each in task for each in ITERATORS)


def _can_move(task: Json, group: Json) -> bool:
    """Whether what a task of a group is given and waits for can be said outside of the group."""
    policies = {*group.get("triggerPolicy", {}), *task.get("triggerPolicy", {})}
    if policies - {"condition"} or "retryPolicy" in group or any(x in group for x in ITERATORS):
        return False
    for kind in KINDS:
        outer = group.get("inputs", {}).get(kind, {})
        inner = task.get("inputs", {}).get(kind, {})
        for key, given in inner.items():
            moved = _moved(kind, given, outer)
            if moved is None or (key in outer and kind == "parameters" and outer[key] != moved):
                return False
    return True


def _move_out(task: Json, group: Json) -> None:
    """Make a task of a group one beside the group."""
    condition = _condition(group)
    inputs = task.setdefault("inputs", {})
    for kind in KINDS:
        outer = group.get("inputs", {}).get(kind, {})
        for key, given in inputs.get(kind, {}).items():
            moved = _moved(kind, given, outer)
            assert moved is not None
            inputs[kind][key] = moved
    if condition:
        outer = group.get("inputs", {}).get("parameters", {})
        decides = {key: given for key, given in outer.items() if key in condition}
        inputs.setdefault("parameters", {}).update(decides)
        own = _condition(task)
        both = f"({condition}) && ({own})" if own else condition
        task["triggerPolicy"] = {"condition": both}
        title = group.get("taskInfo", {}).get("name", "")
        if title and not OWN_NAME.fullmatch(title):
            own_name = task["taskInfo"]["name"]
            is_given = not OWN_NAME.fullmatch(own_name)
            task["taskInfo"]["name"] = f"{own_name}, {title}" if is_given else title
    before = {*task.get("dependentTasks", []), *group.get("dependentTasks", []), *_makers(inputs)}
    if before:
        task["dependentTasks"] = sorted(before)


def _condition(task: Json) -> str:
    return str(task.get("triggerPolicy", {}).get("condition", ""))


def _moved(kind: str, given: Json, outer: Json) -> Json | None:
    """What an input is given outside of a group; None where that cannot be said there."""
    where = "componentInputParameter" if kind == "parameters" else "componentInputArtifact"
    if where not in given:
        return given
    found: Json | None = outer.get(given[where])
    if found is None or len(given) == 1:
        return found
    rest = {key: value for key, value in given.items() if key != where}
    return None if set(rest) & set(found) else {**found, **rest}


def _makers(inputs: Json) -> set[str]:
    """The tasks whose outputs are taken."""
    return {
        source["producerTask"]
        for kind in KINDS
        for given in inputs.get(kind, {}).values()
        for source in given.values()
        if isinstance(source, dict) and "producerTask" in source
    }
