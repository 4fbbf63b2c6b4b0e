"""Names for what groups of a compiled pipeline take.

kfp's compiler calls an artifact that a condition or loop takes `pipelinechannel--train-model`, and
Kubeflow's page draws a box of that name. The server finds artifacts and parameters by these names,
and reads nothing else in them; kfp.local does in those that a condition or loop is decided by.
"""

from __future__ import annotations

import json
import re
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


def name_parameters(spec: Json, platform: Json) -> None:
    """Call the parameters that groups take `destination`, in a pipeline spec in JSON, in place.

    Those keep their names that decide a condition or a loop, and those that Kubernetes' part names.
    """
    groups = {name: each for name, each in spec.get("components", {}).items() if "dag" in each}
    holders = (spec["root"], *groups.values())
    tasks = [task for each in holders for task in each.get("dag", {}).get("tasks", {}).values()]
    decides = ("triggerPolicy", "parameterIterator", "artifactIterator")
    # texts that a group is given may name its other inputs
    texts = [task.get("inputs") for task in tasks if task["componentRef"]["name"] in groups]
    named = [re.findall(r"parameters\['([^']+)'\]", json.dumps(each)) for each in texts]
    fixed = json.dumps([platform, named, [[task.get(key) for key in decides] for task in tasks]])
    for called, group in groups.items():
        taken = group.get("inputDefinitions", {}).get("parameters", {})
        names = {
            name: short
            for name in taken
            if (short := name.removeprefix(CHANNEL)) not in taken
            and not re.search(rf"{re.escape(name)}(?![\w-])", fixed)
        }
        callers = [task for task in tasks if task["componentRef"]["name"] == called]
        for holder in (
            group.get("inputDefinitions", {}),
            *(task.get("inputs", {}) for task in callers),
        ):
            if given := holder.get("parameters"):
                holder["parameters"] = {names.get(key, key): x for key, x in given.items()}
        for task in group["dag"].get("tasks", {}).values():
            for given in task.get("inputs", {}).get("parameters", {}).values():
                if (outer := given.get("componentInputParameter")) in names:
                    given["componentInputParameter"] = names[outer]


def _names(group: Json) -> dict[str, str]:
    taken = group.get("inputDefinitions", {}).get("artifacts", {})
    short = {name: name.removeprefix(CHANNEL) for name in taken if name.startswith(CHANNEL)}
    return {name: own for name, own in short.items() if own not in taken}


def _rename(holder: Json, names: dict[str, str]) -> None:
    if "artifacts" in holder:
        holder["artifacts"] = {names.get(key, key): x for key, x in holder["artifacts"].items()}
