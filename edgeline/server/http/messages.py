"""A request and its answer, whichever HTTP brought them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import orjson

from edgeline.server.errors import ServingError

JSON = b"application/json"
REASONS = {
    200: b"OK",
    202: b"Accepted",
    400: b"Bad Request",
    401: b"Unauthorized",
    403: b"Forbidden",
    404: b"Not Found",
    405: b"Method Not Allowed",
    408: b"Request Timeout",
    409: b"Conflict",
    410: b"Gone",
    411: b"Length Required",
    413: b"Content Too Large",
    415: b"Unsupported Media Type",
    429: b"Too Many Requests",
    431: b"Request Header Fields Too Large",
    500: b"Internal Server Error",
    501: b"Not Implemented",
    503: b"Service Unavailable",
    504: b"Gateway Timeout",
}


@dataclass(slots=True)
class HttpRequest:
    """One request. Header names are lower case; `peer` is the client's address, or `tls:` and
    the subject of its certificate. `connection` tells connections apart; `alone` is whether
    nothing else of it waits and the body is as large as it looks. `head` is what is counted for the
    request line and the headers. `cancel` is called when the answer cannot be sent any more, and
    `silent` when the client has closed its half of the connection: it may wait, or be gone."""

    method: str
    target: bytes
    headers: dict[bytes, bytes]
    body: bytes
    peer: str
    connection: int = 0
    alone: bool = False
    deadline: float = 0.0
    cancel: Callable[[], None] | None = None
    silent: Callable[[], None] | None = None
    served: Any = None  # the description of the version that answered
    head: int = 0


@dataclass(slots=True)
class HttpResponse:
    """One answer; `headers` are whole lines."""

    status: int = 200
    body: bytes = b""
    content_type: bytes = JSON
    headers: tuple[bytes, ...] = field(default=())


def error_response(error: ServingError) -> HttpResponse:
    """An error as every HTTP protocol here writes it: {"error": "one sentence"}."""
    headers: tuple[bytes, ...] = ()
    if error.http in (429, 503):
        headers = (b"Retry-After: 1",)
    elif error.http == 401:
        headers = (b"WWW-Authenticate: Bearer",)
    elif error.allow:
        headers = (b"Allow: " + error.allow.encode(),)
    return HttpResponse(error.http, orjson.dumps({"error": str(error)}), JSON, headers)
