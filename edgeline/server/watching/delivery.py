"""Events to an HTTP receiver: a bounded queue, one thread, retries; it never holds up a request.

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
import threading
import uuid
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timezone
from pathlib import Path
from time import monotonic
from urllib.parse import urlsplit

from edgeline.errors import UsageError
from edgeline.server.tensors.json import dumps
from edgeline.version import __version__

log = logging.getLogger("edgeline.server")
CONTENT_TYPE = "application/cloudevents+json"
LIMIT = 1000  # events that wait
TRIES = 8
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 60.0  # seconds between tries, doubled each time
LONGEST_ASKED = 300.0  # seconds that a receiver's Retry-After may make of one
TIMEOUT = 10.0
_AGAIN = (408, 425, 429, 500, 502, 503, 504)


class Delivery:
    """One receiver. `results` counts events by what came of them: sent, failed, dropped."""

    def __init__(
        self,
        name: str,
        url: str,
        key: bytes | None = None,
        kind: str = CONTENT_TYPE,
        limit: int = LIMIT,
        device: str = "",
        sign: Callable[[bytes], Mapping[str, str]] | None = None,
    ) -> None:
        """`kind` is the media type of what is sent, `limit` how many of it may wait, `device`
        whose events they are (empty: this host's), and `sign` gives further headers of a body."""
        self.results: Counter[str] = Counter()
        self.device = device
        self._name, self._url, self._key = name, url, key
        self._kind, self._limit, self._sign = kind, limit, sign
        self._events: deque[dict[str, object]] = deque()
        self._changed = threading.Condition()
        self._closing = False
        self._until = float("inf")
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def put(self, event: dict[str, object]) -> bool:
        """Queue an event; False, and nothing kept of it, where too many wait."""
        with self._changed:
            if self._closing or len(self._events) >= self._limit:
                self.results["dropped"] += 1
                return False
            self._events.append(event)
            self._changed.notify()
        return True

    def close(self, limit: float) -> None:
        """Send what waits, for at most `limit` seconds."""
        with self._changed:
            self._closing = True
            self._until = monotonic() + limit
            self._changed.notify()
        self._thread.join(limit + 0.5)

    def lines(self) -> Iterator[str]:
        """The results as metrics for Prometheus."""
        for result in ("sent", "failed", "dropped"):
            count = self.results[result]
            yield f'edgeline_events_total{{to="{self._name}",result="{result}"}} {count}'

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._events and not self._closing:
                    self._changed.wait()
                if not self._events or monotonic() > self._until:
                    self.results["dropped"] += len(self._events)
                    return
                event = self._events.popleft()
            try:
                self.results["sent" if self._send(dumps(event)) else "failed"] += 1
            except Exception:
                self.results["failed"] += 1
                log.exception("An event for the %s could not be sent.", self._name)

    def _send(self, body: bytes) -> bool:
        import urllib.error
        import urllib.request

        from edgeline.stores import redirects

        headers = {"Content-Type": self._kind, "User-Agent": f"edgeline/{__version__}"}
        if self._key is not None:
            digest = hmac.new(self._key, body, hashlib.sha256).hexdigest()
            headers["X-Hub-Signature-256"] = "sha256=" + digest
        if self._sign is not None:
            headers |= self._sign(body)
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

    def _wait(self, pause: float) -> bool:
        """Wait before another try; False where the server stops before that."""
        end = monotonic() + pause
        with self._changed:
            while (left := min(end, self._until) - monotonic()) > 0:
                self._changed.wait(left)
        return monotonic() < self._until


def _seconds(asked: str | None) -> float:
    """What a busy receiver asks for in Retry-After (RFC 9110, 10.2.3); 0 for none, or a date."""
    if asked and asked.isascii() and asked.isdigit():
        return min(float(asked), LONGEST_ASKED)
    return 0.0


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
