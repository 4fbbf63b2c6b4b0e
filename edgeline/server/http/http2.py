"""HTTP/2 for unary gRPC calls: frames, flow control, and the limits of one connection.

Only what gRPC needs of RFC 9113: no push, no priorities. A request that is not a gRPC call is reset
with HTTP_1_1_REQUIRED, at which curl and browsers ask again by HTTP/1.1. A stream's window is as
large as the largest request, so only the connection's window is ever renewed.
"""

from __future__ import annotations

import asyncio
import struct
from dataclasses import dataclass, field
from functools import partial
from time import monotonic
from typing import Any

from edgeline.server.errors import Code, ServingError
from edgeline.server.http import frames as h2
from edgeline.server.http.grpc_call import Call, is_grpc, message_of
from edgeline.server.http.headers import Headers
from edgeline.server.http.server import HttpServer, peer_of

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_MAX_FRAME = 1 << 20
_MAX_STREAMS = 256
_CONNECTION_WINDOW = 1 << 30
_RENEWED = _CONNECTION_WINDOW // 2  # bytes after which the window is renewed
_MAX_RESETS = 1000  # streams that a client may give up before it is sent away


@dataclass(slots=True)
class _Stream:
    number: int
    headers: dict[str, str]
    window: int
    parts: list[bytes] = field(default_factory=list)
    size: int = 0
    call: Call | None = None
    deadline: float = float("inf")
    outgoing: bytes = b""
    trailers: bytes = b""


class Http2(asyncio.Protocol):
    """One connection."""

    def __init__(self, server: HttpServer) -> None:
        self.server = server
        self._received = bytearray()
        self._started = self._closing = self._stuck = False
        self._streams: dict[int, _Stream] = {}
        self._last = self._resets = self._consumed = self._rest = 0
        self._block: tuple[int, int, bytes] | None = None  # a header block that goes on
        self._headers = Headers(server.settings.max_header)
        self._window = self._initial = 65535  # how much the client takes
        self._frame = 16384
        self._patience = monotonic() + server.settings.read_time  # while no stream has a deadline

    @property
    def deadline(self) -> float:
        """When the first stream's time is up, or that of a client that is silent or stuck."""
        if self._streams and not self._stuck:
            return min(stream.deadline for stream in self._streams.values())
        return self._patience

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self._peer = peer_of(transport)
        server = self.server
        if len(server.connections) >= server.settings.max_connections or server.stopping:
            transport.abort()
        server.connections.add(self)
        server.metrics.connections = len(server.connections)
        largest = min(server.settings.max_body + 5 + 1024, (1 << 31) - 1)
        values = ((3, _MAX_STREAMS), (4, largest), (5, _MAX_FRAME), (6, server.settings.max_header))
        settings = b"".join(struct.pack(">HI", *value) for value in values)
        self._send(h2.SETTINGS, 0, 0, settings)
        self._send(h2.WINDOW, 0, 0, h2.U32.pack(_CONNECTION_WINDOW - 65535))

    def connection_lost(self, _: Exception | None) -> None:
        self._closing = True
        self.server.connections.discard(self)
        self.server.metrics.connections = len(self.server.connections)
        for stream in list(self._streams.values()):
            self._drop(stream)

    def data_received(self, data: bytes) -> None:
        if self._closing and not self._streams:
            return
        received = self._received
        try:
            if received or not self._started:
                received += data
                if not self._started and not self._start():
                    return
                del received[: self._take_frames(received)]
            else:
                received += data[self._take_frames(data) :]
        except h2.BrokenError as error:
            self._send(
                h2.GOAWAY, 0, 0, struct.pack(">II", self._last, error.code) + str(error).encode()
            )
            self._transport.close()
            self._closing = True
        if not self._streams and not self._stuck:
            self._patience = monotonic() + self.server.settings.idle_time * 10

    def pause_writing(self) -> None:
        self._stuck = True
        self._transport.pause_reading()
        self._patience = monotonic() + self.server.settings.write_time

    def resume_writing(self) -> None:
        self._stuck = False
        self._transport.resume_reading()
        self._patience = monotonic() + self.server.settings.idle_time

    def expired(self) -> None:
        if self._stuck or not self._started:
            self.abort()
            return
        now = monotonic()
        for stream in list(self._streams.values()):
            if stream.deadline < now:
                if stream.call is not None and stream.call.cancel is not None:
                    stream.call.cancel()
                if stream.outgoing:
                    self._reset(stream, h2.CANCEL)
                else:
                    self._answer(
                        stream,
                        ServingError(Code.DEADLINE_EXCEEDED, "The request took too long."),
                    )
        if not self._streams:
            self.stop()

    def stop(self) -> None:
        if not self._closing:
            self._closing = True
            self._send(h2.GOAWAY, 0, 0, struct.pack(">II", self._last, h2.NO_ERROR))
        if not self._streams:
            self._transport.close()

    def abort(self) -> None:
        self._transport.abort()

    def _start(self) -> bool:
        """Take the preface off what came; False where it is not whole, or not one at all."""
        received = self._received
        if received.startswith(PREFACE):
            del received[: len(PREFACE)]
            self._started = True
        elif not PREFACE.startswith(received):
            self._transport.abort()
        return self._started

    def _take_frames(self, data: bytes | bytearray) -> int:
        """Take the frames that are whole; where the first that is not begins."""
        place, size = 0, len(data)
        with memoryview(data) as view:
            while size - place >= 9:
                high, low, kind, flags, number = h2.FRAME.unpack_from(data, place)
                end = place + 9 + (high << 8 | low)
                if end - place > _MAX_FRAME + 9:
                    raise h2.BrokenError(h2.SIZE, "a frame is too large")
                self._rest = size - end
                if end > size:
                    break
                payload = bytes(view[place + 9 : end])
                if kind == h2.DATA and self._block is None:
                    self._take_data(flags, number & 0x7FFFFFFF, payload)
                else:
                    self._take(kind, flags, number & 0x7FFFFFFF, payload)
                place = end
        return place

    def _take(self, kind: int, flags: int, number: int, payload: bytes) -> None:
        if self._block is not None and kind != h2.CONTINUATION:
            raise h2.BrokenError(h2.PROTOCOL, "a header block is interrupted")
        if kind == h2.HEADERS:
            if not number & 1:
                raise h2.BrokenError(h2.PROTOCOL, "a stream has an even number")
            payload = h2.unpadded(payload, flags)
            self._block = (number, flags, payload[5:] if flags & h2.PRIORITY else payload)
            self._take_headers(flags)
        elif kind == h2.CONTINUATION:
            if self._block is None or self._block[0] != number:
                raise h2.BrokenError(h2.PROTOCOL, "a header block has no beginning")
            self._block = (number, self._block[1], self._block[2] + payload)
            self._take_headers(flags)
        else:
            self._take_control(kind, flags, number, payload)

    def _take_control(self, kind: int, flags: int, number: int, payload: bytes) -> None:
        if kind == h2.SETTINGS:
            self._take_settings(flags, payload)
        elif kind == h2.PING:
            if len(payload) != 8:
                raise h2.BrokenError(h2.SIZE, "a ping has not 8 bytes")
            if not flags & h2.ACK:
                self._send(h2.PING, h2.ACK, 0, payload)
        elif kind == h2.WINDOW:
            self._take_window(number, payload)
        elif kind == h2.RST:
            self._resets += 1
            if stream := self._streams.get(number):
                self._drop(stream)
            if self._resets > _MAX_RESETS:
                raise h2.BrokenError(h2.CALM, "too many streams are given up")
        elif kind == h2.GOAWAY:
            self._closing = True
            if not self._streams:
                self._transport.close()
        elif kind == h2.PUSH:
            raise h2.BrokenError(h2.PROTOCOL, "a client does not push")

    def _take_headers(self, flags: int) -> None:
        if self._block is None:
            return
        number, first_flags, block = self._block
        if len(block) > self.server.settings.max_header:
            raise h2.BrokenError(h2.CALM, "a header is too large")
        if not flags & h2.END_HEADERS:
            return
        self._block = None
        try:
            headers = self._headers.decode(block)
        except h2.MalformedError:
            if number not in self._streams:
                self._open(number)
            self._end(number, h2.PROTOCOL)
            return
        if stream := self._streams.get(number):  # trailers
            if first_flags & h2.END_STREAM:
                self._complete(stream)
            return
        self._open(number)
        if self._closing or len(self._streams) >= _MAX_STREAMS:
            self._send(h2.RST, 0, number, h2.U32.pack(h2.REFUSED))
            return
        if not is_grpc(headers):  # curl and browsers ask again by HTTP/1.1
            self._send(h2.RST, 0, number, h2.U32.pack(h2.HTTP_1_1))
            return
        stream = self._streams[number] = _Stream(number, headers, self._initial)
        stream.deadline = monotonic() + self.server.settings.read_time
        if first_flags & h2.END_STREAM:
            self._complete(stream)

    def _open(self, number: int) -> None:
        if number <= self._last:
            raise h2.BrokenError(h2.CLOSED, "a stream is opened twice")
        self._last = number

    def _take_data(self, flags: int, number: int, payload: bytes) -> None:
        self._consumed += len(payload)
        if self._consumed > _RENEWED:
            self._send(h2.WINDOW, 0, 0, h2.U32.pack(self._consumed))
            self._consumed = 0
        stream = self._streams.get(number)
        if stream is None or stream.call is not None:
            if number > self._last or number == 0:
                raise h2.BrokenError(h2.PROTOCOL, "data has no stream")
            return  # of a stream that was answered or given up
        if flags & h2.PADDED:
            payload = h2.unpadded(payload, flags)
        stream.parts.append(payload)
        stream.size += len(payload)
        metrics, settings = self.server.metrics, self.server.settings
        metrics.buffered += len(payload)
        if stream.size > settings.max_body + 5:
            message = f"The request is larger than {settings.max_body} bytes."
            self._refuse(stream, ServingError(Code.RESOURCE_EXHAUSTED, message))
        elif metrics.buffered > settings.max_buffered:
            message = "The server holds as many requests as its memory allows."
            self._refuse(stream, ServingError(Code.UNAVAILABLE, message))
        elif flags & h2.END_STREAM:
            self._complete(stream)

    def _complete(self, stream: _Stream) -> None:
        if stream.call is not None:
            return
        headers = stream.headers
        stream.deadline = monotonic() + self.server.settings.request_time
        body = stream.parts[0] if len(stream.parts) == 1 else b"".join(stream.parts)
        stream.parts = []
        path = headers.get(":path", "")
        call = stream.call = Call(path, headers, _EMPTY, self._peer, stream.deadline)
        try:
            if (asked := headers.get("grpc-timeout")) is not None:
                call.deadline = min(call.deadline, monotonic() + h2.timeout(asked))
                stream.deadline = call.deadline
            call.message = message_of(body, headers, self.server.settings.max_body)
        except ServingError as error:
            self._answer(stream, error)
            return
        call.connection = id(self)
        call.alone = len(self._streams) == 1 and not self._rest
        self.server.call_handler(call, partial(self._answer, stream))

    def _answer(self, stream: _Stream, answer: bytes | ServingError) -> None:
        if self._streams.get(stream.number) is not stream or stream.trailers:
            return  # it timed out, or the client gave it up
        number = stream.number
        if isinstance(answer, ServingError):
            trailers = (
                h2.STATUS
                + h2.text(str(int(answer.code)))
                + h2.MESSAGE
                + h2.text(h2.quoted(str(answer)))
            )
            stream.trailers = trailers
            self._send(h2.HEADERS, h2.END_HEADERS | h2.END_STREAM, number, h2.OK_HEADERS + trailers)
            self._drop(stream)
        elif len(answer) + 5 <= min(stream.window, self._window, self._frame):
            size = len(answer) + 5
            self._window -= size
            self._transport.write(h2.answer(number, answer))
            self._drop(stream)
        else:
            stream.outgoing = b"\x00" + h2.U32.pack(len(answer)) + answer
            stream.trailers = h2.OK_TRAILERS
            stream.deadline = monotonic() + self.server.settings.write_time
            self._send(h2.HEADERS, h2.END_HEADERS, number, h2.OK_HEADERS)
            self._pump(stream)

    def _pump(self, stream: _Stream) -> None:
        """Send as much of an answer as the client's windows allow."""
        place = 0
        while place < len(stream.outgoing):
            size = min(len(stream.outgoing) - place, self._frame, stream.window, self._window)
            if size <= 0:
                break
            self._send(h2.DATA, 0, stream.number, stream.outgoing[place : place + size])
            place += size
            stream.window -= size
            self._window -= size
        stream.outgoing = stream.outgoing[place:]
        if place:
            stream.deadline = monotonic() + self.server.settings.write_time
        if not stream.outgoing:
            self._send(h2.HEADERS, h2.END_HEADERS | h2.END_STREAM, stream.number, stream.trailers)
            self._drop(stream)

    def _take_settings(self, flags: int, payload: bytes) -> None:
        if flags & h2.ACK:
            return
        if len(payload) % 6:
            raise h2.BrokenError(h2.SIZE, "settings are cut")
        for name, value in struct.iter_unpack(">HI", payload):
            if name == 4:
                if value > 0x7FFFFFFF:
                    raise h2.BrokenError(h2.FLOW, "a window is too large")
                for stream in self._streams.values():
                    stream.window += value - self._initial
                self._initial = value
            elif name == 5 and 16384 <= value < 1 << 24:
                self._frame = value
        self._send(h2.SETTINGS, h2.ACK, 0, b"")
        self._pump_all()

    def _take_window(self, number: int, payload: bytes) -> None:
        if len(payload) != 4:
            raise h2.BrokenError(h2.SIZE, "a window update has not 4 bytes")
        grown = h2.U32.unpack(payload)[0] & 0x7FFFFFFF
        if not number:
            self._window += grown
            if self._window > 0x7FFFFFFF:
                raise h2.BrokenError(h2.FLOW, "a window is too large")
        elif stream := self._streams.get(number):
            stream.window += grown
            if stream.window > 0x7FFFFFFF:
                self._reset(stream, h2.FLOW)
        self._pump_all()

    def _pump_all(self) -> None:
        for stream in [stream for stream in self._streams.values() if stream.outgoing]:
            self._pump(stream)

    def _refuse(self, stream: _Stream, error: ServingError) -> None:
        number = stream.number
        self._answer(stream, error)
        self._send(h2.RST, 0, number, h2.U32.pack(h2.NO_ERROR))  # send no more of it

    def _reset(self, stream: _Stream, code: int) -> None:
        self._end(stream.number, code)

    def _end(self, number: int, code: int) -> None:
        """End a stream, whether it is one that is served or was refused at its first frame."""
        self._send(h2.RST, 0, number, h2.U32.pack(code))
        if stream := self._streams.get(number):
            self._drop(stream)

    def _drop(self, stream: _Stream) -> None:
        if self._streams.pop(stream.number, None) is None:
            return
        self.server.metrics.buffered -= stream.size
        if not self._streams and not self._stuck:
            self._patience = monotonic() + self.server.settings.idle_time * 10
        if stream.call is not None and stream.call.cancel is not None:
            stream.call.cancel()  # what ran is not hurt by it
            stream.call.cancel = None  # a cycle: it would keep the message until collected
        stream.call = stream.call or _NOTHING
        if self._closing and not self._streams and not self._transport.is_closing():
            self._transport.close()

    def _send(self, kind: int, flags: int, number: int, payload: bytes) -> None:
        self._transport.write(h2.frame(len(payload), kind, flags, number) + payload)


_EMPTY = memoryview(b"")
_NOTHING = Call("", {}, _EMPTY, "", 0.0)
