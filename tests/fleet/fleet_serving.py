"""`edgeline fleet serve` in a process of its own, and devices that post to it."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import http.client
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from edgeline.server.fleet import protocol, signatures

BEARER = {"read": "a reader of the tests", "admin": "an admin of the tests"}


def token_file(folder: Path) -> Path:
    """Tokens of the scopes `read` and `admin`."""
    entries = [
        {"name": scope, "sha256": hashlib.sha256(token.encode()).hexdigest(), "scopes": [scope]}
        for scope, token in BEARER.items()
    ]
    file = folder / "tokens.json"
    file.write_text(json.dumps({"tokens": entries}))
    return file


class FleetServing:
    """A server in a folder; `http` is its port."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.folder = folder
        self._log = open(folder / "log.txt", "ab")  # noqa: SIM115
        command = [sys.executable, "-m", "edgeline", "fleet", "serve", "--port", "0"]
        self.process = subprocess.Popen(
            [*command, "--log", "text", "--state", str(folder / "state"), *options],
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
        )
        line = self.process.stdout.readline()
        if not line.startswith("READY"):
            raise RuntimeError((folder / "log.txt").read_text())
        self.http = int(line.split("=")[1])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.http}"

    @property
    def log(self) -> str:
        return (self.folder / "log.txt").read_text()

    def ask(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> tuple[int, Any]:
        """Status and body (JSON where it is) of one request."""
        connection = http.client.HTTPConnection("127.0.0.1", self.http, timeout=60)
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # refused while it is sent
            connection.request(method, path, data, headers or {})
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        is_json = answer.headers.get("Content-Type") == "application/json"
        return answer.status, json.loads(content) if is_json else content.decode()

    def token(self, **asked: Any) -> str:
        """An enrolment token."""
        status, found = self.ask("POST", "/v1/fleet/tokens", asked)
        assert status == 200, found
        return str(found["tokens"][0])

    def enrolled(self, name: str, **asked: Any) -> Device:
        """A new device."""
        device = Device(self, name)
        status, found = device.enrol(self.token(**(asked or {"device": name})))
        assert status == 200, found
        return device

    def listed(self, query: str = "") -> list[dict[str, Any]]:
        status, found = self.ask("GET", f"/v1/fleet/devices{query}")
        assert status == 200, found
        return list(found["devices"])

    def metric(self, line: str) -> float:
        text = self.ask("GET", "/metrics")[1]
        return sum(float(x.rsplit(" ", 1)[1]) for x in text.splitlines() if x.startswith(line))

    def stop(self, number: int = signal.SIGTERM) -> int:
        if self.process.poll() is None:
            os.kill(self.process.pid, number)
        code = self.process.wait(60)
        self.process.stdout.close()
        self._log.close()
        return code


class Device:
    """A device that the tests speak for."""

    def __init__(self, server: FleetServing, name: str) -> None:
        self.server, self.name = server, name
        self.key, self.counter = signatures.new_key(), 0

    def enrolment(self, token: str) -> tuple[bytes, dict[str, str]]:
        by = signatures.token_key(token)
        body = json.dumps(
            {
                "device": self.name,
                "public_key": base64.b64encode(signatures.public_bytes(self.key)).decode(),
                "token": signatures.token_name(signatures.public_bytes(by)),
            }
        ).encode()
        return body, {
            protocol.DEVICE: self.name,
            protocol.SIGNATURE: signatures.sign(self.key, body),
            protocol.TOKEN_SIGNATURE: signatures.sign(by, body),
        }

    def enrol(self, token: str) -> tuple[int, Any]:
        return self.server.ask("POST", protocol.ENROLL, *self.enrolment(token))

    def signed(self, body: bytes) -> dict[str, str]:
        return {
            protocol.DEVICE: self.name,
            protocol.SIGNATURE: signatures.sign(self.key, body),
        }

    def status(self, *models: dict[str, Any], **more: Any) -> bytes:
        """The body of its next status."""
        self.counter += 1
        told = {"device": self.name, "counter": self.counter, "time": time.time()}
        return json.dumps({**told, "models": models, **more}).encode()

    def post(self, *models: dict[str, Any], **more: Any) -> tuple[int, Any]:
        return self.send(self.status(*models, **more))

    def send(self, body: bytes) -> tuple[int, Any]:
        return self.server.ask("POST", protocol.STATUS, body, self.signed(body))


def ran(model: str, version: int, outcome: str = "serving", **more: Any) -> dict[str, Any]:
    """A version as a status tells it."""
    return {"model": model, "version": version, "outcome": outcome, **more}
