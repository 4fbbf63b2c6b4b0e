"""Which container image a component runs in, read from `images.lock.yaml`.

build           builds the images of this folder
lock            writes their digests into the lock file
kustomization   the lock file as manifests read it
closure         every image that pipelines and manifests need
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from edgeline.errors import EdgelineError
from edgeline.formats import plain_file, plain_yaml

FOR_CPUS = ("pipeline-python", "train-python", "compile-python", "edge-server")
LOCK = "EDGELINE_IMAGES"  # names a lock file of one's own, for images in another registry


@dataclass(frozen=True)
class Entry:
    """An image of the lock file; `digest` is "" until it has been pushed and locked."""

    repository: str
    version: str
    digest: str = ""

    @property
    def tagged(self) -> str:
        return f"{self.repository}:{self.version}"


def reference(name: str) -> str:
    """`repository@digest` of an image, or `repository:version` while it has no digest.

    Raises:
        EdgelineError: the lock file cannot be read, or has no such image.
    """
    images = entries(lock_file())
    if name not in images:
        raise EdgelineError(f"{lock_file()} has no image {name!r}: it has {', '.join(images)}.")
    entry = images[name]
    return f"{entry.repository}@{entry.digest}" if entry.digest else entry.tagged


def is_for_cpus(reference: str) -> bool:
    """Whether an image is one of edgeline's own that are built without CUDA."""
    name = reference.rpartition("/")[2].partition("@")[0].partition(":")[0]
    return name in FOR_CPUS


def lock_file() -> Path:
    """The lock file in use: edgeline's own, or that which EDGELINE_IMAGES names."""
    return Path(os.environ.get(LOCK) or Path(__file__).with_name("images.lock.yaml"))


@cache
def entries(file: Path) -> dict[str, Entry]:
    """The images of a lock file by name.

    Raises:
        EdgelineError: it is missing or malformed.
    """
    try:
        found = plain_yaml.read_one(plain_file.read(file))
        return {name: Entry(**entry) for name, entry in found.items()}
    except OSError as error:
        raise EdgelineError(f"The image lock {file} cannot be read ({error.strerror}).") from error
    except (plain_yaml.YamlError, AttributeError, TypeError) as error:
        raise EdgelineError(
            f"{file} is not an image lock: it maps names to repository, version and digest."
        ) from error
