"""What waits for a client, or of one, is counted with all that a server holds, and bounded."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct
from collections.abc import Awaitable, Callable
from typing import Any

import hpack
import pytest
from pieces import PREFACE, Transport, call, exchange, frame, frames, server
from running import MIXED

from edgeline.server.http.http1 import Http1
from edgeline.server.http.http2 import Http2
from edgeline.server.http.messages import HttpRequest, HttpResponse

DATA, HEADERS, RST, SETTINGS_KIND, GOAWAY, WINDOW = 0, 1, 3, 4, 7, 8
END_STREAM, END_HEADERS, BOTH, CALM = 1, 4, 5, 11
LIVE = b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n"


def initial(window: int) -> bytes:
    """Settings with which a client gives each stream a window."""
    return frame(SETTINGS_KIND, 0, 0, struct.pack(">HI", 4, window))


def asked(stream: int, flags: int = BOTH, method: str = "GET") -> bytes:
    pairs = [(":method", method), (":scheme", "http"), (":path", "/a"), (":authority", "a")]
    block = hpack.Encoder().encode([hpack.NeverIndexedHeaderTuple(*pair) for pair in pairs])
    return frame(HEADERS, flags, stream, block)


def answered(said: bytes) -> dict[int, dict[str, str]]:
    """The headers and trailers of each stream's answer."""
    decoder, found = hpack.Decoder(), {}
    for kind, _, stream, payload in frames(said):
        if kind == HEADERS:
            found[stream] = found.get(stream, {}) | dict(decoder.decode(payload))
    return found


class Client:
    """A connection of HTTP/2 to a server that answers a request with `size` bytes."""

    def __init__(self, size: int = 0, **settings: Any) -> None:
        self.server, self.requests = server(**settings), 0
        if size:
            self.server.handler = self._answer
            self.server.call_handler = lambda _, reply: reply(bytes(size))
        self._size = size
        self.transport, self.protocol = Transport(), Http2(self.server)
        self.protocol.connection_made(self.transport)

    def _answer(self, _: HttpRequest, reply: Callable[[HttpResponse], None]) -> None:
        self.requests += 1
        reply(HttpResponse(200, bytes(self._size)))

    def say(self, data: bytes) -> None:
        self.protocol.data_received(data)

    def sizes(self) -> list[int]:
        """Bytes of each frame of data since the last look."""
        said, self.transport.written = self.transport.written, b""
        return [len(payload) for kind, _, _, payload in frames(said) if kind == DATA]


def within(test: Callable[[], Awaitable[None]]) -> Callable[[], None]:
    """A test that runs on an event loop."""

    def run() -> None:
        asyncio.run(test())

    run.__name__, run.__doc__ = test.__name__, test.__doc__
    return run


@within
async def test_answers_that_wait_for_a_window_are_counted_and_refused_above_the_limit():
    client = Client(20_000, max_buffered=100_000)
    client.say(PREFACE + initial(0) + b"".join(asked(2 * n + 1) for n in range(8)))
    assert 80_000 < client.server.metrics.buffered <= 100_000
    found = answered(client.transport.written)
    assert [found[2 * n + 1][":status"] for n in range(8)] == ["200"] * 4 + ["503"] * 4
    assert found[9]["content-length"] == "0"
    client.transport.written = b""
    client.say(call(17, b"x"))
    assert answered(client.transport.written)[17]["grpc-status"] == "14"
    client.say(initial(30_000))
    assert sum(client.sizes()) == 65_535  # the connection's own window
    client.say(frame(WINDOW, 0, 0, struct.pack(">I", 30_000)))
    assert sum(client.sizes()) == 80_000 - 65_535
    assert client.server.metrics.buffered == 0


@within
async def test_what_is_refused_is_not_kept_while_that_waits():
    client = Client(10, max_body=1000)
    begun = PREFACE + initial(0) + asked(1, END_HEADERS, "POST")
    client.say(begun + frame(DATA, 0, 1, bytes(2000)) + frame(DATA, 0, 1, bytes(16_000)) * 50)
    assert client.server.metrics.buffered < 1500
    client.say(frame(DATA, END_STREAM, 1, bytes(16_000)))
    assert answered(client.transport.written)[1][":status"] == "413"
    assert client.requests == 0  # nor is it asked
    client.say(initial(1000))
    assert len(client.sizes()) == 1
    assert client.server.metrics.buffered == 0


@within
async def test_streams_are_refused_where_their_headers_take_all_memory():
    client = Client(10, max_buffered=10_000)
    client.say(PREFACE + b"".join(asked(2 * n + 1, END_HEADERS, "POST") for n in range(200)))
    found = answered(client.transport.written)
    assert 100 < len(found) < 200
    assert {headers[":status"] for headers in found.values()} == {"503"}
    assert client.server.metrics.buffered < 11_000


@within
async def test_windows_that_grow_many_times_are_looked_at_once():
    client = Client(20_000)
    client.say(PREFACE + initial(0) + b"".join(asked(2 * n + 1) for n in range(200)))
    assert client.sizes() == []
    client.say(b"".join(initial(n + 1) for n in range(100)))
    assert client.sizes() == [100] * 200
    client.say(b"".join(initial(n + 101) for n in range(2000)))
    assert GOAWAY in {kind for kind, *_ in frames(client.transport.written)}
    assert client.sizes() == []


@pytest.mark.parametrize("what", ["settings", "window"])
def test_a_client_that_takes_a_byte_at_a_time_is_let_go(what):
    async def run() -> None:
        client = Client(20_000)
        streams = range(1, 401, 2)
        client.say(PREFACE + initial(0) + b"".join(map(asked, streams)))
        client.transport.written = b""
        for n in range(100):
            one = struct.pack(">I", 1)
            client.say(
                initial(n + 1)
                if what == "settings"
                else b"".join(frame(WINDOW, 0, stream, one) for stream in streams)
            )
        said = client.transport.written
        assert [payload[4:8] for kind, _, _, payload in frames(said) if kind == GOAWAY] == [
            struct.pack(">I", CALM)
        ]
        assert len(client.sizes()) < 2100

    asyncio.run(run())


@within
async def test_a_byte_now_and_then_does_not_keep_an_answer():
    client = Client(20_000, write_time=30)
    client.say(PREFACE + initial(0) + asked(1))
    before = client.protocol.deadline
    client.say(initial(1))
    assert client.protocol.deadline < before + 0.1
    client.say(initial(4097))
    assert client.protocol.deadline > before


class Http1Client:
    """A connection of HTTP/1.1; what is asked is answered by `answer`."""

    def __init__(self, **settings: Any) -> None:
        self.server = server(**settings)
        self.server.handler = lambda request, reply: self.asked.append((request, reply))
        self.asked: list[tuple[HttpRequest, Callable[[HttpResponse], None]]] = []
        self.transport, self.protocol = Transport(), Http1(self.server)
        self.protocol.connection_made(self.transport)

    def say(self, data: bytes) -> None:
        self.protocol.data_received(data)

    def answer(self, size: int = 1) -> None:
        self.asked.pop(0)[1](HttpResponse(200, bytes(size)))


@within
async def test_headers_of_http1_count_as_those_of_http2():
    many = b"".join(b"%03x:\r\n" % n for n in range(1100))
    client = Http1Client()
    client.say(b"GET / HTTP/1.1\r\nHost: a\r\n" + many)  # 6 kB that would cost some 90
    assert client.transport.written.startswith(b"HTTP/1.1 431")
    client = Http1Client()
    client.say(b"GET / HTTP/1.1\r\nHost: a\r\n" + many[:3000])
    assert 500 * 99 < client.server.metrics.buffered < 500 * 100 + 200
    client.say(b"\r\n" + LIVE * 10)
    assert 500 * 99 < client.server.metrics.buffered < 500 * 100 + 1000
    client.answer()
    assert 0 < client.server.metrics.buffered < 2000  # those that came behind it
    while client.asked:
        client.answer()
    assert client.server.metrics.buffered == 0


@within
async def test_headers_that_are_not_whole_are_given_back():
    for before in (b"", LIVE + LIVE):
        client = Http1Client()
        client.say(before)
        client.say(b"GET / HTTP/1.1\r\nA: ")
        client.say(b"b" * 1000)
        assert client.server.metrics.buffered >= 1000
        client.protocol.connection_lost(None)
        if before:
            client.answer()
        assert client.server.metrics.buffered == 0


@pytest.mark.parametrize("protocol", [Http1Client, Client])
def test_what_a_client_does_not_read_is_counted(protocol):
    async def run() -> None:
        client = protocol()
        client.transport.unsent = 70_000
        client.protocol.pause_writing()
        assert client.server.metrics.buffered == 70_000
        client.protocol.resume_writing()
        assert client.server.metrics.buffered == 0
        client.protocol.pause_writing()
        client.protocol.connection_lost(None)
        assert client.server.metrics.buffered == 0

    asyncio.run(run())


@within
async def test_a_large_answer_of_http1_is_refused_above_the_limit():
    client = Http1Client(max_buffered=1_000_000)
    client.server.metrics.buffered = 700_000
    client.say(LIVE)
    client.answer(200_000)
    assert client.transport.written.startswith(b"HTTP/1.1 200")
    client.transport.written = b""
    client.say(LIVE)
    client.answer(400_000)
    assert client.transport.written.startswith(b"HTTP/1.1 503")
    assert b"holds as many requests as its memory allows" in client.transport.written


@pytest.mark.parametrize(
    ("codings", "status", "words"),
    [
        (b"gzip, chunked", 501, b"'gzip, chunked' is not taken: send chunked alone"),
        (b"chunked, chunked", 400, b"Invalid `Transfer-Encoding`"),
        (b" Chunked ", 200, b"/a x"),
    ],
)
def test_other_transfer_codings_than_chunked_are_not_taken(codings, status, words):
    head = b"POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: %b\r\n\r\n" % codings
    said = exchange(Http1, [head + b"1\r\nx\r\n0\r\n\r\n"])
    assert said.startswith(b"HTTP/1.1 %d " % status), said
    assert words in said


@within
async def test_100_continue_comes_behind_the_answers_before():
    expects = b"POST /b HTTP/%b\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n"
    client = Http1Client()
    client.say(LIVE + expects % b"1.1")
    assert client.transport.written == b""
    client.answer()
    answer, _, rest = client.transport.written.partition(b"HTTP/1.1 100 Continue\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200")
    assert rest == b""
    client.say(b"x")
    client.answer()
    client.transport.written = b""
    client.say(expects % b"1.1" + b"x")  # it does not wait
    client.answer()
    assert b"100 Continue" not in client.transport.written
    client.say(expects % b"1.0")
    assert b"100 Continue" not in client.transport.written


def test_tls_handshakes_take_places_of_connections(start, certificates):
    """Each of them kept a descriptor for as long as a client may take, without any limit."""
    served = start(
        MIXED,
        f"--certificate={certificates}/server.pem",
        f"--key={certificates}/server.key",
        "--max-connections=8",
        "--poll=0",
    )
    trusting = ssl.create_default_context(cafile=f"{certificates}/ca.pem")
    for port in (served.http, served.grpc):
        silent = [served.connect(port) for _ in range(30)]
        for connection in silent[:14]:  # those that began first, of 16 that may
            connection.settimeout(10)
            with contextlib.suppress(ConnectionError):
                assert connection.recv(1) == b""
        silent[-1].settimeout(0.1)
        with pytest.raises(socket.timeout):
            silent[-1].recv(1)
        with trusting.wrap_socket(served.connect(), server_hostname="localhost") as client:
            client.sendall(b"GET /v2/health/live HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert client.recv(100).startswith(b"HTTP/1.1 200")
        for connection in silent:
            connection.close()
    held = [trusting.wrap_socket(served.connect(), server_hostname="localhost") for _ in range(8)]
    for client in held:
        client.sendall(b"GET /")
    with trusting.wrap_socket(served.connect(), server_hostname="localhost") as another:
        assert another.recv(100).startswith(b"HTTP/1.1 503")  # it hears why
    for client in held:
        client.close()
    assert served.stop()[0] == 0
