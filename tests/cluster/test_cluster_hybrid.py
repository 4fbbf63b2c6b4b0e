"""docs/hybrid.md, command by command: two sites' API servers, a real S3 server and a registry.

There is no kubelet: what would run in the sites' pods is a server started as its manifest says, and
where `site apply` waits for pods, the test says that they are ready.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from api_server import ApiServer, started

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs" / "hybrid.md").read_text()
FENCED = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
BLOCKS = [(kind, text.replace("\\\n", " ")) for kind, text in FENCED.findall(GUIDE)]
COMMANDS = [
    line for kind, text in BLOCKS if kind == "sh" for line in text.splitlines() if line.strip()
]
sys.path.append(str(ROOT / "tests" / "components" / "publish"))  # s3_server.py


class Reader:
    """Who follows the guide: a folder, and the variables of both clusters and of the store."""

    def __init__(self, folder: Path, environment: dict[str, str], hosts: dict[str, str]) -> None:
        self.folder, self.hosts = folder, hosts
        self.environment = {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "EDGELINE_KEY_PASSPHRASE": "correct-horse",
            **environment,
        }
        self.done: list[str] = []

    def told(self, text: str) -> str:
        for name, address in self.hosts.items():
            text = text.replace(name, address)
        return text

    def follow(self, beginning: str) -> str:
        """Run the guide's next command, which begins so."""
        command = COMMANDS[len(self.done)]
        assert command.startswith(beginning), command
        self.done.append(command)
        done = subprocess.run(
            ["bash", "-euc", self.told(command)],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
        return done.stdout

    @contextlib.contextmanager
    def serving(self, beginning: str) -> Iterator[str]:
        """Run the guide's next command, a server, while the block runs; gives its address."""
        command = COMMANDS[len(self.done)]
        assert command.startswith(beginning), command
        self.done.append(command)
        with self.server(command) as address:
            yield address

    @contextlib.contextmanager
    def server(self, command: str) -> Iterator[str]:
        port = free_port()
        more = f" --port {port} --payload-rate 1 --payload-every 1"
        faster = self.told(command).replace("--poll 60", "--poll 1") + more
        log = self.folder / f"server-{port}.log"
        with open(log, "wb") as stream:
            process = subprocess.Popen(
                ["bash", "-c", f"exec {faster}"],
                cwd=self.folder,
                env=self.environment,
                stdout=stream,
                stderr=stream,
            )
        try:
            address = f"http://127.0.0.1:{port}"
            until(lambda: asked(f"{address}/v2/health/ready"), process, log)
            yield address
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(30)


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    from s3_server import running

    for server in running(tmp_path_factory):
        for bucket in ("acme-models", "acme-data"):
            server.client.make_bucket(bucket)
        yield server


@pytest.fixture
def site_c(tmp_path: Path) -> Iterator[ApiServer]:
    """The second control plane; `api_server` is the first."""
    (tmp_path / "site-c-api").mkdir()
    with started(tmp_path / "site-c-api") as server:
        namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "edgeline"}}
        account = {
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": {"name": "default", "namespace": "edgeline"},
        }
        server.kubectl("create", "-f", "-", given=[namespace])
        server.kubectl("create", "-f", "-", given=[account])
        yield server


@pytest.fixture
def reader(
    s3: Any, registry: Any, api_server: ApiServer, site_c: ApiServer, tmp_path: Path, pixels: Path
) -> Iterator[Reader]:
    folder = tmp_path / "cloud-a"
    folder.mkdir()
    (folder / "manifests").symlink_to(ROOT / "manifests")
    shutil.copytree(pixels, folder / "taxi-bundle")
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(yaml.safe_dump(merged({"site-b": api_server, "site-c": site_c})))
    environment = {**s3.environment, "KUBECONFIG": str(kubeconfig)}
    yield Reader(
        folder, environment, {"registry.acme.dev": registry.address, " taxi 2 ": " mixed 2 "}
    )
    for server in (api_server, site_c):
        server.try_kubectl("delete", "all,configmap,networkpolicy", "--all", "-n", "edgeline")


def test_the_guide_works_command_by_command(
    reader: Reader, api_server: ApiServer, site_c: ApiServer
) -> None:
    (site,) = [text for kind, text in BLOCKS if kind == "yaml"]
    (coming_back,) = [text for kind, text in BLOCKS if kind == "python"]

    reader.follow("edgeline repository init")
    reader.follow("edgeline repository add")
    assert "mixed" in reader.follow("edgeline repository status")

    for name in ("site-b", "site-c"):
        (reader.folder / name).mkdir()
        shutil.copy(reader.folder / "root.json", reader.folder / name)
        text = site.replace("site-b", name)
        (reader.folder / name / "kustomization.yaml").write_text(text)
        reader.follow(f"kubectl --context {name} apply")
    for server, name in ((api_server, "site-b"), (site_c, "site-c")):
        (container,) = deployment(server, "edge-server")["spec"]["template"]["spec"]["containers"]
        assert container["args"][-2:] == ["--payloads", f"s3://acme-data/{name}"]
        trust = json.loads(server.kubectl("get", "configmap", "-n", "edgeline", "-o", "json"))
        named = {entry["metadata"]["name"]: entry["data"] for entry in trust["items"]}
        (root,) = [data for key, data in named.items() if key.startswith("edge-server-trust")]
        assert root["root.json"] == (reader.folder / "root.json").read_text()

    with reader.serving("edgeline serve") as site_b:
        there = (
            COMMANDS[len(reader.done) - 1]
            .replace("site-b", "site-c")
            .replace("--state state", "--state state-c")
        )
        with reader.server(there) as other:
            for address in (site_b, other):
                assert versions(address) == {1}
                predict(address)
            add = ["edgeline", "repository", "add", "s3://acme-models/fleet"]
            again = subprocess.run(
                [*add, second(reader.folder), "--key", "keys"],
                cwd=reader.folder,
                env=reader.environment,
                capture_output=True,
                text=True,
            )
            assert again.returncode == 0, again.stderr
            for address in (site_b, other):
                until(lambda address=address: versions(address) == {2})
            reader.follow("edgeline repository withdraw")
            for address in (site_b, other):
                until(lambda address=address: versions(address) == {1})

    reader.follow("edgeline site push")
    reader.follow("edgeline site render")
    reader.follow("kubectl --context site-b apply")
    reader.follow("kubectl config use-context site-c")
    with ready_by_the_test(site_c):
        reader.follow("edgeline site apply")
    images = {
        container["args"][0]
        for server in (api_server, site_c)
        for container in deployment(server, "mixed")["spec"]["template"]["spec"]["containers"]
    }
    assert len(images) == 1  # both sites name one digest
    assert "@sha256:" in images.pop()
    assert reader.done == COMMANDS

    script = [sys.executable, "-c", coming_back]
    done = subprocess.run(
        script, cwd=reader.folder, env=reader.environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    told = json.loads((reader.folder / "examples" / "artifact.json").read_text())
    assert sum(split["rows"] for split in told["metadata"]["splits"].values()) == 2


def merged(servers: dict[str, ApiServer]) -> dict[str, Any]:
    """One kubeconfig, with a context for each site."""
    found: dict[str, Any] = {"apiVersion": "v1", "kind": "Config", "current-context": "site-b"}
    found |= {"clusters": [], "users": [], "contexts": []}
    for name, server in servers.items():
        own = yaml.safe_load(server.kubeconfig.read_text())
        found["clusters"].append({"name": name, "cluster": own["clusters"][0]["cluster"]})
        found["users"].append({"name": name, "user": own["users"][0]["user"]})
        found["contexts"].append({"name": name, "context": {"cluster": name, "user": name}})
    return found


def second(folder: Path) -> Path:
    """Another content of the bundle, which becomes version 2."""
    target = folder / "second"
    shutil.copytree(folder / "taxi-bundle", target)
    labels = target / "notes" / "labels.txt"
    labels.write_text("never\nalways\n")
    manifest = json.loads((target / "manifest.json").read_text())
    content = labels.read_bytes()
    manifest["files"]["notes/labels.txt"] = {
        "sha256": hashlib.sha256(content).hexdigest(),
        "size": len(content),
    }
    (target / "manifest.json").write_text(json.dumps(manifest))
    return target


def deployment(server: ApiServer, name: str) -> Any:
    found = server.kubectl("get", "deployment", name, "-n", "edgeline", "-o", "json")
    return json.loads(found)


@contextlib.contextmanager
def ready_by_the_test(server: ApiServer) -> Iterator[None]:
    """Says what a Deployment's controller would, once there is one."""
    ended = threading.Event()

    def say() -> None:
        one = ("replicas", "updatedReplicas", "readyReplicas", "availableReplicas")
        while not ended.wait(0.2):
            get = ("get", "deployment", "mixed", "-n", "edgeline", "-o", "json")
            done = server.try_kubectl(*get)
            if done.returncode:
                continue
            generation = json.loads(done.stdout)["metadata"]["generation"]
            status = {**dict.fromkeys(one, 1), "observedGeneration": generation}
            patch = ("patch", "deployment", "mixed", "-n", "edgeline", "--subresource=status")
            server.try_kubectl(*patch, "--type=merge", "-p", json.dumps({"status": status}))

    thread = threading.Thread(target=say, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def asked(url: str, body: object = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.loads(answer.read())
    except OSError:
        return None


def versions(address: str) -> set[int]:
    found = asked(f"{address}/v1/models/mixed") or {}
    states = found.get("model_version_status", [])
    return {int(each["version"]) for each in states if each["state"] == "AVAILABLE"}


def predict(address: str) -> None:
    inputs = asked(f"{address}/v2/models/mixed")["inputs"]
    values = {"BYTES": "a", "FP32": 1.0}
    row = {
        each["name"]: [values.get(each["datatype"], 1)] * abs(each["shape"][-1]) for each in inputs
    }
    assert asked(f"{address}/v1/models/mixed:predict", {"instances": [row]}), row


def free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def until(
    ready: Any, process: subprocess.Popen[bytes] | None = None, log: Path | None = None
) -> None:
    end = time.monotonic() + 60
    while not ready():
        alive = process is None or process.poll() is None
        assert alive and time.monotonic() < end, log.read_text()[-2000:] if log else "too late"
        time.sleep(0.2)
