"""What a push leaves in the registry for every platform, and how the arm64 image serves.

tests/images/publish.sh has pushed it with SBOM and provenance. Where no Arm is at hand, QEMU is
the Arm: a Cortex-A53 as in a Raspberry Pi 3 or a Coral board, and one with all extensions.
"""

from __future__ import annotations

import base64
import io
import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import numpy as np
import pytest
from containers import CACHE, ROOT, ROW, bundle, commit, docker, registry, until
from test_image_contents import EDGE_SERVER_LIMIT

from edgeline import images
from edgeline.errors import EdgelineError
from edgeline.stores import registry as client

PLATFORMS = ("linux/amd64", "linux/arm64")
SPDX, PROVENANCE = "https://spdx.dev/Document", "https://slsa.dev/provenance/v0.2"
CPUS = ("cortex-a53", "max")
MODELS = ("cnn_float.tflite", "cnn_int8.tflite", "coral/mobilenet_v1_0.25_128_quant.tflite")
START = 180  # seconds for a start in QEMU, which takes twenty on an idle machine
TYPES = {"FP32": np.float32, "INT8": np.int8, "UINT8": np.uint8}


@dataclass(frozen=True)
class Published:
    """An index: the digest of each platform's manifest, and of that with its attestations."""

    reference: str
    manifests: dict[str, str]
    attestations: dict[str, str]

    def of(self, platform: str) -> str:
        return f"{self.reference.rpartition(':')[0]}@{self.manifests[platform]}"


def read(reference: str) -> Any:
    return json.loads(client.manifest(reference).content)


def blob(reference: str, digest: str) -> Any:
    file = io.BytesIO()
    client.download(reference, digest, file, 1 << 30)
    return json.loads(file.getvalue())


def index(reference: str) -> Published:
    entries = read(reference)["manifests"]
    manifests = {
        f"{entry['platform']['os']}/{entry['platform']['architecture']}": entry["digest"]
        for entry in entries
        if entry["platform"]["os"] != "unknown"
    }
    by_digest = {digest: platform for platform, digest in manifests.items()}
    attestations = {
        by_digest[entry["annotations"]["vnd.docker.reference.digest"]]: entry["digest"]
        for entry in entries
        if entry.get("annotations", {}).get("vnd.docker.reference.type") == "attestation-manifest"
    }
    return Published(reference, manifests, attestations)


def statement(published: Published, platform: str, kind: str) -> Any:
    """What is said of a platform's image, an in-toto statement's predicate."""
    repository = published.reference.rpartition(":")[0]
    layers = read(f"{repository}@{published.attestations[platform]}")["layers"]
    [digest] = [
        layer["digest"]
        for layer in layers
        if layer["annotations"]["in-toto.io/predicate-type"] == kind
    ]
    said = blob(repository, digest)
    assert said["predicateType"] == kind
    [subject] = said["subject"]
    assert f"sha256:{subject['digest']['sha256']}" == published.manifests[platform]
    return said["predicate"]


@pytest.fixture(scope="module")
def published(tmp_path_factory) -> Iterator[Published]:
    """What publish.sh pushed from this commit, in the registry that it pushed to."""
    entry = images.entries(ROOT / "images" / "images.lock.yaml")["edge-server"]
    with registry(CACHE / "images" / "registry", tmp_path_factory.mktemp("registry")) as address:
        reference = f"{address}/edgeline/{entry.repository.rpartition('/')[2]}:{entry.version}"
        try:
            found = index(reference)
        except EdgelineError:
            pytest.skip("NOT TESTED: no image was pushed; see tests/images/publish.sh")
        labels = config(found, PLATFORMS[0])["config"]["Labels"]
        if labels["org.opencontainers.image.revision"] != commit():
            pytest.skip("NOT TESTED: what was pushed is of another commit; see publish.sh")
        yield found


def config(published: Published, platform: str) -> Any:
    reference = published.of(platform)
    return blob(reference, read(reference)["config"]["digest"])


def test_one_name_has_every_platform(published, capsys):
    assert set(published.manifests) == set(published.attestations) == set(PLATFORMS)
    for platform in PLATFORMS:
        facts = config(published, platform)
        assert f"{facts['os']}/{facts['architecture']}" == platform
        assert facts["config"]["User"] == "1000:1000"
        size = sum(layer["size"] for layer in read(published.of(platform))["layers"])
        with capsys.disabled():
            print(f"\nedge-server {platform}: {size / 1e6:.1f} MB as pulled")
        assert size < EDGE_SERVER_LIMIT


@pytest.mark.parametrize("platform", PLATFORMS)
def test_its_sbom_lists_what_is_in_it(published, platform):
    document = statement(published, platform, SPDX)
    assert document["spdxVersion"].startswith("SPDX-2")
    versions = {package["name"]: package.get("versionInfo") for package in document["packages"]}
    locked = dict(
        line.split(" ")[0].split("==")
        for line in (ROOT / "images/edge-server/requirements.txt").read_text().splitlines()
        if "==" in line and "sys_platform == 'win32'" not in line and "<" not in line
    )
    assert {"numpy", "ai-edge-litert"} <= set(locked)
    listed = {name.lower().replace("_", "-"): version for name, version in versions.items()}
    assert {name: listed.get(name) for name in locked} == locked
    assert "edgeline" in versions
    assert "libc6" in versions  # the base's packages too
    assert "tensorflow" not in versions


@pytest.mark.parametrize("platform", PLATFORMS)
def test_its_provenance_names_the_commit_and_what_it_was_built_of(published, platform):
    said = statement(published, platform, PROVENANCE)
    arguments = said["invocation"]["parameters"]["args"]
    assert arguments["build-arg:REVISION"] == commit()
    assert said["invocation"]["configSource"]["entryPoint"] == "Containerfile"
    build = said["metadata"]["https://mobyproject.org/buildkit@v1#metadata"]
    assert build["vcs"]["revision"] == commit()
    assert build["vcs"]["localdir:dockerfile"] == "images/edge-server"
    text = base64.b64decode(build["source"]["infos"][0]["data"]).decode()
    assert text == (ROOT / "images/edge-server/Containerfile").read_text()
    assert all("sha256" in material["digest"] for material in said["materials"])
    assert any("uv" in material["uri"] for material in said["materials"])
    # secrets by their names only
    assert {secret["id"] for secret in said["invocation"]["parameters"]["secrets"]} == {
        "ca.pem",
        "uv.toml",
    }
    assert "no layer keeps this line" not in json.dumps(said)


def test_a_mirror_keeps_both_platforms_and_what_is_said_of_them(published, tmp_path):
    with registry(tmp_path / "site", tmp_path) as address:
        copied = client.copy(published.reference, f"{address}/site/edge-server:0.1.0")
        assert copied.rpartition("@")[2] == client.digest(published.reference)
        mirrored = index(f"{address}/site/edge-server:0.1.0")
        for platform in PLATFORMS:
            for kind in (SPDX, PROVENANCE):
                assert statement(mirrored, platform, kind) == statement(published, platform, kind)


@pytest.fixture(scope="module")
def pulled(published) -> Iterator[dict[str, str]]:
    """The image of each platform in the engine, which can start it."""
    names = {platform: published.of(platform) for platform in PLATFORMS}
    for name in names.values():
        docker("pull", "--quiet", name)
    command = ["docker", "run", "--rm", "--entrypoint=cat", names["linux/arm64"], "/proc/cpuinfo"]
    shown = subprocess.run(command, capture_output=True, text=True)
    if "CPU implementer" not in shown.stdout:
        pytest.skip(
            "NOT TESTED: arm64 cannot be run here, or only in a QEMU before 8.1, which shows "
            "LiteRT another architecture's /proc/cpuinfo; see tests/images/emulate_arm64.sh"
        )
    yield names
    for name in names.values():
        docker("rmi", name)


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Path:
    """A bundle with recorded answers, and float, int8 and uint8 models."""
    folder = tmp_path_factory.mktemp("arm") / "store"
    bundle(folder / "m" / "1", 2.0)
    for model in MODELS:
        file = ROOT / "tests" / "data" / model
        place = folder / file.stem / "1"
        place.mkdir(parents=True)
        (place / "model.tflite").write_bytes(file.read_bytes())
    for path in (folder.parent, *folder.rglob("*"), folder):
        path.chmod(0o755 if path.is_dir() else 0o644)
    return folder


@pytest.fixture(scope="module")
def servers(pulled, store) -> Iterator[dict[str, str]]:
    """Ready containers by processor; what each said is shown at the end."""
    started = {}
    for cpu in ("amd64", *CPUS):
        image = pulled["linux/amd64" if cpu == "amd64" else "linux/arm64"]
        options = ["--read-only", "--tmpfs=/tmp", "--cap-drop=ALL", "--no-healthcheck"]
        options += ["--security-opt=no-new-privileges", "--publish=127.0.0.1::8080"]
        options += [f"--env=QEMU_CPU={cpu}"] if cpu in CPUS else []
        options += [f"--volume={store}:/models:ro", image, "/models", "--tokens", "none"]
        started[cpu] = docker("run", "--detach", *options)
    try:
        for container in started.values():
            until(lambda c=container: call(c, "/v2/health/ready"), {"ready": True}, START)
        yield started
    finally:
        stop(started)


def stop(started: dict[str, str]) -> None:
    for container in started.values():
        print(docker("logs", container, check=False)[-2000:])
        docker("rm", "--force", "--volumes", container)


def call(container: str, path: str, body: Any = None) -> Any:
    address = docker("port", container, "8080").splitlines()[0]
    data = None if body is None else json.dumps(body).encode()
    with urlopen(Request(f"http://{address}{path}", data), timeout=60) as answer:
        return json.loads(answer.read() or b"{}")


def answers(container: str, name: str) -> dict[str, np.ndarray]:
    """A model's answers to three rows of noise, the same for every server."""
    [tensor] = call(container, f"/v2/models/{name}")["inputs"]
    kind = TYPES[tensor["datatype"]]
    shape = [3, *tensor["shape"][1:]] if tensor["shape"][0] == -1 else tensor["shape"]
    random = np.random.default_rng(5)
    if kind is np.float32:
        rows = random.random(shape, np.float32)
    else:
        limits: np.iinfo[Any] = np.iinfo(kind)
        rows = random.integers(limits.min, limits.max, shape, kind, endpoint=True)
    request = {
        "name": tensor["name"],
        "datatype": tensor["datatype"],
        "shape": shape,
        "data": rows.ravel().tolist(),
    }
    found = call(container, f"/v2/models/{name}/infer", {"inputs": [request]})["outputs"]
    return {output["name"]: np.array(output["data"], TYPES[output["datatype"]]) for output in found}


@pytest.mark.parametrize("cpu", CPUS)
def test_it_serves_on_arm_as_user_1000(cpu, servers):
    [prediction] = call(servers[cpu], "/v1/models/m:predict", {"instances": [ROW]})["predictions"]
    assert prediction["score"] == [7.0]
    assert docker("exec", servers[cpu], "uname", "-m") == "aarch64"
    assert docker("top", servers[cpu], "-o", "uid,pid").split()[2::2] == ["1000"]


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("cpu", CPUS)
def test_its_answers_on_arm_are_those_on_amd64(cpu, model, servers):
    name = Path(model).stem
    wanted, found = answers(servers["amd64"], name), answers(servers[cpu], name)
    assert set(found) == set(wanted)
    for output, values in wanted.items():
        if values.dtype == np.float32:
            np.testing.assert_allclose(found[output], values, rtol=0, atol=1e-5)
        else:  # one step of the quantisation, for kernels that round otherwise
            apart = np.abs(found[output].astype(int) - values.astype(int))
            assert apart.max() <= 1
            assert np.ptp(values) > 1
