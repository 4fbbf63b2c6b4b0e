"""From a request to its answer. Events are taken in one thread, so that no disk holds up the loop.

    POST /events    events; 202 with what came of each, once they are kept
    GET /state      rules, what they wait for, runs
    GET /metrics    for Prometheus
    GET /healthz    200 while events are taken and runs taken further

An event that is no longer to be taken (410: its `time` or `expirytime` is past) is not sent again
by those who follow the statuses, as `edgeline serve` does; a full memory or queue is 503, and who
sends too fast gets 429.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from time import monotonic, time
from typing import TYPE_CHECKING, Any

import orjson

from edgeline.server.access import EVENTS, HEALTH, METADATA, READ, Access, CallKind
from edgeline.server.errors import Code, ServingError, invalid, not_found
from edgeline.server.http.allowance import PeerAllowances
from edgeline.server.http.compression import decompress
from edgeline.server.http.messages import JSON, HttpRequest, HttpResponse, error_response
from edgeline.server.metrics import CONTENT_TYPE
from edgeline.server.settings import ServerSettings
from edgeline.triggers import events, metrics, showing
from edgeline.triggers.runner import FiringRunner
from edgeline.triggers.store import AHEAD, EXPIRED, FULL, OLD, TriggerStore

if TYPE_CHECKING:
    from edgeline.server.fleet.device_keys import DeviceKeys

log = logging.getLogger("edgeline.triggers")
QUEUE = 256  # requests that wait to be kept
STALE = 900.0  # seconds without a step of the runner after which it is taken to hang
_Reply = Callable[[HttpResponse], None]
_REFUSALS = {
    OLD: (410, "it is older than max_age: it may be a replay"),
    EXPIRED: (410, "its expirytime is past"),
    AHEAD: (400, "its time is ahead of this machine's clock by more than max_ahead"),
    FULL: (503, "too many events are remembered: ask again later, or raise max_events"),
}


@dataclass(frozen=True)
class TriggerPath:
    """What answers a path."""

    method: str
    kind: CallKind
    answer: Callable[[HttpRequest], HttpResponse]


class TriggerApp:
    """The entrance of the server. Used on the event loop, but for what its thread does."""

    def __init__(
        self,
        store: TriggerStore,
        runner: FiringRunner,
        access: Access,
        settings: ServerSettings,
        keys: Sequence[bytes],
        rate: float,
        devices: DeviceKeys | None = None,
    ) -> None:
        """`devices` are those whose events are taken; None: anybody's that `keys` or tokens allow.
        `rate` is how many requests with events a client may make per second, ten seconds' worth
        at once."""
        self.statuses: Counter[int] = Counter()
        self.more: Callable[[], Iterable[str]] = tuple  # further samples of metrics
        self._store, self._runner, self._access, self._keys = store, runner, access, keys
        self._devices = devices
        self._largest = settings.max_body
        self._allowances = PeerAllowances(10 * rate, rate)
        self._loop = asyncio.get_running_loop()
        self._thread = ThreadPoolExecutor(1, "edgeline")
        self._waiting = 0
        self._paths = {
            # whoever has signed needs no token
            "/events": TriggerPath(
                "POST", HEALTH if keys or devices is not None else EVENTS, self._take
            ),
            "/state": TriggerPath("GET", READ, self._state),
            "/metrics": TriggerPath("GET", METADATA, self._metrics),
            "/healthz": TriggerPath("GET", HEALTH, self._health),
        }

    def http(self, request: HttpRequest, reply: _Reply) -> None:
        """Answer a request, at once or later, always on the event loop."""
        try:
            path = self._found(request)
            authorization = request.headers.get(b"authorization", b"").decode("latin-1")
            self._access.check(path.kind, authorization, request.peer, request.headers)
            if path.answer == self._health:  # neither a full queue nor a slow disk delays it
                self._told(reply, self._health(request))
                return
            if path.method == "POST":
                self._spend(request.peer)
            if self._waiting >= QUEUE:
                raise ServingError(Code.UNAVAILABLE, "Too many requests wait: ask again later.")
        except ServingError as error:
            self._told(reply, error_response(error))
            return
        self._waiting += 1
        work = self._loop.run_in_executor(self._thread, self._answer, path, request)
        work.add_done_callback(lambda done: self._done(done, reply))

    def close(self) -> None:
        self._thread.shutdown(wait=True, cancel_futures=True)

    def _done(self, done: asyncio.Future[HttpResponse], reply: _Reply) -> None:
        self._waiting -= 1
        if not done.cancelled():
            self._told(reply, done.result())

    def _told(self, reply: _Reply, response: HttpResponse) -> None:
        self.statuses[response.status] += 1
        reply(response)

    def _found(self, request: HttpRequest) -> TriggerPath:
        target = request.target.partition(b"?")[0].decode("latin-1")
        path = self._paths.get(target)
        if path is None:
            raise not_found(f"There is nothing at {target[:200]!r}: events go to /events.")
        allowed = ("GET", "HEAD") if path.method == "GET" else (path.method,)
        if request.method not in allowed:
            message = f"This path takes {path.method}."
            raise ServingError(Code.UNIMPLEMENTED, message, 405, allow=", ".join(allowed))
        return path

    def _spend(self, peer: str) -> None:
        if not self._allowances.spend(peer):
            raise ServingError(Code.RESOURCE_EXHAUSTED, "Too many requests per second: wait.")

    def _answer(self, path: TriggerPath, request: HttpRequest) -> HttpResponse:
        """In the thread."""
        try:
            return path.answer(request)
        except ServingError as error:
            return error_response(error)
        except sqlite3.Error as error:
            log.error("The state cannot be read or written: %s.", error)
            why = ServingError(Code.UNAVAILABLE, f"The state cannot be written ({error}).")
            return error_response(why)
        except Exception:
            log.exception("%s failed.", request.target[:200])
            why = ServingError(Code.INTERNAL, "The server failed on this request: see its log.")
            return error_response(why)

    def _take(self, request: HttpRequest) -> HttpResponse:
        coding, body = request.headers.get(b"content-encoding"), request.body
        if coding is not None:
            if self._keys or self._devices is not None:
                raise ServingError(
                    Code.INVALID_ARGUMENT, "A signed body is sent without Content-Encoding.", 415
                )
            body = decompress(body, coding.decode("latin-1"), self._largest)
        known = self._access.tokens is not None and self._bears_token(request)
        found = events.read(request.headers, body, self._keys, known, self._devices)
        if not found:
            raise invalid("The batch is empty.")
        results = self._store.take(found, time())
        self._runner.wake()
        told = [
            {"source": event.source, "id": event.id, "result": result}
            | ({"error": _REFUSALS[result][1]} if result in _REFUSALS else {})
            for event, result in zip(found, results, strict=True)
        ]
        for event, result in zip(found, results, strict=True):
            log.info("Event %s of %s, %s: %s.", event.id, event.source, event.type, result)
        return _of_results(results, told)

    def _bears_token(self, request: HttpRequest) -> bool:
        authorization = request.headers.get(b"authorization", b"").decode("latin-1")
        try:
            self._access.check(EVENTS, authorization, request.peer, request.headers)
        except ServingError:
            return False
        return True

    def _state(self, _: HttpRequest) -> HttpResponse:
        return HttpResponse(200, orjson.dumps(showing.state(self._store, time())))

    def _metrics(self, _: HttpRequest) -> HttpResponse:
        body = metrics.render(self._store, self.statuses, self.more())
        return HttpResponse(200, body, CONTENT_TYPE.encode())

    def _health(self, _: HttpRequest) -> HttpResponse:
        silent = monotonic() - self._runner.seen
        if silent > STALE:
            raise ServingError(Code.UNAVAILABLE, f"Runs are not taken further for {silent:.0f} s.")
        return HttpResponse(200, orjson.dumps({"healthy": True}))


def _of_results(results: Sequence[str], told: list[dict[str, Any]]) -> HttpResponse:
    """202 where any event was taken; else the status of the first, as for a single one.

    A batch for which there was no room is 503 as a whole, so that it is sent again: what was taken
    of it is then repeated, and changes nothing.
    """
    refused = [result for result in results if result in _REFUSALS]
    if len(refused) < len(results) and FULL not in results:
        return HttpResponse(202, orjson.dumps({"events": told}), JSON)
    status, why = _REFUSALS[FULL if FULL in refused else refused[0]]
    headers = (b"Retry-After: 60",) if status == 503 else ()
    what = "Not every event" if len(refused) < len(results) else "The event"
    is_not = "is" if len(refused) < len(results) else "is not"
    body = orjson.dumps({"error": f"{what} {is_not} taken: {why}.", "events": told})
    return HttpResponse(status, body, JSON, headers)
