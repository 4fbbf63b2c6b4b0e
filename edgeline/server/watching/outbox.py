"""What waits to be sent: a bounded queue and one thread; who puts something in never waits."""

from __future__ import annotations

import logging
import threading
from abc import ABC, abstractmethod
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Generic, Protocol, TypeVar

log = logging.getLogger("edgeline.server")
LIMIT = 1000  # events that wait
RESULTS = ("sent", "failed", "dropped")
T = TypeVar("T")


class EventReceiver(Protocol):
    """Where events go."""

    @property
    def device(self) -> str:
        """Whose events they are; empty: this host's."""
        ...

    def put(self, event: dict[str, object], /) -> bool:
        """Queue an event; False, and nothing kept of it, where too many wait."""
        ...


@dataclass
class EventReceivers:
    """Several of them; each gets every event."""

    device: str
    receivers: Sequence[EventReceiver]

    def put(self, event: dict[str, object]) -> bool:
        taken = [receiver.put(event) for receiver in self.receivers]
        return all(taken)


class Outbox(ABC, Generic[T]):
    """Sends one thing after the other. `results` counts them by what came of them (`RESULTS`)."""

    def __init__(self, name: str, limit: int = LIMIT, most_bytes: float = float("inf")) -> None:
        """`name` is the receiver's in metrics and logs, `limit` how many may wait, and `most_bytes`
        of which size in all (see `_size`)."""
        self.results: Counter[str] = Counter()
        self._name, self._limit = name, limit
        self._waiting: deque[T] = deque()
        self._held, self._most = 0, most_bytes
        self._changed = threading.Condition()
        self._closing = False
        self._until = float("inf")
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def put(self, item: T) -> bool:
        """Queue something; False, and nothing kept of it, where too much waits."""
        size = self._size(item)
        with self._changed:
            if self._closing or not self._has_place(item, size):
                self.results["dropped"] += 1
                return False
            self._held += size
            self._waiting.append(item)
            self._changed.notify()
        return True

    def _has_place(self, item: T, size: int) -> bool:
        """Whether something fits, once the oldest that gives way to it has been dropped."""
        while len(self._waiting) >= self._limit or self._held + size > self._most:
            place = next(
                (at for at, each in enumerate(self._waiting) if self._yields(each, item)), None
            )
            if place is None:
                return False
            self._held -= self._size(self._waiting[place])
            del self._waiting[place]
            self.results["dropped"] += 1
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
        for result in RESULTS:
            count = self.results[result]
            yield f'edgeline_events_total{{to="{self._name}",result="{result}"}} {count}'

    @abstractmethod
    def _send(self, item: T) -> bool | None:
        """Whether it was sent; None where that is counted later. In the thread."""

    def _size(self, item: T) -> int:  # noqa: ARG002
        """Bytes of something that waits, where these are limited."""
        return 0

    def _yields(self, waiting: T, item: T) -> bool:  # noqa: ARG002
        """Whether something that waits is dropped for another, where there is no room for both."""
        return False

    def _ended(self) -> None:
        """Called last in the thread."""

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._waiting and not self._closing:
                    self._changed.wait()
                if not self._waiting or monotonic() > self._until:
                    self.results["dropped"] += len(self._waiting)
                    break
                item = self._waiting.popleft()
                self._held -= self._size(item)
            try:
                sent = self._send(item)
                if sent is not None:
                    self.results["sent" if sent else "failed"] += 1
            except Exception:
                self.results["failed"] += 1
                log.exception("An event for the %s could not be sent.", self._name)
        self._ended()

    def _wait(self, pause: float) -> bool:
        """Wait before another try; False where the server stops before that."""
        end = monotonic() + pause
        with self._changed:
            while (left := min(end, self._until) - monotonic()) > 0:
                self._changed.wait(left)
        return monotonic() < self._until
