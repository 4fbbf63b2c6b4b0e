"""What is in the images, who runs them, and how large they are."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zlib
from pathlib import Path

import pytest
from containers import ROOT, built, docker

MEGABYTE = 1e6
EDGE_SERVER_LIMIT = 120 * MEGABYTE
NAMES = ["pipeline", "train", "compile", "edge-server"]
FORBIDDEN = {
    "pipeline": ["tensorflow", "apache_beam", "keras"],
    "edge-server": ["tensorflow", "apache_beam", "keras", "kfp", "pyarrow", "rich"],
}
SECRET = "no layer keeps this line"


def python(image: str, code: str) -> str:
    return docker("run", "--rm", "--network=none", "--entrypoint=python3", image, "-c", code)


@pytest.mark.parametrize("name", NAMES)
def test_it_runs_as_user_1000_and_says_what_it_is(name):
    [facts] = json.loads(docker("image", "inspect", built(name)))
    assert facts["Config"]["User"] == "1000:1000"
    assert python(built(name), "import os; print(os.getuid(), os.getgid())") == "1000 1000"
    labels = facts["Config"]["Labels"]
    assert labels["org.opencontainers.image.licenses"] == "Apache-2.0"
    assert re.fullmatch("[0-9a-f]{40}", labels["org.opencontainers.image.revision"])
    assert "HEALTHCHECK" in (ROOT / "images" / name / "Containerfile").read_text()
    assert facts["Config"]["Healthcheck"]["Test"][0] == ("CMD" if name == "edge-server" else "NONE")


@pytest.mark.parametrize("name", FORBIDDEN)
def test_it_lacks_what_it_must_not_hold(name):
    code = f"import importlib.util as u; print([n for n in {FORBIDDEN[name]} if u.find_spec(n)])"
    assert python(built(name), code) == "[]"


@pytest.mark.parametrize("name", ["pipeline", "train", "compile"])
def test_the_workers_of_its_components_can_be_imported(name):
    """Each import that a face or its worker makes is in the image that the face names."""
    image = built(name)
    modules = []
    for file in sorted(ROOT.glob("components/*/component.py")):
        face = file.read_text()
        if f'reference("{name}")' in face:
            modules += re.findall(r"^    from (edgeline\.\S+) import", face, re.MULTILINE)
            modules += [f"edgeline.components.{file.parent.name}.component"]
    assert modules, f"no component names {name}"
    code = f"import importlib\nfor n in {modules}: importlib.import_module(n)\nprint('done')"
    assert python(image, code).endswith("done")


@pytest.mark.parametrize("name", NAMES)
def test_no_secret_of_the_build_is_in_it(name):
    """Neither in a layer nor in the history; the file was there while packages were installed."""
    image = built(name)
    history = docker("history", "--no-trunc", "--format", "{{.CreatedBy}}", image)
    assert "index-url" not in history
    assert SECRET not in history
    left = ["/etc/uv", "/root/.cache", "/usr/local/bin/uv", "/sources"]
    code = f"import os; print([path for path in {left} if os.path.exists(path)])"
    assert python(image, code) == "[]"
    process = subprocess.Popen(["docker", "save", image], stdout=subprocess.PIPE)
    command = ["grep", "--binary-files=text", "--count", "--fixed-strings", SECRET]
    found = subprocess.run(command, stdin=process.stdout, capture_output=True, text=True)
    process.wait()
    assert found.stdout.strip() == "0"


@pytest.mark.parametrize(
    ("packages", "platform", "among"),
    [
        ("pipeline/requirements.txt", "aarch64-unknown-linux-gnu", "pyarrow"),
        ("train/requirements-gpu.txt", "x86_64-unknown-linux-gnu", "nvidia-cudnn-cu12"),
    ],
)
def test_what_is_not_built_here_has_packages_for_its_platform(packages, platform, among, tmp_path):
    """As uv would install it: each locked version is in the index, as a wheel for the platform."""
    uv = shutil.which("uv", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if uv is None:
        pytest.skip("NOT TESTED: there is no uv")
    arguments = ["--no-deps", "--python-platform", platform, "--python-version", "3.11"]
    arguments += ["--requirements", str(ROOT / "images" / packages)]
    done = subprocess.run(
        [uv, "pip", "install", "--dry-run", "--target", str(tmp_path), *arguments],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert f" + {among}==" in done.stderr


def is_layer(entry: tarfile.TarInfo) -> bool:
    return entry.name.endswith("layer.tar") or (
        Path(entry.name).parts[:1] == ("blobs",) and entry.size > 100_000
    )


def compressed(image: str) -> float:
    """Bytes to pull: each layer as gzip, which is how a push sends it."""
    process = subprocess.Popen(["docker", "save", image], stdout=subprocess.PIPE)
    total = 0
    with tarfile.open(fileobj=process.stdout, mode="r|") as saved:
        for entry in saved:
            if not entry.isfile() or not is_layer(entry):
                continue
            layer, packer = saved.extractfile(entry), zlib.compressobj(6, wbits=31)
            assert layer is not None  # a regular file has bytes
            while piece := layer.read(1 << 20):
                total += len(packer.compress(piece))
            total += len(packer.flush())
    process.wait()
    return total


def test_the_edge_server_is_small(capsys):
    size = compressed(built("edge-server"))
    with capsys.disabled():
        print(f"\nedge-server: {size / MEGABYTE:.1f} MB compressed")
    assert 20 * MEGABYTE < size < EDGE_SERVER_LIMIT
