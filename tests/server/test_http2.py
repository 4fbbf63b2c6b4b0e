"""REST over HTTP/2, and what one connection of it may cost, by bytes as a client sends them."""

from __future__ import annotations

import asyncio
import struct

import hpack
import pytest
from pieces import PREFACE, Transport, call, exchange, frame, frames, server

from edgeline.server.http.http1 import Http1
from edgeline.server.http.http2 import Http2

ACK, END_STREAM, END_HEADERS, BOTH = 1, 1, 4, 5
DATA, HEADERS, PRIORITY, RST, SETTINGS_KIND, PING, GOAWAY, WINDOW, CONTINUATION = (
    *(0, 1, 2, 3, 4, 6, 7, 8, 9),
)
FLOW, CALM, PROTOCOL = 3, 11, 1
SETTINGS = frame(SETTINGS_KIND, 0, 0, b"")


def block(method: str = "GET", path: str = "/a", *more: tuple[str, str]) -> bytes:
    """The headers of a request, which touch no dynamic table."""
    pairs = [(":method", method), (":scheme", "http"), (":path", path), (":authority", "a"), *more]
    return hpack.Encoder().encode([hpack.NeverIndexedHeaderTuple(*pair) for pair in pairs])


def post(stream: int, body: bytes, *more: tuple[str, str]) -> bytes:
    return frame(HEADERS, END_HEADERS, stream, block("POST", "/b", *more)) + frame(
        DATA, END_STREAM, stream, body
    )


def answered(said: bytes) -> dict[int, tuple[dict[str, str], bytes]]:
    """Headers and body of each stream that was answered."""
    decoder, found = hpack.Decoder(), {}
    for kind, _, stream, payload in frames(said):
        if kind == HEADERS:
            headers, body = found.get(stream, ({}, b""))
            found[stream] = (headers | dict(decoder.decode(payload)), body)
        elif kind == DATA:
            headers, body = found[stream]
            found[stream] = (headers, body + payload)
    return found


def codes(said: bytes, kind: int) -> list[tuple[int, int]]:
    """Stream and error code of each RST_STREAM or GOAWAY."""
    place = 4 if kind == GOAWAY else 0
    return [
        (stream, struct.unpack_from(">I", payload, place)[0])
        for each, _, stream, payload in frames(said)
        if each == kind
    ]


@pytest.mark.parametrize("size", [1, 7, 100, 10_000])
def test_requests_and_calls_side_by_side(size):
    asked = [
        frame(HEADERS, BOTH, 1, block()),
        post(3, b"body" * 5000, ("content-length", "20000")),
        call(5, b"message"),
        frame(HEADERS, BOTH, 7, block("HEAD", "/c")),
    ]
    data = PREFACE + SETTINGS + b"".join(asked)
    cut = [data[place : place + size] for place in range(0, len(data), size)]
    found = answered(exchange(Http1, cut))
    assert found[1][1] == b"/a "
    assert found[3][1] == b"/b " + b"body" * 5000
    assert found[5][1][5:] == b"message"
    assert found[7][1] == b""
    assert found[7][0] | {"date": ""} == {
        ":status": "200", "content-type": "application/json", "content-length": "3", "date": "",
    }  # fmt: skip


def test_a_large_answer_waits_for_the_clients_windows():
    small = struct.pack(">HI", 4, 1000)
    start = PREFACE + frame(SETTINGS_KIND, 0, 0, small) + post(1, bytes(5000))
    grow = frame(WINDOW, 0, 1, struct.pack(">I", 1000))
    said = exchange(Http2, [start, *[grow] * 5])
    sizes = [len(payload) for kind, _, _, payload in frames(said) if kind == DATA]
    assert sizes == [1000] * 5 + [3]
    ends = [flags for kind, flags, _, _ in frames(said) if kind == DATA]
    assert ends == [0] * 5 + [END_STREAM]
    smaller = frame(SETTINGS_KIND, 0, 0, struct.pack(">HI", 4, 0))
    said = exchange(Http2, [start, smaller, grow, grow])  # the window is below 0 first
    assert [len(payload) for kind, _, _, payload in frames(said) if kind == DATA] == [1000] * 2


def test_a_body_above_the_limit_is_refused_before_it_comes():
    large = frame(HEADERS, END_HEADERS, 1, block("POST", "/b", ("content-length", "5000")))
    rest = frame(DATA, 0, 1, bytes(1000)) * 5
    said = exchange(Http2, [PREFACE + SETTINGS + large + rest + post(3, b"x")], max_body=1000)
    found = answered(said)
    assert found[1][0][":status"] == "413"
    assert b"larger than 1000 bytes" in found[1][1]
    assert codes(said, RST) == [(1, 0)]  # it was told once to send no more
    assert found[3][1] == b"/b x"
    unannounced = frame(HEADERS, END_HEADERS, 1, block("POST")) + rest
    assert answered(exchange(Http2, [PREFACE + SETTINGS + unannounced], max_body=1000))[1][0][
        ":status"
    ] == ("413")


def test_an_expected_100_is_said():
    begun = frame(HEADERS, END_HEADERS, 1, block("POST", "/b", ("expect", "100-continue")))
    decoder, said = hpack.Decoder(), exchange(Http2, [PREFACE + SETTINGS + begun])
    assert [decoder.decode(payload) for kind, _, _, payload in frames(said) if kind == HEADERS] == [
        [(":status", "100")]
    ]


@pytest.mark.parametrize(
    "more",
    [
        (("connection", "close"),),
        (("te", "gzip"),),
        (("host", "another"),),
        (("content-length", "x"),),
        (("content-length", "4"),),
        (("content-length", "1"), ("content-length", "1")),
        (("a", " b"),),
    ],
)
def test_a_malformed_request_ends_its_stream_alone(more):
    said = exchange(Http2, [PREFACE + SETTINGS + post(1, b"x", *more) + post(3, b"y")])
    assert codes(said, RST)[0] == (1, PROTOCOL)
    assert set(answered(said)) == {3}


@pytest.mark.parametrize("value", ["a b", "user@a", "a/b", "a:b", "[::1", "ü", "a, b"])
@pytest.mark.parametrize("name", [":authority", "host"])
def test_an_authority_that_is_not_a_host_is_refused_in_words_as_http1_does(name, value):
    pairs = [(":method", "POST"), (":scheme", "http"), (":path", "/b"), (name, value)]
    grpc = [*pairs, ("content-type", "application/grpc"), ("te", "trailers")]
    asked = [
        frame(HEADERS, flags, stream, hpack.Encoder().encode(of_stream))
        for stream, (flags, of_stream) in {1: (BOTH, pairs), 3: (END_HEADERS, pairs)}.items()
    ]
    asked.append(frame(HEADERS, END_HEADERS, 5, hpack.Encoder().encode(grpc)))
    said = exchange(Http2, [PREFACE + SETTINGS + b"".join(asked) + post(7, b"y")])
    found = answered(said)
    sentence = f"{name} is not the name or address of a server, with its port or without."
    for stream in (1, 3):
        assert found[stream][0][":status"] == "400"
        assert sentence in found[stream][1].decode()
    assert (found[5][0]["grpc-status"], found[5][0]["grpc-message"]) == ("3", sentence)
    assert found[7][1] == b"/b y"
    assert codes(said, RST) == [(3, 0), (5, 0)]  # nothing more of them is wanted


PING_FRAME = frame(PING, 0, 0, bytes(8))
FLOODS = {
    "ping": PING_FRAME,
    "settings": frame(SETTINGS_KIND, 0, 0, b""),
    "priority": frame(PRIORITY, 0, 1, bytes(5)),
    "an unknown kind": frame(99, 0, 0, b""),
    "window": frame(WINDOW, 0, 0, struct.pack(">I", 1)),
    "empty data": frame(DATA, 0, 1, b""),
    "tiny data": frame(DATA, 0, 1, b"x"),
    "data of a stream that is over": frame(DATA, 0, 3, bytes(100)),
}


@pytest.mark.parametrize("kind", FLOODS)
def test_a_flood_of_frames_that_bring_nothing_ends_the_connection(kind):
    begun = frame(HEADERS, END_HEADERS, 1, block("POST")) + frame(HEADERS, BOTH, 3, block())
    said = exchange(Http2, [PREFACE + SETTINGS + begun + FLOODS[kind] * 3000])
    assert codes(said, GOAWAY) == [(0, CALM)]
    assert len(list(frames(said))) < 2100


def test_a_flood_of_empty_continuations_ends_the_connection():
    begun = frame(HEADERS, 0, 1, block())
    said = exchange(Http2, [PREFACE + SETTINGS + begun + frame(CONTINUATION, 0, 1, b"") * 3000])
    assert codes(said, GOAWAY) == [(0, CALM)]


def test_a_client_that_asks_may_ping_as_often_as_it_asks():
    asked = b"".join(frame(HEADERS, BOTH, 2 * n + 1, block()) + PING_FRAME * 4 for n in range(2000))
    said = exchange(Http2, [PREFACE + SETTINGS + asked])
    assert codes(said, GOAWAY) == []
    assert len(answered(said)) == 2000


def test_what_one_client_gives_up_is_counted_over_its_connections():
    """40 connections with 999 resets each passed when each connection counted its own."""
    ours = server()

    async def resets(number: int) -> bytes:
        transport, protocol = Transport(), Http2(ours)
        protocol.connection_made(transport)
        given_up = b"".join(
            frame(HEADERS, END_HEADERS, 2 * n + 1, block("POST"))
            + frame(RST, 0, 2 * n + 1, struct.pack(">I", 8))
            for n in range(number)
        )
        protocol.data_received(PREFACE + SETTINGS + given_up)
        protocol.connection_lost(None)
        return transport.written

    async def all_of() -> list[bytes]:
        return [await resets(400) for _ in range(4)]

    ended = [codes(said, GOAWAY) for said in asyncio.run(all_of())]
    assert ended[:2] == [[], []]
    assert ended[3] == [(0, CALM)]


def test_half_a_frame_is_waited_for_as_long_as_half_a_request():
    async def run() -> None:
        ours = server(read_time=5)
        transport, protocol = Transport(), Http2(ours)
        protocol.connection_made(transport)
        protocol.data_received(PREFACE + SETTINGS)
        waits = protocol.deadline - asyncio.get_running_loop().time()
        protocol.data_received(PING_FRAME[:12])
        cut = protocol.deadline - asyncio.get_running_loop().time()
        assert waits > 100 > 6 > cut
        protocol.data_received(PING_FRAME[12:13])  # no more time for a client that sends slowly
        assert protocol.deadline - asyncio.get_running_loop().time() <= cut
        protocol.data_received(PING_FRAME[13:])
        assert protocol.deadline - asyncio.get_running_loop().time() > 100
        protocol.data_received(frame(HEADERS, 0, 1, block()))  # nor for a header block
        assert protocol.deadline - asyncio.get_running_loop().time() < 6
        protocol._cut = 0
        protocol.expired()
        assert codes(transport.written, GOAWAY) == [(0, CALM)]

    asyncio.run(run())


def test_what_is_not_whole_is_counted_and_bounded():
    async def run() -> None:
        ours = server(max_buffered=1_000_000)
        several = [(Transport(), Http2(ours)) for _ in range(3)]
        for transport, protocol in several:
            protocol.connection_made(transport)
            protocol.data_received(PREFACE + SETTINGS)
            protocol.data_received(frame(DATA, 0, 1, bytes(400_000))[:-1])
        assert ours.metrics.buffered == 2 * 400_008
        assert [codes(transport.written, GOAWAY) for transport, _ in several] == [
            [], [], [(0, CALM)],
        ]  # fmt: skip
        for _, protocol in several:
            protocol.connection_lost(None)
        assert ours.metrics.buffered == 0

    asyncio.run(run())


def test_the_headers_of_open_streams_are_counted():
    async def run() -> None:
        ours = server()
        transport, protocol = Transport(), Http2(ours)
        protocol.connection_made(transport)
        long = ("x", "y" * 5000)
        begun = [frame(HEADERS, END_HEADERS, n, block("POST", "/b", long)) for n in (1, 3, 5)]
        protocol.data_received(PREFACE + SETTINGS + b"".join(begun))
        assert 15_000 < ours.metrics.buffered < 19_000
        protocol.connection_lost(None)
        assert ours.metrics.buffered == 0

    asyncio.run(run())


def test_windows_have_an_end():
    most = struct.pack(">HI", 4, (1 << 31) - 1)
    # its answer waits for a window, which is then made too large
    start = PREFACE + frame(SETTINGS_KIND, 0, 0, struct.pack(">HI", 4, 10)) + post(1, bytes(100))
    grow = frame(WINDOW, 0, 1, struct.pack(">I", (1 << 31) - 1))
    stuck = PREFACE + SETTINGS + post(1, bytes(100_000))  # by the connection's own window
    assert codes(exchange(Http2, [stuck + grow * 2]), RST) == [(1, FLOW)]
    larger = frame(SETTINGS_KIND, 0, 0, most)
    once = frame(WINDOW, 0, 1, struct.pack(">I", 1 << 20))
    assert codes(exchange(Http2, [stuck + once + larger]), GOAWAY) == [(0, FLOW)]
    many = frame(SETTINGS_KIND, 0, 0, struct.pack(">HI", 4, 10) * 1000)
    assert codes(exchange(Http2, [start + many]), GOAWAY) == [(0, CALM)]


def test_a_new_client_gets_the_place_of_an_idle_one():
    async def run() -> None:
        ours = server(max_connections=2)

        def connect(asked: bytes) -> Transport:
            transport = Transport()
            transport.protocol = Http1(ours)
            transport.protocol.connection_made(transport)
            transport.protocol.data_received(asked)
            return transport

        idle = connect(PREFACE + SETTINGS)
        busy = connect(PREFACE + SETTINGS + frame(HEADERS, END_HEADERS, 1, block("POST")))
        new = connect(b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n")
        assert new.written.startswith(b"HTTP/1.1 200")
        assert codes(idle.written, GOAWAY) == [(0, 0)]
        assert idle.closed
        assert not busy.closed
        another = connect(PREFACE + SETTINGS + frame(HEADERS, END_HEADERS, 1, block("POST")))
        assert new.closed
        assert not another.closed
        refused = connect(b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n")
        assert refused.written.startswith(b"HTTP/1.1 503")

    asyncio.run(run())


@pytest.mark.parametrize(
    "last",
    [
        frame(GOAWAY, 0, 0, bytes(8)),
        frame(SETTINGS_KIND, 0, 1, b""),
        frame(HEADERS, END_HEADERS, 1, block("POST", "/b")) + frame(SETTINGS_KIND, 0, 1, b""),
    ],
    ids=["of the client", "of a broken frame", "of a broken frame beside a request"],
)
def test_nothing_is_said_after_the_end_of_a_connection(last):
    """Else one such connection, at the end of a process, ended that in the middle."""

    async def run() -> list[tuple[int, int]]:
        served = server()
        connection, transport = Http2(served), Transport()
        connection.connection_made(transport)
        connection.data_received(PREFACE + SETTINGS + last)
        assert transport.ended
        said = transport.written
        connection.leave()
        connection.expired()
        connection.stop()
        assert transport.written == said
        return codes(said, GOAWAY)

    assert len(asyncio.run(run())) <= 1
