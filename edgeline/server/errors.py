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
