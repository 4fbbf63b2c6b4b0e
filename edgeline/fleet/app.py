"""From a request to its answer.

    POST /v1/fleet/status     a status that the device has signed; 200 once it is on the disk
    POST /v1/fleet/enroll     a device's key, by a token
    GET  /v1/fleet/versions   what the fleet runs; ?model=M
    GET  /v1/fleet/devices    devices by name, in pages
    GET  /v1/fleet/keys       public keys of devices that are not revoked
    GET  /v1/fleet/summary    what the page shows
    POST /v1/fleet/tokens     make tokens (admin)
    POST /v1/fleet/revoke     trust a device no more (admin)
    GET  /                    the page
    GET  /metrics, /healthz

Statuses are collected for a moment, and judged, kept (by one thread) and answered together: this
costs a third less than one by one. What was answered is on the disk: it is known after a kill, and
a replay of it is refused.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from time import time
from typing import Any
from urllib.parse import parse_qsl

import orjson

from edgeline.errors import EdgelineError
from edgeline.fleet import admission, metrics, showing
from edgeline.fleet.admission import RepeatedStatusError, SignedEnrolment, UntakenStatusError
from edgeline.fleet.database import KeptError
from edgeline.fleet.devices import FleetDevice, FleetState
from edgeline.fleet.enrolment import FleetRegister, KeptStatus
from edgeline.fleet.page import page
from edgeline.server.access import ADMIN, HEALTH, METADATA, PUBLIC, READ, Access, CallKind
from edgeline.server.errors import Code, ServingError, invalid, not_found
from edgeline.server.fleet.device_keys import PATH as KEYS
from edgeline.server.fleet.protocol import ENROLL, STATUS
from edgeline.server.http.allowance import PeerAllowances
from edgeline.server.http.messages import JSON, HttpRequest, HttpResponse, error_response
from edgeline.server.metrics import CONTENT_TYPE

log = logging.getLogger("edgeline.fleet")
BATCH = 0.25  # seconds in which statuses are collected for one transaction
MOST_AT_ONCE = 64  # of them that are judged without letting others have their turn
QUEUE = 20_000  # statuses that wait to be kept
READERS = 64  # requests that wait to be answered beside them
_REFUSED_COST = 10  # as many requests as one that is refused counts for a client's rate
_FULL = "Too many statuses wait: ask again later."
_NO_STORE = (b"Cache-Control: no-store",)
_Reply = Callable[[HttpResponse], None]
_Query = Mapping[str, str]


@dataclass(frozen=True)
class FleetPath:
    """What answers a path, in a thread: in the database's if it changes anything. An enrolment goes
    there by itself, once it is known to be signed."""

    method: str
    kind: CallKind
    answer: Callable[[HttpRequest, _Query], HttpResponse]

    @property
    def changes(self) -> bool:
        return self.method == "POST" and self.kind == ADMIN


class FleetApp:
    """The entrance of the server. Used on the event loop, but for what its threads do."""

    def __init__(
        self, register: FleetRegister, access: Access, rate: float, most_devices: int
    ) -> None:
        """
        Args:
            rate: requests per second that a client may make, ten seconds' worth at once.
            most_devices: that are enrolled.

        Raises:
            KeptError: the devices cannot be read.
        """
        self.statuses: Counter[int] = Counter()  # of HTTP
        self.results: Counter[str] = Counter()  # of devices' statuses
        self.state = FleetState(register.devices())
        self.failure = ""  # why the last batch was not kept
        self._register, self._access, self.most_devices = register, access, most_devices
        self._allowances = PeerAllowances(10 * rate, rate)
        # of who is not known, so that behind one ingress no device waits for what they ask
        self._strangers = PeerAllowances(max(10 * rate, _REFUSED_COST), rate)
        self._loop = asyncio.get_running_loop()
        self._writer = ThreadPoolExecutor(1, "edgeline")
        self._reader = ThreadPoolExecutor(1, "edgeline")
        self._arrived: list[tuple[HttpRequest, _Reply]] = []
        self._batch: list[tuple[KeptStatus, _Reply]] = []
        self._unkept = self._reading = 0
        self._summary = showing.FleetSummary(self.state)
        self._paths = {
            ENROLL: FleetPath("POST", HEALTH, self._enrol),
            "/v1/fleet/tokens": FleetPath("POST", ADMIN, self._tokens),
            "/v1/fleet/revoke": FleetPath("POST", ADMIN, self._revoke),
            "/v1/fleet/versions": FleetPath("GET", READ, self._versions),
            "/v1/fleet/devices": FleetPath("GET", READ, self._devices),
            KEYS: FleetPath("GET", READ, self._keys),
            "/v1/fleet/summary": FleetPath("GET", READ, self._shown),
            "/metrics": FleetPath("GET", METADATA, self._metrics),
        }
        self._page = page()

    @property
    def waiting(self) -> int:
        """Statuses that are not on the disk yet."""
        return len(self._arrived) + self._unkept

    def http(self, request: HttpRequest, reply: _Reply) -> None:
        """Answer a request, at once or later, always on the event loop."""
        target, _, query = request.target.partition(b"?")
        try:
            if target == STATUS.encode() and request.method == "POST":
                self._status(request, reply)
                return
            self._answer(request, target.decode("latin-1"), query.decode("latin-1"), reply)
        except ServingError as error:
            self._told(reply, error_response(error))

    async def drop(self, headers: Mapping[bytes, bytes], body: bytes, enrols: bool) -> None:
        """Take what lay in a bucket, on the event loop: a device is known before this returns. The
        status that was taken last is no news.

        Raises:
            ServingError: it is refused.
            KeptError: a device cannot be kept just now.
        """
        if enrols:
            found = await self._loop.run_in_executor(
                self._reader, admission.enrolment, headers, body
            )
            await self._loop.run_in_executor(self._writer, self._take_in, found)
        else:
            try:
                self._take(headers, body, lambda _: None)
            except RepeatedStatusError:
                return
            except UntakenStatusError as error:
                self.results[error.result] += 1
                raise
            if len(self._batch) == 1:
                self._loop.call_later(BATCH, self._keep)

    async def close(self) -> None:
        """Keep what waits."""
        while self._arrived:
            self._judge()
        self._keep()
        await asyncio.to_thread(self._reader.shutdown, cancel_futures=True)
        await asyncio.to_thread(self._writer.shutdown)

    # statuses

    def _status(self, request: HttpRequest, reply: _Reply) -> None:
        try:
            admission.claimed(self.state, request.headers)
        except UntakenStatusError as error:
            is_allowed = self._strangers.spend(request.peer, _REFUSED_COST)
            self.results[error.result if is_allowed else "too_many"] += 1
            raise error if is_allowed else _too_many() from None
        if not self._allowances.spend(request.peer):
            self.results["too_many"] += 1
            raise _too_many()
        if len(self._arrived) >= QUEUE:
            self._refuse(request, UntakenStatusError("full", Code.UNAVAILABLE, _FULL), reply)
            return
        if not self._arrived:
            self._loop.call_later(BATCH, self._judge)
        self._arrived.append((request, reply))

    def _judge(self) -> None:
        """Judge what has arrived, and have it kept."""
        some, self._arrived = self._arrived[:MOST_AT_ONCE], self._arrived[MOST_AT_ONCE:]
        for request, reply in some:
            try:
                self._take(request.headers, request.body, reply)
            except UntakenStatusError as error:
                self._refuse(request, error, reply)
        self._keep()
        if self._arrived:
            self._loop.call_soon(self._judge)

    def _refuse(self, request: HttpRequest, error: UntakenStatusError, reply: _Reply) -> None:
        self.results[error.result] += 1
        self._allowances.charge(request.peer, _REFUSED_COST - 1)
        self._told(reply, error_response(error))

    def _take(self, headers: Mapping[bytes, bytes], body: bytes, reply: _Reply) -> None:
        device, status = admission.status(self.state, headers, body)
        if self._unkept >= QUEUE:
            raise UntakenStatusError("full", Code.UNAVAILABLE, _FULL)
        now = time()
        self.state.take(device, status, now)
        self._unkept += 1
        self._batch.append((KeptStatus(device.name, device.key, status.counter, now, body), reply))

    def _keep(self) -> None:
        batch, self._batch = self._batch, []
        if not batch:
            return
        work = self._loop.run_in_executor(
            self._writer, self._register.keep, [kept for kept, _ in batch]
        )
        work.add_done_callback(lambda done: self._kept(done, batch))

    def _kept(self, done: asyncio.Future[None], batch: list[tuple[KeptStatus, _Reply]]) -> None:
        self._unkept -= len(batch)
        error = None if done.cancelled() else done.exception()
        if done.cancelled() or error is not None:
            self.results["failed"] += len(batch)
            self.failure = str(error or "The server stops.")
            log.error("%d statuses were not kept: %s", len(batch), self.failure)
            answer = error_response(ServingError(Code.UNAVAILABLE, "It cannot be kept just now."))
            for _, reply in batch:
                self._told(reply, answer)
            return
        self.failure = ""
        self.results["taken"] += len(batch)
        for kept, reply in batch:
            self._told(reply, HttpResponse(200, b'{"taken":%d}' % kept.counter))

    # everything else

    def _answer(self, request: HttpRequest, target: str, query: str, reply: _Reply) -> None:
        if target in ("/", "/healthz"):
            self._told(reply, self._front(request, target))
            return
        path = self._found(request, target)
        authorization = request.headers.get(b"authorization", b"").decode("latin-1")
        self._access.check(path.kind, authorization, request.peer, request.headers)
        allowances = self._strangers if target == ENROLL else self._allowances
        if not allowances.spend(request.peer):
            raise _too_many()
        if self._reading >= READERS:
            raise ServingError(Code.UNAVAILABLE, "Too many requests wait: ask again later.")
        given = _query(query)
        self._reading += 1
        thread = self._writer if path.changes else self._reader
        work = self._loop.run_in_executor(thread, _answered, path, request, given)
        work.add_done_callback(
            lambda done: self._done(done, reply, request.peer if target == ENROLL else "")
        )

    def _done(self, done: asyncio.Future[HttpResponse], reply: _Reply, stranger: str) -> None:
        self._reading -= 1
        if not done.cancelled():
            if stranger and 400 <= done.result().status < 500:
                self._strangers.charge(stranger, _REFUSED_COST - 1)
            self._told(reply, done.result())

    def _told(self, reply: _Reply, response: HttpResponse) -> None:
        self.statuses[response.status] += 1
        reply(response)

    def _found(self, request: HttpRequest, target: str) -> FleetPath:
        path = self._paths.get(target)
        if path is None and target != STATUS:
            raise not_found(f"There is nothing at {target[:200]!r}.")
        method = path.method if path is not None else "POST"
        allowed = ("GET", "HEAD") if method == "GET" else (method,)
        if path is None or request.method not in allowed:
            message = f"This path takes {method}."
            raise ServingError(Code.UNIMPLEMENTED, message, 405, allow=", ".join(allowed))
        return path

    def _front(self, request: HttpRequest, target: str) -> HttpResponse:
        if request.method not in ("GET", "HEAD"):
            raise ServingError(Code.UNIMPLEMENTED, "This path takes GET.", 405, allow="GET, HEAD")
        if target == "/":
            self._access.check(PUBLIC, "", request.peer, request.headers)
            return self._page
        if self.failure:
            raise ServingError(Code.UNAVAILABLE, "Statuses are not kept: see the log.")
        return HttpResponse(200, orjson.dumps({"healthy": True}))

    # in a thread

    def _enrol(self, request: HttpRequest, _: _Query) -> HttpResponse:
        found = admission.enrolment(request.headers, request.body)
        device = self._writer.submit(self._take_in, found).result()
        return _json({"taken": device.name, "groups": device.groups})

    def _take_in(self, found: SignedEnrolment) -> FleetDevice:
        if len(self.state) >= self.most_devices:
            raise ServingError(
                Code.RESOURCE_EXHAUSTED,
                f"The fleet has {len(self.state)} devices: raise --max-devices.",
                503,
            )
        device = admission.enrol(self._register, found, time())
        self._loop.call_soon_threadsafe(self._put_enrolled, device)
        return device

    def _put_enrolled(self, device: FleetDevice) -> None:
        """A repeated enrolment changes nothing, and the state may know more by now."""
        known = self.state.get(device.name)
        if known is None or known.key != device.key:
            self.state.put(device)
            log.info("%s is enrolled.", device.name)

    def _tokens(self, request: HttpRequest, _: _Query) -> HttpResponse:
        made, tokens = admission.tokens(_object(request.body), time())
        self._register.add_tokens(made, time())
        log.info("%d enrolment tokens were made.", len(made))
        return _json(
            {
                "tokens": tokens,
                "names": [each.name for each in made],
                "device": made[0].device,
                "groups": made[0].groups,
                "expires": showing.told(made[0].expires),
            }
        )

    def _revoke(self, request: HttpRequest, _: _Query) -> HttpResponse:
        device = self._register.revoke(str(_object(request.body).get("device", "")), time())
        log.warning("%s is revoked.", device.name)
        self._loop.call_soon_threadsafe(self.state.put, device)
        return _json({"device": device.name, "revoked": showing.told(device.revoked)})

    def _versions(self, _: HttpRequest, query: _Query) -> HttpResponse:
        return _json(self._summary.versions(query.get("model", ""), query.get("waves", "")))

    def _devices(self, _: HttpRequest, query: _Query) -> HttpResponse:
        return _json(showing.devices(self.state, query, time()))

    def _keys(self, _: HttpRequest, __: _Query) -> HttpResponse:
        return _json({"devices": showing.keys(self.state)})

    def _shown(self, _: HttpRequest, __: _Query) -> HttpResponse:
        return _json(self._summary.shown() | {"failure": self.failure})

    def _metrics(self, _: HttpRequest, __: _Query) -> HttpResponse:
        found = self._summary.now()
        body = metrics.render(found, self.results, self.statuses, self.waiting)
        return HttpResponse(200, body, CONTENT_TYPE.encode())


def _answered(path: FleetPath, request: HttpRequest, query: _Query) -> HttpResponse:
    """In a thread; raises nothing."""
    try:
        return path.answer(request, query)
    except ServingError as error:
        return error_response(error)
    except KeptError as error:
        log.error("%s", error)
        return error_response(ServingError(Code.UNAVAILABLE, "The database does not answer."))
    except EdgelineError as error:
        return error_response(invalid(str(error)))
    except Exception:
        log.exception("%s failed.", request.target[:200])
        why = ServingError(Code.INTERNAL, "The server failed on this request: see its log.")
        return error_response(why)


def _query(text: str) -> _Query:
    try:
        return dict(parse_qsl(text, keep_blank_values=True, max_num_fields=20))
    except ValueError as error:
        raise invalid(f"The query is malformed ({error}).") from None


def _object(body: bytes) -> dict[str, Any]:
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise invalid(f"The body is not JSON ({error}).") from None
    if not isinstance(found, dict):
        raise invalid("The body is not a JSON object.")
    return found


def _json(value: object) -> HttpResponse:
    return HttpResponse(200, orjson.dumps(value), JSON, _NO_STORE)


def _too_many() -> ServingError:
    return ServingError(Code.RESOURCE_EXHAUSTED, "Too many requests per second: wait.")
