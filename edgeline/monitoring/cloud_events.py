"""CloudEvents as they are made, signed and posted.

Each event is one POST in structured mode (https://github.com/cloudevents/spec, HTTP protocol
binding 1.0.2). With a key, the header `X-Hub-Signature-256: sha256=<hex>` holds the HMAC-SHA256 of
the body (RFC 2104), under the name that receivers of webhooks know. The HTTP client is imported
with the first event: a server that sends none does without its 2 MB.
"""

from __future__ import annotations

import hashlib
import hmac
import socket
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from urllib.parse import urlsplit

from edgeline.errors import UsageError
from edgeline.version import __version__

CONTENT_TYPE = "application/cloudevents+json"
SIGNATURE = "X-Hub-Signature-256"
TRIES = 8
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 60.0  # seconds between tries, doubled each time
LONGEST_ASKED = 300.0  # seconds that a receiver's Retry-After may make of one
TIMEOUT = 10.0
Sign = Callable[[bytes], Mapping[str, str]]
_AGAIN = (408, 425, 429, 500, 502, 503, 504)


@dataclass(frozen=True)
class DeliveryAttempt:
    """What came of one POST.

    Attributes:
        why: it was not taken; empty where it was.
        again: whether another try may do.
        pause: seconds that the receiver asks to wait before it.
    """

    why: str = ""
    again: bool = False
    pause: float = 0.0


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


def source_of(model: str, version: int) -> str:
    """The source of events about a version, behind its device."""
    return f"/models/{model}/versions/{version}"


def signature(key: bytes, body: bytes) -> str:
    """The value of `SIGNATURE` for a body."""
    return "sha256=" + hmac.new(key, body, hashlib.sha256).hexdigest()


def post(
    url: str,
    body: bytes,
    key: bytes | None,
    kind: str = CONTENT_TYPE,
    sign: Sign | None = None,
) -> DeliveryAttempt:
    """Post a body once, signed where there is a key; `kind` is its media type."""
    import urllib.error
    import urllib.request

    from edgeline.stores import redirects

    headers = {"Content-Type": kind, "User-Agent": f"edgeline/{__version__}"}
    if key is not None:
        headers[SIGNATURE] = signature(key, body)
    if sign is not None:
        headers |= sign(body)
    request = urllib.request.Request(url, body, headers, method="POST")
    try:
        with redirects.urlopen(request, timeout=TIMEOUT) as answer:
            answer.read(1 << 16)
        return DeliveryAttempt()
    except urllib.error.HTTPError as error:
        error.close()
        asked = _seconds(error.headers.get("Retry-After"))
        return DeliveryAttempt(f"status {error.code}", error.code in _AGAIN, asked)
    except redirects.RedirectError as error:
        return DeliveryAttempt(str(error).rstrip("."))
    except (OSError, ValueError) as error:
        return DeliveryAttempt(str(getattr(error, "reason", error)), again=True)


def deliver(
    url: str,
    body: bytes,
    key: bytes | None,
    kind: str = CONTENT_TYPE,
    tries: int = TRIES,
    sign: Sign | None = None,
    wait: Callable[[float], bool | None] = time.sleep,
) -> str:
    """Post a body, and again with growing pauses where that may do.

    Args:
        sign: gives further headers of a body.
        wait: for so many seconds; False where there is to be no other try.

    Returns:
        why it was not taken; "" where it was.
    """
    pause = FIRST_PAUSE
    for tried in range(1, tries + 1):
        outcome = post(url, body, key, kind, sign)
        if not outcome.why or not outcome.again or tried == tries:
            break
        if wait(max(pause, outcome.pause)) is False:
            break
        pause = min(2 * pause, LONGEST_PAUSE)
    return outcome.why


def _seconds(asked: str | None) -> float:
    """What a busy receiver asks for in Retry-After (RFC 9110, 10.2.3); 0 for none, or a date."""
    if asked and asked.isascii() and asked.isdigit():
        return min(float(asked), LONGEST_ASKED)
    return 0.0


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
