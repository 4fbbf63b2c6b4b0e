"""An MQTT 5 broker: its address, who asks, and a client of it.

`mqtts://HOST[:PORT]/PREFIX`, port 8883, or `mqtt://` without TLS, port 1883. All topics begin with
PREFIX (`edgeline` where there is none) and the device:

    PREFIX/DEVICE/status           retained: {"status": "online"}, or "offline" by the last will
    PREFIX/DEVICE/MODEL/alerts     CloudEvents in structured mode
    PREFIX/DEVICE/MODEL/answers    what the model answered
    PREFIX/DEVICE/MODEL/labels     what turned out to be true

https://docs.oasis-open.org/mqtt/mqtt/v5.0/mqtt-v5.0.html; CloudEvents' MQTT protocol binding 1.0.2.
The client is Eclipse Paho's, which is imported with the first broker.
"""

from __future__ import annotations

import random
import re
import secrets
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

from edgeline.errors import EdgelineError, UsageError

if TYPE_CHECKING:
    from paho.mqtt.client import Client

PORTS = {"mqtt": 1883, "mqtts": 8883}
PREFIX = "edgeline"
KEEP_ALIVE = 60  # seconds
# seconds between tries to connect, doubled each time; spread, as a broker has many clients
FIRST_PAUSE, LONGEST_PAUSE = (1.0, 3.0), 120.0
_LEVEL = re.compile(r"[A-Za-z0-9_.:@ -]+")
_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_LOGIN_BYTES = 4096
_NAME = 23  # characters of a client's name that each broker takes


@dataclass(frozen=True)
class MqttLogin:
    """How a broker knows who asks, and is known itself.

    Attributes:
        login: a file whose first line is `USER:PASSWORD`.
        certificate, key: PEM files of the client.
        ca: a PEM file; by default the system's CAs.
    """

    login: str | None = None
    certificate: str | None = None
    key: str | None = None
    ca: str | None = None


@dataclass(frozen=True)
class MqttBroker:
    """A broker.

    Attributes:
        prefix: what all topics begin with.
        user, password: None where it asks for none.
        tls: None without.
    """

    host: str
    port: int
    prefix: str
    user: str | None
    password: str | None
    tls: ssl.SSLContext | None

    @property
    def shown(self) -> str:
        """Its address, for logs."""
        return f"{'mqtts' if self.tls else 'mqtt'}://{self.host}:{self.port}/{self.prefix}"

    def topic(self, *levels: str) -> str:
        """A topic below the prefix; what is no letter of a name is percent-encoded."""
        return "/".join([self.prefix, *(quote(level, safe="") for level in levels)])

    def client(self, name: str, manual_ack: bool = False) -> Client:
        """A client that is not connected yet; `name` is known to the broker.

        Raises:
            EdgelineError: Paho is not installed.
        """
        try:
            from paho.mqtt.client import Client, MQTTProtocolVersion
            from paho.mqtt.enums import CallbackAPIVersion
        except ModuleNotFoundError as error:
            raise EdgelineError(
                "MQTT needs a package that is not installed: pip install 'edgeline[mqtt]'."
            ) from error
        made = Client(
            CallbackAPIVersion.VERSION2,
            client_id=name,
            protocol=MQTTProtocolVersion.MQTTv5,
            manual_ack=manual_ack,
        )
        made.reconnect_delay_set(random.uniform(*FIRST_PAUSE), LONGEST_PAUSE)
        if self.user is not None:
            made.username_pw_set(self.user, self.password)
        if self.tls is not None:
            made.tls_set_context(self.tls)
        return made


def kept_name(file: Path) -> str:
    """A client's name for a broker, random and kept in a file, so that it outlives the process and
    the machine.

    Raises:
        EdgelineError: the file cannot be read or written.
    """
    try:
        if not file.exists():
            draft = file.with_suffix(".new")  # a kill leaves no half of a name
            draft.write_text(f"edgeline-{secrets.token_hex(7)}\n", encoding="ascii")
            draft.replace(file)
        return file.read_text(encoding="ascii").strip()[:_NAME]
    except (OSError, UnicodeDecodeError) as error:
        raise EdgelineError(
            f"The name for the MQTT broker in {file} cannot be kept ({error}): remove it, or make "
            "room."
        ) from error


def broker(url: str, login: MqttLogin, setting: str = "--mqtt") -> MqttBroker:
    """The broker at an address.

    Args:
        setting: what it was given with, for messages; a file was given with `SETTING-login`, say.

    Raises:
        UsageError: it is not an address of one, a file is missing or malformed, or a password would
            go through a network in the clear.
    """
    parts = urlsplit(url)
    try:
        port = parts.port
    except ValueError:
        port = -1
    if parts.scheme not in PORTS or not parts.hostname or port == -1 or parts.query:
        raise UsageError(
            f"{setting} is not the address of an MQTT broker: give mqtts://HOST/PREFIX, or mqtt://."
        )
    if parts.username is not None or parts.password is not None:
        raise UsageError(
            f"{setting} holds a password: leave it out, and give a file with USER:PASSWORD as "
            f"{setting}-login."
        )
    prefix = parts.path.strip("/") or PREFIX
    if not all(map(_LEVEL.fullmatch, prefix.split("/"))) or len(prefix) > 200:
        raise UsageError(
            f"{setting} has the prefix {prefix[:100]!r}, which topics cannot begin with: give "
            "letters, digits, '.', '-', '_' and '/'."
        )
    secure = parts.scheme == "mqtts"
    for option, given in (("ca", login.ca), ("certificate", login.certificate)):
        if given and not secure:
            raise UsageError(f"{setting}-{option} is for mqtts://: give {setting} so.")
    if login.login and not secure and parts.hostname not in _LOOPBACK:
        raise UsageError(
            f"{setting}-login would send a password through the network in the clear: give "
            f"mqtts:// as {setting}."
        )
    user, password = _read_login(login.login, setting) if login.login else (None, None)
    return MqttBroker(
        parts.hostname,
        port or PORTS[parts.scheme],
        prefix,
        user,
        password,
        _tls(login, setting) if secure else None,
    )


def _read_login(file: str, setting: str) -> tuple[str, str]:
    try:
        with open(file, encoding="utf-8") as stream:
            line = stream.readline(_LOGIN_BYTES).rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is not UTF-8"
        raise UsageError(f"{setting}-login {file} cannot be read ({why}).") from error
    user, colon, password = line.partition(":")
    if not user or not colon:
        raise UsageError(f"{setting}-login {file} does not have USER:PASSWORD on its first line.")
    return user, password


def _tls(login: MqttLogin, setting: str) -> ssl.SSLContext:
    if bool(login.key) and not login.certificate:
        raise UsageError(f"{setting}-key is of a certificate: give {setting}-certificate, too.")
    files = [file for file in (login.certificate, login.key, login.ca) if file]
    for file in files:
        if not Path(file).is_file():
            raise UsageError(f"The TLS file {file} is missing.")
    try:
        context = ssl.create_default_context(cafile=login.ca)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if login.certificate:  # an encrypted key is refused, rather than asked about
            context.load_cert_chain(login.certificate, login.key, password="")
    except (OSError, ssl.SSLError) as error:
        raise UsageError(f"The TLS files {', '.join(files)} cannot be used ({error}).") from error
    return context
