"""Accelerators, ports and logins of sites: passed in each form that can, refused where unused."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from device_schemas import CREATE_OPTIONS, GREENGRASS
from schemas import validate

from edgeline.artifacts import bundle as bundles
from edgeline.errors import EdgelineError, UsageError
from edgeline.sites.accelerators import ACCELERATORS, CORAL
from edgeline.sites.render import render
from edgeline.sites.settings import FORMS, ON_DEVICES, SiteSettings

MODELS = "registry.example/models"
OWN = "registry.example/server@sha256:" + "0" * 64
NPU = "/dev/accel/accel0"


@pytest.fixture
def for_coral(pixels: Path, tmp_path: Path) -> Path:
    """The bundle as one for an Edge TPU."""
    folder = tmp_path / "coral"
    shutil.copytree(pixels, folder)
    bundles.write_manifest(folder, replace(bundles.read(folder), target="edgetpu"))
    return folder


def rendered(
    bundle: Path, form: str, folder: Path, accelerator: str, **more: Any
) -> list[dict[str, Any]]:
    server = "" if accelerator in CORAL else OWN
    settings = SiteSettings(form, accelerator=accelerator, server=server, **more)
    paths = render(str(bundle), settings, MODELS, str(folder))
    return [each for path in paths for each in yaml.safe_load_all(path.read_text())]


@pytest.mark.parametrize("accelerator", [*ACCELERATORS, NPU])
def test_iot_edge_passes_it(accelerator: str, for_coral: Path, tmp_path: Path) -> None:
    (document,) = rendered(for_coral, "iotedge", tmp_path, accelerator, port=8081)
    (module,) = document["content"]["modulesContent"]["$edgeAgent"].values()
    assert len(module["settings"]["createOptions"]) <= 4096
    options = json.loads(module["settings"]["createOptions"])
    jsonschema.validate(options, CREATE_OPTIONS)
    host = options["HostConfig"]
    assert host["PortBindings"]["8080/tcp"] == [{"HostIp": "127.0.0.1", "HostPort": "8081"}]
    passed = [each["PathOnHost"] for each in host.get("Devices", ())]
    wanted = {"coral-usb": "/dev/bus/usb", "coral-pcie": "/dev/apex_0", "nvidia": ""}
    assert passed == list(filter(None, [wanted.get(accelerator, accelerator)]))
    assert ("DeviceRequests" in host) == (accelerator == "nvidia")
    assert ("DeviceCgroupRules" in host) == (accelerator == "coral-usb")


@pytest.mark.parametrize("accelerator", [*ACCELERATORS, NPU])
def test_greengrass_passes_it(accelerator: str, for_coral: Path, tmp_path: Path) -> None:
    given = {"port": 8081, "login": "/greengrass/docker"}
    (recipe,) = rendered(for_coral, "greengrass", tmp_path, accelerator, **given)
    jsonschema.validate(recipe, GREENGRASS)
    assert recipe["ComponentConfiguration"]["DefaultConfiguration"] == {"Port": 8081}
    script = recipe["Manifests"][0]["Lifecycle"]["Run"]["Script"]
    wanted = {
        "coral-usb": "--device /dev/bus/usb --device-cgroup-rule 'c 189:* rmw' --group-add 46",
        "coral-pcie": "--device /dev/apex_0",
        "nvidia": "--gpus all",
    }
    assert wanted.get(accelerator, f"--device {accelerator}") in script
    login = (
        "/greengrass/docker:/etc/edgeline/registry:ro --env DOCKER_CONFIG=/etc/edgeline/registry"
    )
    assert f"--volume {login}" in script
    assert script.index("--env") < script.index(" oci://")  # options come before the image


@pytest.mark.parametrize("accelerator", [*ACCELERATORS, NPU, ""])
def test_compose_passes_it(accelerator: str, for_coral: Path, tmp_path: Path) -> None:
    given = {"port": 8081, "login": "/etc/docker-login"}
    (document,) = rendered(for_coral, "compose", tmp_path, accelerator, **given)
    service = document["services"]["edge-server"]
    assert service["ports"] == ["127.0.0.1:8081:8080"]
    assert service["environment"] == {"DOCKER_CONFIG": "/etc/edgeline/registry"}
    assert service["volumes"][-1] == "/etc/docker-login:/etc/edgeline/registry:ro"
    if accelerator in CORAL:
        assert re.search(r"/edge-server-coral:[\d.]+$", service["image"])
    cache = Path(os.environ.get("EDGELINE_TEST_CACHE", Path.home() / ".cache/edgeline-tests"))
    environment = {"DOCKER_CONFIG": str(cache / "docker"), **os.environ}
    docker = shutil.which("docker") or ""
    command = [docker, "compose", "-f", str(tmp_path / "compose.yaml")]
    if not docker or subprocess.run([*command, "version"], env=environment).returncode:
        pytest.skip("NOT TESTED: there is no docker compose; see tests/build_compose.sh")
    done = subprocess.run([*command, "config", "-q"], env=environment, capture_output=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("form", ["kustomize", "kserve", "ocm", "kubeedge"])
@pytest.mark.parametrize("accelerator", ACCELERATORS)
def test_in_a_cluster_a_device_plugin_passes_it(
    form: str, accelerator: str, for_coral: Path, tmp_path: Path
) -> None:
    found = rendered(for_coral, form, tmp_path, accelerator)
    for document in found:
        if document["kind"] != "Kustomization":
            validate(document)
    resource = ACCELERATORS[accelerator].resource
    text = yaml.safe_dump_all(found)
    assert f"{resource}: 1" in text
    assert "type: Recreate" in text  # the next pod waits for the only one of a node


@pytest.mark.parametrize(
    ("form", "given", "said"),
    [
        ("compose", {"accelerator": "coral-usb"}, "The bundle is made for litert, and an Edge"),
        ("compose", {"accelerator": "nvidia"}, "give as server an image with a runtime for it"),
        ("compose", {"server": "acme/server:1"}, "'acme/server:1' has no digest: name it as"),
        ("compose", {"server": "x; reboot"}, "'x; reboot' is not an image reference"),
        ("compose", {"accelerator": "coral"}, "There is no accelerator 'coral'"),
        ("compose", {"accelerator": "/dev/../etc"}, "There is no accelerator"),
        ("compose", {"login": "config.json"}, "is not the absolute path of a folder"),
        ("compose", {"port": 70000}, "The port 70000 is not one: give"),
        (
            "kustomize",
            {"port": 8081},
            "The form kustomize takes no port, which is for single devices",
        ),
        ("kustomize", {"accelerator": NPU, "server": OWN}, "a device plugin passes /dev/accel"),
        ("kserve", {"accelerator": NPU, "server": OWN}, "a device plugin passes /dev/accel"),
    ],
)
def test_what_would_not_be_used_is_refused(
    form: str, given: dict[str, Any], said: str, pixels: Path, tmp_path: Path
) -> None:
    with pytest.raises(EdgelineError, match=re.escape(said)):
        render(str(pixels), SiteSettings(form, **given), MODELS, str(tmp_path / "out"))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("form", FORMS)
def test_a_site_without_an_edge_tpu_is_told_of_a_bundle_that_is_made_for_one(
    form: str, for_coral: Path, tmp_path: Path
) -> None:
    said = "give as accelerator coral-usb or coral-pcie, or deploy the bundle of the target litert"
    with pytest.raises(UsageError, match=said):
        render(str(for_coral), SiteSettings(form), MODELS, str(tmp_path / "out"))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("form", ON_DEVICES)
def test_two_models_on_one_device_do_not_meet(form: str, pixels: Path, tmp_path: Path) -> None:
    """Names, folders of state and ports are each one's own."""
    texts = []
    for name, port in (("taxi", 8080), ("tram", 8081)):
        settings = SiteSettings(form, port=port)
        paths = render(str(pixels), settings, MODELS, str(tmp_path / name), name=name)
        texts.append(paths[0].read_text())
    assert "tram" not in texts[0]
    assert "taxi" not in texts[1]
    assert "8081" in texts[1]
