"""Open the bucket that an address names, with the client of its store.

| scheme                | client  | module          |
|-----------------------|---------|-----------------|
| `s3://`, `minio://`   | minio   | `s3_objects`    |
| `gs://`, `abfs://`    | obstore | `cloud_objects` |

An HMAC key in the environment makes `gs://` one of the first, by Google's S3 interface.
"""

from __future__ import annotations

from edgeline.stores.endpoints import AZURE, endpoint
from edgeline.stores.objects import Objects


def open_bucket(scheme: str, bucket: str, anonymous: bool = False) -> Objects:
    """A bucket, with the endpoint and access that the environment gives; nobody is asked yet.

    Args:
        scheme: one of `edgeline.stores.endpoints.STORES`.
        bucket: its name; of `abfs` a container, with `@account...` behind it where the environment
            does not say the account.
        anonymous: whether one without keys and identity will do, as to read what is public.

    Raises:
        EdgelineError: the environment names no endpoint, or neither keys nor an identity.
    """
    if scheme == AZURE or (scheme == "gs" and endpoint("gs").credentials is None):
        from edgeline.stores import cloud_objects

        return cloud_objects.connect(scheme, bucket, anonymous)
    from edgeline.stores import s3_objects

    return s3_objects.connect(scheme, bucket, anonymous)
