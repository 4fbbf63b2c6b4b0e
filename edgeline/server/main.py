"""Start a server, keep its models fresh, stop it kindly."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import errno
import gc
import logging
import os
import random
import socket
import ssl
import sys
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from edgeline.errors import EdgelineError, UsageError
from edgeline.server import access
from edgeline.server.app import App
from edgeline.server.ending import on_signal
from edgeline.server.http.http1 import Http1
from edgeline.server.http.http2 import Http2
from edgeline.server.http.server import Server
from edgeline.server.metrics import Metrics
from edgeline.server.models.model import Description, Observer
from edgeline.server.protocols import routes
from edgeline.server.routing import Router
from edgeline.server.settings import Settings
from edgeline.server.state import ServerState
from edgeline.server.threads import apart
from edgeline.server.updates.updates import Updates
from edgeline.server.versions import trial
from edgeline.server.versions.forkserver import ForkServer
from edgeline.server.versions.repository import Repository
from edgeline.server.watching.alerts import Alerts
from edgeline.server.watching.delivery import Delivery, check_url, read_key
from edgeline.server.watching.drift_watch import Watching
from edgeline.server.watching.recent import Recent

log = logging.getLogger("edgeline.server")
_M_ARENA_MAX = -8
_FLUSH_TIME = 5.0  # seconds for events that wait when the server stops
_END_TIME = 15.0  # seconds after which what does not stop by itself is ended
T = TypeVar("T")


def serve(
    path: str | Path,
    settings: Settings | None = None,
    started: Callable[[int, int | None], None] | None = None,
    forks: ForkServer | None = None,
) -> None:
    """Serve the models of a path until SIGTERM or SIGINT.

    Args:
        path: a bundle, a store of bundles, or `.tflite` files (see `sources`); with a trusted
            root in the settings a signed repository (see `updates`).
        settings: what differs from the defaults.
        started: called with the HTTP and the gRPC port once the models are warm.
        forks: what has children in which models are tried; by default one is begun when needed.

    Raises:
        EdgelineError: the path holds no model that works, a port is taken, or a file of the
            settings is missing or malformed.
    """
    _few_arenas()
    with contextlib.closing(forks or ForkServer(trial.MODULE)) as forks:
        _run(_serve(str(path), settings or Settings(), started, forks))


def tls(settings: Settings, protocols: Sequence[str]) -> ssl.SSLContext | None:
    """The TLS that the settings ask for: at least 1.2, with client certificates if there is a CA.

    Args:
        protocols: what a port speaks, by ALPN; a client that offers several gets the first.

    Raises:
        UsageError: a file is missing or is no certificate or key.
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


async def _serve(
    path: str,
    settings: Settings,
    started: Callable[[int, int | None], None] | None,
    forks: ForkServer,
) -> None:
    if settings.state and Path(settings.state).exists() and not Path(settings.state).is_dir():
        raise UsageError(f"--state {settings.state} is a file: name a folder.")
    stop = asyncio.Event()
    with on_signal(stop.set, settings.stop_time + _END_TIME):
        if path.startswith("oci://"):
            from edgeline.server.updates import oci

            fetched = await _unless(stop, apart(oci.fetch, path, settings.state))
            if fetched is None:
                return
            path = str(fetched)
        await _serve_until(stop, path, settings, started, forks)


async def _serve_until(
    stop: asyncio.Event,
    path: str,
    settings: Settings,
    started: Callable[[int, int | None], None] | None,
    forks: ForkServer,
) -> None:
    metrics = Metrics()
    updates = _updates(path, settings)
    repository = Repository(updates.models if updates else Path(path), settings, metrics, forks)
    webhook = _webhook(settings)
    watching = Watching(settings, repository.serving, Alerts(webhook).told)
    payloads = None
    if settings.payloads:
        from edgeline.server.watching.payloads import Payloads  # 1 MB that most servers do without

        payloads = Payloads(settings)
    told = (watching, webhook, payloads)
    metrics.others += [teller.lines for teller in told if teller is not None]

    def observers(description: Description) -> tuple[Observer, ...]:
        key = description.name, description.version
        found = [
            watching.observer(*key, description.reference),
            payloads.observer(description) if payloads else None,
        ]
        return tuple(observer for observer in found if observer is not None)

    repository.observers = observers
    own = access.read(settings.tokens, settings.own_names)
    state = ServerState(settings, repository, metrics, own, Recent(metrics))
    app = App(state, Router(routes.tables(state, watching, updates)), routes.methods(state))
    server = Server(settings, metrics, app.http, app.grpc)
    # HTTP/2 is for gRPC, whose clients offer nothing else: browsers and curl offer both
    context = tls(settings, ("http/1.1", "h2"))

    look: Callable[[], Awaitable[Any]] = partial(repository.refresh, wait=0)
    if updates is not None:
        updates.attach(repository)
        metrics.others.append(updates.lines)
        look = updates.look
    if await _unless(stop, _begin(path, repository, updates)) is None:
        repository.close()
        return
    _give_back()
    listeners = [await _listen(lambda: Http1(server), settings, settings.port, context)]
    if settings.grpc_port is not None:
        import hpack  # noqa: F401  # before the first client, not with it

        context = tls(settings, ("h2",))
        listeners.append(
            await _listen(lambda: Http2(server), settings, settings.grpc_port, context)
        )
    ports = [listener.sockets[0].getsockname()[1] for listener in listeners]
    log.info("Serving %s on port %s.", path, " and ".join(map(str, ports)))
    if started is not None:
        started(ports[0], ports[1] if len(ports) > 1 else None)

    tasks = [asyncio.ensure_future(_sweep(server)), asyncio.ensure_future(_decide(state))]
    if settings.every:
        due = updates is not None and not updates.looked
        tasks.append(asyncio.ensure_future(_poll(look, pauses(settings.every, due))))
    await stop.wait()
    log.info("Stopping: requests have %g s to end.", settings.stop_time)
    for task in tasks[1:]:
        task.cancel()
    await _stop(server, listeners, settings.stop_time)
    tasks[0].cancel()
    repository.close()
    watching.close()
    for kept in (webhook, payloads):
        if kept is not None:
            await apart(kept.close, _FLUSH_TIME)


async def _begin(path: str, repository: Repository, updates: Updates | None) -> bool:
    """Bring the first models up; true.

    Raises:
        EdgelineError: there is none that works.
    """
    if updates is not None:
        await updates.restore()
    await repository.begin()
    if updates is not None and not any(repository.serving()):
        found = await updates.look()
        if not repository.models:
            raise EdgelineError(
                f"{path} has brought no model, and none is on the disk: "
                + (found["sentence"] or "it has none.")
            )
    if not repository.models:
        raise UsageError(f"{path} holds no model: give a bundle, a store or a .tflite file.")
    if not any(repository.serving()):
        raise EdgelineError(" ".join(e["reason"] for e in repository.index() if e["reason"]))
    return True


async def _unless(stop: asyncio.Event, doing: Coroutine[Any, Any, T]) -> T | None:
    """What a coroutine gives; None where the server is told to stop before, which ends it."""
    task, stopped = asyncio.ensure_future(doing), asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait([task, stopped], return_when=asyncio.FIRST_COMPLETED)
        return task.result() if task.done() else None
    finally:
        task.cancel()
        stopped.cancel()


def _updates(path: str, settings: Settings) -> Updates | None:
    if settings.root is not None:
        return Updates(path, settings)
    if "://" in path or (Path(path) / "metadata").is_dir():
        raise UsageError(
            f"{path} is a repository: give the root that is trusted with --root, and --state."
        )
    return None


def _webhook(settings: Settings) -> Delivery | None:
    key = read_key(settings.webhook_key)
    if settings.webhook is None:
        return None
    return Delivery("webhook", check_url(settings.webhook, "webhook"), key)


async def _listen(
    protocol: Callable[[], asyncio.Protocol],
    settings: Settings,
    port: int,
    context: ssl.SSLContext | None,
) -> asyncio.Server:
    loop = asyncio.get_running_loop()
    handshake = settings.read_time if context else None
    try:
        return await loop.create_server(
            protocol,
            settings.host,
            port,
            ssl=context,
            backlog=1024,
            ssl_handshake_timeout=handshake,
        )
    except OSError as error:
        number = error.errno or 0
        reason = os.strerror(number) if number > 0 else str(error)  # names are looked up below 0
        # another process may leave the port; a host that is not this machine stays wrong
        wrong = number in (socket.EAI_NONAME, errno.EADDRNOTAVAIL)
        raise (UsageError if wrong else EdgelineError)(
            f"Port {port} of {settings.host} cannot be listened on ({reason}): "
            "choose another with --port or --host."
        ) from error


async def _stop(server: Server, listeners: list[asyncio.Server], limit: float) -> None:
    """Take no more connections, end those that are idle, wait for the others, then cut them."""
    server.stopping = True
    for listener in listeners:
        listener.close()
    for connection in list(server.connections):
        connection.stop()
    loop = asyncio.get_running_loop()
    end = loop.time() + limit
    while server.connections and loop.time() < end:
        await asyncio.sleep(0.02)
    for connection in list(server.connections):
        connection.abort()
    await asyncio.sleep(0)


async def _sweep(server: Server) -> None:
    while True:
        await asyncio.sleep(1.0)
        try:
            server.sweep()
        except Exception:
            log.exception("The sweep failed.")


async def _decide(state: ServerState) -> None:
    while True:
        await asyncio.sleep(1.0)
        try:
            state.recent.sample(state.repository.serving())
            await state.repository.watch()
            await state.repository.decide()
        except EdgelineError as error:
            log.error("%s What is loaded stays.", error)
        except Exception:
            log.exception("Judging the versions failed.")


def pauses(every: float, due: bool) -> Iterator[float]:
    """Seconds before each look at the models: a fleet must not ask in chorus.

    Args:
        every: the time between two looks.
        due: whether this device has not looked since it started. After a power cut a whole fleet
            starts at once; its first looks are spread over all of that time.
    """
    if due:
        yield every * random.random()
    while True:
        yield every * random.uniform(0.9, 1.1)


async def _poll(look: Callable[[], Awaitable[Any]], times: Iterator[float]) -> None:
    for pause in times:
        await asyncio.sleep(pause)
        try:
            await look()
        except EdgelineError as error:
            log.error("%s What is loaded stays.", error)
        except Exception:
            log.exception("Looking for models failed; what is loaded stays.")


def _few_arenas() -> None:
    """Let all threads share two of glibc's heaps: each of its own keeps what it once held."""
    with contextlib.suppress(OSError, AttributeError):  # another C library
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 2)


def _give_back() -> None:
    """Hand to the system what imports and loading have freed."""
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def _run(main: Coroutine[Any, Any, None]) -> None:
    try:
        import uvloop
    except ImportError:
        asyncio.run(main)
        return
    if sys.version_info >= (3, 11):
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(main)
    else:
        uvloop.install()
        asyncio.run(main)
