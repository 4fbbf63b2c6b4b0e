"""A bundle as an OCI image: the same bundle is the same digest, wherever it is made.

One layer, an uncompressed tar with the bundle's files, and its `model.sig` where it has one,
below `models/`, where KServe looks for them; the same layer for every architecture, since a model
has none. Everything that could differ from one making to the next (times, owners, order) is fixed,
so the digest is known before anything is pushed. A modelcar has a base image below it. Format: OCI
image specification 1.1.
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from edgeline.artifacts.bundle import IMAGE_FOLDER, MANIFEST, MODEL_SIGNATURE, Bundle, read
from edgeline.sites import base as bases
from edgeline.stores import registry

INDEX, IMAGE = registry.INDEXES[0], registry.MANIFESTS[0]
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"


@dataclass(frozen=True)
class ModelImage:
    """An image as its parts; the layer is made again from the bundle when it is needed.

    Attributes:
        digest: of the index, by which the image is named.
        base: the image below it, or empty, and its layers' digests.
        configs, manifests: for each platform.
    """

    bundle: Path
    base: str
    base_layers: frozenset[str]
    layer: str
    configs: tuple[bytes, ...]
    manifests: tuple[registry.Manifest, ...]
    index: registry.Manifest

    @property
    def digest(self) -> str:
        return self.index.digest


def model_image(bundle: str | Path, base: str = "") -> tuple[ModelImage, Bundle]:
    """The image of a bundle, whose files are checked against its manifest.

    Args:
        base: an image by digest to lie below it (see `base.read`), whose registry is asked.

    Raises:
        EdgelineError: it is not a bundle, a file of it is missing or altered, or there is no such
            base.
    """
    folder = Path(bundle)
    manifest = read(folder)
    with _layer(folder) as file:
        size, found = file.seek(0, io.SEEK_END), hashlib.sha256()
        file.seek(0)
        while piece := file.read(1 << 20):
            found.update(piece)
        layer = f"sha256:{found.hexdigest()}"
    annotations = {
        "org.opencontainers.image.title": manifest.name,
        "org.opencontainers.image.version": str(manifest.version),
    }
    configs, manifests, entries, below = [], [], [], []
    for start in bases.read(base) if base else bases.scratch():
        under = start.config["rootfs"]["diff_ids"]
        rootfs = {"type": "layers", "diff_ids": [*under, layer]}
        config = _json({**start.config, "rootfs": rootfs})
        configs.append(config)
        below += [entry["digest"] for entry in start.layers]
        content = {
            "schemaVersion": 2,
            "mediaType": IMAGE,
            "config": {"mediaType": CONFIG, "digest": _digest(config), "size": len(config)},
            "layers": [*start.layers, {"mediaType": LAYER, "digest": layer, "size": size}],
            "annotations": annotations,
        }
        part = registry.Manifest(IMAGE, _json(content))
        manifests.append(part)
        described = {"mediaType": IMAGE, "digest": part.digest, "size": len(part.content)}
        entries.append({**described, "platform": start.platform})
    content = {"schemaVersion": 2, "mediaType": INDEX, "manifests": entries}
    index = registry.Manifest(INDEX, _json({**content, "annotations": annotations}))
    made = (layer, tuple(configs), tuple(manifests), index)
    return ModelImage(folder, base, frozenset(below), *made), manifest


def push(image: ModelImage, repository: str, tag: str) -> str:
    """Push an image; the index goes last, so that no reader sees half of it.

    Returns:
        its reference by digest.

    Raises:
        EdgelineError: the registry cannot be reached or refuses.
    """
    for digest in sorted(image.base_layers):
        registry.copy_blob(image.base, repository, digest)
    with _layer(image.bundle) as file:
        registry.upload(repository, image.layer, file)
    for config in image.configs:
        registry.upload(repository, _digest(config), io.BytesIO(config))
    for manifest in image.manifests:
        registry.put(repository, manifest, manifest.digest)
    registry.put(repository, image.index, tag)
    return f"{repository}@{image.digest}"


@contextmanager
def _layer(bundle: Path) -> Iterator[IO[bytes]]:
    names = sorted(json.loads((bundle / MANIFEST).read_text())["files"])
    beside = [MANIFEST, *([MODEL_SIGNATURE] if (bundle / MODEL_SIGNATURE).is_file() else [])]
    folders = {
        IMAGE_FOLDER,
        *(f"{IMAGE_FOLDER}/{parent}" for name in names for parent in _parents(name)),
    }
    with tempfile.TemporaryFile() as file:
        with tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT) as tar:
            for name in sorted(folders):
                tar.addfile(_entry(name, tarfile.DIRTYPE, 0o555))
            for name in [*beside, *names]:
                with (bundle / name).open("rb") as content:
                    entry = _entry(f"{IMAGE_FOLDER}/{name}", tarfile.REGTYPE, 0o444)
                    entry.size = (bundle / name).stat().st_size
                    tar.addfile(entry, content)
        yield file


def _parents(name: str) -> list[str]:
    parts = name.split("/")[:-1]
    return ["/".join(parts[: end + 1]) for end in range(len(parts))]


def _entry(name: str, kind: bytes, mode: int) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.type, entry.mode = kind, mode
    entry.mtime = entry.uid = entry.gid = 0
    return entry


def _json(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def _digest(content: bytes) -> str:
    return "sha256:" + hashlib.sha256(content).hexdigest()
