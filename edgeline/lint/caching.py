"""Rules on what a run does again, and on what it takes from an earlier one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from edgeline.lint import controller
from edgeline.lint.documents import Document, Path_, Tree, at, mapped
from edgeline.lint.rule import WARNING, Found, Rule
from edgeline.stores.endpoints import SCHEMES

LAUNCHER = "kfp-launcher"


def _tasks(tree: Tree) -> Iterator[tuple[Document, Path_, str, Any]]:
    for document in tree.of("IR", "PipelineVersion"):
        above, pipeline = document.pipeline or ((), {})
        holders: list[Path_] = [("root",)]
        holders += [("components", name) for name in mapped(pipeline, "components")]
        for holder in holders:
            for name, task in mapped(pipeline, *holder, "dag", "tasks").items():
                yield document, (*above, *holder, "dag", "tasks", name), name, task


def _retries(tree: Tree) -> Iterator[Found]:
    if controller.retries_failures(tree):
        return
    for document, path, name, task in _tasks(tree):
        if at(task, "retryPolicy", "maxRetryCount"):
            what = f"{name} is not tried again where it ends with an error of its own"
            yield Found(document, (*path, "retryPolicy"), what)


def _roots(tree: Tree) -> Iterator[Found]:
    """Pipelines with a cache under another scheme than that of the launcher's root."""
    for launcher in tree.of("ConfigMap"):
        root = launcher.get("data", "defaultPipelineRoot")
        scheme = root.partition("://")[0] if isinstance(root, str) else ""
        if launcher.name != LAUNCHER or scheme not in SCHEMES:
            continue
        seen: set[str] = set()
        for document, _, _, task in _tasks(tree):
            above, pipeline = document.pipeline or ((), {})
            own = str(pipeline.get("defaultPipelineRoot") or "")
            cached = at(task, "cachingOptions", "enableCache") is True
            place = f"{document.file}#{document.index}"
            if own and cached and own.partition("://")[0] != scheme and place not in seen:
                seen.add(place)
                what = f"its root is {own}, and that of the cluster {root}"
                yield Found(document, (*above, "defaultPipelineRoot"), what)


rules = (
    Rule(
        "retry-does-nothing",
        "KFP's own manifests set Argo's retryPolicy OnError for all tasks: a container that ends "
        "with 1 is never tried again, whatever set_retry says.",
        f"set retryPolicy in {controller.CONTROLLER} (manifests/components/retries), or leave "
        "retryStrategy out there (manifests/components/small-workflows)",
        _retries,
        WARNING,
    ),
    Rule(
        "cache-under-another-root",
        "The launcher reads inputs under the scheme of the run's own root: a task that was cached "
        "under another one ends the run that takes it.",
        "use one scheme, or after the change another name of the cache, or caching: false in the "
        "environment",
        _roots,
        WARNING,
    ),
)
