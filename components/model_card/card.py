"""What is known of one model, joined: its forms, where they run, and what verifying them gave.

The artifacts name each other by their digests, so what was not made of each other is told here,
and nothing depends on the order in which it is given.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from edgeline import artifacts
from edgeline.artifacts import Artifact, host_operations, models, transformed
from edgeline.components.check.check import SCHEMA as PLACEMENT_SCHEMA
from edgeline.components.compile.compile import PLACEMENT, SCHEMA
from edgeline.components.compile.target import Placed
from edgeline.components.convert.layer_errors import Layer
from edgeline.components.model_card.stages import COMPILED, EDGE, TRAINED, Stage
from edgeline.components.model_card.targets import Verified
from edgeline.errors import EdgelineError
from edgeline.formats import quantisation, tflite

VERIFICATION_SCHEMA = "verification/v1"


@dataclass(frozen=True)
class NamedEdgeModel:
    """A converted or imported model under a name of its own."""

    name: str
    artifact: Artifact

    @property
    def file(self) -> Path:
        """The flatbuffer, or the ONNX file."""
        return models.edge_model_path(self.artifact)

    @property
    def takes(self) -> str:
        """`raw`, `transformed` or `mixed` features."""
        return str(self.artifact.metadata.get("takes", ""))

    @property
    def transformed(self) -> str:
        """Why it takes transformed features; "" where it takes raw ones."""
        return transformed.sentence(self.takes, self.artifact.metadata)

    @property
    def host_operations(self) -> str:
        """What is computed before its file; "" where nothing is."""
        return host_operations.sentence(host_operations.of(self.artifact.metadata))

    @cached_property
    def graph(self) -> tflite.Subgraph | None:
        """Its operators; None where it is not a flatbuffer."""
        if self.artifact.schema == models.ONNX_SCHEMA:
            return None
        return tflite.read(self.file).subgraphs[0]

    @cached_property
    def layers(self) -> list[Layer]:
        """What each layer loses, the worst first; empty where nothing was measured."""
        path = self.artifact.path / "layers.json"
        if not path.is_file():
            return []
        known = Layer.__dataclass_fields__
        return [
            Layer(**{name: value for name, value in layer.items() if name in known})
            for layer in json.loads(path.read_text())
        ]


@dataclass(frozen=True)
class NamedCompiledModel:
    """A compiled model, and the edge model that it was made of, None where of the SavedModel."""

    name: str
    artifact: Artifact
    source: NamedEdgeModel | None

    @cached_property
    def placed(self) -> tuple[Placed, ...]:
        """Where each operator runs; empty where the compiler does not tell."""
        entries = json.loads((self.artifact.path / PLACEMENT).read_text())
        return tuple(Placed(**entry) for entry in entries)


@dataclass(frozen=True)
class PredictedPlacement:
    """What the static check says of an edge model; `placement` is its `placement.json`."""

    placement: dict[str, Any]
    source: NamedEdgeModel


@dataclass(frozen=True)
class Card:
    """One model: edge models from the least to the most quantised, targets as they came.

    `missing` has the targets whose compiler was not there, and what to install; `crashed` the
    models that crashed on rows when they were verified, and how.
    """

    model: Artifact | None
    edge_models: tuple[NamedEdgeModel, ...]
    compiled: tuple[NamedCompiledModel, ...]
    missing: Mapping[str, str]
    verified: tuple[Verified, ...]
    crashed: tuple[tuple[str, str], ...]
    predicted: tuple[PredictedPlacement, ...]
    evaluation: Artifact | None = None

    @property
    def origin(self) -> Mapping[str, Any]:
        """Where it was imported from; empty where it was trained here."""
        known = [self.model, *(edge.artifact for edge in self.edge_models)]
        return next((e.metadata["origin"] for e in known if e and "origin" in e.metadata), {})

    @property
    def stages(self) -> list[Stage]:
        """Every form that there is, with its bytes."""
        found: list[Stage] = []
        if self.model:
            found.append(Stage("SavedModel", TRAINED, self.model.size))
        for edge in self.edge_models:
            before = found[-1].name if found else ""
            found.append(Stage(edge.name, EDGE, edge.file.stat().st_size, before))
        first = "SavedModel" if self.model else ""
        for compiled in self.compiled:
            before = compiled.source.name if compiled.source else first
            found.append(Stage(compiled.name, COMPILED, compiled.artifact.metadata["size"], before))
        return found


def read(
    model: str = "",
    edge_models: Sequence[str] = (),
    compiled_models: Sequence[str] = (),
    verifications: Sequence[str] = (),
    placements: Sequence[str] = (),
    evaluation: str = "",
) -> Card:
    """Read and join what components wrote of one model.

    Args:
        model: the `model/v1` folder, or "".
        edge_models: `edge_model/v1` or `onnx_model/v1` folders.
        compiled_models: `compiled_model/v1` folders.
        verifications: `verification/v1` folders.
        placements: `placement/v1` folders.
        evaluation: the `evaluation/v1` folder, or "".

    Raises:
        EdgelineError: none of the first three is given, a folder is damaged or of the wrong
            kind, or one was not made of the others.
    """
    if not (model or edge_models or compiled_models):
        raise EdgelineError("No model is given: connect model, edge_model or compiled_models.")
    trained = artifacts.read(model, models.SCHEMA) if model else None
    edges = _edge_models(trained, edge_models)
    made = [artifacts.read(folder, SCHEMA) for folder in compiled_models]
    compiled = _compiled(trained, edges, [each for each in made if not _absent(each)])
    tried = [artifacts.read(folder, VERIFICATION_SCHEMA) for folder in verifications]
    verified, crashed = _verified(edges, compiled, [each for each in tried if not _absent(each)])
    return Card(
        trained,
        edges,
        compiled,
        {str(each.metadata["target"]): _absent(each) for each in made if _absent(each)},
        verified,
        crashed,
        tuple(_predicted(edges, path) for path in placements),
        artifacts.read(evaluation, "evaluation/v1") if evaluation else None,
    )


def _edge_models(trained: Artifact | None, folders: Sequence[str]) -> tuple[NamedEdgeModel, ...]:
    found = []
    for folder in folders:
        edge = models.read_edge(folder)
        onnx = edge.schema == models.ONNX_SCHEMA
        maker = edge.metadata.get("model_digest")
        if trained and maker and maker != trained.digest:
            raise EdgelineError(
                f"{folder} is not converted from {trained.path}: connect the model that it was "
                "made of."
            )
        found.append(("ONNX" if onnx else str(edge.metadata["quantisation"]), edge))
    found.sort(key=lambda pair: -1 if pair[0] == "ONNX" else quantisation.place(pair[0]))
    names = _unlike([name for name, _ in found])
    return tuple(NamedEdgeModel(name, edge) for name, (_, edge) in zip(names, found, strict=True))


def _absent(each: Artifact) -> str:
    """Why nothing was compiled; empty where something was."""
    return str(each.metadata.get("missing", ""))


def _compiled(
    trained: Artifact | None, edges: Sequence[NamedEdgeModel], made: Sequence[Artifact]
) -> tuple[NamedCompiledModel, ...]:
    names = _unlike([str(each.metadata["target"]) for each in made])
    found = []
    for name, each in zip(names, made, strict=True):
        makers = each.metadata["source_digest"].split()
        source = next((edge for edge in edges if edge.artifact.digest in makers), None)
        if source is None and (trained is None or trained.digest not in makers):
            raise EdgelineError(
                f"{each.path} is not compiled from any model given: connect the one that it was "
                "made of."
            )
        found.append(NamedCompiledModel(name, each, source))
    return tuple(found)


def _verified(
    edges: Sequence[NamedEdgeModel],
    compiled: Sequence[NamedCompiledModel],
    verifications: Sequence[Artifact],
) -> tuple[tuple[Verified, ...], tuple[tuple[str, str], ...]]:
    """What was verified, in the order of the stages, and what crashed on rows, and how."""
    names = {edge.artifact.digest: edge.name for edge in edges}
    names |= {each.artifact.digest: each.name for each in compiled}
    places = {name: place for place, name in enumerate(names.values())}
    found, crashed = [], []
    for verification in verifications:
        facts = verification.metadata
        digest = facts.get("compiled_model_digest") or facts["edge_model_digest"]
        if digest not in names:
            raise EdgelineError(
                f"{verification.path} verifies none of the models given: connect the edge model "
                "or compiled model that it is of."
            )
        if "crashed" in facts:
            crashed.append((names[digest], str(facts["crashed"])))
            continue
        timing = json.loads((verification.path / "timing.json").read_text())
        found.append((names[digest], facts, timing))
    found.sort(key=lambda each: places[each[0]])
    shown = [f"{name} in {facts['runtime']}" if _other(facts) else name for name, facts, _ in found]
    verified = tuple(
        Verified(name, facts, timing)
        for name, (_, facts, timing) in zip(_unlike(shown), found, strict=True)
    )
    return verified, tuple(crashed)


def _other(facts: Mapping[str, object]) -> bool:
    """An edge model that was run by something else than LiteRT."""
    return not facts.get("compiled_model_digest") and facts["runtime"] != "litert"


def _predicted(edges: Sequence[NamedEdgeModel], folder: str) -> PredictedPlacement:
    found = artifacts.read(folder, PLACEMENT_SCHEMA)
    placement = json.loads((found.path / "placement.json").read_text())
    wanted = [(entry["operator"], entry["output"]) for entry in placement["operators"]]
    for edge in edges:
        if edge.graph and wanted == _outputs(edge.graph):
            return PredictedPlacement(placement, edge)
    raise EdgelineError(
        f"{folder} is the placement of another model: connect the edge model that it was checked "
        "on."
    )


def _outputs(graph: tflite.Subgraph) -> list[tuple[str, str]]:
    return [
        (op.name, graph.tensors[op.outputs[0]].name if op.outputs else "") for op in graph.operators
    ]


def _unlike(names: Sequence[str]) -> list[str]:
    """Names, with a number behind one that has come before."""
    return [
        name if not (before := names[:place].count(name)) else f"{name} {before + 1}"
        for place, name in enumerate(names)
    ]
