"""What a manifest or an index of a registry points to: the OCI image specification 1.1.

Source: https://github.com/opencontainers/image-spec/blob/v1.1.0/descriptor.md, and manifest.md and
image-index.md beside it; Docker's schema 2 has the same fields.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from edgeline.errors import EdgelineError

DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


@dataclass(frozen=True)
class Descriptor:
    """Content of a registry.

    Attributes:
        kind: its media type.
        digest: of its bytes, `sha256:` and 64 hexadecimal digits.
        size: bytes.
        platform: what an index says an image is for: architecture, os, variant.
    """

    kind: str
    digest: str
    size: int
    platform: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class ImageParts:
    """An image's configuration and its layers, the lowest first."""

    config: Descriptor
    layers: tuple[Descriptor, ...]


def images(content: bytes, reference: str) -> list[Descriptor]:
    """The images of an index.

    Raises:
        EdgelineError: it is not an index.
    """
    return _descriptors(_object(content, reference), "manifests", reference)


def parts(content: bytes, reference: str) -> ImageParts:
    """What an image is made of.

    Raises:
        EdgelineError: it is not an image's manifest.
    """
    found = _object(content, reference)
    config = _descriptor(found.get("config"), "config", reference)
    return ImageParts(config, tuple(_descriptors(found, "layers", reference)))


def _object(content: bytes, reference: str) -> dict[str, Any]:
    try:
        found = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise EdgelineError(f"The manifest of {reference} is not JSON ({error}).") from error
    if not isinstance(found, dict):
        raise EdgelineError(f"The manifest of {reference} is not a JSON object.")
    return found


def _descriptors(found: Mapping[str, Any], name: str, reference: str) -> list[Descriptor]:
    entries = found.get(name)
    if not isinstance(entries, list):
        raise EdgelineError(f"The manifest of {reference} has no list of {name}: push it again.")
    return [_descriptor(entry, f"{name}[{n}]", reference) for n, entry in enumerate(entries)]


def _descriptor(entry: Any, where: str, reference: str) -> Descriptor:
    entry = entry if isinstance(entry, dict) else {}
    kind, digest, size = (entry.get(key) for key in ("mediaType", "digest", "size"))
    if not isinstance(kind, str) or not isinstance(digest, str) or not DIGEST.fullmatch(digest):
        raise EdgelineError(
            f"{where} in the manifest of {reference} has no mediaType or no sha256 digest: "
            "push it again."
        )
    if not isinstance(size, int) or size < 0:
        raise EdgelineError(f"{where} in the manifest of {reference} has no size: push it again.")
    platform = entry.get("platform")
    said = platform.items() if isinstance(platform, dict) else ()
    return Descriptor(kind, digest, size, {str(k): v for k, v in said if isinstance(v, str)})
