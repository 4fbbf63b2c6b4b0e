"""Without a token: predictions and health for everybody, the rest not for other sites' pages and
proxies, administration for this machine's programs and the server's own page alone."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from pieces import STATELESS
from running import MIXED
from test_access import tokens
from test_page import browse
from test_reload import put
from test_rollouts import changed, declare

from edgeline.server.access import (
    ADMIN,
    EXPLANATION,
    HEALTH,
    LABELS,
    METADATA,
    MODEL_HEALTH,
    PREDICTION,
    PUBLIC,
    READ,
    Access,
    CallKind,
)
from edgeline.server.app import GrpcMethod
from edgeline.server.errors import ServingError
from edgeline.server.protocols import routes
from edgeline.server.protocols.openapi import openapi
from edgeline.server.routing import Route, Router

__all__ = ["tokens"]
OWN = ["localhost", "LOCALHOST:1", "localhost.", "127.0.0.1:80", "127.0.1.1", "[::1]:8080", "[::1]",
       "[::ffff:127.0.0.1]:1", "app.localhost:3", "0.0.0.0:8080"]  # fmt: skip
ELSEWHERE = ["evil.example", "evil.example:8080", "localhost.evil.example", "127.0.0.1.nip.io",
             "localhost:8080@evil.example", "[::1].evil.example", "[::1", "2130706433",
             "\xfc", "", "[localhost]", "[::1%evil.example]", "localhost:99999999",
             "::1", "evil.com@x.localhost", "evil.com/.localhost", "a b.localhost", ".localhost",
             "localhost\xa0", "localhost\x85", "a..localhost", "localhost..", "x\xb2.localhost",
             "127.0.0.1\x1f", "localhost,localhost", "*.localhost"]  # fmt: skip
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
    {"Proxy-Client-IP": "192.0.2.1"},
    {"X-True-Client-IP": "192.0.2.1"},
    {"Incap-Client-IP": "192.0.2.1"},
    {"X-Sucuri-ClientIP": "192.0.2.1"},
    {"X-Vercel-Forwarded-For": "192.0.2.1"},
    {"Fly-Forwarded-Port": "443"},
    {"X-MS-Forwarded-Client-Cert": "cert"},
    {"X-BlueCoat-Via": "66808702E9A98546"},
    {"X-Real-Port": "443"},
    {"Ali-CDN-Real-IP": "192.0.2.1"},
    {"Cdn-Src-Ip": "192.0.2.1"},
    {"CloudFront-Viewer-Address": "192.0.2.1:46532"},
    {"Tailscale-User-Login": "a@example.org"},
    {"X-NginX-Proxy": "true"},
    {"X-ARR-LOG-ID": "1"},
    {"Remote-Addr": "192.0.2.1"},
    {"X-Host": "edge"},
    {"X-Scheme": "https"},
    {"X-Varnish": "12345"},
    {"X-Amz-Cf-Id": "abc"},
    {"X-Amzn-Trace-Id": "Root=1-67891233-abcdef012345678912345678"},
    {"X-Cloud-Trace-Context": "105445aa7843bc8bf206b12000100000/1;o=1"},
    {"Front-End-Https": "On"},
    {"X-Url-Scheme": "https"},
    {"X-Rewrite-Url": "/"},
    {"X-Kong-Request-Id": "1"},
    {"X-Client-Cert": "cert"},
    {"Client-Cert": ":MIIB:"},
    {"Ssl-Client-Verify": "SUCCESS"},
    {"X-SSL-Client-CN": "camera"},
    {"Surrogate-Capability": 'proxy="Surrogate/1.0"'},
    {"X-Http-Host-Override": "edge"},
    {"X-Auth-Request-User": "anna"},
    {"Origin": "https://localhost"},  # of a proxy with TLS
    {"Origin": "ftp://localhost"},
    {"Origin": "chrome-extension://localhost"},
]
FOREIGN = [
    {"Origin": "https://evil.example"},
    {"Host": "evil.example"},
    {"Sec-Fetch-Site": "cross-site"},
    {"X-Forwarded-For": "192.0.2.1"},
]
# all that answers them without a token: predictions and health
V2 = ("/v2/models/{model}", "/v2/models/{model}/versions/{version}")
V1 = (
    "/v1/models/{model}",
    "/v1/models/{model}/versions/{version}",
    "/v1/models/{model}/labels/{label}",
)
HTTP_FOR_ALL = {
    "GET /",  # but not the page
    "GET /v2/health/live",
    "GET /v2/health/ready",
    *(call for model in V2 for call in (f"GET {model}/ready", f"POST {model}/infer")),
    *(f"GET {model}" for model in V1),
    *(f"POST {model}:{verb}" for model in V1 for verb in ("predict", "classify", "regress")),
}
GRPC_FOR_ALL = {
    "/inference.GRPCInferenceService/ServerLive",
    "/inference.GRPCInferenceService/ServerReady",
    "/inference.GRPCInferenceService/ModelReady",
    "/inference.GRPCInferenceService/ModelInfer",
    "/inference.GRPCInferenceService/ModelStreamInfer",
    "/tensorflow.serving.ModelService/GetModelStatus",
    "/tensorflow.serving.PredictionService/Predict",
    "/tensorflow.serving.PredictionService/Classify",
    "/tensorflow.serving.PredictionService/Regress",
    "/tensorflow.serving.PredictionService/MultiInference",
    "/grpc.health.v1.Health/Check",
    "/grpc.health.v1.Health/Watch",
}


ROUTER = Router(routes.tables(STATELESS, None, None, None))


def documented() -> Iterator[tuple[str, str, set[str]]]:
    """Method, path and statuses of each call that the OpenAPI document has."""
    for path, item in openapi(ROUTER.routes)["paths"].items():
        for method, operation in item.items():
            if method != "parameters":
                yield method.upper(), path, set(operation["responses"])


def concrete(path: str) -> str:
    return path.format(model="mobilenet", version=1, label="stable")


def route_of(method: str, path: str) -> Route:
    return ROUTER.find(method, concrete(path).encode())[0]


def methods() -> dict[str, GrpcMethod]:
    return routes.methods(STATELESS)[0]


def allowed(access: Access, kind: CallKind, peer: str, **headers: str) -> bool:
    """Whether a call passes, over HTTP and gRPC alike."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    grpc = {":authority" if name == "host" else name: value for name, value in named.items()}
    http = {name.encode(): value.encode("latin-1") for name, value in named.items()}
    found = set()
    for given in (http, grpc):
        try:
            access.check(kind, "", peer, given)
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
        assert allowed(access, ADMIN, "127.0.0.1", host=host), host
        for kind in (READ, LABELS, METADATA, PUBLIC):
            assert allowed(access, kind, "10.0.0.9", host=host), host
    for host in ELSEWHERE:
        assert not allowed(access, ADMIN, "127.0.0.1", host=host), host
        for kind in (READ, LABELS, METADATA, PUBLIC):
            assert not allowed(access, kind, "10.0.0.9", host=host), host
        for kind in (PREDICTION, HEALTH, MODEL_HEALTH):
            assert allowed(access, kind, "10.0.0.9", host=host), host
    # asked for from the network, as Prometheus asks for a pod
    for host in ("10.0.0.5:8080", "[fe80::1]", "edge-7:8080", "Edge-7"):
        for kind in (READ, LABELS, METADATA, PUBLIC):
            assert allowed(access, kind, "10.0.0.9", host=host), host
        assert not allowed(access, ADMIN, "127.0.0.1", host=host), host
        assert not allowed(access, ADMIN, "10.0.0.9", host=host), host


def test_a_page_of_the_server_itself_is_own():
    access = Access()
    for host in ("localhost:8080", "[::1]:8080", "127.0.0.1:9999"):
        for scheme in ("http", "https"):
            own = f"{scheme}://{host}"
            assert allowed(Access(scheme=scheme), ADMIN, "127.0.0.1", host=host, origin=own)
            other = "http" if scheme == "https" else "https"
            assert not allowed(Access(scheme=other), ADMIN, "127.0.0.1", host=host, origin=own)
        given = {"host": host, "sec_fetch_site": "same-origin"}
        assert allowed(access, ADMIN, "::1", **given)
    assert not allowed(access, ADMIN, "127.0.0.1", host="", origin="null")


def test_a_certificate_is_for_its_own_name():
    for kind in (READ, LABELS, METADATA):
        assert allowed(Access(), kind, "tls:camera", host="edge-7.factory.example")
        assert not allowed(Access(), kind, "tls:camera", via="1.1 proxy")


def test_a_certificate_alone_does_not_explain():
    assert allowed(Access(), EXPLANATION, "10.0.0.9", host="localhost")
    assert not allowed(Access(), EXPLANATION, "tls:camera", host="localhost")
    assert allowed(Access({}), PREDICTION, "tls:camera", host="localhost")


def test_no_route_but_predictions_and_health_is_for_all():
    """A new one that is for all has to be named above."""
    calls = {f"{route.method} {route.path}": route.kind for route in ROUTER.routes}
    assert {call for call, kind in calls.items() if kind.foreign} == HTTP_FOR_ALL
    assert {name for name, method in methods().items() if method.kind.foreign} == GRPC_FOR_ALL


def test_a_server_answers_what_its_document_says_and_nothing_else(server):
    status, document, _ = server.ask("GET", "/openapi.json")
    assert status == 200
    said = {
        (method.upper(), path)
        for path, item in document["paths"].items()
        for method in item.keys() - {"parameters"}
    }
    assert said == {(route.method, route.path) for route in ROUTER.routes}
    for method, path in said:  # no route stands before another's path
        assert (route_of(method, path).method, route_of(method, path).path) == (method, path)
    for path in document["paths"]:
        allowed = {method for method, known in said if known == path}
        status, answer, headers = server.ask("PATCH", concrete(path))
        assert status == 405
        listed = {method.strip() for method in headers["allow"].split(",")}
        assert listed == allowed | ({"HEAD"} if "GET" in allowed else set())
        assert all(method in answer["error"] for method in allowed)


def test_the_document_says_who_is_refused():
    for method, path, statuses in documented():
        kind = route_of(method, path).kind
        closed = not kind.foreign or path == "/"  # where the page is
        assert ("401" in statuses) == bool(kind.scope), path
        assert ("403" in statuses) == (bool(kind.scope) or closed), path


@pytest.mark.parametrize("headers", FOREIGN, ids=str)
def test_every_route_refuses_what_is_foreign_but_predictions_and_health(server, headers):
    ((name, value),) = headers.items()
    for method, path, _ in documented():
        body = b"{}" if method == "POST" else None
        status, answer, _ = server.ask(method, concrete(path), body, headers)
        if f"{method} {path}" in HTTP_FOR_ALL:
            assert status in (200, 400), path  # 400: the body has no inputs
        else:
            assert status == 403, path
            assert f"{name}: {value}".lower() in answer["error"].lower()
            assert "serve with --tokens" in answer["error"]
    assert server.ask("GET", "/", headers=headers | {"Accept": "text/html"})[0] == 403
    assert server.ask("GET", "/", headers={"Accept": "text/html"})[0] == 200


@pytest.mark.parametrize("headers", FOREIGN, ids=str)
def test_every_grpc_method_refuses_what_is_foreign(server, headers):
    grpc = pytest.importorskip("grpc")
    ((name, value),) = headers.items()
    host = name == "Host"
    options = [("grpc.default_authority", value)] if host else []
    metadata = [] if host else [(name.lower(), value)]
    for port in (server.http, server.grpc):
        with grpc.insecure_channel(f"127.0.0.1:{port}", options) as channel:
            for method in methods():
                try:
                    # a call of many messages is begun as one of one; a watch has no end
                    call = channel.stream_stream(method)(iter([b""]), timeout=30, metadata=metadata)
                    next(call, None)
                    call.cancel()
                    code, said = grpc.StatusCode.OK, ""
                except grpc.RpcError as error:
                    code, said = error.code(), error.details()
                refused = code == grpc.StatusCode.PERMISSION_DENIED
                assert refused == (method not in GRPC_FOR_ALL), method
                assert not refused or "serve with --tokens" in said


@pytest.mark.parametrize("headers", [*SAID, {"Host": "evil.example"}], ids=str)
def test_all_that_says_elsewhere_is_seen(server, headers):
    name, value = next(iter(headers.items()))
    for method, path in (
        ("POST", "/v2/repository/models/mixed/load"),
        ("GET", "/overview"),
        ("GET", "/metrics"),
    ):
        status, answer, _ = server.ask(method, path, b"" if method == "POST" else None, headers)
        assert status == 403, path
        assert f"{name}: {value}".strip().lower() in answer["error"].lower()
        assert "serve with --tokens" in answer["error"]
    assert server.ask("GET", "/v2/health/ready", headers=headers)[0] == 200
    assert server.ask("POST", "/v2/models/mixed/infer", {}, headers)[0] == 400
    assert server.ask("GET", "/overview")[0] == 200


def test_further_names_of_a_server(start, store):
    server = start(store, "--poll=0", "--names=edge-7.example, Taxi.edgeline.svc")
    load = "/v2/repository/models/mixed/load"
    for host in ("edge-7.example", "EDGE-7.example.:9000", "taxi.edgeline.svc:80"):
        own = {"Host": host}
        assert server.ask("GET", "/metrics", headers=own)[0] == 200
        assert server.ask("GET", "/v2/models/mixed", headers=own)[0] == 200
        assert server.ask("GET", "/overview", headers=own)[0] == 200
        status, answer, _ = server.ask("POST", load, headers=own)
        assert status == 403
        assert "ask for localhost, or serve with --tokens" in answer["error"]
        through = own | {"X-Forwarded-For": "192.0.2.1"}
        assert server.ask("GET", "/metrics", headers=through)[0] == 403
    for host in ("example", "a.edge-7.example", "svc"):
        status, answer, _ = server.ask("GET", "/metrics", headers={"Host": host})
        assert status == 403
        assert "give the server's name with --names, or serve with --tokens" in answer["error"]


def test_with_a_token_everything_is_as_before(start, store, tokens):
    server = start(store, "--poll=0", f"--tokens={tokens}")
    key = {"Authorization": "Bearer operator"}
    for headers in ({}, *SAID, {"Host": "evil.example"}):
        assert server.ask("POST", "/v2/repository/models/mixed/load", headers=headers)[0] == 401
        assert server.ask("GET", "/metrics", headers=headers)[0] == 401
        assert server.ask("GET", "/metrics", headers=headers | key)[0] == 200
        assert server.ask("GET", "/openapi.json", headers=headers)[0] == 200
        assert server.ask("GET", "/", headers=headers | {"Accept": "text/html"})[0] == 200
        status, _, _ = server.ask("POST", "/v2/repository/models/none/load", headers=headers | key)
        assert status == 400  # there is none
        assert server.ask("GET", "/overview", headers=headers | key)[0] == 200


@pytest.mark.slow
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
