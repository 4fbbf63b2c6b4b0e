"""A connection's protocol without a socket: bytes go in, in pieces, and its answers come out."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable, Iterable, Iterator
from types import SimpleNamespace
from typing import Any

import hpack

from edgeline.server.http.messages import HttpResponse
from edgeline.server.http.server import HttpServer
from edgeline.server.metrics import Metrics
from edgeline.server.settings import ServerSettings

# a server's state with nothing in it, for its routes alone
STATELESS: Any = SimpleNamespace(served=None, repository=None, metrics=None)
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


class Transport:
    """What a protocol sees of a socket."""

    def __init__(self) -> None:
        self.written = b""
        self.paused = self.closed = self.ended = False
        self.unsent = 0  # bytes that the client has not taken
        self.protocol: Any = None

    def write(self, data: bytes) -> None:
        if self.ended:
            raise RuntimeError("Cannot call write() after write_eof()")
        self.written += data

    def get_write_buffer_size(self) -> int:
        return self.unsent

    def get_extra_info(self, name: str) -> Any:
        return ("127.0.0.1", 1) if name == "peername" else None

    def set_protocol(self, protocol: Any) -> None:
        self.protocol = protocol

    def pause_reading(self) -> None:
        self.paused = True

    def resume_reading(self) -> None:
        self.paused = False

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.ended = True

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    abort = close


def server(**settings: Any) -> HttpServer:
    """A server whose answers are the paths and messages that it was asked with."""
    return HttpServer(
        ServerSettings(**settings),
        Metrics(),
        lambda request, reply: reply(HttpResponse(200, request.target + b" " + request.body)),
        lambda call, reply: reply(bytes(call.message)),
    )


def exchange(
    protocol: Callable[[HttpServer], Any], data: Iterable[bytes], **settings: Any
) -> bytes:
    """What a server writes to a client that sends `data`, piece by piece."""

    async def run() -> bytes:
        transport = Transport()
        transport.protocol = protocol(server(**settings))
        transport.protocol.connection_made(transport)
        for piece in data:
            transport.protocol.data_received(piece)
            while transport.paused:
                await asyncio.sleep(0)
        await asyncio.sleep(0)
        transport.protocol.connection_lost(None)
        return transport.written

    return asyncio.run(run())


def cut(data: bytes, size: int) -> Iterator[bytes]:
    """The pieces of a size."""
    return (data[place : place + size] for place in range(0, len(data), size))


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """An HTTP/2 frame."""
    length = len(payload)
    return struct.pack(">HBBBI", length >> 8, length & 255, kind, flags, stream) + payload


def call(stream: int, message: bytes, *more: tuple[str, str], path: str = "/s/m") -> bytes:
    """A unary call; its headers touch no dynamic table, so the order of calls is free."""
    kind = (
        ()
        if any(name == "content-type" for name, _ in more)
        else (("content-type", "application/grpc"),)
    )
    headers = [(":method", "POST"), (":scheme", "http"), (":path", path), *kind, *more]
    block = hpack.Encoder().encode([hpack.NeverIndexedHeaderTuple(*pair) for pair in headers])
    body = b"\x00" + struct.pack(">I", len(message)) + message
    return frame(1, 4, stream, block) + frame(0, 1, stream, body)


def frames(data: bytes) -> Iterator[tuple[int, int, int, bytes]]:
    """Kind, flags, stream and payload of each frame."""
    while data:
        length = int.from_bytes(data[:3], "big")
        yield data[3], data[4], int.from_bytes(data[5:9], "big"), data[9 : 9 + length]
        data = data[9 + length :]


def answers(data: bytes) -> dict[int, bytes]:
    """Each stream's message."""
    return {stream: payload[5:] for kind, _, stream, payload in frames(data) if kind == 0}
