"""One pipeline: trained here, served at two sites, each by the same digest."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from command import Finished, edgeline

sys.path.append(str(Path(__file__).parents[1] / "sites"))

from conftest_sites import registry

__all__ = ["registry"]


def test_without_sites_nothing_is_deployed_and_nothing_is_missing(taxi: Finished) -> None:
    assert taxi.code == 0
    assert "serve" not in taxi.record["tasks"]


def test_the_published_model_goes_to_every_site(
    taxi: Finished,
    registry: Any,
    tmp_path: Path,
) -> None:
    bare = tmp_path / "models.git"
    command = ["git", "init", "--quiet", "--bare", "--initial-branch=main", str(bare)]
    subprocess.run(command, check=True)
    begin = ["git", "-c", "user.name=x", "-c", "user.email=x@example.com", "-C", str(tmp_path)]
    subprocess.run([*begin, "clone", "--quiet", str(bare), "work"], check=True, capture_output=True)
    work = [*begin[:-1], str(tmp_path / "work")]
    subprocess.run([*work, "commit", "--quiet", "--allow-empty", "-m", "Begin"], check=True)
    subprocess.run([*work, "push", "--quiet", "origin", "HEAD:main"], check=True)
    sites = [
        {"site": f"git+file://{bare}//sites/north", "form": "kustomize"},
        {"site": f"git+file://{bare}//sites/south", "form": "compose"},
    ]
    done = edgeline(
        taxi.folder,
        *("run", "taxi", "--cache", "--set", f"sites={json.dumps(sites)}"),
        *("--set", f"models_repository={registry.address}/models"),
    )
    assert done.code == 0, done.output
    served = {name: task for name, task in done.record["tasks"].items() if "serve" in name}
    assert len(served) == 2
    (model,) = {task["outputs"]["model"] for task in served.values()}
    show = ["git", "-C", str(bare), "show"]
    for file in ("north/taxi.yaml", "south/compose.yaml"):
        text = subprocess.run(
            [*show, f"main:sites/{file}"], capture_output=True, text=True, check=True
        ).stdout
        assert set(re.findall(r"[\w.:/-]+@sha256:\w{64}", text)) >= {f"oci://{model}"}


@pytest.fixture(autouse=True)
def _needs_git() -> None:
    if not shutil.which("git"):
        pytest.skip("NOT TESTED: there is no git here")
