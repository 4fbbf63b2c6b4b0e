"""What serve makes of what KServe and other controllers say, against a real API server.

There is neither KServe nor a kubelet: the tests say what they would.
"""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from api_server import ApiServer
from click.testing import CliRunner
from test_cluster_serve import (
    READY,
    between_looks,
    connected,
    objects,
    rendered,
    runner,
    set_status,
    waiting_pod,
)

from edgeline.cli.sites import site
from edgeline.components.serve import cluster, installed, waiting
from edgeline.components.serve.serve import serve
from edgeline.errors import EdgelineError
from edgeline.sites.site import MODEL, SPEC
from edgeline.sites.workload import CONTAINER_SECURITY, POD_SECURITY

__all__ = ["connected", "objects", "runner"]
IN = ("-n", "edgeline")
NAME = "mixed-predictor"
LABELS = {"serving.kserve.io/inferenceservice": "mixed"}
Object = dict[str, Any]


@pytest.fixture
def service(pixels: Path, tmp_path: Path, api_server: ApiServer) -> Any:
    """The objects of the form kserve, whose InferenceService comes last."""
    found = rendered(pixels, tmp_path / "kserve", "kserve")
    yield found
    api_server.kubectl("delete", "--ignore-not-found", "-f", "-", given=found)
    api_server.kubectl("delete", "deployment", NAME, "--ignore-not-found", *IN)
    delete = ("delete", "pod", f"{NAME}-1", "--ignore-not-found", "--grace-period=0", "--force")
    api_server.try_kubectl(*delete, *IN)


def said_of(service: list[Object], **differs: str) -> Object:
    """The annotations of the InferenceService, which KServe hands on, or of another."""
    annotations = service[-1]["metadata"]["annotations"]
    return {**annotations, **{f"edgeline.dev/{name}": value for name, value in differs.items()}}


def template_of(annotations: Object) -> Object:
    """What KServe makes of the InferenceService; the model's volume its webhook adds to pods."""
    of_container = {**POD_SECURITY, **CONTAINER_SECURITY}
    del of_container["fsGroup"]
    container = {"name": "kserve-container", "image": "a", "securityContext": of_container}
    return {
        "metadata": {"labels": LABELS, "annotations": annotations},
        "spec": {"containers": [container]},
    }


def make_deployment(api_server: ApiServer, annotations: Object, **status: object) -> None:
    """KServe's Deployment."""
    body = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": NAME, "namespace": "edgeline"},
        "spec": {"selector": {"matchLabels": LABELS}, "template": template_of(annotations)},
    }
    apply = ("apply", "--server-side", "--force-conflicts", "-f", "-")
    api_server.kubectl(*apply, given=body)
    set_status(api_server, NAME, **(status or READY))


def make_pod(api_server: ApiServer, annotations: Object, last_words: str = "") -> None:
    """A pod of KServe's Deployment, with the volume that its webhook adds."""
    made = template_of(annotations)
    made["spec"]["volumes"] = [{"name": "models", "image": {"reference": "a@b"}}]
    metadata = {**made["metadata"], "name": f"{NAME}-1", "namespace": "edgeline"}
    body = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": made["spec"]}
    api_server.kubectl("create", "-f", "-", given=body)
    if last_words:
        ended = {"terminated": {"exitCode": 1, "reason": "Error", "message": last_words}}
        container = {"name": "kserve-container", "state": ended, "ready": False, "restartCount": 0}
        status = {"containerStatuses": [{**container, "image": "", "imageID": ""}]}
        patch = ("patch", "pod", f"{NAME}-1", *IN, "--subresource=status", "--type=merge")
        api_server.kubectl(*patch, "-p", json.dumps({"status": status}))


def say(api_server: ApiServer, **status: object) -> None:
    patch = ("patch", "inferenceservice", "mixed", *IN, "--subresource=status", "--type=merge")
    api_server.kubectl(*patch, "-p", json.dumps({"status": status}))


def condition(kind: str, status: str, reason: str = "", message: str = "") -> Object:
    return {"type": kind, "status": status, "reason": reason, "message": message}


def test_an_update_is_done_when_the_new_pods_answer(
    service: list[Object],
    connected: Any,
    api_server: ApiServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cluster.apply(connected, service)
    make_deployment(api_server, said_of(service, model="the one before"))
    say(api_server, conditions=[condition("Ready", "True")])  # as KServe leaves it meanwhile
    with pytest.raises(EdgelineError, match="InferenceService mixed is not ready after 0 s"):
        waiting.wait(connected, service, 0)
    # the server is newer, too, or what KServe is told besides
    for differs in ({"server": "registry.example/edge-server:0"}, {"spec": "0123456789abcdef"}):
        make_deployment(api_server, said_of(service, **differs))
        with pytest.raises(EdgelineError, match="InferenceService mixed is not ready after 0 s"):
            waiting.wait(connected, service, 0)
    looks = between_looks(monkeypatch, lambda: make_deployment(api_server, said_of(service)))
    waiting.wait(connected, service, 60)
    assert len(looks) == 1


LOAD_FAILED = {
    "modelStatus": {
        "transitionStatus": "BlockedByFailedLoad",
        "lastFailureInfo": {"reason": "ModelLoadFailed", "message": "usage: ...\nno manifest\n"},
    }
}


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (
            {
                "modelStatus": {
                    "transitionStatus": "InvalidSpec",
                    "lastFailureInfo": {"reason": "NoSupportingRuntime", "message": "no"},
                }
            },
            "NoSupportingRuntime: no",
        ),
        (
            {"conditions": [condition("Ready", "False", "ReconcileFailed", "name too long")]},
            "ReconcileFailed: name too long",
        ),
        (LOAD_FAILED, "ModelLoadFailed: no manifest"),
    ],
)
def test_what_kserve_says_ends_the_wait_in_its_words(
    status: Object,
    said: str,
    service: list[Object],
    connected: Any,
    api_server: ApiServer,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(waiting, "PATIENCE", 0)
    monkeypatch.setattr(waiting, "SETTLED", 0)
    cluster.apply(connected, service)
    say(api_server, **status)
    if status == LOAD_FAILED:
        monkeypatch.setattr(waiting, "_of_the_volume", lambda *_: iter(()))
        make_pod(api_server, said_of(service), "usage: ...\nno manifest\n")
    with pytest.raises(EdgelineError, match=f"InferenceService mixed is not ready: {said}"):
        waiting.wait(connected, service, 600)
    assert capsys.readouterr().out == f"InferenceService mixed: {said}\n"


def test_a_quota_ends_the_wait(
    objects: list[Object],
    connected: Any,
    api_server: ApiServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(waiting, "PATIENCE", 0)
    cluster.apply(connected, objects)
    message = 'pods "mixed-1" is forbidden: exceeded quota: small'
    set_status(
        api_server, conditions=[condition("ReplicaFailure", "True", "FailedCreate", message)]
    )
    with pytest.raises(EdgelineError, match=f"not ready: FailedCreate: {message}"):
        waiting.wait(connected, objects, 600)


def test_a_quota_of_the_pods_before_is_not_said(
    objects: list[Object], connected: Any, api_server: ApiServer
) -> None:
    """A Deployment keeps the condition until its controller has seen what it is told now."""
    cluster.apply(connected, objects)
    failed = condition("ReplicaFailure", "True", "FailedCreate", "exceeded quota: small")
    set_status(api_server, conditions=[failed], observedGeneration=0)
    with pytest.raises(EdgelineError, match="not ready after 0 s: see its pods' events"):
        waiting.wait(connected, objects, 0.4)


@pytest.mark.parametrize(
    ("state", "ended", "said"),
    [
        (
            {"reason": "CreateContainerConfigError", "message": 'secret "store" not found'},
            {},
            'CreateContainerConfigError secret "store" not found',
        ),
        (
            {"reason": "CrashLoopBackOff", "message": "back-off 10s restarting"},
            {"exitCode": 137, "reason": "OOMKilled"},
            "CrashLoopBackOff back-off 10s restarting: OOMKilled",
        ),
    ],
)
def test_why_a_container_does_not_start_ends_the_wait_status_set_by_the_test(
    state: Object,
    ended: Object,
    said: str,
    objects: list[Object],
    connected: Any,
    api_server: ApiServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(waiting, "PATIENCE", 0)
    cluster.apply(connected, objects)
    last = {"terminated": ended} if ended else {}
    waiting_pod(api_server, objects, state, **last)
    with pytest.raises(EdgelineError, match=f"not ready: pod mixed-1 says {said}$"):
        waiting.wait(connected, objects, 600)


@pytest.mark.usefixtures("no_events")
def test_a_cluster_without_our_storage_container_is_said_with_the_way_out(
    service: list[Object], connected: Any, api_server: ApiServer
) -> None:
    cluster.apply(connected, service)
    # the words of KServe 0.20
    message = "StorageURI not supported: StorageUri [edgeline+s3://a/b/] is not supported"
    warned(api_server, 1, message=message)
    with pytest.raises(EdgelineError, match=r"edgeline-storage: apply .*/storage-container.yaml"):
        waiting.wait(connected, service, 0)


def test_a_failure_that_is_over_is_not_said_though_kserve_keeps_it(
    service: list[Object], connected: Any, api_server: ApiServer
) -> None:
    """As KServe 0.20 left it when a runtime that was missing had come."""
    cluster.apply(connected, service)
    failure = {"reason": "NoSupportingRuntime", "message": "no"}
    say(api_server, modelStatus={"transitionStatus": "InProgress", "lastFailureInfo": failure})
    with pytest.raises(EdgelineError, match="not ready after 0 s: see its pods' events"):
        waiting.wait(connected, service, 0)


def test_the_failure_of_a_pod_that_is_replaced_is_not_the_model_s(
    service: list[Object], connected: Any, api_server: ApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """KServe says it of the whole InferenceService."""
    monkeypatch.setattr(waiting, "PATIENCE", 0)
    cluster.apply(connected, service)
    make_pod(api_server, said_of(service, model="the one before"), "usage: ...\nno manifest\n")
    say(api_server, **LOAD_FAILED)
    with pytest.raises(EdgelineError, match="not ready after 0 s: see its pods' events"):
        waiting.wait(connected, service, 0)


def test_a_dropped_image_volume_is_said_with_the_way_out(
    service: list[Object], connected: Any, api_server: ApiServer
) -> None:
    """Of a pod: KServe's Deployment never has it."""
    cluster.apply(connected, service)
    make_deployment(api_server, said_of(service), replicas=1)
    with pytest.raises(EdgelineError, match="not ready after 0 s: see its pods' events"):
        waiting.wait(connected, service, 0)
    make_pod(api_server, said_of(service))
    # KServe 0.20 with enableModelcar off made such pods, too, whatever the feature gate
    said = r"no image volume: .*ImageVolume .*enableModelcar .*--model-from store"
    with pytest.raises(EdgelineError, match=said):
        waiting.wait(connected, service, 600)


def warned(api_server: ApiServer, number: int, **differs: object) -> None:
    """An event of type Warning about the InferenceService."""
    event = {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": f"mixed-{number}", "namespace": "edgeline"},
        "involvedObject": {"kind": "InferenceService", "name": "mixed", "namespace": "edgeline"},
        "type": "Warning",
        "reason": "InternalError",
        "message": "storageUri is not supported",
        "lastTimestamp": "2099-01-01T00:00:00Z",
        **differs,
    }
    api_server.kubectl("create", "-f", "-", given=event)


@pytest.fixture
def no_events(api_server: ApiServer) -> Any:
    yield
    api_server.kubectl("delete", "event", "--all", *IN)


@pytest.mark.usefixtures("no_events")
def test_an_event_is_the_last_word_when_time_is_up(
    service: list[Object], connected: Any, api_server: ApiServer
) -> None:
    cluster.apply(connected, service)
    warned(api_server, 1)
    warned(api_server, 2, lastTimestamp="2020-01-01T00:00:00Z", message="of another time")
    other = {"kind": "InferenceService", "name": "mixed-2", "namespace": "edgeline"}
    warned(api_server, 3, involvedObject=other, message="of another service")
    warned(api_server, 4, message='cannot update "mixed": the object has been modified; try again')
    with pytest.raises(EdgelineError) as failed:
        waiting.wait(connected, service, 0)
    assert str(failed.value).endswith("after 0 s: InternalError: storageUri is not supported")


@pytest.mark.usefixtures("no_events")
@pytest.mark.parametrize("reason", ["InternalError", "ServerlessModeRejected"])
def test_an_event_ends_the_wait_while_kserve_has_made_nothing_of_the_model(
    reason: str,
    service: list[Object],
    connected: Any,
    api_server: ApiServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """KServe says of an unsupported address, and of Knative's mode, nothing but an event."""
    monkeypatch.setattr(waiting, "PATIENCE", 0)
    monkeypatch.setattr(waiting, "SETTLED", 0)
    cluster.apply(connected, service)
    make_deployment(api_server, said_of(service, model="the one before"))
    warned(api_server, 1, reason=reason)
    with pytest.raises(EdgelineError, match=f"mixed is not ready: {reason}: storageUri is not"):
        waiting.wait(connected, service, 600)
    make_deployment(api_server, said_of(service), replicas=1)  # so it has passed
    with pytest.raises(EdgelineError, match=f"after 0 s: {reason}"):
        waiting.wait(connected, service, 0)


@pytest.mark.usefixtures("no_events")
def test_what_its_pods_end_with_and_are_warned_of_is_said_status_set_by_the_test(
    objects: list[Object],
    connected: Any,
    api_server: ApiServer,
    capsys: pytest.CaptureFixture[str],
) -> None:
    cluster.apply(connected, objects)
    ended = {"exitCode": 1, "message": "usage: ...\nError: /models holds no model.\n"}
    crashed = {"reason": "CrashLoopBackOff", "message": "back-off 10s restarting"}
    waiting_pod(api_server, objects, crashed, terminated=ended)
    of_pod = {"kind": "Pod", "name": "mixed-1", "namespace": "edgeline"}
    message = 'MountVolume.SetUp failed for volume "registry"'
    warned(api_server, 1, involvedObject=of_pod, reason="FailedMount", message=message)
    said = "pod mixed-1 says CrashLoopBackOff back-off 10s restarting: Error: /models holds no"
    with pytest.raises(EdgelineError, match=said):
        waiting.wait(connected, objects, 600)
    assert capsys.readouterr().out.startswith("Deployment mixed: pod mixed-1 says CrashLoopBackOff")
    delete = ("delete", "pod", "mixed-1", *IN, "--grace-period=0", "--force")
    api_server.try_kubectl(*delete)
    waiting_pod(api_server, objects, {"reason": "ContainerCreating"})
    with pytest.raises(EdgelineError, match="after 0 s: pod mixed-1: FailedMount: MountVolume"):
        waiting.wait(connected, objects, 0)


def test_what_somebody_else_has_made_is_not_taken(
    objects: list[Object], connected: Any, api_server: ApiServer
) -> None:
    foreign = copy.deepcopy(objects[0])
    del foreign["metadata"]["labels"]["app.kubernetes.io/part-of"]
    container = foreign["spec"]["template"]["spec"]["containers"][0]
    container["env"] = [{"name": "THEIRS", "value": "1"}]
    api_server.kubectl("create", "-f", "-", given=foreign)
    with pytest.raises(EdgelineError, match=r"Deployment mixed is there, .* `kubectl label depl"):
        cluster.apply(connected, objects)
    assert api_server.try_kubectl("get", "service", "mixed", *IN).returncode  # nor anything else
    label = ("label", "deployment", "mixed", *IN, "app.kubernetes.io/part-of=edgeline")
    api_server.kubectl(*label)
    cluster.apply(connected, objects)
    said = json.loads(api_server.kubectl("get", "deployment", "mixed", *IN, "-o", "json"))
    (left,) = said["spec"]["template"]["spec"]["containers"]
    assert [entry["name"] for entry in left["env"]] == ["DOCKER_CONFIG"]
    cluster.apply(connected, objects)  # ours now


def test_the_command_line_adopts_what_somebody_else_has_made_status_set_by_the_test(
    pixels: Path,
    registry: Any,
    objects: list[Object],
    connected: Any,  # noqa: ARG001
    api_server: ApiServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    foreign = copy.deepcopy(objects[0])
    del foreign["metadata"]["labels"]["app.kubernetes.io/part-of"]
    container = foreign["spec"]["template"]["spec"]["containers"][0]
    container["env"] = [{"name": "THEIRS", "value": "1"}]
    api_server.kubectl("create", "-f", "-", given=foreign)
    apply = ("apply", str(pixels), "--images", f"{registry.address}/models")
    refused = CliRunner().invoke(site, apply)
    assert "Deployment mixed is there, and somebody else" in str(refused.exception)
    assert str(refused.exception).endswith("(`edgeline site apply` takes --adopt).")
    between_looks(monkeypatch, lambda: set_status(api_server, **READY))
    done = CliRunner().invoke(site, [*apply, "--adopt"])
    assert done.exit_code == 0, done.exception
    assert done.output.splitlines()[-1].endswith(
        "mixed is ready in edgeline (no --address, so not asked)."
    )
    said = json.loads(api_server.kubectl("get", "deployment", "mixed", *IN, "-o", "json"))
    (left,) = said["spec"]["template"]["spec"]["containers"]
    assert [entry["name"] for entry in left["env"]] == ["DOCKER_CONFIG"]


def test_nor_is_an_inference_service_of_somebody_else(
    service: list[Object], connected: Any, api_server: ApiServer
) -> None:
    """A merge would leave their arguments and their transformer beside what the bundle says."""
    foreign = copy.deepcopy(service[-1])
    del foreign["metadata"]["labels"]["app.kubernetes.io/part-of"]
    foreign["spec"]["predictor"]["model"]["args"] = ["--theirs"]
    foreign["spec"]["transformer"] = {"containers": [{"name": "kserve-container", "image": "a"}]}
    api_server.kubectl("create", "-f", "-", given=foreign)
    said = (
        r"InferenceService mixed is there, and somebody else has made it: give another name, .* "
        "`kubectl label inferenceservice mixed -n edgeline app.kubernetes.io/part-of=edgeline`"
    )
    with pytest.raises(EdgelineError, match=said):
        cluster.apply(connected, service)
    for kind in ("servingruntime/mixed-litert", "networkpolicy/mixed"):  # nor anything else
        assert api_server.try_kubectl("get", kind, *IN).returncode
    cluster.apply(connected, service, adopt=True)
    found = json.loads(api_server.kubectl("get", "inferenceservice", "mixed", *IN, "-o", "json"))
    assert "transformer" not in found["spec"]
    assert "args" not in found["spec"]["predictor"]["model"]
    cluster.apply(connected, service)  # ours now


def test_the_other_of_two_that_tell_kserve_otherwise_says_so(
    service: list[Object], connected: Any
) -> None:
    cluster.apply(connected, service)
    later = copy.deepcopy(service)
    later[-1]["metadata"]["annotations"][SPEC] = "0123456789abcdef"
    cluster.apply(connected, later)
    with pytest.raises(EdgelineError, match="another spec by now, 0123456789abcdef: somebody else"):
        waiting.wait(connected, service, 60)


def test_kserve_s_version_is_read_by_whoever_deploys(connected: Any, capsys: Any) -> None:
    """From the schema of its objects, since pipelines may read nothing of the cluster's."""
    assert installed.kserve_version(connected) == "0.20"
    assert installed.kserve_version(connected, "0.20.1") == "0.20"
    with pytest.raises(
        EdgelineError, match=r"has KServe 0\.20, not 0\.19\.0, which takes something"
    ):
        installed.kserve_version(connected, "0.19.0")
    assert capsys.readouterr().out == ""


def test_a_version_by_the_schema_is_said_to_be_the_first_of_several(
    connected: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """KServe 0.19 has no field that 0.16 had not."""
    monkeypatch.setattr(installed, "_by_schema", lambda _: "0.16")
    with pytest.raises(EdgelineError, match=r"KServe 0\.16 or a later one .*, not 0\.20, which"):
        installed.kserve_version(connected, "0.20")
    assert installed.kserve_version(connected, "0.19.0") == "0.16"


def test_kserve_s_version_is_that_of_its_manager_where_that_may_be_read(
    api_server: ApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = str(api_server.kubeconfig)
    monkeypatch.setattr("kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", place)
    client = cluster.connect()
    metadata = {"name": installed.MANAGER, "namespace": "kubeflow"}
    made = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata}

    def manager(image: str) -> None:
        beside = {"name": "proxy", "image": "a:v0.9", "securityContext": CONTAINER_SECURITY}
        containers = [beside, {**beside, "name": "manager", "image": image}]
        pod = {"securityContext": POD_SECURITY, "containers": containers}
        template = {"metadata": {"labels": LABELS}, "spec": pod}
        spec = {"selector": {"matchLabels": LABELS}, "template": template}
        api_server.kubectl("apply", "--server-side", "-f", "-", given={**made, "spec": spec})

    digest = f"sha256:{'0' * 64}"
    try:
        for image, version in (
            ("kserve/kserve-controller:v0.19.0", "v0.19.0"),
            (f"registry.example:5000/kserve-controller:v0.18.1@{digest}", "v0.18.1"),
            ("kserve/kserve-controller:0.20.0-acme", "0.20.0"),
            ("kserve/kserve-controller:latest", "0.20"),  # which the schema says
            (f"kserve/kserve-controller@{digest}", "0.20"),
        ):
            manager(image)
            assert installed.kserve_version(client) == version
        manager("kserve/kserve-controller:v0.14.1")
        with pytest.raises(
            EdgelineError, match=r"KServe v0\.14\.1, which is too old .* needs 0\.15"
        ):
            installed.kserve_version(client)
    finally:
        api_server.kubectl("delete", "deployment", installed.MANAGER, "-n", "kubeflow")


def test_a_form_that_the_cluster_s_kserve_does_not_take_is_refused_before_anything_is_pushed(
    pixels: Path,
    registry: Any,
    connected: Any,  # noqa: ARG001
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setattr(installed, "_of_manager", lambda _: "v0.19.0")
    said = r"KServe v0\.19\.0 takes no model from an image volume, which needs 0\.20: give"
    with pytest.raises(EdgelineError, match=said):
        serve(
            bundle_path=pixels,
            site="cluster://edgeline",
            models_repository=f"{registry.address}/models",
            deployment_path=tmp_path / "deployment",
            deployment_report_path=tmp_path / "report.html",
            form="kserve",
        )
    apply = ("apply", str(pixels), "--for", "kserve", "--images", f"{registry.address}/models")
    refused = CliRunner().invoke(site, [*apply, "--kserve-version", "0.20"])
    assert "The cluster has KServe v0.19.0, not 0.20" in str(refused.exception)
    assert not (registry.storage / "docker").exists()


def test_nor_is_a_service_of_somebody_else(
    objects: list[Object], connected: Any, api_server: ApiServer
) -> None:
    """Whose clients would get our answers."""
    foreign = copy.deepcopy(objects[1])
    del foreign["metadata"]["labels"]["app.kubernetes.io/part-of"]
    foreign["spec"]["selector"] = {"app": "theirs"}
    foreign["spec"]["ports"].append({"name": "more", "port": 81})
    api_server.kubectl("create", "-f", "-", given=foreign)
    with pytest.raises(EdgelineError, match=r"Service mixed is there, .* `kubectl label service"):
        cluster.apply(connected, objects)
    assert api_server.try_kubectl("get", "deployment", "mixed", *IN).returncode
    label = ("label", "service", "mixed", *IN, "app.kubernetes.io/part-of=edgeline")
    api_server.kubectl(*label)
    cluster.apply(connected, objects)
    spec = json.loads(api_server.kubectl("get", "service", "mixed", *IN, "-o", "json"))["spec"]
    assert spec["selector"] == {"app.kubernetes.io/name": "mixed"}
    assert [port["port"] for port in spec["ports"]] == [80]


def test_the_other_of_two_runs_says_so(
    objects: list[Object], connected: Any, api_server: ApiServer
) -> None:
    cluster.apply(connected, objects)
    set_status(api_server, **READY)
    later = copy.deepcopy(objects)
    later[0]["metadata"]["annotations"][MODEL] = "registry.example/another"
    cluster.apply(connected, later)
    with pytest.raises(EdgelineError, match=r"another model by now, registry\.example/another"):
        waiting.wait(connected, objects, 60)
