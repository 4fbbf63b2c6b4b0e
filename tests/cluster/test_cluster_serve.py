"""The serve component's part with the cluster, against a real API server.

There is no kubelet: where a test says `status_set_by_the_test`, it says itself what one would.
"""

from __future__ import annotations

import copy
import hashlib
import json
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from api_server import ApiServer

from edgeline.artifacts import vectors
from edgeline.components.serve import cluster, waiting
from edgeline.components.serve.serve import serve
from edgeline.errors import EdgelineError
from edgeline.runtimes import interpreter
from edgeline.sites.render import render
from edgeline.sites.settings import SiteSettings

MANIFESTS = Path(__file__).parents[2] / "manifests"
MODELS = "registry.example/models"
Object = dict[str, Any]


def rendered(bundle: Path, folder: Path, form: str = "kustomize") -> list[Object]:
    (path, *_) = render(str(bundle), SiteSettings(form), MODELS, str(folder))
    return list(yaml.load_all(path.read_text(), yaml.CSafeLoader))


@pytest.fixture
def objects(pixels: Path, tmp_path: Path, api_server: ApiServer) -> Any:
    """Deployment, Service and NetworkPolicy `mixed`; what is left of them goes in the end."""
    found = rendered(pixels, tmp_path / "site")
    yield found
    api_server.kubectl("delete", "--ignore-not-found", "-f", "-", given=found)


@pytest.fixture(scope="module")
def runner(api_server: ApiServer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A kubeconfig of pipeline-runner, with a token and the rights of manifests/base/pipelines."""
    name = {"name": "pipeline-runner", "namespace": "kubeflow"}  # KFP brings it
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": name}
    api_server.kubectl("apply", "--server-side", "-f", "-", given=account)
    api_server.kubectl("apply", "--server-side", "-k", MANIFESTS / "base" / "pipelines")
    content = yaml.load(api_server.kubeconfig.read_text(), yaml.CSafeLoader)
    token = api_server.kubectl("create", "token", "pipeline-runner", "-n", "kubeflow")
    content["users"][0]["user"] = {"token": token.strip()}
    path = tmp_path_factory.mktemp("runner") / "kubeconfig"
    path.write_text(yaml.safe_dump(content))
    return path


@pytest.fixture
def connected(runner: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The component's connection, as pipeline-runner, which is what it runs as."""
    monkeypatch.setenv("KUBECONFIG", str(runner))
    # the library has read the variable when it was imported
    monkeypatch.setattr("kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", str(runner))
    return cluster.connect()


def stored(api_server: ApiServer, objects: list[Object]) -> list[Object]:
    said = api_server.kubectl("get", "-f", "-", "-o", "json", given=objects)
    found: list[Object] = json.loads(said)["items"]
    return found


def set_status(api_server: ApiServer, name: str = "mixed", **status: object) -> None:
    (found,) = [json.loads(api_server.kubectl("get", "deployment", name, *IN, "-o", "json"))]
    status.setdefault("observedGeneration", found["metadata"]["generation"])
    patch = ("patch", "deployment", name, *IN, "--subresource=status", "--type=merge")
    api_server.kubectl(*patch, "-p", json.dumps({"status": status}))


IN = ("-n", "edgeline")
READY: dict[str, Any] = {
    "replicas": 1,
    "updatedReplicas": 1,
    "readyReplicas": 1,
    "availableReplicas": 1,
}


def test_the_objects_of_a_site_are_applied_as_pipeline_runner(
    objects: list[Object], connected: Any, api_server: ApiServer
) -> None:
    cluster.apply(connected, objects)
    found = stored(api_server, objects)
    assert [entry["kind"] for entry in found] == ["Deployment", "Service", "NetworkPolicy"]
    container = found[0]["spec"]["template"]["spec"]["containers"][0]
    assert container["args"][0].startswith(f"oci://{MODELS}/mixed@sha256:")


def test_an_inference_service_is_applied_as_pipeline_runner(
    pixels: Path, connected: Any, api_server: ApiServer, tmp_path: Path
) -> None:
    objects = rendered(pixels, tmp_path, "kserve")
    cluster.apply(connected, objects)
    assert len(stored(api_server, objects)) == 3
    with pytest.raises(EdgelineError, match="InferenceService mixed is not ready after 0 s"):
        waiting.wait(connected, objects, 0)


def test_a_second_run_changes_nothing(
    objects: list[Object], connected: Any, api_server: ApiServer
) -> None:
    for _ in range(2):  # see test_cluster_manifests on the first
        cluster.apply(connected, objects)
    before = stored(api_server, objects)
    cluster.apply(connected, objects)
    assert stored(api_server, objects) == before  # resourceVersions too


def test_what_somebody_else_changed_is_taken_back(
    objects: list[Object], connected: Any, api_server: ApiServer
) -> None:
    cluster.apply(connected, objects)
    api_server.kubectl("scale", "deployment", "mixed", *IN, "--replicas=5")
    image = "edge-server=registry.example/another:1"
    api_server.kubectl("set", "image", "deployment/mixed", *IN, image)
    cluster.apply(connected, objects)
    spec = stored(api_server, objects)[0]["spec"]
    assert spec["replicas"] == 1
    wanted = objects[0]["spec"]["template"]["spec"]["containers"][0]["image"]
    assert spec["template"]["spec"]["containers"][0]["image"] == wanted


@pytest.mark.parametrize(
    "status",
    [
        {"observedGeneration": 0, **READY},  # of the one before
        {"replicas": 1, "updatedReplicas": 1, "unavailableReplicas": 1},
        {"replicas": 2, "updatedReplicas": 1, "availableReplicas": 2, "readyReplicas": 2},
    ],
)
def test_a_deployment_is_not_ready_before_its_new_pods_are_status_set_by_the_test(
    status: dict[str, Any], objects: list[Object], connected: Any, api_server: ApiServer
) -> None:
    cluster.apply(connected, objects)
    set_status(api_server, **status)
    with pytest.raises(EdgelineError, match=r"^Deployment mixed is not ready after 0 s: see"):
        waiting.wait(connected, objects, 0)


def test_a_deployment_is_waited_for_status_set_by_the_test(
    objects: list[Object],
    connected: Any,
    api_server: ApiServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cluster.apply(connected, objects)
    looks = between_looks(monkeypatch, lambda: set_status(api_server, **READY))
    waiting.wait(connected, objects, 60)
    assert looks == [waiting.POLL]


def between_looks(monkeypatch: pytest.MonkeyPatch, what: Callable[[], object]) -> list[float]:
    """Do something instead of each pause; which pauses there were."""
    pauses: list[float] = []

    def sleep(seconds: float) -> None:
        pauses.append(seconds)
        what()

    clock = SimpleNamespace(monotonic=time.monotonic, sleep=sleep)
    monkeypatch.setattr(waiting, "time", clock)
    return pauses


def test_an_image_that_cannot_be_pulled_ends_the_wait_status_set_by_the_test(
    objects: list[Object], connected: Any, api_server: ApiServer
) -> None:
    cluster.apply(connected, objects)
    waiting_pod(api_server, objects)
    began = time.monotonic()
    with pytest.raises(EdgelineError) as failed:
        waiting.wait(connected, objects, 600)
    assert str(failed.value) == (
        "Deployment mixed is not ready: pod mixed-1 says ImagePullBackOff Back-off pulling image"
    )
    assert time.monotonic() - began < 60


@pytest.mark.parametrize("differs", ["model", "server"])
def test_a_broken_pod_of_the_one_before_does_not_end_the_wait_status_set_by_the_test(
    differs: str,
    objects: list[Object],
    connected: Any,
    api_server: ApiServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cluster.apply(connected, objects)
    before = copy.deepcopy(objects)
    template = before[0]["spec"]["template"]
    template["metadata"]["annotations"][f"edgeline.dev/{differs}"] = "registry.example/no/such:1"
    waiting_pod(api_server, before)
    objects.append(before[-1])
    between_looks(monkeypatch, lambda: set_status(api_server, **READY))
    waiting.wait(connected, objects, 60)


PULL = {"reason": "ImagePullBackOff", "message": "Back-off pulling image"}


def waiting_pod(
    api_server: ApiServer, objects: list[Object], waiting: Object = PULL, **last: Object
) -> None:
    """A pod of the Deployment whose container waits; it is added to the objects."""
    template = objects[0]["spec"]["template"]
    metadata = {**template["metadata"], "name": "mixed-1", "namespace": "edgeline"}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}
    objects.append(pod)
    api_server.kubectl("create", "-f", "-", given=pod)
    container = {
        "name": "edge-server",
        "state": {"waiting": waiting},
        "lastState": last,
        "image": "",
        "imageID": "",
        "ready": False,
        "restartCount": 0,
    }
    status = {"status": {"phase": "Pending", "containerStatuses": [container]}}
    patch = ("patch", "pod", "mixed-1", *IN, "--subresource=status", "--type=merge")
    api_server.kubectl(*patch, "-p", json.dumps(status))


def test_a_bundle_goes_from_its_folder_to_an_answer_status_set_by_the_test(
    pixels: Path,
    registry: Any,
    connected: Any,  # noqa: ARG001
    api_server: ApiServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The test is the kubelet: it runs here what the applied Deployment says."""
    folder = recorded(pixels, tmp_path)
    digest = hashlib.sha256(b"a-token").hexdigest()
    tokens = {"tokens": [{"sha256": digest, "scopes": ["predict"]}]}
    (tmp_path / "tokens.json").write_text(json.dumps(tokens))
    monkeypatch.setenv("EDGELINE_TOKEN", "a-token")
    places = {
        "/var/lib/edgeline": str(tmp_path / "state"),
        "/etc/edgeline/tokens/tokens.json": str(tmp_path / "tokens.json"),
    }
    with ExitStack() as stack:
        port = free_port()

        def run() -> None:
            said = api_server.kubectl("get", "deployment", "mixed", *IN, "-o", "json")
            (container,) = json.loads(said)["spec"]["template"]["spec"]["containers"]
            arguments = [places.get(argument, argument) for argument in container["args"]]
            stack.enter_context(edge_server(*arguments, "--port", str(port)))
            set_status(api_server, **READY)

        pauses = between_looks(monkeypatch, run)
        done = serve(
            bundle_path=folder,
            site="cluster://edgeline",
            models_repository=f"{registry.address}/models",
            deployment_path=tmp_path / "deployment",
            deployment_report_path=tmp_path / "report.html",
            address=f"http://127.0.0.1:{port}",
            time_limit=120,
        )
    assert len(pauses) == 1
    assert (done.name, done.version, done.rows) == ("mixed", 3, 1)
    assert done.model.startswith(f"{registry.address}/models/mixed@sha256:")
    assert "namespace edgeline" in (tmp_path / "report.html").read_text()
    path = tmp_path / "deployment" / "mixed.yaml"
    api_server.kubectl("delete", "-f", path)


def recorded(bundle: Path, parent: Path) -> Path:
    """A copy of the bundle, with a row and the answer to it."""
    folder = parent / "bundle"
    shutil.copytree(bundle, folder)
    model = interpreter.load(folder / "model.tflite")
    inputs = vectors.synthetic(model.signature).inputs
    vectors.write(folder / vectors.FILE, vectors.Vectors(inputs, model(inputs), 1e-5))
    return folder


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@contextmanager
def edge_server(*arguments: str) -> Iterator[None]:
    command = [sys.executable, "-m", "edgeline.server", *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith("READY"), process.communicate(timeout=30)[1]
        yield
    finally:
        process.terminate()
        process.communicate(timeout=60)


def test_a_deployment_that_is_deleted_meanwhile_is_said(
    objects: list[Object],
    connected: Any,
    api_server: ApiServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cluster.apply(connected, objects)
    delete = ("delete", "deployment", "mixed", *IN)
    between_looks(monkeypatch, lambda: api_server.kubectl(*delete))
    with pytest.raises(
        EdgelineError, match=r'Deployment mixed: deployments\.apps "mixed" not found'
    ):
        waiting.wait(connected, objects, 60)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            lambda entry: entry["metadata"].update(name="Mixed"),
            r"The cluster refuses Deployment Mixed: .*Invalid value: \"Mixed\"",
        ),
        (
            lambda entry: entry["spec"].update(replica=1),
            r"The cluster refuses Deployment mixed: .*\.spec\.replica: field not declared",
        ),
        (
            lambda entry: entry["metadata"].update(namespace="kubeflow"),
            r"The cluster refuses Deployment mixed: .*pipeline-runner.* cannot get",
        ),
        (
            lambda entry: entry.update(kind="Balloon"),
            r"The cluster has no Balloon of apps/v1: install what brings it",
        ),
    ],
)
def test_what_the_cluster_refuses_is_said_in_one_sentence(
    change: Callable[[Object], None], said: str, objects: list[Object], connected: Any
) -> None:
    given = copy.deepcopy(objects[0])
    change(given)
    with pytest.raises(EdgelineError, match=said) as failed:
        cluster.apply(connected, [given])
    assert "\n" not in str(failed.value)


def test_a_cluster_out_of_reach_is_said(
    runner: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = yaml.load(runner.read_text(), yaml.CSafeLoader)
    content["clusters"][0]["cluster"]["server"] = "https://127.0.0.1:9"
    path = tmp_path / "kubeconfig"
    path.write_text(yaml.safe_dump(content))
    monkeypatch.setattr("kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", str(path))
    with pytest.raises(EdgelineError, match="No cluster can be reached"):
        cluster.connect()
