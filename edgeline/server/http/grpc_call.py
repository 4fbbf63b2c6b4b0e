"""One unary gRPC call: what a handler gets, and its message as HTTP/2 carries it.

https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from edgeline.server.errors import ServingError, invalid
from edgeline.server.http.frames import U32


@dataclass(slots=True)
class Call:
    """One unary call: `message` is the request's protocol buffer. For `connection` and `alone`
    see `messages.HttpRequest`."""

    method: str
    headers: dict[str, str]
    message: memoryview
    peer: str
    deadline: float
    connection: int = 0
    alone: bool = False
    cancel: Callable[[], None] | None = None
    served: Any = None  # the description of the version that answered


Reply = Callable[[bytes | ServingError], None]


def is_grpc(headers: Mapping[str, str]) -> bool:
    """Whether a request's headers are those of a gRPC call (gRPC-Web's are not)."""
    kind = headers.get("content-type", "")
    return kind.startswith("application/grpc") and kind[16:17] in ("", "+", ";")


def message_of(body: bytes, headers: Mapping[str, str], largest: int) -> memoryview:
    """The one message in a request's body, decompressed.

    Raises:
        ServingError: there is not exactly one, or it is larger than `largest` bytes.
    """
    if len(body) < 5 or U32.unpack_from(body, 1)[0] != len(body) - 5:
        raise invalid("A unary call has exactly one message.")
    message = memoryview(body)[5:]
    if not body[0]:
        return message
    from edgeline.server.http.compression import decompress

    coding = headers.get("grpc-encoding", "identity")
    return memoryview(decompress(bytes(message), coding, largest))
