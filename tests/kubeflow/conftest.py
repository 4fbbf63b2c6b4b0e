"""A server that answers as KFP's API documents it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from documented_server import DocumentedServer

from edgeline.compiling import compile_pipeline


@pytest.fixture(scope="session")
def taxi_spec(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    path = compile_pipeline("taxi", str(tmp_path_factory.mktemp("spec") / "taxi.yaml"))
    spec: dict[str, object] = yaml.safe_load(Path(path).read_text())
    return spec


@pytest.fixture
def server() -> Iterator[DocumentedServer]:
    running = DocumentedServer()
    yield running
    running.shutdown()
    running.server_close()
