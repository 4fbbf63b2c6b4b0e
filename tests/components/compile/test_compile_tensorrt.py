"""The target tensorrt: what is prepared; trtexec's part needs an NVIDIA device and skips loudly."""

import shutil
import stat

import pytest

from edgeline.components.compile import onnx_model
from edgeline.components.compile.target import Source, find
from edgeline.errors import EdgelineError
from edgeline.formats.quantisation import INT8

pytestmark = pytest.mark.slow


@pytest.mark.usefixtures("in_this_process")
def test_without_trtexec_the_model_and_the_exact_command_are_made(
    source, compiled, tmp_path, monkeypatch
):
    monkeypatch.setattr(shutil, "which", lambda _: None)
    made, runtime = compiled("tensorrt", source("float"), max_batch="8")
    assert (runtime, made.model) == (None, "model.onnx")
    script = tmp_path / "build_engine.sh"
    assert script.stat().st_mode & stat.S_IXUSR
    assert script.read_text().splitlines()[-1] == (
        "trtexec --onnx=model.onnx --saveEngine=model.engine --minShapes=image:1x28x28x1 "
        "--optShapes=image:1x28x28x1 --maxShapes=image:8x28x28x1 --fp16"
    )
    assert "run build_engine.sh on the device" in made.notes[0]
    assert "not proven" in find("tensorrt").limits


@pytest.mark.usefixtures("in_this_process")
def test_a_dla_core_falls_back_to_the_gpu_and_says_so(source, compiled, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda _: None)
    made, _ = compiled("tensorrt", source("float"), max_batch="8", dla_core="1")
    # a DLA has no dynamic batch, so all three shapes are one
    assert (tmp_path / "build_engine.sh").read_text().splitlines()[-1] == (
        "trtexec --onnx=model.onnx --saveEngine=model.engine --minShapes=image:8x28x28x1 "
        "--optShapes=image:8x28x28x1 --maxShapes=image:8x28x28x1 --fp16 "
        "--useDLACore=1 --allowGPUFallback"
    )
    notes = " ".join(made.notes)
    assert "falls back to the GPU" in notes
    assert "not measured here" in notes
    assert "exactly 8 a call" in notes
    assert "int8" not in notes


@pytest.mark.usefixtures("in_this_process")
def test_int8_on_a_dla_core_is_told_of_its_layers(source, compiled, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda _: None)
    made, _ = compiled("tensorrt", source("int8"), fp16="false", dla_core="0")
    line = (tmp_path / "build_engine.sh").read_text().splitlines()[-1]
    assert line.endswith(" --int8 --useDLACore=0 --allowGPUFallback")
    assert "no explicit quantisation" in " ".join(made.notes)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dla_core": "0", "fp16": "false"}, r"does not compute in float32.*set fp16=true"),
        ({"dla_core": "2"}, r"dla_core is '2': give 0 or 1"),
        ({"dla_core": "-1"}, r"dla_core is '-1': give 0 or 1"),
        ({"dla_core": "0", "max_batch": "4097"}, r"takes 4096 at most"),
    ],
)
def test_what_a_dla_does_not_take_is_refused_before_anything_is_made(
    source, compiled, tmp_path, options, message
):
    with pytest.raises(EdgelineError, match=message):
        compiled("tensorrt", source("float"), **options)
    assert not (tmp_path / "model.onnx").exists()


@pytest.mark.usefixtures("in_this_process")
def test_a_float_model_in_an_int8_model_s_place_is_refused_on_a_dla(
    cnn, compiled, tmp_path, monkeypatch
):
    made = onnx_model.make

    def of_the_saved_model(_, file):
        return made(Source(saved_model=cnn / "saved_model", quantisation=INT8), file)

    monkeypatch.setattr(onnx_model, "make", of_the_saved_model)
    with pytest.raises(EdgelineError, match=r"float32, as the float model does"):
        compiled(
            "tensorrt",
            Source(tflite=cnn / "int8.tflite", quantisation=INT8),
            fp16="false",
            dla_core="0",
        )
    assert not (tmp_path / "build_engine.sh").exists()


@pytest.mark.usefixtures("in_this_process")
def test_a_trtexec_that_leaves_no_engine_is_a_failure(source, compiled, tmp_path, monkeypatch):
    program = tmp_path / "bin/trtexec"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\necho '[E] no GPU'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=":")
    with pytest.raises(EdgelineError, match=r"exit code 0 and left no engine: \[E\] no GPU"):
        compiled("tensorrt", source("float"))


@pytest.mark.skipif(
    not shutil.which("trtexec"), reason="NOT TESTED: trtexec is not here; it is on NVIDIA devices"
)
@pytest.mark.usefixtures("in_this_process")
def test_trtexec_builds_an_engine_on_an_nvidia_device(source, compiled):
    made, _ = compiled("tensorrt", source("float"))
    assert made.facts["engine_bytes"] > 0
