"""The real Helm, and the objects that it makes of the chart."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

CHART = Path(__file__).parents[2] / "charts" / "edge-server"
BUILD = Path(__file__).with_name("build_helm.sh")
CACHE = Path(os.environ.get("EDGELINE_TEST_CACHE", "~/.cache/edgeline-tests")).expanduser()
HELM = CACHE / "bin" / "helm"
REQUIRED = ("--set", "models=s3://edgeline/models")
RELEASE = ("edge-server", str(CHART), "--namespace", "edgeline")
ADDED = ("monitoring.enabled=true", "ingress.enabled=true", "ingress.host=models.example.com")
EVERYTHING = (*REQUIRED, "--set", ",".join(ADDED))


def skip_without_helm() -> None:
    """Skip the test, by name, where Helm has not been built."""
    if not HELM.is_file():
        pytest.skip(f"NOT TESTED: the chart with the real Helm; {BUILD.name} builds it")


def try_helm(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run Helm with nobody's settings, repositories and plugins."""
    own = {f"HELM_{name}_HOME": "/nonexistent" for name in ("CACHE", "CONFIG", "DATA")}
    command = [str(HELM), *map(str, arguments)]
    environment = {**os.environ, **own}
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)


def helm(*arguments: str | Path) -> str:
    """What Helm prints, where it ends well."""
    done = try_helm(*arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


def template(*arguments: str | Path, release: tuple[str, ...] = RELEASE) -> list[dict[str, Any]]:
    """The objects of a release, with the values that the arguments set."""
    said = helm("template", *release, *arguments)
    return [each for each in yaml.load_all(said, yaml.CSafeLoader) if each]
