"""Who may call a site's server: those with a token of a file, which the site has and is named here.

`edgeline.server.access` says how the file is written: it holds digests, never tokens.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from edgeline.errors import UsageError
from edgeline.formats import names
from edgeline.sites.site import Object

NONE = "none"  # in place of a file: what lies around the server says who may call
SECRET, KEY = "edge-server-tokens", "tokens.json"  # of the namespace, as of manifests/components
PATH = "/etc/edgeline/tokens.json"  # of a device
_FOLDER = "/etc/edgeline/tokens"  # in a container, where a Secret is
_PATH = re.compile(r"/[A-Za-z0-9._/-]+")


@dataclass(frozen=True)
class Tokens:
    """Where a server's file of tokens is.

    Attributes:
        source: a Secret with the key KEY, the path of a file on a device, or empty for none.
        place: the file as the server sees it.
    """

    source: str
    place: str

    @property
    def options(self) -> list[str]:
        """What the server is told."""
        return ["--tokens", self.place if self.source else NONE]

    @property
    def mounts(self) -> list[Object]:
        """Of a container in a cluster."""
        mount = {"name": "tokens", "mountPath": _FOLDER, "readOnly": True}
        return [mount] if self.source else []

    @property
    def volumes(self) -> list[Object]:
        """Of a pod. Without the Secret it does not start, and its events say why."""
        volume = {"name": "tokens", "secret": {"secretName": self.source}}
        return [volume] if self.source else []


def of(given: str, is_cluster: bool) -> Tokens:
    """What `--tokens` names for a form of sites.

    Args:
        given: a Secret's name, or a path on the devices; NONE; empty: SECRET or PATH.
        is_cluster: whether a form's servers are pods.

    Raises:
        UsageError: it is none such.
    """
    place = f"{_FOLDER}/{KEY}" if is_cluster else PATH
    if given == NONE:
        return Tokens("", place)
    if is_cluster:
        if not names.SUBDOMAIN.fullmatch(given or SECRET):
            raise UsageError(
                f"tokens is {given!r}: name a Secret that has the key {KEY}, or give {NONE}."
            )
        return Tokens(given or SECRET, place)
    if not _PATH.fullmatch(given or PATH):
        raise UsageError(
            f"tokens is {given!r}: name a file on the devices by its whole path, of letters, "
            f"digits, ., _, - and /, or give {NONE}."
        )
    return Tokens(given or PATH, place)
