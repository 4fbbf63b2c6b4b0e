"""The end of a process that others send requests to: none is lost."""

from __future__ import annotations

import http.client
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path

import pytest
from pieces import PREFACE, frame, frames
from running import Running, eventually

LIVE = "/v2/health/live"
BODY = bytes(128 * 128 * 3)
INFER = ("POST", "/v2/models/mobilenet/infer", BODY, {"Inference-Header-Content-Length": "0"})


def ask(connection: http.client.HTTPConnection, *request) -> http.client.HTTPResponse:
    connection.request(*request)
    answer = connection.getresponse()
    answer.read()
    return answer


def test_requests_are_taken_for_a_while_and_told_to_go_elsewhere(start, store):
    server = start(store, "--drain", "30")
    kept = http.client.HTTPConnection("127.0.0.1", server.http, timeout=20)
    assert ask(kept, "GET", LIVE).getheader("connection") is None
    with server.connect(server.grpc) as over_http2:
        over_http2.sendall(PREFACE + frame(4, 0, 0, b""))
        os.kill(server.process.pid, signal.SIGTERM)
        eventually(lambda: server.ask("GET", "/v2/health/ready")[0] == 503)
        answer = ask(kept, *INFER)  # on a connection of before, and then on a new one
        assert (answer.status, answer.getheader("connection")) == (200, "close")
        assert server.ask(*INFER)[0] == 200
        over_http2.settimeout(20)
        said = b""
        while not any(kind == 7 for kind, *_ in frames(said)):
            said += over_http2.recv(65536)
    os.kill(server.process.pid, signal.SIGTERM)  # a second one does not wait
    assert server.process.wait(20) == 0


NGINX = """
daemon off; pid {folder}/pid; error_log {folder}/error.log; worker_processes 1;
events {{ worker_connections 256; }}
http {{
  access_log off; client_body_buffer_size 1m;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/a; uwsgi_temp_path {folder}/b; scgi_temp_path {folder}/c;
  upstream servers {{ {servers} keepalive 16; }}
  server {{
    listen 127.0.0.1:{port};
    location / {{
      proxy_pass http://servers; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_set_header Host localhost; proxy_next_upstream off;
    }}
  }}
}}
"""


class Nginx:
    """A real proxy that sends no request twice, before servers that change."""

    def __init__(self, folder: Path, servers: list[Running]) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.folder = folder
        self._write(servers)
        nginx = shutil.which("nginx") or "/usr/sbin/nginx"
        self.process = subprocess.Popen([nginx, "-c", str(folder / "nginx.conf"), "-p", folder])
        eventually(self._answers)

    def to(self, servers: list[Running]) -> None:
        """As a Service whose endpoints have changed."""
        self._write(servers)
        self.process.send_signal(signal.SIGHUP)

    def _write(self, servers: list[Running]) -> None:
        lines = " ".join(f"server 127.0.0.1:{server.http};" for server in servers)
        text = NGINX.format(folder=self.folder, port=self.port, servers=lines)
        (self.folder / "nginx.conf").write_text(text)

    def _answers(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0


@pytest.mark.slow
@pytest.mark.skipif(
    shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin") is None,
    reason="NO NGINX: a rolling update behind a real proxy was not tried",
)
def test_a_rolling_update_behind_a_proxy_loses_nothing(start, store, tmp_path):
    """Each of two servers is replaced; the proxy learns of it a second after the SIGTERM."""
    options = ("--drain", "2", "--names", "localhost")
    servers = [start(store, *options), start(store, *options)]
    nginx = Nginx(tmp_path, servers)
    statuses: list[int | str] = []
    over = threading.Event()

    def client() -> None:
        while not over.is_set():
            # one request each: a reload of nginx itself drops clients' idle connections
            connection = http.client.HTTPConnection("127.0.0.1", nginx.port, timeout=30)
            try:
                statuses.append(ask(connection, *INFER).status)
            except OSError as error:
                statuses.append(repr(error))
            finally:
                connection.close()
            over.wait(0.01)

    clients = [threading.Thread(target=client) for _ in range(4)]
    try:
        for thread in clients:
            thread.start()
        for place in (0, 1):
            new = start(store, *options)
            old = servers[place]
            os.kill(old.process.pid, signal.SIGTERM)
            time.sleep(1)  # as long as it takes the news to reach a proxy
            servers[place] = new
            nginx.to(servers)
            assert old.process.wait(30) == 0
        answered = len(statuses)
        eventually(lambda: len(statuses) > answered + 20)
    finally:
        over.set()
        for thread in clients:
            thread.join()
        nginx.process.terminate()
        nginx.process.wait(20)
    assert set(statuses) == {200}
    assert len(statuses) > 100
