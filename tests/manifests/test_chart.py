"""The Helm chart says what the manifests say, and refuses what would do something else."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from helm import CHART, EVERYTHING, REQUIRED, helm, skip_without_helm, template, try_helm
from schemas import kustomize, validate

from edgeline.errors import EdgelineError
from edgeline.lint.lint import lint

MANIFESTS = Path(__file__).parents[2] / "manifests"
sys.path.append(str(CHART.parent))
import write_chart  # noqa: E402

HELMS_OWN = re.compile(r"app\.kubernetes\.io/(instance|managed-by|version)|helm\.sh/chart")
PART = {"app.kubernetes.io/part-of": "edgeline"}
Objects = list[dict[str, Any]]
ALL_VALUES: dict[str, Any] = {
    "models": "gs://acme/models",
    "image": "registry.acme.dev/edge-server@sha256:" + "a" * 64,
    "imagePullSecrets": [{"name": "registry"}],
    "settings": {"AWS_REGION": "eu-central-1", "COUNT": "0899", "TOKEN_FILE": "/token"},
    "storeSecret": "store",
    "trust": {"kind": "Secret", "name": "root"},
    "tokens": {"required": True, "secret": "callers"},
    "args": ["--payloads", "s3://acme/payloads: all #1"],
    "replicas": 3,
    "autoscaling": {"enabled": False},
    "resources": {"limits": {"memory": "1Gi", "cpu": 1.5}},
    "stateSize": "8Gi",
    "nodeSelector": {"kubernetes.io/arch": "arm64"},
    "tolerations": [{"key": "edge", "operator": "Exists"}],
    "affinity": {"nodeAffinity": {}},
    "podLabels": {"azure.workload.identity/use": "true", "app.kubernetes.io/name": "other"},
    "serviceAccount": {"annotations": {"azure.workload.identity/client-id": "1e5"}},
    "service": {"type": "LoadBalancer", "annotations": {"internal": "true"}},
    "networkPolicy": {
        "callers": [{"ipBlock": {"cidr": "10.0.0.0/8"}}],
        "egress": [{"ports": [{"port": 8333, "protocol": "TCP"}]}],
    },
    "ingress": {"enabled": True, "host": "models.acme.dev", "className": "nginx"},
    "monitoring": {"enabled": True, "labels": {"release": "kps"}, "namespace": "watching"},
}


def one(objects: Objects, kind: str, name: str = "") -> dict[str, Any]:
    (found,) = [
        each
        for each in objects
        if each["kind"] == kind and (not name or each["metadata"]["name"] == name)
    ]
    return found


def same_as_kustomize(objects: Objects) -> dict[tuple[str, str], Any]:
    """Objects by kind and name, without what Helm and kustomize each add of their own."""
    text = json.dumps(objects)
    known = json.loads(re.sub(r"edge-server-settings-[a-z0-9]+", "edge-server-settings", text))
    for each in known:
        metadata = each["metadata"]
        metadata["labels"].pop("app.kubernetes.io/name", None)  # of objects, the chart's have it
        if each["kind"] == "Service":
            each["spec"].setdefault("type", "ClusterIP")
        if each["kind"] == "Deployment":
            each["spec"]["template"]["metadata"].pop("annotations", None)  # of the settings' hash
        without(each)
    return {(each["kind"], each["metadata"]["name"]): each for each in known}


def without(value: Any) -> None:
    if isinstance(value, dict):
        for key in [key for key in value if HELMS_OWN.fullmatch(key)]:
            del value[key]
    for below in value.values() if isinstance(value, dict) else value:
        if isinstance(below, dict | list):
            without(below)


def built(folder: Path, *components: str) -> Objects:
    """The base with components, as an overlay takes them, less what concerns the namespace."""
    (folder / "manifests").symlink_to(MANIFESTS)
    listed = ", ".join(f"manifests/components/{name}" for name in components)
    (folder / "kustomization.yaml").write_text(
        f"namespace: edgeline\nresources: [manifests/base/edge-server]\ncomponents: [{listed}]\n"
    )
    return [
        {**each, "metadata": {"labels": PART} | each["metadata"]}  # components leave it out
        for each in kustomize(folder)
        if each["metadata"]["name"] != "default-deny"
        and each["kind"] != "PrometheusRule"
        and "edge-servers.json" not in each.get("data", {})
    ]


def test_the_chart_is_as_the_manifests_are() -> None:
    assert list(write_chart.drifted()) == [], "make docs"


def test_every_manifest_of_the_base_is_in_the_chart() -> None:
    base = MANIFESTS / "base" / "edge-server"
    listed = yaml.safe_load((base / "kustomization.yaml").read_text())["resources"]
    sources = {template.source for template in write_chart.TEMPLATES.values()}
    assert {f"{write_chart.BASE}/{name}" for name in listed} <= sources


def test_its_image_is_the_one_of_the_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    digest = "sha256:" + "b" * 64
    entry = {"repository": "ghcr.io/acme/edge-server", "version": "0.1.0", "digest": digest}
    (tmp_path / "lock.yaml").write_text(yaml.safe_dump({"edge-server": entry}))
    monkeypatch.setenv("EDGELINE_IMAGES", str(tmp_path / "lock.yaml"))
    (values,) = write_chart.drifted().values()
    assert f"\nimage: ghcr.io/acme/edge-server@{digest}\n" in values


def test_a_manifest_that_changed_where_a_value_goes_is_named() -> None:
    edit = ("replicas: 7\n", "replicas: {{ .Values.replicas }}\n")
    template = write_chart.Template("manifests/base/edge-server/deployment.yaml", (edit,))
    with pytest.raises(EdgelineError, match=r"deployment\.yaml .* 'replicas: 7'"):
        write_chart.written(template)


def test_every_value_has_a_default_and_a_schema() -> None:
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    schema = json.loads((CHART / "values.schema.json").read_text())
    assert values.keys() | {"global"} == schema["properties"].keys()
    assert values.keys() == ALL_VALUES.keys()
    for name, below in schema["properties"].items():
        if "properties" in below:
            assert values[name].keys() == below["properties"].keys()


def test_helm_s_linter_finds_nothing() -> None:
    skip_without_helm()
    done = try_helm("lint", "--strict", "--quiet", CHART, *REQUIRED)
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "", "")


def test_with_its_defaults_it_is_the_base_with_tokens(tmp_path: Path) -> None:
    skip_without_helm()
    assert same_as_kustomize(template(*REQUIRED)) == same_as_kustomize(built(tmp_path, "tokens"))


def test_with_all_of_it_it_is_the_base_with_the_components(tmp_path: Path) -> None:
    skip_without_helm()
    wanted = built(tmp_path, "monitoring", "tokens", "ingress")
    assert same_as_kustomize(template(*EVERYTHING)) == same_as_kustomize(wanted)


def test_without_tokens_it_is_the_laptop_s_server() -> None:
    skip_without_helm()
    off = ("--set", "tokens.required=false", "--set", "monitoring.enabled=true")
    objects = template(*REQUIRED, *off)
    pod = one(objects, "Deployment")["spec"]["template"]["spec"]
    assert pod["containers"][0]["args"][-1] == "--tokens=none"
    assert "edge-server-tokens" not in json.dumps(objects)
    assert "authorization" not in one(objects, "ServiceMonitor")["spec"]["endpoints"][0]


@pytest.mark.parametrize("values", [{}, ALL_VALUES])
def test_what_it_makes_fits_the_schemas_and_has_no_fault(
    values: dict[str, Any], tmp_path: Path
) -> None:
    skip_without_helm()
    (tmp_path / "values.yaml").write_text(json.dumps(values))
    required = () if values else REQUIRED
    objects = template(*required, "--values", tmp_path / "values.yaml")
    for each in objects:
        validate(each)
    assert not [each for each in objects if each["kind"] == "Secret"]
    (tmp_path / "built").mkdir()
    (tmp_path / "built" / "all.yaml").write_text(yaml.safe_dump_all(objects))
    found = {str(entry) for entry in lint([tmp_path / "built"])}
    assert {entry for entry in found if "image-not-pinned" not in entry} == set()


def test_each_value_arrives(tmp_path: Path) -> None:
    skip_without_helm()
    (tmp_path / "values.yaml").write_text(json.dumps(ALL_VALUES))
    objects = template("--values", tmp_path / "values.yaml")
    deployment = one(objects, "Deployment")["spec"]
    pod = deployment["template"]["spec"]
    (server,) = pod["containers"]
    assert deployment["replicas"] == 3
    assert not [each for each in objects if each["kind"] == "HorizontalPodAutoscaler"]
    assert server["image"] == ALL_VALUES["image"]
    assert server["args"][-2:] == ALL_VALUES["args"]
    assert server["resources"] == {
        "requests": {"cpu": "100m", "memory": "128Mi"},
        "limits": {"cpu": 1.5, "memory": "1Gi"},
    }
    for field in ("affinity", "imagePullSecrets", "nodeSelector", "tolerations"):
        assert pod[field] == ALL_VALUES[field]
    volumes = {each["name"]: each for each in pod["volumes"]}
    assert volumes["state"]["emptyDir"] == {"sizeLimit": "8Gi"}
    assert volumes["trust"] == {"name": "trust", "secret": {"secretName": "root"}}
    assert volumes["tokens"]["secret"] == {"secretName": "callers"}
    assert server["envFrom"][1]["secretRef"] == {"name": "store", "optional": True}
    settings = one(objects, "ConfigMap")["data"]
    assert settings.items() >= {"COUNT": "0899", "MODELS": "gs://acme/models"}.items()
    labels = deployment["template"]["metadata"]["labels"]
    assert labels["azure.workload.identity/use"] == "true"
    assert labels.items() >= deployment["selector"]["matchLabels"].items()
    account = one(objects, "ServiceAccount")
    assert account["metadata"]["annotations"] == ALL_VALUES["serviceAccount"]["annotations"]
    service = one(objects, "Service")
    assert service["spec"]["type"] == "LoadBalancer"
    assert service["metadata"]["annotations"] == {"internal": "true"}
    policy = one(objects, "NetworkPolicy", "edge-server")["spec"]
    assert policy["ingress"][0]["from"][-1] == ALL_VALUES["networkPolicy"]["callers"][0]
    assert policy["egress"][-1] == ALL_VALUES["networkPolicy"]["egress"][0]
    assert "watching" in json.dumps(one(objects, "NetworkPolicy", "edge-server-metrics"))
    ingress = one(objects, "Ingress")["spec"]
    assert ingress["ingressClassName"] == "nginx"
    assert ingress["rules"][0]["host"] == ingress["tls"][0]["hosts"][0] == "models.acme.dev"
    assert one(objects, "ServiceMonitor")["metadata"]["labels"]["release"] == "kps"


@pytest.mark.parametrize("name", ["kitchen", "a" * 53, "edge-server-2"])
def test_two_releases_share_nothing_in_a_namespace(name: str) -> None:
    skip_without_helm()
    release = (name, str(CHART), "--namespace", "12")
    objects, other = template(*EVERYTHING, release=release), template(*EVERYTHING)
    names = {(each["kind"], each["metadata"]["name"]) for each in objects}
    assert not names & {(each["kind"], each["metadata"]["name"]) for each in other}
    for each in objects:
        validate(each)
        assert each["metadata"]["namespace"] == "12"
        assert isinstance(each["metadata"]["name"], str)
    service = one(objects, "Service")
    assert len(service["metadata"]["name"]) <= 63
    assert service["spec"]["selector"]["app.kubernetes.io/instance"] == name
    selectors = re.findall(r'"app.kubernetes.io/instance": "([^"]*)"', json.dumps(objects))
    assert set(selectors) == {name}
    assert one(objects, "ConfigMap")["data"]["NAMES"].split(",")[2].endswith(".12.svc")


def test_a_change_of_the_settings_starts_new_pods() -> None:
    skip_without_helm()
    pods = [
        one(template(*REQUIRED, *more), "Deployment")["spec"]["template"]
        for more in ((), (), ("--set", "settings.AWS_REGION=eu-central-1"))
    ]
    assert pods[0] == pods[1] != pods[2]


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ("models=", "models is empty: set it to the address"),
        ("models=models", "models (models) is not an address with a scheme"),
        ("replicaCount=2", "additional properties 'replicaCount' not allowed"),
        ("tokens.secretName=t", "additional properties 'secretName' not allowed"),
        ("models=https://me:pass@acme.dev/models", "models has a password"),
        ("args={--tokens=none}", "args: the chart itself sets --tokens=none"),
        ("resources.requests.cpu=null", "resources.requests.cpu is missing"),
        ("resources.requests=null", "resources.requests.cpu is missing"),
        ("image=edge-server", "image (edge-server) has neither a digest nor a tag"),
        ("image=a.dev:443/server", "image (a.dev:443/server) has neither a digest nor a tag"),
        ("image=server@sha256:12", "has neither a digest nor a tag"),
        ("trust.kind=File", "at '/trust/kind': value must be one of 'ConfigMap', 'Secret'"),
        ("service.type=External", "at '/service/type': value must be one of"),
        ("replicas=many", "at '/replicas': got string, want null or integer"),
        ("replicas=2", "set autoscaling.enabled=false for a fixed number"),
        ("autoscaling.minReplicas=9", "minReplicas (9) is more than maxReplicas (8)"),
        ("settings.COUNT=3", "at '/settings/COUNT': got number, want string"),
        ("settings.MODELS=s3://b/m", "what is served is the value models"),
        ("settings.AWS_SECRET_ACCESS_KEY=k", "put it into the Secret edge-server-store"),
        ("settings.AWS_ACCESS_KEY_ID=k", "put it into the Secret edge-server-store"),
        ("settings.AZURE_STORAGE_KEY=k", "put it into the Secret edge-server-store"),
        ("settings.PGPASSWORD=k", "put it into the Secret edge-server-store"),
        ("ingress.enabled=true", "ingress.host is empty: set it to the name"),
        ("service.type=NodePort", "name the addresses that may call in networkPolicy.callers"),
        ("tokens=null", "missing property 'tokens'"),
        ("networkPolicy.enabled=null", "at '/networkPolicy': missing property 'enabled'"),
        ("stateSize=big", "at '/stateSize': 'big' does not match pattern"),
    ],
)
def test_wrong_values_are_refused_by_name(wrong: str, sentence: str) -> None:
    skip_without_helm()
    done = try_helm("template", "edge-server", CHART, *REQUIRED, "--set", wrong)
    assert done.returncode != 0
    assert done.stdout == ""
    assert sentence in done.stderr


@pytest.mark.parametrize("name", ["12", "a.b"])
def test_a_release_that_no_service_can_be_named_after_is_refused(name: str) -> None:
    skip_without_helm()
    done = try_helm("template", name, CHART, *REQUIRED)
    assert f"the release's name ({name}) cannot be a Service's" in done.stderr


def test_the_commands_that_readme_shows_install_it(tmp_path: Path) -> None:
    skip_without_helm()
    readme = (MANIFESTS / "README.md").read_text()
    printed = readme.split("## With Helm\n")[1].split("\n## ")[0]
    (values,) = re.findall(r"```yaml\n(.*?)```", printed, re.DOTALL)
    (tmp_path / "values.yaml").write_text(values)
    assert "helm upgrade --install edge-server charts/edge-server" in printed
    assert template("--values", tmp_path / "values.yaml")
    packed = helm("package", CHART, "--destination", tmp_path)
    assert Path(packed.rsplit(": ", 1)[1].strip()).is_file()
