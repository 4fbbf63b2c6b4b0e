"""The target tensorrt: what is prepared; trtexec's part needs an NVIDIA device and skips loudly."""

import shutil
import stat

import pytest

from edgeline.components.compile.target import find
from edgeline.errors import EdgelineError

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
