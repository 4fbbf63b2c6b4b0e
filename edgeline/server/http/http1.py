"""HTTP/1.1 on asyncio, with every limit that a server at the edge of a network needs.

A connection serves one request at a time; what came behind it stays bytes, and nothing more is
read, until it is answered; but of a client whose end the request wants to know (`silent`), up to
`_BEHIND` bytes. What it may cost is bounded: the header's bytes, the body's (from
Content-Length before any is read), the bytes held over all connections, those of answers that wait
among them, the time to send a request, to read an answer, and to be silent. Times are kept by one
sweep a second over all connections (`HttpServer.sweep`), so that a request costs no timer.
"""

from __future__ import annotations

import asyncio
import re
from collections import deque
from functools import partial
from time import monotonic
from typing import Any

import httptools

from edgeline.server.errors import Code, ServingError
from edgeline.server.http.announced import announced
from edgeline.server.http.body import ReceivedBody
from edgeline.server.http.headers import HELD_PER_HEADER, PER_HEADER
from edgeline.server.http.host import is_host, not_a_host
from edgeline.server.http.http2 import PREFACE, Http2
from edgeline.server.http.messages import REASONS, HttpRequest, HttpResponse, error_response
from edgeline.server.http.server import HttpServer, peer_of

_PIECE = 16 * 1024  # bytes that are parsed at once where no body is known to be as long
_IN_A_ROW = 32  # answers to one connection before the others have their turn
_ABSOLUTE = re.compile(rb"https?://([^/?#@]+)([^#]*)", re.IGNORECASE)
_OK = b"HTTP/1.1 200 OK\r\nDate: %b\r\nContent-Type: %b\r\nContent-Length: %d\r\n\r\n"
_FULL = "The server holds as many requests as its memory allows."
_CODES = {501: Code.UNIMPLEMENTED, 503: Code.UNAVAILABLE}
_BEHIND = 1 << 16  # bytes held behind a request that wants to know when its client ends
_LARGE = 1 << 16  # bytes of an answer that a connection may hold for long
_SINGLE = (b"content-length", b"host")  # which one is meant, two readers may take otherwise


class Http1(asyncio.Protocol):
    """One connection."""

    def __init__(self, server: HttpServer) -> None:
        self.server = server
        self.deadline = monotonic() + server.settings.read_time
        self._waiting: deque[HttpRequest | ServingError] = deque()
        self._running: HttpRequest | None = None
        self._held, self._place = b"", 0  # what came, and how far it is parsed
        self._max_header = server.settings.max_header
        self._buffered = 0  # all that is counted for it: bodies, and `_waits`
        self._heads = self._unsent = self._waits = 0
        self._unread = True
        self._closing = self._paused = self._stuck = self._going = False
        self._last = False  # what waits is all that is answered
        self._ended = False  # the client sends no more
        self._started = self._failed = False
        self._begin()

    @property
    def is_idle(self) -> bool:
        """Whether nothing is asked and nothing answered."""
        waits = self._running or self._waiting or self._held or self._started
        return not (waits or self._stuck or self._unread)

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self._parser: Any = httptools.HttpRequestParser(self)
        self._peer = peer_of(transport)
        if not self.server.has_place():
            self._last = True
            self._write(error_response(ServingError(Code.UNAVAILABLE, "Too many connections.")))
            transport.close()
        self.server.add(self)

    def connection_lost(self, _: Exception | None) -> None:
        self.server.remove(self)
        self._closing = True
        self._free(self._buffered)
        self._waiting.clear()
        self._body.clear()
        self._held, self._place = b"", 0
        self._heads = self._unsent = self._waits = 0
        self._parser = None  # it and the connection hold each other, and no collection frees it
        if self._running is not None and self._running.cancel is not None:
            self._running.cancel()

    def data_received(self, data: bytes) -> None:
        if self._closing or self._last:
            return
        if self._held:
            data, self._place = self._held[self._place :] + data, 0
        self._held = data
        if self._unread:
            if len(data) < len(PREFACE) and PREFACE.startswith(data):
                return  # POST and PUT begin as HTTP/2 does
            if data.startswith(PREFACE):
                self._take_over(data)
                return
            self._unread = False
        if not self._started and self._running is None:
            self.deadline = monotonic() + self.server.settings.read_time
            self._started = True
        self._go_on()

    def eof_received(self) -> bool:
        self._ended = True  # nothing more can come, but an answer may still be read
        if self._running is not None and self._running.silent is not None:
            self._running.silent()
        return self._running is not None or bool(self._waiting or (self._held and not self._unread))

    # what httptools calls; an error in them is told by `_fail`, not raised

    def on_message_begin(self) -> None:
        self._begin()
        self._started = True

    def on_url(self, url: bytes) -> None:
        self._target += url
        self._head += len(url)
        if self._head > self._max_header:
            self._fail_header()

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._failed:
            return
        self._head += len(name) + len(value) + PER_HEADER
        if self._head > self._max_header:
            self._fail_header()
        if self._header_done:
            return  # a trailer, which says nothing that was not known (RFC 9110, section 6.5)
        name = name.lower()
        if name in self._headers:
            if name in _SINGLE:
                self._fail(400, f"{name.decode().title()} is given twice.")
            value = self._headers[name] + b", " + value
        self._headers[name] = value

    def on_headers_complete(self) -> None:
        self._header_done = True
        if self._failed:
            return
        version = self._parser.get_http_version()
        if version not in ("1.0", "1.1"):
            self._fail(400, f"HTTP/{version} is not served here: ask by HTTP/1.1.")
            return
        try:
            self._announced = announced(self._headers, version)
        except ServingError as error:
            self._fail(error.http, str(error))
            return
        settings = self.server.settings
        self._read_target()
        host = self._headers.get(b"host")
        if host is None and version == "1.1":  # RFC 9112, section 3.2
            self._fail(400, "HTTP/1.1 needs a Host header.")
        elif host and not is_host(host.decode("latin-1")):
            self._fail(400, str(not_a_host("Host")))
        if self._announced > settings.max_body:
            self._fail(413, f"The body is larger than {settings.max_body} bytes.")
        elif self._announced + self.server.metrics.buffered > settings.max_buffered:
            self._fail(503, _FULL)
        else:
            expected = self._headers.get(b"expect", b"").lower() == b"100-continue"
            self._expects = expected and version == "1.1"

    def on_body(self, body: bytes) -> None:
        if self._failed:
            return
        self._body.add(body)
        self._hold(len(body))
        metrics, settings = self.server.metrics, self.server.settings
        if self._body.size > settings.max_body:
            self._fail(413, f"The body is larger than {settings.max_body} bytes.")
        elif metrics.buffered > settings.max_buffered:
            self._fail(503, _FULL)

    def on_message_complete(self) -> None:
        if self._failed:
            return
        body = self._body.take()
        method = self._parser.get_method().decode("latin-1")
        request = HttpRequest(method, self._target, self._headers, body, self._peer)
        request.head = self._head_size
        self._heads += request.head
        self._forget_head()
        if not self._parser.should_keep_alive():
            self._last = True
        self._waiting.append(request)
        self._started = False

    # writing

    def pause_writing(self) -> None:
        self.deadline = monotonic() + self.server.settings.write_time
        self._stuck = True
        self._unsent = self._transport.get_write_buffer_size()
        self._count()

    def resume_writing(self) -> None:
        self._stuck = False
        self._unsent = 0
        self._count()
        self.deadline = monotonic() + self.server.settings.idle_time
        self._go_on()

    def expired(self) -> None:
        if self._stuck:
            self.abort()
        elif self._running is not None:
            request = self._running
            if request.cancel is not None:
                request.cancel()
            limit = self.server.settings.request_time
            self._last = True
            self._reply(
                request,
                error_response(
                    ServingError(Code.DEADLINE_EXCEEDED, f"The request took more than {limit:g} s.")
                ),
            )
        elif self._started:
            self._fail(408, "The request was not sent in time.")
            self._go_on()
        else:
            self._transport.close()

    def leave(self) -> None:
        """Its next answer says so: a client that is sending would lose its request otherwise."""

    def stop(self) -> None:
        self._last = True
        if self._running is None and not self._waiting:
            self._transport.close()

    def abort(self) -> None:
        self._transport.abort()

    def _begin(self) -> None:
        self._target = b""
        self._headers: dict[bytes, bytes] = {}
        self._body = ReceivedBody()
        self._announced = self._head = self._unparsed = 0
        self._header_done = self._started = self._expects = False

    def _forget_head(self) -> None:
        self._headers, self._head = {}, 0

    @property
    def _head_size(self) -> int:
        """Bytes that the target and the headers take which came so far."""
        return self._head + (HELD_PER_HEADER - PER_HEADER) * len(self._headers)

    def _read_target(self) -> None:
        """Take the host of a target in absolute form, as a client of a proxy sends it (RFC 9112,
        section 3.2.2)."""
        if found := None if self._target[:1] == b"/" else _ABSOLUTE.fullmatch(self._target):
            self._headers[b"host"] = found[1]
            self._target = found[2] if found[2].startswith(b"/") else b"/" + found[2]

    def _go_on(self) -> None:
        """Parse and answer, in turns, until something has to be waited for.

        An answer that comes at once comes back here: it returns, and the loop that it came from
        goes on, so that any number of requests need no stack.
        """
        if self._going:
            return
        self._going, answered = True, 0
        while self._running is None and not self._stuck and not self._closing:
            if self._waiting:
                if answered == _IN_A_ROW:
                    asyncio.get_running_loop().call_soon(self._go_on)
                    break
                answered += 1
                self._serve(self._waiting.popleft())
            elif self._held and not self._last:
                self._parse()
            else:
                break
        self._going = False
        if self._expects:
            self._continue()
        self._count()
        if self._last or self._ended or self._closing:
            self._end()
        if self._held or self._paused:
            self._pause()

    def _continue(self) -> None:
        """Ask for the body of a client that waits for it, behind the answers before."""
        if self._running or self._waiting or self._stuck or self._last or self._closing:
            return
        self._expects = False
        if self._started and not self._body.size:  # else it did not wait
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _count(self) -> None:
        """Count what waits, beside bodies, with all that the server holds: what is not parsed,
        headers, and what the client does not read."""
        if self._parser is None:
            return
        head = 0 if self._header_done else self._unparsed
        waits = len(self._held) + max(head, self._head_size) + self._heads + self._unsent
        self._hold(waits - self._waits)
        self._waits = waits

    def _end(self) -> None:
        """Close, if nothing is left to be answered."""
        if self._last or self._closing:
            self._held = b""
        if not (self._held or self._waiting or self._running or self._closing):
            self._closing = True
            self._transport.close()

    def _pause(self) -> None:
        """Read no more while something is held, and on when nothing is."""
        listens = self._running is not None and self._running.silent is not None
        wanted = len(self._held) > (_BEHIND if listens else 0)
        if wanted is not self._paused and not self._transport.is_closing():
            self._paused = not self._paused
            (self._transport.pause_reading if self._paused else self._transport.resume_reading)()

    def _parse(self) -> None:
        """Give the parser what is held.

        Of much, one header or one body at a time: thousands of requests that came at once stay
        bytes until their turn, and a body that came at once stays in one piece.
        """
        held, place, end = self._held, self._place, len(self._held)
        if end - place > _PIECE:
            left = self._announced - self._body.size
            if left > 0:
                end = min(end, place + left)
            elif b"transfer-encoding" in self._headers:
                end = place + _PIECE  # an empty line means nothing within chunks
            elif (header := held.find(b"\r\n\r\n", place, place + _PIECE)) >= 0:
                end = header + 4
            else:
                end = place + _PIECE
        piece = held if end - place == len(held) else memoryview(held)[place:end]
        if end == len(held):
            self._held, self._place = b"", 0
        else:
            self._place = end
        if not self._header_done:
            self._unparsed += end - place
        try:
            self._parser.feed_data(piece)
        except httptools.HttpParserUpgrade:
            self._last = True  # an upgrade is answered as the request that it is
        except httptools.HttpParserError as error:
            if not self._failed and not self._last:
                self._fail(400, f"This is not HTTP/1.1 ({str(error)[:100]}).")
        if not self._header_done and self._unparsed > self.server.settings.max_header:
            self._fail_header()  # one name or value without end, of which no callback tells

    def _serve(self, item: HttpRequest | ServingError) -> None:
        if isinstance(item, ServingError):
            self._last = True
            self._write(error_response(item))
            self._close_kindly()
            return
        self._running = item
        self.deadline = item.deadline = monotonic() + self.server.settings.request_time
        item.connection = id(self)
        item.alone = (
            not self._waiting and not self._held and b"content-encoding" not in item.headers
        )
        self.server.handler(item, partial(self._reply, item))
        if self._ended and self._running is item and item.silent is not None:
            item.silent()

    def _reply(self, request: HttpRequest, response: HttpResponse) -> None:
        if request.head:  # else it was answered before: it has timed out
            self._free(len(request.body))
            self._heads -= request.head
            request.head = 0
        request.cancel = None  # a cycle: it would keep the body until the next collection
        if self._running is not request or self._closing:
            return  # it timed out, or the client is gone
        self._running = None
        self.deadline = monotonic() + self.server.settings.idle_time
        self._write(response, request.method == "HEAD")
        self._go_on()

    def _write(self, response: HttpResponse, head: bool = False) -> None:
        limit = self.server.settings.max_buffered
        if (
            len(response.body) > _LARGE
            and len(response.body) + self.server.metrics.buffered > limit
        ):
            response = error_response(ServingError(Code.UNAVAILABLE, _FULL))
        status = response.status
        if self.server.leaving and not self._waiting and not self._held:
            self._last = True
        self.server.metrics.statuses[status] += 1
        body = response.body
        final = (self._last or self._ended) and not self._waiting and not self._held
        if status == 200 and not response.headers and not final:
            start = _OK % (self.server.date, response.content_type, len(body))
        else:
            lines = [
                b"HTTP/1.1 %d %b" % (status, REASONS.get(status, b"Error")),
                b"Date: " + self.server.date,
                b"Content-Type: " + response.content_type,
                b"Content-Length: %d" % len(body),
                *response.headers,
            ]
            if final:
                lines.append(b"Connection: close")
            start = b"\r\n".join([*lines, b"\r\n"])
        self._transport.write(start if head else start + body)

    def _fail(self, status: int, message: str) -> None:
        """Refuse the request that is being read, after those before it, and close."""
        if self._failed:
            return
        self._failed = self._last = True
        self._forget_head()
        code = _CODES.get(status, Code.INVALID_ARGUMENT)
        self._body.clear()
        self._waiting.append(ServingError(code, message, status))

    def _fail_header(self) -> None:
        self._fail(431, f"The header is larger than {self.server.settings.max_header} bytes.")

    def _close_kindly(self) -> None:
        """Close so that a client that is still sending can read why.

        Closing at once with unread bytes resets the connection, and the answer is lost: what
        comes is dropped for a moment first.
        """
        self._closing = True
        self.deadline = float("inf")
        if self._transport.can_write_eof():
            self._transport.write_eof()
        asyncio.get_running_loop().call_later(1.0, self._transport.close)

    def _hold(self, size: int) -> None:
        self._buffered += size
        self.server.metrics.buffered += size

    def _free(self, size: int) -> None:
        size = min(size, self._buffered)
        self._buffered -= size
        self.server.metrics.buffered -= size

    def _take_over(self, data: bytes) -> None:
        self.server.remove(self)
        self._held, self._parser = b"", None
        protocol = Http2(self.server)
        self._transport.set_protocol(protocol)
        protocol.connection_made(self._transport)
        protocol.data_received(data)
