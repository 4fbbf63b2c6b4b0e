"""A real server in a process of its own, on free ports, and raw connections to it."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

DATA = Path(__file__).parents[1] / "data"
MOBILENET = DATA / "coral" / "mobilenet_v1_0.25_128_quant.tflite"
MIXED = DATA / "mixed.tflite"


class Running:
    """A server process: `http` and `grpc` are its ports."""

    def __init__(self, path: Path | str, *options: str) -> None:
        command = [sys.executable, "-m", "edgeline.server", str(path), "--port", "0"]
        self.process = subprocess.Popen(
            [*command, "--grpc-port", "0", *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        line = self.process.stdout.readline()
        if not line.startswith("READY"):
            raise RuntimeError(self.process.stderr.read())
        ports = dict(part.split("=") for part in line.split()[1:])
        self.http, self.grpc = int(ports["http"]), int(ports["grpc"])

    def ask(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> tuple[int, Any, dict[str, str]]:
        """Status, body (JSON where it is) and headers (lower case) of one request."""
        connection = http.client.HTTPConnection("127.0.0.1", self.http, timeout=30)
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        connection.request(method, path, data, headers or {})
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        found = {name.lower(): value for name, value in answer.getheaders()}
        if method != "HEAD" and found.get("content-type", "").startswith("application/json"):
            return answer.status, json.loads(content), found
        return answer.status, content, found

    def connect(self, port: int | None = None) -> socket.socket:
        return socket.create_connection(("127.0.0.1", port or self.http), timeout=30)

    def metric(self, line: str) -> float:
        """The value of the metric whose line begins so."""
        text = self.ask("GET", "/metrics")[1].decode()
        return sum(float(x.rsplit(" ", 1)[1]) for x in text.splitlines() if x.startswith(line))

    def stop(self) -> tuple[int, str]:
        """SIGTERM; exit status and log."""
        if self.process.poll() is None:
            os.kill(self.process.pid, signal.SIGTERM)
        _, log = self.process.communicate(timeout=60)
        return self.process.returncode, log


def eventually(what: Callable[[], bool], seconds: float = 20.0) -> None:
    """Wait until something is so."""
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)
