"""The image lock, what images are built from, and that faces name images that can run them."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
from pathlib import Path

import pytest
import yaml

from edgeline import __version__, images
from edgeline.errors import EdgelineError
from edgeline.images import build

ROOT = Path(__file__).parents[1]
NAMES = ["pipeline", "train", "compile", "edge-server"]
PINNED = re.compile(r"^([a-z0-9-]+(?:\[.*?\])?==\S+)", re.MULTILINE)
DIGEST = "sha256:" + "0" * 64


def lists() -> list[Path]:
    return sorted(ROOT.glob("images/*/requirements*.txt"))


def packages(file: Path) -> set[str]:
    return set(PINNED.findall(file.read_text()))


def test_every_image_has_an_entry_a_containerfile_and_a_bake_target():
    bake = (ROOT / "images" / "docker-bake.hcl").read_text()
    entries = images.entries(ROOT / "images" / "images.lock.yaml")
    assert list(entries) == NAMES
    for name, entry in entries.items():
        assert (ROOT / "images" / name / "Containerfile").is_file()
        assert f'target "{name}"' in bake
        assert "/" + entry.repository.rpartition("/")[2] + ":" in bake


@pytest.mark.parametrize("name", NAMES)
def test_a_containerfile_pins_its_bases_and_is_not_root(name):
    text = (ROOT / "images" / name / "Containerfile").read_text()
    bases = re.findall(r"^ARG \w+_IMAGE=(.*)$", text, re.MULTILINE)
    assert len(bases) == 2
    assert all(re.search(r":[\w.-]+@sha256:[0-9a-f]{64}$", base) for base in bases)
    last_stage = text[text.rindex("\nFROM") :]
    assert "\nUSER 1000:1000\n" in last_stage
    assert "HEALTHCHECK" in last_stage
    assert "org.opencontainers.image.licenses" in last_stage


@pytest.mark.parametrize("file", lists(), ids=lambda file: f"{file.parent.name}-{file.stem}")
def test_images_hold_the_locked_versions(file):
    """`make lock` writes both; a package for CUDA is in no other environment."""
    assert len(packages(file)) > 10
    cuda = {line for line in packages(file) if line.startswith("nvidia-")}
    assert packages(file) - cuda <= packages(ROOT / "constraints.txt"), "run `make lock`"
    assert bool(cuda) == (file.name == "requirements-gpu.txt")


def test_what_an_image_must_not_hold_is_not_in_its_list():
    def names(file):
        return {line.partition("==")[0] for line in packages(ROOT / "images" / file)}

    assert not names("pipeline/requirements.txt") & {"tensorflow", "apache-beam", "keras"}
    server = names("edge-server/requirements.txt")
    assert not server & {"tensorflow", "kfp", "pyarrow", "rich", "apache-beam", "keras"}
    assert {"numpy", "ai-edge-litert", "tuf"} <= server
    assert {"tensorflow", "tensorflow-transform"} <= names("train/requirements-cpu.txt")


@pytest.mark.parametrize("file", lists(), ids=lambda file: f"{file.parent.name}-{file.stem}")
def test_images_install_by_hashes_alone(file):
    entries = re.split(r"^(?=[a-z0-9])", file.read_text(), flags=re.MULTILINE)[1:]
    assert entries
    assert [entry for entry in entries if "--hash=sha256:" not in entry] == []
    text = (file.parent / "Containerfile").read_text()
    installs = re.findall(r"uv pip install .*requirements\.txt", text)
    assert installs
    assert all("--require-hashes" in line for line in installs)


@pytest.mark.parametrize("given", ["", "0" * 64, "right"])
@pytest.mark.parametrize("name", ["compile", "edge-server"])
def test_what_is_fetched_besides_is_known_by_its_checksum(name, given, tmp_path):
    """The line of the Containerfile by itself: the vendor's host is not asked here."""
    text = (ROOT / "images" / name / "Containerfile").read_text()
    (place,) = re.findall(r"^ADD https?://\S+ (\S+)$", text, flags=re.MULTILINE)
    (check,) = re.findall(r"^RUN (echo [^&]*sha256sum[^&]*?) \\?\s*&&", text, flags=re.MULTILINE)
    key = tmp_path / "key"
    key.write_bytes(b"a key")
    known = hashlib.sha256(b"a key").hexdigest() if given == "right" else given
    done = subprocess.run(
        ["sh", "-ec", check.replace(place, str(key))],
        env={"PATH": os.environ["PATH"], "CORAL_KEY_SHA256": known},
        capture_output=True,
        text=True,
    )
    assert (done.returncode == 0) is (given == "right"), done.stderr
    if not given:
        assert "give the sha256 of the apt key" in done.stderr


def test_a_lock_of_ones_own_names_the_images(tmp_path, monkeypatch):
    own = tmp_path / "lock.yaml"
    entry = {"repository": "registry.example.com/pipeline-python", "version": "1", "digest": DIGEST}
    own.write_text(yaml.safe_dump({"pipeline": entry}))
    monkeypatch.setenv("EDGELINE_IMAGES", str(own))
    assert images.reference("pipeline") == f"registry.example.com/pipeline-python@{DIGEST}"
    with pytest.raises(EdgelineError, match="has no image 'train': it has pipeline"):
        images.reference("train")


@pytest.mark.parametrize("text", ["[]", "pipeline: {repo: a}", "a: [", "pipeline: text"])
def test_a_bad_lock_is_a_sentence(tmp_path, monkeypatch, text):
    own = tmp_path / "lock.yaml"
    own.write_text(text)
    monkeypatch.setenv("EDGELINE_IMAGES", str(own))
    with pytest.raises(EdgelineError, match="is not an image lock"):
        images.reference("pipeline")


def test_a_missing_lock_is_a_sentence(tmp_path, monkeypatch):
    monkeypatch.setenv("EDGELINE_IMAGES", str(tmp_path / "none.yaml"))
    with pytest.raises(EdgelineError, match=r"none.yaml cannot be read \(No such file"):
        images.reference("pipeline")


@pytest.fixture
def calls(tmp_path, monkeypatch) -> Path:
    """A `docker` that notes how it was called, one argument a line; without buildx."""
    noted = tmp_path / "calls"
    command = tmp_path / "bin" / "docker"
    command.parent.mkdir()
    command.write_text(
        f'#!/bin/sh\n[ "$1" = buildx ] && [ ! -e {tmp_path}/has-buildx ] && exit 1\n'
        f'printf "%s\\n" "$@" >> {noted}\n[ ! -e {tmp_path}/fails ]\n'
    )
    command.chmod(0o755)
    monkeypatch.setenv("PATH", f"{command.parent}:/usr/bin:/bin")
    return noted


def test_one_is_built_without_buildx_from_its_containerfile(calls, tmp_path):
    ca = tmp_path / "ca.pem"
    ca.touch()
    build.build(["pipeline"], images={"BASE_IMAGE": "mirror/python"}, secrets={"ca.pem": ca})
    arguments = calls.read_text().splitlines()
    assert arguments[:3] == ["build", "--file", "images/pipeline/Containerfile"]
    repository = images.entries(images.lock_file())["pipeline"].repository
    assert f"{repository}:{__version__}" in arguments
    assert "BASE_IMAGE=mirror/python" in arguments
    assert f"id=ca.pem,src={ca}" in arguments


def test_with_buildx_all_are_baked_and_pushed(calls, tmp_path):
    (tmp_path / "has-buildx").touch()
    build.build([], registry="registry.example.com/team/", push=True)
    arguments = calls.read_text().splitlines()
    assert arguments[-5:] == ["buildx", "bake", "--file", "images/docker-bake.hcl", "--push"]


@pytest.mark.usefixtures("calls")
def test_what_cannot_be_built_is_a_sentence(tmp_path, monkeypatch):
    with pytest.raises(EdgelineError, match="A variant of the bake file needs"):
        build.build(["train-gpu"])
    with pytest.raises(EdgelineError, match="every platform needs Docker's buildx plugin"):
        build.build([], push=True)
    with pytest.raises(EdgelineError, match=r"There is no file nowhere\.pem"):
        build.build([], secrets={"ca.pem": Path("nowhere.pem")})
    (tmp_path / "fails").touch()
    with pytest.raises(EdgelineError, match="`docker build --file` failed with exit code 1"):
        build.build(["train"])
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EdgelineError, match="There is no docker command"):
        build.build([])
