"""Stands in for the drivers and the workflow of a real Kubeflow Pipelines 2.17.0.

It walks a compiled pipeline. One thing happens at a time, in an order that the dependencies allow,
and each driver that can run does so before the next task: a driver takes a second, a task longer.
Nothing is cached, and what fails is not retried.

| rule                                                      | where, below backend/src/v2/         |
|-----------------------------------------------------------|--------------------------------------|
| a round of a loop gets the loop's inputs and its own item | driver/resolve.go:268                |
| parameters of the wrong type, and null, are refused       | driver/resolve.go:169                |
| text is made of what a text parameter is given            | driver/resolve.go:203                |
| an item's field is chosen by an expression                | driver/resolve.go:145                |
| an artifact of a DAG's input has no type, one of a task   | driver/resolve.go:528,               |
| an empty one                                              | metadata/client.go:245               |
| what a loop made is collected round by round; of none:    | driver/resolve.go:752 and :774       |
| the run ends                                              |                                      |
| a condition decides before the execution is recorded      | driver/dag.go:84, container.go:93    |
| outputs get a place and, of files, a URI                  | driver/driver.go:741                 |
| an exit handler is told the state that ML Metadata has    | driver/resolve.go:458                |
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import yaml
from kfp import compiler
from kfp_stand_in_launcher import TYPES, Launcher, Start
from kfp_stand_in_store import Execution, RefusedError, Store, whole

LAST = "ALL_UPSTREAM_TASKS_COMPLETED"
RUN_ID = "8f25205d-43ca-411b-983b-e9abef61dd73"


@dataclass(frozen=True)
class Task:
    """A container task that ended well, with what it was handed and what it left."""

    name: str
    component: str
    executor_input: dict[str, Any]
    parameters: dict[str, Any]
    artifacts: dict[str, Any]


@dataclass
class Run:
    """A run that has ended. `refused` is why, `state` what its exit handler was told."""

    folder: Path
    tasks: list[Task] = field(default_factory=list)
    refused: str = ""
    state: str = ""
    store: Store = field(default_factory=Store)

    def of(self, component: str) -> list[Task]:
        """The tasks of a component, by its own name."""
        wanted = component.replace("_", "-")
        return [task for task in self.tasks if task.component.rstrip("-0123456789") == wanted]

    def stored(self, artifact: Mapping[str, Any]) -> Path:
        """Where the store has an artifact."""
        return self.folder / "s3" / artifact["uri"].removeprefix("s3://")


def specification(pipeline: Any, folder: Path) -> dict[str, Any]:
    """What kfp compiles a pipeline to."""
    file = folder / "pipeline.yaml"
    compiler.Compiler().compile(pipeline, str(file))
    found: dict[str, Any] = next(yaml.load_all(file.read_text(), yaml.CSafeLoader))
    return found


def run(spec: dict[str, Any], parameters: dict[str, Any], folder: Path, start: Start) -> Run:
    """Run a compiled pipeline to its end.

    Args:
        spec: the pipeline's specification.
        parameters: of the run; the others have their defaults.
        folder: for the object store, the tasks' disks and their logs.
        start: runs a task's command.
    """
    done = Run(folder)
    root = spec["root"]
    given = root.get("inputDefinitions", {}).get("parameters", {})
    values = {
        name: one["defaultValue"] for name, one in given.items() if "defaultValue" in one
    } | parameters
    inputs = {"parameterValues": whole(values), "artifacts": {}}
    walk = _Walk(spec, done, Launcher(folder, start))
    top = done.store.create("", None, root["dag"], inputs)
    walk.run_all(lambda: walk.dag(top, lambda: None))
    return done


Job = Callable[[], None]


@dataclass
class _Walk:
    spec: dict[str, Any]
    done: Run
    launcher: Launcher
    drivers: deque[Job] = field(default_factory=deque)
    launches: deque[Job] = field(default_factory=deque)
    exits: list[Job] = field(default_factory=list)

    def run_all(self, first: Job) -> None:
        """All jobs; the first refusal ends the run, but for its exit handlers."""
        try:
            first()
            while self.drivers or self.launches:
                (self.drivers or self.launches).popleft()()
        except RefusedError as error:
            self.done.refused = self.done.refused or str(error)
            self.drivers.clear()
            self.launches.clear()
            while self.exits:
                self.run_all(self.exits.pop())

    def dag(self, execution: Execution, ended: Job) -> None:
        """Start the tasks of a DAG as they get ready; its exit handlers come after all others."""
        assert execution.dag
        waiting = dict(execution.dag["tasks"])
        last = {
            name: waiting.pop(name)
            for name, task in list(waiting.items())
            if task.get("triggerPolicy", {}).get("strategy") == LAST
        }
        running: set[str] = set()

        def begin() -> None:
            for name, task in sorted(waiting.items()):
                if not (waiting.keys() | running) & set(task.get("dependentTasks", [])):
                    running.add(name)
                    drive = partial(self.task, name, waiting[name], execution, partial(end, name))
                    self.drivers.append(drive)
            for name in running:
                waiting.pop(name, None)
            if not running:
                ended()

        def end(name: str) -> None:
            running.remove(name)
            if not (waiting or running) and last:
                self.exits.remove(finish)
                finish()
            begin()

        def finish() -> None:
            running.update(last)
            for name, task in last.items():
                self.drivers.append(partial(self.task, name, task, execution, partial(end, name)))
            last.clear()

        if last:
            self.exits.append(finish)
        begin()

    def task(self, name: str, task: dict[str, Any], parent: Execution, ended: Job) -> None:
        """A task's driver; what it starts calls `ended`."""
        key = task["componentRef"]["name"]
        component = self.spec["components"][key]
        inputs = self.inputs(name, task, component, parent)
        triggered = _holds(task.get("triggerPolicy", {}).get("condition", ""), inputs)
        store, dag = self.done.store, component.get("dag")
        iterator = task.get("parameterIterator")
        items = _items(iterator, inputs) if iterator and triggered else []
        count = len(items) if iterator else None
        execution = store.create(name, parent, dag, inputs, triggered, count=count)
        if not triggered or count == 0:
            ended()
        elif iterator:
            open_ = set(range(len(items)))

            def end(index: int) -> None:
                open_.remove(index)
                if not open_:
                    ended()

            for index, item in enumerate(items):
                given = self.round(iterator, component, execution, item)
                made = store.create(name, execution, dag, given, index=index)
                self.drivers.append(partial(self.dag, made, partial(end, index)))
        elif dag:
            self.dag(execution, ended)
        else:
            run_it = partial(self.container, name, key, component, execution, inputs, ended)
            self.launches.append(run_it)

    def round(
        self, iterator: dict[str, Any], component: dict[str, Any], loop: Execution, item: Any
    ) -> dict[str, Any]:
        key = iterator["itemInput"]
        kind = component["inputDefinitions"]["parameters"][key]["parameterType"]
        values = {**loop.parameters, key: _typed(key, item, kind)}
        values.pop(iterator["items"].get("inputParameter", ""), None)
        return {"parameterValues": values, "artifacts": self.done.store.inputs_of(loop)}

    def container(
        self,
        name: str,
        key: str,
        component: dict[str, Any],
        execution: Execution,
        inputs: dict[str, Any],
        ended: Job,
    ) -> None:
        outputs = component.get("outputDefinitions", {})
        root = f"s3://mlpipeline/{self.spec['pipelineInfo']['name']}/{RUN_ID}/{name}/{execution.id}"
        artifacts = outputs.get("artifacts", {}) | {
            "executor-logs": {"artifactType": {"schemaTitle": "system.Artifact"}}
        }
        handed = {
            "inputs": inputs,
            "outputs": {
                "artifacts": {
                    each: {
                        "artifacts": [
                            {"name": each, "type": one["artifactType"], "uri": f"{root}/{each}"}
                        ]
                    }
                    for each, one in artifacts.items()
                },
                "parameters": {
                    each: {"outputFile": f"/tmp/kfp/outputs/{each}"}
                    for each in outputs.get("parameters", {})
                },
                "outputFile": f"/s3/{root.removeprefix('s3://')}/output_metadata.json",
            },
        }
        executor = self.spec["deploymentSpec"]["executors"][component["executorLabel"]]
        try:
            left = self.launcher.launch(
                execution.id, name, component, executor["container"], handed
            )
            for each, artifact in left["artifacts"].items():
                self.done.store.publish(execution, each, artifact)
            execution.outputs = whole(left["parameterValues"])
            execution.state = "COMPLETE"
        except RefusedError:
            execution.state = "FAILED"
            raise
        finally:
            self.done.store.settle(execution.parent)
        own = key.removeprefix("comp-")
        self.done.tasks.append(
            Task(name, own, left["executor_input"], left["parameterValues"], left["artifacts"])
        )
        ended()

    def inputs(
        self, name: str, task: dict[str, Any], component: dict[str, Any], parent: Execution
    ) -> dict[str, Any]:
        wanted = task.get("inputs", {})
        definitions = component.get("inputDefinitions", {}).get("parameters", {})
        values: dict[str, Any] = {}
        for key, source in wanted.get("parameters", {}).items():
            values[key] = self.parameter(name, source, parent)
            if path := source.get("parameterExpressionSelector"):
                values[key] = _field(path, values[key])
        iterator = task.get("parameterIterator", {})
        for key, spec in definitions.items():
            if key in values:
                values[key] = _typed(key, values[key], spec["parameterType"])
            elif iterator.get("itemInput") != key and not (
                spec.get("isOptional") or "defaultValue" in spec
            ):
                raise RefusedError(f"neither value nor default for parameter {key!r} of {name}")
        artifacts = {
            key: {"artifacts": self.artifacts(key, source, parent)}
            for key, source in wanted.get("artifacts", {}).items()
        }
        return {"parameterValues": values, "artifacts": artifacts}

    def parameter(self, name: str, source: dict[str, Any], parent: Execution) -> Any:
        if key := source.get("componentInputParameter"):
            if key not in parent.parameters:
                raise RefusedError(f"parent DAG does not have input parameter {key}")
            return parent.parameters[key]
        if output := source.get("taskOutputParameter"):
            producer = self.task_of(parent, output["producerTask"])
            return producer.outputs[output["outputParameterKey"]]
        if status := source.get("taskFinalStatus"):
            group = self.task_of(parent, status["producerTask"])
            self.done.state = group.state
            return {
                "state": group.state,
                "pipelineTaskName": group.name,
                "pipelineJobResourceName": "run-1",
                "error": {},
            }
        constant = source["runtimeValue"]["constant"]
        known = {
            "{{$.pipeline_job_name}}": "run 1",
            "{{$.pipeline_job_resource_name}}": "run-1",
            "{{$.pipeline_job_uuid}}": RUN_ID,
            "{{$.pipeline_task_name}}": name,
        }
        return known.get(constant, constant) if isinstance(constant, str) else whole(constant)

    def artifacts(self, key: str, source: dict[str, Any], parent: Execution) -> list[Any]:
        if name := source.get("componentInputArtifact"):
            given = self.done.store.inputs_of(parent)
            if name not in given:
                raise RefusedError(f"parent DAG does not have input artifact {name}")
            return list(given[name]["artifacts"])
        output = source["taskOutputArtifact"]
        try:
            producer = self.task_of(parent, output["producerTask"])
            return self.made_by(producer, output["outputArtifactKey"])
        except RefusedError as error:
            raise RefusedError(f"failed to resolve input artifact {key}: {error}") from None

    def made_by(self, producer: Execution, key: str) -> list[Any]:
        """An output of a container, or of the one below a DAG; of a loop, those of all rounds."""
        if producer.dag is None:
            return [self.done.store.outputs_of(producer)[key]]
        (selector,) = producer.dag["outputs"]["artifacts"][key]["artifactSelectors"]
        rounds = self.done.store.children(producer) if producer.count else [producer]
        found = []
        for each in rounds:
            below = self.task_of(each, selector["producerSubtask"])
            found += self.made_by(below, selector["outputArtifactKey"])
        return found

    def task_of(self, dag: Execution, name: str) -> Execution:
        for each in self.done.store.children(dag):
            if each.name == name and each.index is None:
                return each
        raise RefusedError(f"{name}_{dag.id}, not in tasks")


def _items(iterator: dict[str, Any], inputs: dict[str, Any]) -> list[Any]:
    source = iterator["items"]
    found = (
        json.loads(source["raw"])
        if "raw" in source
        else inputs["parameterValues"][source["inputParameter"]]
    )
    return list(json.loads(found) if isinstance(found, str) else found)


def _typed(key: str, value: Any, kind: str) -> Any:
    if kind == "STRING" and not isinstance(value, str):
        return json.dumps(value, separators=(",", ":"))
    if value is None:
        raise RefusedError(f"got null for input parameter {key!r}")
    if kind in ("TASK_FINAL_STATUS", "TASK_CONFIG"):
        return value
    expected = TYPES[kind]
    if not isinstance(value, expected) or (isinstance(value, bool) and expected is not bool):
        raise RefusedError(f"input parameter {key!r} type mismatch: expect {kind}, got {value!r}")
    return value


def _field(expression: str, value: Any) -> Any:
    """`parseJson(string_value)["site"]`, the only form that kfp's compiler writes."""
    head, _, rest = expression.partition('["')
    assert head == "parseJson(string_value)", expression
    name = rest.removesuffix('"]')
    item = json.loads(value) if isinstance(value, str) else value
    if name not in item:
        raise RefusedError(f"evaluation error: no such key: {name}")
    return item[name]


def _holds(condition: str, inputs: dict[str, Any]) -> bool:
    """A condition in CEL, of the operators that kfp's compiler writes."""
    words = (
        condition.replace("inputs.parameter_values", "values")
        .replace("&&", " and ")
        .replace("||", " or ")
        .replace("!(", " not (")
    )
    names = {"values": inputs["parameterValues"], "true": True, "false": False, "int": int}
    return not condition or bool(eval(words, {"__builtins__": {}}, names))
