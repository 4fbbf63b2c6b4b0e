"""Which container image a component runs in, read from `images.lock.yaml`."""

from __future__ import annotations

from functools import cache
from importlib import resources

import yaml

from edgeline.errors import EdgelineError


def reference(name: str) -> str:
    """`repository@digest` of an image, or `repository:version` while it has no digest.

    Raises:
        EdgelineError: the lock file has no such image.
    """
    try:
        entry = _lock()[name]
    except KeyError:
        raise EdgelineError(
            f"images.lock.yaml has no image {name!r}: it has {', '.join(_lock())}."
        ) from None
    if digest := entry.get("digest"):
        return f"{entry['repository']}@{digest}"
    return f"{entry['repository']}:{entry['version']}"


@cache
def _lock() -> dict[str, dict[str, str]]:
    text = resources.files(__name__).joinpath("images.lock.yaml").read_text()
    lock: dict[str, dict[str, str]] = yaml.safe_load(text)
    return lock
