"""Every overlay builds, fits the schemas with no field unknown, and has no fault of the linter."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from schemas import kustomize, validate

from edgeline import __version__, images
from edgeline.client.compiling import compile_pipeline
from edgeline.environments import NAMES
from edgeline.environments.environment import load
from edgeline.images import kustomization
from edgeline.lint.lint import lint
from edgeline.server.settings import ServerSettings

MANIFESTS = Path(__file__).parents[2] / "manifests"
OVERLAYS = sorted(path.name for path in (MANIFESTS / "overlays").iterdir())
GITOPS = ("argocd", "flux")
Objects = list[dict[str, Any]]


@pytest.fixture(scope="module")
def built() -> dict[str, Objects]:
    overlays = {name: kustomize(MANIFESTS / "overlays" / name) for name in OVERLAYS}
    return overlays | {name: kustomize(MANIFESTS / "gitops" / name) for name in GITOPS}


def one(objects: Objects, kind: str, name: str) -> dict[str, Any]:
    (found,) = [
        entry for entry in objects if (entry["kind"], entry["metadata"]["name"]) == (kind, name)
    ]
    return found


def pod(objects: Objects, kind: str) -> dict[str, Any]:
    found: dict[str, Any] = one(objects, kind, "edge-server")["spec"]["template"]["spec"]
    return found


def test_there_is_an_overlay_for_each_environment() -> None:
    assert sorted(NAMES) == OVERLAYS


@pytest.mark.parametrize("name", [*OVERLAYS, *GITOPS])
def test_every_object_fits_its_schema(name: str, built: dict[str, Objects]) -> None:
    assert built[name]
    for document in built[name]:
        validate(document)


@pytest.mark.parametrize("name", [*OVERLAYS, *GITOPS])
def test_the_linter_finds_no_fault(name: str, built: dict[str, Objects], tmp_path: Path) -> None:
    path = tmp_path / "built.yaml"
    path.write_text(yaml.safe_dump_all(built[name]))
    unlocked = {
        str(entry)
        for entry in lint([path])
        if not (entry.rule == "image-not-pinned" and "ghcr.io/edgeline/" in entry.message)
        and entry.rule != "example-address"  # which each team replaces
    }
    assert unlocked == set()


@pytest.mark.parametrize("name", OVERLAYS)
def test_its_images_are_those_of_the_lock(name: str, built: dict[str, Objects]) -> None:
    known = {images.reference(image) for image in ("edge-server", "pipeline")}
    known |= {f"ghcr.io/edgeline/edge-server-coral:{__version__}"} if name == "edge" else set()
    used = set(re.findall(r"\bimage: (\S+)", yaml.safe_dump_all(built[name])))
    assert {image for image in used if "edgeline" in image} <= known


@pytest.mark.parametrize("name", OVERLAYS)
def test_pods_meet_pod_security_restricted(name: str, built: dict[str, Objects]) -> None:
    for document in built[name]:
        template = document.get("spec", {}).get("template", {}).get("spec")
        if not template or document["metadata"].get("namespace") == "edgeline-devices":
            continue
        context = template["securityContext"]
        assert context["runAsNonRoot"] is True
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}
        assert not any("hostPath" in volume for volume in template["volumes"])
        for container in template["containers"]:
            assert container["securityContext"]["allowPrivilegeEscalation"] is False
            assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
            assert container["securityContext"]["readOnlyRootFilesystem"] is True


@pytest.mark.parametrize("name", [name for name in OVERLAYS if name != "laptop"])
def test_artifacts_go_where_the_namespace_s_launcher_says(
    name: str, built: dict[str, Objects]
) -> None:
    """A root in the environment would go into every version, and hold in no other namespace."""
    launcher = one(built[name], "ConfigMap", "kfp-launcher")["data"]
    store = load(name).object_store
    assert store.root in ("", launcher["defaultPipelineRoot"])
    (provider,) = yaml.safe_load(launcher["providers"]).items()
    assert launcher["defaultPipelineRoot"].startswith(f"{provider[0]}://")
    credentials = provider[1]["default"]["credentials"]
    if store.secret:
        assert store.root == ""  # the key is a profile's own where there are profiles
        assert credentials["secretRef"]["secretName"] == store.secret.name
        assert provider[1]["default"]["endpoint"] == store.endpoint
    else:
        assert credentials == {"fromEnv": True}


def test_a_profile_keeps_its_own_launcher(tmp_path: Path, built: dict[str, Objects]) -> None:
    """As gitops/README.md prints it: the profile's key may not write to the overlay's root."""
    shutil.copytree(MANIFESTS, tmp_path / "manifests")
    (tmp_path / "profile").mkdir()
    readme = (MANIFESTS / "gitops" / "README.md").read_text()
    (printed,) = [
        block.partition("```")[0]
        for block in readme.split("```yaml\n")[1:]
        if "namespace: team-a" in block
    ]
    printed = printed.replace("https://github.com/edgeline/edgeline//", "../")
    (tmp_path / "profile" / "kustomization.yaml").write_text(
        printed.replace(f"?ref=v{__version__}", "")
    )
    (tmp_path / "profile" / "schedules.yaml").write_text("schedules: []\n")
    (tmp_path / "profile" / "versions.yaml").write_text("{}\n")
    objects = kustomize(tmp_path / "profile")
    assert one(built["onprem"], "ConfigMap", "kfp-launcher")
    assert "kfp-launcher" not in [entry["metadata"]["name"] for entry in objects]
    assert {entry["metadata"]["namespace"] for entry in objects} == {"team-a"}
    (schedules,) = [entry["data"] for entry in objects if entry["kind"] == "ConfigMap"]
    assert schedules == {"schedules.yaml": "schedules: []\n", "versions.yaml": "{}\n"}


def test_argo_cd_s_project_outlives_its_applications(built: dict[str, Objects]) -> None:
    """Seen with Argo CD 3.5.1: without their project they never finish being deleted."""
    metadata = one(built["argocd"], "AppProject", "edgeline")["metadata"]
    assert metadata["finalizers"] == ["resources-finalizer.argocd.argoproj.io"]


@pytest.mark.parametrize("name", OVERLAYS)
def test_the_namespace_outlives_what_is_deployed_to_it(
    name: str, built: dict[str, Objects]
) -> None:
    """Else Argo CD and Flux delete Secrets that a user made there and what pipelines deployed."""
    annotations = one(built[name], "Namespace", "edgeline")["metadata"]["annotations"]
    assert annotations["argocd.argoproj.io/sync-options"] == "Prune=false,Delete=false"
    assert annotations["kustomize.toolkit.fluxcd.io/prune"] == "disabled"


def test_a_change_of_settings_starts_new_pods(built: dict[str, Objects]) -> None:
    name = pod(built["onprem"], "Deployment")["containers"][0]["envFrom"][0]["configMapRef"]["name"]
    assert one(built["onprem"], "ConfigMap", name)["data"]["MODELS"] == "s3://mlpipeline/models"
    assert name != pod(built["azure"], "Deployment")["containers"][0]["envFrom"][0]["configMapRef"]


def test_nothing_reaches_a_pod_but_predictions(built: dict[str, Objects]) -> None:
    deny = one(built["onprem"], "NetworkPolicy", "default-deny")["spec"]
    assert deny == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    allow = one(built["onprem"], "NetworkPolicy", "edge-server")["spec"]["ingress"]
    assert [port["port"] for rule in allow for port in rule["ports"]] == [8080]


def test_tokens_are_asked_for_where_others_can_call(built: dict[str, Objects]) -> None:
    kinds = {"onprem": "Deployment", "azure": "Deployment", "edge": "StatefulSet"}
    specs = [pod(built[name], kind) for name, kind in kinds.items()]
    runtimes = [one(built[name], "ServingRuntime", "edgeline-litert") for name in ("aws", "gcp")]
    for spec in [*specs, *(runtime["spec"] for runtime in runtimes)]:
        assert "--tokens=/etc/edgeline/tokens/tokens.json" in spec["containers"][0]["args"]
        assert {"name": "tokens", "secret": {"secretName": "edge-server-tokens"}} in spec["volumes"]
    (laptop,) = pod(built["laptop"], "Deployment")["containers"]
    assert "--tokens=none" in laptop["args"]


def test_the_autoscaler_has_its_measure_and_a_node_can_be_drained(
    built: dict[str, Objects],
) -> None:
    for name in ("onprem", "azure"):
        scaler = one(built[name], "HorizontalPodAutoscaler", "edge-server")["spec"]
        (metric,) = scaler["metrics"]
        for container in pod(built[name], "Deployment")["containers"]:
            assert metric["resource"]["name"] in container["resources"]["requests"]
        budget = one(built[name], "PodDisruptionBudget", "edge-server")["spec"]
        # one pod may always go: a minimum of 1 would block the node of a server that is alone
        assert budget["maxUnavailable"] == 1
        chosen = budget["selector"]["matchLabels"].items()
        deployment = one(built[name], "Deployment", "edge-server")["spec"]
        assert chosen <= deployment["template"]["metadata"]["labels"].items()
        assert "replicas" not in deployment
        assert scaler["minReplicas"] > 1
    kinds = {entry["kind"] for entry in built["laptop"]}
    assert not kinds & {"HorizontalPodAutoscaler", "PodDisruptionBudget"}


@pytest.mark.parametrize("name", ["onprem", "azure", "edge", "laptop"])
def test_servers_know_the_names_of_their_service(name: str, built: dict[str, Objects]) -> None:
    (container,) = pod(built[name], "StatefulSet" if name == "edge" else "Deployment")["containers"]
    assert container["args"][container["args"].index("--names") + 1] == "$(NAMES)"
    settings = container["envFrom"][0]["configMapRef"]["name"]
    names = one(built[name], "ConfigMap", settings)["data"]["NAMES"].split(",")
    service = one(built[name], "Service", "edge-server")["metadata"]
    whole = f"{service['name']}.{service['namespace']}"
    assert names == [service["name"], whole, f"{whole}.svc", f"{whole}.svc.cluster.local"]
    ServerSettings(names=",".join(names))


@pytest.mark.parametrize("name", ["aws", "gcp"])
def test_a_runtime_of_kserve_knows_the_names_of_the_predictor(
    name: str, built: dict[str, Objects]
) -> None:
    (container,) = one(built[name], "ServingRuntime", "edgeline-litert")["spec"]["containers"]
    given = container["args"][container["args"].index("--names") + 1]
    # as KServe's controller does, by Go's templates
    names = given.replace("{{.Name}}", "taxi").replace("{{.Namespace}}", "edgeline").split(",")
    assert names[0] == "taxi-predictor"
    assert names[-1] == "taxi-predictor.edgeline.svc.cluster.local"
    ServerSettings(names=",".join(names))


def test_prometheus_has_a_token_where_callers_need_one(built: dict[str, Objects]) -> None:
    secret = {"name": "edge-server-prometheus", "key": "token"}
    for name in ("onprem", "azure", "edge"):
        (endpoint,) = one(built[name], "ServiceMonitor", "edge-server")["spec"]["endpoints"]
        assert endpoint["authorization"] == {"credentials": secret}
    for name in ("aws", "gcp"):
        (endpoint,) = one(built[name], "PodMonitor", "edge-server")["spec"]["podMetricsEndpoints"]
        assert endpoint["authorization"] == {"credentials": secret}


@pytest.mark.parametrize("name", OVERLAYS)
def test_no_pod_has_a_token_of_kubernetes_that_it_does_not_use(
    name: str, built: dict[str, Objects]
) -> None:
    accounts = [entry for entry in built[name] if entry["kind"] == "ServiceAccount"]
    assert accounts
    assert all(entry["automountServiceAccountToken"] is False for entry in accounts)


def test_a_site_has_a_server_on_each_node_with_an_edge_tpu(built: dict[str, Objects]) -> None:
    spec = pod(built["edge"], "StatefulSet")
    assert spec["containers"][0]["resources"]["limits"]["squat.ai/coral"] == 1
    assert spec["nodeSelector"]["edgeline.dev/coral"] == "true"
    assert "/edge-server-coral:" in spec["containers"][0]["image"]  # with libedgetpu
    assert not [entry for entry in built["edge"] if entry["kind"] == "Deployment"]
    assert one(built["edge"], "Service", "edge-server")["spec"]["internalTrafficPolicy"] == "Local"


@pytest.mark.parametrize("name", ["onprem", "azure"])
def test_schedules_publish_signed_where_servers_take_nothing_else(
    name: str, built: dict[str, Objects]
) -> None:
    declared = MANIFESTS / "overlays" / name / "pipelines" / "schedules.yaml"
    (schedule,) = yaml.safe_load(declared.read_text())["schedules"]
    given = schedule["parameters"]
    (container,) = pod(built[name], "Deployment")["containers"]
    assert "--root" in container["args"]
    (settings,) = [  # whose name ends in a digest
        entry["data"]
        for entry in built[name]
        if entry["kind"] == "ConfigMap" and "MODELS" in entry.get("data", {})
    ]
    assert settings["MODELS"] == given["destination"]
    mounted = [files.path for files in load(schedule["environment"]).tasks["publish"].secret_files]
    assert given["signing_keys"] in mounted


def test_what_a_site_s_server_has_fetched_outlives_its_pod(built: dict[str, Objects]) -> None:
    """One pod a node, whose claim binds it to a volume there; nothing of it is an emptyDir."""
    whole = one(built["edge"], "StatefulSet", "edge-server")["spec"]
    (claim,) = whole["volumeClaimTemplates"]
    assert claim["metadata"]["name"] == "state"
    assert "state" not in [volume["name"] for volume in whole["template"]["spec"]["volumes"]]
    (mount,) = [
        entry
        for entry in whole["template"]["spec"]["containers"][0]["volumeMounts"]
        if entry["name"] == "state"
    ]
    assert mount["mountPath"] == "/var/lib/edgeline"
    affinity = whole["template"]["spec"]["affinity"]["podAntiAffinity"]
    (rule,) = affinity["requiredDuringSchedulingIgnoredDuringExecution"]
    assert rule["topologyKey"] == "kubernetes.io/hostname"


def test_a_prefix_reaches_the_name_of_the_pipeline_in_its_version(tmp_path: Path) -> None:
    compile_pipeline("taxi", str(tmp_path / "taxi.yaml"), kubernetes=True)
    component = Path("..") / "names"
    (tmp_path / "staging").mkdir()
    (tmp_path / "staging" / "kustomization.yaml").write_text(
        f"namePrefix: staging-\nresources: [../all]\ncomponents: [{component}]\n"
    )
    (tmp_path / "all").mkdir()
    (tmp_path / "taxi.yaml").rename(tmp_path / "all" / "taxi.yaml")
    (tmp_path / "all" / "kustomization.yaml").write_text("resources: [taxi.yaml]\n")
    source = MANIFESTS / "components" / "pipeline-names"
    (tmp_path / "names").mkdir()
    for file in source.iterdir():
        (tmp_path / "names" / file.name).write_bytes(file.read_bytes())
    pipeline, version = sorted(kustomize(tmp_path / "staging"), key=lambda entry: entry["kind"])
    assert pipeline["metadata"]["name"] == "staging-taxi"
    assert version["spec"]["pipelineName"] == "staging-taxi"
    for entry in (pipeline, version):
        options = entry["metadata"]["annotations"]["argocd.argoproj.io/sync-options"]
        assert options.startswith("Prune=false,Delete=false")
    rules = {finding.rule for finding in lint([tmp_path])}
    assert not rules & {"prefix-without-reference", "pipeline-pruned", "version-pruned"}


KFP_KEEPS = {"secondsAfterCompletion": 3600, "secondsAfterSuccess": 3600}  # and so do we
KFP_KEEPS |= {"secondsAfterFailure": 3600}


@pytest.mark.parametrize(
    ("component", "strategy"),
    [("retries", {"limit": "0", "retryPolicy": "Always"}), ("small-workflows", None)],
)
def test_the_controller_s_settings_have_components_that_keep_kfp_s_others(
    component: str, strategy: dict[str, str] | None, tmp_path: Path
) -> None:
    controller = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "workflow-controller-configmap", "namespace": "kubeflow"},
        "data": {
            "executor": "imagePullPolicy: IfNotPresent\n",
            "workflowDefaults": yaml.safe_dump(
                {
                    "spec": {
                        "ttlStrategy": KFP_KEEPS,
                        "templateDefaults": {"retryStrategy": {"retryPolicy": "OnError"}},
                    }
                }
            ),
        },
    }
    (tmp_path / "kfp.yaml").write_text(yaml.safe_dump(controller))
    (tmp_path / component).mkdir()
    for file in (MANIFESTS / "components" / component).iterdir():
        (tmp_path / component / file.name).write_bytes(file.read_bytes())
    (tmp_path / "kustomization.yaml").write_text(
        f"resources: [kfp.yaml]\ncomponents: [{component}]\n"
    )
    (made,) = kustomize(tmp_path)
    validate(made)
    assert made["data"]["executor"] == controller["data"]["executor"]
    defaults = yaml.safe_load(made["data"]["workflowDefaults"])
    assert defaults["spec"]["ttlStrategy"] == KFP_KEEPS
    assert defaults["spec"].get("templateDefaults", {}).get("retryStrategy") == strategy
    fault = Path(__file__).parents[1] / "lint" / "faults" / "retry-does-nothing.yaml"
    assert "retry-does-nothing" in {finding.rule for finding in lint([fault])}
    assert not {finding.rule for finding in lint([fault, tmp_path])} & {
        "retry-does-nothing",
        "workflow-defaults-lost",
    }


def test_argo_cd_sees_how_each_kind_of_ours_fares() -> None:
    patch = yaml.safe_load((MANIFESTS / "gitops" / "argocd" / "health.yaml").read_text())
    assert patch["metadata"] == {"name": "argocd-cm"}  # and no label, which would replace Argo's
    data = patch["data"]
    kinds = {key.rpartition("_")[2] for key in data}
    assert kinds == {"Application", "PipelineVersion", "TrainJob", "TFJob", "Experiment"}


@pytest.mark.parametrize("name", sorted({*OVERLAYS} - {"laptop"}))
def test_a_team_s_kustomization_builds_on_each_overlay_with_pipelines(
    name: str, tmp_path: Path
) -> None:
    readme = (MANIFESTS / "gitops" / "README.md").read_text()
    text = readme.split("cluster/kustomization.yaml`:\n\n```yaml\n")[1].split("```")[0]
    address = next(line.strip("- ") for line in text.splitlines() if "https://" in line)
    shutil.copytree(MANIFESTS, tmp_path / "manifests")
    cluster = tmp_path / "cluster"
    cluster.mkdir()
    text = text.replace(address, f"../manifests/overlays/{name}")
    (cluster / "kustomization.yaml").write_text(text)
    mine = "schedules: [{name: n, pipeline: taxi, version: current, every: 3600}]\n"
    (cluster / "schedules.yaml").write_text(mine)
    (cluster / "versions.yaml").write_text("taxi: taxi-0123456789abcdef\n")
    (cluster / "root.json").write_text("{}")
    objects = kustomize(cluster)
    (schedules,) = [
        entry
        for entry in objects
        if entry["kind"] == "ConfigMap"
        and entry["metadata"]["name"].startswith("pipeline-schedules")
    ]
    assert schedules["data"]["schedules.yaml"] == mine
    job = one(objects, "Job", "pipeline-schedules-apply")
    assert job["metadata"]["annotations"]["argocd.argoproj.io/hook"] == "Sync"
    assert job["spec"]["activeDeadlineSeconds"] < 300  # Flux's timeout
    assert job["spec"]["ttlSecondsAfterFinished"]
    for kind, pod_of in (("Job", job["spec"]), ("CronJob", None)):
        found = (
            pod_of or one(objects, kind, "pipeline-schedules-repair")["spec"]["jobTemplate"]["spec"]
        )
        (container,) = found["template"]["spec"]["containers"]
        assert container["command"][:4] == ["edgeline", "schedules", "apply", "--prune"]
        mounts = {
            volume["configMap"]["name"]
            for volume in found["template"]["spec"]["volumes"]
            if "configMap" in volume
        }
        assert mounts == {schedules["metadata"]["name"]}


def test_the_component_of_images_is_what_the_lock_file_makes(tmp_path: Path) -> None:
    made = kustomization.write(tmp_path / "made.yaml", images.lock_file())
    kept = MANIFESTS / "components" / "images" / "kustomization.yaml"
    assert kept.read_text() == made.read_text(), "edgeline images lock --kustomization ..."


def test_a_locked_digest_reaches_every_manifest(tmp_path: Path) -> None:
    digest = "sha256:" + "a" * 64
    lock = tmp_path / "images.lock.yaml"
    entry = {"repository": "registry.example/team/server", "version": "1", "digest": digest}
    lock.write_text(yaml.safe_dump({"edge-server": entry}))
    copy = tmp_path / "manifests"
    shutil.copytree(MANIFESTS, copy)
    kustomization.write(copy / "components" / "images" / "kustomization.yaml", lock)
    found = pod(kustomize(copy / "overlays" / "onprem"), "Deployment")["containers"][0]["image"]
    assert found == f"registry.example/team/server@{digest}"
    (allowed,) = kustomize(copy / "components" / "admission" / "allowed")
    assert allowed["data"]["edge-server"] == found
