"""Artifacts of one model, made by the components where that needs no TensorFlow."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from card_page import DATA

from edgeline import artifacts
from edgeline.components.check.check import check_edge_model
from edgeline.components.compile.compile import compile_edge_model
from edgeline.components.convert import layer_errors
from edgeline.components.import_model.import_model import import_model
from edgeline.runtimes import interpreter


@dataclass(frozen=True)
class Made:
    """Folders of one model's artifacts."""

    model: str
    floating: str
    integer: str
    odd: str
    ethos: str
    odd_ethos: str
    litert: str
    placement: str


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """A small network: trained (a stand-in of 70,000 bytes), converted, compiled, checked."""
    folder = tmp_path_factory.mktemp("card")
    with artifacts.writing(folder / "model", "model/v1") as draft:
        (draft.path / "saved_model").mkdir()
        (draft.path / "saved_model" / "saved_model.pb").write_bytes(bytes(70_000))
        draft.metadata.update(features=[], task="multiclass_classification", label="digit")
    for name in ("float", "int8", "odd"):
        import_model(str(DATA / f"cnn_{name}.tflite"), str(folder / name))
    _with_layers(folder / "int8")
    for name, target, source in (
        ("ethos", "ethos-u55", "int8"),
        ("odd_ethos", "ethos-u55", "odd"),
        ("litert", "litert", "int8"),
    ):
        compile_edge_model(target, str(folder / name), str(folder / source))
    check_edge_model(folder / "odd", "edgetpu", 0, folder / "placement", folder / "check.html")
    places = {name: str(folder / name) for name in ("model", "odd", "ethos", "odd_ethos", "litert")}
    return Made(
        **places,
        floating=str(folder / "float"),
        integer=str(folder / "int8"),
        placement=str(folder / "placement"),
    )


def _with_layers(folder: Path) -> None:
    """Put into an edge model what `convert` would have measured of its layers."""
    images = np.random.default_rng(0).random((8, 28, 28, 1), np.float32)
    takes = interpreter.load(folder / "model.tflite").signature.inputs
    layers = layer_errors.measure(
        (DATA / "cnn_float.tflite").read_bytes(),
        (folder / "model.tflite").read_bytes(),
        {takes[0].name: images},
    )
    assert len(layers) > 5
    edge = artifacts.read(folder, "edge_model/v1")
    files = {name: (folder / name).read_bytes() for name in edge.files}
    with artifacts.writing(folder, "edge_model/v1") as draft:
        for name, content in files.items():
            (draft.path / name).write_bytes(content)
        (draft.path / "layers.json").write_text(json.dumps([each.to_json() for each in layers]))
        draft.metadata.update(edge.metadata)


@pytest.fixture
def verification(tmp_path: Path) -> Callable[..., str]:
    """Makes a `verification/v1` folder, as verify writes it."""

    def make(
        edge_model: str,
        compiled: str = "",
        *,
        accuracy: float = 0.97,
        milliseconds: float = 0.5,
        runtime: str = "litert",
        reasons: tuple[str, ...] = (),
    ) -> str:
        folder = tmp_path / f"verification-{len(list(tmp_path.glob('verification-*')))}"
        edge = artifacts.read(edge_model, "edge_model/v1")
        with artifacts.writing(folder, "verification/v1") as draft:
            draft.metadata.update(
                approved=not reasons,
                reasons=list(reasons),
                split="eval",
                rows=3348,
                runtime=runtime,
                quantisation=edge.metadata["quantisation"],
                max_difference=0.05,
                changed_decisions=5,
                metrics={
                    "accuracy": {"cloud": 0.98, "edge": accuracy, "drop": 0.98 - accuracy},
                    "auc": {"cloud": None, "edge": None, "drop": None},
                },
                edge_model_digest=edge.digest,
            )
            if compiled:
                digest = artifacts.read(compiled, "compiled_model/v1").digest
                draft.metadata.update(compiled_model_digest=digest, runs_here=runtime != "litert")
            timing = {"p50_ms": milliseconds, "p99_ms": 2 * milliseconds, "peak_bytes": 40_000_000}
            (draft.path / "timing.json").write_text(json.dumps(timing))
        return str(folder)

    return make
