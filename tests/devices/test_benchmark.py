"""`edgeline benchmark` through a real OpenSSH server: figures, answers, refusals, nothing left."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
import venv
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from ssh_server import SshDevice

from edgeline import artifacts
from edgeline.artifacts import bundle as bundles
from edgeline.artifacts import device_profile, vectors
from edgeline.devices import benchmark
from edgeline.devices.secure_shell import SshAddress
from edgeline.errors import EdgelineError
from edgeline.runtimes import interpreter

SECONDS = 0.2


@pytest.fixture
def device(ssh_device: SshDevice, monkeypatch: pytest.MonkeyPatch) -> SshDevice:
    monkeypatch.setenv("PATH", ssh_device.path)
    return ssh_device


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """A Python with nothing beside the standard library."""
    venv.create(tmp_path / "bare")
    return tmp_path / "bare" / "bin" / "python"


@pytest.fixture
def pictures(bundle_of: Callable[..., Path]) -> Path:
    """A bundle with recorded rows."""
    folder = bundle_of("cnn_float.tflite")
    made = bundles.read(folder)
    model = interpreter.load(folder / made.model)
    [taken] = made.signature.inputs
    rows = np.random.default_rng(7).random((5, *taken.shape[1:])).astype(np.float32)
    return recorded(folder, vectors.Vectors({taken.name: rows}, model({taken.name: rows}), 1e-5))


def recorded(folder: Path, rows: vectors.Vectors) -> Path:
    """The bundle with other recorded rows."""
    made = bundles.read_manifest(folder)
    (folder / bundles.MANIFEST).unlink()
    vectors.write(folder / vectors.FILE, rows)
    files = artifacts.list_files(folder)
    bundles.write_manifest(folder, dataclasses.replace(made, files=files))
    return folder


def measure(device: SshDevice, folder: Path, python: str = sys.executable, **more: object):
    return benchmark.measure(folder, SshAddress.parse(device.address), python, SECONDS, **more)


def test_a_bundle_is_measured_and_its_answers_are_compared(
    device, pictures, bundle_of, tmp_path, edgeline
):
    file = tmp_path / "there" / "profile.json"
    options = ("--python", sys.executable, "--seconds", "1", "-o", str(file))
    code, said = edgeline("benchmark", str(pictures), "--ssh", device.address, *options)
    assert code == 0, said
    found = device_profile.read(file)
    assert found.latency.p50_ms <= found.latency.p95_ms <= found.latency.p99_ms
    assert found.latency.calls > 100 and found.latency.load_ms < found.latency.start_ms
    assert (found.rows_compared, found.max_difference) == (5, 0.0)
    assert found.content_digest == bundles.content_digest(bundles.read(pictures))
    assert found.device.kernel == os.uname().release
    assert found.device.cores == len(os.sched_getaffinity(0))
    assert 10e6 < found.peak_bytes < 200e6  # the interpreter's, and not this process's
    assert "p99" in said and "Answers of 5 recorded rows agree" in said
    for what in found.not_measured:
        assert f"Not measured: {what}" in said
    assert not list(device.temporary.iterdir())

    code, said = edgeline("verify", str(pictures), "--profile", str(file))
    assert code == 0 and "latency there" in said and "latency here" not in said
    other = bundle_of("cnn_odd.tflite")
    code, said = edgeline("verify", str(other), "--profile", str(file))
    assert code == 1 and "has another graph: measure this bundle" in said


def test_other_answers_than_the_recorded_ones_are_refused(device, pictures):
    rows = vectors.read(pictures / vectors.FILE, bundles.read(pictures).signature)
    outputs = {
        name: array + np.eye(len(array), array.shape[1]) for name, array in rows.outputs.items()
    }
    recorded(pictures, dataclasses.replace(rows, outputs=outputs))
    with pytest.raises(EdgelineError, match=r"answers row \d of test_vectors.json with another"):
        measure(device, pictures)
    assert not list(device.temporary.iterdir())


def test_a_host_whose_key_is_not_known_is_refused_and_stays_unknown(device, pictures):
    known = device.known_hosts.read_text()
    device.known_hosts.write_text("")
    try:
        with pytest.raises(EdgelineError, match="compare its key's fingerprint"):
            measure(device, pictures)
        assert device.known_hosts.read_text() == ""
    finally:
        device.known_hosts.write_text(known)


def test_what_the_device_lacks_is_told_with_the_way_out(device, pictures, bare):
    with pytest.raises(EdgelineError, match=r"does not have /nowhere/python3 .*: give the path"):
        measure(device, pictures, "/nowhere/python3")
    with pytest.raises(EdgelineError, match="does not have a LiteRT interpreter, and its Python"):
        measure(device, pictures, str(bare))
    assert not list(device.temporary.iterdir())


@pytest.mark.long
def test_a_device_without_an_interpreter_is_lent_one_from_wheels(device, pictures, bare, tmp_path):
    """The wheels lead to this environment's packages: what is tried is how they get there."""
    import pip

    [site] = bare.parents[1].glob("lib/python*/site-packages")
    (site / "pip").symlink_to(Path(pip.__file__).parent)
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    lend(wheels, "ai_edge_litert")
    lend(wheels, "numpy")
    found = measure(device, pictures, str(bare), wheels=wheels)
    assert found.installed and found.rows_compared == 5
    assert not list(device.temporary.iterdir())
    (wheels / "numpy-1-py3-none-any.whl").unlink()
    with pytest.raises(EdgelineError, match="give its wheels with --wheels FOLDER"):
        measure(device, pictures, str(bare), wheels=wheels)
    assert not list(device.temporary.iterdir())


def lend(folder: Path, name: str) -> None:
    """A wheel whose only content is a way to this environment's package of that name."""
    here = Path(np.__file__).parents[1]
    info = f"{name}-1.dist-info"
    with zipfile.ZipFile(folder / f"{name}-1-py3-none-any.whl", "w") as wheel:
        wheel.writestr(
            f"{name}/__init__.py",
            f"import sys\nsys.path.insert(0, {str(here)!r})\ndel sys.modules[__name__]\n"
            f"import {name}\n",
        )
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n")
        wheel.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr(f"{info}/RECORD", "")


@pytest.mark.parametrize("end", ["interrupted", "connection lost"])
def test_nothing_is_left_there_when_it_does_not_end_by_itself(device, pictures, tmp_path, end):
    command = [sys.executable, "-m", "edgeline", "benchmark", pictures, "--ssh", device.address]
    command += ["--python", sys.executable, "--seconds", "600", "-o", tmp_path / "profile.json"]
    running = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        wait(lambda: measuring(device))
        [child] = measuring(device)
        if end == "interrupted":
            running.send_signal(signal.SIGINT)
        else:
            [client] = children(running.pid)
            os.kill(client, signal.SIGKILL)
        said, _ = running.communicate(timeout=60)
    finally:
        running.kill()
        running.wait()
    wait(lambda: not list(device.temporary.iterdir()))
    assert not Path(f"/proc/{child}").exists()
    assert not (tmp_path / "profile.json").exists()
    assert running.returncode == (130 if end == "interrupted" else 1), said
    assert ("connection broke" in said) == (end != "interrupted")


def measuring(device: SshDevice) -> list[int]:
    """The processes that measure there."""
    return [
        pid for pid, line in commands() if f"{device.temporary}/" in line and "timed.py" in line
    ]


def children(parent: int) -> list[int]:
    return [
        int(pid)
        for task in Path(f"/proc/{parent}/task").iterdir()
        for pid in (task / "children").read_text().split()
    ]


def commands() -> list[tuple[int, str]]:
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            found.append(
                (int(place.name), (place / "cmdline").read_bytes().decode().replace("\0", " "))
            )
    return found


def wait(until: Callable[[], object]) -> None:
    end = time.monotonic() + 60
    while not until():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_bundles_for_other_runtimes_are_refused_before_anything_is_sent(bundle_of):
    folder = bundle_of("cnn_float.tflite", "edgetpu")
    with pytest.raises(EdgelineError, match=r"is made for edgetpu.*the same model for litert"):
        benchmark.measure(folder, SshAddress.parse("nowhere.invalid"))


def test_what_the_device_answers_is_not_trusted(pictures, monkeypatch):
    """A device that says something else than the program that it was sent."""
    from edgeline.devices import secure_shell

    def answers(said: bytes) -> str:
        monkeypatch.setattr(secure_shell, "ask", lambda *_: said)
        with pytest.raises(EdgelineError) as error:
            benchmark.measure(pictures, SshAddress.parse("pi"))
        return str(error.value)

    assert "pi ended without an answer" in answers(b"Welcome!\n")
    assert "is not JSON" in answers(benchmark.MARK + b"{")
    assert "is not an object" in answers(benchmark.MARK + b"[]")
    assert "cannot be read" in answers(benchmark.MARK + b'{"timed": {}, "power": {}}')
    fault = json.dumps({"fault": "device", "said": "\x1b[2J" + "x" * 10_000}).encode()
    said = answers(benchmark.MARK + fault)
    assert "\x1b" not in said and len(said) < 700
