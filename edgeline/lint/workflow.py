"""How large the Argo workflow of a compiled pipeline becomes while it runs on KFP 2.

The API server makes a workflow of the pipeline, and Argo keeps in it what each node was given.
Above 1 MiB Argo compresses its nodes, and KFP then no longer tells how tasks end. What the pipeline
says is counted byte by byte, as Go writes JSON; the rest are constants.

| what                                              | where, below backend/src/v2 (7b70c7b)     |
|---------------------------------------------------|-------------------------------------------|
| component and container, once each in arguments,  | compiler/argocompiler/argo.go             |
| and what each task asks of Kubernetes             |                                           |
| a task and its driver in a template               | compiler/argocompiler/dag.go              |
| a driver's inputs: component, task, container     | compiler/argocompiler/container.go        |
| a pod's patch: executor input, component, source, | driver/driver.go, initPodSpecPatch, and   |
| and what Kubernetes is asked                      | driver/k8s.go, extendPodSpecPatch         |
| each node twice, as a retry and as its first try  | templateDefaults of KFP's ConfigMap       |

So a patch, with the metadata of a task's input artifacts in it, is written six times: it is an
output of the driver, an input of the task and one of its executor, each of them twice; three times
where Argo's controller has other defaults than KFP's (`edgeline.lint.controller`).
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from edgeline.kubeflow import handed, outputs
from edgeline.kubeflow.conditions import Claim, claims
from edgeline.lint.documents import at, listed, mapped
from edgeline.lint.flow import Step, ValueSource, selectors, steps
from edgeline.lint.python_sources import face_of
from edgeline.lint.workflow_size import (
    ENVIRONMENT,
    INTERFACE,
    METADATA,
    OTHER,
    PARAMETERS,
    SOURCE,
    Part,
    WorkflowSize,
)

COMPRESSED = 1 << 20  # bytes of a workflow above which Argo compresses its nodes

TRIES = 2  # a node, and its first try
PATCHES = 3  # of the driver, the task and its executor, in each
NODE = 700  # bytes of a node without inputs and outputs: names, ids, times, children, resources
ENDED = 350  # of what every pod gives: its log's place and its exit code
ARGUMENT = 60  # of what is given to the whole workflow, its name
TEMPLATE = 600  # of a task and its driver in a template, without what the pipeline says
SYSTEM = 10_000  # of the templates that every workflow has, its own metadata and status
ROOT = "s3://mlpipeline/pipelines"  # where a pipeline has none
ID = "00000000-0000-0000-0000-000000000000"
STORE = (
    '{"Provider":"s3","Params":{"accessKeyKey":"accesskey","disableSSL":"true",'
    '"endpoint":"seaweedfs.kubeflow:9000","forcePathStyle":"true","fromEnv":"false",'
    '"maxRetries":"5","region":"us-east-1","secretKeyKey":"secretkey",'
    '"secretName":"mlpipeline-minio-artifact"}}'
)  # what the launcher notes of the store with each artifact, unless its task has said it is short
FACTS = "x" * 150  # an artifact's metadata where it is not known, as much as edgeline writes
# outputs of `settings` that say whether a task is asked for, and the field that decides
WANTED = {"explains": "explained_rows"}
VALUE = "x" * 40  # a parameter that another task gives, where nothing says which
# a task's command as far as it is KFP's own, its words one after the other
LAUNCHER = (
    "/kfp-launcher/launch --executor_type container --run_id --execution_id 100 --executor_input "
    "--component_spec --pod_name $(KFP_POD_NAME) --pod_uid $(KFP_POD_UID) "
    "--ml_pipeline_server_address ml-pipeline.kubeflow.svc.cluster.local "
    "--ml_pipeline_server_port 8887 --mlmd_server_port 8080 "
    "--mlmd_server_address metadata-grpc-service.kubeflow.svc.cluster.local "
    "--publish_logs true --ml_pipeline_tls_enabled=false --metadata_tls_enabled=false "
    "--ca_cert_path --cache_disabled=false --log_level 1 --pipeline_name --"
)

# The metadata of the artifacts that a task is given under a name; None where they are not known
Handed = Callable[[str, str], Sequence[Mapping[str, Any]] | None]


def unknown(task: str, name: str) -> None:
    """Says of no artifact what its metadata are."""


def estimate(
    pipeline: Mapping[str, Any],
    platform: Mapping[str, Any],
    *,
    given: Mapping[str, Any] | None = None,
    handed: Handed = unknown,
    tries: int = TRIES,
) -> WorkflowSize:
    """How large a compiled pipeline's workflow is when all its tasks have run.

    Of tasks whose conditions exclude each other the larger are counted, of the others, and of those
    that the run does not ask for, what it took to leave them out. A loop has the rounds that the
    compiled pipeline says;
    over what a task gives, as many as the list of that name has that this task is given, alone or
    in an object (`each_target`: `targets`), or else the longest list.

    Args:
        pipeline: KFP's IR.
        platform: what it needs of a platform; empty where it needs nothing.
        given: parameters of the run; the others have their defaults.
        handed: the metadata of input artifacts, as the launcher hands them.
        tries: how often each node is written: 1 where the controller's defaults have no
            retryStrategy.
    """
    defined = mapped(pipeline, "root", "inputDefinitions", "parameters")
    values = {name: at(one, "defaultValue") for name, one in defined.items()}
    return WorkflowSize(
        dict(_Estimate(pipeline, platform, values | dict(given or {}), handed, tries)())
    )


@dataclass(frozen=True)
class _Estimate:
    pipeline: Mapping[str, Any]
    platform: Mapping[str, Any]
    parameters: Mapping[str, Any]
    handed: Handed
    tries: int

    def __call__(self) -> Counter[Part]:
        root = mapped(self.pipeline, "root")
        counted = Counter(
            {
                Part(PARAMETERS, "the run"): _once(_go(self.parameters)) * (1 + self.tries),
                Part(INTERFACE, "root"): _once(_go(root)) * (1 + self.tries),
                Part(OTHER, "the workflow"): SYSTEM + 3 * self.tries * NODE,
            }
        )
        known: set[str] = set()
        for step in self._steps.values():
            container = _go(mapped(step.executor, "container"))
            saved = container if step.executor else _called(step)
            if saved not in known:
                known.add(saved)
                counted[Part(INTERFACE, _component(step))] += _once(_go(step.component))
                counted[Part(SOURCE, _component(step))] += _once(container)
            if config := self._config(step):  # once for each task, whatever it says
                counted[Part(ENVIRONMENT, step.label)] += ARGUMENT + _once(_go(config))
        return counted + self._graph([step for step in self._steps.values() if not step.scope])

    @cached_property
    def _steps(self) -> dict[tuple[tuple[str, ...], str], Step]:
        return {(step.scope, step.name): step for step in steps(self.pipeline)}

    def _graph(self, beside: Sequence[Step]) -> Counter[Part]:
        """The tasks of a graph: of those that exclude each other the larger."""
        whole = {step: self._of(step) for step in beside}
        said = {
            step: claims(str(at(step.task, "triggerPolicy", "condition") or "")) for step in beside
        }
        running = {step for step in beside if not self._is_declined(step)}
        texts = dict.fromkeys(claim.text for each in said.values() for claim in each)
        for text in reversed(texts):  # of an If with Elif and Else the last branches first
            yes, no = (
                [step for step in beside if step in running and Claim(text, holds) in said[step]]
                for holds in (True, False)
            )
            if yes and no:
                sizes = [sum(whole[step].total() for step in side) for side in (yes, no)]
                running -= set(yes if sizes[0] < sizes[1] else no)
        counted: Counter[Part] = Counter()
        for step in beside:
            counted += whole[step] if step in running else self._left_out(step)
        return counted

    def _is_declined(self, step: Step) -> bool:
        """Whether a task waits for an output of `settings` that the run's own fields make false."""
        condition = str(at(step.task, "triggerPolicy", "condition") or "")
        for name, source in step.sources.items():
            wanted = WANTED.get(name.rpartition("-")[2])
            if wanted and f"'{name}'" in condition and source.origin[0] == "output":
                maker = self._steps.get((source.origin[1], str(source.origin[2])))
                fields = _fields(self._objects(maker) if maker else {})
                return next((not value for key, value in fields if key == wanted), False)
        return False

    def _left_out(self, step: Step) -> Counter[Part]:
        """A task whose driver found that it is not to run, and its place in a template."""
        task, executor = _once(_go(step.task)), mapped(step.executor, "container")
        driven = _once(_go(executor)) + _once(_go(self._config(step))) if step.executor else 0
        nodes = self._placed(step) + (1 + self.tries) * NODE + self.tries * (task + driven)
        component = self.tries * _once(_go(step.component))
        left_out = {Part(OTHER, step.label): nodes, Part(INTERFACE, _component(step)): component}
        return Counter(left_out) + self._templates(step)

    def _templates(self, step: Step) -> Counter[Part]:
        """What is in a group has its place in the templates whether the group runs or not."""
        found: Counter[Part] = Counter()
        for inner in step.inner.values():
            found[Part(OTHER, inner.label)] += self._placed(inner)
            found += self._templates(inner)
        return found

    def _placed(self, step: Step) -> int:
        """Bytes of a task in templates: of a loop there are also the iterator and a round."""
        return (3 if step.is_loop else 1) * (TEMPLATE + _once(_go(step.task)))

    def _of(self, step: Step) -> Counter[Part]:
        """A task with all that is in it: its nodes, and its place in a template."""
        task = _once(_go(step.task))
        placed = Counter({Part(OTHER, step.label): self._placed(step)})
        if "dag" not in step.component:
            return placed + self._of_container(step, task)
        driven = Counter(
            {
                Part(OTHER, step.label): (2 * NODE + task) * self.tries,
                Part(INTERFACE, _component(step)): _once(_go(step.component)) * self.tries,
            }
        )
        within = driven + self._graph(list(step.inner.values()))
        if not step.is_loop:
            return placed + within
        rounds = self._rounds(step)  # each has a driver, too, and so has the loop
        return placed + driven + Counter({part: size * rounds for part, size in within.items()})

    def _of_container(self, step: Step, task: int) -> Counter[Part]:
        container, name = mapped(step.executor, "container"), _component(step)
        config = self._config(step)
        words = [str(word) for part in ("command", "args") for word in listed(container, part)]
        around = {key: container[key] for key in ("env", "image", "resources") if key in container}
        taken, made = _compact(self._inputs(step)), _compact(self._outputs(step))
        return Counter(
            {
                Part(SOURCE, name): (PATCHES + 1) * self.tries * sum(map(_twice, words)),
                Part(INTERFACE, name): PATCHES * self.tries * _twice(_compact(step.component))
                + self.tries * _once(_go(step.component)),
                Part(PARAMETERS, step.label): PATCHES
                * self.tries
                * _twice(_compact(self._values(step))),
                Part(METADATA, step.label): PATCHES
                * self.tries
                * sum(map(_twice, self._metadata(step))),
                Part(ENVIRONMENT, step.label): PATCHES
                * self.tries
                * _once(_go(_in_pod(container, config)))
                + self.tries * (_once(_go(around)) + _once(_go(config))),
                Part(OTHER, step.label): PATCHES
                * self.tries
                * (NODE + _once(_go([*LAUNCHER.split(), ID])))
                + PATCHES * self.tries * (_twice(taken) + _twice(made))
                + self.tries * (task + 2 * ENDED),
            }
        )

    def _config(self, step: Step) -> Mapping[str, Any]:
        """What a task asks of Kubernetes."""
        configs = mapped(self.platform, "platforms", "kubernetes", "deploymentSpec", "executors")
        return mapped(configs, str(step.component.get("executorLabel")))

    def _inputs(self, step: Step) -> dict[str, Any]:
        """The artifacts of a task's input, without their metadata."""
        kind = {"instanceSchema": ""}
        return {
            name: {
                "artifacts": [{"name": "100", "type": kind, "uri": self._place(step, name)}]
                * self._collected(step, source)
            }
            for name, source in step.artifacts()
        }

    def _collected(self, step: Step, source: Mapping[str, Any]) -> int:
        """How many artifacts a task is given as one input: of a loop beside it, one a round."""
        maker = step.beside.get(str(at(source, "taskOutputArtifact", "producerTask")))
        return self._rounds(maker) if maker and maker.is_loop else 1

    def _outputs(self, step: Step) -> dict[str, Any]:
        """Where a task is to put its outputs."""
        defined = mapped(step.component, "outputDefinitions")
        made = {**mapped(defined, "artifacts"), "executor-logs": {}}
        artifacts = {
            name: {
                "name": name,
                "type": mapped(one, "artifactType"),
                "uri": self._place(step, name),
            }
            for name, one in made.items()
        }
        files = {name: f"/tmp/kfp/outputs/{name}" for name in mapped(defined, "parameters")}
        return {
            "artifacts": {name: {"artifacts": [one]} for name, one in artifacts.items()},
            "outputFile": self._place(step, "output_metadata.json"),
            "parameters": {name: {"outputFile": file} for name, file in files.items()},
        }

    def _place(self, step: Step, name: str) -> str:
        root = self.pipeline.get("defaultPipelineRoot") or ROOT
        pipeline = at(self.pipeline, "pipelineInfo", "name")
        return f"{root}/{pipeline}/{ID}/{step.name}/{ID}/{name}"

    def _metadata(self, step: Step) -> Iterator[str]:
        for name, source in step.artifacts():
            found = self.handed(step.name, name)
            if found is None:
                store = "" if self._is_short(step, source) else STORE
                one = {"facts": FACTS, "display_name": name, outputs.STORE: store}
                found = [one] * self._collected(step, source)
            yield from map(_compact, found)

    def _is_short(self, step: Step, source: Mapping[str, Any]) -> bool:
        """Whether an artifact says nothing of its store: a folder that a task of edgeline's made.

        The same is said of a bundle, whose only taker is a small task.
        """
        if made := mapped(source, "taskOutputArtifact"):
            maker = step.beside.get(str(made.get("producerTask")))
            return maker is not None and self._says_short(maker, str(made.get("outputArtifactKey")))
        around = self._steps.get((step.scope[:-1], step.scope[-1])) if step.scope else None
        if around is None:
            return False
        given = mapped(
            around.task, "inputs", "artifacts", str(source.get("componentInputArtifact"))
        )
        return self._is_short(around, given)

    def _says_short(self, maker: Step, key: str) -> bool:
        """The same of an output: where a group gives one of several, of all of them."""
        if "dag" not in maker.component:
            return face_of(maker.executor) is not None
        inside = selectors(maker, "Artifact", key)
        return bool(inside) and all(each and self._says_short(each, name) for each, name in inside)

    def _values(self, step: Step) -> dict[str, Any]:
        return {name: self._value(step, name) for name in step.sources}

    def _value(self, step: Step, name: str) -> Any:
        """An input parameter; of what another task gives, that task's field of that name."""
        source = step.sources[name]
        if source.origin[0] != "output":
            return self._known(source)
        maker = self._steps.get((source.origin[1], str(source.origin[2])))
        given = self._objects(maker) if maker else {}
        named = face_of(step.executor)
        if name == handed.PARAMETER and named and named.name in handed.COMPONENTS:
            values = dict(reversed(list(_fields(given))))  # of two the outer one counts
            return handed.together(named.name, values)
        return next((value for key, value in _fields(given) if key == name), VALUE)

    def _known(self, source: ValueSource) -> Any:
        """What the pipeline itself or the run's parameters say, the longest of several."""
        if source.values:
            return max(source.values, key=lambda value: len(_compact(value)))
        if source.origin[0] == "parameter":
            return self.parameters.get(str(source.origin[1]))
        return VALUE

    def _objects(self, step: Step) -> dict[str, Any]:
        """The values that a task is given which no other task makes."""
        sources = step.sources.items()
        return {name: self._known(each) for name, each in sources if each.origin[0] != "output"}

    def _rounds(self, step: Step) -> int:
        """How many rounds a loop has; one where nothing says it."""
        origin = step.items.origin
        if origin[0] != "output":
            items = _list(self._known(step.items))
            return 1 if items is None else len(items)
        maker = self._steps.get((origin[1], str(origin[2])))
        given = self._objects(maker) if maker else {}
        over = str(at(step.task, "parameterIterator", "items", "inputParameter")).rpartition("-")[2]
        named = (value for name, value in _fields(given) if over.endswith(name.rstrip("s") or "s"))
        first = next((len(items) for items in map(_list, named) if items is not None), None)
        lists = [items for items in map(_list, given.values()) if items is not None]
        return max(map(len, lists), default=1) if first is None else first


def _fields(objects: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """What objects have by name, the outermost first."""
    while objects:
        yield from objects.items()
        inner = [value for value in objects.values() if isinstance(value, Mapping)]
        objects = {str(name): value for each in inner for name, value in each.items()}


def _in_pod(container: Mapping[str, Any], config: Mapping[str, Any]) -> dict[str, Any]:
    """What a patch says of a pod apart from its command, as Kubernetes writes it."""
    variables = [*listed(container, "env")]
    for secret in listed(config, "secretAsEnv"):
        for entry in listed(secret, "keyToEnv"):
            key = {"key": at(entry, "secretKey"), "name": at(secret, "secretName")}
            source = {"secretKeyRef": {**key, "optional": False}}
            variables.append({"name": at(entry, "envVar"), "valueFrom": source})
    amounts = {
        key: value
        for key, value in mapped(container, "resources").items()
        if key.startswith("resource")
    }
    pulled = [{"name": at(secret, "secretName")} for secret in listed(config, "imagePullSecret")]
    asked = {
        "activeDeadlineSeconds": config.get("activeDeadlineSeconds"),
        "imagePullSecrets": pulled,
        "nodeSelector": mapped(config, "nodeSelector", "labels"),
        "securityContext": mapped(config, "securityContext"),
        "tolerations": listed(config, "tolerations"),
    }
    own = {"env": variables, "image": container.get("image"), "resources": amounts}
    return own | {key: value for key, value in asked.items() if value}


def _called(step: Step) -> str:
    return str(at(step.task, "componentRef", "name"))


def _component(step: Step) -> str:
    return _called(step).removeprefix("comp-")


def _list(value: Any) -> list[Any] | None:
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return None
    return value if isinstance(value, list) else None


def _compact(value: Any) -> str:
    """JSON as protobuf's Go library writes it, but for the order of keys."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False, skipkeys=True, default=str)


def _go(value: Any) -> str:
    """JSON as Go's own library writes it: fit for HTML."""
    text = _compact(value)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def _once(text: str) -> int:
    """Bytes of a text that is a value of a workflow."""
    return len(_go(text).encode("utf-8", "replace"))


def _twice(text: str) -> int:
    """Bytes of a text in a JSON that is itself a value of a workflow."""
    return len(_go(_go(text)).encode("utf-8", "replace"))
