"""A profile's part of KFP's own store: where its runs put artifacts, and where its key may write.

As Kubeflow's profile controller sets both up (kubeflow/manifests), and as a real one was seen to
answer. Who runs a cluster may have changed it.
"""

from __future__ import annotations

from urllib.parse import urlsplit

BUCKET = "mlpipeline"
SCHEMES = ("s3", "minio")


def root(namespace: str) -> str:
    """The pipeline root that the kfp-launcher of a new profile has. A run does not tell its own."""
    return f"minio://{BUCKET}/private-artifacts/{namespace}/v2/artifacts"


def is_out_of_reach(place: str, namespace: str) -> bool:
    """Whether a place is in KFP's own bucket, and not where a profile's key may write.

    Places elsewhere are others' to judge.
    """
    try:
        parts = urlsplit(place)
    except ValueError:  # such as s3://[bucket
        return False
    if parts.scheme not in SCHEMES or parts.netloc != BUCKET:
        return False
    allowed = ("artifacts/", f"private-artifacts/{namespace}/", f"private/{namespace}/", "shared/")
    return not f"{parts.path.lstrip('/')}/".startswith(allowed)
