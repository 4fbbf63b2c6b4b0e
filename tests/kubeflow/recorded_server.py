"""What real API servers of KFP answered, given again to whoever asks the same.

`recorded/README.md` says who recorded what. Made up are only the answer of `healthz`, that of
unknown paths, and what a test adds by `answer` in plain sight, such as a list around a message.
"""

from __future__ import annotations

import base64
import functools
import http.server
import json
import lzma
import threading
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from answering import AnsweringHandler
from google.protobuf import json_format
from kfp.pipeline_spec import pipeline_spec_pb2

RECORDED = Path(__file__).parent / "recorded"
API = "/apis/v2beta1/"


def message(name: str) -> Any:
    """A message that a server's marshaler wrote."""
    return json.loads((RECORDED / f"{name}.json").read_bytes())


def exchanges() -> list[dict[str, Any]]:
    """Requests and what was answered."""
    found: list[dict[str, Any]] = json.loads((RECORDED / "exchanges.json").read_bytes())
    return found


def uploads() -> dict[str, Any]:
    """What was uploaded, by the version's name: `documents`, and `shown_sha256` of the answer."""
    found: dict[str, Any] = json.loads(lzma.decompress((RECORDED / "uploads.json.xz").read_bytes()))
    return found


def shown(documents: list[Any]) -> Any:
    """How the server shows a version: as protobuf writes it, where 1.0 is 1."""
    kinds = (pipeline_spec_pb2.PipelineSpec, pipeline_spec_pb2.PlatformSpec)
    messages = [
        _numbers(json_format.MessageToDict(json_format.ParseDict(document, kind())))
        for document, kind in zip(documents, kinds, strict=False)
    ]
    if len(messages) == 1:
        return messages[0]
    return {"pipeline_spec": messages[0], "platform_spec": messages[1]}


def _numbers(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _numbers(below) for key, below in value.items()}
    if isinstance(value, list):
        return [_numbers(below) for below in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def conversation(name: str) -> list[dict[str, Any]]:
    """What was said with a server that has several teams."""
    found: dict[str, list[dict[str, Any]]] = json.loads((RECORDED / "multiuser.json").read_bytes())
    return found[name]


@functools.cache
def conversations() -> dict[str, list[dict[str, Any]]]:
    """What was said with a server that has one user."""
    content = lzma.decompress((RECORDED / "conversations.json.xz").read_bytes())
    found: dict[str, list[dict[str, Any]]] = json.loads(content)
    return found


class RecordedServer(http.server.ThreadingHTTPServer):
    """Answers what was recorded, by method and path; of two exchanges alike, the last one.

    A conversation that is replayed comes first: by its queries, too, and one answer after the
    other. What was asked is in `asked`.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.asked: list[str] = []
        self.metadata: dict[tuple[str, bytes], bytes] = {}
        self.replayed: dict[str, list[tuple[int, Any]]] = {}
        self.answers: dict[str, tuple[int, Any]] = {}
        self.answer("GET healthz", {"multi_user": False})
        for exchange in exchanges():
            self.play(exchange)
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def play(self, exchange: dict[str, Any]) -> None:
        """Answer as in one exchange."""
        method, _, target = exchange["request"].partition(" ")
        path = urlsplit(target).path.removeprefix(API)
        self.answer(f"{method} {path}", exchange["answer"], exchange["status"])

    @property
    def changes(self) -> list[str]:
        """The requests that were to change something."""
        return [line for line in self.asked if not line.startswith("GET")]

    def replay(self, name: str) -> None:
        """Answer as in a conversation with a server that has several teams."""
        self.answer("GET healthz", {"multi_user": True})
        specs = {x["shown_sha256"]: x["documents"] for x in uploads().values()}
        for exchange in conversation(name):
            answer = exchange["answer"]
            for version in [answer, *answer.get("pipeline_versions", [])]:
                omitted = version.get("pipeline_spec", {}).get("omitted", "")
                if documents := specs.get(omitted.removeprefix("sha256:")):
                    version["pipeline_spec"] = shown(documents)
                elif omitted:  # not kept
                    del version["pipeline_spec"]
            key = _target(*exchange["request"].split(" ", 1))
            self.replayed.setdefault(key, []).append((exchange["status"], answer))

    def keep_metadata(self) -> None:
        """Answer as the metadata store, over gRPC-Web, what was recorded of it."""
        for one in json.loads((RECORDED / "metadata_store.json").read_bytes()):
            key = one["method"], base64.b64decode(one["request"])
            self.metadata[key] = base64.b64decode(one["answer"])

    def answer(self, request: str, value: Any, status: int = 200) -> None:
        """Answer a request, for example `GET runs/1` or, of its second page, `... runs?2`."""
        self.answers[request] = (status, value)


def _target(method: str, target: str) -> str:
    """A request without its page, its order and how a filter says EQUALS."""
    url = urlsplit(target)
    query = {
        key: value.replace('"operation": 1', '"operation": "EQUALS"')
        for key, (value,) in parse_qs(url.query).items()
        if key not in ("page_size", "sort_by", "page_token")
    }
    return f"{method} {url.path} {sorted(query.items())}"


class _Handler(AnsweringHandler):
    server: RecordedServer

    def log_message(self, *_: object) -> None:
        pass

    def _handle(self) -> None:
        sent = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        url = urlsplit(self.path)
        self.server.asked.append(f"{self.command} {self.path}")
        if "/ml_metadata." in url.path:
            return self._metadata(url.path.rpartition("/")[2], sent)
        path = url.path.removeprefix(API)
        if token := parse_qs(url.query).get("page_token"):
            path += f"?{token[0]}"
        # what grpc-gateway says of a path that it does not know
        unknown = (404, {"code": 5, "message": "Not Found", "details": []})
        status, value = self.server.answers.get(f"{self.command} {path}", unknown)
        if replayed := self.server.replayed.get(_target(self.command, self.path)):
            status, value = replayed.pop(0) if len(replayed) > 1 else replayed[0]
        return self.send(status, json.dumps(value).encode(), "application/json")

    def _metadata(self, method: str, sent: bytes) -> None:
        answer = self.server.metadata.get((method, sent[5:]))
        if answer is None:
            return self.send(404, b"404 page not found", "text/plain")
        end = b"grpc-status:0\r\n"
        frames = b"\0" + len(answer).to_bytes(4, "big") + answer
        frames += b"\x80" + len(end).to_bytes(4, "big") + end
        return self.send(200, frames, "application/grpc-web+proto")

    do_GET = do_POST = do_DELETE = _handle  # noqa: N815
