"""A real API server with our kinds and namespaces; see api_server.py for what it does not have."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from api_server import ApiServer, missing, started
from crds import definitions

sys.path.append(str(Path(__file__).parents[1] / "sites"))
from conftest_sites import pixels, registry

__all__ = ["pixels", "registry"]
NAMESPACES = ("argocd", "edgeline", "edgeline-devices", "edgeline-gateway", "flux-system")
NAMESPACES += ("kubeflow", "managed")
ENFORCE = "pod-security.kubernetes.io/enforce"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.parent == Path(__file__).parent:
            item.add_marker(pytest.mark.cluster)


@pytest.fixture(scope="session")
def api_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    """With every kind of tests/data/crds, and the namespaces that our manifests name."""
    if why := missing():
        pytest.skip(f"NOT TESTED: {why}")
    with started(tmp_path_factory.mktemp("api-server")) as server:
        server.kubectl("create", "-f", "-", given=definitions())
        established(server)
        server.kubectl("create", "-f", "-", given=[*map(_namespace, NAMESPACES)])
        server.kubectl("create", "-f", "-", given=[*map(_default_account, NAMESPACES)])
        yield server


def established(server: ApiServer) -> None:
    end = time.monotonic() + 60
    # kubectl does not wait for one that has no conditions at all yet
    wait = ("wait", "--for=condition=Established", "crd", "--all", "--timeout=60s")
    while (done := server.try_kubectl(*wait)).returncode:
        assert time.monotonic() < end, done.stderr
        time.sleep(0.2)


def _namespace(name: str) -> dict[str, object]:
    level = "privileged" if name == "edgeline-devices" else "restricted"
    metadata = {"name": name, "labels": {ENFORCE: level}}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}


def _default_account(namespace: str) -> dict[str, object]:
    """A controller makes it otherwise; a pod is refused without its service account."""
    metadata = {"name": "default", "namespace": namespace}
    return {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata}
