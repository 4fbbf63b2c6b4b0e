"""`edgeline run --docker` without an engine; with one, see tests/images."""

from __future__ import annotations

import io
import os
import subprocess
import sys

import pytest

from edgeline.local import containers


def test_without_an_engine_it_is_a_sentence_and_nothing_is_left(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "edgeline", "run", "taxi", "--docker"],
        cwd=tmp_path,
        env={**os.environ, "DOCKER_HOST": f"unix://{tmp_path}/none.sock"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert "Docker does not answer" in done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert not list(tmp_path.glob("edgeline-runs/*"))


class Engine:
    """A stand-in for Docker's engine, for no GPU is here: its runtimes."""

    def __init__(self, *runtimes: str) -> None:
        self.runtimes = runtimes

    def info(self):
        return {"Runtimes": {name: {} for name in self.runtimes}}


@pytest.mark.parametrize(
    ("image", "there", "runtimes", "passed"),
    [
        ("ghcr.io/acme/train-gpu-python@sha256:1", True, ("runc", "nvidia"), True),
        ("ghcr.io/edgeline/train-python:0.1.0", True, ("runc", "nvidia"), False),
        ("ghcr.io/acme/train-gpu-python:1", False, ("runc", "nvidia"), False),
        ("ghcr.io/acme/train-gpu-python:1", True, ("runc",), False),
    ],
)
def test_a_gpu_is_passed_where_machine_engine_and_image_have_one(
    image, there, runtimes, passed, tmp_path, monkeypatch
):
    (tmp_path / "nvidiactl").touch()
    monkeypatch.setattr(containers, "NVIDIA", tmp_path / ("nvidiactl" if there else "none"))
    log = io.BytesIO()
    found = containers._gpus(Engine(*runtimes), image, log)
    assert [request["Capabilities"] for request in found] == ([[["gpu"]]] if passed else [])
    assert (b"container toolkit" in log.getvalue()) == (there and runtimes == ("runc",))
