"""What requests take while they are worked on, beside the bytes that came, within --max-buffered.

A small body may hold much: compressed, or as lists that hold nothing. What unfolds one says by
`take` how much that will be, before it is; it is given back when the work ends.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

from edgeline.server.errors import Code, ServingError
from edgeline.server.metrics import Metrics

I = TypeVar("I")  # noqa: E741
T = TypeVar("T")
_busy = threading.local()


class WorkMemory:
    """Of one server. Any thread."""

    def __init__(self, metrics: Metrics, most: int) -> None:
        """`most` bytes are for all requests together."""
        self._metrics, self._most = metrics, most

    def around(self, work: Callable[[I], T], size: int) -> Callable[[I], T]:
        """Work in which `take` counts; `size` bytes are the request's as it came."""

        def counted(instance: I) -> T:
            account = _busy.account = _Account(self._metrics, self._most, size)
            try:
                return work(instance)
            finally:
                _busy.account = None
                account.release()

        return counted


class _Account:
    """What one request has taken."""

    __slots__ = ("_metrics", "_most", "_size", "taken")

    def __init__(self, metrics: Metrics, most: int, size: int) -> None:
        self._metrics, self._most, self._size, self.taken = metrics, most, size, 0

    def take(self, size: int) -> None:
        self.taken += size
        if self._metrics.work(size) <= self._most:
            return
        if self._size + self.taken > self._most:
            raise ServingError(
                Code.INVALID_ARGUMENT,
                f"The request would take {self._size + self.taken:,} bytes to read, and "
                f"--max-buffered is {self._most:,}: ask for fewer rows at once, or send tensors as "
                "binary data.",
                413,
            )
        raise ServingError(
            Code.UNAVAILABLE, "The server holds as many requests as its memory allows."
        )

    def release(self) -> None:
        self._metrics.work(-self.taken)


def take(size: int) -> None:
    """Count bytes that the request in work of this thread is about to take.

    Raises:
        ServingError: they are more than there is for it (413), or with others (503).
    """
    account: _Account | None = getattr(_busy, "account", None)
    if account is not None:
        account.take(size)
