"""Events from an MQTT broker: what devices publish as PREFIX/DEVICE/MODEL/alerts.

An event is acknowledged once it is kept, so that a broker that keeps sessions brings those that
came while the server was away. Its `source` has to be of the device that its topic names: a broker
that lets each device publish below its own name thereby vouches for it. With keys it is taken only
with the user property `X-Hub-Signature-256`, as `edgeline serve --webhook-key` signs.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from queue import Empty, Full, Queue
from time import time
from typing import Any
from urllib.parse import unquote

from edgeline.server.errors import Code, ServingError, invalid
from edgeline.server.http.allowance import PeerAllowances
from edgeline.server.watching.mqtt_broker import KEEP_ALIVE, MqttBroker, kept_name
from edgeline.triggers import events
from edgeline.triggers.events import LARGEST, SIGNATURE, STRUCTURED, CloudEvent
from edgeline.triggers.store import FULL, RESULTS, TriggerStore

log = logging.getLogger("edgeline.triggers")
REFUSED, LIMITED = "refused", "limited"
PAUSE = 5.0  # seconds until what could not be kept is tried again
WAITING = 64  # messages that are not acknowledged
TOLD_EACH = 1000  # refusals of what is too much, of which one is logged
NAME = "mqtt-client"  # the file in the state


class EventSubscriber:
    """Takes the events of a broker. `results` counts them by what came of them.

    Paho's thread refuses what a device sends too fast, and hands on the rest to a thread that keeps
    it. So keep-alives are answered while nothing can be kept; the broker then holds back what
    follows the `WAITING` messages that are not acknowledged.
    """

    def __init__(
        self,
        broker: MqttBroker,
        store: TriggerStore,
        keys: Sequence[bytes],
        wake: Callable[[], None],
        state: Path,
        remembered: float,
        rate: float,
    ) -> None:
        """
        Args:
            keys: one of which has signed each event; none: the broker vouches for them.
            wake: called when something was kept.
            state: the folder of the server, which keeps the name that the broker knows it by.
            remembered: seconds for which the broker keeps events while the server is away.
            rate: events per second of one device, ten seconds' worth at once.

        Raises:
            EdgelineError: the name cannot be kept.
        """
        self.results: Counter[str] = Counter()
        self.connected = False
        self._broker, self._store, self._keys, self._wake = broker, store, keys, wake
        self._remembered, self._told = int(remembered), ""
        self._allowances = PeerAllowances(10 * rate, rate)
        self._waiting: Queue[tuple[int, Any]] = Queue(WAITING)
        self._connection = 0  # messages of one before are not acknowledged: they come again
        self._asked = False  # whether the broker is there and has refused the subscription
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="mqtt-events", daemon=True)
        self._client = broker.client(kept_name(state / NAME), manual_ack=True)
        self._client.on_connect = self._on_connect
        self._client.on_connect_fail = lambda *_: self._tell(
            "cannot be reached, or its certificate is not trusted"
        )
        self._client.on_disconnect = self._on_disconnect
        self._client.on_subscribe = self._on_subscribe
        self._client.on_message = self._on_message

    def start(self) -> None:
        """Connect, now or once the broker is there."""
        from paho.mqtt.packettypes import PacketTypes
        from paho.mqtt.properties import Properties

        session = Properties(PacketTypes.CONNECT)
        session.SessionExpiryInterval = self._remembered
        session.MaximumPacketSize = 2 * LARGEST
        session.ReceiveMaximum = WAITING
        self._client.connect_async(
            *(self._broker.host, self._broker.port, KEEP_ALIVE),
            clean_start=False,
            properties=session,
        )
        self._thread.start()
        self._client.loop_start()

    def stop(self) -> None:
        """Take no more; the broker keeps what comes."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()
        self._client.disconnect()
        self._client.loop_stop()

    def lines(self) -> Iterator[str]:
        """The counts as metrics for Prometheus."""
        yield f"edgeline_trigger_mqtt_connected {int(self.connected)}"
        for result in (*RESULTS, REFUSED, LIMITED):
            count = self.results[result]
            yield f'edgeline_trigger_mqtt_events_total{{result="{result}"}} {count}'

    def _on_connect(self, client: Any, _: Any, __: Any, code: Any, ___: Any) -> None:
        if code.is_failure:
            self._tell(f"refuses the connection: {code}")
            return
        self._connection += 1
        self._subscribe(client)

    def _subscribe(self, client: Any) -> None:
        self._asked = False
        client.subscribe(f"{self._broker.prefix}/+/+/alerts", qos=1)

    def _on_subscribe(self, _: Any, __: Any, ___: Any, codes: Sequence[Any], ____: Any) -> None:
        refused = [code for code in codes if code.is_failure]
        if refused:
            self.connected, self._asked = False, True
            self._tell(f"refuses the subscription: {refused[0]}")
            return
        self.connected, self._told = True, ""
        log.info("Taking events of %s.", self._broker.shown)

    def _on_disconnect(self, _: Any, __: Any, ___: Any, code: Any, ____: Any) -> None:
        if self.connected and code.is_failure:
            self._tell(f"is gone: {code}")
        self.connected = self._asked = False
        self._connection += 1

    def _on_message(self, client: Any, _: Any, message: Any) -> None:
        """In Paho's thread, which never waits."""
        device = self._device(message)
        if not self._allowances.spend(device):
            self._limit(device, "sends more than --rate")
            client.ack(message.mid, message.qos)
            return
        try:
            self._waiting.put_nowait((self._connection, message))
        except Full:  # of QoS 0, which no broker holds back
            self._limit(device, "sends while too much waits")

    def _limit(self, device: str, why: str) -> None:
        if self.results[LIMITED] % TOLD_EACH == 0:
            log.warning("%.200r %s: its event is not taken, and was counted.", device, why)
        self.results[LIMITED] += 1

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                connection, message = self._waiting.get(timeout=PAUSE)
            except Empty:
                if self._asked:  # somebody may allow it meanwhile
                    self._subscribe(self._client)
                continue
            if connection == self._connection:
                self._take(connection, message)

    def _take(self, connection: int, message: Any) -> None:
        try:
            event = self._read(message)
            while (result := self._kept(event, self._device(message))) in ("", FULL):
                if self._stopping.wait(PAUSE) or connection != self._connection:
                    return  # the broker brings it again
            log.info("Event %s of %s, %s: %s.", event.id, event.source, event.type, result)
        except ServingError as error:  # it is not one, and will not be one the next time
            result = REFUSED
            log.warning("An event on %r is not taken: %s", message.topic[:200], error)
        except Exception:
            result = REFUSED
            log.exception("An event on %r failed.", message.topic[:200])
        if result != LIMITED:
            self.results[result] += 1
        if connection == self._connection:
            self._client.ack(message.mid, message.qos)
        self._wake()

    def _kept(self, event: CloudEvent, device: str) -> str:
        """What came of an event; "" where it could not be kept, so that it waits, and those that
        follow at the broker."""
        try:
            if not self._store.has_share(device):
                self._limit(device, "has used its share of max_events")
                return LIMITED
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
