"""The names that Kubernetes and KFP's server take, each rule once.

A label is one part of a host's name (RFC 1123): letters a-z, digits and dashes, a letter or digit
at both ends, at most 63. Namespaces, bundles and projects are called so. A name is a `fullmatch`.
"""

from __future__ import annotations

import re

from edgeline.errors import UsageError

LABEL_PATTERN = r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"
LABEL = re.compile(LABEL_PATTERN)
SERVICE = re.compile(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?")  # a label that begins with a letter
# KFP's server keeps pipelines in a column of 128
PIPELINE = re.compile(r"[a-z0-9]([-a-z0-9]{0,126}[a-z0-9])?")


def check_namespace(namespace: str) -> None:
    """Refuse what no namespace can be called.

    Raises:
        UsageError: names it and what is allowed.
    """
    if not LABEL.fullmatch(namespace):
        raise UsageError(
            f"Namespace {namespace!r} is refused by Kubernetes: use at most 63 of a-z, 0-9 and -."
        )
