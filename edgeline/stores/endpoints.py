"""Where an object store answers and with which keys: from the environment, as everywhere.

| scheme     | endpoint                                                        | keys             |
|------------|-----------------------------------------------------------------|------------------|
| `minio://` | `MINIO_ENDPOINT` (`MINIO_SECURE=false`: plain HTTP)             | `MINIO_*_KEY`    |
| `s3://`    | the same, `AWS_ENDPOINT_URL_S3`, `AWS_ENDPOINT_URL`, AWS itself | `AWS_*`          |
| `gs://`    | `STORAGE_EMULATOR_HOST`, Google Cloud Storage itself            | an HMAC, `AWS_*` |
"""

from __future__ import annotations

import os

from edgeline.errors import EdgelineError
from edgeline.stores.sigv4 import Credentials

SCHEMES = ("s3", "gs", "minio")


def endpoint(scheme: str) -> tuple[str, Credentials | None]:
    """The URL of a scheme's store, and the keys where the environment has both.

    Raises:
        EdgelineError: the environment does not say where the store is.
    """
    get = os.environ.get
    names = key_names(scheme)
    region = get("AWS_REGION") or get("AWS_DEFAULT_REGION") or "us-east-1"
    if scheme == "gs":
        url = get("STORAGE_EMULATOR_HOST") or "https://storage.googleapis.com"
    elif scheme == "s3":
        url = get("MINIO_ENDPOINT") or get("AWS_ENDPOINT_URL_S3") or get("AWS_ENDPOINT_URL") or ""
        url = url or f"https://s3.{region}.amazonaws.com"
    elif not (url := get("MINIO_ENDPOINT", "")):
        raise EdgelineError("MINIO_ENDPOINT is not set: minio:// needs it.")
    if "://" not in url:
        plain = scheme == "gs" or get("MINIO_SECURE", "true").lower() in ("false", "0", "no")
        url = f"{'http' if plain else 'https'}://{url}"
    key, secret = get(names[0]), get(names[1])
    token = get("AWS_SESSION_TOKEN", "") if names[0].startswith("AWS") else ""
    found = Credentials(key, secret, token, region) if key and secret else None
    return url.rstrip("/"), found


def key_names(scheme: str) -> tuple[str, str]:
    """The variables that hold a scheme's keys."""
    if scheme != "gs" and os.environ.get("MINIO_ENDPOINT"):
        return "MINIO_ACCESS_KEY", "MINIO_SECRET_KEY"
    return "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"
