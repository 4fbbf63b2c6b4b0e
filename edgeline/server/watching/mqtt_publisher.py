"""Messages to an MQTT broker: QoS 1, with a last will; it never holds up a request.

Few messages are under way at a time, and the others wait in one bounded queue: what does not fit is
dropped and counted. A message counts as sent when the broker has acknowledged it; what was under
way when a connection broke is sent again, so that a receiver may get it twice. A broker that
refuses one, or takes none that large, makes it fail.
"""

from __future__ import annotations

import logging
import secrets
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from time import monotonic
from typing import TYPE_CHECKING, Any

from edgeline.monitoring.cloud_events import CONTENT_TYPE, SIGNATURE, signature
from edgeline.server.tensors.json import dumps
from edgeline.server.watching.mqtt_broker import KEEP_ALIVE, MqttBroker
from edgeline.server.watching.outbox import Outbox
from edgeline.server.watching.sent_bytes import SentBytes

if TYPE_CHECKING:
    from paho.mqtt.properties import Properties

log = logging.getLogger("edgeline.server")
UNDER_WAY = 16  # messages that wait for an acknowledgement; brokers take 20 and more
LARGEST = 256 * 1024  # bytes of a payload
MOST_BYTES = 8 << 20  # of the payloads that wait
_LAST = 0.5  # seconds of the end that are for the farewell
_STATUS = 100  # bytes of a status that are looked at
_JSON = "application/json"


@dataclass(frozen=True)
class MqttMessage:
    """A message of a model.

    Attributes:
        what: alerts, answers or labels, the last level of its topic.
        payload: JSON.
        kind: its media type.
    """

    model: str
    what: str
    payload: bytes
    kind: str = _JSON


@dataclass(frozen=True)
class UnwrittenMessage:
    """A message whose payload is made in the publisher's thread.

    Attributes:
        write: makes it.
        held: bytes of what it is made of.
    """

    model: str
    what: str
    write: Callable[[], bytes]
    held: int

    def written(self) -> MqttMessage:
        return MqttMessage(self.model, self.what, self.write())


class MqttPublisher(Outbox[MqttMessage | UnwrittenMessage]):
    """Of one device.

    Attributes:
        sent: bytes by model.
        connected: whether the broker is there.
    """

    def __init__(self, broker: MqttBroker, device: str, key: bytes | None = None) -> None:
        """`device` is whose messages they are, "": this host's; `key` signs them."""
        super().__init__("mqtt", most_bytes=MOST_BYTES)
        self.sent = SentBytes()
        self.connected = False
        self.device = device or socket.gethostname()
        self.alerts = MqttAlerts(device, self)
        self._broker, self._key = broker, key
        self._status = broker.topic(self.device, "status")
        self._largest = LARGEST
        self._under_way: dict[int, tuple[MqttMessage, int]] = {}  # by Paho's number
        self._early: dict[int, str] = {}  # acknowledged before their number was noted
        self._greetings: set[int] = set()
        self._told = ""
        # two servers of one device are two clients, or each would end the other's connection
        self._client = broker.client(f"edgeline-{self.device[:40]}-{secrets.token_hex(4)}")
        self._client.will_set(self._status, dumps({"status": "offline"}), qos=1, retain=True)
        self._client.on_connect = self._on_connect
        self._client.on_connect_fail = self._on_connect_fail
        self._client.on_disconnect = self._on_disconnect
        self._client.on_publish = self._on_publish
        self._client.on_message = self._on_message
        self._client.on_subscribe = self._on_subscribe
        self._client.connect_async(broker.host, broker.port, KEEP_ALIVE)
        self._client.loop_start()
        self._thread.start()

    def status(self) -> dict[str, Any]:
        """What the page shows."""
        return {
            "broker": self._broker.shown,
            "connected": self.connected,
            "results": dict(self.results),
            "hours": round(self.sent.hours, 2),
            "models": self.sent.models(),
        }

    def lines(self) -> Iterator[str]:
        yield from super().lines()
        yield f"edgeline_mqtt_connected {int(self.connected)}"
        yield from self.sent.lines()

    def _size(self, item: MqttMessage | UnwrittenMessage) -> int:
        return item.held if isinstance(item, UnwrittenMessage) else len(item.payload)

    def _yields(self, waiting: MqttMessage | UnwrittenMessage, item: Any) -> bool:
        return waiting.what == "answers" and item.what != "answers"

    def _send(self, item: MqttMessage | UnwrittenMessage) -> bool | None:
        if isinstance(item, UnwrittenMessage):
            item = item.written()
        if len(item.payload) > self._largest:
            log.warning(
                "A message of %s with %d bytes is not sent: the broker takes %d.",
                *(item.model, len(item.payload), self._largest),
            )
            return False
        if not self._has_room():
            self.results["dropped"] += 1
            return None
        topic = self._broker.topic(self.device, item.model, item.what)
        found = self._client.publish(topic, item.payload, qos=1, properties=self._properties(item))
        size = len(topic) + len(item.payload)
        with self._changed:
            if found.mid in self._early:
                self._count(item, size, self._early.pop(found.mid))
            else:
                self._under_way[found.mid] = item, size
        return None

    def _has_room(self) -> bool:
        """Wait until the broker is there and few messages are under way; False where the server
        ends before, which waits for no broker that is away."""
        with self._changed:
            while not self.connected or len(self._under_way) >= UNDER_WAY:
                left = self._until - monotonic() - _LAST
                if left <= 0 or (self._closing and self._told and not self.connected):
                    return False
                self._changed.wait(None if left == float("inf") else left)
        return True

    def _ended(self) -> None:
        """Wait for the last acknowledgements, and say farewell: a last will is for those that
        cannot."""
        with self._changed:
            while self._under_way and (left := self._until - monotonic() - _LAST) > 0:
                self._changed.wait(left)
            self.results["dropped"] += len(self._under_way)
            self._under_way.clear()
        if self.connected:
            said = self._client.publish(
                self._status, dumps({"status": "offline"}), qos=1, retain=True
            )
            said.wait_for_publish(_LAST)
        self._client.disconnect()
        self._client.loop_stop()

    def _properties(self, item: MqttMessage) -> Properties:
        from paho.mqtt.packettypes import PacketTypes
        from paho.mqtt.properties import Properties

        found = Properties(PacketTypes.PUBLISH)
        found.ContentType = item.kind
        if self._key is not None:
            found.UserProperty = SIGNATURE, signature(self._key, item.payload)
        return found

    def _count(self, item: MqttMessage, size: int, refused: str) -> None:
        if refused:
            self.results["failed"] += 1
            log.warning("The broker does not take %s of %s: %s.", item.what, item.model, refused)
            return
        self.results["sent"] += 1
        self.sent.add(item.model, item.what, size)

    # What follows is called in Paho's thread, which holds locks of its own: nothing of Paho is
    # called under ours elsewhere.

    def _on_connect(self, client: Any, _: Any, __: Any, code: Any, properties: Any) -> None:
        if code.is_failure:
            self._tell(f"refuses the connection: {code}")
            return
        self._greet(client)
        client.subscribe(self._status, qos=1)
        self._largest = min(LARGEST, getattr(properties, "MaximumPacketSize", LARGEST) - 1024)
        with self._changed:
            self.connected, self._told = True, ""
            self._changed.notify_all()
        log.info("Messages go to %s.", self._broker.shown)

    def _greet(self, client: Any) -> None:
        said = client.publish(self._status, dumps({"status": "online"}), qos=1, retain=True)
        self._greetings.add(said.mid)

    def _on_message(self, client: Any, _: Any, message: Any) -> None:
        """Contradict a status: the last will of a server of this device that was killed may come
        after this one's greeting, and another's farewell while this one goes on."""
        is_offline = message.payload[:_STATUS] == dumps({"status": "offline"})
        if is_offline and not self._closing and not self._greetings:
            self._greet(client)

    def _on_subscribe(self, _: Any, __: Any, ___: Any, codes: Any, ____: Any) -> None:
        if any(code.is_failure for code in codes):
            log.warning(
                "The broker lets nobody read %s: it may tell of an old server of this device that "
                "it is offline. Allow the device to read it.",
                self._status,
            )

    def _on_connect_fail(self, *_: Any) -> None:
        self._tell("cannot be reached, or its certificate is not trusted")

    def _on_disconnect(self, _: Any, __: Any, ___: Any, code: Any, ____: Any) -> None:
        with self._changed:
            was, self.connected = self.connected, False
        if was and not self._closing:
            self._tell(f"is gone: {code}")

    def _on_publish(self, _: Any, __: Any, mid: int, code: Any, ___: Any) -> None:
        if mid in self._greetings:
            self._greetings.discard(mid)
            return
        refused = str(code) if code.is_failure else ""
        with self._changed:
            if mid in self._under_way:
                self._count(*self._under_way.pop(mid), refused)
            else:
                self._early[mid] = refused
            self._changed.notify_all()

    def _tell(self, why: str) -> None:
        """Log once why messages wait."""
        if why != self._told:
            self._told = why
            log.warning("The broker %s %s; it is tried again.", self._broker.shown, why)


@dataclass(frozen=True)
class MqttAlerts:
    """The events among the messages, as a receiver of them."""

    device: str
    publisher: MqttPublisher

    def put(self, event: dict[str, Any]) -> bool:
        """Queue an event, which is about a model."""
        model = str(event["data"]["model"])
        return self.publisher.put(MqttMessage(model, "alerts", dumps(event), CONTENT_TYPE))
