"""Pages of other sites that may read answers: those in `--cors`, by the Fetch standard's protocol.

A listed page is told that it may read; who may call what stays what `access` says. So without
tokens it predicts and asks for health, and with them it calls what its token allows.

Source: https://fetch.spec.whatwg.org/#http-cors-protocol
"""

from __future__ import annotations

from collections.abc import Callable, Collection

from edgeline.server.http.messages import HttpRequest, HttpResponse

HttpReply = Callable[[HttpResponse], None]
_HEADERS = (
    b"authorization, content-encoding, content-type, inference-header-content-length, traceparent, "
    b"tracestate, x-request-id"
)
_READ = b"Access-Control-Expose-Headers: Inference-Header-Content-Length, Retry-After"
_VARY = b"Vary: Origin"
_KEPT = b"Access-Control-Max-Age: 600"  # seconds that a browser need not ask again


class Cors:
    """The pages that may read, by their origins as browsers write them."""

    def __init__(self, origins: Collection[str]) -> None:
        self._origins = {origin.encode() for origin in origins}

    def around(self, request: HttpRequest, reply: HttpReply) -> HttpReply:
        """A reply that says whether the page that asks may read it."""
        origin = request.headers.get(b"origin", b"")
        more: tuple[bytes, ...] = (_VARY,)
        if origin in self._origins:
            more = (_VARY, b"Access-Control-Allow-Origin: " + origin, _READ)

        def told(response: HttpResponse) -> None:
            response.headers = (*response.headers, *more)
            reply(response)

        return told

    def asks(self, request: HttpRequest) -> bool:
        """Whether a browser asks, for a listed page, before it sends the request itself."""
        return (
            request.method == "OPTIONS"
            and b"access-control-request-method" in request.headers
            and request.headers.get(b"origin", b"") in self._origins
        )

    def permission(self, methods: Collection[str]) -> HttpResponse:
        """The answer to that, for a path that takes these methods."""
        allowed = ", ".join(methods).encode()
        headers = (
            b"Access-Control-Allow-Methods: " + allowed,
            b"Access-Control-Allow-Headers: " + _HEADERS,
            _KEPT,
        )
        return HttpResponse(200, b"", b"text/plain", headers)
