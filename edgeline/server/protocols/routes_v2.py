"""The Open Inference Protocol, version 2, over HTTP: the routes below /v2.

https://kserve.github.io/website/docs/concepts/architecture/data-plane/v2-protocol
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from edgeline.server.access import ADMIN, HEALTH, METADATA, MODEL_HEALTH, PREDICTION
from edgeline.server.http.messages import HttpRequest, HttpResponse
from edgeline.server.models.model import Instance
from edgeline.server.models.pool import Pool
from edgeline.server.protocols.v2_infer import infer
from edgeline.server.protocols.v2_metadata import (
    model_config,
    model_metadata,
    model_statistics,
    server_metadata,
)
from edgeline.server.rollouts.traffic import Traffic
from edgeline.server.routing import Body, Operation, Parameters, Route, RouteTable, letters_decoded
from edgeline.server.state import ServerState
from edgeline.server.tensors.json import dumps, loads
from edgeline.server.tensors.pictures import MEDIA_TYPES

_ABSENT = (404, 503)
_BUSY = (409, 413, 415, 429, 501, 503, 504)  # 501: an image, without Pillow


def table(state: ServerState) -> RouteTable:
    """The routes below /v2; slashes after it and at the end do not count."""
    calls = _Calls(state)
    routes = [*_of_server(calls), *_of_repository(calls)]
    for base in ("/v2/models/{model}", "/v2/models/{model}/versions/{version}"):
        routes += _of_model(calls, base)
    return RouteTable(routes, {"model": "[^/]*", "version": "[^/]*"}, tidied=_tidied)


def _of_server(calls: _Calls) -> Iterator[Route]:
    def get(path: str, kind: Any, answer: Any, *operation: Any) -> Route:
        return Route("GET", path, kind, Operation(*operation), answer=answer)

    yield get("/v2", METADATA, calls.server, "The server's name, version and extensions")
    yield get("/v2/health/live", HEALTH, calls.live, "Whether the server lives")
    yield get("/v2/health/ready", HEALTH, calls.ready, "Whether all models are ready", (503,))
    yield get("/v2/models", METADATA, calls.names, "The models")
    yield get("/v2/models/stats", METADATA, calls.all_statistics, "Statistics of what is served")


def _of_repository(calls: _Calls) -> Iterator[Route]:
    index = Operation("The versions and their states", body=Body("IndexRequest"))
    yield Route("POST", "/v2/repository/index", METADATA, index, answer=calls.index)
    for path, summary, later in (
        ("/v2/repository/models/{model}/load", "Load a model", calls.load),
        ("/v2/repository/models/{model}/unload", "Unload a model", calls.unload),
    ):
        yield Route("POST", path, ADMIN, Operation(summary, body=Body("Empty")), later=later)


def _of_model(calls: _Calls, base: str) -> Iterator[Route]:
    for path, kind, answer, summary in (
        ("", METADATA, calls.metadata, "Inputs and outputs of a model"),
        ("/ready", MODEL_HEALTH, calls.model_ready, "Whether a model is ready"),
        ("/config", METADATA, calls.config, "The model's configuration"),
        ("/stats", METADATA, calls.statistics, "The model's statistics"),
    ):
        yield Route("GET", base + path, kind, Operation(summary, _ABSENT), answer=answer)
    inference = Operation("Inference", _BUSY, Body("InferRequest", True, tuple(MEDIA_TYPES)))
    yield Route("POST", base + "/infer", PREDICTION, inference, pool=calls.pool, work=calls.infer)


def _tidied(path: str) -> str:
    """Without slashes after /v2 and at the end."""
    if not path.startswith("/v2/"):
        return path
    return letters_decoded(f"/v2/{path[3:].strip('/')}".removesuffix("/"))


class _Calls:
    """What answers."""

    def __init__(self, state: ServerState) -> None:
        self._state, self._served, self._repository = state, state.served, state.repository

    def server(self, _: HttpRequest, __: Parameters) -> HttpResponse:
        return _json(server_metadata())

    def live(self, _: HttpRequest, __: Parameters) -> HttpResponse:
        return _json({"live": True})

    def ready(self, _: HttpRequest, __: Parameters) -> HttpResponse:
        ready = self._served.ready
        return _json({"ready": ready}, 200 if ready else 503)

    def names(self, _: HttpRequest, __: Parameters) -> HttpResponse:
        return _json({"models": sorted(self._served.models)})

    def all_statistics(self, _: HttpRequest, __: Parameters) -> HttpResponse:
        served = [(name, str(version)) for name, version, _ in self._served.serving()]
        return _json({"model_stats": [model_statistics(self._state, *which) for which in served]})

    def index(self, request: HttpRequest, _: Parameters) -> HttpResponse:
        only_ready = False
        if (body := self._state.small_body(request)).strip():
            asked = loads(body)
            only_ready = isinstance(asked, dict) and asked.get("ready") is True
        entries = self._served.index()
        return _json([e for e in entries if e.state == "READY" or not only_ready])

    async def load(self, _: HttpRequest, given: Parameters) -> HttpResponse:
        await self._repository.load(given["model"])
        return _json({})

    async def unload(self, _: HttpRequest, given: Parameters) -> HttpResponse:
        await self._repository.unload(given["model"])
        return _json({})

    def pool(self, given: Parameters) -> Pool | Traffic:
        return self._served.pool(given["model"], given.get("version", ""))

    def infer(self, request: HttpRequest, instance: Instance) -> HttpResponse:
        return infer(self._state.body(request), request, instance)

    def metadata(self, _: HttpRequest, given: Parameters) -> HttpResponse:
        description = self.pool(given).description
        versions = sorted(self._served.model(given["model"]).pools)
        return _json(model_metadata(description, versions))

    def model_ready(self, _: HttpRequest, given: Parameters) -> HttpResponse:
        self.pool(given)
        return _json({"name": given["model"], "ready": True})

    def statistics(self, _: HttpRequest, given: Parameters) -> HttpResponse:
        which = given["model"], given.get("version", "")
        return _json({"model_stats": [model_statistics(self._state, *which)]})

    def config(self, _: HttpRequest, given: Parameters) -> HttpResponse:
        return _json(model_config(self.pool(given).description))


def _json(value: object, status: int = 200) -> HttpResponse:
    return HttpResponse(status, dumps(value))
