"""The Open Inference Protocol, version 2, over HTTP: the endpoints below /v2.

https://kserve.github.io/website/docs/concepts/architecture/data-plane/v2-protocol
"""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote

from edgeline.server.access import ADMIN, HEALTH, METADATA, MODEL_HEALTH, PREDICTION
from edgeline.server.app import App, Endpoint
from edgeline.server.http.http1 import Request, Response
from edgeline.server.protocols.v2_infer import infer
from edgeline.server.protocols.v2_metadata import (
    model_config,
    model_metadata,
    model_statistics,
    server_metadata,
)
from edgeline.server.tensors.json import dumps, loads


def resolver(app: App) -> Any:
    """The endpoints of each path below /v2."""
    repository = app.repository

    def json(value: Any, status: int = 200) -> Response:
        return Response(status, dumps(value))

    def ready(_: Request) -> Response:
        return json({"ready": repository.ready}, 200 if repository.ready else 503)

    def of_model(name: str, version: str, what: str) -> list[Endpoint] | None:
        def metadata(_: Request) -> Response:
            pool = repository.pool(name, version)
            versions = sorted(repository.models[name].pools)
            return json(model_metadata(pool.description, versions))

        def model_ready(_: Request) -> Response:
            repository.pool(name, version)
            return json({"name": name, "ready": True})

        def statistics(_: Request) -> Response:
            return json({"model_stats": [model_statistics(app, name, version)]})

        def config(_: Request) -> Response:
            return json(model_config(repository.pool(name, version).description))

        gets = {"": metadata, "ready": model_ready, "stats": statistics, "config": config}
        if what == "infer":
            return [
                Endpoint(
                    "POST",
                    PREDICTION,
                    pool=lambda: repository.pool(name, version),
                    work=lambda request, instance: infer(app.body(request), request, instance),
                )
            ]
        kind = MODEL_HEALTH if what == "ready" else METADATA
        return [Endpoint("GET", kind, answer=gets[what])] if what in gets else None

    def index(request: Request) -> Response:
        only_ready = False
        if request.body.strip():
            asked = loads(app.body(request))
            only_ready = isinstance(asked, dict) and asked.get("ready") is True
        entries = repository.index()
        return json([e for e in entries if e["state"] == "READY" or not only_ready])

    def statistics_of_all(_: Request) -> Response:
        served = [(name, str(version)) for name, version, _ in repository.serving()]
        return json({"model_stats": [model_statistics(app, *which) for which in served]})

    fixed = {
        "": [Endpoint("GET", METADATA, answer=lambda _: json(server_metadata()))],
        "health/live": [Endpoint("GET", HEALTH, answer=lambda _: json({"live": True}))],
        "health/ready": [Endpoint("GET", HEALTH, answer=ready)],
        "models": [Endpoint("GET", METADATA, answer=lambda _: json(_names(app)))],
        "models/stats": [Endpoint("GET", METADATA, answer=statistics_of_all)],
        "repository/index": [Endpoint("POST", METADATA, answer=index)],
    }

    def of_repository(name: str, what: str) -> list[Endpoint] | None:
        async def load(_: Request) -> Response:
            await repository.load(name)
            return json({})

        async def unload(_: Request) -> Response:
            await repository.unload(name)
            return json({})

        calls = {"load": load, "unload": unload}
        return [Endpoint("POST", ADMIN, later=calls[what])] if what in calls else None

    def resolve(path: str) -> list[Endpoint] | None:
        if path != "/v2" and not path.startswith("/v2/"):
            return None
        rest = path[3:].strip("/")
        if rest in fixed:
            return fixed[rest]
        match [unquote(part) for part in rest.split("/")]:
            case ["models", name]:
                return of_model(name, "", "")
            case ["models", name, "versions", version]:
                return of_model(name, version, "")
            case ["models", name, "versions", version, what] if what:
                return of_model(name, version, what)
            case ["models", name, what] if what:
                return of_model(name, "", what)
            case ["repository", "models", name, what]:
                return of_repository(name, what)
        return None

    return resolve


def _names(app: App) -> dict[str, list[str]]:
    return {"models": sorted(app.repository.models)}
