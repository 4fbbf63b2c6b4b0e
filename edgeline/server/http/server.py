"""What all connections of a server share, and the sweep that keeps their times."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from time import monotonic
from typing import Any, Protocol

from edgeline.server.http.grpc_call import Call, Reply
from edgeline.server.http.messages import HttpRequest, HttpResponse
from edgeline.server.metrics import Metrics
from edgeline.server.settings import ServerSettings


class Connection(Protocol):
    """What the sweep sees of a connection, whatever it speaks."""

    @property
    def deadline(self) -> float:
        """Of `time.monotonic`: when its time is up."""

    def expired(self) -> None:
        """Its time is up."""

    def stop(self) -> None:
        """Finish what runs, take no more, close."""

    def abort(self) -> None:
        """Close at once."""


Handler = Callable[[HttpRequest, Callable[[HttpResponse], None]], None]
CallHandler = Callable[[Call, Reply], None]


@dataclass
class HttpServer:
    """What connections share. `handler` answers HTTP's requests and `call_handler` gRPC's calls on
    the event loop, at once or later."""

    settings: ServerSettings
    metrics: Metrics
    handler: Handler
    call_handler: CallHandler
    connections: set[Connection] = field(default_factory=set)
    stopping: bool = False

    def sweep(self) -> None:
        """Tell connections whose time is up. Called about once a second."""
        now = monotonic()
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
