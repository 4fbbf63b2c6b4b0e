"""A stream of HTTP/2: what came of its request, and what of its answer is not sent yet."""

from __future__ import annotations

from dataclasses import dataclass, field

from edgeline.server.errors import Code, ServingError
from edgeline.server.http.body import ReceivedBody
from edgeline.server.http.grpc_call import Call
from edgeline.server.http.messages import HttpRequest


@dataclass(slots=True)
class Stream:
    """One request and its answer.

    Attributes:
        number: odd, as those that clients begin.
        headers: by name, in lower case.
        window: bytes that the client takes at present.
        is_grpc: whether it is a gRPC call; else it is a request as of HTTP/1.1.
        announced: bytes of the body, where its content-length says it.
        body: what came of it.
        size: bytes that are counted for it.
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
    body: ReceivedBody = field(default_factory=ReceivedBody)
    size: int = 0
    is_whole: bool = False
    request: Call | HttpRequest | None = None
    deadline: float = float("inf")
    outgoing: bytes = b""
    trailers: bytes = b""
    is_answered: bool = False

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
    return HttpRequest(method, path.encode("latin-1"), headers, stream.body.take(), peer)


def too_large(limit: int, is_grpc: bool) -> ServingError:
    """The refusal of a body above a limit, as each protocol has it."""
    if is_grpc:
        return ServingError(Code.RESOURCE_EXHAUSTED, f"The request is larger than {limit} bytes.")
    return ServingError(Code.INVALID_ARGUMENT, f"The body is larger than {limit} bytes.", 413)
