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


def version(image: str, field: str = "deploymentSpec") -> dict[str, Any]:
    ir = {
        "pipelineInfo": {"name": "taxi"},
        "root": {"dag": {"tasks": {}}},
        field: {"executors": {"exec-train": {"container": {"image": image}}}},
    }
    kept = {"argocd.argoproj.io/sync-options": "Prune=false,Delete=false"}
    return {
        "apiVersion": "pipelines.kubeflow.org/v2beta1",
        "kind": "PipelineVersion",
        "metadata": {"name": f"taxi-{digest([ir])}", "annotations": kept},
        "spec": {"pipelineName": "taxi", "pipelineSpec": ir},
    }


def found(place: Path, image: str, environment: Any = None, current: bool = False) -> set[str]:
    """The rules that a version with an image breaks."""
    written = version(image)
    name = written["metadata"]["name"]
    (place / "pipelines" / "versions").mkdir(parents=True, exist_ok=True)
    (place / "pipelines" / "versions" / "taxi.yaml").write_text(yaml.safe_dump(written))
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


def test_what_kustomize_has_built_of_a_version_is_judged_by_its_environment(locked: Path) -> None:
    tools = f"ghcr.io/acme/tools/x@{OLD}"
    assert found(locked, tools, {"registries": ["ghcr.io/acme/tools"]}) == set()
    built = locked.parent / "built"
    built.mkdir()
    (built / "production.yaml").write_text(yaml.safe_dump(version(tools)))
    rules = {finding.rule for finding in lint([locked, built])}
    assert not rules & {"image-not-locked", "version-elsewhere"}


@pytest.mark.parametrize(
    "way", ["beside", "ignored", "patch", "list", "message", "node_modules", "built"]
)
def test_a_version_is_found_wherever_and_however_it_is_written(way: str, locked: Path) -> None:
    """Each of them is applied by kubectl, kustomize or Argo CD, and KFP reads it."""
    evil, ours = f"evil.example/train@{NEW}", f"ghcr.io/acme/train@{NEW}"
    assert found(locked, ours) == set()
    cluster, wrong = locked / "cluster", {"image-not-locked", "version-elsewhere"}
    written: Any = version(evil)
    if way == "beside":  # of an image of ours, with a command of somebody else's
        written, wrong = version(f"ghcr.io/acme/train@{OLD}"), {"version-elsewhere"}
    if way == "ignored":
        wrong |= {"version-edited"}
        annotations = written["metadata"]["annotations"]
        annotations["edgeline.dev/lint-ignore"] = ", ".join(wrong)
        written["metadata"]["name"] = "taxi-0123456789abcdef"
    if way == "patch":
        (locked / "kustomization.yaml").write_text("patches: [{path: cluster/evil.yaml}]\n")
    if way == "list":
        written = {"kind": "PipelineVersionList", "apiVersion": "v1", "items": [written]}
    if way == "message":
        written = version(evil, "deployment_spec")
    if way == "node_modules":
        cluster /= "node_modules"
    if way == "built":  # a kustomization that nobody builds calls it a patch
        (locked / "kustomization.yaml").write_text("patches: [{path: ../built/evil.yaml}]\n")
        cluster = locked.parent / "built"
    cluster.mkdir(exist_ok=True)
    (cluster / "evil.yaml").write_text(yaml.safe_dump(written))
    findings = lint([locked, *([cluster] if way == "built" else [])])
    rules = {each.rule for each in findings if Path(each.file).name == "evil.yaml"}
    assert rules & {"image-not-locked", "version-elsewhere", "version-edited"} == wrong


@pytest.mark.parametrize(
    ("server", "is_locked"),
    [(f"evil.example/server@{NEW}", False), (f"ghcr.io/acme/tools/server@{OLD}", True)],
)
def test_a_site_s_server_is_one_of_them_too(server: str, is_locked: bool, locked: Path) -> None:
    """As a parameter it would be deployed by a task that has every right to."""
    declared = {"registries": ["ghcr.io/acme/tools"]}
    assert found(locked, f"ghcr.io/acme/train@{NEW}", declared) == set()
    sites = [{"site": "cluster://edge", "server": server}]
    schedule = {"name": "nightly", "pipeline": "taxi", "parameters": {"sites": sites}}
    (locked / "cluster" / "schedules.yaml").write_text(yaml.safe_dump({"schedules": [schedule]}))
    rules = {each.rule for each in lint([locked]) if each.file.endswith("schedules.yaml")}
    assert ("image-not-locked" in rules) is not is_locked
