"""Start a server, keep its models fresh, stop it kindly."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

from edgeline.errors import UsageError, at_path
from edgeline.server import event_loop, periodic, upkeep
from edgeline.server.ending import on_signal
from edgeline.server.listening import bind, close, end_connections, leave, listen, tls
from edgeline.server.memory import limit_heaps, return_freed
from edgeline.server.parts import put_together
from edgeline.server.settings import ServerSettings
from edgeline.server.threads import apart
from edgeline.server.versions import trial
from edgeline.server.versions.forkserver import ForkServer

log = logging.getLogger("edgeline.server")
_END_TIME = 15.0  # seconds after which what does not stop by itself is ended
_LOOK = 0.1  # seconds between two looks for a path that comes later
T = TypeVar("T")


def serve(
    path: str | Path,
    settings: ServerSettings | None = None,
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
    limit_heaps()
    with contextlib.closing(forks or ForkServer(trial.MODULE)) as forks:
        event_loop.run(_serve(str(path), settings or ServerSettings(), started, forks))


async def _serve(
    path: str,
    settings: ServerSettings,
    started: Callable[[int, int | None], None] | None,
    forks: ForkServer,
) -> None:
    if settings.state and Path(settings.state).exists() and not Path(settings.state).is_dir():
        raise UsageError(f"--state {settings.state} is a file: name a folder.")
    stop, hurry = asyncio.Event(), asyncio.Event()

    def signalled() -> None:
        (hurry if stop.is_set() else stop).set()

    with on_signal(signalled, settings.drain + settings.stop_time + _END_TIME):
        if path.startswith("oci://"):
            from edgeline.server.updates import oci

            fetched = await _unless(stop, apart(oci.fetch, path, settings.state))
            if fetched is None:
                return
            path = str(fetched)
        elif comes_later():
            there = await _unless(stop, _there(Path(path)))
            if there is None:
                return
        await _serve_until(stop, hurry, path, settings, started, forks)


def comes_later() -> bool:
    """Whether the path may come after the start: KServe says so where a container beside this one
    brings it (a modelcar)."""
    return os.environ.get("MODEL_INIT_MODE") == "async"


async def _there(path: Path) -> Path:
    """The path, once it is there."""
    if not path.exists():
        log.info("Waiting for %s, which comes later by MODEL_INIT_MODE=async.", path)
    while not path.exists():
        await asyncio.sleep(_LOOK)
    return path


async def _serve_until(
    stop: asyncio.Event,
    hurry: asyncio.Event,
    path: str,
    settings: ServerSettings,
    started: Callable[[int, int | None], None] | None,
    forks: ForkServer,
) -> None:
    parts = put_together(path, settings, forks)
    if settings.state:
        _check_there(Path(settings.state))
    context = tls(settings, ("h2", "http/1.1"))
    listeners = await bind(parts.server, context)
    try:
        begun = await _unless(stop, upkeep.begin(path, parts))
    except BaseException:
        close(listeners)
        raise
    if begun is None:
        close(listeners)
        parts.state.repository.close()
        return
    return_freed()
    await listen(listeners, settings)
    ports = [listener.sockets[0].getsockname()[1] for listener in listeners]
    log.info("Serving %s on port %s.", path, " and ".join(map(str, ports)))
    if started is not None:
        started(ports[0], ports[1] if len(ports) > 1 else None)

    sweeping = asyncio.ensure_future(periodic.sweep(parts.server, parts.health.tell))
    tasks = [asyncio.ensure_future(doing) for doing in upkeep.doings(parts)]
    await stop.wait()
    if settings.drain:
        log.info("Leaving: not ready, and requests are taken for %g s more.", settings.drain)
        parts.state.served.leaving = True
        parts.health.tell()
        await leave(parts.server, settings.drain, hurry)
    log.info("Stopping: requests have %g s to end.", settings.stop_time)
    for task in tasks:
        task.cancel()
    await end_connections(parts.server, listeners, settings.stop_time)
    sweeping.cancel()
    await parts.close()


def _check_there(state: Path) -> None:
    """Whether the state folder is there or can be made.

    A full disk, or one that became read-only, is no reason not to serve what is on it: that is said
    where something is to be written.

    Raises:
        UsageError: it cannot be made.
    """
    try:
        state.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        sentence = f"--state {state} cannot be written ({error.strerror}): give another folder."
        if isinstance(found := at_path(error, sentence), UsageError):
            raise found from error


async def _unless(stop: asyncio.Event, doing: Coroutine[Any, Any, T]) -> T | None:
    """What a coroutine gives; None where the server is told to stop before, which ends it."""
    task, stopped = asyncio.ensure_future(doing), asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait([task, stopped], return_when=asyncio.FIRST_COMPLETED)
        return task.result() if task.done() else None
    finally:
        task.cancel()
        stopped.cancel()
