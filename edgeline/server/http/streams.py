"""A stream of HTTP/2: what came of its request, and what of its answer is not sent yet."""

from __future__ import annotations

from dataclasses import dataclass, field
from time import monotonic

from edgeline.server.errors import Code, ServingError
from edgeline.server.http import frames as h2
from edgeline.server.http.body import ReceivedBody
from edgeline.server.http.grpc_call import Call, message_of
from edgeline.server.http.messages import HttpRequest
from edgeline.server.http.server import HttpServer
from edgeline.server.http.streaming import FOREVER, StreamingCall, StreamWriter


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
        streaming: what is asked, where that is a gRPC call of many messages.
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
    outgoing: bytearray = field(default_factory=bytearray)
    trailers: bytes = b""
    is_answered: bool = False
    streaming: StreamingCall | None = None

    @property
    def goes_on(self) -> bool:
        """Whether more is to be sent behind what waits."""
        return self.streaming is not None and not self.trailers

    @property
    def is_resting(self) -> bool:
        """Whether it is open, and nothing is asked or answered."""
        return self.streaming is not None and self.streaming.is_resting

    @property
    def is_settled(self) -> bool:
        """Whether to give it up is how a client ends it: see `StreamingCall.is_settled`."""
        return self.streaming is not None and self.streaming.is_settled

    @property
    def due(self) -> float:
        """When its time is up: that of `deadline`, or of a stream of messages that is read."""
        if self.streaming is None or self.outgoing:
            return self.deadline
        return self.streaming.deadline

    def cancel(self) -> None:
        """Nobody waits for the answer: what runs is not hurt by it."""
        request, self.request = self.request, None
        if request is not None and request.cancel is not None:
            request.cancel()
            request.cancel = None  # a cycle: it would keep the message until collected
        if self.streaming is not None:
            self.streaming.cancel()


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


def unary_call(stream: Stream, peer: str, largest: int) -> Call:
    """The gRPC call that a whole request is, whose message has at most `largest` bytes.

    Raises:
        ServingError: it is none of one message, or its time is none.
    """
    headers, deadline = stream.headers, stream.deadline
    if (asked := headers.get("grpc-timeout")) is not None:
        deadline = min(deadline, monotonic() + h2.timeout(asked))
    message, coding = message_of(stream.body.take(), headers)
    path = headers[":path"]
    return Call(path, headers, message, peer, deadline, coding=coding, largest=largest)


def begin_streaming(
    stream: Stream, server: HttpServer, peer: str, connection: int, writer: StreamWriter
) -> None:
    """Begin a gRPC call whose messages come one by one.

    Raises:
        ServingError: the server refuses it, or has too many of them.
    """
    call = Call(stream.headers[":path"], stream.headers, memoryview(b""), peer, FOREVER, connection)
    if (asked := stream.headers.get("grpc-timeout")) is not None:
        call.deadline = monotonic() + h2.timeout(asked)
    streaming = server.stream_handler(call)
    if not server.may_stream:
        raise no_memory()
    stream.streaming = StreamingCall(call, streaming, writer, server.settings)
    server.streaming += 1


def too_large(limit: int, is_grpc: bool) -> ServingError:
    """The refusal of a body above a limit, as each protocol has it."""
    if is_grpc:
        return ServingError(Code.RESOURCE_EXHAUSTED, f"The request is larger than {limit} bytes.")
    return ServingError(Code.INVALID_ARGUMENT, f"The body is larger than {limit} bytes.", 413)


def no_memory() -> ServingError:
    """The refusal of what would take more memory than requests may."""
    return ServingError(Code.UNAVAILABLE, "The server holds as many requests as its memory allows.")


def not_sent() -> ServingError:
    """The refusal of a request that is not whole in time."""
    return ServingError(Code.INVALID_ARGUMENT, "The request was not sent in time.", 408)


def too_long(what: str) -> ServingError:
    """What is said of a `request` or `call` whose time is over."""
    return ServingError(Code.DEADLINE_EXCEEDED, f"The {what} took too long.")
