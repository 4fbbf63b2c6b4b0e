"""Ports that are listened on, with TLS or without, and how their connections are ended."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import ipaddress
import os
import socket
import ssl
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeAlias

from edgeline.errors import EdgelineError, UsageError
from edgeline.server.handshakes import Handshakes, TlsListener
from edgeline.server.http.http1 import Http1
from edgeline.server.http.http2 import Http2
from edgeline.server.http.server import HttpServer
from edgeline.server.settings import ServerSettings

Listener: TypeAlias = asyncio.Server | TlsListener


async def bind(
    server: HttpServer, context: ssl.SSLContext | None, doing: str = "predict"
) -> list[Listener]:
    """Take the port for HTTP and gRPC, and the one for HTTP/2 alone where there is one.

    Nothing is answered before `listen`: the models are loaded between the two, for a host that is
    none of this machine and a port that is taken are said before that.

    Args:
        context: the TLS of the first of them.
        doing: what clients do here, for the sentence.

    Raises:
        EdgelineError: a port is taken.
        UsageError: the host is none of this machine, or other machines reach it and nothing says
            who of them may call.
    """
    settings = server.settings
    waiting: Handshakes = {}
    listeners = [await _bind(server, lambda: Http1(server), settings.port, context, waiting)]
    if not (settings.tokens or settings.client_ca) and _reached_by_others(listeners[0]):
        close(listeners)
        raise UsageError(
            f"--host {settings.host} is reached by other machines: give --tokens with a file of "
            f"tokens or --client-ca, or --tokens none to let all of them {doing}."
        )
    if settings.grpc_port is not None:
        import hpack  # noqa: F401  # before the first client, not with it

        context = tls(settings, ("h2",))
        port = settings.grpc_port
        try:
            listeners.append(await _bind(server, lambda: Http2(server), port, context, waiting))
        except EdgelineError:
            close(listeners)
            raise
    return listeners


async def listen(listeners: list[Listener], settings: ServerSettings) -> None:
    """Take connections.

    Raises:
        EdgelineError: another process has begun to listen on the port meanwhile.
    """
    for listener in listeners:
        port = listener.sockets[0].getsockname()[1]
        try:
            await listener.start_serving()
        except OSError as error:
            close(listeners)
            raise _refused(error, settings, port) from error


def close(listeners: list[Listener]) -> None:
    """Give the ports back."""
    for listener in listeners:
        listener.close()


async def leave(server: HttpServer, seconds: float, hurry: asyncio.Event) -> None:
    """Take requests for a while yet, but have each client ask elsewhere next time."""
    server.leaving = True
    for connection in list(server.connections):
        connection.leave()
    with contextlib.suppress(asyncio.TimeoutError):
        await asyncio.wait_for(hurry.wait(), seconds)


async def end_connections(server: HttpServer, listeners: list[Listener], limit: float) -> None:
    """Take no more connections, end those that are idle, wait for the others, then cut them."""
    server.stopping = True
    close(listeners)
    for connection in list(server.connections):
        connection.stop()
    loop = asyncio.get_running_loop()
    end = loop.time() + limit
    while server.connections and loop.time() < end:
        await asyncio.sleep(0.02)
    for connection in list(server.connections):
        connection.abort()
    await asyncio.sleep(0)


def tls(settings: ServerSettings, protocols: Sequence[str]) -> ssl.SSLContext | None:
    """The TLS that the settings ask for: at least 1.2, with client certificates if there is a CA.

    Args:
        protocols: what a port speaks, by ALPN; a client that offers several gets the first.

    Raises:
        UsageError: a file is missing or is not a certificate or key.
    """
    if settings.certificate is None or settings.key is None:
        if settings.certificate or settings.key or settings.client_ca:
            raise UsageError("TLS needs both a certificate and a key.")
        return None
    files = [file for file in (settings.certificate, settings.key, settings.client_ca) if file]
    for file in files:
        if not Path(file).exists():
            raise UsageError(f"The TLS file {file} is missing.")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.set_alpn_protocols(list(protocols))
    try:
        context.load_cert_chain(settings.certificate, settings.key)
        if settings.client_ca is not None:
            context.load_verify_locations(settings.client_ca)
            context.verify_mode = ssl.CERT_REQUIRED
    except (OSError, ssl.SSLError) as error:
        raise UsageError(f"The TLS files {', '.join(files)} cannot be used ({error}).") from error
    return context


async def _bind(
    server: HttpServer,
    protocol: Callable[[], asyncio.Protocol],
    port: int,
    context: ssl.SSLContext | None,
    waiting: Handshakes,
) -> Listener:
    settings = server.settings
    try:
        bound = await asyncio.get_running_loop().create_server(
            protocol, settings.host, port, backlog=1024, start_serving=False
        )
    except (OSError, UnicodeError) as error:  # a name that is too long, or has an empty label
        raise _refused(error, settings, port) from error
    return bound if context is None else TlsListener(server, protocol, bound, context, waiting)


def _reached_by_others(listener: Listener) -> bool:
    addresses = [found.getsockname()[0].partition("%")[0] for found in listener.sockets]
    found = [ipaddress.ip_address(address) for address in addresses]
    return not all((getattr(a, "ipv4_mapped", None) or a).is_loopback for a in found)


def _refused(error: OSError | UnicodeError, settings: ServerSettings, port: int) -> EdgelineError:
    number = getattr(error, "errno", None) or 0
    # below 0 are those of names that are looked up, which have words of their own
    reason = os.strerror(number) if number > 0 else getattr(error, "strerror", None) or error
    # another process may leave the port; a host that is not this machine stays wrong
    wrong = number in (socket.EAI_NONAME, errno.EADDRNOTAVAIL) or isinstance(error, UnicodeError)
    return (UsageError if wrong else EdgelineError)(
        f"Port {port} of {settings.host} cannot be listened on ({reason}): "
        "choose another with --port or --host."
    )
