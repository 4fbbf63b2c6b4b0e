"""What flows where in a compiled pipeline, as the driver of Kubeflow Pipelines resolves it.

Components are used at several places with different inputs; here each use is a step of its own,
below the loops and conditions that it is in.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from edgeline.lint.documents import Path_, at, listed, mapped

# a small file can use a component in a component a million times; a workflow of so many steps has
# more than 10 MB, which no Kubeflow keeps
MOST_STEPS = 2_000
_OPERAND = re.compile(r"parameter_values\[\\?['\"]([^'\"]+?)\\?['\"]\]")
_KEY = re.compile(r"""parseJson\(string_value\)\[["'](.+)["']\]""")

ValueOrigin = tuple[Any, ...]


@dataclass(frozen=True)
class ValueSource:
    """Where a parameter's value comes from.

    Attributes:
        origin: ("parameter", name) of the pipeline, ("output", scope, task), ("item", loop's scope)
            or ("constant",).
        values: all that it can be, where the compiled pipeline says so; else None.
    """

    origin: ValueOrigin
    values: tuple[Any, ...] | None = None

    @property
    def may_be_empty(self) -> bool:
        """Whether a loop over it may have no round."""
        return self.values is None or not all(map(_items, self.values))


@dataclass(frozen=True, eq=False)
class Step:
    """A task at one of its places.

    Attributes:
        path: of the task in the document.
        scope: names of the tasks that it is in, from the outside in.
        sources: what its input parameters come from.
        guards: what each condition that it is in, its own included, decides by.
        beside: the steps of the same graph by name, and `inner` those of its own graph.
    """

    path: Path_
    scope: tuple[str, ...]
    name: str
    task: Mapping[str, Any]
    component: Mapping[str, Any]
    executor: Mapping[str, Any]
    sources: Mapping[str, ValueSource]
    guards: tuple[frozenset[ValueOrigin], ...]
    beside: Mapping[str, Step]
    inner: Mapping[str, Step] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """Its name with those of the tasks that it is in."""
        return "/".join((*self.scope, self.name))

    @property
    def is_loop(self) -> bool:
        return bool(mapped(self.task, "parameterIterator"))

    @property
    def is_conditional(self) -> bool:
        return bool(at(self.task, "triggerPolicy", "condition"))

    @cached_property
    def items(self) -> ValueSource:
        """What a loop goes over."""
        given = mapped(self.task, "parameterIterator", "items")
        if "raw" in given:
            return ValueSource(("constant",), (given["raw"],))
        return self.sources.get(str(given.get("inputParameter")), ValueSource(("unknown",)))

    def artifacts(self) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """Its input artifacts, and what says where each comes from."""
        yield from _mappings(mapped(self.task, "inputs", "artifacts"))

    def parameters(self) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """Its input parameters, and what says where each comes from."""
        yield from _mappings(mapped(self.task, "inputs", "parameters"))


def steps(pipeline: Mapping[str, Any], above: Path_ = ()) -> list[Step]:
    """Every step of a compiled pipeline, outer ones first.

    Args:
        pipeline: KFP's IR.
        above: where it is in its document.
    """
    parameters = mapped(pipeline, "root", "inputDefinitions", "parameters")
    known = {name: ValueSource(("parameter", name)) for name in parameters}
    walk = _Walk(pipeline, above, [])
    walk.graph(mapped(pipeline, "root"), (*above, "root"), (), known, (), ())
    return walk.found


@dataclass(frozen=True)
class _Walk:
    pipeline: Mapping[str, Any]
    above: Path_
    found: list[Step]

    def graph(
        self,
        component: Mapping[str, Any],
        path: Path_,
        scope: tuple[str, ...],
        known: Mapping[str, ValueSource],
        guards: tuple[frozenset[ValueOrigin], ...],
        within: tuple[str, ...],
    ) -> dict[str, Step]:
        """The steps of a component's graph, given what its own parameters come from."""
        beside: dict[str, Step] = {}
        for name, task in _mappings(mapped(component, "dag", "tasks")):
            if len(self.found) >= MOST_STEPS:
                break
            called = str(at(task, "componentRef", "name"))
            inside = mapped(self.pipeline, "components", called)
            label = str(inside.get("executorLabel"))
            sources = {
                key: _source(spec, scope, known)
                for key, spec in _mappings(mapped(task, "inputs", "parameters"))
            }
            decides = _OPERAND.findall(str(at(task, "triggerPolicy", "condition") or ""))
            own = frozenset(sources[key].origin for key in decides if key in sources)
            inner: dict[str, Step] = {}
            step = Step(
                (*path, "dag", "tasks", name),
                scope,
                name,
                task,
                inside,
                mapped(self.pipeline, "deploymentSpec", "executors", label),
                sources,
                (*guards, own) if decides else guards,
                beside,
                inner,
            )
            beside[name] = step
            self.found.append(step)
            if "dag" in inside and called not in within:
                inner |= self.graph(
                    inside,
                    (*self.above, "components", called),
                    (*scope, name),
                    _known_inside(step),
                    step.guards,
                    (*within, called),
                )
        return beside


def _known_inside(step: Step) -> dict[str, ValueSource]:
    """What the parameters of a step's graph come from."""
    known = {}
    for name, given in _mappings(mapped(step.component, "inputDefinitions", "parameters")):
        default = ValueSource(("constant",), (given.get("defaultValue"),))
        known[name] = step.sources.get(name, default)
    if item := at(step.task, "parameterIterator", "itemInput"):
        values = step.items.values
        each = None if values is None else tuple(x for value in values for x in _items(value))
        known[str(item)] = ValueSource(("item", *step.scope, step.name), each)
    return known


def _source(
    spec: Mapping[str, Any], scope: tuple[str, ...], known: Mapping[str, ValueSource]
) -> ValueSource:
    if output := mapped(spec, "taskOutputParameter"):
        return ValueSource(("output", scope, output.get("producerTask")))
    constant = mapped(spec, "runtimeValue")
    if "constant" in constant:
        source = ValueSource(("constant",), (constant["constant"],))
    else:
        source = known.get(str(spec.get("componentInputParameter")), ValueSource(("unknown",)))
    selector = _KEY.fullmatch(str(spec.get("parameterExpressionSelector", "")))
    if selector and source.values is not None:
        parts = tuple(
            value.get(selector[1]) if isinstance(value, Mapping) else None
            for value in map(_json, source.values)
        )
        return ValueSource(source.origin, parts)
    return source


def _items(value: Any) -> list[Any]:
    value = _json(value)
    return value if isinstance(value, list) else []


def _json(value: Any) -> Any:
    if isinstance(value, str):
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            return value
    return value


def _mappings(found: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    return ((key, value) for key, value in found.items() if isinstance(value, Mapping))


def selectors(step: Step, kind: str, key: str) -> list[tuple[Step | None, str]]:
    """The steps inside a graph that an output of it comes from; several where one of them counts.

    Args:
        kind: `Artifact` or `Parameter`.
    """
    output = mapped(step.component, "dag", "outputs", f"{kind.lower()}s", key)
    if kind == "Artifact":
        found = listed(output, "artifactSelectors")
    elif one := mapped(output, "valueFromParameter"):
        found = [one]
    else:
        found = listed(output, "valueFromOneof", "parameterSelectors")
    return [
        (
            step.inner.get(str(at(entry, "producerSubtask"))),
            str(at(entry, f"output{kind}Key")),
        )
        for entry in found
    ]
