"""Put objects into an S3-compatible store with the standard library alone.

Requests are signed with AWS Signature Version 4
(https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html), which MinIO,
SeaweedFS, Ceph and Google Cloud Storage (with an HMAC key) take too. Endpoint and keys come from
the environment (see `endpoints`).
"""

from __future__ import annotations

import hashlib
import hmac
import os
from dataclasses import dataclass, field
from datetime import datetime, timezone
from urllib.parse import quote, urlsplit

from edgeline.errors import EdgelineError
from edgeline.stores.endpoints import SCHEMES, endpoint, key_names

TIMEOUT = 30.0  # seconds


@dataclass(frozen=True)
class Bucket:
    """A prefix in a bucket. `endpoint` is a URL; the bucket is the first part of the path."""

    endpoint: str
    name: str
    prefix: str
    region: str
    access_key: str = field(repr=False)
    secret_key: str = field(repr=False)
    token: str = field(default="", repr=False)

    def put(self, key: str, data: bytes) -> None:
        """Write an object; OSError where the store does not take it."""
        import urllib.error
        import urllib.request

        path = quote("/".join(filter(None, (self.name, self.prefix, key))))
        host = urlsplit(self.endpoint).netloc
        headers = signed(
            "PUT", host, "/" + path, data, self, datetime.now(timezone.utc)
        )  # fmt: skip
        request = urllib.request.Request(f"{self.endpoint}/{path}", data, headers, method="PUT")
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:
                answer.read()
        except urllib.error.HTTPError as error:
            error.close()
            raise OSError(f"status {error.code}") from None


def bucket(place: str) -> Bucket:
    """The bucket and prefix that `scheme://bucket/prefix` names.

    Raises:
        EdgelineError: it names none, or the environment has no endpoint or keys for it.
    """
    parts = urlsplit(place)
    if parts.scheme not in SCHEMES or not parts.netloc or "@" in parts.netloc:
        raise EdgelineError(
            f"{parts.scheme}://... is no place for payloads: give a folder, an http(s) receiver or "
            "s3://bucket/prefix."
        )
    url, keys = endpoint(parts.scheme)
    if keys is None:
        missing = [name for name in key_names(parts.scheme) if not os.environ.get(name)]
        raise EdgelineError(f"{place} needs keys: set {' and '.join(missing)}.")
    prefix = parts.path.strip("/")
    return Bucket(url, parts.netloc, prefix, keys.region, keys.key, keys.secret, keys.token)


def signed(
    method: str, host: str, path: str, data: bytes, to: Bucket, now: datetime
) -> dict[str, str]:
    """The headers of a request with its signature; `path` is quoted."""
    digest = hashlib.sha256(data).hexdigest()
    time, day = now.strftime("%Y%m%dT%H%M%SZ"), now.strftime("%Y%m%d")
    headers = {"host": host, "x-amz-content-sha256": digest, "x-amz-date": time}
    if to.token:
        headers["x-amz-security-token"] = to.token
    names = ";".join(sorted(headers))
    lines = "".join(f"{name}:{headers[name]}\n" for name in sorted(headers))
    canonical = "\n".join((method, path, "", lines, names, digest))
    scope = f"{day}/{to.region}/s3/aws4_request"
    hashed = hashlib.sha256(canonical.encode()).hexdigest()
    key = b"AWS4" + to.secret_key.encode()
    for part in (day, to.region, "s3", "aws4_request"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    text = "\n".join(("AWS4-HMAC-SHA256", time, scope, hashed))
    signature = hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
    credential = f"AWS4-HMAC-SHA256 Credential={to.access_key}/{scope}"
    headers["authorization"] = f"{credential}, SignedHeaders={names}, Signature={signature}"
    return headers
