"""The update story of images/edge-server/compose.yaml: publish, pull, serve, replace.

`docker compose` does it where the plugin is there. Where it is not, `docker run` starts the
same services from the same file; the test's name says which it was.
"""

from __future__ import annotations

import os
import re
import secrets
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from containers import ROOT, built, bundle, docker, score, until

COMPOSE = ROOT / "images" / "edge-server" / "compose.yaml"
MINIO = Path(
    os.environ.get("EDGELINE_TEST_CACHE", Path.home() / ".cache/edgeline-tests"), "bin/minio"
)
REPOSITORY = "minio://models/edge"


def has_compose() -> bool:
    return subprocess.run(["docker", "compose", "version"], capture_output=True).returncode == 0


class ByCompose:
    """The services by `docker compose`."""

    def __init__(self, variables: dict[str, str]) -> None:
        os.environ.update(variables)
        self.start = [
            "compose",
            "--file",
            str(COMPOSE),
            "--project-name",
            f"e{secrets.token_hex(4)}",
        ]

    def up(self, service: str) -> str:
        docker(*self.start, "up", "--detach", "--no-deps", service)
        return docker(*self.start, "ps", "--quiet", service)

    def run(self, service: str, *arguments: str) -> str:
        return docker(*self.start, "run", "--rm", "--no-TTY", service, *arguments)

    def down(self) -> None:
        docker(*self.start, "down", "--volumes", "--timeout", "5")


class ByRun:
    """The same services by `docker run`, for an engine without the compose plugin."""

    def __init__(self, variables: dict[str, str]) -> None:
        def value(match: re.Match[str]) -> str:
            return os.environ.get(match[1]) or variables.get(match[1]) or match[2] or ""

        text = COMPOSE.read_text().replace(
            "${DEVICE_ACCESS_KEY:-${MINIO_ROOT_USER}}", "${MINIO_ROOT_USER}"
        )
        text = text.replace(
            "${DEVICE_SECRET_KEY:-${MINIO_ROOT_PASSWORD}}", "${MINIO_ROOT_PASSWORD}"
        )
        text = re.sub(r"\$\{(\w+)(?::[-?]([^}]*))?\}", value, text)
        self.services = yaml.safe_load(text)["services"]
        self.variables = variables
        self.name = f"e{secrets.token_hex(4)}"
        self.started: list[str] = []
        docker("network", "create", self.name)

    def up(self, service: str) -> str:
        self.started.append(self._start(service, "--detach"))
        return self.started[-1]

    def run(self, service: str, *arguments: str) -> str:
        return self._start(service, "--rm", arguments=arguments)

    def down(self) -> None:
        for container in self.started:
            print(docker("logs", container, check=False)[-2000:])
            docker("rm", "--force", container)
        docker("network", "rm", self.name)
        for volume in docker("volume", "ls", "--quiet", "--filter", f"name={self.name}").split():
            docker("volume", "rm", volume)

    def _start(self, service: str, how: str, arguments: tuple[str, ...] = ()) -> str:
        facts: dict[str, Any] = self.services[service]
        options = [how, f"--network={self.name}", f"--network-alias={service}"]
        for key, value in facts.get("environment", {}).items():
            options.append(f"--env={key}={self.variables[key] if value is None else value}")
        for volume in facts.get("volumes", []):
            named = not volume.startswith(("/", "."))
            options.append(f"--volume={self.name + '-' if named else ''}{volume}")
        options += [f"--publish={port}" for port in facts.get("ports", [])]
        options += ["--read-only"] * facts.get("read_only", False)
        options += [f"--tmpfs={path}" for path in facts.get("tmpfs", [])]
        options += [f"--cap-drop={name}" for name in facts.get("cap_drop", [])]
        options += [f"--security-opt={option}" for option in facts.get("security_opt", [])]
        options += [f"--user={facts['user']}"] if "user" in facts else []
        entrypoint = facts.get("entrypoint", [])
        options += [f"--entrypoint={entrypoint[0]}"] if entrypoint else []
        command = [*entrypoint[1:], *(arguments or facts.get("command", []))]
        return docker("run", *options, facts["image"], *command)


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
def services(store_image: str, tmp_path: Path) -> Iterator[Any]:
    for folder in ("publisher", "trust"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder).chmod(0o777)
    variables = {
        "S3_IMAGE": store_image,
        "PUBLISHER_IMAGE": built("pipeline"),
        "EDGE_SERVER_IMAGE": built("edge-server"),
        "MINIO_ROOT_USER": "publisher",
        "MINIO_ROOT_PASSWORD": secrets.token_hex(12),
        "EDGELINE_KEY_PASSPHRASE": secrets.token_hex(12),
        "PUBLISHER_FOLDER": str(tmp_path / "publisher"),
        "PUBLISHER_USER": f"{os.getuid()}:{os.getgid()}",
        "TRUST_FOLDER": str(tmp_path / "trust"),
    }
    started = (ByCompose if has_compose() else ByRun)(variables)
    yield started
    started.down()


@pytest.mark.parametrize("way", ["compose" if has_compose() else "docker_run_without_compose"])
def test_a_device_takes_signed_versions_and_keeps_them(way, services, tmp_path):  # noqa: ARG001
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
