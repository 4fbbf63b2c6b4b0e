"""From a request to what answers it: its route, who may, the model's pool, and back to the loop."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from time import monotonic
from typing import Any

from edgeline.server.access import CallKind
from edgeline.server.cors import Cors
from edgeline.server.errors import Code, ServingError, invalid
from edgeline.server.http.grpc_call import Call
from edgeline.server.http.grpc_call import Reply as CallReply
from edgeline.server.http.messages import HttpRequest, HttpResponse, error_response
from edgeline.server.http.streaming import Streaming
from edgeline.server.models.model import Instance
from edgeline.server.models.pool import Pool
from edgeline.server.rollouts.traffic import Traffic
from edgeline.server.routing import Router
from edgeline.server.state import ServerState
from edgeline.server.watching import tracing
from edgeline.server.watching.logs import AccessLog
from edgeline.server.watching.spans import Spans
from edgeline.server.work_memory import WorkMemory, take

SMALL = 4096  # bytes of a message that asks for no inference, and of what names a model
log = logging.getLogger("edgeline.server")


@dataclass(frozen=True)
class GrpcMethod:
    """What answers a gRPC method: `answer` or `later` on the event loop, of a small message; or
    `work` in a worker of the pool that `pool` finds by what `named` gives.

    Attributes:
        kind: who may call it.
        takes: the `protocols.wire.Message` that it is asked with.
        gives: the one that it answers with.
        kind_of: who may ask with a message, where that says so.
        named: what names the model in a message, of which there is the beginning alone where the
            second argument is true.
        streamed: makes of the answer to each message the one that a stream has for it; with it
            the method takes any number of messages. An error that it leaves ends the stream.
        watch: begins to answer a message any number of times, and gives how to end that.
    """

    kind: CallKind
    takes: Any
    gives: Any
    answer: Callable[[memoryview], bytes] | None = None
    later: Callable[[memoryview], Awaitable[bytes]] | None = None
    named: Callable[[memoryview, bool], Any] | None = None
    pool: Callable[[Any], Pool | Traffic] | None = None
    work: Callable[[memoryview, Instance], bytes] | None = None
    kind_of: Callable[[memoryview], CallKind] | None = None
    streamed: Callable[[Call, bytes | ServingError], bytes | ServingError] | None = None
    watch: Callable[[memoryview, Callable[[bytes], None]], Callable[[], None]] | None = None


class App:
    """A server's entrances: `http`, `grpc` and `stream`."""

    def __init__(
        self,
        state: ServerState,
        router: Router,
        methods: Mapping[str, GrpcMethod],
        missing: Mapping[str, str],
        spans: Spans | None = None,
    ) -> None:
        self._access, self._queue_time = state.access, state.settings.queue_time
        self._memory = WorkMemory(state.metrics, state.settings.max_buffered)
        self._router, self._methods, self._missing = router, methods, missing
        self._loop = asyncio.get_running_loop()
        self._running = self._last = 0
        self._tasks: set[asyncio.Future[Any]] = set()
        every = state.settings.access_log
        self._access_log = AccessLog(every) if every else None
        self._spans = spans
        self._cors = Cors(state.settings.origins) if state.settings.cors else None

    def http(self, request: HttpRequest, reply: Callable[[HttpResponse], None]) -> None:
        """Answer an HTTP request, at once or later, always on the event loop."""
        if self._access_log is not None:
            reply = self._access_log.http(request, reply)
        if self._cors is not None:
            reply = self._cors.around(request, reply)
        try:
            if self._cors is not None and self._cors.asks(request):
                reply(self._cors.permission(self._router.methods(request.target)))
                return
            route, given = self._router.find(request.method, request.target)
            if self._spans is not None:
                reply = self._spans.http(request, route.path, reply)
            authorization = request.headers.get(b"authorization", b"").decode("latin-1")
            self._access.check(route.kind, authorization, request.peer, request.headers)
            if route.work is not None and route.pool is not None:
                work = route.work
                request.cancel = self._submit(
                    route.pool(given),
                    lambda instance: work(request, instance),
                    lambda answer: reply(_response(answer)),
                    request,
                )
            elif route.later is not None:
                self._wait(route.later(request, given), lambda answer: reply(_response(answer)))
            elif route.answer is not None:
                reply(route.answer(request, given))
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
            method = self._method(call)
            if self._spans is not None:
                reply = self._spans.grpc(call, reply)
            self._allow_message(method, call)
            if method.work is not None:
                self._infer(method, call, reply)
            elif method.later is not None:
                self._wait(method.later(call.plain(SMALL)), reply)
            elif method.answer is not None:
                reply(method.answer(call.plain(SMALL)))
        except ServingError as error:
            reply(error)
        except Exception:
            log.exception("%s failed.", call.method)
            reply(_internal())

    @property
    def streamed(self) -> frozenset[str]:
        """The paths of gRPC's methods whose messages come one by one."""
        found = self._methods.items()
        return frozenset(path for path, method in found if method.streamed or method.watch)

    def stream(self, call: Call) -> Streaming:
        """How a call's messages are answered one by one.

        Raises:
            ServingError: the client may not call it.
        """
        method = self._method(call)
        self._allow(method.kind, call)
        if method.watch is None:
            return Streaming(each=partial(self._each, method))
        return Streaming(watch=partial(self._watch, method))

    def _infer(self, method: GrpcMethod, call: Call, reply: CallReply) -> None:
        """Answer in a worker, which decompresses and decodes what was sent."""
        named, pool, work = method.named, method.pool, method.work
        assert named is not None
        assert pool is not None
        assert work is not None
        model = named(call.beginning(SMALL), bool(call.coding))

        def run(instance: Instance) -> bytes:
            message = call.plain()
            if call.coding:
                take(len(message))
                if named(message, False) != model:
                    raise invalid(
                        "The compressed message does not name its model first: send its fields in "
                        "the order of their numbers, or do not compress it."
                    )
            return work(message, instance)

        call.cancel = self._submit(pool(model), run, reply, call)

    def _each(self, method: GrpcMethod, call: Call, reply: CallReply) -> None:
        """Answer one message of a stream as a call of its own."""

        def told(answer: bytes | ServingError) -> None:
            reply(method.streamed(call, answer) if method.streamed is not None else answer)

        self.grpc(call, told)

    def _watch(
        self, method: GrpcMethod, call: Call, send: Callable[[bytes], None]
    ) -> Callable[[], None]:
        assert method.watch is not None
        self._allow_message(method, call)
        return method.watch(call.plain(SMALL), send)

    def _method(self, call: Call) -> GrpcMethod:
        method = self._methods.get(call.method)
        if method is None:
            why = self._missing.get(call.method, f"There is no {call.method[:100]!r} here.")
            raise ServingError(Code.UNIMPLEMENTED, why)
        return method

    def _allow_message(self, method: GrpcMethod, call: Call) -> None:
        """Let a call pass or refuse it, before its message is read; but for a small one that says
        itself who may ask with it."""
        kind_of = method.kind_of
        self._allow(method.kind if kind_of is None else kind_of(call.plain(SMALL)), call)

    def _allow(self, kind: CallKind, call: Call) -> None:
        authorization = call.headers.get("authorization", "")
        self._access.check(kind, authorization, call.peer, call.headers)

    def _submit(
        self,
        pool: Pool | Traffic,
        work: Callable[[Instance], object],
        done: Callable[[Any], None],
        asked: HttpRequest | Call,
    ) -> Callable[[], None] | None:
        """Give work to a pool; `done` is called on the event loop. Gives how to cancel it, None
        where it is done already."""
        size = len(asked.body if isinstance(asked, HttpRequest) else asked.message)
        work = self._memory.around(tracing.around(work, asked), size)
        if self._alone(asked) and isinstance(pool, Pool):
            answer = pool.inline(work, size)
            if answer is not None:
                done(answer)
                return None
        loop = self._loop
        latest = min(asked.deadline, monotonic() + self._queue_time)

        def ended(answer: object) -> None:
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

    def _alone(self, asked: HttpRequest | Call) -> bool:
        """Whether one client at a time is asking: the same one as before, and nothing runs."""
        same, self._last = asked.connection == self._last, asked.connection
        if isinstance(asked, Call) and asked.coding:  # nobody knows how large it is
            return False
        return same and asked.alone and not self._running

    def _wait(self, awaitable: Awaitable[object], done: Callable[[Any], None]) -> None:
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


def _response(answer: Any) -> HttpResponse:
    return error_response(answer) if isinstance(answer, ServingError) else answer


def _internal() -> ServingError:
    return ServingError(Code.INTERNAL, "The server failed on this request: see its log.")
