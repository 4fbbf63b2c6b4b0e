"""One bundle, seven kinds of sites: the same digest in each, and a registry that proves it."""

from __future__ import annotations

import copy
import gzip
import http.client
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from device_schemas import CREATE_OPTIONS, GREENGRASS, IOT_EDGE
from schemas import kustomize, validate

from edgeline import images
from edgeline.artifacts import bundle as bundles
from edgeline.artifacts.windows import SERVER, Windows
from edgeline.errors import EdgelineError
from edgeline.lint.lint import lint
from edgeline.server.settings import ServerSettings
from edgeline.server.updates import oci
from edgeline.sites import deployed, tokens
from edgeline.sites.image import model_image
from edgeline.sites.render import push_image, render
from edgeline.sites.settings import FORMS, ON_DEVICES, SiteSettings

MODELS = "registry.example/models"
MANIFESTS = Path(__file__).parents[2] / "manifests"
CLUSTERS = ("kustomize", "kserve", "ocm", "kubeedge")


def documents(folder: Path, form: str, bundle: Path) -> list[dict[str, Any]]:
    paths = render(str(bundle), SiteSettings(form), MODELS, str(folder / form))
    return [
        document for path in paths for document in yaml.load_all(path.read_text(), yaml.CSafeLoader)
    ]


def test_the_image_of_a_bundle_is_the_same_wherever_it_is_made(
    pixels: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(pixels, copy)
    for path in copy.rglob("*"):
        path.chmod(0o700)
    assert model_image(copy)[0].digest == model_image(pixels)[0].digest
    assert re.fullmatch(r"sha256:[0-9a-f]{64}", model_image(pixels)[0].digest)


@pytest.mark.parametrize("form", FORMS)
def test_every_kind_of_site_names_the_model_and_the_server_by_the_same_digests(
    form: str, pixels: Path, tmp_path: Path
) -> None:
    text = yaml.safe_dump_all(documents(tmp_path, form, pixels), width=1 << 20)
    digest = model_image(pixels)[0].digest
    assert set(re.findall(r"registry\.example/models/[\w./-]+@sha256:\w+", text)) == {
        f"{MODELS}/mixed@{digest}"
    }
    assert images.reference("edge-server") in text


@pytest.mark.parametrize("form", CLUSTERS)
def test_what_clusters_take_fits_their_schemas_and_has_no_fault(
    form: str, pixels: Path, tmp_path: Path
) -> None:
    found = kustomize_or_read(tmp_path, form, pixels)
    for document in found:
        validate(document)
        manifests = document.get("spec", {}).get("workloadTemplate", {}).get("manifests", [])
        template = document.get("spec", {}).get("manifestWorkTemplate", {})
        for inner in [*manifests, *template.get("workload", {}).get("manifests", [])]:
            validate(inner)
    faults = [
        entry
        for entry in lint([tmp_path / form])
        if not (entry.rule == "image-not-pinned" and "ghcr.io/edgeline/" in entry.message)
    ]
    assert faults == []


def kustomize_or_read(folder: Path, form: str, bundle: Path) -> list[dict[str, Any]]:
    found = documents(folder, form, bundle)
    return kustomize(folder / form) if form == "kustomize" else found


@pytest.mark.parametrize("form", CLUSTERS)
def test_the_server_knows_the_names_of_its_service(form: str, pixels: Path, tmp_path: Path) -> None:
    """Under another name than these it answers nothing but predictions and health."""
    service = "mixed-predictor" if form == "kserve" else "mixed"
    text = yaml.safe_dump_all(documents(tmp_path, form, pixels), width=1 << 20)
    (names,) = re.findall(r"- --names\n +- (\S+)", text)
    whole = f"{service}.edgeline.svc.cluster.local"
    assert names.split(",") == [service, f"{service}.edgeline", f"{service}.edgeline.svc", whole]
    ServerSettings(names=names)


def test_kserve_takes_the_model_from_a_volume_or_from_the_store(
    pixels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, runtime, service = documents(tmp_path, "kserve", pixels)
    arguments = runtime["spec"]["containers"][0]["args"]
    assert arguments[arguments.index("--model-name") + 1] == "mixed"
    # as KServe 0.20 tells apart the ports of its routes for REST and for gRPC
    ports = {
        port["name"]: port["containerPort"] for port in runtime["spec"]["containers"][0]["ports"]
    }
    assert ports == {"http1": 8080, "h2c": 8081}
    assert arguments[arguments.index("--grpc-port") + 1] == "8081"
    predictor = service["spec"]["predictor"]
    assert predictor["model"]["storageUri"].startswith(f"oci+native://{MODELS}/mixed@sha256:")
    assert predictor["imagePullSecrets"] == [{"name": "mixed-registry"}]
    head = (tmp_path / "kserve" / "mixed.yaml").read_text().splitlines()[:3]
    assert "needs KServe 0.20 or later with enableModelcar or" in " ".join(head)
    assert "and Kubernetes with the feature gate ImageVolume on" in " ".join(head)

    @contextmanager
    def fetched(_: str) -> Iterator[Path]:
        yield pixels

    monkeypatch.setattr("edgeline.sites.render.local_copy", fetched)

    def stored(version: str = "", address: str = "") -> list[Path]:
        settings = SiteSettings("kserve", model_from="store", kserve_version=version)
        place = ("s3://bucket/models/mixed/3", settings, MODELS, str(tmp_path / "store"))
        return render(*place, address=address)

    for version, container, mode in (
        ("0.20.1", "edgeline-storage", "Standard"),
        ("0.19.0", None, "Standard"),
        ("0.15.2", None, "RawDeployment"),
    ):
        (path,) = stored(version)
        *_, service = yaml.safe_load_all(path.read_text())
        predictor = service["spec"]["predictor"]
        assert predictor["model"]["storageUri"] == "edgeline+s3://bucket/models/mixed/3/"
        assert predictor.get("storageContainerName") == container
        assert predictor["serviceAccountName"] == "edge-server"
        assert service["metadata"]["annotations"]["serving.kserve.io/deploymentMode"] == mode
        head = path.read_text().partition("\napiVersion")[0].replace("\n# ", " ")
        assert "the ClusterStorageContainer edgeline-storage of manifests/base/kserve" in head
        assert "service account edge-server that may read" in head
    (path,) = stored(address="minio://mlpipeline/models/mixed/3")
    *_, service = yaml.safe_load_all(path.read_text())
    uri = service["spec"]["predictor"]["model"]["storageUri"]
    assert uri == "edgeline+s3://mlpipeline/models/mixed/3/"  # as KServe calls any such store


def test_what_kserve_is_told_otherwise_has_another_digest_on_its_pods(
    pixels: Path, tmp_path: Path
) -> None:
    """KServe hands annotations on to pods: by them `serve` tells new ones from those before."""

    def spec(**given: str) -> str:
        address = given.pop("address", "")
        settings = SiteSettings("kserve", **given)
        (path,) = render(str(pixels), settings, MODELS, str(tmp_path), address=address)
        *_, service = yaml.safe_load_all(path.read_text())
        return str(service["metadata"]["annotations"]["edgeline.dev/spec"])

    stored = {"model_from": "store", "address": "s3://bucket/models/mixed/3"}
    assert spec() == spec()
    assert len({spec(), spec(**stored), spec(**stored, kserve_version="0.19")}) == 3


def test_kserve_s_storage_container_of_ours_is_taken_for_our_addresses_alone(
    tmp_path: Path,
) -> None:
    """KServe takes one for whatever address it supports, of services that name none as well."""
    text = (MANIFESTS / "base/kserve/storage-container.yaml").read_text()
    spec = yaml.safe_load(text)["spec"]
    ours = tuple(entry["prefix"] for entry in spec["supportedUriFormats"])
    assert spec["workloadType"] == "initContainer"  # else naming it is an error
    others = ("s3", "gs", "pvc", "file", "https", "hdfs", "webhdfs", "oci", "oci+native", "hf")
    assert not [scheme for scheme in others if f"{scheme}://bucket/models/1/".startswith(ours)]
    overlays = (MANIFESTS / "overlays").glob("*/serving/inference-service.yaml")
    services = [next(yaml.safe_load_all(path.read_text())) for path in overlays]
    for service in services:
        predictor = service["spec"]["predictor"]
        assert predictor["model"]["storageUri"].startswith(ours)
        assert predictor["storageContainerName"] == "edgeline-storage"
    # its command gives the image's own program the address that this one knows
    program = "/storage-initializer/scripts/initializer-entrypoint"
    (tmp_path / "program").write_text("#!/bin/sh\nprintf '%s|' \"$@\"\n")
    (tmp_path / "program").chmod(0o755)
    command = [
        part.replace(program, str(tmp_path / "program")) for part in spec["container"]["command"]
    ]
    for uri in ("s3://bucket/models/a b/1/", "gs://bucket/models/taxi/1/"):
        run = [*command, f"edgeline+{uri}", "/mnt/models"]
        done = subprocess.run(run, capture_output=True, text=True, check=True)
        assert done.stdout == f"{uri}|/mnt/models|"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (
            {"kserve_version": "0.19"},
            "KServe 0.19 takes no model from an image volume, .*0.20: give model_from store",
        ),
        ({"kserve_version": "0.14.1", "model_from": "store"}, "for KServe 0.15 and later"),
        ({"kserve_version": "v0.9.0", "model_from": "store"}, "for KServe 0.15 and later"),
        ({"kserve_version": "new"}, "kserve_version is 'new': give KServe's version as 0.20"),
        ({"kserve_version": "0.20.x"}, "kserve_version is '0.20.x'"),
        ({"kserve_version": "0.20.1 "}, "kserve_version is '0.20.1 '"),
        ({"kserve_version": "0.20-beta"}, "kserve_version is '0.20-beta'"),
        ({"kserve_version": "0.020"}, "kserve_version is '0.020'"),
        ({"kserve_version": "1.34"}, "kserve_version is '1.34'"),  # Kubernetes'
        ({"model_from": "volume"}, "model_from is 'volume'"),
        (
            {"model_from": "modelcar"},
            "model_from is 'modelcar', and modelcar_base is not",
        ),
        ({"model_from": "store"}, "A folder is not an address that KServe .* model_from image"),
        ({"model_from": "store", "kserve_version": "0.19"}, "A folder is not an .* modelcar"),
        ({"name": "a" * 45}, "has 64 characters, and 63 are allowed: give a --name of at most 44"),
        # KServe 0.20 made no Service of 49 in the namespace `ml`: a label's value is too long
        (
            {"name": "a" * 49, "namespace": "ml"},
            "isvc.a{49}-predictor has 64 characters, .* a --name of at most 48",
        ),
        ({"namespace": "n" * 60}, "give a --name and a --namespace of at most 52 together"),
        (
            {"form": "kustomize", "model_from": "store"},
            "kustomize is not KServe's: leave model_from out",
        ),
    ],
)
def test_what_kserve_would_never_start_is_refused(
    given: dict[str, str], said: str, pixels: Path, tmp_path: Path
) -> None:
    settings = {"form": "kserve", **given}
    place = {key: settings.pop(key) for key in ("name", "namespace") if key in settings}
    with pytest.raises(EdgelineError, match=said):
        render(str(pixels), SiteSettings(**settings), MODELS, str(tmp_path / "site"), **place)
    assert not (tmp_path / "site").exists()


def test_a_greengrass_recipe_has_what_the_service_requires(pixels: Path, tmp_path: Path) -> None:
    """NOT TESTED: AWS's nucleus itself, a Java program that no package registry has."""
    (recipe,) = documents(tmp_path, "greengrass", pixels)
    jsonschema.validate(recipe, GREENGRASS)
    assert recipe["ComponentVersion"] == "3.0.0"
    (manifest,) = recipe["Manifests"]
    assert manifest["Platform"] == {"os": "linux"}
    (artifact,) = manifest["Artifacts"]
    assert artifact["URI"] == f"docker:{images.reference('edge-server')}"
    assert "--read-only --cap-drop ALL" in manifest["Lifecycle"]["Run"]["Script"]


def test_an_iot_edge_deployment_adds_one_module_and_leaves_the_others(
    pixels: Path, tmp_path: Path
) -> None:
    (deployment,) = documents(tmp_path, "iotedge", pixels)
    jsonschema.validate(deployment, IOT_EDGE)
    agent = deployment["content"]["modulesContent"]["$edgeAgent"]
    (module,) = agent.values()
    assert list(agent) == ["properties.desired.modules.mixed"]
    options = json.loads(module["settings"]["createOptions"])
    jsonschema.validate(options, CREATE_OPTIONS)
    assert options["HostConfig"]["ReadonlyRootfs"] is True
    assert options["Cmd"][0].startswith(f"oci://{MODELS}/mixed@sha256:")


@pytest.mark.parametrize("form", ["greengrass", "iotedge"])
def test_a_field_that_a_service_does_not_know_would_be_refused(
    form: str, pixels: Path, tmp_path: Path
) -> None:
    (document,) = documents(tmp_path, form, pixels)
    part, name, schema = {
        "greengrass": (lambda x: x["Manifests"][0]["Lifecycle"], "Run", GREENGRASS),
        "iotedge": (
            lambda x: x["content"]["modulesContent"]["$edgeAgent"],
            "properties.desired.modules.mixed",
            IOT_EDGE,
        ),
    }[form]
    for field in ("script", "restartpolicy", "imagePullPolcy"):
        wrong = copy.deepcopy(document)
        part(wrong)[name][field] = "x"
        with pytest.raises(jsonschema.ValidationError, match="Additional properties"):
            jsonschema.validate(wrong, schema)


@pytest.mark.parametrize("form", FORMS)
def test_a_server_takes_calls_with_a_token_alone_unless_it_is_said_otherwise(
    form: str, pixels: Path, tmp_path: Path
) -> None:
    text = rendered_with(form, pixels, tmp_path, "")
    if form in ON_DEVICES:
        place, source, other = tokens.PATH, tokens.PATH, "/srv/tokens.json"
    else:
        place, source, other = "/etc/edgeline/tokens/tokens.json", "edge-server-tokens", "team-a"
    assert re.search(rf"--tokens\W+{re.escape(place)}", text)
    assert text.count(source) >= 2 if form in ON_DEVICES else f"secretName: {source}" in text
    named = rendered_with(form, pixels, tmp_path, other)
    assert other in named
    assert source not in named.replace(place, "")
    everybody = rendered_with(form, pixels, tmp_path, "none")
    assert re.search(r"--tokens\W+none", everybody)
    assert source not in everybody
    for wrong in ("a b", "Team", "/x:/y", "relative/file", "/a b"):
        with pytest.raises(EdgelineError, match=f"tokens is '{wrong}': name a "):
            rendered_with(form, pixels, tmp_path, wrong)


def rendered_with(form: str, bundle: Path, folder: Path, given: str) -> str:
    settings = SiteSettings(form, tokens=given)
    paths = render(str(bundle), settings, MODELS, str(folder / form))
    return "\n".join(path.read_text().replace('\\"', '"') for path in paths)


def test_docker_compose_takes_the_file(pixels: Path, tmp_path: Path) -> None:
    documents(tmp_path, "compose", pixels)
    cache = Path(os.environ.get("EDGELINE_TEST_CACHE", Path.home() / ".cache/edgeline-tests"))
    environment = {"DOCKER_CONFIG": str(cache / "docker"), **os.environ}
    docker = shutil.which("docker")
    command = [docker or "", "compose", "-f", str(tmp_path / "compose" / "compose.yaml")]

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*command, *arguments], capture_output=True, text=True, check=False, env=environment
        )

    if not docker or run("version").returncode:
        pytest.skip("NOT TESTED: there is no docker compose; see tests/build_compose.sh")
    done = run("config", "-q")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"form": "balloon"}, "There is no kind of site 'balloon'"),
        ({"repository": "models"}, "'models' is not a repository of images"),
        ({"repository": "ghcr.io/Acme/models"}, "is not a repository of images"),
        ({"name": "Taxi!"}, "Name 'Taxi!'"),
        ({"name": "3d"}, "Name '3d'"),  # Kubernetes takes no such Service
        ({"namespace": "a.b"}, "Namespace 'a.b'"),
        ({"bundle": "nowhere"}, "nowhere is not a bundle"),
    ],
)
def test_a_wrong_argument_is_named(
    arguments: dict[str, Any], said: str, pixels: Path, tmp_path: Path
) -> None:
    given = {"bundle": str(pixels), "form": "compose", "repository": MODELS, **arguments}
    given["settings"] = SiteSettings(given.pop("form"))
    with pytest.raises(EdgelineError, match=re.escape(said)):
        render(output=str(tmp_path / "out"), **given)
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_sites_that_push_one_model_at_once_are_not_refused(pixels: Path, registry: Any) -> None:
    """A registry reads what another push has half written: serve tasks of one run do that."""
    for turn in range(5):
        with ThreadPoolExecutor(8) as pool:
            place = f"{registry.address}/models{turn}"
            pushed = list(pool.map(lambda place: push_image(str(pixels), place), [place] * 8))
        assert len(set(pushed)) == 1


def test_a_pushed_model_is_served_and_once_fetched_needs_no_registry(
    pixels: Path, registry: Any, tmp_path: Path
) -> None:
    reference = push_image(str(pixels), f"{registry.address}/models")
    assert reference == f"{registry.address}/models/mixed@{model_image(pixels)[0].digest}"
    assert push_image(str(pixels), f"{registry.address}/models") == reference  # again: no harm
    state = str(tmp_path / "state")
    assert served(f"oci://{reference}", state) == "3"
    registry.stop()
    assert served(f"oci://{reference}", state) == "3"


def served(address: str, state: str) -> str:
    """The version of the model that a server answers with."""
    command = [sys.executable, "-m", "edgeline.server", address, "--port", "0", "--state", state]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith("READY"), process.communicate(timeout=30)[1]
        port = int(re.findall(r"http=(\d+)", line)[0])
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        connection.request("GET", "/v2/models/mixed")
        versions: list[str] = json.loads(connection.getresponse().read())["versions"]
        connection.close()
        return versions[0]
    finally:
        process.terminate()
        process.communicate(timeout=60)


def test_altered_content_of_a_registry_is_refused(
    pixels: Path, registry: Any, tmp_path: Path
) -> None:
    reference = push_image(str(pixels), f"{registry.address}/models")
    layer = max(registry.storage.rglob("data"), key=lambda path: path.stat().st_size)
    content = bytearray(layer.read_bytes())
    content[len(content) // 2] ^= 1
    layer.write_bytes(content)
    with pytest.raises(EdgelineError, match="gave other content"):
        oci.fetch(f"oci://{reference}", str(tmp_path / "state"))
    assert list((tmp_path / "state" / "images").iterdir()) == []  # nothing half there


def test_an_altered_file_on_the_device_is_refused(
    pixels: Path, registry: Any, tmp_path: Path
) -> None:
    reference = push_image(str(pixels), f"{registry.address}/models")
    folder = oci.fetch(f"oci://{reference}", str(tmp_path / "state"))
    (folder / "notes" / "labels.txt").write_text("yes\nno\n")
    with pytest.raises(EdgelineError, match=r"labels\.txt is damaged"):
        oci.fetch(f"oci://{reference}", str(tmp_path / "state"))


def test_a_model_by_tag_is_refused() -> None:
    with pytest.raises(EdgelineError, match="has no digest"):
        oci.fetch("oci://ghcr.io/acme/models/taxi:3", None)


def test_a_registry_out_of_reach_is_said(tmp_path: Path) -> None:
    with pytest.raises(EdgelineError, match=r"127\.0\.0\.1:9 cannot be reached"):
        oci.fetch(f"oci://127.0.0.1:9/models/taxi@sha256:{'0' * 64}", str(tmp_path))


@pytest.mark.parametrize("form", CLUSTERS)
def test_a_server_that_keeps_windows_is_one_pod_and_more_of_it_is_a_fault(
    form: str, pixels: Path, tmp_path: Path
) -> None:
    made = tmp_path / "windowed"
    shutil.copytree(pixels, made)
    windows = Windows(2, "at", ("amount",), "name", "string", kept_by=SERVER)
    bundles.write_manifest(made, replace(bundles.read(made), windows=windows))
    found = documents(tmp_path, form, made)
    text = yaml.safe_dump_all(found)
    assert "edgeline.dev/windows: kept-by-server" in text and "type: Recreate" in text
    assert "maxSurge" not in text and "maxReplicas: 4" not in text
    if form not in ("kustomize", "kserve"):  # the others wrap the objects
        return
    assert not [entry for entry in lint([tmp_path / form]) if entry.rule == "windows-replicas"]
    for file in (tmp_path / form).glob("*.yaml"):
        several = file.read_text().replace("replicas: 1", "replicas: 3")
        file.write_text(several.replace("maxReplicas: 1", "maxReplicas: 3"))
    (fault,) = (entry for entry in lint([tmp_path / form]) if entry.rule == "windows-replicas")
    assert "eplicas: 3 divides the rows of a key among servers" in fault.message


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"no tar at all", "is not a tar file"),
        (gzip.compress(tarfile.TarInfo("models/a").tobuf())[:-20], "is not a tar file"),
        (b"x" * 157 + b"Z" + bytes(355), "is not a tar file"),
    ],
    ids=["text", "cut", "letters"],  # gzip's bytes hold the time, and workers must agree on names
)
def test_a_layer_that_is_no_archive_is_a_sentence(
    content: bytes, said: str, tmp_path: Path
) -> None:
    with pytest.raises(EdgelineError, match=said):
        oci._unpack(io.BytesIO(content), tmp_path, "x@sha256:0")


@pytest.mark.parametrize("form", FORMS)
def test_the_files_of_a_site_tell_version_and_digest(
    form: str, pixels: Path, tmp_path: Path
) -> None:
    files = render(str(pixels), SiteSettings(form), MODELS, str(tmp_path / "site"))
    found = deployed.read(file.read_text() for file in files)
    assert found.version == 3
    assert re.fullmatch("sha256:[0-9a-f]{64}", found.images[f"{MODELS}/mixed"])
