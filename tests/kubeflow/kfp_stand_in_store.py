"""Stands in for ML Metadata of a real Kubeflow Pipelines 2.17.0: what its tables hold and refuse.

Each rule names where it was read in kubeflow/pipelines at tag 2.17.0, below `backend/src/v2/`; what
a real one was recorded to hand and to take is in `recorded/executor`.

- metadata/converter.go:138: null in an artifact's metadata is refused; a bool becomes 1 or 0, a
  list `{"list": …}`, an object `{"struct": …}`, a number a double
- metadata/converter.go:187: an artifact is named by its id
- metadata/client.go:1187: of a sub-DAG's inputs each name holds one artifact, the last
- metadata/client.go:1235: display_name and store_session_info are added
- metadata/client.go:800, component/launcher_v2.go:227: a DAG is COMPLETE when as many of its tasks
  have ended as it has; this is looked at when a launcher ends, and at no other time
- ML Metadata's table Event, UNIQUE (artifact_id, execution_id, type): no artifact is twice the
  input of one execution
- ML Metadata's table ArtifactProperty on MySQL: a name has at most 255 characters, and names of one
  artifact differ in more than case
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

ENDED_WELL = ("COMPLETE", "CACHED", "CANCELED")
SESSION = '{"Provider":"s3","Params":{"fromEnv":"false"}}'


class RefusedError(Exception):
    """What a real Kubeflow Pipelines ends a task or a run with."""


@dataclass
class Execution:
    """A DAG or a container. `count` is that of a loop's rounds, `index` a round's own."""

    id: int
    name: str
    parent: Execution | None
    dag: dict[str, Any] | None  # its tasks and outputs, in the compiled pipeline
    parameters: dict[str, Any]
    index: int | None = None
    count: int | None = None
    state: str = "RUNNING"
    outputs: dict[str, Any] = field(default_factory=dict)


@dataclass
class Store:
    """Executions, artifacts and which execution has which artifact under which name."""

    executions: list[Execution] = field(default_factory=list)
    artifacts: list[dict[str, Any]] = field(default_factory=list)
    events: dict[tuple[int, int, str], str] = field(default_factory=dict)

    def create(
        self,
        name: str,
        parent: Execution | None,
        dag: dict[str, Any] | None,
        inputs: dict[str, Any],
        triggered: bool = True,
        index: int | None = None,
        count: int | None = None,
    ) -> Execution:
        """Record an execution with its inputs, as `CreateExecution` does."""
        made = Execution(
            len(self.executions) + 1, name, parent, dag, inputs["parameterValues"], index, count
        )
        made.state = "RUNNING" if triggered else "CANCELED"
        self.executions.append(made)
        for key, given in inputs["artifacts"].items():
            for artifact in given["artifacts"]:
                self._connect(int(artifact["name"]), made, "INPUT", key)
        return made

    def publish(self, execution: Execution, key: str, output: dict[str, Any]) -> None:
        """Record an output artifact as the launcher gives it."""
        properties: dict[str, Any] = {}
        for name, value in (output.get("metadata") or {}).items():
            if value is None:
                raise RefusedError(
                    f'unable to produce MLMD artifact for output "{key}": failed to convert '
                    "RuntimeArtifact to MLMD artifact: unknown/unsupported value type "
                    f"*structpb.Value_NullValue ({name})"
                )
            if len(name) > 255 or name.casefold() in map(str.casefold, properties):
                raise RefusedError(f'output "{key}": Duplicate entry or too long a name: {name}')
            properties[name] = _property(value)
        properties.setdefault("display_name", key)
        properties.setdefault("store_session_info", SESSION)
        self.artifacts.append({"uri": output["uri"], "metadata": properties})
        self._connect(len(self.artifacts), execution, "OUTPUT", key)

    def outputs_of(self, execution: Execution) -> dict[str, dict[str, Any]]:
        """A container's artifacts as the next driver reads them: with an empty type."""
        return {
            name: {**self._runtime(artifact), "type": {"instanceSchema": ""}}
            for (artifact, of, kind), name in self.events.items()
            if of == execution.id and kind == "OUTPUT"
        }

    def inputs_of(self, execution: Execution) -> dict[str, Any]:
        """A DAG's artifacts as its tasks get them: without a type, one to a name."""
        return {
            name: {"artifacts": [self._runtime(artifact)]}
            for (artifact, of, kind), name in self.events.items()
            if of == execution.id and kind == "INPUT"
        }

    def children(self, execution: Execution) -> list[Execution]:
        return [each for each in self.executions if each.parent is execution]

    def settle(self, dag: Execution | None) -> None:
        """See whether a DAG and those around it have ended, as a launcher does at its end."""
        if dag is None or (dag.count is None and dag.parent is None):
            return
        expected = len(dag.dag["tasks"]) if dag.count is None and dag.dag else dag.count
        states = [child.state for child in self.children(dag)]
        if sum(state in ENDED_WELL for state in states) == expected:
            dag.state = "COMPLETE"
        elif "FAILED" in states:
            dag.state = "FAILED"
        else:
            return
        self.settle(dag.parent)

    def _connect(self, artifact: int, execution: Execution, kind: str, name: str) -> None:
        if (artifact, execution.id, kind) in self.events:
            raise RefusedError(
                "UNIQUE constraint failed: Event.artifact_id, Event.execution_id, Event.type "
                f"({execution.name} gets one artifact as {name} and as "
                f"{self.events[artifact, execution.id, kind]})"
            )
        self.events[artifact, execution.id, kind] = name

    def _runtime(self, artifact: int) -> dict[str, Any]:
        return {"name": str(artifact), **json.loads(json.dumps(self.artifacts[artifact - 1]))}


def _property(value: Any) -> Any:
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, list):
        return {"list": whole(value)}
    return {"struct": whole(value)} if isinstance(value, dict) else whole(value)


def whole(value: Any) -> Any:
    """Numbers as Go writes them: all are doubles, and a whole one has no point."""
    if isinstance(value, dict):
        return {key: whole(each) for key, each in value.items()}
    if isinstance(value, list):
        return [whole(each) for each in value]
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        double = float(value)
        return int(double) if double.is_integer() and abs(double) < 1e21 else double
    return value
