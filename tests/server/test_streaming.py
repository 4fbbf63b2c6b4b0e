"""gRPC calls whose messages come one by one, by bytes as a client sends them."""

from __future__ import annotations

import asyncio
import random
import struct
from collections.abc import Callable
from typing import Any

import hpack
import pytest
from pieces import PREFACE, Transport, frame, frames, server
from running import Running, eventually

from edgeline.server.errors import ServingError, invalid
from edgeline.server.http import streaming as calls
from edgeline.server.http.grpc_call import Call
from edgeline.server.http.http2 import Http2
from edgeline.server.http.server import HttpServer
from edgeline.server.http.streaming import Streaming

END_STREAM, END_HEADERS, PADDED = 1, 4, 8
DATA, HEADERS, RST, SETTINGS, PING, GOAWAY, WINDOW = 0, 1, 3, 4, 6, 7, 8
CANCEL, CALM = 8, 11
EACH, WATCH = "/s/each", "/s/watch"


def open_call(stream: int, path: str = EACH, *more: tuple[str, str]) -> bytes:
    pairs = [(":method", "POST"), (":scheme", "http"), (":path", path)]
    pairs += [("content-type", "application/grpc"), *more]
    block = hpack.Encoder().encode([hpack.NeverIndexedHeaderTuple(*pair) for pair in pairs])
    return frame(HEADERS, END_HEADERS, stream, block)


def message(content: bytes) -> bytes:
    return b"\0" + struct.pack(">I", len(content)) + content


class Conversation:
    """A connection to a server that answers later, in the order in which the test says so.

    Attributes:
        calls: messages that are worked on, and how each is answered.
        cancelled: messages whose answer nobody waits for any more.
        send: what tells those who watch.
    """

    def __init__(self, **settings: Any) -> None:
        self.server: HttpServer = server(**settings)
        self.calls: list[tuple[bytes, Callable[[bytes | ServingError], None]]] = []
        self.cancelled: list[bytes] = []
        self.send: list[Callable[[bytes], None]] = []
        self.server.streamed = frozenset((EACH, WATCH))
        self.server.stream_handler = self._begin
        self.transport, self.protocol = Transport(), Http2(self.server)
        self.transport.protocol = self.protocol
        self.protocol.connection_made(self.transport)
        self.say(PREFACE + frame(SETTINGS, 0, 0, b""))
        self.transport.written = b""

    def _begin(self, call: Call) -> Streaming:
        if call.headers.get("authorization") == "none":
            raise invalid("not you")
        return Streaming(each=self._each) if call.method == EACH else Streaming(watch=self._watch)

    def _each(self, call: Call, reply: Callable[[bytes | ServingError], None]) -> None:
        content = bytes(call.plain())
        call.cancel = lambda: self.cancelled.append(content)
        self.calls.append((content, reply))

    def _watch(self, call: Call, send: Callable[[bytes], None]) -> Callable[[], None]:
        if call.message == b"refused":
            raise invalid("not that")
        self.send.append(send)
        send(b"first")
        return lambda: self.send.remove(send)

    def say(self, data: bytes) -> None:
        self.protocol.data_received(data)

    def heard(self) -> list[tuple[int, int, int, bytes]]:
        """The frames since the last look."""
        found = list(frames(self.transport.written))
        self.transport.written = b""
        return found

    def messages(self) -> list[bytes]:
        return [payload[5:] for kind, _, _, payload in self.heard() if kind == DATA]


def status(found: list[tuple[int, int, int, bytes]]) -> tuple[str, str]:
    """The code and the message that a stream has ended with."""
    *_, payload = next(
        each for each in reversed(found) if each[0] == HEADERS and each[1] & END_STREAM
    )
    headers = dict(hpack.Decoder().decode(payload))
    return headers["grpc-status"], headers.get("grpc-message", "")


def within(test: Callable[[], Any]) -> Callable[[], None]:
    """A test that runs on an event loop."""

    def run() -> None:
        asyncio.run(test())

    run.__name__, run.__doc__ = test.__name__, test.__doc__
    return run


@within
async def test_answers_come_in_the_order_of_their_messages():
    client = Conversation()
    client.say(open_call(1) + b"".join(frame(DATA, 0, 1, message(b"%d" % n)) for n in range(3)))
    assert [content for content, _ in client.calls] == [b"0", b"1", b"2"]
    client.calls[2][1](b"c")
    client.calls[1][1](b"b")
    assert client.heard() == []
    client.calls[0][1](b"a")
    found = client.heard()
    assert [kind for kind, *_ in found] == [HEADERS, DATA, DATA, DATA]
    assert [payload[5:] for kind, _, _, payload in found if kind == DATA] == [b"a", b"b", b"c"]
    client.say(frame(DATA, END_STREAM, 1, message(b"last")))
    assert client.heard() == []
    client.calls[3][1](b"d")
    found = client.heard()
    assert found[0][3][5:] == b"d"
    assert status(found) == ("0", "")
    assert client.server.metrics.buffered == client.server.streaming == 0


@within
async def test_a_message_in_pieces_and_several_in_one():
    client = Conversation()
    data = message(b"long" * 100) + message(b"") + message(b"end")
    client.say(open_call(1))
    for place in range(0, len(data), 7):
        client.say(frame(DATA, 0, 1, data[place : place + 7]))
    assert [content for content, _ in client.calls] == [b"long" * 100, b"", b"end"]
    client.say(frame(DATA, PADDED, 1, b"\x05" + message(b"padded") + bytes(5)))
    assert client.calls[3][0] == b"padded"


@within
async def test_an_error_ends_a_stream_and_cancels_what_runs():
    client = Conversation()
    client.say(open_call(1) + frame(DATA, 0, 1, message(b"a") + message(b"b")))
    client.calls[0][1](invalid("no"))
    found = client.heard()
    assert status(found) == ("3", "no")
    assert found[-1][0] == RST  # the client is told to send no more
    assert client.cancelled == [b"b"]
    client.say(frame(DATA, 0, 1, message(b"late")))
    assert len(client.calls) == 2
    client.calls[1][1](b"nobody waits")
    assert client.heard() == []


@pytest.mark.parametrize(
    ("said", "code", "sentence"),
    [
        (frame(DATA, END_STREAM, 1, message(b"whole")[:-1]), "3", "ends before its message"),
        (frame(DATA, 0, 1, message(bytes(2000))), "8", "larger than 1000 bytes"),
        (frame(DATA, 0, 1, b"\x01" + message(b"no gzip")[1:]), "3", "is not gzip"),
    ],
)
def test_what_is_no_message_is_said(said, code, sentence):
    async def run() -> None:
        client = Conversation(max_body=1000)
        client.say(open_call(1, EACH, ("grpc-encoding", "gzip")) + said)
        found = status(client.heard())
        assert found[0] == code
        assert sentence in found[1]
        assert client.server.metrics.buffered == 0

    asyncio.run(run())


@within
async def test_who_may_not_call_is_told_before_a_message():
    client = Conversation()
    client.say(open_call(1, EACH, ("authorization", "none")))
    assert status(client.heard()) == ("3", "not you")
    assert client.server.streaming == 0


@within
async def test_what_a_client_sends_ahead_is_bounded_counted_and_given_back():
    client = Conversation(max_body=1 << 20, max_buffered=4 << 20)
    client.say(open_call(1))
    piece = message(bytes(10_000))
    for _ in range(100):
        client.say(frame(DATA, 0, 1, piece))
    assert len(client.calls) == calls.AT_ONCE
    held = client.server.metrics.buffered
    assert 100 * len(piece) <= held < 100 * len(piece) + 6000
    assert [kind for kind, *_ in client.heard()] == []  # no window is given back yet
    while client.calls:
        client.calls.pop(0)[1](b"x")
    found = client.heard()
    grown = sum(
        struct.unpack(">I", payload)[0] for kind, _, stream, payload in found if kind == WINDOW
    )
    assert 100 * len(piece) - calls.QUANTUM < grown <= 100 * len(piece)
    assert client.server.metrics.buffered < 6000
    # a message as large as may be fits what is left of the window
    client.say(frame(DATA, 0, 1, message(bytes(1 << 20))[: 1 << 19]))
    client.say(frame(DATA, 0, 1, message(bytes(1 << 20))[1 << 19 :]))
    assert len(client.calls) == 1


@within
async def test_memory_that_is_full_ends_a_stream():
    client = Conversation(max_body=1 << 20, max_buffered=200_000)
    client.say(open_call(1) + frame(DATA, 0, 1, message(bytes(250_000))))
    assert status(client.heard())[0] == "14"
    assert client.server.metrics.buffered == 0


@within
async def test_no_message_is_taken_while_a_client_does_not_read():
    client = Conversation()
    small = frame(SETTINGS, 0, 0, struct.pack(">HI", 4, 100))
    client.say(small + open_call(1) + frame(DATA, 0, 1, message(b"a") + message(b"b")))
    client.calls[0][1](bytes(1000))
    client.calls[1][1](b"second")
    client.say(frame(DATA, 0, 1, message(b"c")))
    assert len(client.calls) == 2
    assert client.server.metrics.buffered > 900
    assert sum(len(payload) for kind, *_, payload in client.heard() if kind == DATA) == 100
    client.say(frame(WINDOW, 0, 1, struct.pack(">I", 2000)))
    data = b"".join(payload for kind, _, _, payload in client.heard() if kind == DATA)
    assert data.endswith(message(b"second"))
    assert len(client.calls) == 3
    assert client.calls[2][0] == b"c"
    client.say(small + frame(DATA, END_STREAM, 1, b""))
    client.calls[2][1](bytes(5000))
    client.say(frame(WINDOW, 0, 1, struct.pack(">I", 10_000)))
    assert status(client.heard()) == ("0", "")  # behind what waited


@within
async def test_a_client_that_goes_cancels_what_runs():
    client = Conversation()
    client.say(open_call(1) + frame(DATA, 0, 1, message(b"a")))
    client.say(open_call(3) + frame(DATA, 0, 3, message(b"b")))
    client.say(frame(RST, 0, 1, struct.pack(">I", CANCEL)))
    assert client.cancelled == [b"a"]
    client.protocol.connection_lost(None)
    assert client.cancelled == [b"a", b"b"]
    assert client.server.metrics.buffered == client.server.streaming == 0


@within
async def test_times_are_those_of_the_call_of_a_message_and_of_its_rest():
    client = Conversation(read_time=5, request_time=60, idle_time=1000)
    now = asyncio.get_running_loop().time()
    client.say(open_call(1))
    assert client.protocol.deadline > now + 900  # it may rest
    client.say(frame(DATA, 0, 1, message(b"half")[:-1]))
    assert now + 4 < client.protocol.deadline < now + 7
    client.say(frame(DATA, 0, 1, b"f"))
    assert now + 58 < client.protocol.deadline < now + 62
    client.calls[0][1](b"x")
    assert client.protocol.deadline > now + 900
    client.say(open_call(3, EACH, ("grpc-timeout", "7S")))
    assert now + 6 < client.protocol.deadline < now + 9
    client.heard()
    client.protocol._asked.open[3].streaming._call.deadline = now - 1
    client.protocol.expired()
    assert status(client.heard())[0] == "4"
    assert set(client.protocol._asked.open) == {1}


@within
async def test_a_client_that_is_gone_without_a_word_is_noticed():
    client = Conversation(idle_time=50, read_time=5)
    client.say(open_call(1, WATCH) + frame(DATA, END_STREAM, 1, message(b"")))
    client.heard()
    client.protocol._heard -= 51
    client.protocol.expired()
    (ping,) = client.heard()
    assert ping[:2] == (PING, 0)
    client.say(frame(PING, 1, 0, ping[3]))  # it is there
    client.protocol._heard -= 51
    client.protocol.expired()
    assert [kind for kind, *_ in client.heard()] == [PING]
    client.protocol._heard -= 6
    client.protocol.expired()
    assert client.transport.closed


@within
async def test_a_watch_tells_the_last_alone_to_a_client_that_does_not_read():
    client = Conversation()
    client.say(frame(SETTINGS, 0, 0, struct.pack(">HI", 4, 12)))
    client.say(open_call(1, WATCH) + frame(DATA, END_STREAM, 1, message(b"what")))
    assert client.messages() == [b"first"]
    for number in range(1000):
        client.send[0](b"%05d" % number)
    held = client.server.metrics.buffered
    client.say(frame(WINDOW, 0, 1, struct.pack(">I", 1000)))
    data = b"".join(payload for kind, _, _, payload in client.heard() if kind == DATA)
    assert data.endswith(b"00000" + message(b"00999"))
    assert held < calls.OWN + 1000
    client.say(frame(RST, 0, 1, struct.pack(">I", CANCEL)))
    assert client.send == []


@within
async def test_a_watch_has_one_message():
    client = Conversation()
    client.say(open_call(1, WATCH) + frame(DATA, 0, 1, message(b"a") + message(b"b")))
    assert status(client.heard()) == ("3", "This call has exactly one message.")
    client.say(open_call(3, WATCH) + frame(DATA, END_STREAM, 3, b""))
    assert status(client.heard())[0] == "3"
    client.say(open_call(5, WATCH) + frame(DATA, END_STREAM, 5, message(b"refused")))
    assert status(client.heard()) == ("3", "not that")
    assert client.send == []


@within
async def test_a_connection_whose_streams_rest_gives_up_its_place():
    client = Conversation(max_connections=1)
    client.say(open_call(1, WATCH) + frame(DATA, END_STREAM, 1, message(b"")))
    client.heard()
    assert client.server.has_place()
    found = client.heard()
    assert status(found)[0] == "14"
    assert GOAWAY in [kind for kind, *_ in found]
    assert client.transport.closed
    busy = Conversation(max_connections=1)
    busy.say(open_call(1) + frame(DATA, 0, 1, message(b"a")))
    assert not busy.server.has_place()


@within
async def test_a_server_that_stops_answers_what_came_and_ends_the_streams():
    client = Conversation()
    client.say(open_call(1) + frame(DATA, 0, 1, message(b"a")))
    client.say(open_call(3, WATCH) + frame(DATA, END_STREAM, 3, message(b"")))
    client.heard()
    client.protocol.leave()
    client.say(open_call(5) + frame(DATA, 0, 5, message(b"b")))
    assert len(client.calls) == 2  # it has time yet
    client.heard()
    client.protocol.stop()
    found = client.heard()
    assert [stream for kind, _, stream, _ in found if kind == HEADERS] == [3]
    for _, reply in client.calls:
        reply(b"x")
    found = client.heard()
    assert [payload[5:] for kind, _, _, payload in found if kind == DATA] == [b"x", b"x"]
    assert status(found)[0] == "14"
    assert client.transport.closed


@within
async def test_streams_that_rest_have_a_limit():
    client = Conversation(max_buffered=8 * 3 * calls.OWN)
    for number in (1, 3, 5, 7):
        client.say(open_call(number))
    assert [status([each])[0] for each in client.heard() if each[0] == HEADERS] == ["14"]
    client.say(frame(RST, 0, 1, struct.pack(">I", CANCEL)) + open_call(9))
    assert client.server.streaming == 3


@within
async def test_tiny_messages_are_no_flood_and_give_others_their_turn():
    client = Conversation()
    client.server.stream_handler = lambda _: Streaming(
        each=lambda call, reply: reply(bytes(call.message))
    )
    client.say(open_call(1))
    client.say(b"".join(frame(WINDOW, 0, n, struct.pack(">I", 1 << 24)) for n in (0, 1)))
    client.say(frame(DATA, 0, 1, message(b"x") * 10_000))
    assert len(client.messages()) == calls.IN_A_ROW  # the rest in turns of the event loop
    for _ in range(1000):
        await asyncio.sleep(0)
    assert len(client.messages()) == 10_000 - calls.IN_A_ROW
    for _ in range(5000):
        client.say(frame(DATA, 0, 1, message(b"x")))
        await asyncio.sleep(0)
    assert len(client.messages()) == 5000


@within
async def test_a_stream_that_rested_is_given_up_at_no_cost_and_others_are_a_flood():
    client = Conversation()
    for number in range(1, 3000, 2):
        client.say(open_call(number))
        client.protocol._asked.open[number].streaming._opened -= 2 * calls.SETTLED
        client.say(frame(RST, 0, number, struct.pack(">I", CANCEL)))
    assert client.heard() == []
    for number in range(3001, 6000, 2):
        client.say(open_call(number) + frame(RST, 0, number, struct.pack(">I", CANCEL)))
    codes = [
        struct.unpack_from(">I", each[3], 4)[0] for each in client.heard() if each[0] == GOAWAY
    ]
    assert codes == [CALM]


@pytest.mark.parametrize("seed", range(40))
def test_frames_in_any_order_leave_nothing_behind(seed):
    """Calls, answers, resets, small windows and cut messages by chance: what is held is counted."""

    async def run() -> None:
        draw = random.Random(seed)
        client = Conversation(max_body=5000, max_buffered=100_000)
        client.say(frame(SETTINGS, 0, 0, struct.pack(">HI", 4, draw.choice([10, 1000, 65535]))))
        numbers: list[int] = []
        for step in range(300):
            act = draw.randrange(10)
            if act < 2 or not numbers:
                numbers.append(2 * step + 1)
                client.say(open_call(numbers[-1], draw.choice([EACH, EACH, WATCH])))
            elif act < 5:
                content = bytes(draw.choice([0, 3, 800, 6000]) if draw.random() < 0.5 else 20)
                data = message(content)[: draw.choice([None, None, 4, 7])]
                client.say(frame(DATA, draw.random() < 0.2, draw.choice(numbers[-4:]), data))
            elif act < 7 and client.calls:
                place = draw.randrange(len(client.calls))
                reply = client.calls.pop(place)[1]
                reply(invalid("no") if draw.random() < 0.1 else bytes(draw.choice([5, 3000])))
            elif act == 7:
                number = draw.choice([0, *numbers[-4:]])
                client.say(frame(WINDOW, 0, number, struct.pack(">I", draw.choice([50, 5000]))))
            elif act == 8:
                client.say(frame(RST, 0, numbers[-1], struct.pack(">I", CANCEL)))
            else:
                for send in client.send:
                    send(b"news")
            await asyncio.sleep(0)
            open_streams = client.protocol._asked.open.values()
            assert client.server.metrics.buffered == sum(stream.size for stream in open_streams)
            assert all(stream.size >= 0 for stream in open_streams)
            if client.transport.closed or client.protocol._ending:
                break
        client.protocol.connection_lost(None)
        assert client.server.metrics.buffered == client.server.streaming == 0
        assert client.send == []

    asyncio.run(run())


def test_idle_watches_hold_no_threads_and_a_drain_tells_them(start, store) -> None:
    """2,000 of them, of a real server, and what it says to each when it is to end."""
    running: Running = start(store, "--poll", "0", "--drain", "30")
    before = threads_of(running)
    sockets = [running.connect(running.grpc) for _ in range(10)]
    for each in sockets:
        asked = b"".join(
            open_call(number, "/grpc.health.v1.Health/Watch")
            + frame(DATA, END_STREAM, number, message(b""))
            for number in range(1, 401, 2)
        )
        each.sendall(PREFACE + frame(SETTINGS, 0, 0, b"") + asked)
    said = [wait_for(each, message(b"\x08\x01"), 200) for each in sockets]
    assert all(said)
    assert threads_of(running) <= before
    assert running.metric("edgeline_buffered_bytes") >= 2000 * calls.OWN
    running.process.terminate()
    assert all(wait_for(each, message(b"\x08\x02"), 200) for each in sockets)
    running.process.terminate()  # a second signal ends it
    eventually(lambda: running.process.poll() is not None)
    for each in sockets:
        each.close()


def threads_of(running: Running) -> int:
    with open(f"/proc/{running.process.pid}/status") as stream:
        (line,) = (line for line in stream if line.startswith("Threads:"))
    return int(line.split()[1])


def wait_for(connection: Any, part: bytes, number: int) -> bool:
    """Whether a part comes so many times, until nothing more does."""
    data = b""
    while data.count(part) < number:
        more = connection.recv(1 << 20)
        if not more:
            return False
        data += more
    return True
