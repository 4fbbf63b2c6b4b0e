"""Images of compiled versions: those of the lock, a mirror or declared registries, no others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from edgeline import images
from edgeline.kubeflow.versions import digest
from edgeline.lint.lint import lint

NEW, OLD = (f"sha256:{letter * 64}" for letter in "ab")


@pytest.fixture
def locked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with an environment; its lock has an image `ghcr.io/acme/train`."""
    lock = tmp_path / "images.lock.yaml"
    lock.write_text(f"train: {{repository: ghcr.io/acme/train, version: '1', digest: '{NEW}'}}\n")
    monkeypatch.setenv(images.LOCK, str(lock))
    place = tmp_path / "production"
    place.mkdir()
    return place


def found(place: Path, image: str, environment: Any = None, current: bool = False) -> set[str]:
    """The rules that a version with an image breaks."""
    ir = {
        "pipelineInfo": {"name": "taxi"},
        "root": {"dag": {"tasks": {}}},
        "deploymentSpec": {"executors": {"exec-train": {"container": {"image": image}}}},
    }
    name = f"taxi-{digest([ir])}"
    kept = {"argocd.argoproj.io/sync-options": "Prune=false,Delete=false"}
    version = {
        "apiVersion": "pipelines.kubeflow.org/v2beta1",
        "kind": "PipelineVersion",
        "metadata": {"name": name, "annotations": kept},
        "spec": {"pipelineName": "taxi", "pipelineSpec": ir},
    }
    (place / "versions").mkdir(exist_ok=True)
    (place / "versions" / "taxi.yaml").write_text(yaml.safe_dump(version))
    given = {"name": "production", "run_as_user": 1000, **(environment or {})}
    (place / "environment.yaml").write_text(yaml.safe_dump(given))
    (place / "cluster").mkdir(exist_ok=True)
    (place / "cluster" / "versions.yaml").write_text(f"taxi: {name if current else 'taxi-0'}\n")
    rules = {finding.rule for finding in lint([place])}
    return rules & {"image-not-locked", "version-not-hashed", "version-edited"}


@pytest.mark.parametrize(
    ("image", "environment", "current", "is_locked"),
    [
        (f"ghcr.io/acme/train@{NEW}", {}, True, True),
        (f"ghcr.io/acme/train@{OLD}", {}, False, True),  # of an earlier lock
        (f"ghcr.io/acme/train@{OLD}", {}, True, False),
        (f"ghcr.io/acme/train-2@{NEW}", {}, True, False),
        (f"evil.example/train@{NEW}", {}, False, False),
        ("{{$.inputs.parameters['image']}}", {}, True, False),
        (
            f"mirror.example:5000/all/train@{NEW}",
            {"registry": "mirror.example:5000/all"},
            True,
            True,
        ),
        (f"ghcr.io/acme/train@{NEW}", {"registry": "mirror.example:5000/all"}, True, False),
        (f"ghcr.io/acme/tools/x@{OLD}", {"registries": ["ghcr.io/acme/tools/"]}, True, True),
        (f"ghcr.io/acme/tools2@{OLD}", {"registries": ["ghcr.io/acme/tools"]}, True, False),
        (f"evil.example/train@{OLD}", {"registries": [""]}, True, False),
    ],
)
def test_a_version_has_images_of_the_lock_or_of_declared_registries_alone(
    image: str, environment: Any, current: bool, is_locked: bool, locked: Path
) -> None:
    assert found(locked, image, environment, current) == (
        set() if is_locked else {"image-not-locked"}
    )
