"""Rules on what Kubeflow's operators, Katib, Flink, KServe and an Edge TPU's nodes expect."""

from __future__ import annotations

import json
from collections.abc import Iterator

from edgeline.lint.documents import Document, Tree, at, listed, mapped
from edgeline.lint.rule import WARNING, Found, Rule
from edgeline.lint.security import pods
from edgeline.sites.kserve import MODE

BEAM_FLINK = ("v1_17", "v1_18", "v1_19", "v1_20")  # Beam 2.7x
# of pipelines whose workers are a pool beside each task manager
BEAM_ENDPOINTS = ("--environment_config=localhost:50000", '"--job_endpoint=')
EDGE_FORMATS = ("litert", "tflite")
CORAL_BEFORE, CORAL_AFTER = ("1a6e", "089a"), ("18d1", "9302")  # USB ids
CORAL_PCI = "pci-0880_1ac1"


def _tfjobs(tree: Tree) -> Iterator[Found]:
    for document in tree.of("TFJob"):
        for kind, replica in mapped(document.value, "spec", "tfReplicaSpecs").items():
            path = ("spec", "tfReplicaSpecs", kind)
            containers = listed(replica, "template", "spec", "containers")
            names = [at(container, "name") for container in containers]
            inject = at(replica, "template", "metadata", "annotations", "sidecar.istio.io/inject")
            if "tensorflow" not in names:
                what = f"no container of {kind} is named tensorflow, which the operator looks for"
                yield Found(document, path, what)
            elif str(inject).lower() != "false":
                what = f"Istio's sidecar keeps {kind} running when the training has ended"
                yield Found(document, path, what)


def _trials(tree: Tree) -> Iterator[Found]:
    for document in tree.of("Experiment"):
        path = ("spec", "trialTemplate")
        template = mapped(document.value, *path)
        trains = at(template, "trialSpec", "kind") == "TrainJob"
        if trains and "Complete" not in str(template.get("successCondition")):
            yield Found(document, path, "Katib does not see when a TrainJob has succeeded")


def _flink(tree: Tree) -> Iterator[Found]:
    external = any(
        any(each in json.dumps(document.value, default=str) for each in BEAM_ENDPOINTS)
        for document in tree.of("IR", "PipelineVersion")
    )
    for document in tree.of("FlinkDeployment"):
        path = ("spec", "taskManager")
        workers = "worker_pool" in json.dumps(document.get(*path), default=str)
        version = document.get("spec", "flinkVersion")
        if external and not workers:
            yield Found(document, path, "no worker pool beside the task managers answers Beam")
        elif workers and version not in BEAM_FLINK:
            yield Found(document, ("spec", "flinkVersion"), f"Beam does not run on Flink {version}")


def _runtimes(tree: Tree) -> Iterator[Found]:
    served = {
        at(entry, "name")
        for runtime in tree.of("ServingRuntime", "ClusterServingRuntime")
        for entry in listed(runtime.value, "spec", "supportedModelFormats")
    }
    for document in tree.of("InferenceService"):
        path = ("spec", "predictor", "model")
        model = mapped(document.value, *path)
        name = at(model, "modelFormat", "name")
        if name in EDGE_FORMATS and not model.get("runtime") and name not in served:
            yield Found(document, path, f"KServe brings no runtime for {name}")


def _dead(tree: Tree) -> Iterator[Found]:
    for document in tree.documents:
        if document.annotations.get(MODE) == "ModelMesh":
            yield Found(document, ("metadata", "annotations"), "ModelMesh is archived")
        for path, value in document.values:
            if isinstance(value, str) and "kkohtaka/edgetpu-device-plugin" in value:
                yield Found(document, path, "this device plugin has had no release since 2019")


def _half_known(tree: Tree) -> Iterator[Found]:
    for document in tree.documents:
        if document.kind not in ("NodeFeatureRule", "ConfigMap", "Pod", "DaemonSet", "Deployment"):
            continue
        text = json.dumps(document.value, default=str).lower()
        before, after = (all(part in text for part in ids) for ids in (CORAL_BEFORE, CORAL_AFTER))
        if before != after:
            known = ":".join(CORAL_BEFORE if before else CORAL_AFTER)
            yield Found(document, (), f"{document.kind} {document.name} knows only {known}")


def _unlabelled(tree: Tree) -> Iterator[Found]:
    def names(document: Document) -> bool:
        return "0880" in json.dumps(document.value, default=str)

    if any(names(document) for document in tree.of("NodeFeatureRule")):
        return
    for document, path, pod in pods(tree):
        wanted = {field: pod.get(field) for field in ("nodeSelector", "affinity")}
        if CORAL_PCI in json.dumps(wanted, default=str):
            yield Found(document, path, f"no node gets the label of {CORAL_PCI}")


rules = (
    Rule(
        "tfjob-convention",
        "The training operator sets TF_CONFIG only in a container named tensorflow; a sidecar "
        "never ends.",
        'name the container tensorflow and annotate its pods sidecar.istio.io/inject: "false"',
        _tfjobs,
    ),
    Rule(
        "trial-never-ends",
        "Katib knows the condition Succeeded, a TrainJob has Complete: its trials run for ever.",
        """set successCondition: status.conditions.#(type=="Complete")#|#(status=="True")#""",
        _trials,
    ),
    Rule(
        "beam-on-flink",
        "Beam's Python runs in a worker pool beside each task manager, and on few Flink versions.",
        "add a worker pool in the image train (manifests/components/beam-flink), "
        "and use Flink 1.17 to 1.20",
        _flink,
    ),
    Rule(
        "no-serving-runtime",
        "The InferenceService never becomes ready: KServe has TensorFlow Serving, but no LiteRT.",
        "add a ServingRuntime (manifests/base/kserve) and name it in model.runtime",
        _runtimes,
        WARNING,
    ),
    Rule(
        "dead-project",
        "Nobody maintains it, and the next Kubernetes may not run it.",
        "use squat/generic-device-plugin for devices, and a plain InferenceService for models",
        _dead,
    ),
    Rule(
        "coral-half-known",
        "A USB Edge TPU is 1a6e:089a until its first inference and 18d1:9302 after it.",
        "name both ids",
        _half_known,
    ),
    Rule(
        "coral-label-missing",
        "Node Feature Discovery leaves out the PCI class 0880: the pod waits for ever.",
        "add a NodeFeatureRule (manifests/components/coral)",
        _unlabelled,
    ),
)
