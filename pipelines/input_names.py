"""Names for what groups of a compiled pipeline take.

kfp's compiler calls an artifact that a condition or loop takes `pipelinechannel--train-model`, and
Kubeflow's page draws a box of that name. The server finds artifacts by these names, and reads
nothing else in them.
"""

from __future__ import annotations

from typing import Any

from edgeline.formats.names import CHANNEL

Json = dict[str, Any]


def name_inputs(spec: Json) -> None:
    """Call the artifacts that groups take `train-model`, in a pipeline spec in JSON, in place."""
    groups = {name: each for name, each in spec.get("components", {}).items() if "dag" in each}
    names = {name: _names(each) for name, each in groups.items()}
    for name, group in groups.items():
        definitions = group.get("inputDefinitions", {})
        _rename(definitions, names[name])
        for task in group["dag"].get("tasks", {}).values():
            for given in task.get("inputs", {}).get("artifacts", {}).values():
                if (outer := given.get("componentInputArtifact")) in names[name]:
                    given["componentInputArtifact"] = names[name][outer]
    for holder in (spec["root"], *groups.values()):
        for task in holder.get("dag", {}).get("tasks", {}).values():
            _rename(task.get("inputs", {}), names.get(task["componentRef"]["name"], {}))


def _names(group: Json) -> dict[str, str]:
    taken = group.get("inputDefinitions", {}).get("artifacts", {})
    short = {name: name.removeprefix(CHANNEL) for name in taken if name.startswith(CHANNEL)}
    return {name: own for name, own in short.items() if own not in taken}


def _rename(holder: Json, names: dict[str, str]) -> None:
    if "artifacts" in holder:
        holder["artifacts"] = {names.get(key, key): x for key, x in holder["artifacts"].items()}
