"""A bundle for the Edge TPU where there is one, where there is none, and where it fails."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from running import DATA, MOBILENET, Running

from edgeline.artifacts import sha256
from edgeline.artifacts.bundle import Bundle, write_manifest
from edgeline.errors import EdgelineError
from edgeline.server.models.edgetpu import LIBRARY
from edgeline.server.models.loading import load

COMPILED = DATA / "coral" / "mobilenet_v1_0.25_128_quant_edgetpu.tflite"


def present() -> bool:
    try:
        ctypes.CDLL(LIBRARY)
    except OSError:
        return False
    return True


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """A bundle whose model is the CPU's, with the Edge TPU's beside it."""
    folder = tmp_path / "bundle"
    folder.mkdir()
    shutil.copy(MOBILENET, folder / "model.tflite")
    shutil.copy(COMPILED, folder / "model_edgetpu.tflite")
    (described,) = load(MOBILENET, "m", 1, 1, 1)
    names = ("model.tflite", "model_edgetpu.tflite")
    write_manifest(
        folder,
        Bundle(
            name="camera",
            version=3,
            target="edgetpu",
            model="model.tflite",
            task="classification",
            quantisation="int8",
            takes="transformed",
            signature=described.description.signature,
            features=(),
            files={
                name: {"sha256": sha256(folder / name), "size": (folder / name).stat().st_size}
                for name in names
            },
        ),
    )
    return folder


@pytest.mark.skipif(present(), reason=f"THERE IS {LIBRARY}: a missing one cannot be tested")
def test_without_the_library_the_cpu_model_serves_and_says_so(start, bundle):
    server = start(bundle)
    body = {"inputs": [{"name": "input", "shape": [1, 128, 128, 3], "datatype": "UINT8"}]}
    body["inputs"][0]["data"] = [7] * (128 * 128 * 3)
    status, answer, _ = server.ask("POST", "/v2/models/camera/infer", body)
    (plain,) = load(MOBILENET, "m", 1, 1, 1)
    right = plain.run({"input": np.full((1, 128, 128, 3), 7, np.uint8)})
    assert status == 200
    assert answer["outputs"][0]["data"] == next(iter(right.values()))[0].tolist()
    note = f"model.tflite runs on the CPU: there is no {LIBRARY} here."
    (entry,) = server.ask("POST", "/v2/repository/index")[1]
    assert entry["reason"] == note
    parameters = server.ask("GET", "/v2/models/camera/config")[1]["parameters"]
    assert parameters["device"] == {"string_value": "cpu"}
    (model,) = server.ask("GET", "/overview")[1]["models"]
    assert (model["versions"][0]["device"], model["versions"][0]["note"]) == ("cpu", note)
    line = 'edgeline_model_device{model="camera",version="3",device="cpu",runtime="litert"}'
    assert server.metric(line) == 1
    _, log = server.stop()
    assert note in log


@pytest.mark.skipif(present(), reason=f"THERE IS {LIBRARY}: a missing one cannot be tested")
def test_a_model_for_the_edge_tpu_alone_is_refused(tmp_path):
    alone = tmp_path / "m_edgetpu.tflite"
    shutil.copy(COMPILED, alone)
    with pytest.raises(EdgelineError, match=r"needs an Edge TPU.*put m\.tflite beside it"):
        load(alone, "m", 1, 1, 1)
    shutil.copy(MOBILENET, tmp_path / "m.tflite")
    (instance,) = load(alone, "m", 1, 1, 1)
    assert "m.tflite runs on the CPU" in instance.description.note


def test_a_version_folder_may_hold_both(start, tmp_path):
    folder = tmp_path / "camera" / "1"
    folder.mkdir(parents=True)
    shutil.copy(MOBILENET, folder / "model.tflite")
    shutil.copy(COMPILED, folder / "model_edgetpu.tflite")
    server = start(tmp_path)
    assert server.ask("GET", "/v2/models/camera/ready")[0] == 200


@pytest.mark.skipif(shutil.which("cc") is None, reason="NO C COMPILER: no library without a device")
def test_a_library_without_a_device(bundle, tmp_path):
    """A library that loads and finds no device, as the real one does where none is plugged in."""
    source = tmp_path / "none.c"
    source.write_text(
        "void *tflite_plugin_create_delegate(char **k, char **v, unsigned long n,"
        ' void (*report)(const char *)) { report("no device"); return 0; }\n'
        "void tflite_plugin_destroy_delegate(void *d) {}\n"
    )
    library = tmp_path / LIBRARY
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, source], check=True)
    before = os.environ.get("LD_LIBRARY_PATH")
    os.environ["LD_LIBRARY_PATH"] = str(tmp_path)
    try:
        server = Running(bundle)
    finally:
        if before is None:
            del os.environ["LD_LIBRARY_PATH"]
        else:
            os.environ["LD_LIBRARY_PATH"] = before
    (entry,) = server.ask("POST", "/v2/repository/index")[1]
    server.stop()
    assert entry["reason"] == f"model.tflite runs on the CPU: {LIBRARY} finds no Edge TPU."


@pytest.mark.skipif(not present(), reason=f"NO EDGE TPU: there is no {LIBRARY} on this machine")
def test_on_a_real_edge_tpu(bundle):
    (tpu,) = load(bundle, "camera", 3, 1, 1)
    if tpu.description.device != "edgetpu":
        pytest.skip(f"NO EDGE TPU: {tpu.description.note}")
    (cpu,) = load(MOBILENET, "m", 1, 1, 1)
    image = {"input": np.random.default_rng(0).integers(0, 256, (1, 128, 128, 3), np.uint8)}
    (got,), (right,) = tpu.run(image).values(), cpu.run(image).values()
    assert np.abs(got.astype(int) - right.astype(int)).max() <= 2
