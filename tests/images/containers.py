"""For the tests of the images: docker commands, and a model to serve."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

import numpy as np
import pytest
import yaml

from edgeline import images
from edgeline.artifacts import sha256, vectors
from edgeline.artifacts.bundle import Bundle, write_manifest
from edgeline.server.models.loading import load

ROOT = Path(__file__).parents[2]
MIXED = ROOT / "tests" / "data" / "mixed.tflite"
ROW = {"amount": [1, 2], "count": [1], "name": ["a"]}
CACHE = Path(os.environ.get("EDGELINE_TEST_CACHE", Path.home() / ".cache/edgeline-tests"))
PLUGINS = CACHE / "docker"  # where tests/build_compose.sh puts the plugin
WAIT = 60  # seconds for what takes one or two


def docker(*arguments: str, check: bool = True, variables: dict[str, str] | None = None) -> str:
    """What a docker command prints, given further variables of the environment."""
    environment = {"DOCKER_CONFIG": str(PLUGINS), **os.environ, **(variables or {})}
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True, env=environment)
    assert done.returncode == 0 or not check, done.stdout + done.stderr
    return done.stdout.strip() if check else done.stdout + done.stderr


def until(look: Any, wanted: Any, wait: float = WAIT) -> None:
    """Wait until `look()` gives what is wanted."""
    end = time.monotonic() + wait
    found = None
    while time.monotonic() < end:
        try:
            found = look()
        except (OSError, URLError, AssertionError) as error:
            found = error
        if found == wanted:
            return
        time.sleep(0.1)
    raise AssertionError(f"{found!r} instead of {wanted!r} after {wait} s")


def commit() -> str:
    """The checkout's, by its sha."""
    command = ["git", "-C", str(ROOT), "rev-parse", "HEAD"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def built(name: str) -> str:
    """The tag of an image; the test is skipped where it has not been built from this commit."""
    tag = images.entries(ROOT / "images" / "images.lock.yaml")[name].tagged
    if not docker("image", "ls", "--quiet", tag):
        pytest.skip(f"NOT TESTED: image {name} is not built; see tests/images/build.sh")
    label = '{{index .Config.Labels "org.opencontainers.image.revision"}}'
    if docker("image", "inspect", "--format", label, tag) != commit():
        pytest.skip(f"NOT TESTED: image {name} is of another commit; see tests/images/build.sh")
    return tag


@contextmanager
def registry(files: Path, folder: Path) -> Iterator[str]:
    """The address of a registry that keeps its files there; settings and log are in `folder`."""
    command = shutil.which("docker-registry") or shutil.which("registry")
    if command is None:
        pytest.skip("NOT TESTED: there is no registry (Debian: docker-registry)")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    settings = folder / "registry.yaml"
    storage = {"filesystem": {"rootdirectory": str(files)}}
    settings.write_text(
        yaml.safe_dump({"version": 0.1, "storage": storage, "http": {"addr": address}})
    )
    with open(folder / "registry.log", "w") as log:
        process = subprocess.Popen([command, "serve", str(settings)], stdout=log, stderr=log)
    try:
        until(lambda: urlopen(f"http://{address}/v2/").status, 200)
        yield address
    finally:
        process.kill()
        process.wait()


def model(weight: float) -> bytes:
    """The mixed model with another weight: its score for ROW is 3 * weight + 1."""
    data, two = MIXED.read_bytes(), np.float32(2.0).tobytes()
    place = data.index(two)
    return data[:place] + np.float32(weight).tobytes() + data[place + 4 :]


def bundle(folder: Path, weight: float) -> Path:
    """A bundle `m` with recorded answers, readable by the containers' user."""
    folder.mkdir(parents=True)
    (folder / "model.tflite").write_bytes(model(weight))
    signature = load(MIXED, "m", 1, 1, 1)[0].description.signature
    rows: dict[str, np.ndarray] = {
        "amount": np.array([ROW["amount"]], np.float32),
        "count": np.array([ROW["count"]], np.int64),
        "name": np.array([[b"a"]], object),
    }
    answers = {"score": np.array([[3 * weight + 1]], np.float32)}
    vectors.write(folder / vectors.FILE, vectors.Vectors(rows, answers, 1e-5))
    files = {
        file.name: {"sha256": sha256(file), "size": file.stat().st_size}
        for file in folder.iterdir()
    }
    write_manifest(
        folder,
        Bundle(
            name="m",
            version=1,
            target="litert",
            model="model.tflite",
            task="regression",
            quantisation="none",
            takes="raw",
            signature=signature,
            features=(),
            files=files,
        ),
    )
    folder.chmod(0o755)
    for file in folder.iterdir():
        file.chmod(0o644)
    return folder


def ask(container: str, name: str, row: dict[str, Any]) -> Any:
    """What a server in a container predicts for a row, asked from inside: it has no network."""
    code = (
        "import sys; from urllib.request import Request, urlopen; "
        "print(urlopen(Request(sys.argv[1], sys.argv[2].encode())).read().decode())"
    )
    url = f"http://127.0.0.1:8080/v1/models/{name}:predict"
    body = json.dumps({"instances": [row]})
    [prediction] = json.loads(docker("exec", container, "python3", "-c", code, url, body))[
        "predictions"
    ]
    return prediction


def score(container: str) -> float:
    """The score that the mixed model in a container gives for ROW."""
    return float(ask(container, "m", ROW)["score"][0])
