"""Administration without a token: for this machine's programs and the server's own page alone."""

from __future__ import annotations

import hpack
import pytest
from running import MIXED
from test_access import tokens
from test_page import browse
from test_reload import put
from test_rollouts import changed, declare

from edgeline.server.access import Access
from edgeline.server.errors import ServingError
from edgeline.server.http.headers import Headers

__all__ = ["tokens"]
OWN = ["localhost", "LOCALHOST:1", "localhost.", "127.0.0.1:80", "127.0.1.1", "[::1]:8080", "[::1]",
       "[::ffff:127.0.0.1]:1", "app.localhost:3", "0.0.0.0:8080", ""]  # fmt: skip
ELSEWHERE = ["evil.example", "evil.example:8080", "localhost.evil.example", "127.0.0.1.nip.io",
             "localhost:8080@evil.example", "[::1].evil.example", "[::1", "2130706433",
             "\xfc"]  # fmt: skip
SAID = [
    {"Origin": "https://evil.example"},
    {"Origin": "http://localhost:3000"},  # another program's page on this machine
    {"Origin": "null"},
    {"Origin": ""},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Forwarded": "for=192.0.2.1"},
    {"X-Forwarded-For": "192.0.2.1"},
    {"X-Forwarded-Host": "edge"},
    {"X-Forwarded-Proto": "https"},
    {"X-Real-IP": "127.0.0.1"},
    {"Via": "1.1 proxy"},
    {"X-Envoy-External-Address": "192.0.2.1"},
    {"X-Original-Forwarded-For": "192.0.2.1"},
    {"True-Client-IP": "192.0.2.1"},
    {"CF-Connecting-IP": "192.0.2.1"},
    {"X-Forward-For": "192.0.2.1"},
    {"X_Forwarded_For": "192.0.2.1"},
    {"X-Remote-IP": "192.0.2.1"},
    {"X-Azure-ClientIP": "192.0.2.1"},
]
ADMIN = [
    ("POST", "/v2/repository/models/mixed/load"),
    ("POST", "/v2/repository/models/mixed/unload"),
    ("POST", "/rollouts/mixed"),
    ("POST", "/rollouts/mixed/promote"),
    ("DELETE", "/rollouts/mixed"),
    ("POST", "/updates"),
    ("GET", "/updates"),
    ("GET", "/overview"),
    ("GET", "/rollouts"),
    ("GET", "/drift"),
]
OPEN = [
    "/v2/health/live",
    "/v2/health/ready",
    "/v2/models/mixed",
    "/v1/models/mixed",
    "/metrics",
    "/",
]
LOAD = "/inference.GRPCInferenceService/RepositoryModelLoad"


def allowed(access: Access, scope: str, peer: str, **headers: str) -> bool:
    """Whether a call passes, over HTTP and gRPC alike."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    grpc = {":authority" if name == "host" else name: value for name, value in named.items()}
    http = {name.encode(): value.encode("latin-1") for name, value in named.items()}
    found = set()
    for given in (http, grpc):
        try:
            access.check(scope, "", peer, given)
            found.add(True)
        except ServingError as error:
            assert error.http == 403
            assert "serve with --tokens" in str(error)
            found.add(False)
    assert len(found) == 1
    return found.pop()


def test_the_names_of_this_machine():
    access = Access(names=frozenset({"edge-7"}))
    for host in OWN:
        assert allowed(access, "admin", "127.0.0.1", host=host), host
        assert allowed(access, "read", "10.0.0.9", host=host), host
    for host in ELSEWHERE:
        assert not allowed(access, "admin", "127.0.0.1", host=host), host
        assert not allowed(access, "read", "10.0.0.9", host=host), host
        assert allowed(access, "predict", "10.0.0.9", host=host), host
        assert allowed(access, "", "10.0.0.9", host=host), host
    for host in (
        "10.0.0.5:8080",
        "[fe80::1]",
        "edge-7:8080",
        "Edge-7",
    ):  # asked for from the network
        assert allowed(access, "read", "10.0.0.9", host=host), host
        assert not allowed(access, "admin", "127.0.0.1", host=host), host
        assert not allowed(access, "admin", "10.0.0.9", host=host), host


def test_a_page_of_the_server_itself_is_own():
    access = Access()
    for host in ("localhost:8080", "[::1]:8080", "127.0.0.1:9999"):
        for scheme in ("http", "https"):
            origin = f"{scheme}://{host}"
            assert allowed(access, "admin", "127.0.0.1", host=host, origin=origin)
        given = {"host": host, "sec_fetch_site": "same-origin"}
        assert allowed(access, "admin", "::1", **given)
    assert not allowed(access, "admin", "127.0.0.1", host="", origin="null")


def test_a_certificate_is_for_its_own_name():
    assert allowed(Access(), "read", "tls:camera", host="edge-7.factory.example")
    assert not allowed(Access(), "read", "tls:camera", via="1.1 proxy")


@pytest.mark.parametrize("headers", [*SAID, {"Host": "evil.example"}], ids=str)
def test_calls_from_elsewhere_are_refused(server, headers):
    name, value = next(iter(headers.items()))
    for method, path in ADMIN:
        status, answer, _ = server.ask(method, path, b"" if method == "POST" else None, headers)
        assert status == 403, path
        assert f"{name}: {value}".strip().lower() in answer["error"].lower()
        assert "serve with --tokens" in answer["error"]
    for path in OPEN:
        assert server.ask("GET", path, headers=headers)[0] == 200, path
    assert server.ask("POST", "/v2/models/mixed/infer", {}, headers)[0] == 400
    assert server.ask("GET", "/overview")[0] == 200


def test_grpc_from_elsewhere_is_refused(server):
    grpc = pytest.importorskip("grpc")
    for port in (server.http, server.grpc):
        target = f"127.0.0.1:{port}"
        with grpc.insecure_channel(target) as channel:
            load, live = channel.unary_unary(LOAD), channel.unary_unary(LOAD[:-19] + "ServerLive")
            assert load(b"\x0a\x05mixed", timeout=30)
            for name, value in (("x-forwarded-for", "1.2.3.4"), ("via", "2 envoy")):
                with pytest.raises(grpc.RpcError) as refused:
                    load(b"\x0a\x05mixed", timeout=30, metadata=[(name, value)])
                assert refused.value.code() == grpc.StatusCode.PERMISSION_DENIED
                assert live(b"", timeout=30, metadata=[(name, value)]) == b"\x08\x01"
        options = [("grpc.default_authority", "evil.example")]
        with grpc.insecure_channel(target, options) as channel:
            with pytest.raises(grpc.RpcError) as refused:
                channel.unary_unary(LOAD)(b"\x0a\x05mixed", timeout=30)
            assert "Host: evil.example" in refused.value.details()


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        (["Host: localhost", "Host: localhost"], 400),
        (["Host: evil.example", "Host: localhost"], 400),
        (["Host: localhost", "Origin: https://evil.example", "Origin: http://localhost"], 403),
        (["Host: localhost", "Sec-Fetch-Site: cross-site", "Sec-Fetch-Site: none"], 403),
        (["Host: localhost", "Sec-Fetch-Site: none"], 200),
        ([], 200),
    ],
)
def test_a_header_that_is_given_twice_hides_nothing(server, lines, status):
    with server.connect() as connection:
        head = ["POST /v2/repository/models/mixed/load HTTP/1.1", "Content-Length: 0", *lines]
        connection.sendall("\r\n".join([*head, "Connection: close", "", ""]).encode())
        assert int(connection.makefile("rb").readline().split()[1]) == status


def test_a_header_that_is_given_twice_over_http2():
    pairs = [(":authority", "localhost"), ("host", "evil.example"), ("a", "1"), ("a", "2")]
    headers = Headers(1000).decode(hpack.Encoder().encode(pairs))
    assert headers["a"] == "1, 2"
    with pytest.raises(ServingError, match=r"Host: evil\.example"):
        Access().check("admin", "", "127.0.0.1", headers)
    Access().check("admin", "", "127.0.0.1", headers | {"host": "localhost"})


def test_with_a_token_everything_is_as_before(start, store, tokens):
    server = start(store, "--poll=0", f"--tokens={tokens}")
    key = {"Authorization": "Bearer operator"}
    for headers in ({}, *SAID, {"Host": "evil.example"}):
        assert server.ask("POST", "/v2/repository/models/mixed/load", headers=headers)[0] == 401
        status, _, _ = server.ask("POST", "/v2/repository/models/none/load", headers=headers | key)
        assert status == 400  # there is none
        assert server.ask("GET", "/overview", headers=headers | key)[0] == 200


def test_the_page_steers_from_every_name_of_this_machine(start, tmp_path):
    """What the page does in a browser: a GET and a POST of its own origin, through a forwarded
    port too (kubectl port-forward changes the port in Host and Origin alike)."""
    store = tmp_path / "store"
    put(store, 1, MIXED.read_bytes())
    put(store, 2, changed())
    server = start(store, "--poll=0", declare(tmp_path, weight=0.25, automatic=False))
    for host in ("localhost:9000", "127.0.0.1:9000", "[::1]:9000"):
        own = {"Host": host, "Sec-Fetch-Site": "same-origin"}
        assert server.ask("GET", "/overview", headers=own)[0] == 200
        posted = server.ask(
            "POST", "/rollouts/m/return", headers=own | {"Origin": f"http://{host}"}
        )
        assert posted[0] in (200, 400)  # 400: it is returned already
    browser = browse(server, tmp_path / "profile")
    assert ">return<" in browser
