"""The container engine, by its command line."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from edgeline.errors import EdgelineError


def has_buildx() -> bool:
    """Whether the docker command has the buildx plugin, which bake files need."""
    done = subprocess.run([_docker(), "buildx", "version"], capture_output=True)
    return done.returncode == 0


def run(arguments: Sequence[str], folder: Path, settings: Mapping[str, str]) -> None:
    """Run `docker <arguments>` in a folder; what it prints is shown.

    Raises:
        EdgelineError: there is no docker command, or it failed.
    """
    environment = {**os.environ, **settings}
    done = subprocess.run([_docker(), *arguments], cwd=folder, env=environment)
    if done.returncode:
        raise EdgelineError(
            f"`docker {' '.join(arguments[:2])}` failed with exit code {done.returncode}: "
            "what it printed above says why."
        )


def _docker() -> str:
    if command := shutil.which("docker"):
        return command
    raise EdgelineError("There is no docker command: install Docker, with its buildx plugin.")
