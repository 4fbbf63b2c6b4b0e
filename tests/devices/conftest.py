"""A device to measure on, and a bundle to measure."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import ssh_server
from cli_here import edgeline  # noqa: F401  # a fixture

from edgeline import artifacts
from edgeline.artifacts.bundle import Bundle, write_manifest
from edgeline.artifacts.features import Feature
from edgeline.components.compile import forms

DATA = Path(__file__).parents[1] / "data"


@pytest.fixture(scope="session")
def ssh_device(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ssh_server.SshDevice]:
    """A real OpenSSH server on this machine."""
    with ssh_server.running(tmp_path_factory.mktemp("sshd")) as device:
        yield device


@pytest.fixture
def bundle_of(tmp_path: Path) -> Callable[..., Path]:
    """A bundle of a LiteRT file in tests/data, for a target, as publish leaves it."""

    def make(name: str, target: str = "litert") -> Path:
        folder = tmp_path / f"bundle-{target}-{name}"
        folder.mkdir()
        shutil.copy(DATA / name, folder / "model.tflite")
        signature = forms.litert(DATA / name).signature
        features = tuple(Feature(x.name, x.dtype, x.shape[1:]) for x in signature.inputs)
        manifest = Bundle(
            name="digits",
            version=3,
            target=target,
            model="model.tflite",
            task="multiclass_classification",
            quantisation="float",
            takes="raw",
            signature=signature,
            features=features,
            files=artifacts.list_files(folder),
        )
        write_manifest(folder, manifest)
        return folder

    return make
