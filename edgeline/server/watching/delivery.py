"""Events to an HTTP receiver, with retries; it never holds up a request.

How one is posted and signed is `edgeline.monitoring.cloud_events`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping

from edgeline.monitoring.cloud_events import CONTENT_TYPE, deliver, shown
from edgeline.server.tensors.json import dumps
from edgeline.server.watching.outbox import LIMIT, Outbox

log = logging.getLogger("edgeline.server")


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
        sign: Callable[[bytes], Mapping[str, str]] | None = None,
    ) -> None:
        """`kind` is the media type of what is sent, `limit` how many of it may wait, `device`
        whose events they are (empty: this host's), and `sign` gives further headers of a body."""
        super().__init__(name, limit)
        self.device = device
        self._url, self._key, self._kind, self._sign = url, key, kind, sign
        self._thread.start()

    def _send(self, item: dict[str, object]) -> bool:
        body = dumps(item)
        why = deliver(self._url, body, self._key, self._kind, sign=self._sign, wait=self._wait)
        if why:
            url = shown(self._url)
            log.warning("The %s at %s does not take an event (%s).", self._name, url, why)
        return not why
