"""Components that a team adds to an overlay: each builds on it, fits the schemas and works."""

from __future__ import annotations

import copy
import json
import os
import re
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import jsonschema
import pytest
import yaml
from schemas import kustomize, validate, validate_by_definition

from edgeline import images
from edgeline.lint.lint import lint
from edgeline.server import metrics
from edgeline.server.protocols import routes

MANIFESTS = Path(__file__).parents[2] / "manifests"
COMPONENTS = MANIFESTS / "components"
CACHE = Path(os.environ.get("EDGELINE_TEST_CACHE", "~/.cache/edgeline-tests")).expanduser()
KYVERNO = CACHE / "kyverno-v1.19.1" / "policies.kyverno.io_validatingpolicies.yaml"
Objects = list[dict[str, Any]]
ADDED = [
    ("onprem", "admission"),
    ("gcp", "admission"),
    ("laptop", "gateway"),
    ("onprem", "ingress"),
    ("laptop", "monitoring"),
    ("onprem", "beam-flink"),
    ("onprem", "beam-spark"),
]


def added(folder: Path, overlay: str, component: str, patches: str = "") -> Objects:
    """An overlay with a component, as a team's kustomization takes both."""
    (folder / "manifests").symlink_to(MANIFESTS)
    team = folder / "team"
    team.mkdir()
    (team / "kustomization.yaml").write_text(
        f"resources: [../manifests/overlays/{overlay}]\n"
        f"components: [../manifests/components/{component}]\n{patches}"
    )
    return kustomize(team)


def of(objects: Objects, kind: str) -> Objects:
    return [entry for entry in objects if entry["kind"] == kind]


@pytest.mark.parametrize(("overlay", "component"), ADDED)
def test_a_component_fits_its_overlay(overlay: str, component: str, tmp_path: Path) -> None:
    plain = {json.dumps(each) for each in kustomize(MANIFESTS / "overlays" / overlay)}
    objects = added(tmp_path, overlay, component)
    assert [each for each in objects if json.dumps(each) not in plain]
    for each in objects:
        validate(each)
    (tmp_path / "built").mkdir()
    (tmp_path / "built" / "all.yaml").write_text(yaml.safe_dump_all(objects))
    found = {str(entry) for entry in lint([tmp_path / "built"])}
    assert {entry for entry in found if "image-not-pinned" not in entry} == set()


@pytest.mark.skipif(
    not KYVERNO.exists(),
    reason="NOT TESTED: Kyverno's schema: run tests/manifests/fetch_kyverno_schema.sh",
)
@pytest.mark.parametrize("overlay", ["onprem", "gcp"])
def test_kyverno_s_policies_fit_its_own_definition(overlay: str, tmp_path: Path) -> None:
    objects = added(tmp_path, overlay, "admission-kyverno")
    policies = of(objects, "ValidatingPolicy")
    names = {"edgeline-images", "edgeline-pipeline-versions"}
    assert {each["metadata"]["name"] for each in policies} == names
    for each in policies:
        validate_by_definition(each, KYVERNO)
        wrong = copy.deepcopy(each)
        wrong["spec"]["match"] = []  # as a ClusterPolicy has it
        with pytest.raises(jsonschema.ValidationError, match="match"):
            validate_by_definition(wrong, KYVERNO)


def test_kyverno_judges_as_the_api_server_s_policies_do(tmp_path: Path) -> None:
    objects = added(tmp_path, "onprem", "admission-kyverno")
    assert not of(objects, "ValidatingAdmissionPolicy")
    by_name = {each["metadata"]["name"]: each["spec"] for each in of(objects, "ValidatingPolicy")}
    (tmp_path / "other").mkdir()
    other = added(tmp_path / "other", "onprem", "admission")
    for each in of(other, "ValidatingAdmissionPolicy"):
        kyverno, own = by_name.pop(each["metadata"]["name"]), each["spec"]
        (listed, *variables) = kyverno["variables"]
        assert "'edgeline', 'edgeline-images'" in listed["expression"]
        as_own = json.loads(json.dumps(variables).replace("variables.allowed", "params.data"))
        assert [words(each) for each in as_own] == [words(each) for each in own["variables"]]
        for same in ("failurePolicy", "validations"):
            assert kyverno[same] == own[same]
        rules = own["matchConstraints"]["resourceRules"]
        assert kyverno["matchConstraints"]["resourceRules"] == rules
        assert kyverno["validationActions"] == ["Deny"]
    assert not by_name


def words(variable: dict[str, str]) -> tuple[str, list[str]]:
    """Its name and its expression, wherever the lines end."""
    return variable["name"], variable["expression"].split()


@pytest.mark.parametrize("component", ["admission", "admission-kyverno"])
def test_the_list_of_admission_has_the_images_of_the_lock(component: str, tmp_path: Path) -> None:
    objects = added(tmp_path, "onprem", component)
    (listed,) = [
        each
        for each in objects
        if each["metadata"]["name"] == "edgeline-images" and each["kind"] == "ConfigMap"
    ]
    ours = {name: value for name, value in listed["data"].items() if not name.startswith("system.")}
    names = images.entries(images.lock_file())
    assert ours == {name: images.reference(name) for name in names}
    assert listed["metadata"]["namespace"] == "edgeline"


@pytest.mark.parametrize("component", ["gateway", "ingress"])
def test_the_patch_that_readme_shows_sets_the_host_everywhere(
    component: str, tmp_path: Path
) -> None:
    readme = (MANIFESTS / "README.md").read_text()
    patches = readme.split(f"components/{component}?ref=")[1].split("```")[0].split("\n", 1)[1]
    text = yaml.safe_dump_all(added(tmp_path, "onprem", component, patches))
    assert "models.acme.dev" in text
    assert "example.com" not in text


def test_a_gateway_s_routes_know_every_service_and_port_of_the_server(tmp_path: Path) -> None:
    objects = added(tmp_path, "onprem", "gateway")
    (service,) = of(objects, "Service")
    ports = {port["port"]: port["appProtocol"] for port in service["spec"]["ports"]}
    (route,) = [each for each in of(objects, "HTTPRoute") if "matches" in each["spec"]["rules"][0]]
    grpc, rest = route["spec"]["rules"]
    prefixes = {match["path"]["value"] for match in grpc["matches"]}
    state: Any = MagicMock()
    methods, _ = routes.methods(state)
    assert {method.rpartition("/")[0] for method in methods} == prefixes
    assert ports[grpc["backendRefs"][0]["port"]] == "kubernetes.io/h2c"
    assert ports[rest["backendRefs"][0]["port"]] == "http"
    (gateway,) = of(objects, "Gateway")
    place = next(
        each
        for each in of(objects, "Namespace")
        if each["metadata"]["name"] == gateway["metadata"]["namespace"]
    )
    assert place["metadata"]["labels"]["edgeline.dev/may-predict"] == "true"  # as the policies ask


def test_alerts_and_the_dashboard_ask_for_metrics_that_the_server_has() -> None:
    known = set(metrics.METRICS)
    known |= {
        f"{name}_bucket" for name, (kind, _) in metrics.METRICS.items() if kind == "histogram"
    }
    rules = COMPONENTS / "monitoring" / "rules"
    asked = (rules / "alerts.yaml").read_text() + (rules / "dashboard.json").read_text()
    used = set(re.findall(r"\bedgeline_[a-z_]+", asked))
    assert len(used) > 10
    assert used <= known


def test_every_alert_says_what_is_wrong_and_can_fire() -> None:
    text = (COMPONENTS / "monitoring" / "rules" / "alerts.yaml").read_text()
    (group,) = yaml.safe_load(text)["spec"]["groups"]
    by_name = {rule["alert"]: rule for rule in group["rules"]}
    assert {"NoEdgeServer", "NoModel", "UpdatesStale", "UpdateMetadataExpired"} <= by_name.keys()
    for rule in by_name.values():
        assert rule["annotations"]["summary"].endswith(".")
        # what is not served has no such metric, rather than one of 0
        assert not re.search(r"edgeline_model_ready[^ ]*\)? == 0", rule["expr"])


@pytest.mark.parametrize("overlay", ["aws", "azure", "edge", "gcp", "onprem"])
def test_each_overlay_is_watched_and_the_patch_that_readme_shows_ends_it(
    overlay: str, tmp_path: Path
) -> None:
    objects = kustomize(MANIFESTS / "overlays" / overlay)
    monitors = [each for each in objects if each["kind"] in ("PodMonitor", "ServiceMonitor")]
    assert [each["metadata"]["name"] for each in monitors] == ["edge-server"]
    assert of(objects, "PrometheusRule")
    (dashboard,) = [each for each in objects if "edge-servers.json" in each.get("data", {})]
    assert json.loads(dashboard["data"]["edge-servers.json"])["panels"]
    readme = (MANIFESTS / "README.md").read_text()
    patches = readme.split("without the Prometheus operator")[1].split("```yaml\n")[1]
    (tmp_path / "kustomization.yaml").write_text(
        f"resources: [manifests/overlays/{overlay}]\n{patches.split('```')[0]}"
    )
    (tmp_path / "manifests").symlink_to(MANIFESTS)
    left = {each["apiVersion"] for each in kustomize(tmp_path)}
    assert "monitoring.coreos.com/v1" not in left
