"""What a server says when it cannot do what was asked: a gRPC status and one sentence."""

from __future__ import annotations

from enum import IntEnum


class Code(IntEnum):
    """The gRPC status codes in use."""

    OK = 0
    CANCELLED = 1
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    UNAUTHENTICATED = 16


HTTP_STATUS = {
    Code.OK: 200,
    Code.CANCELLED: 503,
    Code.INVALID_ARGUMENT: 400,
    Code.DEADLINE_EXCEEDED: 504,
    Code.NOT_FOUND: 404,
    Code.PERMISSION_DENIED: 403,
    Code.RESOURCE_EXHAUSTED: 429,
    Code.FAILED_PRECONDITION: 400,
    Code.ABORTED: 409,
    Code.UNIMPLEMENTED: 501,
    Code.INTERNAL: 500,
    Code.UNAVAILABLE: 503,
    Code.UNAUTHENTICATED: 401,
}


MEANING = {  # docs/reference lists them
    Code.CANCELLED: "whoever asked has gone, or the version was taken away before its turn",
    Code.INVALID_ARGUMENT: "the request is wrong: a name, shape, dtype or value, or its form",
    Code.DEADLINE_EXCEEDED: "it took longer than `--request-time`, or than the caller allows",
    Code.NOT_FOUND: "there is no such model, version, label or path",
    Code.PERMISSION_DENIED: "the token lacks the scope, or the `Host` or origin is a foreign one",
    Code.RESOURCE_EXHAUSTED: "too many requests wait for this model: ask again later",
    Code.FAILED_PRECONDITION: "the model cannot do this now, or an update was refused",
    Code.ABORTED: "rows of a window came out of order, or twice",
    Code.UNIMPLEMENTED: "this server does not do that",
    Code.INTERNAL: "the server or the model failed: its log says how",
    Code.UNAVAILABLE: "not ready, stopping or full: ask again later, or another server",
    Code.UNAUTHENTICATED: "a bearer token is needed, or is not known",
}
LONGEST = 600  # characters of a message; a client may have given a name of any length


class ServingError(Exception):
    """A request that is refused, with one sentence that any protocol can carry.

    Attributes:
        code: the gRPC status.
        http: the HTTP status, the code's own unless HTTP has a better one (405, 413).
        allow: with 405, the methods that the path takes.
    """

    def __init__(self, code: Code, message: str, http: int | None = None, allow: str = "") -> None:
        if len(message) > LONGEST:
            message = f"{message[: LONGEST // 2]} ... {message[-LONGEST // 2 :]}"
        super().__init__(message.encode(errors="backslashreplace").decode())
        self.code = code
        self.http = http or HTTP_STATUS[code]
        self.allow = allow


def invalid(message: str) -> ServingError:
    """Bad input: 400, INVALID_ARGUMENT."""
    return ServingError(Code.INVALID_ARGUMENT, message)


def not_found(message: str) -> ServingError:
    """No such model, version or path: 404, NOT_FOUND."""
    return ServingError(Code.NOT_FOUND, message)


def shown(value: object) -> str:
    """A value of a client's document for a sentence: it may be nested deeper than `repr` goes."""
    if value is None or isinstance(value, bool | int | float | str):
        return repr(value)[:100]
    return "an object" if isinstance(value, dict) else "a list"
