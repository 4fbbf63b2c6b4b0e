"""From a request to what answers it: paths, kinds, the model's pool, and back to the loop."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from time import monotonic
from typing import Any

from edgeline.server.access import Access, Kind
from edgeline.server.errors import Code, ServingError, not_found
from edgeline.server.http.compression import decompress
from edgeline.server.http.grpc_call import Call
from edgeline.server.http.grpc_call import Reply as CallReply
from edgeline.server.http.http1 import Request, Response, error_response
from edgeline.server.metrics import Metrics
from edgeline.server.models.model import Instance
from edgeline.server.models.pool import Pool
from edgeline.server.rollouts.traffic import Traffic
from edgeline.server.settings import Settings
from edgeline.server.versions.repository import Repository
from edgeline.server.watching import tracing
from edgeline.server.watching.logs import AccessLog
from edgeline.server.watching.recent import Recent

log = logging.getLogger("edgeline.server")
_REMEMBERED = 1024


@dataclass(frozen=True)
class Endpoint:
    """What answers a path. Exactly one of `answer`, `later` and `work` is set.

    Attributes:
        method: the HTTP method it takes.
        kind: who may call it (see `edgeline.server.access`).
        answer: answers on the event loop, at once.
        later: answers on the event loop, with waiting.
        pool, work: answers in a worker of the pool that `pool` finds.
    """

    method: str
    kind: Kind
    answer: Callable[[Request], Response] | None = None
    later: Callable[[Request], Awaitable[Response]] | None = None
    pool: Callable[[], Pool | Traffic] | None = None
    work: Callable[[Request, Instance], Response] | None = None


@dataclass(frozen=True)
class Method:
    """What answers a gRPC method; `pool` finds the worker for a message."""

    kind: Kind
    answer: Callable[[memoryview], bytes] | None = None
    later: Callable[[memoryview], Awaitable[bytes]] | None = None
    work: Callable[[memoryview], tuple[Pool | Traffic, Callable[[Instance], bytes]]] | None = None


Resolver = Callable[[str], "list[Endpoint] | None"]


class App:
    """A server's state, and its two entrances: `http` and `grpc`."""

    def __init__(
        self, settings: Settings, repository: Repository, metrics: Metrics, access: Access
    ) -> None:
        self.settings, self.repository = settings, repository
        self.metrics, self.access = metrics, access
        self.recent = Recent(metrics)
        self.resolvers: list[Resolver] = []
        self.methods: dict[str, Method] = {}
        self._known: dict[bytes, list[Endpoint]] = {}
        self._loop = asyncio.get_running_loop()
        self._running = self._last = 0
        self._tasks: set[asyncio.Future[Any]] = set()
        self._access_log = AccessLog(settings.access_log) if settings.access_log else None

    def http(self, request: Request, reply: Callable[[Response], None]) -> None:
        """Answer an HTTP request, at once or later, always on the event loop."""
        if self._access_log is not None:
            reply = self._access_log.http(request, reply)
        try:
            endpoint = self._endpoint(request)
            authorization = request.headers.get(b"authorization", b"").decode("latin-1")
            self.access.check(endpoint.kind, authorization, request.peer, request.headers)
            if endpoint.work is not None and endpoint.pool is not None:
                work = endpoint.work
                request.cancel = self._submit(
                    endpoint.pool(),
                    lambda instance: work(request, instance),
                    lambda answer: reply(_response(answer)),
                    request,
                )
            elif endpoint.later is not None:
                self._wait(endpoint.later(request), lambda answer: reply(_response(answer)))
            elif endpoint.answer is not None:
                reply(endpoint.answer(request))
        except ServingError as error:
            reply(error_response(error))
        except Exception:
            log.exception("%s failed.", request.target[:200])
            reply(error_response(_internal()))

    def grpc(self, call: Call, reply: CallReply) -> None:
        """Answer a gRPC call, at once or later, always on the event loop."""
        if self._access_log is not None:
            reply = self._access_log.grpc(call, reply)
        try:
            method = self.methods.get(call.method)
            if method is None:
                raise ServingError(Code.UNIMPLEMENTED, f"There is no {call.method[:100]!r} here.")
            authorization = call.headers.get("authorization", "")
            self.access.check(method.kind, authorization, call.peer, call.headers)
            if method.work is not None:
                pool, work = method.work(call.message)
                call.cancel = self._submit(pool, work, reply, call)
            elif method.later is not None:
                self._wait(method.later(call.message), reply)
            elif method.answer is not None:
                reply(method.answer(call.message))
        except ServingError as error:
            reply(error)
        except Exception:
            log.exception("%s failed.", call.method)
            reply(_internal())

    def body(self, request: Request) -> bytes:
        """A request's body, decompressed.

        Raises:
            ServingError: it is damaged or too large.
        """
        coding = request.headers.get(b"content-encoding")
        if coding is None:
            return request.body
        return decompress(request.body, coding.decode("latin-1"), self.settings.max_body)

    def _endpoint(self, request: Request) -> Endpoint:
        endpoints = self._known.get(request.target)
        if endpoints is None:
            path = request.target.partition(b"?")[0].decode("latin-1")
            for resolver in self.resolvers:
                if endpoints := resolver(path):
                    break
            if not endpoints:
                raise not_found(f"There is nothing at {path[:200]!r}.")
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            self._known[request.target] = endpoints
        for endpoint in endpoints:
            if request.method == endpoint.method:
                return endpoint
            if request.method == "HEAD" and endpoint.method == "GET":
                return endpoint
        allowed = " or ".join(endpoint.method for endpoint in endpoints)
        raise ServingError(Code.UNIMPLEMENTED, f"This path takes {allowed}.", 405)

    def _submit(
        self,
        pool: Pool | Traffic,
        work: Callable[[Instance], Any],
        done: Callable[[Any], None],
        asked: Request | Call,
    ) -> Callable[[], None] | None:
        """Give work to a pool; `done` is called on the event loop. Gives how to cancel it, None
        where it is done already."""
        work = tracing.around(work, asked)
        size = len(asked.body if isinstance(asked, Request) else asked.message)
        if self._alone(asked) and isinstance(pool, Pool):
            answer = pool.inline(work, size)
            if answer is not None:
                done(answer)
                return None
        loop = self._loop
        latest = min(asked.deadline, monotonic() + self.settings.queue_time)

        def ended(answer: Any) -> None:
            self._running -= 1
            done(answer)

        def back(answer: Any) -> None:
            try:
                loop.call_soon_threadsafe(ended, answer)
            except RuntimeError:  # the loop has ended: nobody waits for the answer
                return

        if isinstance(pool, Traffic):
            job = pool.submit(work, back, latest, asked.headers)
        else:
            job = pool.submit(work, back, latest, size)
        self._running += 1
        return job.cancel

    def _alone(self, asked: Request | Call) -> bool:
        """Whether one client at a time is asking: the same one as before, and nothing runs."""
        same, self._last = asked.connection == self._last, asked.connection
        return same and asked.alone and not self._running

    def _wait(self, awaitable: Awaitable[Any], done: Callable[[Any], None]) -> None:
        async def run() -> None:
            try:
                answer = await awaitable
            except ServingError as error:
                answer = error
            except Exception:
                log.exception("A call failed.")
                answer = _internal()
            done(answer)

        task = asyncio.ensure_future(run())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _response(answer: Any) -> Response:
    return error_response(answer) if isinstance(answer, ServingError) else answer


def _internal() -> ServingError:
    return ServingError(Code.INTERNAL, "The server failed on this request: see its log.")
