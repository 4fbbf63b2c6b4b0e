"""What a compiled pipeline carries and no cluster reads, cut: else its workflow grows too large.

A component's source lies in its task's command, and Argo keeps that command nine times in a run's
workflow, as it keeps the component's interface. So docstrings, comments, indentation and the
descriptions of a component's parameters go, with defaults that stand in the source, and with what
groups are handed and do not use; what the pipeline's own page shows stays.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from edgeline.components.settings.objects import FORMS
from edgeline.formats.bare_python import bare_source
from edgeline.formats.names import CHANNEL
from edgeline.kubeflow import face
from edgeline.kubeflow.task import EXECUTOR, container_of
from edgeline.lint.flow import steps
from edgeline.pipelines.parameter import of_form
from edgeline.pipelines.parameters import constant, settings_tasks

Json = dict[str, Any]

KFP_TYPES = "system."  # begins the titles of KFP's own artifact types


def slim(pipeline: Json) -> None:
    """Cut what no cluster reads from a compiled pipeline, in place.

    Args:
        pipeline: KFP's IR.
    """
    components = pipeline.get("components", {})
    _drop_unused_channels(pipeline)
    given = _given(_holders(pipeline))
    certain = _certain(pipeline)
    for name, component in components.items():
        container = container_of(pipeline, component)
        command = container.get("command", [])
        ours = any(EXECUTOR in word for word in command[:-1])
        if ours:
            words = (re.sub(r"[ ]{2,}", " ", word) for word in command[:-1])
            container["command"] = [*words, bare_source(command[-1])]
        for ends in ("inputDefinitions", "outputDefinitions"):
            for kind, definitions in component.get(ends, {}).items():
                for key, definition in list(definitions.items()):
                    definition.pop("description", None)
                    kept = definition.get("artifactType", {})
                    if str(kept.get("schemaTitle")).startswith(KFP_TYPES):
                        kept.pop("schemaVersion", None)  # KFP's server and launcher read the title
                    if ours and definition.get("isOptional"):  # its default is in the source, too
                        if not any((kind, key) in each for each in given[name]):
                            del definitions[key]
                        elif all((kind, key) in each for each in given[name]):
                            definition.pop("defaultValue", None)
                            if (name, key) in certain:
                                del definition["isOptional"]


def drop_interfaces(pipeline: Json) -> None:
    """Cut from edgeline's components what their faces in the images say, too, in place.

    The driver hands a task what its place in the pipeline gives it, and looks into the component
    only for the types of parameters, for what may be null, and for the artifacts that it makes; the
    launcher publishes what a task gives, declared or not. (backend/src/v2: driver/resolve.go,
    resolveInputs; driver/driver.go, provisionOutputs; component/launcher_v2.go,
    collectOutputParameters.) So only the artifacts that it makes stay, what may be null, and what
    the server makes itself.

    Args:
        pipeline: KFP's IR, whose tasks name edgeline's components.
    """
    for component in pipeline.get("components", {}).values():
        if not face.of_container(container_of(pipeline, component)):
            continue
        defined = component.pop("inputDefinitions", {}).get("parameters", {})
        if kept := {key: each for key, each in defined.items() if _is_read(each)}:
            component["inputDefinitions"] = {"parameters": kept}
        made = component.pop("outputDefinitions", {}).get("artifacts", {})
        if made:
            component["outputDefinitions"] = {"artifacts": made}


def drop_descriptions(pipeline: Json) -> None:
    """Cut the descriptions of parameters that edgeline's forms say, in place.

    KFP shows none of them; its page has the table in the pipeline's own description, and
    `edgeline.pipelines.parameters` knows them by the form's kind.
    """
    kinds = [constant(task, "kind") for task in settings_tasks(pipeline)]
    entries = pipeline["root"].get("inputDefinitions", {}).get("parameters", {})
    for name, known in (
        entry for kind in kinds if kind in FORMS for entry in of_form(kind).items()
    ):
        if entries.get(name, {}).get("description") == known.description:
            del entries[name]["description"]


def _is_read(parameter: Json) -> bool:
    """Whether the driver has to know an input parameter: it may be null, or is made there."""
    made = str(parameter.get("parameterType")).startswith("TASK_")
    return made or bool(parameter.get("isOptional")) or "defaultValue" in parameter


def _holders(pipeline: Json) -> list[Json]:
    """All that may have tasks."""
    return [pipeline["root"], *pipeline.get("components", {}).values()]


def _tasks(holder: Json) -> Mapping[str, Json]:
    tasks: Mapping[str, Json] = holder.get("dag", {}).get("tasks", {})
    return tasks


def _given(holders: Sequence[Json]) -> Mapping[str, list[set[tuple[str, str]]]]:
    """What each task gives to its component, by component: kind and name."""
    found: dict[str, list[set[tuple[str, str]]]] = defaultdict(list)
    for holder in holders:
        for task in _tasks(holder).values():
            inputs = task.get("inputs", {})
            found[task["componentRef"]["name"]].append(
                {(kind, key) for kind, given in inputs.items() for key in given}
            )
    return found


def _certain(pipeline: Json) -> set[tuple[str, str]]:
    """The parameters, by component and name, that are never null: outputs and constants.

    What comes from a parameter of the pipeline may be, and the driver then wants it optional.
    """
    found: dict[tuple[str, str], bool] = {}
    for step in steps(pipeline):
        for key, source in step.sources.items():
            place = (step.task["componentRef"]["name"], key)
            known = source.origin[0] in ("output", "constant")
            found[place] = found.get(place, True) and known
    return {place for place, known in found.items() if known}


def _drop_unused_channels(pipeline: Json) -> None:
    """Cut the values that kfp hands to groups which neither use them nor are decided by them."""
    places: dict[str, list[Json]] = defaultdict(list)
    for holder in _holders(pipeline):
        for task in _tasks(holder).values():
            places[task["componentRef"]["name"]].append(task)
    groups = {
        name: component
        for name, component in pipeline.get("components", {}).items()
        if "dag" in component and name in places
    }
    dropped = True
    while dropped:  # what an inner group does not take, an outer one may not need either
        dropped = False
        for name, group in groups.items():
            definitions = group.get("inputDefinitions", {}).get("parameters", {})
            keys = ("triggerPolicy", "parameterIterator")
            used = json.dumps(
                [group["dag"], *([task.get(key) for key in keys] for task in places[name])]
            )
            for channel in [key for key in definitions if key.startswith(CHANNEL)]:
                if re.search(rf"{re.escape(channel)}(?![\w-])", used):
                    continue
                dropped = True
                del definitions[channel]
                for task in places[name]:
                    task.get("inputs", {}).get("parameters", {}).pop(channel, None)
