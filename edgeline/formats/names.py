"""The names that Kubernetes and KFP's server take, each rule once.

A label is one part of a host's name (RFC 1123): letters a-z, digits and dashes, a letter or digit
at both ends, at most 63. Namespaces, bundles and projects are called so. A name is a `fullmatch`.
"""

from __future__ import annotations

import re

from edgeline.errors import EdgelineError, UsageError

LABEL_PATTERN = r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"
LABEL = re.compile(LABEL_PATTERN)
SERVICE = re.compile(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?")  # a label that begins with a letter
# KFP's server keeps pipelines in a column of 128
PIPELINE = re.compile(r"[a-z0-9]([-a-z0-9]{0,126}[a-z0-9])?")
# of a secret, a service account and most other objects: a subdomain of RFC 1123
SUBDOMAIN_PATTERN = r"(?=.{1,253}\Z)[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*"
SUBDOMAIN = re.compile(SUBDOMAIN_PATTERN)
# the only roots that KFP's launcher can write to
ROOT_SCHEMES = ("gs", "s3", "minio")
ROOT_PATTERN = rf"({'|'.join(ROOT_SCHEMES)})://[^/\s]+(/\S*)?"
ROOT = re.compile(ROOT_PATTERN)
# begins the name of what kfp's compiler hands to a group, such as a condition or loop
CHANNEL = "pipelinechannel--"
EXPERIMENT_BYTES = 128
RUN_CHARACTERS = 255


def check_label(what: str, value: str) -> None:
    """Refuse a name that no bundle, URI and Kubernetes object can have.

    Raises:
        EdgelineError: it begins with `what`, for example "The target".
    """
    if not LABEL.fullmatch(value):
        raise EdgelineError(
            f"{what} {value!r} is impossible: use 1 to 63 lower-case letters, digits and dashes, "
            "a letter or digit first and last."
        )


def check_namespace(namespace: str) -> None:
    """Refuse what no namespace can be called.

    Raises:
        UsageError: names it and what is allowed.
    """
    if not LABEL.fullmatch(namespace):
        raise UsageError(
            f"Namespace {namespace!r} is refused by Kubernetes: use at most 63 of a-z, 0-9 and -."
        )


def unfit_title(title: str) -> str:
    """Why a server cannot keep what a run or a schedule is called; empty where it can.

    These titles are free text. KFP's MariaDB keeps at most 255 characters, and none that takes four
    bytes in UTF-8; a server was recorded to answer both with 500.
    """
    if not title.strip():
        return "is empty"
    if len(title) > RUN_CHARACTERS:
        return f"has {len(title)} characters: use at most {RUN_CHARACTERS}"
    if wide := next((sign for sign in title if ord(sign) > 0xFFFF), ""):
        return f"has {wide}, which the server's database has no room for: leave it out"
    return ""


def unfit_experiment(name: str) -> str:
    """Why a server cannot keep an experiment's name; empty where it can."""
    if (size := len(name.encode())) > EXPERIMENT_BYTES:
        return f"has {size} bytes: use at most {EXPERIMENT_BYTES}"
    return unfit_title(name)
