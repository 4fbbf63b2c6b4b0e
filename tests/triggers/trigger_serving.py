"""`edgeline triggers serve` in a process of its own, with a pipeline that takes seconds."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from tiny_pipeline import TINY

from edgeline.triggers.events import SIGNATURE, STRUCTURED, signature

KEY = b"a key of the tests"
TOKEN = "a token of the tests"
RULES = """\
rules:
  - name: retrain
    model: taxi
    signals: [drift]
    same: feature
    quorum: 2
    of: 3
    run: {pipeline: tiny.py, parameters: {word: "{rule}", times: 2}}
"""


class Serving:
    """A server in a folder with `triggers.yaml` and `tiny.py`; `http` is its port."""

    def __init__(self, folder: Path, *options: str, rules: str = RULES) -> None:
        self.folder = folder
        (folder / "triggers.yaml").write_text(rules)
        (folder / "tiny.py").write_text(TINY)
        (folder / "key").write_bytes(KEY + b"\n")
        entry = {"name": "t", "sha256": hashlib.sha256(TOKEN.encode()).hexdigest()}
        entry["scopes"] = ["events", "read", "metadata"]
        (folder / "tokens.json").write_text(json.dumps({"tokens": [entry]}))
        self._log = open(folder / "log.txt", "ab")  # noqa: SIM115
        command = [sys.executable, "-m", "edgeline", "triggers", "serve", "triggers.yaml"]
        self.process = subprocess.Popen(
            [*command, "--port", "0", "--log", "text", *options],
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
        )
        line = self.process.stdout.readline()
        if not line.startswith("READY"):
            raise RuntimeError((folder / "log.txt").read_text())
        self.http = int(line.split("=")[1])

    @property
    def log(self) -> str:
        return (self.folder / "log.txt").read_text()

    def ask(
        self, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None
    ) -> tuple[int, Any]:
        """Status and body (JSON where it is) of one request."""
        connection = http.client.HTTPConnection("127.0.0.1", self.http, timeout=60)
        connection.request(method, path, body or None, headers or {})
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        is_json = answer.headers.get("Content-Type") == "application/json"
        return answer.status, json.loads(content) if is_json else content.decode()

    def send(self, event: Any, key: bytes | None = KEY, **headers: str) -> tuple[int, Any]:
        """An event in structured mode, signed."""
        body = event if isinstance(event, bytes) else json.dumps(event).encode()
        sent = {"Content-Type": STRUCTURED, **{n.replace("_", "-"): v for n, v in headers.items()}}
        if key:
            sent[SIGNATURE] = signature(key, body)
        return self.ask("POST", "/events", body, sent)

    def state(self) -> dict[str, Any]:
        """As the command shows it."""
        command = [sys.executable, "-m", "edgeline", "triggers", "show", "triggers.yaml", "--json"]
        done = subprocess.run(command, cwd=self.folder, capture_output=True, text=True, check=True)
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    def stop(self, number: int = signal.SIGTERM) -> int:
        if self.process.poll() is None:
            os.kill(self.process.pid, number)
        code = self.process.wait(60)
        self.process.stdout.close()
        self._log.close()
        return code
