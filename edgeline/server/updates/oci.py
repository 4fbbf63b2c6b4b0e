"""A model that is an OCI image: `oci://repository@sha256:...`, as `edgeline site push` makes them.

The digest in the address is the whole trust: it names the index, that the image, that the layer,
and the layer's files are checked against the bundle's manifest. What was fetched once stays below
`--state` and needs no network again.
"""

from __future__ import annotations

import logging
import platform
import shutil
import tempfile
from pathlib import Path, PurePosixPath
from typing import IO

from edgeline.artifacts import bundle
from edgeline.errors import EdgelineError
from edgeline.formats import archives
from edgeline.stores import descriptors, registry
from edgeline.stores.descriptors import Descriptor

SCHEME = "oci://"
LARGEST = 4 << 30  # bytes of a layer
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm"}

log = logging.getLogger(__name__)


def fetch(address: str, state: str | None) -> Path:
    """The bundle of an image as a folder, from the disk where it has been fetched before.

    Args:
        address: `oci://` and a reference by digest.
        state: the server's folder; None fetches into a temporary one.

    Raises:
        EdgelineError: the address has no digest, the registry cannot be reached or gives other
            content, or the image holds no bundle.
    """
    reference = address.removeprefix(SCHEME)
    digest = registry.parse(reference).digest
    if not digest:
        raise EdgelineError(
            f"{address} has no digest: name the model as {SCHEME}repository@sha256:..., which "
            "`edgeline site push` prints."
        )
    root = Path(state) / "images" if state else Path(tempfile.mkdtemp(prefix="edgeline-"))
    folder = root / digest.replace(":", "-")
    if folder.is_dir():
        bundle.read(folder)
        log.info("%s is on the disk.", reference)
        return folder
    try:
        root.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix="partial-", dir=root))
        try:
            _fetch(reference, draft)
            bundle.read(draft)
            draft.chmod(0o755)
            draft.rename(folder)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
    except OSError as error:
        raise EdgelineError(
            f"{root} cannot hold {reference} ({error.strerror}): name another folder with --state."
        ) from error
    log.info("%s was fetched.", reference)
    return folder


def _fetch(reference: str, folder: Path) -> None:
    manifest = registry.manifest(reference)
    repository = reference.partition("@")[0]
    if manifest.kind in registry.INDEXES:
        part = _mine(descriptors.images(manifest.content, reference), reference)
        manifest = registry.manifest(f"{repository}@{part}")
    for layer in descriptors.parts(manifest.content, reference).layers:
        with tempfile.TemporaryFile(dir=folder.parent) as file:
            registry.download(repository, layer.digest, file, LARGEST)
            file.seek(0)
            _unpack(file, folder, reference)


def _mine(images: list[Descriptor], reference: str) -> str:
    """The image for this machine, or any: a model has no architecture."""
    machine = _ARCHITECTURES.get(platform.machine(), platform.machine())
    if not images:
        raise EdgelineError(f"{reference} is an index of no images: push the bundle again.")
    mine = (each for each in images if each.platform.get("architecture") == machine)
    return next(mine, images[0]).digest


def _unpack(file: IO[bytes], folder: Path, reference: str) -> None:
    """Regular files below `models/` and nothing else: no links, no devices, no way out."""
    try:
        with archives.open_tar(file, reference, LARGEST) as tar:
            for entry in tar:
                path = PurePosixPath(entry.name)
                parts = path.parts[1:] if path.parts[:1] == (bundle.IMAGE_FOLDER,) else ()
                if entry.isdir() or not parts:
                    continue
                if not entry.isreg() or ".." in parts or path.is_absolute():
                    raise EdgelineError(f"{reference} holds {entry.name!r}, which is not a file.")
                target = folder.joinpath(*parts)
                target.parent.mkdir(parents=True, exist_ok=True)
                source = tar.extractfile(entry)
                assert source is not None
                with source, target.open("wb") as out:
                    shutil.copyfileobj(source, out, 1 << 20)
    except archives.DAMAGED as error:
        if isinstance(error, OSError) and error.errno:  # the disk's
            raise
        raise EdgelineError(f"A layer of {reference} is not a tar file ({error}).") from error
