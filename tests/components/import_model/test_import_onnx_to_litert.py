"""ONNX files as LiteRT files: right, or refused in a sentence."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx_networks
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from onnx_files import model_file, one_operator
from PIL import Image

from edgeline import artifacts
from edgeline.artifacts import models
from edgeline.components.convert.convert import convert
from edgeline.components.import_model import onnx_converter
from edgeline.components.import_model.import_model import import_model, kind_of
from edgeline.components.import_model.wanted import Wanted
from edgeline.components.ingest.ingest import ingest
from edgeline.components.verify.findings import Limits
from edgeline.components.verify.verify import verify
from edgeline.errors import EdgelineError, UsageError
from edgeline.formats import tflite
from edgeline.formats.operators import operators
from edgeline.formats.packing import packed, unpacked
from edgeline.runtimes import interpreter

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("onnx2tf")]

ROWS, PIXELS = 24, 32


@pytest.fixture(scope="module")
def mobilenet(tmp_path_factory):
    """MobileNetV2 as PyTorch exports it, in a child for each step."""
    folder = tmp_path_factory.mktemp("mobilenet")
    file = onnx_networks.mobilenet_v2(folder / "mobilenet.onnx", PIXELS)
    facts = import_model(
        str(file),
        str(folder / "model"),
        str(folder / "report.html"),
        wanted=Wanted(label="label", rename={"input": "image"}, to_litert=True),
    )
    return folder, facts


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Random pictures as `examples/v1`, with a split `train` and a split `eval`."""
    folder = tmp_path_factory.mktemp("pictures")
    random = np.random.default_rng(0)
    found = []
    for _ in range(2 * ROWS):
        stream = io.BytesIO()
        drawn = random.integers(0, 256, (PIXELS, PIXELS, 3), np.uint8)
        Image.fromarray(drawn).save(stream, "PNG")
        found.append(stream.getvalue())
    table = pa.table({"image": pa.array(found), "label": pa.array([1] * len(found))})
    pq.write_table(table, folder / "p.parquet")
    ingest(
        str(folder / "p.parquet"),
        folder / "examples",
        split_ratios={"train": 1, "eval": 1},
        images={"image": [PIXELS, PIXELS, 3]},
    )
    return folder / "examples"


def _imported(file, tmp_path, **wanted):
    import_model(str(file), str(tmp_path / "out"), wanted=Wanted(to_litert=True, **wanted))
    return artifacts.read(tmp_path / "out", models.EDGE_SCHEMA)


def _answers(model, **rows):
    return interpreter.load(models.edge_model_path(model))(rows)


def _original(model, **rows):
    import onnxruntime

    file = model.path / model.metadata["origin"]["file"]
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    return session.run(None, rows)


# --- what comes of it ---------------------------------------------------------------------------


def test_a_mobilenet_has_no_transpose_and_takes_images_with_the_channels_last(mobilenet):
    folder, facts = mobilenet
    assert kind_of(facts) == "tflite-float"
    assert facts["features"] == [
        {"name": "image", "dtype": "float32", "shape": [PIXELS, PIXELS, 3]}
    ]
    assert facts["takes"] == "raw"
    assert facts["origin"]["channels_last"] == ["image"]
    assert facts["origin"]["converter"].startswith("onnx2tf 2.6.9")
    count = {row.name: row.count for row in operators(folder / "model/model.tflite")}
    assert count.pop("PAD") == 5  # strides of 2 with PyTorch's paddings
    assert count == {
        "CONV_2D": 35, "DEPTHWISE_CONV_2D": 17, "FULLY_CONNECTED": 1, "ADD": 10, "MEAN": 1,
        "RESHAPE": 1, "SOFTMAX": 1,
    }  # fmt: skip
    page = (folder / "report.html").read_text()
    assert "onnx2tf 2.6.9" in page
    assert "image: channels last, first in the ONNX file" in page


def test_it_takes_any_number_of_rows_and_answers_as_the_onnx_file(mobilenet):
    folder, _ = mobilenet
    model = artifacts.read(folder / "model", models.EDGE_SCHEMA)
    for rows in (1, 5):
        images = np.random.default_rng(rows).uniform(0, 1, (rows, 3, PIXELS, PIXELS))
        images = images.astype(np.float32)
        (expected,) = _original(model, input=images)
        answer = _answers(model, image=np.ascontiguousarray(np.moveaxis(images, 1, -1)))
        np.testing.assert_allclose(answer["prediction"], expected, atol=1e-5)


def _verified(folder, edge, pictures, tmp_path, **limits):
    return verify(
        folder / "model", edge, pictures, tmp_path / "v", tmp_path / "v.html", Limits(**limits)
    )


def test_verify_compares_it_with_the_onnx_file_on_every_row(mobilenet, pictures, tmp_path):
    folder, _ = mobilenet
    found = _verified(folder, folder / "model", pictures, tmp_path)
    assert found.approved, found.metadata["reasons"]
    splits = artifacts.read(pictures, "examples/v1").metadata["splits"]
    assert found.metadata["rows"] == splits["eval"]["rows"]
    assert "onnxruntime without optimisations" in (tmp_path / "v.html").read_text()


def test_what_is_not_the_onnx_file_any_more_is_not_approved(mobilenet, pictures, tmp_path):
    """Somebody changes a bias of the LiteRT file: it is the artifact's own that is compared."""
    folder, _ = mobilenet
    changed = tmp_path / "model"
    shutil.copytree(folder / "model", changed)
    file = changed / "model.tflite"
    objects = unpacked(file.read_bytes())
    graph = tflite.read(file).subgraphs[0]
    dense = next(each for each in graph.operators if each.name == "FULLY_CONNECTED")
    bias = objects.buffers[objects.subgraphs[0].tensors[dense.inputs[2]].buffer]
    values = np.frombuffer(bytes(bias.data), np.float32) + np.arange(10, dtype=np.float32)
    bias.data = np.frombuffer(values.tobytes(), np.uint8)
    metadata = artifacts.read(changed, models.EDGE_SCHEMA).metadata
    with artifacts.writing(tmp_path / "forged", models.EDGE_SCHEMA) as draft:
        for each in changed.iterdir():
            if each.name != "artifact.json":
                shutil.copy(each, draft.path / each.name)
        (draft.path / "model.tflite").write_bytes(packed(objects))
        draft.metadata |= metadata
    found = verify(
        tmp_path / "forged", tmp_path / "forged", pictures, tmp_path / "v", tmp_path / "v.html",
        Limits(),
    )  # fmt: skip
    assert not found.approved


def test_it_is_quantised_and_then_compared_with_the_onnx_file(mobilenet, pictures, tmp_path):
    folder, _ = mobilenet
    page = str(tmp_path / "c.html")
    convert(str(folder / "model"), str(pictures), str(tmp_path / "int8"), page, "int8")
    edge = artifacts.read(tmp_path / "int8", models.EDGE_SCHEMA)
    assert edge.metadata["quantisation"] == "int8"
    assert edge.metadata["origin"]["kind"] == "onnx"
    found = _verified(folder, edge.path, pictures, tmp_path, max_changed_decisions=1.0)
    assert found.metadata["rows"]
    assert "onnxruntime without optimisations" in (tmp_path / "v.html").read_text()


# --- hostile files, and no onnx2tf --------------------------------------------------------------


def test_a_small_file_that_fills_the_memory_ends_a_child(tmp_path, monkeypatch):
    monkeypatch.setenv("EDGELINE_MODEL_MEMORY", "1G")
    file = model_file(
        tmp_path / "m.onnx",
        [
            ("ConstantOfShape", ["shape"], ["zeros"], {}),
            ("ReduceSum", ["zeros"], ["zero"], {"keepdims": 0}),
            ("Add", ["x", "zero"], ["y"], {}),
        ],
        {"x": ("FLOAT", ["n", 1])},
        {"y": ("FLOAT", ["n", 1])},
        {"shape": np.array([400_000, 100_000], np.int64)},
    )
    with pytest.raises(EdgelineError, match=r"^m\.onnx does not become a LiteRT file|memory"):
        _imported(file, tmp_path)
    assert not (tmp_path / "out").exists()


def test_without_onnx2tf_a_sentence_says_how_to_get_it(tmp_path, monkeypatch):
    file = one_operator("Relu")(tmp_path / "m.onnx")
    monkeypatch.delenv(onnx_converter.PYTHON)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EdgelineError, match=r"install onnx2tf==2\.6\.9, then set EDGELINE"):
        _imported(file, tmp_path)
    monkeypatch.setenv(onnx_converter.PYTHON, str(tmp_path / "nothing"))
    with pytest.raises(EdgelineError, match="which does not start"):
        _imported(file, tmp_path)
    other = Path(sys.executable)
    monkeypatch.setenv(onnx_converter.PYTHON, str(other))
    with pytest.raises(EdgelineError, match=r"has no onnx2tf .ModuleNotFoundError"):
        _imported(file, tmp_path)


@pytest.mark.parametrize(
    "script",
    ["#!{}\n", "#!/usr/bin/env found\n", '#!/bin/sh\n\'\'\'exec\' "{}" "$0" "$@"\n'],
    ids=["python", "env", "sh"],
)
def test_the_command_on_the_path_names_the_python(tmp_path, monkeypatch, script):
    monkeypatch.delenv(onnx_converter.PYTHON)
    python = tmp_path / "found"
    python.symlink_to(sys.executable)
    command = tmp_path / "onnx2tf"
    command.write_text(script.format(python))
    command.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert onnx_converter.python() == str(python)


def test_a_python_is_named_from_the_folder_where_the_import_is_started(tmp_path, monkeypatch):
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/python").symlink_to(sys.executable)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(onnx_converter.PYTHON, "bin/python")
    assert onnx_converter.python() == str(tmp_path / "bin/python")


def test_to_litert_is_for_onnx_files(tmp_path):
    file = Path(__file__).parents[2] / "data/cnn_float.tflite"
    with pytest.raises(UsageError, match=r"to_litert is set, but .* is a LiteRT model"):
        import_model(str(file), str(tmp_path / "out"), wanted=Wanted(to_litert=True))


def test_compile_model_converts_it_for_targets_that_take_no_onnx(tmp_path):
    file = one_operator("Relu", shape=("n", 8))(tmp_path / "m.onnx")
    command = [Path(sys.executable).with_name("edgeline"), "compile-model", file, "--json"]
    command += ["--target", "litert", "--target", "onnx", "-o", "out"]
    run = subprocess.run(
        list(map(str, command)), cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    found = {each["target"]: each for each in json.loads(run.stdout)["targets"]}
    assert found["litert"]["model"].endswith(".tflite")
    assert found["onnx"]["model"].endswith(".onnx")
    assert "Converting ONNX to LiteRT" in run.stderr
