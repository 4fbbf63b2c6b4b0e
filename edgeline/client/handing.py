"""Tasks of a compiled pipeline that take many fields of `settings`, made to take one object.

It holds these fields (see `edgeline.kubeflow.handed`), so the pipeline's author goes on naming
each, and the workflow of a run on a cluster gets smaller by what each costs there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from edgeline.components.settings.fields import fields_of
from edgeline.components.settings.objects import FORMS
from edgeline.formats.names import CHANNEL
from edgeline.kubeflow import face, handed
from edgeline.kubeflow.task import container_of

Json = dict[str, Any]


def hand_together(pipeline: Json) -> None:
    """Give each task of edgeline's its fields of `settings` as one object, in place.

    A task that leaves one of these fields to the face's default stays as it is.

    Args:
        pipeline: KFP's IR, whose executors hold the sources of components.
    """
    for holder in (pipeline["root"], *pipeline.get("components", {}).values()):
        for name, task in _tasks(holder):
            if _face(pipeline, task) != "settings":
                continue
            kind = task["inputs"]["parameters"].get("kind", {}).get("runtimeValue", {})
            if form := FORMS.get(str(kind.get("constant"))):
                fields = {each for struct in form.objects.values() for each in fields_of(struct)}
                _Handing(pipeline, name, fields, _uses(pipeline)).change(holder, {})


@dataclass(frozen=True)
class _Handing:
    """What a task of `settings` hands to others.

    Attributes:
        name: the task's.
        fields: those of the run's form.
        uses: how many tasks have a component.
    """

    pipeline: Json
    name: str
    fields: Collection[str]
    uses: Mapping[str, int]

    def change(self, holder: Json, known: Mapping[str, str], inside: bool = False) -> set[str]:
        """Change the tasks of a graph, and of those in it.

        Args:
            known: inputs of the graph that are outputs of `settings`, with the outputs' names.
            inside: whether `settings` stands in a graph around this one.

        Returns:
            the outputs of `settings` that the graph is to be given besides.
        """
        needed: set[str] = set()
        for _, task in _tasks(holder):
            parameters = task.get("inputs", {}).get("parameters", {})
            sources = {key: self._output(given, known, inside) for key, given in parameters.items()}
            component = self.pipeline["components"][task["componentRef"]["name"]]
            if "dag" in component:
                if self.uses[task["componentRef"]["name"]] > 1:
                    continue
                outputs = self.change(component, {k: x for k, x in sources.items() if x}, True)
                defined = component.get("inputDefinitions", {}).get("parameters", {})
                defined |= {self._channel(each): {"parameterType": "STRUCT"} for each in outputs}
                parameters |= {self._channel(x): self._given(x, inside) for x in outputs}
                needed |= outputs
            elif (name := _face(self.pipeline, task)) in handed.COMPONENTS:
                own = handed.taken(name, self.fields)
                moved = {key for key in own if sources.get(key) == key}
                if len(moved) > 1 and own <= parameters.keys():
                    for key in moved:
                        del parameters[key]
                    parameters[handed.PARAMETER] = self._given(handed.output(name), inside)
                    needed.add(handed.output(name))
        return needed

    def _output(self, given: Json, known: Mapping[str, str], inside: bool) -> str:
        """The output of `settings` that an input is; "" where it is none, or a part of one."""
        if len(given) > 1:
            return ""
        made = given.get("taskOutputParameter", {})
        if made.get("producerTask") == self.name and not inside:
            return str(made["outputParameterKey"])
        return known.get(given.get("componentInputParameter", ""), "")

    def _channel(self, output: str) -> str:
        return f"{CHANNEL}{self.name}-{output}"

    def _given(self, output: str, inside: bool) -> Json:
        if inside:
            return {"componentInputParameter": self._channel(output)}
        return {"taskOutputParameter": {"producerTask": self.name, "outputParameterKey": output}}


def _tasks(holder: Json) -> Iterator[tuple[str, Json]]:
    yield from holder.get("dag", {}).get("tasks", {}).items()


def _face(pipeline: Json, task: Json) -> str:
    """The component of edgeline's that a task has; "" where it has another one."""
    component = pipeline.get("components", {}).get(task["componentRef"]["name"], {})
    named = face.embedded(container_of(pipeline, component))
    return named.name if named else ""


def _uses(pipeline: Json) -> Mapping[str, int]:
    holders = (pipeline["root"], *pipeline["components"].values())
    return Counter(task["componentRef"]["name"] for each in holders for _, task in _tasks(each))
