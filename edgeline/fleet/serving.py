"""Start the fleet's server, and stop it kindly: what waits to be kept is kept."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import resource
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from edgeline.errors import UsageError
from edgeline.fleet import database, drops
from edgeline.fleet.app import FleetApp
from edgeline.fleet.enrolment import FleetRegister
from edgeline.server import access, event_loop, periodic
from edgeline.server.ending import on_signal
from edgeline.server.errors import Code, ServingError
from edgeline.server.http.server import HttpServer
from edgeline.server.listening import bind, end_connections, listen, tls
from edgeline.server.memory import limit_heaps, return_freed
from edgeline.server.metrics import Metrics
from edgeline.server.settings import ServerSettings
from edgeline.server.watching.logs import AccessLog

log = logging.getLogger("edgeline.fleet")
_END_TIME = 15.0  # seconds after which what does not stop by itself is ended
_OWN_FILES = 64  # open files beside connections


@dataclass(frozen=True)
class FleetSettings:
    """What `edgeline fleet serve` is given.

    Attributes:
        state: the folder of what has to survive a restart.
        http: the address, the limits, tokens and TLS, as of `edgeline serve`.
        database: a PostgreSQL database in place of the folder's file; None: without.
        rate: requests per second of one client.
        most_devices: that are enrolled.
        drops: a folder or bucket that is read, too; None: without.
        drop_poll: seconds between two looks into it.
    """

    state: Path
    http: ServerSettings
    database: str | None = None
    rate: float = 500.0
    most_devices: int = 100_000
    drops: str | None = None
    drop_poll: float = 30.0


def serve(settings: FleetSettings, started: Callable[[int], None] | None = None) -> None:
    """Take statuses until SIGTERM or SIGINT.

    Args:
        started: called with the port.

    Raises:
        EdgelineError: the state is another server's or cannot be read, or the port is taken.
        UsageError: other machines reach it, and nothing says who may read.
    """
    limit_heaps()
    _allow_files(settings.http.max_connections + _OWN_FILES)
    reader = drops.open_drops(settings.drops) if settings.drops else None
    with contextlib.closing(database.connect(settings.state, settings.database)) as base:
        event_loop.run(_serve(FleetRegister(base), settings, reader, base.place, started))


def _allow_files(count: int) -> None:
    """Allow this process as many open files as connections are."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < count:
        if hard != resource.RLIM_INFINITY and hard < count:
            raise UsageError(
                f"--max-connections needs {count} open files, and {hard} are allowed: give fewer, "
                "or raise the limit (ulimit -n)."
            )
        resource.setrlimit(resource.RLIMIT_NOFILE, (count, hard))


async def _serve(
    register: FleetRegister,
    settings: FleetSettings,
    reader: drops.DropFolder | None,
    place: str,
    started: Callable[[int], None] | None,
) -> None:
    http, stop = settings.http, asyncio.Event()
    scheme = "https" if http.certificate else "http"
    allowed = access.read(http.token_file, http.own_names, scheme)
    app = FleetApp(register, allowed, settings.rate, settings.most_devices)
    every = AccessLog(http.access_log) if http.access_log else None
    server = HttpServer(
        http,
        Metrics(),
        lambda request, reply: app.http(request, every.http(request, reply) if every else reply),
        lambda _, reply: reply(ServingError(Code.UNIMPLEMENTED, "Statuses come by HTTP.")),
    )
    with on_signal(stop.set, http.stop_time + _END_TIME):
        listeners = await bind(server, tls(http, ("h2", "http/1.1")), "see the fleet")
        await listen(listeners, http)
        return_freed()
        port = listeners[0].sockets[0].getsockname()[1]
        log.info("Taking statuses of %d devices of %s on port %d.", len(app.state), place, port)
        if started is not None:
            started(port)
        tasks = [asyncio.ensure_future(periodic.sweep(server, lambda: None))]
        if reader is not None:
            tasks.append(asyncio.ensure_future(drops.follow(reader, app, settings.drop_poll)))
        await stop.wait()
        log.info("Stopping: what waits is kept.")
        await end_connections(server, listeners, http.stop_time)
        for task in tasks:
            task.cancel()
        await app.close()
