"""One unary gRPC call: what a handler gets, and its message as HTTP/2 carries it.

https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from edgeline.server.errors import Code, ServingError, invalid
from edgeline.server.http.frames import U32

LARGEST = 1 << 32  # bytes that a message's head can announce


@dataclass(slots=True)
class Call:
    """One unary call: `message` is the request's protocol buffer as it came, which `coding` says
    how to decompress, to at most `largest` bytes; see `plain`. For `connection` and `alone` see
    `messages.HttpRequest`."""

    method: str
    headers: dict[str, str]
    message: memoryview
    peer: str
    deadline: float
    connection: int = 0
    alone: bool = False
    coding: str = ""
    largest: int = LARGEST
    cancel: Callable[[], None] | None = None
    served: Any = None  # the description of the version that answered

    def plain(self, most: int | None = None) -> memoryview:
        """The message, decompressed: work that is for a worker, unless `most` is small.

        Raises:
            ServingError: it is damaged, or larger than `most` bytes, by default than `largest`.
        """
        limit = self.largest if most is None else min(most, self.largest)
        if self.coding:
            from edgeline.server.http.compression import decompress

            return memoryview(decompress(bytes(self.message), self.coding, limit))
        if len(self.message) > limit:
            why = f"The message is larger than {limit} bytes, as this method takes."
            raise ServingError(Code.RESOURCE_EXHAUSTED, why)
        return self.message

    def beginning(self, size: int) -> memoryview:
        """At most `size` bytes of what is compressed; all of what is not.

        Raises:
            ServingError: it is damaged.
        """
        if not self.coding:
            return self.message
        from edgeline.server.http.compression import beginning

        return memoryview(beginning(self.message, self.coding, size))


Reply = Callable[[bytes | ServingError], None]


def is_grpc(headers: Mapping[str, str]) -> bool:
    """Whether a request's headers are those of a gRPC call (gRPC-Web's are not)."""
    kind = headers.get("content-type", "")
    return kind.startswith("application/grpc") and kind[16:17] in ("", "+", ";")


def message_of(body: bytes, headers: Mapping[str, str]) -> tuple[memoryview, str]:
    """The one message in a request's body as it came, and its coding; "" where it is plain.

    Raises:
        ServingError: there is not exactly one.
    """
    if len(body) < 5 or U32.unpack_from(body, 1)[0] != len(body) - 5:
        raise invalid("A unary call has exactly one message.")
    coding = headers.get("grpc-encoding", "identity").strip().lower() if body[0] else ""
    return memoryview(body)[5:], "" if coding == "identity" else coding
