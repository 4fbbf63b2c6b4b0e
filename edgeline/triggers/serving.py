"""Start the server of triggers, and stop it kindly: runs that have begun go on without it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edgeline.errors import EdgelineError, UsageError
from edgeline.monitoring.cloud_events import read_key
from edgeline.pipelines import catalogue
from edgeline.pipelines.parameters import parameters_of
from edgeline.server import access, periodic
from edgeline.server.ending import on_signal
from edgeline.server.errors import Code, ServingError
from edgeline.server.http.server import HttpServer
from edgeline.server.listening import bind, end_connections, listen, tls
from edgeline.server.metrics import Metrics
from edgeline.server.settings import NO_TOKENS, ServerSettings
from edgeline.server.watching.logs import AccessLog
from edgeline.server.watching.mqtt_broker import MqttBroker
from edgeline.triggers import launching, rules
from edgeline.triggers.app import TriggerApp
from edgeline.triggers.here import LocalLauncher, pipeline_of
from edgeline.triggers.launching import Launcher
from edgeline.triggers.rules import TriggerFile
from edgeline.triggers.runner import FiringRunner
from edgeline.triggers.steady_time import SteadyTime
from edgeline.triggers.store import Firing, TriggerStore
from edgeline.triggers.subscribing import EventSubscriber
from edgeline.triggers.there import ServerLauncher

if TYPE_CHECKING:
    from edgeline.server.fleet.device_keys import DeviceKeys

log = logging.getLogger("edgeline.triggers")
_END_TIME = 15.0  # seconds after which what does not stop by itself is ended


@dataclass(frozen=True)
class TriggerSettings:
    """What `edgeline triggers serve` is given beside the file.

    Attributes:
        state: the folder of what has to survive a restart.
        http: the address, the limits, tokens and TLS, as of `edgeline serve`.
        keys: files with keys, one of which has signed each event.
        rate: requests with events per second of one client, and events of one device by MQTT.
        devices: a file with the keys of devices, or the address of their fleet's server; with it,
            what is of a device is signed by that device. None: without.
        fleet_token: a bearer token of the scope `read` for that server; empty: none.
        mqtt: a broker that events come from, too; None: they come by HTTP alone.
    """

    state: Path
    http: ServerSettings
    keys: tuple[str, ...] = ()
    rate: float = 50.0
    devices: str | None = None
    fleet_token: str = ""
    mqtt: MqttBroker | None = None


def read(path: Path) -> TriggerFile:
    """The rules of a file, each with a pipeline that takes its parameters.

    Raises:
        EdgelineError: as `rules.read`; a pipeline does not load; a parameter is wrong.
    """
    declared = rules.read(path)
    for rule in declared.rules:
        try:
            definition = catalogue.load(pipeline_of(rule.run.pipeline, path.parent))
            launching.check(rule, definition)
            if why := launching.uncompared(rule, parameters_of(definition)):
                log.warning("%s", why)
        except EdgelineError as error:
            raise UsageError(f"{path}: {error}") from error
        if (data := rule.run.data) is not None:
            for name in ("base", "payloads", "labels"):
                if not (path.parent / getattr(data, name)).exists():
                    what = f"run.data.{name} {getattr(data, name)} does not exist"
                    raise UsageError(f"{path}: rule {rule.name!r}: {what}: make it first.")
    return declared


def serve(
    path: Path, settings: TriggerSettings, started: Callable[[int], None] | None = None
) -> None:
    """Take events until SIGTERM or SIGINT.

    Args:
        path: the triggers file.
        started: called with the port.

    Raises:
        EdgelineError: as `read`; the state is another server's, or the port is taken.
        UsageError: other machines could start runs without a key and without a token.
    """
    declared = read(path)
    keys = tuple(key for file in settings.keys if (key := read_key(file)) is not None)
    if settings.http.tokens == NO_TOKENS and not keys and settings.devices is None:
        raise UsageError(
            "With --tokens none and without --webhook-key anybody could start runs: give the key "
            "that signs events, those of devices, or a file of tokens."
        )
    devices = None
    if settings.devices is not None:
        from edgeline.server.fleet.device_keys import DeviceKeys  # and a library of signatures

        devices = DeviceKeys(
            settings.devices, settings.fleet_token, settings.state / "device-keys.json"
        )
    steady = SteadyTime(declared.max_ahead, declared.max_age + declared.max_ahead)
    store = TriggerStore(declared, settings.state, steady=steady)
    with contextlib.closing(store):
        asyncio.run(_serve(declared, store, path, settings, keys, devices, started))


def launchers(state: Path, beside: Path) -> Callable[[Firing], Launcher]:
    """What gives the launcher of a run."""
    here, there = LocalLauncher(state, beside), dict[tuple[str, str], ServerLauncher]()

    def of(firing: Firing) -> Launcher:
        order = firing.ordered.run
        if order.is_here:
            return here
        key = order.where, order.namespace
        return there.setdefault(key, ServerLauncher(*key, beside))

    return of


async def _serve(
    declared: TriggerFile,
    store: TriggerStore,
    path: Path,
    settings: TriggerSettings,
    keys: Sequence[bytes],
    devices: DeviceKeys | None,
    started: Callable[[int], None] | None,
) -> None:
    http, stop = settings.http, asyncio.Event()
    runner = FiringRunner(store, launchers(settings.state, path.parent), declared.keep_runs)
    scheme = "https" if http.certificate else "http"
    allowed = access.read(http.token_file, http.own_names, scheme)
    app = TriggerApp(store, runner, allowed, http, keys, settings.rate, devices)
    subscriber = None
    if settings.mqtt is not None:
        remembered = declared.max_age + declared.max_ahead
        subscriber = EventSubscriber(
            *(settings.mqtt, store, keys, runner.wake, settings.state, remembered),
            settings.rate,
        )
        app.more = subscriber.lines
    every = AccessLog(http.access_log) if http.access_log else None
    server = HttpServer(
        http,
        Metrics(),
        lambda request, reply: app.http(request, every.http(request, reply) if every else reply),
        lambda _, reply: reply(ServingError(Code.UNIMPLEMENTED, "Events come by HTTP.")),
    )
    with on_signal(stop.set, http.stop_time + _END_TIME):
        listeners = await bind(server, tls(http, ("h2", "http/1.1")), "start runs")
        runner.start()
        await listen(listeners, http)
        port = listeners[0].sockets[0].getsockname()[1]
        log.info("Taking events for %d rules of %s on port %d.", len(store.rules), path, port)
        if started is not None:
            started(port)
        if subscriber is not None:
            subscriber.start()
        sweeping = asyncio.ensure_future(periodic.sweep(server, lambda: None))
        await stop.wait()
        log.info("Stopping: what runs goes on, and is found at the next start.")
        await end_connections(server, listeners, http.stop_time)
        sweeping.cancel()
        if subscriber is not None:
            await asyncio.to_thread(subscriber.stop)
        app.close()
        await asyncio.to_thread(runner.stop, _END_TIME)
