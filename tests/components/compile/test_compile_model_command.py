"""`edgeline compile-model` as a user calls it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from edgeline import artifacts
from edgeline.components.compile.compile import SCHEMA

pytestmark = pytest.mark.slow

DATA = Path(__file__).parents[2] / "data"


def edgeline(*arguments, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [Path(sys.executable).with_name("edgeline"), "compile-model", *arguments]
    return subprocess.run(
        list(map(str, command)), cwd=folder, capture_output=True, text=True, check=False
    )


def test_a_litert_file_for_several_devices(tmp_path):
    model = DATA / "cnn_int8.tflite"
    targets = ["--target", "litert", "--target", "ethos-u55", "--target", "tflite-micro"]
    options = ["--set", "ethos-u55.accelerator=ethos-u55-256", "--set", "tflite-micro.name=net"]
    run = edgeline(model, *targets, *options, folder=tmp_path)
    assert run.returncode == 0, run.stderr
    assert "8 of 8" in run.stdout
    assert "arena" in run.stdout
    folder = tmp_path / "cnn_int8-compiled"
    for target in ("litert", "ethos-u55", "tflite-micro"):
        assert artifacts.read(folder / target, SCHEMA).metadata["target"] == target
    assert (folder / "tflite-micro" / "files" / "net.cc").is_file()
    page = (folder / "report.html").read_text()
    assert "3 of 3" in page
    assert "random" not in run.stderr  # nothing was quantised


def test_one_failure_does_not_stop_the_others(tmp_path):
    model = DATA / "cnn_dynamic.tflite"
    targets = ["--target", "ethos-u85", "--target", "litert"]
    run = edgeline(model, *targets, "--json", "-o", "out", folder=tmp_path)
    assert run.returncode == 1
    found = {entry["target"]: entry for entry in json.loads(run.stdout)["targets"]}
    assert "is dynamic: convert it with quantisation='int8'" in found["ethos-u85"]["failure"]
    assert found["litert"]["failure"] is None
    assert found["litert"]["size"] == model.stat().st_size
    assert "Traceback" not in run.stderr
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["litert", "report.html"]


def test_a_target_that_misses_a_requirement_has_failed_and_the_rest_is_named(tmp_path):
    asked = """
    devices:
      gateway: {target: litert, size_kb: 10000}
      sensor: {target: ethos-u55, mapped_share: 0.9, size_kb: 1}
      board: {target: edgetpu, size_kb: 100}
    """
    (tmp_path / "requirements.yaml").write_text(asked)
    targets = ["--target", "litert", "--target", "ethos-u55"]
    run = edgeline(
        *(DATA / "cnn_int8.tflite", *targets, "--requirements", "requirements.yaml"),
        folder=tmp_path,
    )
    assert run.returncode == 1
    said, told = (" ".join(text.split()) for text in (run.stdout, run.stderr))
    assert "ethos-u55 failed: " in said and "does not meet the requirements: " in said
    assert "litert: " in said and "gateway" in said  # which is met, in a line
    assert "Of requirements.yaml, only what the compilers tell is judged here" in told
    assert "Nothing is made here for the target of board." in told


def test_a_float_litert_file_is_quantised_where_a_target_needs_it(tmp_path):
    model = DATA / "cnn_float.tflite"
    np.save(tmp_path / "rows.npy", np.random.default_rng(0).random((30, 28, 28, 1)))
    targets = ["--target", "ethos-u55", "--target", "litert", "--json"]
    run = edgeline(model, *targets, "--representative", "rows.npy", "-o", "out", folder=tmp_path)
    assert run.returncode == 0, run.stdout + run.stderr
    found = json.loads(run.stdout)
    assert not found["warnings"]
    ethos, litert = found["targets"]
    assert (ethos["quantisation"], ethos["share"]) == ("int8", 1)
    signature = json.loads((tmp_path / "out" / "ethos-u55" / "signature.json").read_text())
    assert signature["inputs"][0]["dtype"] == "int8"
    assert (litert["quantisation"], litert["size"]) == ("float", model.stat().st_size)
    # now for litert, too, and without data: loudly random
    run = edgeline(
        *(model, "--target", "litert", "--quantisation", "int8", "-o", "b"), folder=tmp_path
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert "random numbers" in run.stderr
    assert "random numbers" in (tmp_path / "b" / "report.html").read_text()
    compiled = artifacts.read(tmp_path / "b" / "litert", SCHEMA).metadata
    assert compiled["quantisation"] == "int8"
    assert compiled["size"] < model.stat().st_size


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["none.tflite", "--target", "litert"], "none.tflite"),
        ([DATA / "cnn_int8.tflite", "--target", "coral"], "There is no target 'coral'"),
        (
            [DATA / "cnn_int8.tflite", "--target", "litert", "--set", "litter.x=1"],
            "Did you mean litert?",
        ),
        ([DATA / "cnn_int8.tflite", "--target", "ethos-u55", "--set", "macs=2"], "TARGET.OPTION"),
    ],
)
def test_what_cannot_be_meant(tmp_path, arguments, sentence):
    run = edgeline(*arguments, folder=tmp_path)
    assert run.returncode == 2
    assert sentence in run.stderr
    assert run.stderr.strip().splitlines()[-1].startswith("Error: ")
    assert not list(tmp_path.iterdir())


@pytest.mark.long
def test_a_keras_file_is_converted_as_each_target_needs_it(tmp_path):
    np.save(tmp_path / "rows.npy", np.random.default_rng(0).random((30, 32, 32, 3)))
    targets = [part for name in ("ethos-u55", "onnx", "litert") for part in ("--target", name)]
    run = edgeline(
        *(DATA / "small.keras", *targets, "--representative", "rows.npy", "--json", "-o", "out"),
        folder=tmp_path,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    found = json.loads(run.stdout)
    assert not found["warnings"]
    by_name = {entry["target"]: entry for entry in found["targets"]}
    assert by_name["ethos-u55"]["share"] == 1
    assert by_name["litert"]["quantisation"] == "int8"
    assert by_name["onnx"]["quantisation"] == "float"
    signature = json.loads((tmp_path / "out" / "ethos-u55" / "signature.json").read_text())
    assert signature["inputs"][0]["dtype"] == "int8"
    assert signature["inputs"][0]["shape"] == [1, 32, 32, 3]
    # the same model again, now without data: loudly random
    again = edgeline(DATA / "small.keras", "--target", "ethos-u55", "-o", "b", folder=tmp_path)
    assert again.returncode == 0
    assert "random numbers" in again.stderr
    assert "random numbers" in (tmp_path / "b" / "report.html").read_text()


def test_what_litert_lacks_is_said_of_the_file_that_was_given(tmp_path):
    """And not of a folder of ours, which is gone by then."""
    import keras

    steps = keras.Input((6, 3), name="steps")
    keras.Model(steps, keras.layers.LSTM(4, activation="silu")(steps)).save(tmp_path / "own.keras")
    run = edgeline("own.keras", "--target", "litert", folder=tmp_path)
    assert run.returncode == 1
    assert "litert failed: The network of own.keras uses TensorListFromTensor " in run.stdout
    assert "give the recurrent layers unroll=True" in run.stdout
