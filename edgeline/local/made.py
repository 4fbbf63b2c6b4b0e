"""What came out of a run: bundles, the models in them, and how fast each was where it was tried."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgeline.artifacts.folder import digest_of, facts_of, schema_of
from edgeline.local.tasks import DONE, TaskResult

MODELS = ("edge_model/v1", "onnx_model/v1", "compiled_model/v1")


@dataclass(frozen=True)
class PublishedBundle:
    """A published version, and where it lies."""

    task: str
    name: str
    version: int
    uri: str


@dataclass(frozen=True)
class VerifiedModel:
    """A model as verify found it.

    Attributes:
        task: that verified it.
        name: its target, or its quantisation where it is not a target's.
        runtime: that answered.
        approved: whether it may be published.
        size: bytes; None where they are not known.
        p50_ms, p99_ms: latency of one row in one thread, on the machine that verified; None where
            nothing ran.
        runs_here: False where the model that it was compiled from answered for it.
    """

    task: str
    name: str
    runtime: str
    approved: bool
    size: int | None
    p50_ms: float | None
    p99_ms: float | None
    runs_here: bool


def bundles(tasks: Mapping[str, TaskResult]) -> list[PublishedBundle]:
    """What was published; which of its tasks did so depends on the alternative."""
    return [
        PublishedBundle(
            name,
            str(_facts(task, "bundle").get("name", "bundle")),
            task.outputs["version"],
            str(task.outputs["uri"]),
        )
        for name, task in tasks.items()
        if name.partition("-")[0] == "publish" and "uri" in task.outputs
    ]


def verified(tasks: Mapping[str, TaskResult]) -> list[VerifiedModel]:
    """Every model that was verified, in the order of the tasks."""
    places = _places(tasks)
    models = {
        digest_of(uri): facts_of(uri) for _, uri in places if _is_model(schema_of(uri))
    }  # by what a verification names them
    return [
        _verified(name, uri, models) for name, uri in places if schema_of(uri) == "verification/v1"
    ]


def sizes(tasks: Mapping[str, TaskResult]) -> list[tuple[str, str, int]]:
    """Task, name and bytes of every edge and compiled model."""
    return [
        (name, _called(facts_of(uri)), int(facts_of(uri)["size"]))
        for name, uri in _places(tasks)
        if _is_model(schema_of(uri)) and facts_of(uri).get("size")
    ]


def _places(tasks: Mapping[str, TaskResult]) -> list[tuple[str, str]]:
    return [
        (name, str(output["uri"]))
        for name, task in tasks.items()
        if task.state in DONE
        for output in task.artifacts.values()
    ]


def _is_model(schema: str) -> bool:
    return schema.partition("/")[0].endswith(("edge_model", "onnx_model", "compiled_model"))


def _verified(task: str, uri: str, models: Mapping[Any, Mapping[str, Any]]) -> VerifiedModel:
    facts = facts_of(uri)
    digest = facts.get("compiled_model_digest") or facts.get("edge_model_digest")
    model = models.get(digest, {})
    timing = _timing(Path(uri) / "timing.json")
    return VerifiedModel(
        task,
        str(facts.get("target") or _called(model)),
        str(facts.get("runtime", "")),
        bool(facts.get("approved")),
        model.get("size") or None,
        timing.get("p50_ms"),
        timing.get("p99_ms"),
        bool(facts.get("runs_here", True)),
    )


def _called(model: Mapping[str, Any]) -> str:
    return str(model.get("target") or model.get("quantisation") or "model")


def _facts(task: TaskResult, output: str) -> Mapping[str, Any]:
    return facts_of(task.artifacts[output]["uri"]) if output in task.artifacts else {}


def _timing(file: Path) -> Mapping[str, Any]:
    try:
        found = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError):  # of a target that was not compiled
        return {}
    return found if isinstance(found, dict) else {}
