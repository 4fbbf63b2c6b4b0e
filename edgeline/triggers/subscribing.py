"""Events from an MQTT broker: what devices publish as PREFIX/DEVICE/MODEL/alerts.

An event is acknowledged once it is kept, so that a broker that keeps sessions brings those that
came while the server was away. Its `source` has to be of the device that its topic names: a broker
that lets each device publish below its own name thereby vouches for it. With keys it is taken only
with the user property `X-Hub-Signature-256`, as `edgeline serve --webhook-key` signs.
"""

from __future__ import annotations

import hashlib
import logging
import socket
import sqlite3
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from time import time
from typing import Any
from urllib.parse import unquote

from edgeline.server.errors import Code, ServingError, invalid
from edgeline.server.watching.mqtt_broker import KEEP_ALIVE, MqttBroker
from edgeline.triggers import events
from edgeline.triggers.events import LARGEST, SIGNATURE, STRUCTURED, CloudEvent
from edgeline.triggers.store import FULL, RESULTS, TriggerStore

log = logging.getLogger("edgeline.triggers")
REFUSED = "refused"
PAUSE = 5.0  # seconds until what could not be kept is tried again
_NAMES = 23  # characters of a client's name that each broker takes


class EventSubscriber:
    """Takes the events of a broker in Paho's thread. `results` counts them by what came of them."""

    def __init__(
        self,
        broker: MqttBroker,
        store: TriggerStore,
        keys: Sequence[bytes],
        wake: Callable[[], None],
        state: Path,
        remembered: float,
    ) -> None:
        """
        Args:
            keys: one of which has signed each event; none: the broker vouches for them.
            wake: called when something was kept.
            state: the folder of the server, by which the broker knows it again.
            remembered: seconds for which the broker keeps events while the server is away.
        """
        self.results: Counter[str] = Counter()
        self.connected = False
        self._broker, self._store, self._keys, self._wake = broker, store, keys, wake
        self._remembered, self._told = int(remembered), ""
        self._stopping = threading.Event()
        known = hashlib.sha256(f"{socket.gethostname()} {state.absolute()}".encode()).hexdigest()
        self._client = broker.client(f"edgeline-{known}"[:_NAMES], manual_ack=True)
        self._client.on_connect = self._on_connect
        self._client.on_connect_fail = lambda *_: self._tell(
            "cannot be reached, or its certificate is not trusted"
        )
        self._client.on_disconnect = self._on_disconnect
        self._client.on_message = self._on_message

    def start(self) -> None:
        """Connect, now or once the broker is there."""
        from paho.mqtt.packettypes import PacketTypes
        from paho.mqtt.properties import Properties

        session = Properties(PacketTypes.CONNECT)
        session.SessionExpiryInterval = self._remembered
        session.MaximumPacketSize = 2 * LARGEST
        self._client.connect_async(
            *(self._broker.host, self._broker.port, KEEP_ALIVE),
            clean_start=False,
            properties=session,
        )
        self._client.loop_start()

    def stop(self) -> None:
        """Take no more; the broker keeps what comes."""
        self._stopping.set()
        self._client.disconnect()
        self._client.loop_stop()

    def lines(self) -> Iterator[str]:
        """The counts as metrics for Prometheus."""
        yield f"edgeline_trigger_mqtt_connected {int(self.connected)}"
        for result in (*RESULTS, REFUSED):
            count = self.results[result]
            yield f'edgeline_trigger_mqtt_events_total{{result="{result}"}} {count}'

    def _on_connect(self, client: Any, _: Any, __: Any, code: Any, ___: Any) -> None:
        if code.is_failure:
            self._tell(f"refuses the connection: {code}")
            return
        self.connected, self._told = True, ""
        client.subscribe(f"{self._broker.prefix}/+/+/alerts", qos=1)
        log.info("Taking events of %s.", self._broker.shown)

    def _on_disconnect(self, _: Any, __: Any, ___: Any, code: Any, ____: Any) -> None:
        if self.connected and code.is_failure:
            self._tell(f"is gone: {code}")
        self.connected = False

    def _on_message(self, client: Any, _: Any, message: Any) -> None:
        try:
            event = self._read(message)
            while (result := self._kept(event)) in ("", FULL):
                if self._stopping.wait(PAUSE):
                    return  # the broker brings it again
            log.info("Event %s of %s, %s: %s.", event.id, event.source, event.type, result)
        except ServingError as error:  # it is not one, and will not be one the next time
            result = REFUSED
            log.warning("An event on %r is not taken: %s", message.topic[:200], error)
        except Exception:
            result = REFUSED
            log.exception("An event on %r failed.", message.topic[:200])
        self.results[result] += 1
        client.ack(message.mid, message.qos)
        self._wake()

    def _kept(self, event: CloudEvent) -> str:
        """What came of an event; "" where it could not be kept. Paho's thread waits then, so that
        the broker keeps this one and all that follow."""
        try:
            (result,) = self._store.take([event], time())
        except sqlite3.Error as error:
            log.error("The state cannot be written (%s): events wait at the broker.", error)
            return ""
        if result == FULL:
            log.error("Too many events are remembered: events wait at the broker.")
        return result

    def _read(self, message: Any) -> CloudEvent:
        if len(message.payload) > LARGEST:
            raise ServingError(Code.INVALID_ARGUMENT, f"It has {len(message.payload):,} bytes.")
        if message.retain:
            raise invalid("It is a retained message, which comes again with each connection.")
        headers = {b"content-type": STRUCTURED.encode()}
        for name, value in getattr(message.properties, "UserProperty", ()):
            if name.lower() == SIGNATURE:
                headers[SIGNATURE.encode()] = value.encode()
        (event,) = events.read(headers, bytes(message.payload), self._keys, False)
        device = self._device(message)
        if event.source.partition("/models/")[0] != f"/{device}":  # as `judging.voice` tells it
            raise invalid(f"Its source {event.source[:200]!r} is not of the device of its topic.")
        return event

    def _device(self, message: Any) -> str:
        """Whose topic a message came on."""
        level = message.topic.removeprefix(f"{self._broker.prefix}/").partition("/")[0]
        return unquote(level)

    def _tell(self, why: str) -> None:
        """Log once why no events come."""
        if why != self._told:
            self._told = why
            log.warning("The broker %s %s; it is tried again.", self._broker.shown, why)
