"""What real API servers of KFP answered, given again to whoever asks the same.

`recorded/README.md` says who recorded what. Made up are only the answer of `healthz`, that of
unknown paths, and what a test adds by `answer` in plain sight, such as a list around a message.
"""

from __future__ import annotations

import http.server
import json
import threading
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

RECORDED = Path(__file__).parent / "recorded"
API = "/apis/v2beta1/"


def message(name: str) -> Any:
    """A message that a server's marshaler wrote."""
    return json.loads((RECORDED / f"{name}.json").read_bytes())


def exchanges() -> list[dict[str, Any]]:
    """Requests and what was answered."""
    found: list[dict[str, Any]] = json.loads((RECORDED / "exchanges.json").read_bytes())
    return found


class RecordedServer(http.server.ThreadingHTTPServer):
    """Answers what was recorded, by method and path; of two exchanges alike, the last one."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers: dict[str, tuple[int, Any]] = {}
        self.answer("GET healthz", {"multi_user": False})
        for exchange in exchanges():
            self.play(exchange)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def play(self, exchange: dict[str, Any]) -> None:
        """Answer as in one exchange."""
        method, _, target = exchange["request"].partition(" ")
        path = urlsplit(target).path.removeprefix(API)
        self.answer(f"{method} {path}", exchange["answer"], exchange["status"])

    def answer(self, request: str, value: Any, status: int = 200) -> None:
        """Answer a request, for example `GET runs/1` or, of its second page, `... runs?2`."""
        self.answers[request] = (status, value)


class _Handler(http.server.BaseHTTPRequestHandler):
    server: RecordedServer

    def log_message(self, *_: object) -> None:
        pass

    def _handle(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        url = urlsplit(self.path)
        path = url.path.removeprefix(API)
        if token := parse_qs(url.query).get("page_token"):
            path += f"?{token[0]}"
        # what grpc-gateway says of a path that it does not know
        unknown = (404, {"code": 5, "message": "Not Found", "details": []})
        status, value = self.server.answers.get(f"{self.command} {path}", unknown)
        content = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_DELETE = _handle  # noqa: N815
