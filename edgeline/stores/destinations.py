"""Destinations that are none, or that are gone with the pod that wrote to them.

A task of Kubeflow Pipelines runs in a pod of its own. What it writes to the pod's own disk is lost
when it ends, and the run is green. A relative path is always there; an absolute one is unless a
volume is mounted at or above it, which the pod itself can tell, and a compiled pipeline as far as
it mounts the volume itself.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

from edgeline.errors import EdgelineError, UsageError
from edgeline.stores.access import check_identity
from edgeline.stores.again import again
from edgeline.stores.endpoints import AZURE, STORES

# set by an environment that gives no task a key of a store
IDENTITY_ONLY = "EDGELINE_IDENTITY_ONLY"
LOCAL_RUN = "EDGELINE_LOCAL_RUN"  # set for the tasks of `edgeline run`, which may be in a notebook
MOUNTS = Path("/proc/self/mountinfo")
# an address with a slash too few, a home that nobody expands, a drive of another system
_MISTAKEN = re.compile(r"(s3|minio|gs|abfs|file|[a-z]):|~", re.IGNORECASE)
WAY_OUT = "give s3://bucket/prefix or minio://, gs:// or abfs:// likewise"


def in_cluster() -> bool:
    """Whether this is a task of a cluster's run."""
    return bool(os.environ.get("KUBERNETES_SERVICE_HOST")) and LOCAL_RUN not in os.environ


def check(destination: str) -> None:
    """Whether a destination can be one, before it is asked for.

    Raises:
        UsageError: it names no place that edgeline can write to.
    """
    if not destination.strip():
        raise UsageError("The destination is empty: give a folder or s3://bucket/prefix.")
    shown = "the destination" if "@" in destination else repr(destination)  # it may hold keys
    if destination != destination.strip() or not destination.isprintable():
        raise UsageError(
            f"In {shown} there is white space at an end, or a character that nobody sees: leave it "
            "out."
        )
    if "://" not in destination:
        if fault := _MISTAKEN.match(destination):
            raise UsageError(
                f"In {shown}, {fault[0]} would be the name of a folder here: {WAY_OUT}, or the "
                "whole path of a folder."
            )
        return
    try:
        parts = urlsplit(destination)
    except ValueError:
        raise UsageError(
            f"{shown[0].upper()}{shown[1:]} is a malformed address: {WAY_OUT}, or a folder."
        ) from None
    of_account = parts.scheme == AZURE and re.fullmatch(r"[\w-]+@[\w.:-]+", parts.netloc)
    if "@" in parts.netloc and not of_account:
        raise UsageError(
            f"The {parts.scheme}:// destination holds keys: leave them out and set "
            "MINIO_ACCESS_KEY and MINIO_SECRET_KEY."
        )
    if parts.query or parts.fragment:
        raise UsageError(
            f"In {destination} there is a ? or a #, which no destination has: leave it and what "
            "follows it out."
        )
    if parts.scheme == "file" and parts.netloc in ("", "localhost") and parts.path:
        return
    if parts.scheme in STORES and parts.netloc:
        return
    raise UsageError(f"{destination} is not a destination: {WAY_OUT}, or a folder.")


def folder(destination: str) -> PurePosixPath | None:
    """The folder that a destination names; None for a bucket, or where it names nothing."""
    if "://" not in destination:
        return PurePosixPath(destination) if destination.strip() else None
    try:
        parts = urlsplit(destination)
    except ValueError:  # such as s3://[bucket
        return None
    local = parts.scheme == "file" and parts.netloc in ("", "localhost")
    return PurePosixPath(unquote(parts.path) or "/") if local else None


def is_relative(destination: str) -> bool:
    """Whether it is a path that depends on where a task is started; `~` is such a name, too."""
    path = folder(destination)
    return path is not None and not path.is_absolute()


def is_unmounted(destination: str, mounts: Iterable[str]) -> bool:
    """Whether it is an absolute path that is not at or below one of the mounted volumes."""
    path = folder(destination)
    if path is None or not path.is_absolute():
        return False
    whole = PurePosixPath(os.path.normpath(path))
    return not any(whole.is_relative_to(os.path.normpath(mount)) for mount in mounts)


def refuse_relative(destination: str) -> None:
    """Refuse, in a cluster, a destination that no pod keeps: for the first task of a pipeline.

    Raises:
        EdgelineError: it is relative.
    """
    if in_cluster() and is_relative(destination):
        raise EdgelineError(f"{lost(destination)}: {WAY_OUT}, or the path of a volume.")


def refuse_unidentified(destination: str) -> None:
    """Refuse, in a cluster, a bucket for which there is no identity: for the first task.

    Keys that only another task has are not known here, so that there is none is a fault only where
    the environment says that there are no keys (see `IDENTITY_ONLY`).

    Raises:
        EdgelineError: the identity that is named here is refused, or none is and there are no keys.
    """
    if not in_cluster() or destination.partition("://")[0] not in STORES:
        return
    again(lambda: check_identity(destination, needed=IDENTITY_ONLY in os.environ))


def refuse_lost(destination: str) -> None:
    """Refuse, in a cluster, a destination that this pod does not keep.

    Raises:
        EdgelineError: it is relative, or no volume is mounted there.
    """
    refuse_relative(destination)
    if _is_lost(destination):
        raise EdgelineError(f"{lost(destination)}: {WAY_OUT}, or mount a volume there.")


def refuse_forgotten(parameter: str, place: str) -> None:
    """Refuse, in a cluster, a folder that is to remember something for a later pod and cannot.

    Args:
        parameter: the name of the one that gives it.
        place: a folder or an address.

    Raises:
        EdgelineError: it is relative, or no volume is mounted there.
    """
    if _is_lost(place):
        raise EdgelineError(
            f"{parameter} is {place}, a folder on the own disk of the task's pod, which is gone "
            "when the pod is: name one of a volume that the environment mounts (manifests/README.md"
            ", What a task has), or leave it out."
        )


def lost(destination: str) -> str:
    """The beginning of a sentence: what becomes of what is published there."""
    return (
        f"The destination {destination} is a folder on the own disk of the task's pod, and what is "
        "published there is gone when the pod is"
    )


def _is_lost(place: str) -> bool:
    """Whether it is, in a cluster, a folder that is gone when the pod is."""
    path = folder(place)
    if path is None or not in_cluster():
        return False
    return not path.is_absolute() or not _outlives_the_pod(Path(os.path.realpath(path)))


def _outlives_the_pod(path: Path) -> bool:
    """Whether the mount that holds a path is a volume; true where that cannot be told."""
    try:
        lines = MOUNTS.read_text("utf-8", errors="replace").splitlines()
        mounts = [_mount(line) for line in lines]
    except (OSError, ValueError):
        return True
    around = [(len(point.parts), kept) for point, kept in mounts if path.is_relative_to(point)]
    return max(around)[1] if around else True


def _mount(line: str) -> tuple[PurePosixPath, bool]:
    """Where something is mounted, and whether it outlives the pod (man 5 proc_pid_mountinfo)."""
    before, _, after = line.partition(" - ")
    root, point = before.split()[3:5]
    point = re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), point)
    passing = "/kubernetes.io~empty-dir/" in root or after.split()[:1] in (["tmpfs"], ["ramfs"])
    return PurePosixPath(point), point != "/" and not passing
