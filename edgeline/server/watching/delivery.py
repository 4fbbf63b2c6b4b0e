"""Events to an HTTP receiver: a bounded queue, one thread, retries; it never holds up a request.

How one is posted and signed is `edgeline.monitoring.cloud_events`.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping
from time import monotonic

from edgeline.monitoring.cloud_events import CONTENT_TYPE, deliver, shown
from edgeline.server.tensors.json import dumps

log = logging.getLogger("edgeline.server")
LIMIT = 1000  # events that wait


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
        why = deliver(self._url, body, self._key, self._kind, sign=self._sign, wait=self._wait)
        if why:
            url = shown(self._url)
            log.warning("The %s at %s does not take an event (%s).", self._name, url, why)
        return not why

    def _wait(self, pause: float) -> bool:
        """Wait before another try; False where the server stops before that."""
        end = monotonic() + pause
        with self._changed:
            while (left := min(end, self._until) - monotonic()) > 0:
                self._changed.wait(left)
        return monotonic() < self._until
