"""The target imx500: preconditions and failures; Sony's converter itself skips loudly."""

import os
import shutil

import pytest

from edgeline.components.compile.target import Source, find
from edgeline.errors import EdgelineError

pytestmark = pytest.mark.slow

MODEL = os.environ.get("EDGELINE_TEST_IMX500_MODEL", "")


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "in" / "model.onnx"
    path.parent.mkdir()
    path.write_bytes(b"quantised")
    return path


def converter(folder, script):
    program = folder / "converter"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    return str(program)


def test_models_that_the_converter_does_not_take(compiled, tmp_path, source):
    with pytest.raises(EdgelineError, match=r"give its \.keras or \.onnx file"):
        compiled("imx500", source("int8"))
    with pytest.raises(EdgelineError, match="is missing"):
        compiled("imx500", Source(), model=str(tmp_path / "model.onnx"))
    (tmp_path / "model.keras").write_bytes(b"no zip")
    with pytest.raises(EdgelineError, match="is not a Keras file"):
        compiled("imx500", Source(), model=str(tmp_path / "model.keras"))


def test_a_converter_that_is_not_there_is_named_with_its_environment(compiled, model):
    with pytest.raises(EdgelineError, match=r"nowhere is not on PATH: install it .*Java 17"):
        compiled("imx500", Source(onnx=model), converter="nowhere")


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("echo ERROR: layer 3; exit 2", "exit code 2: ERROR: layer 3"),
        ("echo done", "left no packed network: done"),
    ],
)
def test_a_converter_that_fails_or_does_nothing(compiled, model, script, message):
    program = converter(model.parent, script)
    with pytest.raises(EdgelineError, match=message):
        compiled("imx500", Source(onnx=model), converter=program)


def test_the_limits_say_that_nothing_ran_on_the_camera():
    assert "neither is proven here" in find("imx500").limits


@pytest.mark.skipif(
    not (shutil.which("imxconv-tf") and MODEL),
    reason="NOT TESTED: Sony's converter; set EDGELINE_TEST_IMX500_MODEL where imxconv-tf is",
)
def test_sonys_converter_packs_a_network(compiled):
    made, _ = compiled("imx500", Source(), model=MODEL)
    assert made.facts["packed_bytes"] > 0
