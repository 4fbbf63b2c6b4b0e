"""Which packages made an artifact, as its metadata says it: `software`, versions by name."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import metadata

KEY = "software"


def versions(packages: Sequence[str]) -> dict[str, str]:
    """The versions of those that are installed."""
    found = {}
    for package in packages:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found
