"""Spans of traced requests, as a collector gets them."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from running import MIXED, eventually

from edgeline.server.watching.spans import SpanParent, parent

pytestmark = pytest.mark.slow

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
SAMPLED = {"traceparent": f"00-{TRACE}-{SPAN}-01"}
ROW = {"instances": [{"amount": [1, 2], "count": [1], "name": ["a"]}]}


@pytest.mark.parametrize(
    ("header", "found"),
    [
        (f"00-{TRACE}-{SPAN}-01", SpanParent(TRACE, SPAN)),
        (f"01-{TRACE}-{SPAN}-03-later", SpanParent(TRACE, SPAN)),
        (f"00-{TRACE}-{SPAN}-00", None),
        (f"00-{TRACE}-{SPAN}-01-more", None),
        (f"ff-{TRACE}-{SPAN}-01", None),
        (f"00-{'0' * 32}-{SPAN}-01", None),
        (f"00-{TRACE}-{'0' * 16}-01", None),
        (f"00-{TRACE.upper()}-{SPAN}-01", None),
        ("", None),
        ("00", None),
    ],
)
def test_which_traceparent_is_sampled(header: str, found: SpanParent | None) -> None:
    assert parent(header) == found


class Collector(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        asked = (self.path, self.headers["Content-Type"], json.loads(body))
        self.server.asked.append(asked)  # type: ignore[attr-defined]
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def collector() -> Iterator[Any]:
    server: Any = ThreadingHTTPServer(("127.0.0.1", 0), Collector)
    server.asked = []
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def spans(collector: Any) -> list[dict[str, Any]]:
    for path, kind, _ in collector.asked:
        assert (path, kind) == ("/v1/traces", "application/json")
    return [
        span
        for *_, document in collector.asked
        for of_resource in document["resourceSpans"]
        for of_scope in of_resource["scopeSpans"]
        for span in of_scope["spans"]
    ]


def facts(span: dict[str, Any]) -> dict[str, str]:
    return {entry["key"]: next(iter(entry["value"].values())) for entry in span["attributes"]}


def test_traced_requests_become_spans_and_others_do_not(start, tmp_path: Path, collector) -> None:
    (tmp_path / "m.tflite").write_bytes(MIXED.read_bytes())
    server = start(tmp_path / "m.tflite", f"--traces=http://127.0.0.1:{collector.server_port}")
    assert server.ask("POST", "/v1/models/m:predict", ROW)[0] == 200
    status, _, told = server.ask("POST", "/v1/models/m:predict", ROW, SAMPLED)
    assert status == 200
    assert server.ask("POST", "/v1/models/m:predict", {}, SAMPLED)[0] == 400
    eventually(lambda: len(spans(collector)) >= 2)
    first, second = spans(collector)
    assert (first["traceId"], first["parentSpanId"], first["kind"]) == (TRACE, SPAN, 2)
    assert told["traceresponse"] == f"00-{TRACE}-{first['spanId']}-01"
    assert first["name"] == "POST /v1/models/{model}:predict"
    assert int(first["startTimeUnixNano"]) < int(first["endTimeUnixNano"])
    assert facts(first)["edgeline.model"] == "m"
    assert facts(first)["http.response.status_code"] == "200"
    assert facts(second)["http.response.status_code"] == "400"
    assert (
        first["status"] == second["status"] == {}
    )  # the client's fault is none of a server's span
    eventually(lambda: server.metric('edgeline_events_total{to="traces",result="sent"}') >= 1)


def test_what_waits_is_sent_at_the_end_and_a_collector_that_is_away_stops_nothing(
    start, tmp_path: Path, collector
) -> None:
    (tmp_path / "m.tflite").write_bytes(MIXED.read_bytes())
    server = start(tmp_path / "m.tflite", f"--traces=http://127.0.0.1:{collector.server_port}")
    server.ask("GET", "/v2/health/live", None, SAMPLED)
    assert server.stop()[0] == 0
    assert [span["name"] for span in spans(collector)] == ["GET /v2/health/live"]
    away = start(tmp_path / "m.tflite", "--traces=http://127.0.0.1:9")
    assert away.ask("GET", "/v2/health/live", None, SAMPLED)[0] == 200
    code, log = away.stop()
    assert code == 0
    assert "Traceback" not in log
