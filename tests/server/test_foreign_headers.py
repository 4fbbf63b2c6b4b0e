"""No way of writing a request hides where it comes from or which name it asks for."""

from __future__ import annotations

import hpack
import pytest

from edgeline.server.access import ADMIN, Access
from edgeline.server.errors import ServingError
from edgeline.server.http.headers import Headers


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        (["Host: localhost", "Host: localhost"], 400),
        (["Host: evil.example", "Host: localhost"], 400),
        (["Host: localhost", "Origin: https://evil.example", "Origin: http://localhost"], 403),
        (["Host: localhost", "Sec-Fetch-Site: cross-site", "Sec-Fetch-Site: none"], 403),
        (["Host: localhost", "Sec-Fetch-Site: none"], 200),
        (["Host: localhost", "Sec-Fetch-Site: Same-Origin"], 200),
        (["Host: localhost:80", "Origin: http://localhost"], 200),
        (["Host: localhost", "Origin: HTTP://localhost:80"], 200),
        (["Host: localhost", "Origin: https://localhost:443"], 403),
        (["Host: localhost\t "], 200),
        (["Host:"], 403),
        ([], 400),
        (["Host: local host"], 400),
        (["Host: localhost/x"], 400),
        (["Host: user@localhost"], 400),
        (["Host: localhost:80a"], 400),
        (["Host: [::1]:80"], 200),
        (["Host: [::1%25lo]"], 400),
    ],
)
def test_a_header_that_is_given_twice_hides_nothing(server, lines, status):
    with server.connect() as connection:
        head = ["POST /v2/repository/models/mixed/load HTTP/1.1", "Content-Length: 0", *lines]
        connection.sendall("\r\n".join([*head, "Connection: close", "", ""]).encode())
        assert int(connection.makefile("rb").readline().split()[1]) == status


@pytest.mark.parametrize(
    ("target", "host", "status"),
    [
        ("http://localhost/overview", "localhost", 200),
        ("HTTP://127.0.0.1:8080/overview", "localhost", 200),
        ("http://evil.example/overview", "localhost", 403),  # what is asked for stands in it
        ("http://localhost/overview", "evil.example", 200),
        ("http://user@localhost/overview", "localhost", 404),
        ("http://localhost?x=1", "localhost", 200),
    ],
)
def test_a_target_in_absolute_form(server, target, host, status):
    with server.connect() as connection:
        head = f"GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
        connection.sendall(head.encode())
        assert int(connection.makefile("rb").readline().split()[1]) == status


def test_http_1_0_needs_no_host_for_health_alone(server):
    for path, status in (("/v2/health/ready", 200), ("/overview", 403)):
        with server.connect() as connection:
            connection.sendall(f"GET {path} HTTP/1.0\r\n\r\n".encode())
            assert int(connection.makefile("rb").readline().split()[1]) == status


def test_a_trailer_is_no_header(server):
    chunks = "2\r\n{}\r\n0\r\n"
    load = "POST /v2/repository/models/mixed/load HTTP/"
    for version, lines, trailers, status in (
        ("1.0", "", "Host: localhost\r\n", 400),
        ("1.1", "", "Host: localhost\r\n", 400),
        ("1.1", "Host: evil.example\r\n", "X: localhost\r\n", 403),
        ("1.1", "Host: localhost\r\n", "Host: evil.example\r\nVia: 1.1 proxy\r\n", 200),
    ):
        with server.connect() as connection:
            head = f"{load}{version}\r\n{lines}Transfer-Encoding: chunked\r\nConnection: close"
            connection.sendall(f"{head}\r\n\r\n{chunks}{trailers}\r\n".encode())
            assert int(connection.makefile("rb").readline().split()[1]) == status, lines


@pytest.mark.parametrize("version", ["0.9", "2.0", "3.0", "1.2"])
def test_other_versions_of_http_are_not_served(server, version):
    with server.connect() as connection:
        connection.sendall(f"GET /v2/health/live HTTP/{version}\r\nHost: a\r\n\r\n".encode())
        assert int(connection.makefile("rb").readline().split()[1]) == 400


def test_a_header_that_is_given_twice_over_http2():
    pairs = [(":authority", "localhost"), ("host", "evil.example"), ("a", "1"), ("a", "2")]
    block = Headers(1000).decode(hpack.Encoder().encode(pairs))
    assert block is not None
    assert not block.is_request  # for two hosts
    headers = block.headers
    assert headers["a"] == "1, 2"
    with pytest.raises(ServingError, match=r"Host: evil\.example"):
        Access().check(ADMIN, "", "127.0.0.1", headers)
    Access().check(ADMIN, "", "127.0.0.1", headers | {"host": "localhost"})
