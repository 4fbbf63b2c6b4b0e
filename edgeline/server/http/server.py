"""What all connections of a server share, and the sweep that keeps their times."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from time import gmtime, monotonic
from typing import Any, Protocol

from edgeline.server.http.allowance import Allowance
from edgeline.server.http.grpc_call import Call, Reply
from edgeline.server.http.messages import HttpRequest, HttpResponse
from edgeline.server.http.streaming import OWN, Streaming
from edgeline.server.metrics import Metrics
from edgeline.server.settings import ServerSettings

# requests that one client gives up, at once and a second; and clients of which that is known
_RESETS, _RESETS_RATE, _PEERS = 1000, 100, 1024
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = (
    *("Jan", "Feb", "Mar", "Apr", "May", "Jun"),
    *("Jul", "Aug", "Sep", "Oct", "Nov", "Dec"),
)


class Connection(Protocol):
    """What the sweep sees of a connection, whatever it speaks."""

    @property
    def deadline(self) -> float:
        """Of `time.monotonic`: when its time is up."""

    @property
    def is_idle(self) -> bool:
        """Whether nothing is asked and nothing answered."""

    def expired(self) -> None:
        """Its time is up."""

    def leave(self) -> None:
        """Have the client ask elsewhere next time."""

    def stop(self) -> None:
        """Finish what runs, take no more, close."""

    def abort(self) -> None:
        """Close at once."""


Handler = Callable[[HttpRequest, Callable[[HttpResponse], None]], None]
CallHandler = Callable[[Call, Reply], None]
StreamHandler = Callable[[Call], Streaming]


@dataclass
class HttpServer:
    """What connections share. `handler` answers HTTP's requests and `call_handler` gRPC's unary
    calls on the event loop, at once or later. `stream_handler` says how a call's messages are
    answered one by one, where its path is among `streamed`; it raises a `ServingError` to refuse
    it."""

    settings: ServerSettings
    metrics: Metrics
    handler: Handler
    call_handler: CallHandler
    stream_handler: StreamHandler = lambda _: Streaming()
    streamed: frozenset[str] = frozenset()
    streaming: int = 0  # calls of many messages that are open
    connections: set[Connection] = field(default_factory=set)
    leaving: bool = False  # what is answered is the last of its connection
    stopping: bool = False
    date: bytes = field(default_factory=lambda: date_now())
    _resets: dict[str, Allowance] = field(default_factory=dict)

    def add(self, connection: Connection) -> None:
        """A client has connected."""
        self.connections.add(connection)
        self.metrics.connections = len(self.connections)

    def remove(self, connection: Connection) -> None:
        """A connection is no more."""
        self.connections.discard(connection)
        self.metrics.connections = len(self.connections)

    def has_place(self) -> bool:
        """Whether one more connection is taken. Where all places are, an idle one gives up its own:
        that whose time would be up first."""
        if self.stopping:
            return False
        if len(self.connections) < self.settings.max_connections:
            return True
        idle = [connection for connection in self.connections if connection.is_idle]
        if not idle:
            return False
        first = min(idle, key=lambda connection: connection.deadline)
        self.remove(first)
        first.stop()
        return True

    @property
    def may_stream(self) -> bool:
        """Whether one more stream of messages is taken: all of them together, while they rest, may
        cost an eighth of the memory for requests."""
        return self.streaming * OWN < self.settings.max_buffered // 8

    def resets_of(self, peer: str) -> Allowance:
        """What a client may give up of what it asks, over all its connections."""
        if peer not in self._resets and len(self._resets) >= _PEERS:
            full = [each for each, left in self._resets.items() if left.is_full]
            for each in full or list(self._resets)[: _PEERS // 2]:
                del self._resets[each]
        return self._resets.setdefault(peer, Allowance(_RESETS, _RESETS_RATE))

    def sweep(self) -> None:
        """Tell connections whose time is up. Called about once a second."""
        now = monotonic()
        self.date = date_now()
        for connection in list(self.connections):
            if connection.deadline < now:
                connection.expired()


def peer_of(transport: Any) -> str:
    """The client's address, or the subject of its certificate."""
    if certificate := transport.get_extra_info("peercert"):
        subject = {key: value for part in certificate.get("subject", ()) for key, value in part}
        return "tls:" + str(subject.get("commonName", ""))
    address = transport.get_extra_info("peername")
    return str(address[0]) if isinstance(address, tuple) and address else "unix"


def date_now() -> bytes:
    """The time as a Date header has it (RFC 9110, section 5.6.7), in English whatever the locale.

    By hand: `email.utils` is 1 MB of memory for this line.
    """
    now = gmtime()
    day, month = _DAYS[now.tm_wday], _MONTHS[now.tm_mon - 1]
    clock = f"{now.tm_hour:02}:{now.tm_min:02}:{now.tm_sec:02}"
    return f"{day}, {now.tm_mday:02} {month} {now.tm_year} {clock} GMT".encode()
