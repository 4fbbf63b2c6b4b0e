"""Spans of requests for an OpenTelemetry collector: OTLP over HTTP, as JSON.

Whoever calls decides what is traced: a request whose `traceparent` is sampled becomes a span below
the caller's, and its answer over HTTP says which in `traceresponse`. Spans are sent together, at
most a second after the first; where the collector is away or slow they are dropped and counted, and
no request waits.

Sources: W3C Trace Context, Level 2; the OpenTelemetry Protocol's JSON; the semantic conventions for
HTTP and RPC.
"""

from __future__ import annotations

import asyncio
import os
import re
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from time import monotonic_ns
from typing import Any

from edgeline.server.errors import Code, ServingError
from edgeline.server.http.grpc_call import Call, Reply
from edgeline.server.http.messages import HttpRequest, HttpResponse
from edgeline.server.watching import tracing
from edgeline.server.watching.delivery import Delivery
from edgeline.version import __version__

PATH = "/v1/traces"
KIND = "application/json"
AT_ONCE, WAIT = 256, 1.0  # spans and seconds after which they are sent
BATCHES = 32  # that wait for the collector
_PARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_SERVER, _ERROR = 2, 2  # OTLP's SPAN_KIND_SERVER and STATUS_CODE_ERROR
# gRPC's codes that are the server's fault, by the semantic conventions
_FAULTS = (*(Code.DEADLINE_EXCEEDED, Code.UNIMPLEMENTED, Code.INTERNAL, Code.UNAVAILABLE),)


@dataclass(frozen=True)
class SpanParent:
    """The caller's span: ids in hexadecimal digits."""

    trace: str
    span: str


def parent(header: str) -> SpanParent | None:
    """What a `traceparent` says; None where it is malformed or not sampled."""
    found = _PARENT.fullmatch(header)
    if found is None or found[1] == "ff" or (found[1] == "00" and found[5]):
        return None
    if not int(found[4], 16) & 1 or not int(found[2], 16) or not int(found[3], 16):
        return None
    return SpanParent(found[2], found[3])


class Spans:
    """Of one server. Used on the event loop."""

    def __init__(self, collector: str) -> None:
        """`collector` is its address, to which the path of OTLP is added."""
        url = collector.rstrip("/").removesuffix(PATH) + PATH
        self._delivery = Delivery("traces", url, kind=KIND, limit=BATCHES)
        self._waiting: list[dict[str, object]] = []
        self._host = socket.gethostname()
        self._is_due = False

    def http(
        self, request: HttpRequest, route: str, reply: Callable[[HttpResponse], None]
    ) -> Callable[[HttpResponse], None]:
        """`reply`, but traced; `route` is the path's template."""
        above = parent(tracing.header(request.headers, "traceparent"))
        if above is None:
            return reply
        span, began, clock = os.urandom(8).hex(), time.time_ns(), monotonic_ns()

        def traced(response: HttpResponse) -> None:
            facts = {
                "http.request.method": request.method,
                "http.route": route,
                "http.response.status_code": response.status,
            }
            failed = response.status >= 500
            name = f"{request.method} {route}"
            self._add(above, span, name, began, clock, facts, failed, request.served)
            told = f"traceresponse: 00-{above.trace}-{span}-01".encode()
            response.headers = (*response.headers, told)
            reply(response)

        return traced

    def grpc(self, call: Call, reply: Reply) -> Reply:
        """`reply`, but traced."""
        above = parent(tracing.header(call.headers, "traceparent"))
        if above is None:
            return reply
        span, began, clock = os.urandom(8).hex(), time.time_ns(), monotonic_ns()

        def traced(answer: bytes | ServingError) -> None:
            code = answer.code if isinstance(answer, ServingError) else Code.OK
            service, _, method = call.method[1:].rpartition("/")
            facts: dict[str, Any] = {
                "rpc.system": "grpc",
                "rpc.service": service,
                "rpc.method": method,
                "rpc.grpc.status_code": int(code),
            }
            name = call.method[1:]
            self._add(above, span, name, began, clock, facts, code in _FAULTS, call.served)
            reply(answer)

        return traced

    def lines(self) -> Iterator[str]:
        """The results as metrics for Prometheus."""
        return self._delivery.lines()

    def close(self, limit: float) -> None:
        """Send what waits, for at most `limit` seconds."""
        self._send()
        self._delivery.close(limit)

    def _add(
        self,
        above: SpanParent,
        span: str,
        name: str,
        began: int,
        clock: int,
        facts: dict[str, Any],
        failed: bool,
        served: Any,
    ) -> None:
        if served is not None:
            facts |= {"edgeline.model": served.name, "edgeline.version": served.version}
        self._waiting.append(
            {
                "traceId": above.trace,
                "spanId": span,
                "parentSpanId": above.span,
                "name": name,
                "kind": _SERVER,
                "startTimeUnixNano": str(began),
                "endTimeUnixNano": str(began + monotonic_ns() - clock),
                "attributes": [_attribute(key, value) for key, value in facts.items()],
                "status": {"code": _ERROR} if failed else {},
            }
        )
        if len(self._waiting) >= AT_ONCE:
            self._send()
        elif not self._is_due:
            self._is_due = True
            asyncio.get_running_loop().call_later(WAIT, self._send)

    def _send(self) -> None:
        self._is_due = False  # the timer may come yet, and send a few sooner
        spans, self._waiting = self._waiting, []
        if not spans:
            return
        about = {
            "service.name": "edgeline",
            "service.version": __version__,
            "host.name": self._host,
        }
        resource = {"attributes": [_attribute(key, value) for key, value in about.items()]}
        scope = {"scope": {"name": "edgeline", "version": __version__}, "spans": spans}
        self._delivery.put({"resourceSpans": [{"resource": resource, "scopeSpans": [scope]}]})


def _attribute(key: str, value: str | int) -> dict[str, object]:
    kind = "stringValue" if isinstance(value, str) else "intValue"
    return {"key": key, "value": {kind: str(value)}}
