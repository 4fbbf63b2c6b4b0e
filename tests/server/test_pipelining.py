"""Many requests that come at once: each is answered, in order, and others are served meanwhile."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time

import numpy as np
import pytest
from pieces import Transport
from pieces import server as made
from running import eventually

from edgeline.server.http.http1 import Http1
from edgeline.server.http.messages import HttpResponse

LIVE = b"GET /v2/health/live HTTP/1.1\r\nHost: a\r\n\r\n"


def numbered(first: int, last: int) -> bytes:
    """Requests for what is not there, whose answers name it."""
    return b"".join(
        b"GET /n%d HTTP/1.1\r\nHost: a\r\n\r\n" % number for number in range(first, last)
    )


def told(data: bytes) -> list[object]:
    """What each answer's body says, in order."""
    found = []
    while data:
        head, _, data = data.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 "), head
        size = int(head.partition(b"Content-Length: ")[2].partition(b"\r\n")[0])
        found.append(json.loads(data[:size]))
        data = data[size:]
    return found


def missing(first: int, last: int) -> list[object]:
    return [{"error": f"There is nothing at '/n{number}'."} for number in range(first, last)]


def exchanged(server, data: bytes) -> bytes:
    """Send all, say that no more comes, and read what comes back meanwhile."""
    connection, parts = server.connect(), []

    def read() -> None:
        while part := connection.recv(1 << 16):
            parts.append(part)

    reader = threading.Thread(target=read)
    reader.start()
    connection.sendall(data)
    connection.shutdown(socket.SHUT_WR)
    reader.join(60)
    assert not reader.is_alive()
    connection.close()
    return b"".join(parts)


@pytest.mark.parametrize("count", [1, 2, 33, 400, 10_000])
def test_requests_at_once_are_answered_in_order(server, count):
    said = exchanged(server, numbered(0, count))
    assert told(said) == missing(0, count)
    assert b"Connection: close" not in said.rpartition(b"HTTP/1.1 404")[0]  # more comes after it


def test_others_are_served_meanwhile(server):
    answered = threading.Thread(target=exchanged, args=(server, LIVE * 20_000))
    answered.start()
    slowest = 0.0
    while answered.is_alive():
        began = time.monotonic()
        assert server.ask("GET", "/v2/health/live")[0] == 200
        slowest = max(slowest, time.monotonic() - began)
    assert slowest < 2


def test_a_slow_one_between_them(server):
    rows = np.zeros(128 * 128 * 3 * 40, np.uint8).tobytes()
    head = b"POST /v2/models/mobilenet/infer HTTP/1.1\r\nHost: a\r\n"
    head += b"Inference-Header-Content-Length: 0\r\n"
    slow = head + b"Content-Length: %d\r\n\r\n" % len(rows) + rows
    said = exchanged(server, numbered(0, 300) + slow + numbered(300, 600) + slow)
    first, middle, last = said.split(b'{"model_name":"mobilenet"')
    assert told(first.rpartition(b"HTTP/1.1 200 OK")[0]) == missing(0, 300)
    assert missing(300, 600)[0]["error"].encode() in middle
    assert middle.count(b"There is nothing at") == 300
    assert b"There is nothing" not in last


def test_a_connection_that_goes_in_the_middle(server):
    for _ in range(5):
        connection = server.connect()
        connection.sendall(numbered(0, 5000))
        connection.recv(1000)
        connection.close()
    eventually(lambda: server.metric("edgeline_connections") == 1)
    assert server.metric("edgeline_buffered_bytes") == 0


def test_what_comes_after_the_last_request_is_not_answered(server):
    closing = b"GET /n0 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    for rest in (numbered(1, 400), b"no HTTP at all\r\n\r\n"):
        assert told(exchanged(server, closing + rest)) == missing(0, 1)
    broken = exchanged(server, numbered(0, 50) + b"no HTTP at all\r\n\r\n" + numbered(50, 60))
    found = told(broken)
    assert found[:50] == missing(0, 50)
    assert len(found) == 51
    assert found[50]["error"].startswith("This is not HTTP/1.1")


class _Held:
    """A connection whose answers come when they are let go, to a client that may not read."""

    def __init__(self) -> None:
        server = made()
        self.asked = []
        server.handler = lambda request, reply: self.asked.append((request, reply))
        self.transport, self.protocol = Transport(), Http1(server)
        self.protocol.connection_made(self.transport)

    def answer(self) -> None:
        request, reply = self.asked.pop(0)
        reply(HttpResponse(200, request.target))


def test_nothing_more_is_read_until_what_came_is_answered():
    async def run() -> None:
        held = _Held()
        held.protocol.data_received(numbered(0, 1))
        assert not held.transport.paused
        held.protocol.data_received(numbered(1, 10_000))
        assert held.transport.paused
        assert len(held.asked) == 1  # the others are still bytes
        for number in range(10_000):
            assert [request.target for request, _ in held.asked] == [b"/n%d" % number]
            held.answer()
            await asyncio.sleep(0)
        assert not held.transport.paused
        assert not held.asked

    asyncio.run(run())


def test_a_client_that_does_not_read_is_sent_no_more():
    async def run() -> None:
        held = _Held()
        held.protocol.data_received(numbered(0, 3))
        held.protocol.pause_writing()
        held.answer()
        assert not held.asked
        held.protocol.data_received(numbered(3, 6))
        assert not held.asked
        assert held.transport.paused
        held.protocol.resume_writing()
        while held.asked:
            held.answer()
        assert not held.transport.paused
        assert held.transport.written.count(b"200 OK") == 6

    asyncio.run(run())
