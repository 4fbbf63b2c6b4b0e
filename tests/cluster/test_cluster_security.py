"""PodSecurity and RBAC as a real API server enforces them."""

from __future__ import annotations

from copy import deepcopy
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import yaml
from api_server import ApiServer

MANIFESTS = Path(__file__).parents[2] / "manifests"
OVERLAYS = sorted(path.name for path in (MANIFESTS / "overlays").iterdir())
RUNNER = "system:serviceaccount:kubeflow:pipeline-runner"
Object = dict[str, Any]


def built(api_server: ApiServer, folder: str) -> list[Object]:
    return list(
        yaml.load_all(api_server.kubectl("kustomize", MANIFESTS / folder), yaml.CSafeLoader)
    )


# as KServe 0.20's storage-initializer is installed: no security context
KSERVES_OWN = {"name": "storage-initializer", "image": "kserve/storage-initializer:v0.20.0"}


def pods(objects: list[Object]) -> list[Object]:
    """The Pods that controllers would make of the objects."""
    found = []
    for entry in objects:
        spec = entry.get("spec", {})
        spec = spec.get("jobTemplate", {}).get("spec", spec)  # a CronJob's
        if entry["kind"] == "ServingRuntime":  # KServe adds what fetches the model
            fetches = [
                other["spec"]["container"]
                for other in objects
                if other["kind"] == "ClusterStorageContainer"
            ]
            template = {
                "spec": {
                    "initContainers": fetches or [KSERVES_OWN],
                    "containers": spec["containers"],
                    "volumes": spec["volumes"],
                }
            }
        elif "template" in spec:
            template = spec["template"]
        else:
            continue
        if claims := spec.get("volumeClaimTemplates", ()):  # a StatefulSet's pod has one of each
            template = deepcopy(template)
            for claim in claims:
                name = claim["metadata"]["name"]
                made = {"claimName": f"{name}-{entry['metadata']['name']}-0"}
                volume = {"name": name, "persistentVolumeClaim": made}
                template["spec"]["volumes"].append(volume)
        namespace = entry["metadata"]["namespace"]
        metadata = {**template.get("metadata", {}), "name": "one", "namespace": namespace}
        found.append(
            {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}
        )
    return found


@pytest.fixture
def accounts(api_server: ApiServer) -> None:
    """The service accounts of our pods, without which they are refused."""
    for folder in ("overlays/onprem", "overlays/edge"):
        found = [entry for entry in built(api_server, folder) if entry["kind"] == "ServiceAccount"]
        api_server.kubectl("apply", "--server-side", "-f", "-", given=found)


@pytest.mark.usefixtures("accounts")
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_a_pod_of_each_workload_is_admitted(overlay: str, api_server: ApiServer) -> None:
    """The namespaces enforce the level restricted; the device plugin's own is privileged."""
    found = pods(built(api_server, f"overlays/{overlay}"))
    assert found
    for pod in found:
        api_server.kubectl("create", "--dry-run=server", "-f", "-", given=pod)


def test_kserve_s_own_storage_initializer_would_be_refused(api_server: ApiServer) -> None:
    objects = built(api_server, "overlays/gcp")
    own = [entry for entry in objects if entry["kind"] != "ClusterStorageContainer"]
    (pod,) = [entry for entry in pods(own) if has_init(entry)]
    assert 'container "storage-initializer" must set' in refusal(api_server, pod)


def test_kserve_s_modelcar_would_be_refused_as_our_pages_say(api_server: ApiServer) -> None:
    """As KServe 0.20 adds it; its configuration knows a user for it and nothing more."""
    (pod,) = [entry for entry in pods(built(api_server, "overlays/gcp")) if has_init(entry)]
    shell = {"name": "modelcar", "image": "a", "args": ["sh"], "securityContext": {"runAsUser": 9}}
    pod["spec"]["containers"].append(shell)
    assert 'container "modelcar" must set' in refusal(api_server, pod)


def has_init(pod: Object) -> bool:
    return "initContainers" in pod["spec"]


def test_the_device_plugin_is_refused_beside_the_servers(api_server: ApiServer) -> None:
    (pod,) = pods(built(api_server, "base/coral-plugin"))
    api_server.kubectl("create", "--dry-run=server", "-f", "-", given=pod)
    pod["metadata"]["namespace"] = "edgeline"
    assert 'violates PodSecurity "restricted:latest": privileged' in refusal(api_server, pod)


@pytest.mark.usefixtures("accounts")
@pytest.mark.parametrize(
    ("where", "value", "said"),
    [
        ("containers.0.securityContext.capabilities", None, "unrestricted capabilities"),
        ("containers.0.securityContext.allowPrivilegeEscalation", True, "allowPrivilegeEscalation"),
        ("securityContext.runAsNonRoot", None, "runAsNonRoot != true"),
        ("securityContext.runAsUser", 0, "runAsUser=0"),
        ("securityContext.seccompProfile", None, "seccompProfile"),
        ("hostNetwork", True, "host namespaces"),
        ("volumes.0", {"name": "state", "hostPath": {"path": "/dev"}}, "hostPath"),
    ],
)
def test_a_laxer_pod_of_ours_would_be_refused(
    where: str, value: object, said: str, api_server: ApiServer
) -> None:
    pod = deepcopy(pods(built(api_server, "overlays/laptop"))[0])
    *way, last = where.split(".")
    place: Any = pod["spec"]
    for step in way:
        place = place[int(step)] if step.isdigit() else place[step]
    place[int(last) if last.isdigit() else last] = value
    found = refusal(api_server, pod)
    assert 'violates PodSecurity "restricted:latest"' in found
    assert said in found


def refusal(api_server: ApiServer, pod: Object) -> str:
    done = api_server.try_kubectl("create", "--dry-run=server", "-f", "-", given=pod)
    assert done.returncode == 1
    return str(done.stderr)


VERBS = ("get", "list", "watch", "create", "update", "patch", "delete", "deletecollection")
RESOURCES = {
    "": (
        "configmaps endpoints events namespaces nodes persistentvolumeclaims persistentvolumes "
        "pods pods/exec pods/log pods/portforward secrets serviceaccounts serviceaccounts/token "
        "services"
    ),
    "admissionregistration.k8s.io": "mutatingwebhookconfigurations",
    "apiextensions.k8s.io": "customresourcedefinitions",
    "apps": "daemonsets deployments deployments/scale replicasets statefulsets",
    "autoscaling": "horizontalpodautoscalers",
    "batch": "cronjobs jobs",
    "networking.k8s.io": "ingresses networkpolicies",
    "pipelines.kubeflow.org": "pipelines pipelineversions",
    "policy": "poddisruptionbudgets",
    "rbac.authorization.k8s.io": "clusterrolebindings clusterroles rolebindings roles",
    "serving.kserve.io": "inferenceservices servingruntimes",
    "trainer.kubeflow.org": "clustertrainingruntimes trainingruntimes trainjobs",
}
NAMESPACES = ("edgeline", "kubeflow", "edgeline-devices", "kube-system", "")  # "": the cluster
Right = tuple[str, str, str, str]  # namespace, group, resource, verb
# what `serve` needs where it deploys, and training jobs where the pipelines run
ALLOWED = {
    ("edgeline", "", "services"): "create get patch update",
    ("edgeline", "", "events"): "list",
    ("edgeline", "", "pods"): "list",
    ("edgeline", "apps", "deployments"): "create get patch update",
    ("edgeline", "networking.k8s.io", "networkpolicies"): "create get patch update",
    ("edgeline", "serving.kserve.io", "inferenceservices"): "create get patch update",
    ("edgeline", "serving.kserve.io", "servingruntimes"): "create get patch update",
    ("kubeflow", "batch", "jobs"): "create delete get",
    ("kubeflow", "", "services"): "create",
    ("kubeflow", "", "pods"): "get list",
    ("kubeflow", "", "pods/log"): "get",
}


@pytest.fixture(scope="module")
def rights(api_server: ApiServer) -> None:
    runner = {"name": "pipeline-runner", "namespace": "kubeflow"}  # KFP brings it
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": runner}
    api_server.kubectl("apply", "--server-side", "-f", "-", given=account)
    api_server.kubectl("apply", "--server-side", "-k", MANIFESTS / "base" / "pipelines")


@pytest.mark.usefixtures("rights")
def test_pipelines_may_do_what_they_need_and_nothing_else(api_server: ApiServer) -> None:
    """Every verb on every resource in every namespace, as the server itself decides."""
    asked = {
        (namespace, group, resource, verb)
        for namespace, (group, names), verb in product(NAMESPACES, RESOURCES.items(), VERBS)
        for resource in names.split()
    }
    expected = {
        (namespace, group, resource, verb)
        for (namespace, group, names), verbs in ALLOWED.items()
        for resource, verb in product(names.split(), verbs.split())
    }
    assert expected <= asked
    reviews = authorisation(api_server)
    assert {right for right in asked if may(reviews, RUNNER, right)} == expected


def authorisation(api_server: ApiServer) -> Any:
    from kubernetes import client, config

    return client.AuthorizationV1Api(config.new_client_from_config(str(api_server.kubeconfig)))


def may(reviews: Any, user: str, right: Right) -> bool:
    from kubernetes import client

    namespace, group, resource, verb = right
    resource, _, sub = resource.partition("/")
    attributes = client.V1ResourceAttributes(
        namespace=namespace, group=group, resource=resource, subresource=sub, verb=verb
    )
    spec = client.V1SubjectAccessReviewSpec(
        user=user,
        groups=["system:serviceaccounts", "system:authenticated"],
        resource_attributes=attributes,
    )
    answer = reviews.create_subject_access_review(client.V1SubjectAccessReview(spec=spec))
    return bool(answer.status.allowed)


@pytest.mark.usefixtures("rights")
@pytest.mark.parametrize(
    ("verb", "resource", "namespace", "answer"),
    [
        ("patch", "inferenceservices.serving.kserve.io", "edgeline", "yes"),
        ("patch", "deployments.apps", "edgeline", "yes"),
        ("patch", "deployments.apps", "kubeflow", "no"),
        ("get", "secrets", "edgeline", "no"),
        ("create", "pods/exec", "edgeline", "no"),
    ],
)
def test_kubectl_says_the_same(
    verb: str, resource: str, namespace: str, answer: str, api_server: ApiServer
) -> None:
    who = f"--as={RUNNER}"
    done = api_server.try_kubectl("auth", "can-i", verb, resource, "-n", namespace, who)
    assert done.stdout.strip() == answer


def test_the_schedules_job_may_change_recurring_runs_and_nothing_else(
    api_server: ApiServer,
) -> None:
    """KFP's API server asks this API server for each call, by its own names of verbs."""
    kinds = ("Role", "RoleBinding", "ServiceAccount")
    objects = [
        entry
        for entry in built(api_server, "overlays/onprem")
        if entry["kind"] in kinds and entry["metadata"]["name"] == "pipeline-schedules"
    ]
    assert len(objects) == len(kinds)
    api_server.kubectl("apply", "--server-side", "-f", "-", given=objects)
    group, reviews = "pipelines.kubeflow.org", authorisation(api_server)
    resources = ("experiments", "jobs", "pipelines", "pipelines/versions", "runs")
    verbs = (*VERBS, "enable", "disable", "archive", "terminate")
    asked = {(where, group, *what) for where in NAMESPACES for what in product(resources, verbs)}
    asked |= {("kubeflow", "", "secrets", verb) for verb in VERBS}
    user = "system:serviceaccount:kubeflow:pipeline-schedules"
    expected = (
        {
            ("kubeflow", group, resource, verb)
            for resource in ("experiments", "pipelines", "pipelines/versions")
            for verb in ("get", "list")
        }
        | {
            ("kubeflow", group, "experiments", "create"),
        }
        | {
            ("kubeflow", group, "jobs", verb)
            for verb in ("get", "list", "create", "delete", "enable", "disable")
        }
    )
    assert {right for right in asked if may(reviews, user, right)} == expected
