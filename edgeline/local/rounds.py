"""The rounds of a loop by what they are for: `verify-2[ethos-u55]`, not `verify-2[1]`.

A round is called as the item of the loop that it has: text or a number as it is, an object by its
entry `name`, `candidate` or `site`. Where two rounds would be called alike, or where the items
come from cannot be told, it has its number.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

from edgeline.local.tasks import TaskResult

ROUND = re.compile(r"-iteration-(\d+)/")  # of a loop, in the path of a task's output
NAMES = ("name", "candidate", "site")  # of an object, the first that it has
LONGEST = 40  # characters of a label, which is a part of a file's name


@dataclass(frozen=True)
class ItemsSource:
    """Where a loop's items come from.

    Attributes:
        component: whose output they are; "" where they are a parameter, or written out.
        name: of the output, or of the pipeline's parameter; "" where they are written out.
        written: them as JSON.
    """

    component: str = ""
    name: str = ""
    written: str = ""


class Rounds:
    """The records of a run's tasks, of which a loop has one for each of its rounds."""

    def __init__(
        self, spec: Any, tasks: dict[str, TaskResult], parameters: Mapping[str, Any]
    ) -> None:
        """
        Args:
            spec: the pipeline's `PipelineSpec` proto.
            tasks: the records, by component; those of rounds are added.
            parameters: of the run.
        """
        self.tasks = tasks
        self._parameters = parameters
        self._sources = sources_of(spec)
        self._naming = threading.Lock()  # rounds side by side

    def record_of(self, component: str, place: str) -> TaskResult:
        """The record of a task by the path of one of its outputs."""
        numbers = [int(number) for number in ROUND.findall(place)]
        sources = self._sources.get(component, ())
        if not numbers or len(numbers) != len(sources):
            return self.tasks[component]
        with self._naming:
            return self._named(component, self._suffix(sources, numbers))

    def free_record_of(self, component: str, place: str, called: str) -> TaskResult:
        """The record of a task whose result is taken, which no other round has taken: equal rounds
        of a loop have one result.

        Args:
            called: what the task was called that made it.
        """
        if called.startswith(f"{component}["):
            with self._naming:
                result = self._named(component, called.removeprefix(component))
        else:
            result = self.record_of(component, place)
        if result.state == "waiting":
            return result
        with self._naming:
            for suffix in self._suffixes(component):
                found = self._named(component, suffix)
                if found.state == "waiting":
                    return found
        raise RuntimeError(f"no free record of {component}")

    def _suffixes(self, component: str) -> Iterator[str]:
        """Of all rounds of a task; then numbers, where it cannot be told how many these are."""
        sources = self._sources.get(component, ())
        rounds = product(*(range(len(self._items(each))) for each in sources)) if sources else ()
        for numbers in rounds:
            yield self._suffix(sources, list(numbers))
        yield from (f"[{number}]" for number in range(len(self.tasks) + 1))

    def _named(self, component: str, suffix: str) -> TaskResult:
        if f"{component}{suffix}" not in self.tasks:
            planned = self.tasks[component].task
            needs, gates = (
                tuple(f"{x}{suffix}" if f"{x}{suffix}" in self.tasks else x for x in some)
                for some in (planned.needs, planned.gates)
            )
            own = replace(planned, component=f"{component}{suffix}", needs=needs, gates=gates)
            self.tasks[own.component] = TaskResult(own)
        return self.tasks[f"{component}{suffix}"]

    def _suffix(self, sources: tuple[ItemsSource | None, ...], numbers: list[int]) -> str:
        labels = [
            self._label(source, number) for source, number in zip(sources, numbers, strict=True)
        ]
        return f"[{','.join(labels)}]"

    def _label(self, source: ItemsSource | None, number: int) -> str:
        labels = [label_of(item) for item in self._items(source)]
        if number < len(labels) and labels[number] and labels.count(labels[number]) == 1:
            return labels[number]
        return str(number)

    def _items(self, source: ItemsSource | None) -> list[Any]:
        if source is None:
            return []
        found: Any = source.written
        if source.component:
            result = self.tasks.get(source.component)
            found = result.outputs.get(source.name) if result else None
        elif source.name:
            found = self._parameters.get(source.name)
        if isinstance(found, str):
            try:
                found = json.loads(found)
            except ValueError:
                return []
        return found if isinstance(found, list) else []


def label_of(item: Any) -> str:
    """What a round is called that has this item; "" where that cannot be said."""
    if isinstance(item, dict):
        item = next((item[name] for name in NAMES if item.get(name)), "")
    if isinstance(item, bool) or not isinstance(item, (str, int, float)):
        return ""
    return re.sub(r"[^\w.+-]+", "-", str(item)).strip("-.")[:LONGEST]


def sources_of(spec: Any) -> dict[str, tuple[ItemsSource | None, ...]]:
    """Of each component in loops, where the items of these come from, the outermost first; None
    where that cannot be told."""
    found: dict[str, tuple[ItemsSource | None, ...]] = {}
    known = {name: ItemsSource(name=name) for name in spec.root.input_definitions.parameters}
    _walk(spec, spec.root.dag, known, (), found)
    return found


def _walk(
    spec: Any,
    dag: Any,
    given: Mapping[str, ItemsSource],
    above: tuple[ItemsSource | None, ...],
    found: dict[str, tuple[ItemsSource | None, ...]],
) -> None:
    for task in dag.tasks.values():
        inputs = {
            name: source
            for name, each in task.inputs.parameters.items()
            if (source := _source(each, dag, spec, given))
        }
        loops = above
        if task.WhichOneof("iterator"):
            items = task.parameter_iterator.items
            own = ItemsSource(written=items.raw) if items.raw else inputs.get(items.input_parameter)
            loops = (*above, own)
        inner = spec.components[task.component_ref.name]
        if inner.WhichOneof("implementation") == "dag":
            _walk(spec, inner.dag, inputs, loops, found)
        elif loops:
            found[task.component_ref.name.removeprefix("comp-")] = loops


def _source(
    given_as: Any, dag: Any, spec: Any, given: Mapping[str, ItemsSource]
) -> ItemsSource | None:
    kind = given_as.WhichOneof("kind")
    if kind == "component_input_parameter" and not given_as.parameter_expression_selector:
        return given.get(given_as.component_input_parameter)
    if kind == "task_output_parameter":
        component = dag.tasks[given_as.task_output_parameter.producer_task].component_ref.name
        if spec.components[component].WhichOneof("implementation") != "dag":
            output = given_as.task_output_parameter.output_parameter_key
            return ItemsSource(component.removeprefix("comp-"), output)
    return None
