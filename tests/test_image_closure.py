"""Every image of pipelines and manifests is found, and nothing that only looks like one."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgeline import images
from edgeline.client.compiling import compile_pipeline
from edgeline.errors import EdgelineError
from edgeline.images.closure import closure

MANIFESTS = """
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: coral}
spec:
  template:
    spec:
      initContainers: [{name: fetch, image: registry.example.com/fetch@sha256:1}]
      containers:
      - {name: plugin, image: registry.example.com/plugin:1}
      - {name: server, image: registry.example.com/server:1}
      volumes:
      - {name: model, image: {reference: registry.example.com/model:1}}
---
apiVersion: batch/v1
kind: CronJob
metadata: {name: schedules}
spec: {jobTemplate: {spec: {template: {spec: {containers: [{name: apply, image: cron:1}]}}}}}
---
apiVersion: trainer.kubeflow.org/v1alpha1
kind: TrainJob
metadata: {name: taxi}
spec:
  initializer: {model: {image: initializer:1, storageUri: "s3://models/taxi"}}
  trainer: {image: trainer:1}
---
apiVersion: serving.kserve.io/v1beta1
kind: InferenceService
metadata: {name: taxi}
spec:
  predictor:
    model: {modelFormat: {name: litert}, storageUri: "oci://registry.example.com/taxi@sha256:2"}
    initContainers: [{name: x, image: init:1}]
---
apiVersion: serving.kserve.io/v1alpha1
kind: LocalModelCache
metadata: {name: taxi}
spec: {sourceModelUri: "oci+native://registry.example.com/cached:1"}
---
apiVersion: v1
kind: List
items:
- apiVersion: v1
  kind: Pod
  metadata: {name: one}
  spec: {ephemeralContainers: [{name: debug, image: debug:1}]}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: words}
data: {image: not-an-image}
---
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
images: [{name: old, newName: new}]
---
"""
FOUND = """
cron:1 CronJob/schedules containers.apply
debug:1 Pod/one ephemeralContainers.debug
init:1 InferenceService/taxi initContainers.x
initializer:1 TrainJob/taxi initializer.model
registry.example.com/cached:1 LocalModelCache/taxi spec.sourceModelUri
registry.example.com/fetch@sha256:1 DaemonSet/coral initContainers.fetch
registry.example.com/model:1 DaemonSet/coral volumes.model
registry.example.com/plugin:1 DaemonSet/coral containers.plugin
registry.example.com/server:1 DaemonSet/coral containers.server
registry.example.com/taxi@sha256:2 InferenceService/taxi predictor.model.storageUri
trainer:1 TrainJob/taxi spec.trainer
"""


def test_manifests_of_every_kind(tmp_path):
    (tmp_path / "site.yaml").write_text(MANIFESTS)
    found = [f"{use.image} {use.place}" for use in closure([tmp_path])]
    assert found == FOUND.strip().splitlines()
    assert {use.file for use in closure([tmp_path])} == {str(tmp_path / "site.yaml")}


@pytest.mark.parametrize("kubernetes", [False, True], ids=["ir", "pipelineversion"])
def test_a_pipelines_executors(tmp_path, kubernetes):
    path = compile_pipeline("taxi", str(tmp_path / "taxi.yaml"), kubernetes)
    uses = closure([path])
    executors = {use.place.rpartition(" ")[2] for use in uses}
    assert {"exec-ingest.container", "exec-train.container"} <= executors
    assert {use.image for use in uses} == {images.reference("pipeline"), images.reference("train")}


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("a: [1\n", "cannot be read as YAML"),
        ("kind: Service\n", "No image is named in"),
        ("spec: {containers: [{image: 'a@{{$.inputs.x}}'}]}", "is known only at run time"),
    ],
)
def test_what_gives_no_whole_list_is_a_sentence(tmp_path, text, sentence):
    (tmp_path / "a.yaml").write_text(text)
    with pytest.raises(EdgelineError, match=sentence):
        closure([tmp_path])


def test_a_missing_path_is_a_sentence():
    with pytest.raises(EdgelineError, match="There is no file or folder nowhere"):
        closure([Path("nowhere")])
