"""An image with a shell, below a bundle's files: what KServe starts as a modelcar.

KServe runs `sh -c "ln -sf /proc/$$/root/models /mnt/models && sleep infinity"` in it, as the
arguments of whatever its entrypoint is. Source: kserve 0.20, pkg/utils/storage.go.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from edgeline.errors import EdgelineError, UsageError
from edgeline.stores import descriptors, registry

PLATFORMS = (("amd64", ""), ("arm64", ""), ("arm", "v7"))
MOST_BYTES = 1 << 20  # of a configuration
_PLATFORM = ("architecture", "os", "variant")
_DOCKERS = "application/vnd.docker.image.rootfs.diff.tar.gzip"
_OCI = "application/vnd.oci.image.layer.v1.tar"


@dataclass(frozen=True)
class BaseImage:
    """What an image begins with on one platform.

    Attributes:
        platform: as an index names it.
        config: the image's configuration.
        layers: descriptors, the lowest first.
    """

    platform: dict[str, str]
    config: dict[str, Any]
    layers: tuple[dict[str, Any], ...] = ()


def scratch() -> Iterator[BaseImage]:
    """Nothing, on each platform."""
    for architecture, variant in PLATFORMS:
        platform = {"architecture": architecture, "os": "linux"}
        platform |= {"variant": variant} if variant else {}
        yield BaseImage(platform, {**platform, "config": {}, "rootfs": {"diff_ids": []}})


def check(reference: str) -> None:
    """Whether it can be a base; no registry is asked.

    Raises:
        UsageError: not an image, or one without a digest, so the model's would be another from
            day to day.
    """
    if not registry.parse(reference).digest:
        raise UsageError(f"The base {reference} has no digest: name it as REPOSITORY@sha256:....")


def read(reference: str) -> list[BaseImage]:
    """An image on each of our platforms that it has; its layers stay where they are.

    Raises:
        UsageError: see `check`.
        EdgelineError: it cannot be read, has none of our platforms, or an entrypoint of its own.
    """
    check(reference)
    found = list(_started(reference))
    if not found:
        names = ", ".join("".join(each) for each in PLATFORMS)
        raise EdgelineError(f"The base {reference} is for none of linux on {names}: name another.")
    return found


def _started(reference: str) -> Iterator[BaseImage]:
    for manifest in _manifests(reference, registry.manifest(reference)):
        parts = descriptors.parts(manifest.content, reference)
        config = _config(reference, parts.config.digest)
        platform = {key: str(config[key]) for key in _PLATFORM if key in config}
        if not _is_ours(platform):
            continue
        how = config.get("config")
        if isinstance(how, dict) and how.get("Entrypoint"):
            raise EdgelineError(
                f"The base {reference} has an entrypoint, to which KServe's `sh` would be an "
                "argument: name one without, such as busybox."
            )
        yield BaseImage(platform, config, tuple(map(_layer, parts.layers)))


def _manifests(reference: str, manifest: registry.Manifest) -> Iterator[registry.Manifest]:
    if manifest.kind not in registry.INDEXES:
        yield manifest
        return
    repository = reference.partition("@")[0]
    for image in descriptors.images(manifest.content, reference):
        if _is_ours(image.platform):
            yield registry.manifest(f"{repository}@{image.digest}")


def _is_ours(platform: Mapping[str, str]) -> bool:
    architecture, variant = platform.get("architecture", ""), platform.get("variant", "")
    if architecture == "arm64":
        variant = ""  # v8, which there is no other of
    return platform.get("os") == "linux" and (architecture, variant) in PLATFORMS


def _config(reference: str, digest: str) -> dict[str, Any]:
    file = io.BytesIO()
    registry.download(reference, digest, file, MOST_BYTES)
    try:
        found = json.loads(file.getvalue())
    except (ValueError, RecursionError) as error:
        raise EdgelineError(f"The base {reference} has no configuration in JSON.") from error
    if not isinstance(found, dict):
        raise EdgelineError(f"The configuration of the base {reference} is not a JSON object.")
    # how it was made is not how the model's image is
    return {key: value for key, value in found.items() if key not in ("created", "history")}


def _layer(found: descriptors.Descriptor) -> dict[str, Any]:
    kind = f"{_OCI}+gzip" if found.kind == _DOCKERS else found.kind
    return {"mediaType": kind, "digest": found.digest, "size": found.size}
