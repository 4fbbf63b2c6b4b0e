"""The page: one file, whose policy lets a browser run its own script and no other."""

from __future__ import annotations

from base64 import b64encode
from hashlib import sha256
from pathlib import Path

from edgeline.server.http.messages import HttpResponse

_POLICY = (
    "Content-Security-Policy: default-src 'none'; style-src 'unsafe-inline'; "
    "script-src 'sha256-{}'; connect-src 'self'; img-src data:; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)
_MANNERS = (
    b"X-Content-Type-Options: nosniff",
    b"Referrer-Policy: no-referrer",
    b"Cache-Control: no-store",
)


def page() -> HttpResponse:
    """The page without its data, which it asks for with the reader's token."""
    html = Path(__file__).with_name("page.html").read_bytes()
    script = html.partition(b"<script>")[2].partition(b"</script>")[0]
    policy = _POLICY.format(b64encode(sha256(script).digest()).decode()).encode()
    return HttpResponse(200, html, b"text/html; charset=utf-8", (policy, *_MANNERS))
