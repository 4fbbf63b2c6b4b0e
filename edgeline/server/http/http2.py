"""HTTP/2 (RFC 9113): every route as over HTTP/1.1, and gRPC calls.

This is one connection: its frames, its settings and its times. What is asked on it is in
`exchanges.Exchanges`, what may be sent of an answer in `flow.Flow`. There is no push, and
priorities say nothing. A stream's window is as large as the largest request, so only the
connection's window is renewed, and that of a stream whose messages come one by one.

A stream may rest for as long as its client lives: where nothing is heard for a while, the client is
asked with a PING, and without an answer the connection is cut.
"""

from __future__ import annotations

import asyncio
import struct
from time import monotonic
from typing import Any

from edgeline.server.http import exchanges
from edgeline.server.http import frames as h2
from edgeline.server.http.flow import LARGEST, Flow
from edgeline.server.http.headers import Headers
from edgeline.server.http.server import HttpServer, peer_of
from edgeline.server.http.streaming import QUANTUM

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_MAX_FRAME = 1 << 20
_CONNECTION_WINDOW = 1 << 30
_RENEWED = _CONNECTION_WINDOW // 2  # bytes after which the window is renewed
_MAX_SETTINGS = 64  # in one frame; six are known
_LARGEST_SENT = 1 << 16  # bytes of a frame of ours: what is in one is out of our hands
_RESIZED = 16  # streams whose windows change at the cost of a frame that brings nothing


class Http2(asyncio.Protocol):
    """One connection."""

    def __init__(self, server: HttpServer) -> None:
        self.server = server
        self._received = bytearray()
        self._started = self._ending = False
        self._consumed = self._held = self._unsent = 0
        self._has_grown = False  # a window of all streams, since they were looked at
        self._block: tuple[int, int, bytearray] | None = None  # a header block that goes on
        self._headers = Headers(server.settings.max_header)
        self._patience = monotonic() + server.settings.read_time  # while no stream has a deadline
        self._cut = float("inf")  # by when a frame that has begun is to be whole
        self._heard = monotonic()  # when something came last
        self._is_pinged = False  # since then

    @property
    def deadline(self) -> float:
        """When the first stream's time is up, or that of a client that is silent or stuck."""
        if self._asked.open and not self._flow.is_held:
            first = min(stream.due for stream in self._asked.open.values())
            return min(self._cut, self._silent, first)
        return min(self._cut, self._patience)

    @property
    def _silent(self) -> float:
        """When a client that has streams open has been silent for too long."""
        settings = self.server.settings
        return self._heard + settings.idle_time + settings.read_time * self._is_pinged

    @property
    def is_idle(self) -> bool:
        """Whether nothing is asked and nothing answered."""
        return self._started and all(stream.is_resting for stream in self._asked.open.values())

    @property
    def _is_over(self) -> bool:
        """Whether nothing that comes is of any use."""
        return self._ending or (self._asked.is_ending and not self._asked.open)

    def connection_made(self, transport: Any) -> None:
        server = self.server
        self._transport = transport
        self._flow = Flow(transport.write, server.settings.write_time)
        self._asked = exchanges.Exchanges(
            server, self._flow, peer_of(transport), transport.write, self._idle
        )
        has_place = server.has_place()
        server.add(self)
        largest = min(server.settings.max_body + 5 + QUANTUM, LARGEST)
        values = (
            *((3, exchanges.MOST), (4, largest)),
            *((5, _MAX_FRAME), (6, server.settings.max_header)),
        )
        self._send(h2.SETTINGS, 0, b"".join(struct.pack(">HI", *value) for value in values))
        self._send(h2.WINDOW, 0, h2.U32.pack(_CONNECTION_WINDOW - 65535))
        if server.leaving:
            self.leave()
        if not has_place:
            self._break(h2.BrokenError(h2.CALM, "too many connections"))

    def connection_lost(self, _: Exception | None) -> None:
        self._ending = True
        self.server.remove(self)
        self._forget()

    def data_received(self, data: bytes) -> None:
        if self._is_over:
            return
        self._heard, self._is_pinged = monotonic(), False
        received = self._received
        try:
            if received or not self._started:
                received += data
                if not self._started and not self._start():
                    return
                taken = self._take_frames(received)
                del received[:taken]
            else:
                taken = self._take_frames(data)
                received += data[taken:]
            if self._has_grown and not self._ending:
                self._has_grown = False
                self._asked.grown()
            if received or self._block is not None or self._held:
                self._count_held()
        except h2.BrokenError as error:
            self._break(error)
            return
        if self._ending:
            self._forget()
            return
        if not received and self._block is None:
            self._cut = float("inf")
        elif taken or self._cut == float("inf"):
            self._cut = monotonic() + self.server.settings.read_time
        if not self._asked.open:
            self._idle()

    def pause_writing(self) -> None:
        self._flow.is_held = True
        self._transport.pause_reading()
        self._patience = monotonic() + self.server.settings.write_time
        self._unsent = self._transport.get_write_buffer_size()
        self._count()

    def resume_writing(self) -> None:
        self._flow.is_held = False
        self._unsent = 0
        self._count()
        self._transport.resume_reading()
        self._heard = monotonic()
        self._patience = self._heard + self.server.settings.idle_time
        self._asked.pump_all()

    def expired(self) -> None:
        now = monotonic()
        if self._flow.is_held or not self._started:
            self.abort()
        elif self._cut < now:
            self._break(h2.BrokenError(h2.CALM, "a frame was not sent in time"))
        elif self._asked.open and self._silent < now and self._is_pinged:
            self.abort()
        else:
            if self._asked.open and self._silent < now:
                self._is_pinged = True
                self._send(h2.PING, 0, bytes(8))
            self._asked.expire(now)
            if not self._asked.open:
                self.stop()

    def leave(self) -> None:
        """Say that this is to be the last connection here; streams are still taken (RFC 9113,
        section 6.8)."""
        self._send(h2.GOAWAY, 0, struct.pack(">II", LARGEST, h2.NO_ERROR))

    def stop(self) -> None:
        if not self._asked.is_ending:
            self._asked.is_ending = True
            self._send(h2.GOAWAY, 0, struct.pack(">II", self._asked.last, h2.NO_ERROR))
        self._asked.leave()
        self._close_when_idle()

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

    def _idle(self) -> None:
        if not self._flow.is_held:
            self._patience = monotonic() + self.server.settings.idle_time * 10
        self._close_when_idle()

    def _close_when_idle(self) -> None:
        if self._asked.is_ending and not self._asked.open and not self._transport.is_closing():
            self._transport.close()

    def _count_held(self) -> None:
        """As `_count`, and refuse too much.

        Raises:
            BrokenError: that is more than the server's memory allows.
        """
        self._count()
        if self._held and self.server.metrics.buffered > self.server.settings.max_buffered:
            raise h2.BrokenError(h2.CALM, "the server holds as much as its memory allows")

    def _count(self) -> None:
        """Count what is not whole yet, or not sent, with all that the server holds."""
        held = len(self._received) + (len(self._block[2]) if self._block else 0) + self._unsent
        self.server.metrics.buffered += held - self._held
        self._held = held

    def _forget(self) -> None:
        self._received.clear()
        self._block, self._unsent = None, 0
        self._count()
        self._asked.drop_all()

    def _break(self, error: h2.BrokenError) -> None:
        """End the connection, and say why."""
        why = struct.pack(">II", self._asked.last, error.code) + str(error).encode()
        self._send(h2.GOAWAY, 0, why)
        self._close_kindly()
        self._forget()

    def _close_kindly(self) -> None:
        """Close so that a client that is still sending can read what was said: closing at once
        with unread bytes would lose it, so what comes is dropped for a moment first."""
        self._ending = True
        self._cut = self._patience = float("inf")
        if self._transport.can_write_eof():
            self._transport.write_eof()
        asyncio.get_running_loop().call_later(1.0, self._transport.close)

    def _take_frames(self, data: bytes | bytearray) -> int:
        """Take the frames that are whole; where the first that is not begins."""
        place, size, asked = 0, len(data), self._asked
        with memoryview(data) as view:
            while size - place >= 9 and not self._ending:
                high, low, kind, flags, number = h2.FRAME.unpack_from(data, place)
                end = place + 9 + (high << 8 | low)
                if end - place > _MAX_FRAME + 9:
                    raise h2.BrokenError(h2.SIZE, "a frame is too large")
                asked.rest = size - end
                if end > size:
                    break
                payload = bytes(view[place + 9 : end])
                if kind == h2.DATA and self._block is None:
                    self._take_data(flags, number & 0x7FFFFFFF, payload)
                else:
                    self._take(kind, flags, number & 0x7FFFFFFF, payload)
                place = end
        return place

    def _take_data(self, flags: int, number: int, payload: bytes) -> None:
        self._consumed += len(payload)
        if self._consumed > _RENEWED:
            self._send(h2.WINDOW, 0, h2.U32.pack(self._consumed))
            self._consumed = 0
        size = len(payload)
        if flags & h2.PADDED:
            payload = h2.unpadded(payload, flags)
        self._asked.take_data(number, payload, bool(flags & h2.END_STREAM), size - len(payload))

    def _take(self, kind: int, flags: int, number: int, payload: bytes) -> None:
        if self._block is not None and (kind != h2.CONTINUATION or self._block[0] != number):
            raise h2.BrokenError(h2.PROTOCOL, "a header block is interrupted")
        if kind == h2.HEADERS:
            if not number & 1:
                raise h2.BrokenError(h2.PROTOCOL, "a stream has an even number")
            data = h2.fragment(number, flags, payload)
            if flags & h2.END_HEADERS:
                self._take_headers(number, flags, data)
            else:
                self._limit(data)
                self._block = (number, flags, bytearray(data))
        elif kind == h2.CONTINUATION:
            if self._block is None:
                raise h2.BrokenError(h2.PROTOCOL, "a header block has no beginning")
            if not payload:
                self._asked.spend()
            _, first_flags, block = self._block
            block.extend(payload)
            if flags & h2.END_HEADERS:
                self._block = None
                self._take_headers(number, first_flags, bytes(block))
            else:
                self._limit(block)
        else:
            self._asked.spend()
            h2.check(kind, flags, number, len(payload))
            self._take_control(kind, flags, number, payload)

    def _take_headers(self, number: int, flags: int, data: bytes) -> None:
        self._limit(data)
        self._asked.take_headers(number, self._headers.decode(data), bool(flags & h2.END_STREAM))

    def _limit(self, data: bytes | bytearray) -> None:
        if len(data) > self.server.settings.max_header:
            raise h2.BrokenError(h2.CALM, "a header is too large")

    def _take_control(self, kind: int, flags: int, number: int, payload: bytes) -> None:
        if kind == h2.WINDOW:
            self._take_window(number, h2.U32.unpack(payload)[0] & 0x7FFFFFFF)
        elif kind == h2.SETTINGS:
            if not flags & h2.ACK:
                self._take_settings(payload)
        elif kind == h2.PING:
            if not flags & h2.ACK:
                self._send(h2.PING, h2.ACK, payload)
        elif kind == h2.RST:
            self._asked.give_up(number)
        elif kind == h2.GOAWAY:
            self._asked.is_ending = True
            if not self._asked.open:
                self._close_kindly()
        elif kind == h2.PRIORITY and h2.U32.unpack_from(payload)[0] & 0x7FFFFFFF == number:
            raise h2.BrokenError(h2.PROTOCOL, "a stream depends on itself")

    def _take_settings(self, payload: bytes) -> None:
        if len(payload) > 6 * _MAX_SETTINGS:
            raise h2.BrokenError(h2.CALM, "too many settings in one frame")
        values = dict(struct.iter_unpack(">HI", payload))
        if values.get(2, 0) > 1:
            raise h2.BrokenError(h2.PROTOCOL, "SETTINGS_ENABLE_PUSH is neither 0 nor 1")
        if not 16384 <= values.get(5, 16384) < 1 << 24:
            raise h2.BrokenError(h2.PROTOCOL, "SETTINGS_MAX_FRAME_SIZE is out of range")
        self._flow.frame = min(values.get(5, self._flow.frame), _LARGEST_SENT)
        initial = values.get(4, self._flow.initial)
        if initial > LARGEST:
            raise h2.BrokenError(h2.FLOW, "a window is too large")
        if initial != self._flow.initial:
            self._asked.spend(len(self._asked.open) / _RESIZED)
            self._flow.resize(self._asked.open.values(), initial)
            self._has_grown = True
        self._send(h2.SETTINGS, h2.ACK, b"")

    def _take_window(self, number: int, grown: int) -> None:
        if not number:
            if not grown:
                raise h2.BrokenError(h2.PROTOCOL, "a window grows by nothing")
            self._flow.window += grown
            if self._flow.window > LARGEST:
                raise h2.BrokenError(h2.FLOW, "a window is too large")
            self._has_grown = True
            return
        self._asked.check_opened(number)
        stream = self._asked.open.get(number)
        if not grown:
            self._asked.end(number, h2.PROTOCOL)
        elif stream is not None:
            stream.window += grown
            if stream.window > LARGEST:
                self._asked.end(number, h2.FLOW)
            else:
                self._asked.grown(stream)

    def _send(self, kind: int, flags: int, payload: bytes) -> None:
        """A frame of the connection itself, unless it has said its last."""
        if not self._ending:
            self._transport.write(h2.frame(len(payload), kind, flags, 0) + payload)
