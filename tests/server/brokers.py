"""A real MQTT broker, where Debian's package is installed, and what it has got."""

from __future__ import annotations

import contextlib
import json
import random
import shutil
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

USER, PASSWORD = "edge-7", "a password of the tests"


class Mosquitto:
    """A broker on a port of its own, which stays when it is started again.

    Attributes:
        login: a file as `--mqtt-login` takes it.
    """

    def __init__(self, folder: Path, certificates: Path | None = None, *settings: str) -> None:
        """`certificates`: see `certificates.make`; with them it asks for a client's certificate."""
        self._program = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin")
        if self._program is None:
            pytest.skip("NO MOSQUITTO on this machine: apt-get install mosquitto")
        self.port = _free_port()
        self.folder = folder
        folder.mkdir(exist_ok=True)
        self.login = folder / "login"
        self.login.write_text(f"{USER}:{PASSWORD}\n")
        passwords = folder / "passwords"
        passwords.touch(mode=0o600)
        command = ["mosquitto_passwd", "-b", str(passwords), USER, PASSWORD]
        subprocess.run(command, check=True, capture_output=True)
        lines = [
            f"listener {self.port} 127.0.0.1",
            "allow_anonymous false",
            f"password_file {passwords}",
            "user root",
            "persistence true",  # of sessions: a subscriber may come back later than a publisher
            f"persistence_location {folder}/",
            *settings,
        ]
        if certificates:
            lines += [
                f"cafile {certificates / 'ca.pem'}",
                f"certfile {certificates / 'server.pem'}",
                f"keyfile {certificates / 'server.key'}",
                "require_certificate true",
            ]
        (folder / "mosquitto.conf").write_text("\n".join([*lines, ""]))
        self.start()

    def start(self) -> None:
        self._log = open(self.folder / "log.txt", "ab")  # noqa: SIM115
        self.process = subprocess.Popen(
            [self._program, "-c", str(self.folder / "mosquitto.conf")],
            stdout=self._log,
            stderr=self._log,
        )
        end = time.monotonic() + 20
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return
            except OSError:
                assert self.process.poll() is None, (self.folder / "log.txt").read_text()
                assert time.monotonic() < end, "the broker does not listen"
                time.sleep(0.02)

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait()
        self._log.close()


def _free_port() -> int:
    """One below those that connections get, so that none takes it while the broker is away."""
    while True:
        port = random.randrange(20_000, 32_000)
        with contextlib.suppress(OSError), socket.socket() as free:
            free.bind(("127.0.0.1", port))
            return port


class Subscriber:
    """What comes below some topics: `messages` by topic, each with its properties."""

    def __init__(self, broker: Mosquitto, topics: str = "#", certificates: Path | None = None):
        from paho.mqtt.client import Client, MQTTProtocolVersion
        from paho.mqtt.enums import CallbackAPIVersion
        from paho.mqtt.packettypes import PacketTypes
        from paho.mqtt.properties import Properties

        self.messages: dict[str, list[Any]] = {}
        self.client = Client(
            CallbackAPIVersion.VERSION2, f"ops-{id(self)}", protocol=MQTTProtocolVersion.MQTTv5
        )
        session = Properties(PacketTypes.CONNECT)
        session.SessionExpiryInterval = 3600
        self.client.username_pw_set(USER, PASSWORD)
        if certificates:
            self.client.tls_set(
                *(str(certificates / name) for name in ("ca.pem", "client.pem", "client.key"))
            )
        self.client.reconnect_delay_set(1, 1)
        self.client.on_connect = lambda client, *_: client.subscribe(topics, qos=1)
        self.client.on_message = self._take
        self.client.connect("127.0.0.1", broker.port, clean_start=False, properties=session)
        self.client.loop_start()

    def of(self, topic: str) -> list[Any]:
        """The payloads of a topic, of JSON."""
        return [json.loads(message.payload) for message in self.messages.get(topic, [])]

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()

    def _take(self, _: Any, __: Any, message: Any) -> None:
        self.messages.setdefault(message.topic, []).append(message)
