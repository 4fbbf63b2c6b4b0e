"""A bucket of an S3-compatible store: AWS S3, MinIO, SeaweedFS, Ceph, Google's S3 interface."""

from __future__ import annotations

import contextlib
import io
import os
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import certifi
import urllib3
from minio import Minio, credentials
from minio.error import MinioException, S3Error

from edgeline.errors import EdgelineError
from edgeline.stores import objects
from edgeline.stores.access import missing, s3_keys
from edgeline.stores.again import PassingError
from edgeline.stores.endpoints import endpoint
from edgeline.stores.identity.lease import Ends, Lease
from edgeline.stores.objects import ObjectEntry
from edgeline.stores.sigv4 import Credentials

REFUSALS = {
    "AccessDenied",
    "ExpiredToken",
    "InvalidAccessKeyId",
    "InvalidToken",
    "SignatureDoesNotMatch",
}
BUSY = {"InternalError", "RequestTimeout", "ServiceUnavailable", "SlowDown"}
# a publisher's keys need not reach beyond its prefix; what is really wrong is told when it writes
UNKNOWN = {"AccessDenied", "NoSuchKey", "NoSuchBucket"}


def connect(scheme: str, bucket: str, anonymous: bool) -> S3Objects:
    """See `edgeline.stores.buckets.open_bucket`."""
    store = endpoint(scheme)
    keys = s3_keys(store, scheme)
    if keys is None and not anonymous:
        raise EdgelineError(missing(f"{scheme}://{bucket}"))
    pool = urllib3.PoolManager(
        timeout=urllib3.Timeout(connect=objects.CONNECT_TIMEOUT, read=objects.READ_TIMEOUT),
        retries=urllib3.Retry(
            total=objects.RETRIES,
            backoff_factor=0.2,
            status_forcelist=[500, 502, 503, 504],
            respect_retry_after_header=False,  # a minute or an hour, as the store likes
        ),
        maxsize=4,
        cert_reqs="CERT_REQUIRED",
        ca_certs=os.environ.get("SSL_CERT_FILE") or certifi.where(),
    )
    provider = _Provider(keys) if keys else None
    try:
        client = Minio(
            store.host if store.variable or scheme == "gs" else "s3.amazonaws.com",
            credentials=provider,
            secure=store.secure,
            region=store.region or None,
            http_client=pool,
        )
    except ValueError as error:
        raise EdgelineError(f"The endpoint {store.url} cannot be used ({error}).") from error
    return S3Objects(scheme, bucket, store.url, client, provider)


class _Provider(credentials.Provider):  # type: ignore[misc]
    """The keys of each request, which may have been renewed since the last."""

    def __init__(self, keys: Callable[[], Lease[Credentials]]) -> None:
        self._keys = keys
        self.ends = Ends()

    def retrieve(self) -> credentials.Credentials:
        lease = self._keys()
        self.ends.add(lease)
        ends = lease.expires
        return credentials.Credentials(
            lease.value.key,
            lease.value.secret,
            lease.value.token or None,
            None if ends == float("inf") else datetime.fromtimestamp(ends, timezone.utc),
        )


@dataclass(frozen=True)
class S3Objects:
    """See `edgeline.stores.objects.Objects`."""

    scheme: str
    bucket: str
    endpoint: str
    client: Any = field(repr=False)
    provider: _Provider | None = field(default=None, repr=False)

    def read(self, key: str) -> bytes | None:
        with self._explained():
            try:
                response = self.client.get_object(self.bucket, key)
            except S3Error as error:
                if error.code == "NoSuchKey":
                    return None
                raise
            try:
                text: bytes = response.read()
                return text
            finally:
                response.close()
                response.release_conn()

    def write(self, key: str, content: bytes, cache_control: str = "") -> None:
        with self._explained():
            self.client.put_object(
                self.bucket,
                key,
                io.BytesIO(content),
                len(content),
                metadata={"Cache-Control": cache_control} if cache_control else None,
            )

    def upload(self, key: str, file: Path) -> None:
        with self._explained():
            self.client.fput_object(self.bucket, key, str(file))

    def download(self, key: str, file: Path) -> None:
        with self._explained():
            self.client.fget_object(self.bucket, key, str(file))

    def below(self, folder: str) -> list[ObjectEntry]:
        with self._explained():
            return [ObjectEntry(e.object_name, e.last_modified) for e in self._listed(folder)]

    def folders(self, prefix: str) -> list[str]:
        with self._explained():
            try:
                found = list(self.client.list_objects(self.bucket, prefix=prefix))
            except S3Error as error:
                if error.code not in UNKNOWN:
                    raise
                found = []
        return [entry.object_name for entry in found if entry.is_dir]

    def has(self, key: str) -> bool:
        with self._explained():
            try:
                self.client.stat_object(self.bucket, key)
            except S3Error as error:
                if error.code in UNKNOWN:
                    return False
                raise
        return True

    def remove(self, key: str) -> None:
        with self._explained():
            self.client.remove_object(self.bucket, key)

    def stream(self, key: str) -> Any:
        return self.client.get_object(self.bucket, key)

    def keys(self, prefix: str) -> list[str]:
        return [entry.object_name for entry in self._listed(prefix)]

    def _listed(self, prefix: str) -> Iterator[Any]:
        found = self.client.list_objects(self.bucket, prefix=prefix, recursive=True)
        return (entry for entry in found if not entry.is_dir)

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn the client's errors into a sentence.

        The cause is left out on purpose: the client's errors quote requests.
        """
        where = f"{self.scheme}://{self.bucket} at {self.endpoint}"
        begun = time.time()
        try:
            yield
        except S3Error as error:
            if error.code == "NoSuchBucket":
                fault = "does not exist: create the bucket or fix the destination."
            elif error.code in REFUSALS:
                fault = f"refuses the keys in the environment ({error.code}): check them."
            elif error.code == "NoSuchKey":
                fault = f"lacks {error.object_name}, which its manifest lists: publish it again."
            else:
                fault = f"answered {error.code} ({error.message})."
            late = self.provider is not None and self.provider.ends.any_since(begun)
            if late and error.code in REFUSALS:  # they ended on the way: the next are others
                fault = f"took too long for these keys, which have ended ({error.code})."
            kind = PassingError if late or error.code in BUSY else EdgelineError
            raise kind(f"{where} {fault}") from None
        except urllib3.exceptions.HTTPError as error:
            raise PassingError(
                f"{where} cannot be reached ({_words(error)}): check the endpoint and the network."
            ) from None
        except (MinioException, ValueError) as error:
            raise EdgelineError(f"{where} cannot be used ({error}).") from None


def _words(error: urllib3.exceptions.HTTPError) -> str:
    """What went wrong, without the request: `connect timeout error`."""
    reason = getattr(error, "reason", None) or error
    if isinstance(reason, urllib3.exceptions.ResponseError):
        return str(reason)
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", type(reason).__name__).lower()
