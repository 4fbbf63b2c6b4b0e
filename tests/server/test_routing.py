"""Which path is which call: templates, slashes, upper and lower case, what is percent-encoded."""

from __future__ import annotations

import pytest
from pieces import STATELESS

from edgeline.server.access import HEALTH
from edgeline.server.errors import ServingError
from edgeline.server.http.messages import error_response
from edgeline.server.protocols import routes
from edgeline.server.protocols.openapi import openapi
from edgeline.server.routing import Operation, Route, Router, RouteTable

ROUTER = Router(routes.tables(STATELESS, None, None, None))
V1, V2 = "/v1/models/{model}", "/v2/models/{model}"


def route(method: str, path: str) -> Route:
    return Route(method, path, HEALTH, Operation("A call"))


@pytest.mark.parametrize(
    ("method", "target", "path", "given"),
    [
        ("POST", "/v2/models/m/infer", V2 + "/infer", {"model": "m"}),
        ("POST", "/v2//models/m/infer//?a=/b", V2 + "/infer", {"model": "m"}),
        ("POST", "/v2/models/m/inf%65r", V2 + "/infer", {"model": "m"}),
        ("POST", "/v2/models/a%2Fb%20c/infer", V2 + "/infer", {"model": "a/b c"}),
        ("GET", "/v2/models/a:b", V2, {"model": "a:b"}),
        ("GET", "/v2/models//ready", V2 + "/ready", {"model": ""}),
        ("GET", "/v2/models/m/versions/x", V2 + "/versions/{version}",
         {"model": "m", "version": "x"}),
        ("HEAD", "/v2/models/stats/", "/v2/models/stats", {}),
        ("GET", "/v2/", "/v2", {}),
        ("POST", "/V1/Models/M:Predict/", V1 + ":predict", {"model": "M"}),
        ("POST", "/v1/models/m/versions/07:classify", V1 + "/versions/{version}:classify",
         {"model": "m", "version": "07"}),
        ("GET", "/v1/models/a%3Ab/labels/l%2561/metadata", V1 + "/labels/{label}/metadata",
         {"model": "a:b", "label": "l%61"}),
        ("GET", "/v1/models///", "/v1/models", {}),
        ("GET", "//drift/m/", "/drift/{model}", {"model": "m"}),
        ("POST", "/rollouts/m/prom%6Fte", "/rollouts/{model}/promote", {"model": "m"}),
    ],
)  # fmt: skip
def test_what_a_path_is(method, target, path, given):
    for _ in range(2):  # the second time it is remembered
        found, parameters = ROUTER.find(method, target.encode())
        assert (found.path, parameters) == (path, given)


@pytest.mark.parametrize(
    "target",
    ["", "//", "/V2", "/v2models", "/v2/models/m/versions", "/v2/models/m/versions//",
     "/v2/models/m/nothing", "/v1/models/m//", "/v1/models/m:n:predict", "/v1/models/m/versions/x",
     "/v1/models/m/versions/1234567890123456789", "/v1/models/:predict", "/drift/m/n",
     "/Overview", "/overview/", "/rollouts/", "/rollouts//promote", "/rollouts/m/start",
     "/updates/"],
)  # fmt: skip
def test_what_is_no_path(target):
    with pytest.raises(ServingError, match="There is nothing at") as caught:
        ROUTER.find("GET", target.encode())
    assert caught.value.http == 404


def test_the_first_template_has_the_path_whatever_the_method():
    router = Router([RouteTable([route("GET", "/a/b"), route("POST", "/a/{model}")])])
    assert router.find("POST", b"/a/c")[0].path == "/a/{model}"
    with pytest.raises(ServingError, match=r"This path takes GET\.") as caught:
        router.find("POST", b"/a/b")
    assert caught.value.http == 405
    assert b"Allow: GET, HEAD" in error_response(caught.value).headers


def test_every_route_says_what_answers_and_what_the_document_knows():
    document = openapi(ROUTER.routes)
    for one in ROUTER.routes:
        assert sum(call is not None for call in (one.answer, one.later, one.work)) == 1
        assert (one.pool is None) == (one.work is None)
        assert one.operation.body is None or (
            one.operation.body.schema in document["components"]["schemas"]
        )
    assert len({(one.method, one.path) for one in ROUTER.routes}) == len(ROUTER.routes)
