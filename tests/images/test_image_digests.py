"""Pushed, locked, compiled in, listed and mirrored: against a real registry."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import containers
import pytest
import yaml
from containers import built, docker

from edgeline import images

NAMES = ("pipeline", "edge-server")
PIPELINE = """
from kfp import dsl
from edgeline.components.ingest.component import ingest
from edgeline.components.validate.component import validate

@dsl.pipeline(name="look")
def pipeline(data: str = "trips.csv"):
    validate(examples=ingest(data=data).outputs["examples"])
"""


@pytest.fixture
def registry(tmp_path) -> Iterator[str]:
    """The address of an empty registry."""
    with containers.registry(tmp_path / "registry", tmp_path) as address:
        yield address


def edgeline(folder: Path, *arguments: str, **variables: str) -> str:
    """What an edgeline command prints."""
    done = subprocess.run(
        [sys.executable, "-m", "edgeline", *arguments],
        cwd=folder,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_from_a_push_to_a_run_from_the_mirror_by_digest(registry, tmp_path):
    entries = images.entries(images.lock_file())
    start = {}
    for name in NAMES:
        copy = f"{registry}/team/{entries[name].repository.rpartition('/')[2]}"
        docker("tag", built(name), f"{copy}:{entries[name].version}")
        docker("push", "--quiet", f"{copy}:{entries[name].version}")
        docker("rmi", f"{copy}:{entries[name].version}")
        start[name] = {"repository": copy, "version": entries[name].version}
    unlocked = tmp_path / "unlocked.yaml"
    unlocked.write_text(yaml.safe_dump(start))

    # locked: every executor of a compiled pipeline is a digest
    edgeline(tmp_path, "images", "lock", "--output", "lock.yaml", EDGELINE_IMAGES=str(unlocked))
    lock = str(tmp_path / "lock.yaml")
    (tmp_path / "look.py").write_text(PIPELINE)
    edgeline(tmp_path, "compile", "look.py", "--output", "look.yaml", EDGELINE_IMAGES=lock)
    listed = edgeline(tmp_path, "images", "closure", "look.yaml").splitlines()
    [image] = {line.split("\t")[0] for line in listed}
    locked = yaml.safe_load(Path(lock).read_text())["pipeline"]
    assert image == f"{locked['repository']}@{locked['digest']}"
    assert "@sha256:" in image

    # mirrored: the same digest elsewhere, from where the engine takes it and runs the pipeline
    [line] = edgeline(
        tmp_path, "images", "closure", "look.yaml", "--mirror", f"{registry}/site"
    ).splitlines()
    copied = line.split("\t")[1]
    assert copied == image.replace("/team/", "/site/")
    compiled = (tmp_path / "look.yaml").read_text()
    (tmp_path / "site.yaml").write_text(compiled.replace(image, copied))
    (tmp_path / "trips.csv").write_text("fare,tips\n" + "5.5,1\n7.25,0\n" * 50)
    try:
        output = edgeline(tmp_path, "run", "site.yaml", "--docker")
    finally:
        docker("rmi", copied, check=False)
    assert "validate" in output
    assert list(tmp_path.glob("edgeline-runs/*/*/validate/validation_report*"))
