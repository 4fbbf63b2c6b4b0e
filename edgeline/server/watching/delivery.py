"""Events to an HTTP receiver, with retries; it never holds up a request.

Each event is one POST in CloudEvents' structured mode
(https://github.com/cloudevents/spec, HTTP protocol binding 1.0.2). With a key, the header
`X-Hub-Signature-256: sha256=<hex>` holds the HMAC-SHA256 of the body (RFC 2104), under the name
that receivers of webhooks know. The HTTP client is imported with the first event: a server that
sends none does without its 2 MB.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import socket
import uuid
from datetime import datetime, timezone
from pathlib import Path
from urllib.parse import urlsplit

from edgeline.errors import UsageError
from edgeline.server.tensors.json import dumps
from edgeline.server.watching.outbox import LIMIT, Outbox
from edgeline.version import __version__

log = logging.getLogger("edgeline.server")
CONTENT_TYPE = "application/cloudevents+json"
SIGNATURE = "X-Hub-Signature-256"
TRIES = 8
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 60.0  # seconds between tries, doubled each time
LONGEST_ASKED = 300.0  # seconds that a receiver's Retry-After may make of one
TIMEOUT = 10.0
_AGAIN = (408, 425, 429, 500, 502, 503, 504)


class Delivery(Outbox[dict[str, object]]):
    """One receiver."""

    def __init__(
        self,
        name: str,
        url: str,
        key: bytes | None = None,
        kind: str = CONTENT_TYPE,
        limit: int = LIMIT,
        device: str = "",
    ) -> None:
        """`kind` is the media type of what is sent, `limit` how many of it may wait, and `device`
        whose events they are; empty: this host's."""
        super().__init__(name, limit)
        self.device = device
        self._url, self._key, self._kind = url, key, kind
        self._thread.start()

    def _send(self, item: dict[str, object]) -> bool:
        import urllib.error
        import urllib.request

        from edgeline.stores import redirects

        body = dumps(item)
        headers = {"Content-Type": self._kind, "User-Agent": f"edgeline/{__version__}"}
        if self._key is not None:
            headers[SIGNATURE] = signature(self._key, body)
        pause, why = FIRST_PAUSE, ""
        for tried in range(TRIES):
            asked = 0.0
            request = urllib.request.Request(self._url, body, headers, method="POST")
            try:
                with redirects.urlopen(request, timeout=TIMEOUT) as answer:
                    answer.read(1 << 16)
                return True
            except urllib.error.HTTPError as error:
                error.close()
                why, asked = f"status {error.code}", _seconds(error.headers.get("Retry-After"))
                if error.code not in _AGAIN:
                    break
            except redirects.RedirectError as error:
                why = str(error).rstrip(".")
                break
            except (OSError, ValueError) as error:
                why = str(getattr(error, "reason", error))
            if tried + 1 == TRIES or not self._wait(max(pause, asked)):
                break
            pause = min(2 * pause, LONGEST_PAUSE)
        log.warning("The %s at %s does not take an event (%s).", self._name, shown(self._url), why)
        return False


def _seconds(asked: str | None) -> float:
    """What a busy receiver asks for in Retry-After (RFC 9110, 10.2.3); 0 for none, or a date."""
    if asked and asked.isascii() and asked.isdigit():
        return min(float(asked), LONGEST_ASKED)
    return 0.0


def signature(key: bytes, body: bytes) -> str:
    """The value of `SIGNATURE` for a body."""
    return "sha256=" + hmac.new(key, body, hashlib.sha256).hexdigest()


def event(kind: str, source: str, data: object, device: str = "", **more: str) -> dict[str, object]:
    """A CloudEvent of version 1.0; `source` is the model's path on a device, else this host."""
    return {
        "specversion": "1.0",
        "id": uuid.uuid4().hex,
        "source": f"/{device or socket.gethostname()}{source}",
        "type": kind,
        "time": datetime.now(timezone.utc).isoformat(timespec="milliseconds"),
        "datacontenttype": "application/json",
        **more,
        "data": data,
    }


def check_url(url: str, setting: str) -> str:
    """A URL that events can be sent to.

    Raises:
        UsageError: it is none.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise UsageError(f"{setting} is not a URL that events can be posted to: give http(s)://...")
    if parts.username or parts.password:
        raise UsageError(f"{setting} holds a password: leave it out, and sign with a key.")
    return url


def read_key(file: str | None) -> bytes | None:
    """The key in a file, without the newline at its end.

    Raises:
        UsageError: it cannot be read or is empty.
    """
    if file is None:
        return None
    try:
        key = Path(file).read_bytes().strip()
    except OSError as error:
        raise UsageError(f"The key {file} cannot be read ({error.strerror}).") from error
    if not key:
        raise UsageError(f"The key {file} is empty: put a secret into it.")
    return key


def shown(url: str) -> str:
    """A URL as it may be logged: a receiver's path or query can be its secret."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.hostname}" + (f":{parts.port}" if parts.port else "")
