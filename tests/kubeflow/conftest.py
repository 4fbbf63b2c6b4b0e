"""A server that answers as KFP's API documents it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from documented_server import DocumentedServer
from recorded_server import RecordedServer

from edgeline.client.compiling import compile_pipeline

for shared in ("data", "sites"):  # make_onnx.py, conftest_sites.py
    sys.path.append(str(Path(__file__).parents[1] / shared))


@pytest.fixture(scope="session")
def taxi_spec(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    path = compile_pipeline("taxi", str(tmp_path_factory.mktemp("spec") / "taxi.yaml"))
    spec: dict[str, object] = yaml.load(Path(path).read_text(), yaml.CSafeLoader)
    return spec


@pytest.fixture
def server() -> Iterator[DocumentedServer]:
    running = DocumentedServer()
    yield running
    running.shutdown()
    running.server_close()


@pytest.fixture(params=[False, True], ids=["sparse", "full"])
def any_server(server: DocumentedServer, request: pytest.FixtureRequest) -> DocumentedServer:
    """One that leaves out what is empty, and one that writes it out."""
    server.full = request.param
    return server


@pytest.fixture(autouse=True)
def nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No settings of the person who runs the tests: kfp keeps a namespace in the home folder."""
    monkeypatch.setattr("kfp.Client._LOCAL_KFP_CONTEXT", str(tmp_path / "home" / "context.json"))
    for name in ("KF_PIPELINES_ENDPOINT", "KF_PIPELINES_SA_TOKEN_PATH", "SSL_CERT_FILE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def recorded() -> Iterator[RecordedServer]:
    running = RecordedServer()
    yield running
    running.shutdown()
    running.server_close()


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A MinIO server on a free loopback port, as for the tests of publish."""
    sys.path.append(str(Path(__file__).parents[1] / "components" / "publish"))
    from s3_server import running

    yield from running(tmp_path_factory)
