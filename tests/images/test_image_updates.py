"""The update story of images/edge-server/compose.yaml: publish, pull, serve, replace.

`docker compose` is the engine's own, or the one that tests/build_compose.sh has built.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest
from containers import CACHE, ROOT, built, bundle, docker, score, until

COMPOSE = ROOT / "images" / "edge-server" / "compose.yaml"
MINIO = CACHE / "bin" / "minio"
REPOSITORY = "minio://models/edge"


class Services:
    """The file's services, by `docker compose`."""

    def __init__(self, variables: dict[str, str]) -> None:
        self.compose = ["compose", "--file", str(COMPOSE), "--project-name"]
        self.compose.append(f"edgeline-test-{secrets.token_hex(4)}")
        self.variables = variables

    def up(self, service: str) -> str:
        """Start a service; gives its container."""
        self._docker("up", "--detach", "--no-deps", service)
        return self._docker("ps", "--quiet", service)

    def run(self, service: str, *arguments: str) -> str:
        return self._docker("run", "--rm", "--no-TTY", service, *arguments)

    def down(self) -> None:
        print(self._docker("logs", "--tail", "30"))
        self._docker("down", "--volumes", "--timeout", "5")

    def _docker(self, *arguments: str) -> str:
        return docker(*self.compose, *arguments, variables=self.variables)


@pytest.fixture
def store_image() -> Iterator[str]:
    """An image of the S3 server that the other tests use, as the pinned one is not to be had."""
    if not MINIO.is_file():
        pytest.skip("NOT TESTED: there is no S3 server; see tests/build_s3_server.sh")
    name = "edgeline-test-store"
    container = docker("create", "--entrypoint=sh", "--user=0", built("pipeline"))
    docker("cp", str(MINIO), f"{container}:/usr/local/bin/minio")
    docker("commit", "--change", "USER 0", container, name)
    docker("rm", container)
    yield name
    docker("rmi", name)


@pytest.fixture
def services(store_image: str, tmp_path: Path) -> Iterator[Services]:
    if "Docker Compose" not in docker("compose", "version", check=False):
        pytest.skip("NOT TESTED: there is no docker compose; see tests/build_compose.sh")
    for folder in ("publisher", "trust"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder).chmod(0o777)
    variables = {
        "S3_IMAGE": store_image,
        "PUBLISHER_IMAGE": built("pipeline"),
        "EDGE_SERVER_IMAGE": built("edge-server"),
        "EDGE_SERVER_PORT": "0",  # one that is free
        "MINIO_ROOT_USER": "publisher",
        "MINIO_ROOT_PASSWORD": secrets.token_hex(12),
        "EDGELINE_KEY_PASSPHRASE": secrets.token_hex(12),
        "PUBLISHER_FOLDER": str(tmp_path / "publisher"),
        "PUBLISHER_USER": f"{os.getuid()}:{os.getgid()}",
        "TRUST_FOLDER": str(tmp_path / "trust"),
    }
    started = Services(variables)
    yield started
    started.down()


def test_a_device_takes_signed_versions_and_keeps_them(services: Services, tmp_path: Path) -> None:
    work, trust = tmp_path / "publisher", tmp_path / "trust"
    store = services.up("store")
    until(lambda: "API:" in docker("logs", store, check=False), True)

    bundle(work / "one", 2.0)
    services.run(
        "publisher",
        "repository",
        "init",
        REPOSITORY,
        "--keys",
        "/publish/keys",
        "--root",
        "/publish/root.json",
    )
    (trust / "root.json").write_bytes((work / "root.json").read_bytes())
    services.run(
        "publisher", "repository", "add", REPOSITORY, "/publish/one", "--key", "/publish/keys"
    )
    device = services.up("edge-server")
    until(lambda: score(device), 7.0)

    bundle(work / "two", 5.0)
    services.run(
        "publisher", "repository", "add", REPOSITORY, "/publish/two", "--key", "/publish/keys"
    )
    until(lambda: score(device), 16.0)

    # the store is gone, the device starts again: it serves what it has
    docker("stop", "--time", "5", store)
    docker("restart", "--time", "5", device)
    until(lambda: score(device), 16.0)
