"""plan: what a run loops over, checked before anything else."""

from __future__ import annotations

import pytest

from edgeline.components.plan.plan import Plan, plan
from edgeline.errors import EdgelineError
from edgeline.sites.settings import DEFAULTS
from edgeline.stores.destinations import LOCAL_RUN

UNSAID = {**DEFAULTS}


def test_each_entry_is_gone_through_once() -> None:
    sites = [
        {"site": "cluster://edge"},
        {"site": "cluster://edge", "form": "kustomize"},
        {"site": "cluster://edge", "form": "kserve"},
    ]
    found = plan(["tvm", "onnx", "tvm"], sites, "ghcr.io/acme/models")
    assert found.targets == ["tvm", "onnx"]
    assert found.sites == [{**UNSAID, **site} for site in sites[1:]]


def test_a_site_says_all_that_its_devices_have() -> None:
    server = f"ghcr.io/acme/server@sha256:{'0' * 64}"
    press = {"site": "git+https://host/a.git//press", "form": "compose", "login": "/etc/docker"}
    press |= {
        "accelerator": "/dev/accel/accel0",
        "server": server,
        "port": 8081.0,
    }  # as KFP hands it
    (found,) = plan(sites=[press], models_repository="ghcr.io/acme/models").sites
    assert found == {**UNSAID, **press, "port": 8081}
    assert type(found["port"]) is int


BASE = f"docker.io/library/busybox@sha256:{'0' * 64}"


def test_a_site_of_kserve_names_the_base_of_a_modelcar() -> None:
    site = {"site": "cluster://edge", "form": "kserve", "modelcar_base": BASE}
    found = plan(sites=[site, site], models_repository="ghcr.io/acme/models")
    assert found.sites == [{**UNSAID, **site}]
    said = r"sites, entry 2: .* is there before, with another modelcar_base: leave one"
    with pytest.raises(EdgelineError, match=said):
        plan(sites=[site, {**site, "modelcar_base": ""}], models_repository="ghcr.io/acme/models")


def test_a_site_of_kserve_takes_the_model_from_the_store_where_there_is_one() -> None:
    site = {"site": "cluster://edge", "form": "kserve", "model_from": "store"}
    for destination in ("s3://models", "minio://mlpipeline/models"):
        found = plan(sites=[site], models_repository="ghcr.io/acme/models", destination=destination)
        assert found.sites == [{**UNSAID, **site}]
    with pytest.raises(EdgelineError, match="entry 1: KServe fetches no model from /models: give"):
        plan(sites=[site], models_repository="ghcr.io/acme/models", destination="/models")


def test_nothing_is_asked_for_nothing() -> None:
    found = plan()
    assert (found.targets, found.sites) == ([], [])


@pytest.mark.parametrize("target", ["tensorRT", "", None, 3, {"target": "tvm"}, ["tvm"]])
def test_what_is_no_target_is_named_with_its_place(target: object) -> None:
    with pytest.raises(EdgelineError, match=r"targets, entry 2: .* is not one of litert, "):
        plan(["litert", target])


DEVICE = {"site": "git+https://host/a.git//press", "form": "compose"}


@pytest.mark.parametrize(
    ("site", "fault"),
    [
        ("cluster://edge", "is not an object with a site"),
        ({}, "is not an object with a site"),
        ({"site": None}, "is not an object with a site"),
        ({"site": "edge"}, "sites, entry 1: 'edge' is not a site"),
        ({"site": "git+https://[host/m.git//x"}, "entry 1: The site's address is malformed"),
        (
            {"site": "cluster://edge", "form": "helm"},
            "There is no kind of site 'helm'",
        ),
        ({"site": "cluster://edge", "form": ["kserve"]}, "form is"),
        ({"site": "cluster://edge", "form": "ocm"}, "A cluster does not take ocm: use kustomize"),
        ({"site": "cluster://edge", "name": "x"}, "there is no setting 'name'"),
        (
            {"site": "cluster://edge", "modelcar_base": BASE},
            "form kustomize has no modelcar: leave modelcar_base out",
        ),
        (
            {"site": "cluster://edge", "form": "kserve", "modelcar_base": "busybox:1.37"},
            "The base busybox:1.37 has no digest",
        ),
        (
            {"site": "cluster://edge", "form": "kserve", "modelcar_base": 3},
            "modelcar_base is 3, but must be a text",
        ),
        (
            {"site": "cluster://edge", "model_from": "store"},
            "form kustomize is not KServe's: leave model_from out",
        ),
        (
            {"site": "cluster://edge", "form": "kserve", "model_from": "stores"},
            "model_from is 'stores'. Did you mean store",
        ),
        (
            {"site": "cluster://edge", "form": "kserve", "model_from": "modelcar"},
            "model_from is 'modelcar', and modelcar_base is not",
        ),
        (
            {
                "site": "cluster://edge",
                "form": "kserve",
                "model_from": "store",
                "modelcar_base": BASE,
            },
            "model_from is 'store', and modelcar_base is given",
        ),
        (
            {"site": "cluster://edge", "form": "kserve", "kserve_version": "0.20.x"},
            "kserve_version is '0.20.x': give KServe's version as",
        ),
        (
            {"site": "cluster://edge", "form": "kserve", "kserve_version": "0.19"},
            "KServe 0.19 takes no model from an image volume, which needs 0.20: give model_from",
        ),
        ({"site": "cluster://edge", "port": 8081}, "The form kustomize takes no port, which is"),
        ({**DEVICE, "port": "8081"}, "port is '8081', but must be an integer"),
        ({**DEVICE, "port": True}, "port is True, but must be an integer"),
        ({**DEVICE, "port": 0}, "The port 0 is not one: give an integer from 1"),
        ({**DEVICE, "accelerator": "coral"}, "There is no accelerator 'coral'. Did you mean"),
        ({**DEVICE, "accelerator": "nvidia"}, "give as server an image with a runtime for it"),
        ({**DEVICE, "server": "acme/server:2"}, "The server 'acme/server:2' has no digest"),
        ({**DEVICE, "login": "~/.docker"}, "The login '~/.docker' is not the absolute path"),
        ({"site": "git+https://me:secret@host/a.git//b"}, "holds a password"),
        ({"site": "cluster://edge", "tokens": "A b"}, "tokens is 'A b': name a Secret"),
        (
            {"site": "git+https://host/a.git//b", "form": "compose", "tokens": "tokens.json"},
            "tokens is 'tokens.json': name a file on the devices by its whole path",
        ),
    ],
)
def test_what_is_no_site_is_named_with_its_place(site: object, fault: str) -> None:
    with pytest.raises(EdgelineError, match=fault) as raised:
        plan(sites=[site], models_repository="ghcr.io/acme/models")
    assert "entry 1" in str(raised.value)
    assert "secret" not in str(raised.value)


def test_sites_need_a_place_for_the_models_images() -> None:
    with pytest.raises(EdgelineError, match="no models_repository"):
        plan(sites=[{"site": "cluster://edge"}])


def test_in_a_cluster_a_destination_on_the_pod_s_own_disk_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv(LOCAL_RUN, raising=False)
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    assert plan(destination="edgeline-models") == Plan([], [])
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.96.0.1")
    assert plan(destination="s3://models/taxi") == Plan([], [])
    with pytest.raises(EdgelineError, match="The destination edgeline-models is a folder on"):
        plan(destination="edgeline-models")
