"""What we ship and what we write is taken by a real API server, as it is and twice."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from api_server import KUBECTL, ApiServer

from edgeline.client.compiling import compile_pipeline
from edgeline.environments import NAMES
from edgeline.lint.lint import lint
from edgeline.pipelines import catalogue
from edgeline.sites.render import render
from edgeline.sites.settings import SiteSettings

MANIFESTS = Path(__file__).parents[2] / "manifests"
OVERLAYS = sorted(path.name for path in (MANIFESTS / "overlays").iterdir())
GITOPS = ("argocd", "flux")
WITH = {  # components that no overlay has, on one
    "laptop": ("gateway", "ingress", "monitoring"),
}
FOLDERS = [*(f"overlays/{name}" for name in OVERLAYS), *(f"gitops/{name}" for name in GITOPS)]
CLUSTERS = ("kserve", "kubeedge", "kustomize", "ocm")
APPLY = ("apply", "--server-side", "--validate=strict")
Objects = list[dict[str, Any]]
DRY = (*APPLY, "--dry-run=server")


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_object_of_ours_is_taken(folder: str, api_server: ApiServer) -> None:
    said = api_server.kubectl(*DRY, "-k", MANIFESTS / folder)
    assert said.count("serverside-applied (server dry run)") == len(said.splitlines()) > 0


@pytest.mark.parametrize("overlay", WITH)
def test_what_a_team_adds_is_taken(overlay: str, api_server: ApiServer, tmp_path: Path) -> None:
    (tmp_path / "manifests").symlink_to(MANIFESTS)
    (tmp_path / "kustomization.yaml").write_text(
        f"resources: [manifests/overlays/{overlay}]\n"
        f"components: [{', '.join(f'manifests/components/{name}' for name in WITH[overlay])}]\n"
    )
    said = api_server.kubectl(*DRY, "-k", tmp_path)
    assert {"httproute", "ingress", "servicemonitor"} <= {
        line.partition(".")[0] for line in said.splitlines()
    }


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_second_apply_changes_nothing(folder: str, api_server: ApiServer) -> None:
    apply_twice(api_server, "-k", MANIFESTS / folder)


def apply_twice(api_server: ApiServer, *what: str | Path) -> None:
    """Apply again and again; then all but the namespaces is removed."""
    runs = [applied(api_server.kubectl(*APPLY, "-o", "json", *what)) for _ in range(3)]
    # The server may once write its own notes in another order, so the first two differ by that;
    # a resourceVersion is another as soon as anything of the object is.
    assert without_version(runs[0]) == without_version(runs[1])
    assert runs[1] == runs[2]
    objects = [entry for entry in runs[0] if entry["kind"] != "Namespace"]
    api_server.kubectl("delete", "--wait=false", "-f", "-", given=objects)


def without_version(objects: Objects) -> Objects:
    dropped = {"resourceVersion": ""}
    return [{**entry, "metadata": entry["metadata"] | dropped} for entry in objects]


def applied(said: str) -> Objects:
    found = json.loads(said)
    objects: Objects = found["items"] if found["kind"] == "List" else [found]
    assert objects
    return objects


def test_an_apply_leaves_the_autoscaler_its_number_of_pods(api_server: ApiServer) -> None:
    overlay = MANIFESTS / "overlays" / "onprem"
    objects = applied(api_server.kubectl(*APPLY, "-o", "json", "-k", overlay))
    (name,) = [e["metadata"]["name"] for e in objects if e["kind"] == "HorizontalPodAutoscaler"]
    # as it does it: through the scale subresource
    api_server.kubectl("scale", "deployment", name, "-n", "edgeline", "--replicas=5")
    again = applied(api_server.kubectl(*APPLY, "-o", "json", "-k", overlay))
    assert [e["spec"]["replicas"] for e in again if e["kind"] == "Deployment"] == [5]
    kept = [entry for entry in objects if entry["kind"] != "Namespace"]
    api_server.kubectl("delete", "--wait=false", "-f", "-", given=kept)


def test_what_argo_cd_has_in_its_own_settings_stays(api_server: ApiServer) -> None:
    labels = {"app.kubernetes.io/part-of": "argocd", "app.kubernetes.io/name": "argocd-cm"}
    metadata = {"name": "argocd-cm", "namespace": "argocd", "labels": labels}
    data = {"url": "https://argocd.example.com"}
    settings = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}
    api_server.kubectl("create", "-f", "-", given=settings)
    ours = ("configmap", "argocd-cm", "-n", "argocd")
    health = MANIFESTS / "gitops" / "argocd" / "health.yaml"  # as README says it
    (stored,) = applied(api_server.kubectl("patch", *ours, "--patch-file", health, "-o", "json"))
    assert stored["data"].items() > data.items()
    assert stored["metadata"]["labels"] == labels
    api_server.kubectl("delete", *ours)


def test_what_readme_says_installs_argo_cd_s_and_flux_s_objects(
    api_server: ApiServer, tmp_path: Path
) -> None:
    """The commands as they are printed, in a team's copy of the folder."""
    folder = tmp_path / "gitops"
    shutil.copytree(MANIFESTS / "gitops", folder)
    (folder / "token").write_text("secret")
    chapter = (folder / "README.md").read_text().split("## Installing it")[1].split("\n## ")[0]
    settings = {"apiVersion": "v1", "kind": "ConfigMap"}
    metadata = {"name": "argocd-cm", "namespace": "argocd"}  # Argo CD brings it
    api_server.kubectl("create", "-f", "-", given={**settings, "metadata": metadata})
    for block in re.findall(r"```sh\n(.*?)```", chapter, re.DOTALL):
        path = f"{KUBECTL.parent}:{os.environ['PATH']}"
        done = subprocess.run(
            ["bash", "-e", "-c", block],
            cwd=folder,
            env={**os.environ, **api_server.environment, "PATH": path},
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        assert done.returncode == 0, done.stderr
    rules = {finding.rule for finding in lint([folder / "argocd", folder / "flux"])}
    assert not rules & {"example-address", "repository-not-allowed"}
    said = api_server.kubectl("get", "applications", "-n", "argocd", "-o", "json")
    urls = {entry["spec"]["source"]["repoURL"] for entry in json.loads(said)["items"]}
    source = ("get", "gitrepository", "models", "-n", "flux-system", "-o", "json")
    found = json.loads(api_server.kubectl(*source))
    assert urls == {found["spec"]["url"]} == {"https://git.acme.dev/models.git"}
    secret = (
        "get",
        "secret",
        found["spec"]["secretRef"]["name"],
        "-n",
        "flux-system",
        "-o",
        "json",
    )
    assert {"username", "password"} <= json.loads(api_server.kubectl(*secret))["data"].keys()
    for where in ("argocd", "flux"):
        api_server.kubectl("delete", "--wait=false", "-k", folder / where)
    api_server.kubectl("delete", "configmap", "argocd-cm", "-n", "argocd")
    for namespace in ("argocd", "flux-system"):
        api_server.kubectl("delete", "secret", "models-repository", "-n", namespace)


def test_a_field_that_does_not_exist_is_refused(api_server: ApiServer) -> None:
    """So that the tests above would see one."""
    policy = MANIFESTS / "base" / "edge-server" / "network-policy.yaml"
    document = next(yaml.safe_load_all(policy.read_text()))
    document["spec"]["policyType"] = document["spec"].pop("policyTypes")
    assert "policyType: field not declared in schema" in refused(api_server, document)


def test_a_custom_field_that_does_not_exist_is_refused(api_server: ApiServer) -> None:
    path = MANIFESTS / "components" / "coral" / "node-feature-rule.yaml"
    document = yaml.safe_load(path.read_text())
    document["spec"]["rules"][0]["label"] = document["spec"]["rules"][0].pop("labels")
    assert "label: field not declared in schema" in refused(api_server, document)


def refused(api_server: ApiServer, document: dict[str, Any]) -> str:
    """What the server says where kubectl does not look first."""
    apply = ("apply", "--server-side", "--validate=false", "--dry-run=server")
    done = api_server.try_kubectl(*apply, "-n", "edgeline", "-f", "-", given=document)
    assert done.returncode == 1
    return str(done.stderr)


@pytest.mark.parametrize("form", CLUSTERS)
def test_what_a_site_gets_is_taken_twice(
    form: str, pixels: Path, api_server: ApiServer, tmp_path: Path
) -> None:
    render(str(pixels), SiteSettings(form), "registry.example/models", str(tmp_path))
    apply_twice(api_server, "-k" if form == "kustomize" else "-f", tmp_path)


@pytest.mark.parametrize("form", ["kubeedge", "ocm"])
def test_what_a_hub_hands_on_is_taken_by_the_site(
    form: str, pixels: Path, api_server: ApiServer, tmp_path: Path
) -> None:
    (path,) = render(str(pixels), SiteSettings(form), "registry.example/models", str(tmp_path))
    _, carrier = yaml.safe_load_all(path.read_text())
    spec: dict[str, Any] = carrier["spec"]
    inner = (
        spec["workloadTemplate"]["manifests"]
        if form == "kubeedge"
        else spec["manifestWorkTemplate"]["workload"]["manifests"]
    )
    api_server.kubectl(*DRY, "-f", "-", given=inner)


PIPELINES = [("taxi", environment) for environment in NAMES]
PIPELINES += [(name, "onprem") for name in catalogue.names() if name != "taxi"]


@pytest.mark.parametrize(("pipeline", "environment"), PIPELINES)
def test_a_compiled_pipeline_is_taken_twice(
    pipeline: str, environment: str, api_server: ApiServer, tmp_path: Path
) -> None:
    """Without the webhook of KFP's own API server, which is not here."""
    path = tmp_path / "pipeline.yaml"
    settings = () if pipeline == "monitor" else ("destination=s3://models/fleet",)
    compile_pipeline(
        pipeline, str(path), kubernetes=True, settings=settings, environment=environment
    )
    written = list(yaml.safe_load_all(path.read_text()))
    apply_twice_and_read(api_server, path, written)


def apply_twice_and_read(api_server: ApiServer, path: Path, written: list[Any]) -> None:
    api_server.kubectl(*APPLY, "-f", path)
    stored = json.loads(api_server.kubectl("get", "-f", path, "-o", "json"))["items"]
    assert [entry["spec"] for entry in stored] == [entry["spec"] for entry in written]
    apply_twice(api_server, "-f", path)


def test_texts_that_look_like_numbers_stay_texts(api_server: ApiServer, tmp_path: Path) -> None:
    path = tmp_path / "numbers.yaml"
    settings = ("data=0899",)
    compile_pipeline("taxi", str(path), kubernetes=True, settings=settings)
    written = list(yaml.safe_load_all(path.read_text()))
    apply_twice_and_read(api_server, path, written)
