"""Which request a thread is busy with, and the id under which others know it."""

from __future__ import annotations

import re
import threading
import uuid
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from edgeline.monitoring.kept_answers import LONGEST

T = TypeVar("T")
_busy = threading.local()
_TRACE = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}.*")


def around(work: Callable[[Any], T], asked: Any) -> Callable[[Any], T]:
    """Work that knows the headers of its request, which learns who serves it.

    `asked` is an `messages.HttpRequest` or `grpc_call.Call`.
    """

    def traced(instance: Any) -> T:
        _busy.headers, _busy.given = asked.headers, ""
        asked.served = instance.description
        return work(instance)

    return traced


def name(given: Any) -> None:
    """Take over the `id` of a request of the Open Inference Protocol."""
    if isinstance(given, str):
        _busy.given = given


def identity() -> str:
    """The id of this thread's request: as the client names it, else of its trace, else a new one.

    A client names it in the body (`id`) or the header `x-request-id`; the trace is that of W3C
    Trace Context's `traceparent`.
    """
    return named() or uuid.uuid4().hex


def named() -> str:
    """The id that the client gave this thread's request, as `identity`; "" where it gave none."""
    if given := getattr(_busy, "given", ""):
        return str(given)[:LONGEST]
    headers = getattr(_busy, "headers", None)
    return of_headers(headers) if headers else ""


def of_headers(headers: Mapping[Any, object]) -> str:
    """The id that headers give; empty for none."""
    if found := header(headers, "x-request-id"):
        return found[:LONGEST]
    parent = header(headers, "traceparent")
    trace = _TRACE.fullmatch(parent) if parent else None
    return trace[1] if trace else ""


def header(headers: Mapping[Any, Any], key: str) -> str:
    """A header's value, empty for none."""
    value = headers.get(key.encode()) or headers.get(key) or b""
    return value if isinstance(value, str) else bytes(value).decode("latin-1")
