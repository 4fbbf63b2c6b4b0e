"""AWS Signature Version 4 of a request, for S3 and what speaks like it.

https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html, which MinIO,
SeaweedFS, Ceph and Google Cloud Storage (with an HMAC key) take too. Written out, since a client
library is larger than the edge server.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass, field
from datetime import datetime, timezone
from urllib.parse import urlsplit


@dataclass(frozen=True)
class Credentials:
    """An access key of a store."""

    key: str
    secret: str = field(repr=False)
    token: str = field(repr=False)
    region: str


def signed_headers(
    method: str,
    url: str,
    credentials: Credentials,
    body: bytes = b"",
    now: datetime | None = None,
) -> dict[str, str]:
    """The headers that make a request of these credentials.

    Args:
        method: of the request.
        url: what is asked for, quoted and without a query: its whole path is signed.
        credentials: who asks.
        body: what is sent.
        now: the time of the request; none: the clock's.
    """
    parts = urlsplit(url)
    moment = (now or datetime.now(timezone.utc)).strftime("%Y%m%dT%H%M%SZ")
    content = hashlib.sha256(body).hexdigest()
    headers = {"host": parts.netloc, "x-amz-content-sha256": content, "x-amz-date": moment}
    if credentials.token:
        headers["x-amz-security-token"] = credentials.token
    names = ";".join(sorted(headers))
    lines = "".join(f"{name}:{headers[name]}\n" for name in sorted(headers))
    request = f"{method}\n{parts.path}\n\n{lines}\n{names}\n{content}"
    scope = f"{moment[:8]}/{credentials.region}/s3/aws4_request"
    digest = hashlib.sha256(request.encode()).hexdigest()
    key = f"AWS4{credentials.secret}".encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    proof = hmac.digest(key, f"AWS4-HMAC-SHA256\n{moment}\n{scope}\n{digest}".encode(), "sha256")
    headers["authorization"] = (
        f"AWS4-HMAC-SHA256 Credential={credentials.key}/{scope},"
        f"SignedHeaders={names},Signature={proof.hex()}"
    )
    del headers["host"]  # the client sets it
    return headers
