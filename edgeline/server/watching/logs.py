"""Logs: one JSON object a line for machines, plain text on a terminal; and the access log.

Every line has `time`, `level`, `logger` and `message`; an error has its `traceback` in one string.
A line of the access log has, in place of a message,

    {"event": "request", "protocol": "http", "method": "POST", "path": "/v1/models/taxi:predict",
     "status": 200, "model": "taxi", "version": 3, "ms": 1.27, "bytes": 312, "peer": "10.0.0.7",
     "id": "7f3a", "trace": "00-4bf9...-01"}

`id` is the client's `x-request-id` or the trace's, `trace` its `traceparent`. No header, query or
body is logged, so that no secret is.
"""

from __future__ import annotations

import json
import logging
import sys
import warnings
from collections.abc import Callable
from datetime import datetime, timezone
from http import HTTPStatus
from time import monotonic
from typing import Any

from edgeline.errors import UsageError
from edgeline.server.errors import Code, ServingError
from edgeline.server.http.grpc_call import Call, Reply
from edgeline.server.http.messages import HttpRequest, HttpResponse
from edgeline.server.watching import tracing

FORMATS = ("auto", "json", "text")
log = logging.getLogger("edgeline.access")


class JsonLines(logging.Formatter):
    """A record as one line of JSON; `extra={"fields": {...}}` adds to it."""

    def format(self, record: logging.LogRecord) -> str:
        time = datetime.fromtimestamp(record.created, timezone.utc)
        line: dict[str, Any] = {
            "time": time.isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
        }
        fields = getattr(record, "fields", None)
        line |= fields if fields else {"message": record.getMessage()}
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def set_up(form: str) -> None:
    """Log to stderr: `json`, `text`, or `auto` for text where a person reads it.

    Raises:
        UsageError: there is no such form.
    """
    if form not in FORMATS:
        raise UsageError(f"log is {form!r}: give {', '.join(FORMATS)}.")
    handler = logging.StreamHandler()
    plain = form == "text" or (form == "auto" and sys.stderr.isatty())
    text = logging.Formatter("%(asctime)s %(levelname)s %(message)s")
    handler.setFormatter(text if plain else JsonLines())
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    # of what is damaged in a client's picture Pillow writes lines of its own, and keeps each
    warnings.filterwarnings("ignore", module=r"PIL\.")


class AccessLog:
    """Logs every `every`-th request when it is answered."""

    def __init__(self, every: int) -> None:
        self._every, self._count = every, 0

    def http(
        self, request: HttpRequest, reply: Callable[[HttpResponse], None]
    ) -> Callable[[HttpResponse], None]:
        """`reply`, but logged."""
        if not self._due():
            return reply
        began = monotonic()

        def logged(response: HttpResponse) -> None:
            path = request.target.partition(b"?")[0].decode("latin-1")
            facts = {"method": request.method, "path": path[:500], "status": response.status}
            _write("http", request, began, facts, len(response.body))
            reply(response)

        return logged

    def grpc(self, call: Call, reply: Reply) -> Reply:
        """`reply`, but logged; `status` is HTTP's, `code` gRPC's."""
        if not self._due():
            return reply
        began = monotonic()

        def logged(answer: bytes | ServingError) -> None:
            code, size = Code.OK, 0
            if isinstance(answer, ServingError):
                code = answer.code
            else:
                size = len(answer)
            facts = {"path": call.method[:500], "status": int(HTTPStatus.OK), "code": code.name}
            _write("grpc", call, began, facts, size)
            reply(answer)

        return logged

    def _due(self) -> bool:
        self._count += 1
        return self._count % self._every == 0


def _write(
    protocol: str, asked: HttpRequest | Call, began: float, facts: dict[str, object], size: int
) -> None:
    fields = {"event": "request", "protocol": protocol, **facts}
    if asked.served is not None:
        fields |= {"model": asked.served.name, "version": asked.served.version}
    fields |= {
        "ms": round(1000 * (monotonic() - began), 3),
        "bytes": size,
        "peer": asked.peer,
        "id": tracing.of_headers(asked.headers),
        "trace": tracing.header(asked.headers, "traceparent")[:100],
    }
    message = " ".join(f"{name}={value}" for name, value in fields.items() if value != "")
    log.info(message, extra={"fields": fields})
