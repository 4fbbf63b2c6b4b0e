"""Rules on what kfp compiles and runs locally, and a real Kubeflow Pipelines 2.17 ends a task over.

Each follows its driver (`backend/src/v2/driver`), metadata client and executor: what they resolve
when the task starts, the compiled pipeline already tells.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from edgeline.lint import python_sources
from edgeline.lint.documents import Document, Path_, Tree, mapped
from edgeline.lint.flow import Step, ValueOrigin, ValueSource, selectors, steps
from edgeline.lint.rule import WARNING, Found, Rule

GIVEN = ("Artifact", "Parameter")


def flows(tree: Tree) -> Iterator[tuple[Document, list[Step]]]:
    """Every compiled pipeline with its steps."""
    for document in tree.of("IR", "PipelineVersion"):
        above, pipeline = document.pipeline or ((), {})
        yield document, steps(pipeline, above)


def _once(found: Iterator[Found]) -> Iterator[Found]:
    """What is found at a place, though the component with it is used at several."""
    seen: set[tuple[Path_, str]] = set()
    for entry in found:
        if (entry.path, entry.what) not in seen:
            seen.add((entry.path, entry.what))
            yield entry


def _optional_inputs(tree: Tree) -> Iterator[Found]:
    for document, found in flows(tree):
        for step in found:
            inputs = mapped(step.component, "inputDefinitions", "artifacts")
            for name, _ in step.artifacts():
                definition = mapped(inputs, name)
                alone = definition.get("isOptional") and not definition.get("isArtifactList")
                if alone and _is_written_optional(step.executor, name):
                    path = (*step.path, "inputs", "artifacts", name)
                    what = f"{step.name} is given its Optional[Input[...]] {name}"
                    yield Found(document, path, what)


def _is_written_optional(executor: Mapping[str, Any], name: str) -> bool:
    if not python_sources.runs_python(executor):
        return False
    function = python_sources.function(executor)
    if function is None:  # inside its image; that is how it is usually written
        return True
    arguments = (*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs)
    return any(
        argument.arg == name and python_sources.is_optional(argument.annotation)
        for argument in arguments
    )


# Which artifact a task is given


@dataclass(frozen=True)
class _Identity:
    """One artifact of KFP's metadata store, and what would be the same one from the cache."""

    made: ValueOrigin
    cached: str


def _twice(tree: Tree) -> Iterator[Found]:
    for document, found in flows(tree):
        for step in found:
            seen: dict[str, set[_Identity]] = {}
            for name, spec in step.artifacts():
                identities = _given(step, spec)
                for other, before in seen.items():
                    path = (*step.path, "inputs", "artifacts", name)
                    if {entry.made for entry in identities} & {entry.made for entry in before}:
                        what = f"{step.name} is given one artifact as {other} and as {name}"
                        yield Found(document, path, what)
                    elif {entry.cached for entry in identities} & {e.cached for e in before}:
                        what = (
                            f"{step.name} is given as {other} and as {name} what equal tasks make, "
                            "which from the cache is one artifact"
                        )
                        yield Found(document, path, what)
                seen[name] = identities


def _given(step: Step, spec: Mapping[str, Any]) -> set[_Identity]:
    if outer := spec.get("componentInputArtifact"):
        origin: ValueOrigin = ("input", step.scope, outer)
        return {_Identity(origin, repr(origin))}
    output = mapped(spec, "taskOutputArtifact")
    producer = step.beside.get(str(output.get("producerTask")))
    return _made(producer, str(output.get("outputArtifactKey"))) if producer else set()


def _made(step: Step, key: str) -> set[_Identity]:
    """The artifacts that an output is: of a loop those of its rounds, of a OneOf any of several."""
    if "dag" in step.component:
        inner = selectors(step, "Artifact", key)
        return {entry for part, name in inner if part for entry in _made(part, name)}
    origin: ValueOrigin = ("output", step.scope, step.name, key)
    return {_Identity(origin, _recipe(step, key) or repr(origin))}


def _recipe(step: Step, key: str) -> str:
    """What the server finds a task's earlier execution by; empty where it makes a new artifact."""
    importer = mapped(step.executor, "importer")
    caching = mapped(step.task, "cachingOptions")
    if importer:
        if importer.get("reimport"):
            return ""
        own = {name: value for name, value in importer.items() if name != "reimport"}
    elif caching.get("enableCache") is not True:
        return ""
    elif caching.get("cacheKey"):
        return json.dumps([caching["cacheKey"], step.component], default=str, sort_keys=True)
    else:
        own = dict(mapped(step.executor, "container"))
    sources = {name: repr(source) for name, source in step.sources.items()}
    inputs = {name: sorted(e.cached for e in _given(step, spec)) for name, spec in step.artifacts()}
    return json.dumps([own, sources, inputs, key], default=str, sort_keys=True)


# Loops that may have no round


def _collected(tree: Tree) -> Iterator[Found]:
    for document, found in flows(tree):
        lists = _Lists(found)
        for step in found:
            for kind, inputs in zip(GIVEN, (step.artifacts(), step.parameters()), strict=True):
                for name, spec in inputs:
                    output = mapped(spec, f"taskOutput{kind}")
                    producer = step.beside.get(str(output.get("producerTask")))
                    if producer is None:
                        continue
                    key = str(output.get(f"output{kind}Key"))
                    path = (*step.path, "inputs", f"{kind.lower()}s", name)
                    for fault in _missing(producer, kind, key, lists, within=False):
                        yield Found(document, path, f"{step.name} collects {name} of {fault}")


def _missing(step: Step, kind: str, key: str, lists: _Lists, within: bool) -> Iterator[str]:
    """What may be missing where an output is collected.

    Args:
        within: whether it is inside a loop.
    """
    if step.is_loop and lists.may_be_empty(step):
        yield f"the loop {step.name}, which may be empty"
        return
    if within and step.is_conditional:
        yield f"{step.name}, which a condition may leave out of a round"
        return
    inner = selectors(step, kind, key)
    if len(inner) == 1 and inner[0][0]:  # of several one is there: a OneOf
        yield from _missing(inner[0][0], kind, inner[0][1], lists, within or step.is_loop)


def _empty_loops(tree: Tree) -> Iterator[Found]:
    for document, found in flows(tree):
        lists = _Lists(found)
        for step in found:
            if step.is_loop and lists.may_be_empty(step):
                what = f"the loop {step.name} over {_told(step.items)} may be empty"
                yield Found(document, step.path, what)


def _told(items: ValueSource) -> str:
    if items.origin[0] == "parameter":
        return f"the parameter {items.origin[1]}"
    if items.origin[0] == "output":
        return f"an output of {items.origin[2]}"
    return "items of its own" if items.origin[0] == "constant" else "an item of another loop"


class _Lists:
    """Which loops of a pipeline may be empty, though a condition decides whether they are run."""

    def __init__(self, found: list[Step]) -> None:
        self._inputs = {
            (step.scope, step.name): [source.origin for source in step.sources.values()]
            for step in found
        }

    def may_be_empty(self, loop: Step) -> bool:
        """Whether its list may be empty, and no condition that it is in can know of it."""
        origin = loop.items.origin
        return loop.items.may_be_empty and not any(
            decides[0] == "parameter" or self._knows(decides, origin, set())
            for guard in loop.guards
            for decides in guard
        )

    def _knows(self, decides: ValueOrigin, origin: ValueOrigin, seen: set[ValueOrigin]) -> bool:
        """Whether a value comes from a list, or from the task that gives it."""
        if decides == origin:
            return True
        if decides[0] != "output" or decides in seen:
            return False
        seen.add(decides)
        inputs = self._inputs.get((decides[1], decides[2]), [])
        return any(self._knows(entry, origin, seen) for entry in inputs)


# Metadata


def _nulls(tree: Tree) -> Iterator[Found]:
    for document, found in flows(tree):
        root = (document.pipeline or ((), {}))[0]
        told: list[Any] = []  # functions, each once though kfp writes it for each of its tasks
        for step in found:
            label = str(step.component.get("executorLabel"))
            path = (*root, "deploymentSpec", "executors", label)
            for key, value in mapped(step.executor, "importer", "metadata").items():
                if value is None:
                    where = (*path, "importer", "metadata", key)
                    yield Found(document, where, f"{step.name} imports with metadata {key}: null")
            if "None" not in str(mapped(step.executor, "container").get("command")):
                continue
            outputs = set(mapped(step.component, "outputDefinitions", "artifacts"))
            function = python_sources.function(step.executor) if outputs else None
            if function in told:
                continue
            told.append(function)
            for key in dict.fromkeys(python_sources.nulls(function, outputs) if function else ()):
                where = (*path, "container", "command")
                yield Found(document, where, f"{step.name} sets the metadata {key} to None")


rules = (
    Rule(
        "optional-input-given",
        "The launcher sends no type with an artifact, kfp then takes the annotation for one, and "
        "the task ends before its first line: Cannot instantiate typing.Union.",
        "annotate it Input[...] with the default None, without Optional",
        lambda tree: _once(_optional_inputs(tree)),
    ),
    Rule(
        "artifact-given-twice",
        "KFP's metadata store takes an artifact once for a task: the driver ends with UNIQUE "
        "constraint failed, and the task never starts.",
        "give it to one input, and let the component use it for both; of equal tasks, turn the "
        "caching of one off, of equal importers, set reimport",
        lambda tree: _once(_twice(tree)),
    ),
    Rule(
        "collected-over-nothing",
        "The driver looks for the outputs of a round that never was and ends: failed to resolve "
        "input artifact, not in tasks. Locally, it is an empty list.",
        "put the loop and the task that collects into a dsl.If on an output of the task that makes "
        "or counts the list, and for the empty one a dsl.Else without the input",
        lambda tree: _once(_collected(tree)),
    ),
    Rule(
        "loop-over-nothing",
        "A loop over nothing never completes in KFP's metadata store: what it is in stays RUNNING, "
        "and an exit handler is told so of a run that succeeded.",
        "put it into a dsl.If on an output of the task that makes or counts the list",
        lambda tree: _once(_empty_loops(tree)),
        WARNING,
    ),
    Rule(
        "null-in-metadata",
        "The launcher cannot store null and ends the task after its work: unknown/unsupported "
        "value type *structpb.Value_NullValue. What is None at run time alone is not seen here.",
        "leave the key out, or give it an empty value",
        lambda tree: _once(_nulls(tree)),
    ),
)
