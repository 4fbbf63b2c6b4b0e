"""A rule on GPUs that are waited for and not used."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from edgeline import images
from edgeline.environments.apply import GPUS
from edgeline.lint.documents import Tree, at, mapped
from edgeline.lint.rule import Found, Rule
from edgeline.lint.security import containers


def _unused(tree: Tree) -> Iterator[Found]:
    for document, path, container, _ in containers(tree):
        resources = {
            **mapped(container, "resources", "requests"),
            **mapped(container, "resources", "limits"),
        }
        asked = next((name for name in resources if str(name).startswith(GPUS)), "")
        if asked and _is_for_cpus(container):
            yield Found(document, path, f"container {container.get('name')} asks for {asked}")
    for document in tree.of("IR", "PipelineVersion"):
        root, pipeline = document.pipeline or ((), {})
        for name, executor in mapped(pipeline, "deploymentSpec", "executors").items():
            accelerator = mapped(executor, "container", "resources", "accelerator")
            asked = str(accelerator.get("resourceType") or accelerator.get("type") or "")
            if asked.startswith(GPUS) and _is_for_cpus(mapped(executor, "container")):
                where = (*root, "deploymentSpec", "executors", name)
                yield Found(document, where, f"{name.removeprefix('exec-')} asks for {asked}")


def _is_for_cpus(container: Mapping[str, Any]) -> bool:
    return images.is_for_cpus(str(at(container, "image") or ""))


rules = (
    Rule(
        "gpu-without-cuda",
        "The image has no CUDA: the pod waits for a GPU, a day at most, and computes without it.",
        "give an image of the target train-gpu of images/docker-bake.hcl, or ask for no GPU",
        _unused,
    ),
)
