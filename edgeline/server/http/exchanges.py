"""The requests of one HTTP/2 connection, from their headers to the last byte of their answers.

A request is one of HTTP/1.1's routes, a unary gRPC call, or one whose messages come one by one
(`streaming`). How streams begin and end is RFC 9113, section 5.1.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from time import monotonic

from edgeline.server.errors import ServingError
from edgeline.server.http import frames as h2
from edgeline.server.http import streams
from edgeline.server.http.allowance import Allowance
from edgeline.server.http.flow import Flow
from edgeline.server.http.headers import Block
from edgeline.server.http.host import not_a_host
from edgeline.server.http.messages import HttpResponse, error_response
from edgeline.server.http.server import HttpServer
from edgeline.server.http.streaming import OWN, StreamWriter
from edgeline.server.http.streams import Stream

MOST = 256  # streams at once
_REMEMBERED = 2 * MOST  # streams of which it is known how they ended
_TINY = 64  # bytes of a frame of data that costs more than it brings
# frames that bring nothing, at once and a second; what is asked and what is sent bring some back
_IDLE_FRAMES, _IDLE_RATE, _OF_A_REQUEST, _OF_BYTES = 2000, 200, 8, 4096
_OF_A_STREAM = 512  # bytes that an open stream costs beside what is said on it


class Exchanges:
    """What is asked and answered on one connection.

    Attributes:
        open: the streams by number.
        last: the highest number that a client has used.
        rest: bytes that came behind the frame that is being taken.
        is_ending: no stream is taken any more.
    """

    def __init__(
        self,
        server: HttpServer,
        flow: Flow,
        peer: str,
        write: Callable[[bytes], None],
        idle: Callable[[], None],
    ) -> None:
        """`idle` is called when the last open stream is over."""
        self.server, self.flow = server, flow
        self.open: dict[int, Stream] = {}
        self.last = self.rest = 0
        self.is_ending = False
        self._peer, self._write, self._idle = peer, write, idle
        self._ended: OrderedDict[int, bool] = OrderedDict()  # whether the client may still send
        self._idle_frames = Allowance(_IDLE_FRAMES, _IDLE_RATE)

    def spend(self, frames: float = 1) -> None:
        """A frame that brings nothing, or work that costs as much as several.

        Raises:
            BrokenError: there were too many.
        """
        if not self._idle_frames.spend(frames):
            raise h2.BrokenError(h2.CALM, "too many frames bring nothing")

    def check_opened(self, number: int) -> None:
        """Refuse a frame of a stream that has not been opened.

        Raises:
            BrokenError: it has not.
        """
        if number > self.last or not number & 1:
            raise h2.BrokenError(h2.PROTOCOL, "a frame is of a stream that was not opened")

    def take_headers(self, number: int, block: Block | None, ends: bool) -> None:
        """A whole header block; None where it is malformed.

        Raises:
            BrokenError: its stream is over, or was passed over.
        """
        stream, over = self.open.get(number), self._ended.get(number)
        if stream is None and number <= self.last and not over:
            code = h2.PROTOCOL if over is None else h2.CLOSED
            raise h2.BrokenError(code, "a stream is opened twice")
        self.last = max(self.last, number)
        try:
            if block is None:
                raise h2.MalformedError
            if stream is not None:
                self._take_trailers(stream, block, ends)
            elif over is None:
                self._begin(number, block, ends)
            elif ends:
                self._ended[number] = False
        except h2.MalformedError:
            self.end(number, h2.PROTOCOL)

    def _take_trailers(self, stream: Stream, block: Block, ends: bool) -> None:
        if stream.is_whole:
            self.end(stream.number, h2.CLOSED)
        elif not ends or any(name[0] == ":" for name in block.headers):
            raise h2.MalformedError("trailers do not end a request")
        else:  # they say nothing that was not known
            self._complete(stream)

    def _begin(self, number: int, block: Block, ends: bool) -> None:
        if not block.is_request:
            raise h2.MalformedError
        if self.is_ending or len(self.open) >= MOST:
            self._send(h2.RST, 0, number, h2.U32.pack(h2.REFUSED))
            self._remember(number, not ends)
            return
        settings = self.server.settings
        stream = self.open[number] = Stream(
            number, block.headers, self.flow.initial, block.is_grpc, block.announced
        )
        stream.deadline = monotonic() + settings.read_time
        self._hold(stream, block.size + _OF_A_STREAM)
        if block.not_a_host:
            stream.is_whole = ends
            self._refuse(stream, not_a_host(block.not_a_host))
        elif self.server.metrics.buffered > settings.max_buffered:
            stream.is_whole = ends
            self._refuse(stream, streams.no_memory())
        elif stream.is_grpc and block.headers[":path"] in self.server.streamed:
            self._begin_streaming(stream)
            if ends and self.open.get(number) is stream:
                self._complete(stream)
        elif ends:
            self._complete(stream)
        elif (stream.announced or 0) > settings.max_body:
            self._refuse(stream, streams.too_large(settings.max_body, stream.is_grpc))
        elif stream.headers.get("expect", "").lower() == "100-continue":
            self._send(h2.HEADERS, h2.END_HEADERS, stream.number, h2.CONTINUE)

    def take_data(self, number: int, payload: bytes, ends: bool, padding: int = 0) -> None:
        """A piece of a body; `padding` is what else its frame took of the windows.

        Raises:
            BrokenError: its stream was never opened, or there were too many that bring nothing.
        """
        if len(payload) < _TINY and not ends:
            self.spend()
        stream = self.open.get(number)
        if stream is None or stream.is_whole:
            self.check_opened(number)
            if not self._ended.get(number):  # else it was refused while this was under way
                self.spend()
                self.end(number, h2.CLOSED)
            return
        if stream.streaming is not None:
            self._stream(stream, payload, padding)
            if ends and self.open.get(number) is stream:
                self._complete(stream)
            return
        if stream.is_answered:  # it was refused, and that waits for a window
            stream.is_whole = ends
            return
        stream.body.add(payload)
        self._hold(stream, len(payload))
        settings = self.server.settings
        if stream.body.size > settings.max_body + 5 * stream.is_grpc:
            self._refuse(stream, streams.too_large(settings.max_body, stream.is_grpc))
        elif self.server.metrics.buffered > settings.max_buffered:
            self._refuse(stream, streams.no_memory())
        elif ends:
            self._complete(stream)

    def give_up(self, number: int) -> None:
        """The client wants no answer.

        Raises:
            BrokenError: there is no such stream, or too many were given up.
        """
        self.check_opened(number)
        settled = (stream := self.open.get(number)) is not None and stream.is_settled
        if stream is not None:
            self._drop(stream, told=True)
        self._remember(number, False)  # also of one that is forgotten: not without bound
        if not settled and not self.server.resets_of(self._peer).spend():
            raise h2.BrokenError(h2.CALM, "too many streams are given up")

    def expire(self, now: float) -> None:
        """End what has taken too long."""
        for stream in [stream for stream in self.open.values() if stream.due < now]:
            stream.cancel()
            if stream.streaming is not None and not stream.outgoing:
                self._finish(stream, streams.too_long("call, or a message of it,"))
            elif stream.is_answered:
                self.end(stream.number, h2.CANCEL)
            elif not stream.is_whole and not stream.is_grpc:
                self._refuse(stream, streams.not_sent())
            else:
                self._refuse(stream, streams.too_long("request"))

    def pump(self, stream: Stream) -> int:
        """Send what waits for a window, and end a stream of which that was all.

        Returns:
            The bytes that were sent.
        """
        sent = 0
        if waiting := len(stream.outgoing):
            over = self.flow.pump(stream)
            sent = waiting - len(stream.outgoing)
            self._idle_frames.give(sent / _OF_BYTES)
            self._hold(stream, -sent)
            if over and stream.goes_on and stream.streaming is not None:
                stream.streaming.go_on()
            elif over:
                self._drop(stream)
        return sent

    def pump_all(self) -> None:
        """As `pump`, of each stream."""
        for stream in list(self.open.values()):
            self.pump(stream)

    def grown(self, only: Stream | None = None) -> None:
        """As `pump`, where a client has made the window of a stream larger, or of all.

        Raises:
            BrokenError: it takes so little at a time that our frames are most of it.
        """
        for stream in list(self.open.values()) if only is None else (only,):
            if 0 < self.pump(stream) < _TINY:
                self.spend()

    def end(self, number: int, code: int) -> None:
        """End a stream, whether it is one that is served or was refused at its first frame."""
        self._send(h2.RST, 0, number, h2.U32.pack(code))
        if stream := self.open.get(number):
            self._drop(stream, told=True)
        elif number not in self._ended:
            self._remember(number, True)

    def leave(self) -> None:
        """End calls of many messages as soon as nothing of them is worked on."""
        for stream in list(self.open.values()):
            if stream.streaming is not None:
                stream.streaming.leave()

    def drop_all(self) -> None:
        """Nothing is answered any more."""
        for stream in list(self.open.values()):
            self._drop(stream, told=True)

    def _complete(self, stream: Stream) -> None:
        """Nothing more comes of a request: it is answered."""
        if stream.is_answered and stream.streaming is None:  # it was refused before
            stream.is_whole = True
            return
        if stream.announced not in (None, stream.body.size):
            self.end(stream.number, h2.PROTOCOL)
            return
        stream.is_whole = True
        if stream.streaming is not None:
            stream.streaming.half_close()
            return
        self._idle_frames.give(_OF_A_REQUEST)
        stream.deadline = monotonic() + self.server.settings.request_time
        if stream.is_grpc:
            self._call(stream)
        else:
            self._ask(stream)

    def _begin_streaming(self, stream: Stream) -> None:
        """Begin a gRPC call whose messages come one by one."""
        writer = StreamWriter(
            partial(self._send_message, stream),
            partial(self._finish, stream),
            partial(self._hold, stream),
            lambda size: self._send(h2.WINDOW, 0, stream.number, h2.U32.pack(size)),
            lambda: bool(stream.outgoing),
            lambda: self._is_alone,
        )
        try:
            streams.begin_streaming(stream, self.server, self._peer, id(self), writer)
        except ServingError as error:
            self._answer(stream, error)
            return
        self._hold(stream, OWN)

    def _stream(self, stream: Stream, payload: bytes, padding: int) -> None:
        stream.body.size += len(payload)  # for a length that was announced
        if stream.streaming is None or stream.trailers:  # it has ended, but for what waits
            return
        self._hold(stream, len(payload))
        if self.server.metrics.buffered > self.server.settings.max_buffered:
            self._finish(stream, streams.no_memory())
        else:
            stream.streaming.receive(payload, padding)

    def _send_message(self, stream: Stream, message: bytes) -> None:
        """One of a stream's messages."""
        if not stream.is_answered:
            stream.is_answered = True
            self._send(h2.HEADERS, h2.END_HEADERS, stream.number, h2.OK_HEADERS)
        self._idle_frames.give(_OF_A_REQUEST)
        body = b"\x00" + h2.U32.pack(len(message)) + message
        if not stream.outgoing and self.flow.takes(stream, len(body)):
            self._send(h2.DATA, 0, stream.number, body)
            return
        if not self._has_room(stream, len(body)):
            self._finish(stream, streams.no_memory())
            return
        self._hold(stream, len(body))
        if not stream.outgoing:
            stream.deadline = monotonic() + self.server.settings.write_time
        stream.outgoing += body
        self.pump(stream)

    def _finish(self, stream: Stream, error: ServingError | None) -> None:
        """End a stream of messages, behind those that wait for a window."""
        if self.open.get(stream.number) is not stream or stream.trailers:
            return
        stream.cancel()
        ending = h2.OK_TRAILERS if error is None else h2.error_trailers(error)
        if stream.outgoing:
            stream.trailers = ending
            return
        begun = b"" if stream.is_answered else h2.OK_HEADERS
        self._send(h2.HEADERS, h2.END_HEADERS | h2.END_STREAM, stream.number, begun + ending)
        self._drop(stream)

    def _ask(self, stream: Stream) -> None:
        request = stream.request = streams.http_request(stream, self._peer)
        request.deadline, request.connection = stream.deadline, id(self)
        request.alone = self._is_alone and b"content-encoding" not in request.headers
        self.server.handler(request, partial(self._respond, stream))

    def _call(self, stream: Stream) -> None:
        try:
            call = streams.unary_call(stream, self._peer, self.server.settings.max_body)
        except ServingError as error:
            self._answer(stream, error)
            return
        stream.request, stream.deadline = call, call.deadline
        call.connection, call.alone = id(self), self._is_alone
        self.server.call_handler(call, partial(self._answer, stream))

    @property
    def _is_alone(self) -> bool:
        return len(self.open) == 1 and not self.rest

    def _respond(self, stream: Stream, response: HttpResponse) -> None:
        """Answer as HTTP/1.1 does."""
        if self._is_over(stream):
            return
        stream.is_answered = True
        body = b"" if stream.headers[":method"] == "HEAD" else response.body
        waits = bool(body) and not self.flow.takes(stream, len(body))
        if waits and not self._has_room(stream, len(body)):
            response, waits = error_response(streams.no_memory()), False
            if not self.flow.takes(stream, len(response.body)):
                response.body = b""  # its status says it: nothing may wait
            body = response.body
        self.server.metrics.statuses[response.status] += 1
        lines = (b"date: " + self.server.date, *response.headers)
        block = h2.response(response.status, response.content_type, len(response.body), lines)
        flags = h2.END_HEADERS if body else h2.END_HEADERS | h2.END_STREAM
        head = h2.frame(len(block), h2.HEADERS, flags, stream.number) + block
        if waits:
            self._write(head)
            self._send_later(stream, body, b"")
            return
        if body:
            head += h2.frame(len(body), h2.DATA, h2.END_STREAM, stream.number)
        self._write(head + body)
        self._drop(stream)

    def _answer(self, stream: Stream, answer: bytes | ServingError) -> None:
        """Answer a gRPC call."""
        if self._is_over(stream):
            return
        stream.is_answered = True
        number = stream.number
        size = len(answer) + 5 if isinstance(answer, bytes) else 0
        waits = bool(size) and not self.flow.takes(stream, size)
        if waits and not self._has_room(stream, size):
            answer = streams.no_memory()
        if isinstance(answer, ServingError):
            block = h2.OK_HEADERS + h2.error_trailers(answer)
            self._send(h2.HEADERS, h2.END_HEADERS | h2.END_STREAM, number, block)
            self._drop(stream)
        elif not waits:
            self._write(h2.answer(number, answer))
            self._drop(stream)
        else:
            self._send(h2.HEADERS, h2.END_HEADERS, number, h2.OK_HEADERS)
            self._send_later(stream, b"\x00" + h2.U32.pack(len(answer)) + answer, h2.OK_TRAILERS)

    def _is_over(self, stream: Stream) -> bool:
        """Whether nobody waits for an answer: it timed out, or the client gave it up."""
        return stream.is_answered or self.open.get(stream.number) is not stream

    def _has_room(self, stream: Stream, size: int) -> bool:
        """Whether an answer may wait: what was asked is let go then."""
        held = self.server.metrics.buffered - stream.body.size
        return held + size <= self.server.settings.max_buffered

    def _send_later(self, stream: Stream, body: bytes, trailers: bytes) -> None:
        stream.cancel()
        stream.body.clear()
        self._hold(stream, len(body) - stream.body.size)
        stream.outgoing += body
        stream.trailers = trailers
        stream.deadline = monotonic() + self.server.settings.write_time
        self.pump(stream)

    def _refuse(self, stream: Stream, error: ServingError) -> None:
        """Refuse a request, though more of it may come."""
        if stream.is_grpc:
            self._answer(stream, error)
        else:
            self._respond(stream, error_response(error))

    def _hold(self, stream: Stream, size: int) -> None:
        stream.size += size
        self.server.metrics.buffered += size

    def _drop(self, stream: Stream, told: bool = False) -> None:
        """Forget a stream that is over; a client that still sends is told, unless it was."""
        if self.open.pop(stream.number, None) is None:
            return
        self.server.metrics.buffered -= stream.size
        self.server.streaming -= stream.streaming is not None
        stream.body.clear()
        if not stream.is_whole and not told:
            self._send(h2.RST, 0, stream.number, h2.U32.pack(h2.NO_ERROR))  # send no more of it
        self._remember(stream.number, not stream.is_whole)
        stream.cancel()
        if not self.open:
            self._idle()

    def _remember(self, number: int, sends: bool) -> None:
        """A stream is over; what a client `sends` of it nevertheless is dropped, or an error."""
        self._ended[number] = sends
        if len(self._ended) > _REMEMBERED:
            self._ended.popitem(last=False)

    def _send(self, kind: int, flags: int, number: int, payload: bytes) -> None:
        self._write(h2.frame(len(payload), kind, flags, number) + payload)
