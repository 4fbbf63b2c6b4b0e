"""A stream of HTTP/2: what came of its request, and what of its answer is not sent yet."""

from __future__ import annotations

from dataclasses import dataclass, field

from edgeline.server.errors import Code, ServingError
from edgeline.server.http.grpc_call import Call
from edgeline.server.http.messages import HttpRequest

_SMALL = 4096  # bytes of a piece that is joined to the one before: an object each costs more
_JOINED = 1 << 16


@dataclass(slots=True)
class Stream:
    """One request and its answer.

    Attributes:
        number: odd, as those that clients begin.
        headers: by name, in lower case.
        window: bytes that the client takes at present.
        is_grpc: whether it is a gRPC call; else it is a request as of HTTP/1.1.
        announced: bytes of the body, where its content-length says it.
        parts: what came of the body.
        size: bytes that are counted for it.
        received: bytes that came of the body.
        is_whole: nothing more comes from the client.
        request: what is being answered, once it is whole.
        deadline: of `time.monotonic`.
        outgoing: what of the answer's body waits for a window.
        trailers: a header block that follows it.
        is_answered: its answer has begun.
    """

    number: int
    headers: dict[str, str]
    window: int
    is_grpc: bool
    announced: int | None = None
    parts: list[bytes | bytearray] = field(default_factory=list)
    size: int = 0
    received: int = 0
    is_whole: bool = False
    request: Call | HttpRequest | None = None
    deadline: float = float("inf")
    outgoing: bytes = b""
    trailers: bytes = b""
    is_answered: bool = False

    def add(self, data: bytes) -> None:
        """A piece of the body."""
        parts = self.parts
        self.received += len(data)
        if not parts or len(data) >= _SMALL:
            parts.append(data)
        elif isinstance(parts[-1], bytearray) and len(parts[-1]) < _JOINED:
            parts[-1] += data
        else:
            parts.append(bytearray(data))

    def body(self) -> bytes:
        """The whole body, which is not kept here any more."""
        parts, self.parts = self.parts, []
        return bytes(parts[0]) if len(parts) == 1 else b"".join(parts)

    def cancel(self) -> None:
        """Nobody waits for the answer: what runs is not hurt by it."""
        request, self.request = self.request, None
        if request is not None and request.cancel is not None:
            request.cancel()
            request.cancel = None  # a cycle: it would keep the message until collected


def http_request(stream: Stream, peer: str) -> HttpRequest:
    """A request as HTTP/1.1 would have brought it."""
    headers = {
        name.encode("ascii"): value.encode("latin-1")
        for name, value in stream.headers.items()
        if name[0] != ":"
    }
    if (authority := stream.headers.get(":authority")) is not None:
        headers[b"host"] = authority.encode("latin-1")
    method, path = stream.headers[":method"], stream.headers[":path"]
    return HttpRequest(method, path.encode("latin-1"), headers, stream.body(), peer)


def too_large(limit: int, is_grpc: bool) -> ServingError:
    """The refusal of a body above a limit, as each protocol has it."""
    if is_grpc:
        return ServingError(Code.RESOURCE_EXHAUSTED, f"The request is larger than {limit} bytes.")
    return ServingError(Code.INVALID_ARGUMENT, f"The body is larger than {limit} bytes.", 413)
