"""Bundles in an S3-compatible object store: AWS S3, MinIO, SeaweedFS, Ceph, Google's S3 API.

An object appears whole or not at all, but a bundle is several objects. So a publisher first
claims the number, then uploads the files, and the manifest last.

A claim is an empty object `<name>/.claims/<version>/<digest of the content>`. A publisher writes
its claim, lists the claims on that number, and has it only if it sees no other; otherwise it
goes on to the next. Of two that claim the same number the one that lists last sees both, so two
never win; at worst both lose and the number stays unused. This takes a store that lists what
was just written, and nothing more: a conditional put (If-None-Match) would be shorter, but
SeaweedFS, the default store of Kubeflow Pipelines, ignored it before 3.97 and let concurrent
puts pass as late as 4.16.

A publisher that is killed leaves its claim and some files, which nobody sees. The same content
published again finds its own claim and completes that number; other content skips the number.
Claims stay for ever: they are what keeps a number from being given twice. Parts of an upload
that broke off are the store's to expire (AbortIncompleteMultipartUpload in its lifecycle).

Two publishers of the SAME content at the same moment share the number: they upload equal files,
and the manifest of the later, which differs in provenance alone, remains.
"""

from __future__ import annotations

import contextlib
import functools
import io
import os
import random
import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import certifi
import urllib3
from minio import Minio
from minio.error import MinioException, S3Error

from edgeline.artifacts.bundle import MANIFEST, Bundle, manifest_text
from edgeline.errors import EdgelineError
from edgeline.stores.again import PassingError, again
from edgeline.stores.endpoints import endpoint
from edgeline.stores.signed import ROOTS

CONNECT_TIMEOUT = 5.0  # seconds
READ_TIMEOUT = 30.0  # seconds
RETRIES = 2
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
CLAIMS = ".claims"
Done = TypeVar("Done")


def connect(scheme: str, bucket: str, prefix: str) -> ObjectStore:
    """The store of a bucket, with the endpoint and keys that the environment gives.

    Both come from the environment, as `edgeline.stores.endpoints` reads it. No request is made
    yet.

    Raises:
        EdgelineError: the environment names no endpoint or no keys.
    """
    store = endpoint(scheme)
    keys = store.required_credentials(f"{scheme}://{bucket}")
    pool = urllib3.PoolManager(
        timeout=urllib3.Timeout(connect=CONNECT_TIMEOUT, read=READ_TIMEOUT),
        retries=urllib3.Retry(
            total=RETRIES,
            backoff_factor=0.2,
            status_forcelist=[500, 502, 503, 504],
            respect_retry_after_header=False,  # a minute or an hour, as the store likes
        ),
        maxsize=4,
        cert_reqs="CERT_REQUIRED",
        ca_certs=os.environ.get("SSL_CERT_FILE") or certifi.where(),
    )
    try:
        client = Minio(
            store.host if store.variable else "s3.amazonaws.com",
            access_key=keys.key,
            secret_key=keys.secret,
            session_token=keys.token or None,
            secure=store.secure,
            region=store.region or None,
            http_client=pool,
        )
    except ValueError as error:
        raise EdgelineError(f"The endpoint {store.url} cannot be used ({error}).") from error
    return ObjectStore(scheme, bucket, prefix, store.url, client)


@dataclass(frozen=True)
class ObjectStore:
    """A store (see `edgeline.stores.store.Store`) below a prefix of a bucket."""

    scheme: str
    bucket: str
    prefix: str
    endpoint: str
    client: Any = field(repr=False)

    def uri(self, name: str, version: int) -> str:
        return f"{self.scheme}://{self.bucket}/{self.key(name, version)}"

    def versions(self, name: str) -> list[int]:
        folder = self.key(name) + "/"
        found = (
            re.fullmatch(rf"([1-9][0-9]*)/{re.escape(MANIFEST)}", key.removeprefix(folder))
            for key in self._keys(folder)
        )
        return sorted(int(match[1]) for match in found if match)

    def manifest(self, name: str, version: int) -> bytes | None:
        return self.read(name, version, MANIFEST)

    def read(self, *path: str | int) -> bytes | None:
        """The content of a small object, None where there is none."""
        return again(lambda: self._content(*path))

    def _content(self, *path: str | int) -> bytes | None:
        with self.explained():
            try:
                response = self.client.get_object(self.bucket, self.key(*path))
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

    def put(self, folder: Path, bundle: Bundle, digest: str) -> bool:
        name, version = bundle.name, bundle.version
        if self.manifest(name, version) is not None or not self._claim(name, version, digest):
            return False
        for path in bundle.files:
            key, file = self.key(name, version, path), str(folder / path)
            put = functools.partial(self.client.fput_object, self.bucket, key, file)
            self._persistently(put)
        self._put_text(self.key(name, version, MANIFEST), manifest_text(bundle).encode())
        return True

    def get(self, bundle: Bundle, folder: Path) -> None:
        for path in bundle.files:
            key, file = self.key(bundle.name, bundle.version, path), str(folder / path)
            get = functools.partial(self.client.fget_object, self.bucket, key, file)
            self._persistently(get)

    def signed_repositories(self) -> tuple[str, str]:
        parts = self.prefix.split("/") if self.prefix else []
        above = ["/".join(parts[:count]) for count in range(len(parts), -1, -1)]
        around = next((place for place in above if self._is_repository(place, ROOTS)), None)
        if around is not None:
            return f"{self.scheme}://{self.bucket}/{around}".rstrip("/"), ""
        folder = f"{self.prefix}/" if self.prefix else ""
        with self.explained():
            try:
                found = list(self.client.list_objects(self.bucket, prefix=folder))
            except S3Error as error:
                if error.code not in UNKNOWN:
                    raise
                found = []
        for entry in found:
            place = entry.object_name.rstrip("/")
            if entry.is_dir and self._is_repository(place, ROOTS[:1]):
                return "", f"{self.scheme}://{self.bucket}/{place}"
        return "", ""

    def _is_repository(self, place: str, roots: Sequence[str]) -> bool:
        return any(self._is_there(f"{place}/{root}" if place else root) for root in roots)

    def _is_there(self, key: str) -> bool:
        """Whether there is such an object; false where these keys may not know."""
        with self.explained():
            try:
                self.client.stat_object(self.bucket, key)
            except S3Error as error:
                if error.code in UNKNOWN:
                    return False
                raise
        return True

    def _claim(self, name: str, version: int, digest: str) -> bool:
        claims = self.key(name, CLAIMS, version) + "/"
        mine = claims + digest
        others = set(self._keys(claims)) - {mine}
        if not others:
            self._put_text(mine, b"")
            others = set(self._keys(claims)) - {mine}
            if others:
                # Both may have lost: come to the next number at different times.
                time.sleep(random.uniform(0, 0.2))
        return not others

    def _keys(self, prefix: str) -> list[str]:
        def names() -> list[str]:
            found = self.client.list_objects(self.bucket, prefix=prefix, recursive=True)
            return [entry.object_name for entry in found]

        return self._persistently(names)

    def _put_text(self, key: str, text: bytes) -> None:
        self._persistently(
            lambda: self.client.put_object(self.bucket, key, io.BytesIO(text), len(text))
        )

    def _persistently(self, work: Callable[[], Done]) -> Done:
        """Do what may be done twice, again where the store or the network was not ready."""

        def attempt() -> Done:
            with self.explained():
                return work()

        return again(attempt)

    def key(self, *parts: str | int) -> str:
        """The object below the prefix."""
        return "/".join(map(str, (self.prefix, *parts) if self.prefix else parts))

    @contextlib.contextmanager
    def explained(self) -> Iterator[None]:
        """Turn the client's errors into a sentence.

        The cause is left out on purpose: the client's errors quote requests.
        """
        where = f"{self.scheme}://{self.bucket} at {self.endpoint}"
        try:
            yield
        except S3Error as error:
            if error.code == "NoSuchBucket":
                fault = "does not exist: create the bucket or mend the destination."
            elif error.code in REFUSALS:
                fault = f"refuses the keys in the environment ({error.code}): check them."
            elif error.code == "NoSuchKey":
                fault = f"lacks {error.object_name}, which its manifest lists: publish it again."
            else:
                fault = f"answered {error.code} ({error.message})."
            kind = PassingError if error.code in BUSY else EdgelineError
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
