"""Destinations that are gone with the pod that wrote to them.

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

from edgeline.errors import EdgelineError

LOCAL_RUN = "EDGELINE_LOCAL_RUN"  # set for the tasks of `edgeline run`, which may be in a notebook
MOUNTS = Path("/proc/self/mountinfo")
MEND = "give s3://bucket/prefix or minio://bucket/prefix"


def in_cluster() -> bool:
    """Whether this is a task of a cluster's run."""
    return bool(os.environ.get("KUBERNETES_SERVICE_HOST")) and LOCAL_RUN not in os.environ


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
        raise EdgelineError(f"{lost(destination)}: {MEND}, or the path of a volume.")


def refuse_lost(destination: str) -> None:
    """Refuse, in a cluster, a destination that this pod does not keep.

    Raises:
        EdgelineError: it is relative, or no volume is mounted there.
    """
    refuse_relative(destination)
    path = folder(destination)
    if path is not None and in_cluster() and not _outlives_the_pod(Path(os.path.realpath(path))):
        raise EdgelineError(f"{lost(destination)}: {MEND}, or mount a volume there.")


def lost(destination: str) -> str:
    """The beginning of a sentence: what becomes of what is published there."""
    return (
        f"The destination {destination} is a folder on the own disk of the task's pod, and what is "
        "published there is gone when the pod is"
    )


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
