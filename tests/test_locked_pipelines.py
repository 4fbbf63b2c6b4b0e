"""With a lock of digests every pipeline, for every environment, names just those images."""

from __future__ import annotations

import os
import subprocess
import sys
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import yaml
from google.protobuf import json_format
from kfp.components import load_component_from_text
from kfp.kubernetes import kubernetes_executor_config_pb2
from kfp.pipeline_spec import pipeline_spec_pb2

from edgeline import images
from edgeline.client.compiling import unpinned
from edgeline.environments.environment import NAMES, load
from edgeline.lint.lint import lint
from edgeline.pipelines import catalogue

pytestmark = pytest.mark.slow

PLACES = ("", *NAMES)
# faces read the lock when they are imported: a process of its own, for all of them
COMPILE = """
import sys
from edgeline.client.compiling import compile_pipeline
for name in sys.argv[1].split(","):
    for place in sys.argv[2].split(","):
        settings = () if name == "monitor" else ("destination=s3://models/fleet",)
        compile_pipeline(name, f"{name}-{place}.yaml", settings=settings, environment=place)
"""


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """A folder of compiled pipelines, and the references that their lock gives."""
    folder = tmp_path_factory.mktemp("locked")
    entries = {
        name: {
            "repository": entry.repository,
            "version": entry.version,
            "digest": f"sha256:{number:064x}",
        }
        for number, (name, entry) in enumerate(images.entries(images.lock_file()).items(), 10)
    }
    lock = folder / "images.lock"
    lock.write_text(yaml.safe_dump(entries))
    command = [sys.executable, "-c", COMPILE, ",".join(catalogue.names()), ",".join(PLACES)]
    environment = {**os.environ, images.LOCK: str(lock)}
    subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True)
    return folder, {
        name: f"{entry['repository']}@{entry['digest']}" for name, entry in entries.items()
    }


@pytest.mark.parametrize(("name", "place"), [*product(catalogue.names(), PLACES)])
def test_it_parses_strictly_and_its_images_are_digests_of_the_lock(
    name: str, place: str, locked: tuple[Path, dict[str, str]]
) -> None:
    folder, references = locked
    path = folder / f"{name}-{place}.yaml"
    pipeline, *platform = yaml.load_all(path.read_text(), yaml.CSafeLoader)
    json_format.ParseDict(pipeline, pipeline_spec_pb2.PipelineSpec())
    if not place:  # kfp's own reader, which is slow
        load_component_from_text(path.read_text())
    for document in platform:
        json_format.ParseDict(document, pipeline_spec_pb2.PlatformSpec())
        for config in executors(document["platforms"]["kubernetes"]).values():
            message = kubernetes_executor_config_pb2.KubernetesExecutorConfig()
            json_format.ParseDict(config, message)
    mirror = load(place).registry if place else ""
    known = {f"{mirror}/{x.rpartition('/')[2]}" if mirror else x for x in references.values()}
    used = {entry["container"]["image"] for entry in executors(pipeline).values()}
    assert used <= known


def executors(pipeline: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = pipeline["deploymentSpec"]["executors"]
    return found


@pytest.mark.parametrize("place", NAMES)
def test_the_linter_has_nothing_against_it(place: str, locked: tuple[Path, dict[str, str]]) -> None:
    files = [locked[0] / f"{name}-{place}.yaml" for name in catalogue.names()]
    # which of them are too large, tests/lint/test_workflow.py tells
    assert [str(entry) for entry in lint(files) if entry.rule != "workflow-too-large"] == []
    assert unpinned(files[0]) == []


def test_without_digests_compiling_warns_and_the_linter_refuses(tmp_path: Path) -> None:
    lock = tmp_path / "images.lock"
    entries = images.entries(Path(images.__file__).with_name("images.lock.yaml"))
    lock.write_text(
        yaml.safe_dump(
            {x: {"repository": e.repository, "version": "1"} for x, e in entries.items()}
        )
    )
    command = [sys.executable, "-m", "edgeline", "compile", "digits", "-o", "digits.yaml"]
    environment = {**os.environ, images.LOCK: str(lock)}
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout == "digits.yaml\n"
    (warning,) = (line for line in done.stderr.splitlines() if line.startswith("Warning: ghcr.io/"))
    assert "pipeline-python:1" in warning
    assert warning.endswith("run `edgeline images lock`, and compile again.")
    assert "image-not-pinned" in {entry.rule for entry in lint([tmp_path / "digits.yaml"])}
