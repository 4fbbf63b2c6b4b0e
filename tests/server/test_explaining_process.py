"""The process that explains: of which files, with what at hand, and how it ends."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import socket

import pytest
from running import Running, eventually
from test_explanations import PATH, ROW, children, explain, recorded

from edgeline.server.http import frames as h2
from edgeline.server.http.http2 import PREFACE

pytestmark = pytest.mark.slow


def test_the_model_that_answers_is_explained_or_none(start, tmp_path):
    folder = recorded(tmp_path / "store" / "m" / "1", 2.0)
    server = start(tmp_path / "store", "--poll=0", "--explain=30", "--explain-rows=200")
    first = explain(server, ROW)
    assert first[0] == 200
    shutil.rmtree(folder)
    recorded(tmp_path / "new", 7.0).rename(folder)
    assert explain(server, ROW) == first  # what the process holds still is what answers
    (child,) = children(server)
    os.kill(child, signal.SIGKILL)
    # once the server has seen its end
    said = "is being replaced: its files are not those of the model that answers"
    eventually(lambda: said in explain(server, ROW)[1]["error"])
    assert explain(server, ROW)[0] == 503
    assert server.ask("POST", "/v2/repository/models/m/load")[0] == 200
    status, answer = explain(server, ROW)
    assert status == 200
    assert answer["explanations"][0]["score"] == answer["predictions"][0]["score"][0]
    predicted = explain(server, ROW, path="/v1/models/m:predict")[1]
    assert answer["predictions"] == predicted["predictions"] != first[1]["predictions"]


def test_what_is_begun_is_finished_when_the_server_is_told_to_end(tmp_path):
    server = Running(
        recorded(tmp_path / "m"),
        *("--poll=0", "--explain=3", "--explain-rows=1000000000", "--request-time=60"),
    )
    assert explain(server, ROW)[0] == 200  # its process has begun
    connection = http.client.HTTPConnection("127.0.0.1", server.http, timeout=60)
    connection.request("POST", PATH, json.dumps({"instances": [ROW] * 50}))
    eventually(lambda: server.metric("edgeline_explanations_waiting") == 1)
    (child,) = children(server)
    assert os.getpgid(child) != os.getpgid(server.process.pid)
    os.kill(child, signal.SIGTERM)  # as systemd signals all of a service
    os.kill(server.process.pid, signal.SIGTERM)
    assert connection.getresponse().status == 200
    connection.close()
    code, log = server.stop()
    assert (code, "ended (" in log) == (0, False), log


def test_a_process_that_cannot_begin_leaves_its_reason(tmp_path, monkeypatch):
    (tmp_path / "path").mkdir()
    (tmp_path / "path" / "sitecustomize.py").write_text(
        "import os, sys\n"
        "if 'edgeline.server.explain_child' in sys.orig_argv:\n"
        "    os.write(2, b'x' * 10_000 + b' there is no room for me')\n"
        "    os._exit(3)\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "path"))
    server = Running(recorded(tmp_path / "m"), "--poll=0", "--explain=3")
    status, answer = explain(server, ROW)
    assert status == 503
    assert answer["error"].endswith("'m' ended (exit status 3): see the server's log.")
    _, log = server.stop()
    assert "ended (exit status 3).\\nxxx" in log
    assert "x there is no room for me" in log
    assert log.count("x") < 4200  # the end of what it wrote


ASKED = json.dumps({"instances": [ROW] * 500}).encode()
HTTP_1 = (
    b"POST /v1/models/m:explain HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%b"
) % (len(ASKED), ASKED)


def literal(index: int, value: bytes) -> bytes:
    """A header of HPACK's static table, with a value."""
    return bytes([index, len(value)]) + value


def frame(kind: int, flags: int, number: int, payload: bytes) -> bytes:
    return h2.frame(len(payload), kind, flags, number) + payload


def http_2(port: int) -> bytes:
    """A request and its end by RST_STREAM."""
    target = literal(4, b"/v1/models/m:explain")
    block = b"\x83\x86" + literal(1, b"127.0.0.1:%d" % port) + target
    pieces = [ASKED[at : at + 16_000] for at in range(0, len(ASKED), 16_000)]
    return b"".join(
        [
            frame(h2.HEADERS, h2.END_HEADERS, 1, block),
            *(frame(h2.DATA, 0, 1, piece) for piece in pieces[:-1]),
            frame(h2.DATA, h2.END_STREAM, 1, pieces[-1]),
            frame(h2.RST, 0, 1, h2.U32.pack(8)),
        ]
    )


def test_a_client_that_is_gone_is_not_explained_to_the_end(start, tmp_path):
    server = start(
        recorded(tmp_path / "m"),
        *("--poll=0", "--explain=60", "--explain-rows=1000000000", "--request-time=120"),
    )
    assert explain(server, ROW)[0] == 200  # its process has begun

    def cancelled() -> float:
        return server.metric('edgeline_explanations_total{model="m",version="1",code="CANCELLED"}')

    def cancel_seen(count: int) -> None:
        eventually(lambda: cancelled() == count)

    def waiting() -> float:
        return server.metric("edgeline_explanations_waiting")

    for count, behind in enumerate((b"G", b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"), 1):
        with server.connect() as connection:
            connection.sendall(HTTP_1 + behind)
            eventually(lambda: waiting() == 1)
        cancel_seen(count)
    with server.connect() as connection:  # two, and then half of the connection closed
        connection.sendall(HTTP_1 + HTTP_1)
        eventually(lambda: waiting() == 1)
        connection.shutdown(socket.SHUT_WR)
        cancel_seen(4)
    with server.connect() as connection:
        connection.sendall(PREFACE + frame(h2.SETTINGS, 0, 0, b""))
        assert connection.recv(9)
        connection.sendall(http_2(server.http))
        cancel_seen(5)
    assert waiting() == 0
    assert explain(server, ROW)[0] == 200
