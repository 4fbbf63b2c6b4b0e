"""A bundle's image on a base with a shell, as KServe starts it beside the server."""

from __future__ import annotations

import hashlib
import io
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from edgeline.errors import EdgelineError
from edgeline.lint.lint import lint
from edgeline.sites.image import model_image
from edgeline.sites.render import push_image, render
from edgeline.sites.settings import SiteSettings
from edgeline.stores import registry as registries

OCI = "application/vnd.oci.image"
DOCKER = "application/vnd.docker"
SHELL = b"a layer with bin/sh"


def digest(content: bytes) -> str:
    return "sha256:" + hashlib.sha256(content).hexdigest()


def pushed_base(place: str, *platforms: dict[str, str], **config: Any) -> str:
    """An image as a registry has it, of Docker's older kinds; its reference by digest."""
    entries = []
    registries.upload(place, digest(SHELL), io.BytesIO(SHELL))
    layer = {"mediaType": f"{DOCKER}.image.rootfs.diff.tar.gzip", "digest": digest(SHELL)}
    for platform in platforms or ({"os": "linux", "architecture": "amd64"},):
        content = {
            **platform,
            "config": {"Env": ["PATH=/bin"], **config},
            "created": "2026-01-01T00:00:00Z",
            "history": [{"created_by": "ADD"}],
            "rootfs": {"type": "layers", "diff_ids": [digest(b"unpacked")]},
        }
        text = json.dumps(content).encode()
        registries.upload(place, digest(text), io.BytesIO(text))
        manifest = {
            "schemaVersion": 2,
            "config": {
                "mediaType": f"{DOCKER}.container.image.v1+json",
                "digest": digest(text),
                "size": len(text),
            },
            "layers": [{**layer, "size": len(SHELL)}],
        }
        kind = f"{DOCKER}.distribution.manifest.v2+json"
        part = registries.Manifest(kind, json.dumps({**manifest, "mediaType": kind}).encode())
        registries.put(place, part, part.digest)
        size = len(part.content)
        entries.append(
            {"mediaType": kind, "digest": part.digest, "size": size, "platform": platform}
        )
    if not platforms:
        return f"{place}@{entries[0]['digest']}"
    kind = f"{DOCKER}.distribution.manifest.list.v2+json"
    index = {"schemaVersion": 2, "mediaType": kind, "manifests": entries}
    whole = registries.Manifest(kind, json.dumps(index).encode())
    registries.put(place, whole, whole.digest)
    return f"{place}@{whole.digest}"


PLATFORMS = (
    {"os": "linux", "architecture": "amd64"},
    {"os": "linux", "architecture": "arm64", "variant": "v8"},
    {"os": "linux", "architecture": "arm", "variant": "v5"},  # not one of ours
)


def test_a_modelcar_has_the_shell_of_its_base_and_the_bundle_where_kserve_looks(
    pixels: Path, registry: Any, tmp_path: Path
) -> None:
    base = pushed_base(f"{registry.address}/library/busybox", *PLATFORMS)
    models = f"{registry.address}/models"
    reference = push_image(str(pixels), models, base)
    assert reference != f"{models}/mixed@{model_image(pixels)[0].digest}"
    assert push_image(str(pixels), models, base) == reference
    assert registries.digest(f"{models}/mixed:3-modelcar") == reference.partition("@")[2]
    index = json.loads(registries.manifest(reference).content)
    assert [entry["platform"] for entry in index["manifests"]] == list(PLATFORMS[:2])
    for entry in index["manifests"]:
        part = json.loads(registries.manifest(f"{models}/mixed@{entry['digest']}").content)
        kinds = [layer["mediaType"] for layer in part["layers"]]
        assert kinds == [f"{OCI}.layer.v1.tar+gzip", f"{OCI}.layer.v1.tar"]
        blob = io.BytesIO()
        registries.download(f"{models}/mixed", part["config"]["digest"], blob, 1 << 20)
        config = json.loads(blob.getvalue())
        assert config["config"]["Env"] == ["PATH=/bin"]  # where `sh` is found
        assert len(config["rootfs"]["diff_ids"]) == 2
        assert not {"created", "history"} & config.keys()
        blob = io.BytesIO()
        registries.download(f"{models}/mixed", digest(SHELL), blob, 1 << 20)
        assert blob.getvalue() == SHELL
    settings = SiteSettings("kserve", model_from="modelcar", modelcar_base=base)
    (path,) = render(str(pixels), settings, models, str(tmp_path))
    *_, service = yaml.safe_load_all(path.read_text())
    predictor = service["spec"]["predictor"]
    assert predictor["model"]["storageUri"] == f"oci://{reference}"
    assert predictor["imagePullSecrets"] == [{"name": "mixed-registry"}]
    assert "does not enforce `restricted`" in path.read_text().replace("\n# ", " ")
    assert "kserve-modelcar" not in {finding.rule for finding in lint([tmp_path])}


def test_a_base_may_be_for_one_platform_alone(pixels: Path, registry: Any) -> None:
    base = pushed_base(f"{registry.address}/shell")
    index = json.loads(model_image(pixels, base)[0].index.content)
    assert [entry["platform"]["architecture"] for entry in index["manifests"]] == ["amd64"]


def test_a_base_that_cannot_be_one_is_refused(pixels: Path, registry: Any) -> None:
    place = f"{registry.address}/shell"
    windows = {"os": "windows", "architecture": "amd64"}
    for base, said in (
        (f"{place}:1.37", r"has no digest: name it as REPOSITORY@sha256"),
        (f"{place}@sha256:{'0' * 64}", "There is no image"),
        (pushed_base(place, windows), "is for none of linux on amd64, arm64, armv7"),
        (pushed_base(place, Entrypoint=["/app"]), "has an entrypoint, to which KServe's `sh`"),
    ):
        with pytest.raises(EdgelineError, match=said):
            model_image(pixels, base)
    settings = SiteSettings("kserve", model_from="image", modelcar_base=pushed_base(place))
    with pytest.raises(EdgelineError, match="model_from is 'image', and modelcar_base is given"):
        render(str(pixels), settings, place, "site")
