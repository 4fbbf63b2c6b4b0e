"""Containers of the images that tests/images/build.sh has built."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from containers import docker


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.parent == Path(__file__).parent:
            item.add_marker(pytest.mark.images)


@pytest.fixture(scope="session", autouse=True)
def engine() -> None:
    if (
        shutil.which("docker") is None
        or subprocess.run(["docker", "info"], capture_output=True).returncode
    ):
        pytest.skip("NOT TESTED: there is no Docker engine; see tests/images/build.sh")


@pytest.fixture
def started() -> Iterator[Any]:
    """Start containers that end with the test: `started(*arguments)` gives the id."""
    containers: list[str] = []

    def start(*arguments: str) -> str:
        containers.append(docker("run", "--detach", *arguments))
        return containers[-1]

    yield start
    for container in containers:
        print(docker("logs", container, check=False)[-2000:])
        docker("rm", "--force", "--volumes", container)
