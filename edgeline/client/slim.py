"""What a compiled pipeline carries and no cluster reads, cut: else its workflow grows too large.

A component's source lies in its task's command, and Argo keeps that command nine times in a run's
workflow, as it keeps the component's interface. So docstrings, comments, indentation and the
descriptions of a component's parameters go; what the pipeline's own page shows stays.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from edgeline.formats.bare_python import bare_source

Json = dict[str, Any]

KFP_COMMAND = "kfp.dsl.executor_main"  # in the command of a component that is a Python function


def slim(pipeline: Json) -> None:
    """Cut what no cluster reads from a compiled pipeline, in place.

    Args:
        pipeline: KFP's IR.
    """
    components = pipeline.get("components", {})
    executors = pipeline.get("deploymentSpec", {}).get("executors", {})
    given = _given([pipeline["root"], *components.values()])
    for name, component in components.items():
        container = executors.get(component.get("executorLabel"), {}).get("container", {})
        command = container.get("command", [])
        ours = any(KFP_COMMAND in word for word in command[:-1])
        if ours:
            words = (re.sub(r"[ ]{2,}", " ", word) for word in command[:-1])
            container["command"] = [*words, bare_source(command[-1])]
        for ends in ("inputDefinitions", "outputDefinitions"):
            for kind, definitions in component.get(ends, {}).items():
                for key, definition in list(definitions.items()):
                    definition.pop("description", None)
                    unused = definition.get("isOptional") and (kind, key) not in given[name]
                    if ours and unused:  # its default stands in the source, too
                        del definitions[key]


def _given(holders: Sequence[Json]) -> Mapping[str, set[tuple[str, str]]]:
    """What tasks give to each component: kind and name."""
    found: dict[str, set[tuple[str, str]]] = defaultdict(set)
    for holder in holders:
        for task in holder.get("dag", {}).get("tasks", {}).values():
            for kind, inputs in task.get("inputs", {}).items():
                found[task["componentRef"]["name"]] |= {(kind, key) for key in inputs}
    return found
