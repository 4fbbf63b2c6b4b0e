"""A real bundle, and a real registry of images."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from edgeline.artifacts import bundle, sha256
from edgeline.artifacts.bundle import Bundle
from edgeline.artifacts.features import Feature
from edgeline.runtimes import interpreter

DATA = Path(__file__).parents[1] / "data"
sys.path.append(str(DATA.parent / "manifests"))  # schemas.py


@pytest.fixture(scope="session")
def pixels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Version 3 of a bundle `mixed`, whose model takes strings, floats and integers."""
    folder = tmp_path_factory.mktemp("bundle") / "mixed"
    folder.mkdir()
    shutil.copy(DATA / "mixed.tflite", folder / "model.tflite")
    (folder / "notes").mkdir()
    (folder / "notes" / "labels.txt").write_text("no\nyes\n")
    signature = interpreter.load(folder / "model.tflite").signature
    names = ("model.tflite", "notes/labels.txt")
    files = {
        name: {"sha256": sha256(folder / name), "size": (folder / name).stat().st_size}
        for name in names
    }
    inputs = [Feature(entry.name, entry.dtype, entry.shape[1:]) for entry in signature.inputs]
    bundle.write_manifest(
        folder,
        Bundle(
            name="mixed",
            version=3,
            target="litert",
            model="model.tflite",
            task="regression",
            quantisation="float",
            takes="raw",
            signature=signature,
            features=tuple(inputs),
            files=files,
        ),
    )
    return folder


@dataclass
class Registry:
    """A running registry; `address` is its host and port."""

    address: str
    process: subprocess.Popen[bytes]
    storage: Path

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(30)


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    with running_registry(tmp_path) as running:
        yield running


@contextlib.contextmanager
def running_registry(folder: Path) -> Iterator[Registry]:
    """Debian's docker-registry on a free port, with an empty store."""
    if not shutil.which("docker-registry"):
        pytest.skip("NOT TESTED: there is no registry here (apt-get install docker-registry)")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    storage = folder / "registry"
    settings = folder / "registry.yaml"
    settings.write_text(
        f"version: 0.1\nlog: {{level: error}}\nhttp: {{addr: '{address}'}}\n"
        f"storage: {{filesystem: {{rootdirectory: '{storage}'}}}}\n"
    )
    process = subprocess.Popen(
        ["docker-registry", "serve", str(settings)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "OTEL_TRACES_EXPORTER": "none"},
    )
    running = Registry(address, process, storage)
    host, _, port = address.partition(":")
    end = time.monotonic() + 30
    while True:
        try:
            socket.create_connection((host, int(port)), timeout=1).close()
            break
        except OSError:
            assert process.poll() is None
            assert time.monotonic() < end
            time.sleep(0.05)
    yield running
    running.stop()
