"""What the files of a site say that is deployed there, whatever form they have."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

_IMAGE = re.compile(
    r"(?<![\w.-])([\w.-]+(?::[0-9]+)?(?:/[\w.-]+)+)@(sha256:[0-9a-f]{64})(?![0-9a-f])"
)
# as `site.py` labels objects, and `devices.py` writes what has no such labels
_VERSION = re.compile(
    r"""app\.kubernetes\.io/version: '([0-9]{1,18})'"""
    r"""|dev\.edgeline\.version: '([0-9]{1,18})'"""
    r"""|ComponentVersion: ([0-9]{1,18})\.0\.0"""
    r"""|"version": "([0-9]{1,18})\""""
)


@dataclass(frozen=True)
class Deployed:
    """A bundle at a site.

    Attributes:
        version: of the bundle; None where the files do not say it.
        images: the digest of each image by its name.
    """

    version: int | None
    images: dict[str, str]


def read(texts: Iterable[str]) -> Deployed:
    """What rendered files name, read as text: a site's files may have been written by anybody."""
    text = "\n".join(texts)
    named = _VERSION.search(text)
    version = next((int(group) for group in named.groups() if group), None) if named else None
    return Deployed(version, {found[1]: found[2] for found in _IMAGE.finditer(text)})
