"""Connections whose TLS is being agreed on: how many there may be, before they are any of HTTP's.

A client that says nothing after it has connected costs a descriptor for as long as its handshake
may take, and nobody else would be taken once they have run out. asyncio tells of a connection when
its handshake is over, so they are accepted here, and those that are under way take what places
there are among the connections.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import ssl
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from edgeline.server.http.server import HttpServer

_BACKLOG, _IN_A_ROW = 1024, 64
_PAUSE = 1.0  # seconds without new connections where the system has no descriptor for one
_FEWEST, _SHARE = 16, 8  # so many, or a part of all places, are always there: to say all are taken
_YOUNG, _LOOK = 1.0, 0.05  # seconds that a handshake always has, and between two looks for a place
log = logging.getLogger("edgeline.server")

# when each began, in that order, and what ends it
Handshakes: TypeAlias = dict[socket.socket, tuple[float, "asyncio.Task[None]"]]


class TlsListener:
    """Sockets that are listened on by TLS; like an `asyncio.Server`.

    Where there are too many handshakes, a new one takes the place of that which began first, or
    waits while that has only begun.
    """

    def __init__(
        self,
        server: HttpServer,
        protocol: Callable[[], asyncio.Protocol],
        bound: asyncio.Server,
        context: ssl.SSLContext,
        waiting: Handshakes,
    ) -> None:
        """`bound` has the sockets, and is not started itself; `waiting` is that of all ports."""
        self._server, self._protocol, self._bound, self._context = server, protocol, bound, context
        self._loop = asyncio.get_running_loop()
        self._listening: list[socket.socket] = []
        self._waiting = waiting

    @property
    def sockets(self) -> Sequence[Any]:
        """What is listened on."""
        return self._bound.sockets

    async def start_serving(self) -> None:
        """Take connections.

        Raises:
            OSError: another process listens on the port.
        """
        for found in self._bound.sockets:
            listening = socket.socket(fileno=os.dup(found.fileno()))
            self._listening.append(listening)
            listening.setblocking(False)
            listening.listen(_BACKLOG)
            self._loop.add_reader(listening.fileno(), self._accept, listening)

    def close(self) -> None:
        """Take no more, and end the handshakes that are under way."""
        for listening in self._listening:
            self._loop.remove_reader(listening.fileno())
            listening.close()
        self._listening.clear()
        self._bound.close()
        for connection in list(self._waiting):
            self._end(connection)

    def _accept(self, listening: socket.socket) -> None:
        for _ in range(_IN_A_ROW):
            if not self._has_place():
                self._pause(listening, _LOOK)
                return
            try:
                connection, _address = listening.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:  # no descriptor or memory is left: others may be given back
                log.error("No connection is taken for %g s: %s.", _PAUSE, error.strerror)
                self._pause(listening, _PAUSE)
                return
            connection.setblocking(False)
            task = self._loop.create_task(self._agree(connection))
            self._waiting[connection] = self._loop.time(), task

    def _pause(self, listening: socket.socket, seconds: float) -> None:
        self._loop.remove_reader(listening.fileno())
        self._loop.call_later(seconds, self._go_on, listening)

    def _go_on(self, listening: socket.socket) -> None:
        if listening in self._listening:
            self._loop.add_reader(listening.fileno(), self._accept, listening)

    def _has_place(self) -> bool:
        """Whether there is a place for one more handshake, or an old one has given up its own."""
        most = self._server.settings.max_connections
        places = max(most - len(self._server.connections), most // _SHARE, _FEWEST)
        if len(self._waiting) < places:
            return True
        first, (began, _) = next(iter(self._waiting.items()))
        if self._loop.time() - began < _YOUNG:
            return False
        self._end(first)
        return True

    async def _agree(self, connection: socket.socket) -> None:
        try:
            await self._loop.connect_accepted_socket(
                self._protocol,
                connection,
                ssl=self._context,
                ssl_handshake_timeout=self._server.settings.read_time,
            )
        except OSError as error:  # the client left, spoke no TLS, or took too long
            log.debug("A TLS handshake failed: %s", error)
        finally:
            self._waiting.pop(connection, None)

    def _end(self, connection: socket.socket) -> None:
        """End a handshake, as its client could."""
        del self._waiting[connection]
        try:
            connection.shutdown(socket.SHUT_RDWR)
        except OSError:
            return  # the client was faster
