"""Models in other runtimes: tflite-runtime beside this Python, and compiled models."""

import os
import sys
from pathlib import Path

import numpy as np
import pytest

from edgeline import artifacts
from edgeline.artifacts import vectors
from edgeline.components.compile.compile import compile_edge_model
from edgeline.components.publish.publish import publish
from edgeline.components.verify import runtimes
from edgeline.components.verify.findings import Limits
from edgeline.components.verify.verify import verify as work
from edgeline.errors import EdgelineError
from edgeline.runtimes import child, interpreter
from edgeline.server.models.loading import load

pytestmark = pytest.mark.slow

CACHE = os.environ.get("EDGELINE_TEST_CACHE", str(Path.home() / ".cache/edgeline-tests"))
PYTHON = Path(CACHE) / "tflite-runtime/bin/python"

needs_tflite_runtime = pytest.mark.skipif(
    not PYTHON.exists(),
    reason="NOT TESTED: tflite-runtime; tests/components/verify/build_tflite_runtime.sh builds it",
)


@pytest.fixture
def verify(workplace, tmp_path):
    def run(edge, **parameters):
        return work(
            model_path=workplace.model,
            edge_model_path=edge,
            examples_path=workplace.examples,
            verification_path=tmp_path / "verification",
            verification_report_path=tmp_path / "report.html",
            **{"limits": Limits(), **parameters},
        )

    return run


@pytest.fixture(scope="module")
def transformed(workplace):
    """An edge model of floats alone, which every compiler takes."""
    import tensorflow as tf

    from edgeline.components.convert import replay

    loaded = tf.saved_model.load(str(workplace.model / "saved_model"))
    lowered = replay.lower(loaded.signatures["predict_transformed"])
    folder = str(workplace.folder / "network-export")
    tf.saved_model.save(lowered.module, folder, signatures={"serving_default": lowered.function})
    content = tf.lite.TFLiteConverter.from_saved_model(folder).convert()
    return workplace.edge("network", content, takes="transformed")


@pytest.fixture
def compiled(monkeypatch, tmp_path):
    """Compiles in this process, where TensorFlow is imported already."""

    def call(function, *arguments, memory, time_limit=900):
        assert time_limit > 0 and memory > 0
        return function(len, *arguments)

    def run(target, edge, **parameters):
        compile_edge_model(target, str(tmp_path / target), str(edge), **parameters)
        return tmp_path / target

    monkeypatch.setattr(child, "call", call)
    return run


@pytest.fixture
def this_python(monkeypatch):
    """A Python that stands for the other environment; it has ai-edge-litert."""
    monkeypatch.setenv(runtimes.PYTHON, sys.executable)


@needs_tflite_runtime
def test_tflite_runtime_gives_the_answers_of_the_cloud_on_every_row(
    verify, edge_model, tmp_path, monkeypatch
):
    monkeypatch.setenv(runtimes.PYTHON, str(PYTHON))
    result = verify(edge_model, runtime="tflite-runtime")
    assert result.approved, result.metadata["reasons"]
    assert result.metadata["runtime"] == "tflite-runtime"
    assert result.metadata["rows"] == 5000
    assert result.metadata["timing"]["peak_bytes"] > 10e6  # of the other process
    assert "in tflite-runtime" in (tmp_path / "report.html").read_text()


@pytest.mark.usefixtures("this_python")
def test_an_interpreter_behind_pipes_gives_the_same_bytes(edge_model):
    rows = {
        "fare": np.float32([[12.5], [np.nan]]),
        "payment_type": np.array([[b"Cash"], [b"\xff\x00\x00"]], object),
        "trip_miles": np.float32([[1.5], [0]]),
        "trip_start_hour": np.int64([[7], [-(2**63)]]),
    }
    file = edge_model / "model.tflite"
    here, there = interpreter.load(file), runtimes.load(file, "tflite-runtime")
    assert there.signature == here.signature
    np.testing.assert_array_equal(there(rows)["prediction"], here(rows)["prediction"])
    assert there.invoke.seconds > 0


@pytest.mark.usefixtures("this_python")
def test_a_model_that_the_other_python_cannot_load(tmp_path):
    damaged = tmp_path / "model.tflite"
    damaged.write_bytes(b"no model")
    with pytest.raises(EdgelineError, match=r"tflite-runtime: .* cannot be loaded"):
        runtimes.load(damaged, "tflite-runtime")


def test_an_environment_that_is_not_there(edge_model, monkeypatch, tmp_path):
    file = edge_model / "model.tflite"
    monkeypatch.delenv(runtimes.PYTHON, raising=False)
    with pytest.raises(EdgelineError, match=r"_PYTHON is not set.*pip install 'numpy<2'"):
        runtimes.load(file, "tflite-runtime")
    monkeypatch.setenv(runtimes.PYTHON, str(tmp_path / "python"))
    with pytest.raises(EdgelineError, match="which does not start"):
        runtimes.load(file, "tflite-runtime")
    with pytest.raises(EdgelineError, match="runtime is 'coreml': give one of litert"):
        runtimes.load(file, "coreml")


@pytest.fixture
def served(tmp_path):
    """Publishes what was verified, and loads it as the server does, its recorded rows included."""

    def run(edge, compiled, runtime):
        with artifacts.writing(tmp_path / "evaluation", "evaluation/v1") as draft:
            draft.metadata["blessed"] = True
        published = publish(
            edge_model_path=edge,
            evaluation_path=tmp_path / "evaluation",
            verification_path=tmp_path / "verification",
            compiled_model_path=compiled,
            bundle_path=tmp_path / "bundle",
            name="taxi",
            destination=str(tmp_path / "store"),
        )
        assert (Path(published.uri) / vectors.FILE).is_file()
        (instance,) = load(Path(published.uri), "taxi", 1, 1, 1)
        assert instance.description.runtime == runtime
        return instance.description

    return run


@pytest.mark.parametrize("target", ["litert", "tflite-micro", "openvino", "tvm"])
def test_a_compiled_model_is_verified_on_every_row(verify, transformed, compiled, served, target):
    options = {"fp16": "false"} if target == "openvino" else {}
    folder = compiled(target, transformed, options=options)
    result = verify(transformed, compiled_model_path=folder)
    assert result.approved, result.metadata["reasons"]
    assert result.metadata["runtime"] == target
    assert result.metadata["rows"] == 5000
    digest = artifacts.read(folder, "compiled_model/v1").digest
    assert result.metadata["compiled_model_digest"] == digest
    if target == "openvino":
        served(transformed, folder, "openvino")


def test_onnx_takes_raw_strings_and_missing_values_as_the_cloud_does(
    verify, workplace, edge_model, compiled, served
):
    folder = compiled("onnx", edge_model, model_path=str(workplace.model))
    result = verify(edge_model, compiled_model_path=folder)
    assert result.approved, result.metadata["reasons"]
    assert result.metadata["max_difference"] < 1e-6
    assert result.metadata["runtime"] == "onnx"
    description = served(edge_model, folder, "onnxruntime")
    assert {tensor.dtype for tensor in description.signature.inputs} >= {"string", "float32"}


def test_a_compiled_model_of_another_edge_model(verify, transformed, edge_model, compiled):
    folder = compiled("litert", transformed)
    with pytest.raises(EdgelineError, match="is not compiled from"):
        verify(edge_model, compiled_model_path=folder)
