"""Requests in pieces of every size: what comes of them does not depend on where TCP cuts them."""

from __future__ import annotations

import contextlib
import socket
import struct

import hpack
import pytest
from pieces import PREFACE, answers, call, cut, exchange, frame, frames

from edgeline.server.http.http1 import Http1
from edgeline.server.http.http2 import Http2

SETTINGS = frame(4, 0, 0, struct.pack(">HI", 4, 1 << 20)) + frame(
    8, 0, 0, struct.pack(">I", 1 << 20)
)
STREAM = PREFACE + SETTINGS + call(1, b"one") + frame(4, 1, 0, b"") + call(3, b"two")
REQUESTS = (
    b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n"
    b"POST /b HTTP/1.1\r\nHost: x\r\nContent-Length: 5 \r\n\r\nhello"
    b"PUT /c HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"3\r\nabc\r\n1\r\nd\r\n0\r\n\r\n"
    b"PATCH /d HTTP/1.1\r\nHost: x\r\n\r\n"
)
ANSWERS = [b"/a ", b"/b hello", b"/c abcd", b"/d "]


def bodies(data: bytes) -> list[bytes]:
    """The bodies of HTTP/1.1 answers, all of them 200."""
    found = []
    while data:
        head, _, data = data.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 OK"), head
        size = int(head.partition(b"Content-Length: ")[2].partition(b"\r\n")[0])
        found.append(data[:size])
        data = data[size:]
    return found


@pytest.mark.parametrize("protocol", [Http1, Http2])
def test_http2_in_pieces_of_every_size(protocol):
    for size in range(1, len(STREAM) + 1):
        said = exchange(protocol, cut(STREAM, size))
        assert answers(said) == {1: b"one", 3: b"two"}, size
        assert 7 not in [kind for kind, *_ in frames(said)], size


@pytest.mark.parametrize("protocol", [Http1, Http2])
def test_http2_cut_in_two_at_every_place(protocol):
    for place in range(1, len(STREAM)):
        said = exchange(protocol, [STREAM[:place], STREAM[place:]])
        assert answers(said) == {1: b"one", 3: b"two"}, place


@pytest.mark.parametrize(
    "pair",
    [(b"Origin", b"https://evil.example"), (b"X-Forwarded-For", b"192.0.2.1"), (b":host", b"a"),
     (b":authority", b"b"), (b"a b", b"c"), (b"\xff", b"c"), (b"", b"c"), (b"a", b"b\r\nc: d"),
     (b"grpc-timeout", b" 1S")],
)  # fmt: skip
@pytest.mark.parametrize("indexed", [True, False])
def test_a_malformed_header_ends_its_stream_alone(pair, indexed):
    # literal fields: never indexed, or kept in the table, which goes on for the streams after it
    name, value = pair
    field = b"\x40" if indexed else b"\x10"
    field += bytes([len(name)]) + name + bytes([len(value)]) + value
    block = b"\x83\x86\x44\x02/m\x41\x01a\x5f\x10application/grpc" + field
    again = frame(1, 5, 3, block) + call(5, b"two")
    said = exchange(Http2, [PREFACE + SETTINGS + call(1, b"one") + again])
    assert answers(said) == {1: b"one", 5: b"two"}
    assert [(kind, number) for kind, _, number, _ in frames(said) if kind in (3, 7)] == [(3, 3)]


def test_http1_in_pieces_of_every_size():
    for size in range(1, len(REQUESTS) + 1):
        assert bodies(exchange(Http1, cut(REQUESTS, size))) == ANSWERS, size
    for place in range(1, len(REQUESTS)):
        assert bodies(exchange(Http1, [REQUESTS[:place], REQUESTS[place:]])) == ANSWERS, place


@pytest.mark.parametrize("start", [b"P", b"PR", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r"])
def test_what_begins_as_http2_does_and_is_none_is_an_answer(start):
    for rest in (b"X / HTTP/1.1\r\nHost: a\r\n\r\n", b"\r\n\r\n\r\n"):
        assert exchange(Http1, [start, rest]).startswith(b"HTTP/1.1 400 Bad Request"), start + rest


@pytest.mark.parametrize("size", [100, 16383, 16384, 16385, 49152, 200_000])
def test_a_body_of_any_size_behind_others(size):
    body = bytes(range(256)) * (size // 256 + 1)
    body = body[:size].replace(b"\r\n\r\n", b"....")
    post = b"POST /b HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % size + body
    data = (
        b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n" * 2
        + post
        + post.replace(b"\x07", b"\r\n\r\n"[:1])
        + post
    )
    for cuts in ([data], cut(data, 1000), cut(data, 65536)):
        found = bodies(exchange(Http1, cuts))
        assert found[:3] == [b"/a ", b"/a ", b"/b " + body]
        assert len(found) == 5
        assert found[4] == b"/b " + body


@pytest.mark.parametrize(
    "given",
    ["5" * 5000 + "S", "9" * 400 + "H", "\xb2S", "1_0S", "+1S", "-1S", "1", "S", "", "1s",
     "123456789m", "1.5S", "\u0663S".encode().decode("latin-1")],
)  # fmt: skip
def test_a_broken_timeout_is_a_sentence(given):
    said = exchange(
        Http1, [PREFACE + SETTINGS + call(1, b"x", ("grpc-timeout", given)) + call(3, b"y")]
    )
    assert answers(said) == {3: b"y"}
    refused = [payload for kind, _, stream, payload in frames(said) if kind == 1 and stream == 1]
    headers = dict(hpack.Decoder().decode(refused[0]))
    assert headers["grpc-status"] == "3"
    assert headers["grpc-message"].startswith("grpc-timeout is '")


@pytest.mark.parametrize("given", ["99999999H", "00000001S", "1S", "500m", "1000u", "99999999n"])
def test_a_timeout_is_read(given):
    assert answers(
        exchange(Http1, [PREFACE + SETTINGS + call(1, b"x", ("grpc-timeout", given))])
    ) == {1: b"x"}


@pytest.mark.parametrize(
    ("length", "status"),
    [("0" * 5000 + "2", 400), ("9" * 5000, 400), ("+2", 400), ("0x2", 400), ("1_0", 400),
     ("\xb2", 400), ("", 400), ("99999999999999999", 413)],
)  # fmt: skip
def test_a_broken_content_length_is_a_sentence(length, status):
    head = f"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\nok".encode("latin-1")
    said = exchange(Http1, [head])
    assert said.startswith(b"HTTP/1.1 %d " % status), said
    assert b'{"error":"' in said


def test_the_preface_alone_over_a_real_connection(server):
    """As grpc-go writes it: the preface, then the rest."""
    live = call(1, b"", path="/inference.GRPCInferenceService/ServerLive")
    for port in (server.http, server.grpc):
        for first in (1, 2, 3, 23, 24, 25, 33):
            data = PREFACE + SETTINGS + live
            with contextlib.closing(server.connect(port)) as connection:
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                connection.sendall(data[:first])
                if port == server.grpc or first >= 24:  # its SETTINGS: the first piece is read
                    connection.recv(1, socket.MSG_PEEK)
                connection.sendall(data[first:])
                said = b""
                while 1 not in answers(_whole(said)):
                    part = connection.recv(65536)
                    assert part, first
                    said += part
                assert answers(said)[1] == b"\x08\x01"


def _whole(data: bytes) -> bytes:
    """The frames that came whole."""
    place = 0
    while len(data) - place >= 9:
        end = place + 9 + int.from_bytes(data[place : place + 3], "big")
        if end > len(data):
            break
        place = end
    return data[:place]


def test_ten_thousand_calls_at_once():
    data = b"".join(call(2 * number + 1, b"%d" % number) for number in range(10_000))
    said = answers(exchange(Http1, [PREFACE + SETTINGS + data]))
    assert said == {2 * number + 1: b"%d" % number for number in range(10_000)}
