"""That `/healthz` answers at once, whatever holds up the events."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Sequence
from types import SimpleNamespace

from made_events import declared, document

from edgeline.server import access
from edgeline.server.http.messages import HttpRequest, HttpResponse
from edgeline.server.settings import ServerSettings
from edgeline.triggers.app import STALE, TriggerApp
from edgeline.triggers.events import STRUCTURED, CloudEvent
from edgeline.triggers.store import TriggerStore


class SlowDisk(TriggerStore):
    """A store whose disk does not answer until it is let go on."""

    def __init__(self) -> None:
        super().__init__(declared(), None)
        self.entered, self.released = threading.Event(), threading.Event()

    def take(self, events: Sequence[CloudEvent], now: float) -> list[str]:
        self.entered.set()
        assert self.released.wait(60)
        return super().take(events, now)


def request(method: str, path: bytes, body: bytes = b"") -> HttpRequest:
    headers = {b"content-type": STRUCTURED.encode(), b"host": b"localhost"}
    return HttpRequest(method, path, headers, body, "127.0.0.1")


async def ask() -> list[int]:
    store, replies = SlowDisk(), list[HttpResponse]()
    runner = SimpleNamespace(seen=time.monotonic(), wake=lambda: None)
    app = TriggerApp(store, runner, access.read(None), ServerSettings(), (), 1e6)
    body = json.dumps(document("a", "fare", time=time.time())).encode()
    for _ in range(300):  # more than may wait
        app.http(request("POST", b"/events", body), replies.append)
    assert await asyncio.to_thread(store.entered.wait, 60), replies[0].body
    refused = len(replies)
    app.http(request("GET", b"/healthz"), replies.append)
    runner.seen -= STALE + 1
    app.http(request("GET", b"/healthz"), replies.append)
    store.released.set()
    app.close()
    return [refused, *(each.status for each in replies[refused:])]


def test_health_waits_behind_no_event():
    assert asyncio.run(ask()) == [44, 200, 503]
