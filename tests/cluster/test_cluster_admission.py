"""manifests/components/admission: a real API server takes images of the lock alone.

Kyverno itself cannot be run here: it would have to be built, and have a cluster. So the expressions
of admission-kyverno are tried as a ValidatingAdmissionPolicy, whose CEL is the same but for
`resource.Get`, and the policies against Kyverno's own definition.
"""

from __future__ import annotations

import copy
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from api_server import CACHE, ApiServer

from edgeline import images
from edgeline.client.compiling import compile_pipeline

MANIFESTS = Path(__file__).parents[2] / "manifests"
KYVERNO = CACHE / "kyverno-v1.19.1" / "policies.kyverno.io_validatingpolicies.yaml"
Object = dict[str, Any]
DRY = ("apply", "--server-side", "--dry-run=server", "--validate=strict", "-f", "-")
FOREIGN = f"evil.example/train-python@sha256:{'a' * 64}"
CLOSED = {  # else PodSecurity refuses it first
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "runAsNonRoot": True,
    "seccompProfile": {"type": "RuntimeDefault"},
}
ARGO = "quay.io/argoproj/argoexec:v3.7.3"
KYVERNO_S_LIST = "dyn(resource.Get('v1', 'configmaps', 'edgeline', 'edgeline-images').data)"


def pod(namespace: str, containers: dict[str, str], init: dict[str, str] | None = None) -> Object:
    def each(named: dict[str, str]) -> list[Object]:
        return [
            {"name": name, "image": image, "securityContext": CLOSED}
            for name, image in named.items()
        ]

    spec: Object = {"containers": each(containers), "automountServiceAccountToken": False}
    if init:
        spec["initContainers"] = each(init)
    task = {"pipelines.kubeflow.org/v2_component": "true"} if namespace == "kubeflow" else {}
    metadata = {"name": "one", "namespace": namespace, "labels": task}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def policies(component: str) -> list[Object]:
    folder = MANIFESTS / "components" / component
    texts = [(folder / name).read_text() for name in ("pods.yaml", "versions.yaml")]
    return [each for text in texts for each in yaml.safe_load_all(text)]


def of_the_api_server(kyverno: Object) -> list[Object]:
    """A policy of Kyverno's as one of the API server's own, with its binding."""
    kind = {"apiVersion": "admissionregistration.k8s.io/v1"}
    name = f"kyverno-{kyverno['metadata']['name']}"
    spec = copy.deepcopy(kyverno["spec"])
    actions = spec.pop("validationActions")
    spec.pop("evaluation")
    allowed, *others = spec["variables"]
    assert allowed["expression"] == KYVERNO_S_LIST
    spec["variables"] = [{"name": allowed["name"], "expression": "params.data"}, *others]
    spec["paramKind"] = {"apiVersion": "v1", "kind": "ConfigMap"}
    listed = {"name": "edgeline-images", "namespace": "edgeline", "parameterNotFoundAction": "Deny"}
    bound = {"policyName": name, "validationActions": actions, "paramRef": listed}
    metadata = {"name": name}
    return [
        {**kind, "kind": "ValidatingAdmissionPolicy", "metadata": metadata, "spec": spec},
        {**kind, "kind": "ValidatingAdmissionPolicyBinding", "metadata": metadata, "spec": bound},
    ]


@pytest.fixture(scope="module")
def listed(api_server: ApiServer) -> Iterator[ApiServer]:
    """The list, and a policy that judges nothing and stays between those of the components.

    Without it the server may end its watch of ConfigMaps with the first component's policies, and
    then does not see the list of the second's.
    """
    built = api_server.kubectl("kustomize", MANIFESTS / "components" / "admission" / "allowed")
    objects = [*yaml.safe_load_all(built)]
    stays = copy.deepcopy(policies("admission")[-2:])
    for each in stays:
        each["metadata"]["name"] = "stays"
    stays[0]["spec"]["matchConstraints"]["resourceRules"][0]["resources"] = ["nothing"]
    stays[1]["spec"]["policyName"] = "stays"
    objects += stays
    api_server.kubectl("apply", "--server-side", "--validate=strict", "-f", "-", given=objects)
    yield api_server
    api_server.kubectl("delete", "-f", "-", given=objects)


@pytest.fixture(scope="module", params=["admission", "admission-kyverno"])
def guarded(listed: ApiServer, request: pytest.FixtureRequest) -> Iterator[ApiServer]:
    """The component's policies at work: the server reads them a moment after they are applied."""
    api_server = listed
    objects = policies(request.param)
    if request.param == "admission-kyverno":
        objects = [part for each in objects for part in of_the_api_server(each)]
    api_server.kubectl("apply", "--server-side", "--validate=strict", "-f", "-", given=objects)
    pods, versions = (
        each["metadata"]["name"] for each in objects if each["kind"] == "ValidatingAdmissionPolicy"
    )
    waits = [
        (pod("edgeline", {"a": FOREIGN}), pods),
        (pod("kubeflow", {"main": FOREIGN}), pods),
        (version(FOREIGN), versions),
    ]
    end = time.monotonic() + 60
    for each, policy in waits:
        while f"ValidatingAdmissionPolicy '{policy}'" not in refused(api_server, each):
            assert time.monotonic() < end, "the policies do not work after a minute"
            time.sleep(0.2)
    ours = pod("edgeline", {"a": images.reference("edge-server")})
    while refused(api_server, ours):
        assert time.monotonic() < end, "the list is not read after a minute"
        time.sleep(0.2)
    yield api_server
    api_server.kubectl("delete", "-f", "-", given=objects)
    # until the server has read that, too, it would refuse what the next test applies
    end = time.monotonic() + 60
    for each, policy in waits:
        while f"ValidatingAdmissionPolicy '{policy}'" in refused(api_server, each):
            assert time.monotonic() < end, "the policies still work after a minute"
            time.sleep(0.2)


def version(image: str) -> Object:
    executors = {
        "exec-import": {"importer": {"artifactUri": {"constant": "s3://a"}}},
        "exec-train": {"container": {"image": image}},
    }
    spec = {"pipelineName": "taxi", "pipelineSpec": {"deploymentSpec": {"executors": executors}}}
    metadata = {"name": "taxi-0123456789abcdef", "namespace": "kubeflow"}
    kind = {"apiVersion": "pipelines.kubeflow.org/v2beta1", "kind": "PipelineVersion"}
    return {**kind, "metadata": metadata, "spec": spec}


def refused(api_server: ApiServer, document: Object) -> str:
    """What the server says of it; empty where it takes it."""
    done = api_server.try_kubectl(*DRY, given=document)
    return str(done.stderr) if done.returncode else ""


def test_what_runs_in_edgeline_s_namespace_has_images_of_the_lock(guarded: ApiServer) -> None:
    ours = images.reference("edge-server")
    assert refused(guarded, pod("edgeline", {"server": ours})) == ""
    assert refused(guarded, pod("edgeline", {"server": ours}, {"argo": ARGO})) == ""
    for wrong in (f"{ours}-2", FOREIGN, "edge-server", f"evil.example/{ours}"):
        said = refused(guarded, pod("edgeline", {"server": wrong}))
        assert f"image {wrong} of container server is not in the ConfigMap edgeline-images" in said
    assert "evil.example" in refused(guarded, pod("edgeline", {"server": ours}, {"init": FOREIGN}))
    # in other namespaces only tasks are ours to judge
    assert refused(guarded, pod("managed", {"server": FOREIGN})) == ""


def test_the_overlays_own_workloads_are_taken_and_a_changed_one_is_not(guarded: ApiServer) -> None:
    built = guarded.kubectl("kustomize", MANIFESTS / "overlays" / "onprem")
    kinds = ("Deployment", "Job", "CronJob")
    workloads = [each for each in yaml.safe_load_all(built) if each["kind"] in kinds]
    assert {each["kind"] for each in workloads} == {*kinds}
    for each in workloads:
        assert refused(guarded, each) == ""
        changed = copy.deepcopy(each)
        changed["metadata"]["namespace"] = "edgeline"
        spec = changed["spec"].get("jobTemplate", changed)["spec"]["template"]["spec"]
        spec["containers"][0]["image"] = FOREIGN
        assert FOREIGN in refused(guarded, changed)


def test_a_run_s_pods_have_images_of_the_lock_or_kubeflow_s_own(guarded: ApiServer) -> None:
    train = images.reference("train")
    beside = {"wait": ARGO}
    launcher = {"init": ARGO, "kfp-launcher": "ghcr.io/kubeflow/kfp-launcher:2.17.0"}
    assert refused(guarded, pod("kubeflow", {"main": train, **beside}, launcher)) == ""
    # a driver's and an importer's pod have the same label
    for own in ("ghcr.io/kubeflow/kfp-driver:2.17.0", launcher["kfp-launcher"]):
        assert refused(guarded, pod("kubeflow", {"main": own, **beside}, {"init": ARGO})) == ""
    for wrong in (FOREIGN, "ghcr.io/kubeflow/kfp-driver-2:1", "ghcr.io/kubeflow/other:1"):
        said = refused(guarded, pod("kubeflow", {"main": wrong, **beside}, launcher))
        assert f"image {wrong} of container main" in said
    # a pipeline's own labels (pod metadata) change the value of KFP's
    renamed = pod("kubeflow", {"main": FOREIGN, **beside}, launcher)
    renamed["metadata"]["labels"] = {"pipelines.kubeflow.org/v2_component": "false"}
    assert f"image {FOREIGN} of container main" in refused(guarded, renamed)


def test_a_debugging_container_is_a_container(guarded: ApiServer) -> None:
    one = pod("edgeline", {"server": images.reference("edge-server")})
    guarded.kubectl("create", "-f", "-", given=one)
    try:
        added = [{"name": "debugger", "image": FOREIGN, "securityContext": CLOSED}]
        patch = json.dumps({"spec": {"ephemeralContainers": added}})
        target = ("pod", "one", "-n", "edgeline", "--subresource=ephemeralcontainers")
        done = guarded.try_kubectl("patch", *target, "--type=merge", "-p", patch)
        assert done.returncode
        assert f"image {FOREIGN} of container debugger" in done.stderr
    finally:
        guarded.kubectl("delete", "pod", "one", "-n", "edgeline", "--wait=false")


def test_a_version_is_taken_as_it_is_compiled_and_refused_with_a_foreign_image(
    guarded: ApiServer, tmp_path: Path
) -> None:
    path = tmp_path / "pipeline.yaml"
    settings = ("destination=s3://models/fleet",)
    compile_pipeline("taxi", str(path), kubernetes=True, settings=settings, environment="onprem")
    compiled = next(
        each for each in yaml.safe_load_all(path.read_text()) if each["kind"] == "PipelineVersion"
    )
    assert refused(guarded, compiled) == ""
    assert refused(guarded, version(images.reference("train"))) == ""
    for wrong in (FOREIGN, ARGO, "{{$.inputs.parameters['image']}}"):
        assert f"image {wrong} of exec-train is not in" in refused(guarded, version(wrong))
    # KFP reads the protobuf's own name of the field, too
    renamed = version(FOREIGN)
    pipeline = renamed["spec"]["pipelineSpec"]
    pipeline["deployment_spec"] = pipeline.pop("deploymentSpec")
    assert "has deployment_spec, where compile writes deploymentSpec" in refused(guarded, renamed)


def test_without_the_list_nothing_is_taken(guarded: ApiServer) -> None:
    name = ("configmap", "edgeline-images", "-n", "edgeline")
    kept = json.loads(guarded.kubectl("get", *name, "-o", "json"))
    for field in ("resourceVersion", "uid", "managedFields"):
        kept["metadata"].pop(field, None)
    guarded.kubectl("delete", *name)
    ours = pod("edgeline", {"server": images.reference("edge-server")})
    try:
        end = time.monotonic() + 60
        while not (said := refused(guarded, ours)):
            assert time.monotonic() < end
            time.sleep(0.2)
        assert "edgeline-images" in said
    finally:
        guarded.kubectl("create", "-f", "-", given=kept)
        end = time.monotonic() + 60
        while refused(guarded, ours):
            assert time.monotonic() < end
            time.sleep(0.2)


@pytest.mark.skipif(
    not KYVERNO.exists(),
    reason="NOT TESTED: Kyverno's definition: run tests/manifests/fetch_kyverno_schema.sh",
)
def test_an_api_server_with_kyverno_s_definition_takes_its_policies(api_server: ApiServer) -> None:
    name = "validatingpolicies.policies.kyverno.io"
    api_server.kubectl("create", "-f", KYVERNO)
    try:
        api_server.kubectl("wait", "--for=create", f"crd/{name}", "--timeout=60s")
        api_server.kubectl("wait", "--for=condition=Established", f"crd/{name}", "--timeout=60s")
        wanted = policies("admission-kyverno")
        api_server.kubectl(*DRY, given=wanted)
        wanted[0]["spec"]["failurePolicy"] = "Never"
        assert 'Unsupported value: "Never"' in refused(api_server, wanted[0])
    finally:
        api_server.kubectl("delete", "crd", name)
