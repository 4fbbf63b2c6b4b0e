"""Rules on where a pipeline publishes: what a pod writes to its own disk is gone with it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from edgeline.errors import UsageError
from edgeline.lint import python_sources
from edgeline.lint.documents import Document, Path_, Tree, at, listed, mapped
from edgeline.lint.flow import Step, steps
from edgeline.lint.rule import WARNING, Found, Rule
from edgeline.lint.schedules import scheduled
from edgeline.stores.destinations import WAY_OUT, check, is_relative, is_unmounted

PUBLISH, DESTINATION = "edgeline.components.publish", "destination"


@dataclass(frozen=True)
class PublishTask:
    """Where a publish task of a compiled pipeline publishes, as far as the pipeline says.

    Attributes:
        path: of what says it, below the pipeline.
        task: the task's name.
        parameter: the pipeline's parameter that says it, or empty.
        destination: the parameter's default or the constant; None where there is neither.
        mounts: the paths at which the task has volumes.
    """

    path: Path_
    task: str
    parameter: str
    destination: Any
    mounts: tuple[str, ...]


def published(pipeline: Mapping[str, Any], platform: Mapping[str, Any]) -> list[PublishTask]:
    """The destinations of a compiled pipeline, each once for each parameter and set of volumes."""
    parameters = mapped(pipeline, "root", "inputDefinitions", "parameters")
    found: dict[Any, PublishTask] = {}
    for step in steps(pipeline):
        source = step.sources.get(DESTINATION)
        if source is None or not _publishes(step):
            continue
        mounts = _mounts(platform, str(step.component.get("executorLabel")))
        kind, *name = source.origin
        if kind == "parameter":
            path: Path_ = ("root", "inputDefinitions", "parameters", name[0], "defaultValue")
            default = at(parameters, name[0], "defaultValue")
            found.setdefault((path, mounts), PublishTask(path, step.name, name[0], default, mounts))
        else:
            path = (*step.path, "inputs", "parameters", DESTINATION)
            for value in source.values or ():
                found.setdefault((path, value), PublishTask(path, step.name, "", value, mounts))
    return list(found.values())


def _publishes(step: Step) -> bool:
    named = python_sources.face_of(step.executor)
    texts = (*listed(step.executor, "container", "command"), step.component.get("executorLabel"))
    return any(PUBLISH in str(text) for text in texts) or (
        named is not None and PUBLISH.endswith(f".{named.name}")
    )


def _mounts(platform: Mapping[str, Any], label: str) -> tuple[str, ...]:
    config = mapped(platform, "platforms", "kubernetes", "deploymentSpec", "executors", label)
    paths = (at(entry, "mountPath") for entry in listed(config, "pvcMount"))
    return tuple(path for path in paths if isinstance(path, str))


@dataclass(frozen=True)
class _Said:
    """A destination that a file says, and where in the file."""

    document: Document
    path: Path_
    by: str
    destination: Any
    mounts: tuple[str, ...] = ()


def _said(tree: Tree) -> Iterator[_Said]:
    named: dict[str, list[PublishTask]] = {}
    for document in tree.of("IR", "PipelineVersion"):
        above, pipeline = document.pipeline or ((), {})
        found = published(pipeline, tree.platform_of(document))
        named.setdefault(str(at(pipeline, "pipelineInfo", "name")), []).extend(found)
        for entry in found:
            by = f"{entry.task} publishes to"
            yield _Said(document, (*above, *entry.path), by, entry.destination, entry.mounts)
    for schedule in scheduled(tree):
        known = named.get(str(schedule.value.get("pipeline")))
        wanted = {entry.parameter: entry.mounts for entry in known or () if entry.parameter}
        for name, mounts in ({DESTINATION: ()} if known is None else wanted).items():
            value = at(schedule.value, "parameters", name)
            by = f"schedule {schedule.value.get('name')} publishes to"
            yield _Said(schedule.document, schedule.at("parameters", name), by, value, mounts)


def _malformed(tree: Tree) -> Iterator[Found]:
    for entry in _said(tree):
        if isinstance(entry.destination, str):
            try:
                check(entry.destination)
            except UsageError as error:
                yield Found(entry.document, entry.path, f"{entry.by} no destination: {error}")


def _relative(tree: Tree) -> Iterator[Found]:
    for entry in _said(tree):
        if isinstance(entry.destination, str) and is_relative(entry.destination):
            what = f"{entry.by} {entry.destination}, a folder on the pod's own disk"
            yield Found(entry.document, entry.path, what)


def _unmounted(tree: Tree) -> Iterator[Found]:
    for entry in _said(tree):
        if isinstance(entry.destination, str) and is_unmounted(entry.destination, entry.mounts):
            what = f"{entry.by} {entry.destination}, where the pipeline mounts no volume"
            yield Found(entry.document, entry.path, what)


rules = (
    Rule(
        "destination-malformed",
        "The run ends at its last task, after everything was trained.",
        WAY_OUT,
        _malformed,
    ),
    Rule(
        "destination-relative",
        "Each task has a pod of its own: the run is green, and the model is gone with the pod.",
        f"{WAY_OUT}, with --set when it is compiled or in the schedule's parameters",
        _relative,
    ),
    Rule(
        "destination-not-mounted",
        "Unless the cluster mounts a volume there, the model is gone with the pod.",
        f"{WAY_OUT}, or mount a claim at the publish task (kfp.kubernetes.mount_pvc)",
        _unmounted,
        WARNING,
    ),
)
