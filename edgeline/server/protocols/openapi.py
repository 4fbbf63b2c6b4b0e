"""The OpenAPI document of what the server answers, and the paths of metrics."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from edgeline.server.access import METADATA, PUBLIC
from edgeline.server.app import App, Endpoint
from edgeline.server.http.http1 import Request, Response
from edgeline.server.metrics import CONTENT_TYPE
from edgeline.server.protocols.routes_tfserving import TOP
from edgeline.server.rollouts.declaration import Rollout
from edgeline.server.tensors.json import dumps
from edgeline.server.tensors.pictures import MEDIA_TYPES
from edgeline.version import __version__

_JSON = "application/json"
_NAME = {"name": "model", "in": "path", "required": True, "schema": {"type": "string"}}
_VERSION = {
    "name": "version",
    "in": "path",
    "required": True,
    "schema": {"type": "integer", "minimum": 1, "maximum": 10**17},
}
_TOP = {
    "name": "top",
    "in": "query",
    "description": "How many classes of an image to give, the best first",
    "schema": {"type": "integer", "minimum": 1, "maximum": 999999, "default": TOP},
}
_BUSY = (413, 415, 429, 503, 504)
_IMAGE = (501,)  # without Pillow
_LABEL = {"name": "label", "in": "path", "required": True, "schema": {"type": "string"}}


def resolver(app: App) -> Any:
    """The endpoints of /openapi.json and of the metrics."""
    document = dumps(openapi())

    def metrics(_: Request) -> Response:
        text = app.metrics.render(app.repository.serving())
        return Response(200, text, CONTENT_TYPE.encode())

    page = [Endpoint("GET", METADATA, answer=metrics)]
    paths = {
        "/openapi.json": [Endpoint("GET", PUBLIC, answer=lambda _: Response(200, document))],
        "/metrics": page,
        "/monitoring/prometheus/metrics": page,  # TensorFlow Serving's
    }
    return paths.get


def openapi() -> dict[str, Any]:
    """The document: every path with its method, body and answers."""
    v2 = {
        "/v2": _get("The server's name, version and extensions"),
        "/v2/health/live": _without(_get("Whether the server lives"), 401, 403),
        "/v2/health/ready": _without(_get("Whether all models are ready", 503), 401, 403),
        "/v2/models": _get("The models"),
        "/v2/models/stats": _get("Statistics of what is served"),
        "/v2/repository/index": _post("The versions and their states", "IndexRequest", False),
        "/v2/repository/models/{model}/load": _post("Load a model", "Empty", False, [_NAME]),
        "/v2/repository/models/{model}/unload": _post("Unload a model", "Empty", False, [_NAME]),
    }
    for base, where in (
        ("/v2/models/{model}", [_NAME]),
        ("/v2/models/{model}/versions/{version}", [_NAME, _VERSION]),
    ):
        v2[base] = _get("Inputs and outputs of a model", 404, 503, where=where)
        v2[base + "/ready"] = _get("Whether a model is ready", 404, 503, where=where)
        v2[base + "/config"] = _get("The model's configuration", 404, 503, where=where)
        v2[base + "/stats"] = _get("The model's statistics", 404, 503, where=where)
        v2[base + "/infer"] = _or_image(
            _post("Inference", "InferRequest", True, where, *_BUSY, *_IMAGE)
        )
    v1 = {"/v1/models": _get("The models")}
    for base, where in (
        ("/v1/models/{model}", [_NAME]),
        ("/v1/models/{model}/versions/{version}", [_NAME, _VERSION]),
        ("/v1/models/{model}/labels/{label}", [_NAME, _LABEL]),
    ):
        v1[base] = _get("States of a model's versions", 404, 503, where=where)
        v1[base + "/metadata"] = _get("The model's signature", 404, 503, where=where)
        v1[base + ":predict"] = _or_image(
            _post("Rows or columns", "PredictRequest", True, where, *_BUSY, *_IMAGE)
        )
        v1[base + ":regress"] = _post("One number each", "ExamplesRequest", True, where, *_BUSY)
        v1[base + ":classify"] = _or_image(
            _post("Labels and scores", "ExamplesRequest", True, where, *_BUSY, *_IMAGE)
        )
        v1[base + ":classify"]["post"]["parameters"] = [_TOP]
    other = {
        "/": _without(_get("The page, for a browser; else whether the server lives"), 401),
        "/overview": _get("What the page shows"),
        "/rollouts": _get("Rollouts and the last decisions"),
        "/rollouts/{model}": _steer("Declare a rollout", "Rollout"),
        "/rollouts/{model}/promote": _steer("Promote the candidate", "Empty"),
        "/rollouts/{model}/return": _steer("Return the candidate", "Empty"),
        "/updates": {
            **_get("What the last look for updates found", 404),
            **_post("Look for updates now, or take some", "Empty", False, [], 409, 503, 507),
        },
        "/metrics": _get("Metrics for Prometheus", kind="text/plain"),
        "/monitoring/prometheus/metrics": _get("The same", kind="text/plain"),
        "/openapi.json": _without(_get("This document"), 401),
    }
    watching = {
        "/drift": _get("How far live traffic is from training"),
        "/drift/{model}": _get("The same of one model", 404, 503, where=[_NAME]),
    }
    return {
        "openapi": "3.1.0",
        "info": {"title": "Edgeline model server", "version": __version__},
        "paths": {**v2, **v1, **watching, **other},
        "components": {
            "schemas": _SCHEMAS,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{}, {"token": []}],
    }


def _get(
    what: str, *codes: int, where: list[Any] | None = None, kind: str = _JSON
) -> dict[str, Any]:
    schema = {"type": "object"} if kind == _JSON else {"type": "string"}
    ok = {"description": what, "content": {kind: {"schema": schema}}}
    operation: dict[str, Any] = {"summary": what, "responses": {"200": ok, **_errors(codes)}}
    return {"get": operation, **({"parameters": where} if where else {})}


def _post(
    what: str, schema: str, required: bool, where: list[Any] | None = None, *codes: int
) -> dict[str, Any]:
    ok: dict[str, Any] = {"description": what, "content": {_JSON: {"schema": {}}}}
    reference = {"$ref": f"#/components/schemas/{schema}"}
    operation = {
        "summary": what,
        "requestBody": {"required": required, "content": {_JSON: {"schema": reference}}},
        "responses": {"200": ok, **_errors((400, 404, *codes))},
    }
    return {"post": operation, **({"parameters": where} if where else {})}


def _steer(what: str, schema: str) -> dict[str, Any]:
    path = _post(what, schema, False, [_NAME])
    if schema == "Rollout":
        path["delete"] = {
            "summary": "Forget a rollout",
            "responses": {
                "200": {"description": "The rollouts that are left"},
                **_errors((400, 404)),
            },
        }
    return path


def _or_image(item: dict[str, Any]) -> dict[str, Any]:
    """The same call, with a JPEG or PNG file as its body too."""
    schema = {"type": "string", "contentMediaType": "image/*"}
    item["post"]["requestBody"]["content"] |= {kind: {"schema": schema} for kind in MEDIA_TYPES}
    return item


def _without(item: dict[str, Any], *codes: int) -> dict[str, Any]:
    """The same call, which needs no token (401) or refuses nobody (403)."""
    for code in codes:
        del item["get"]["responses"][str(code)]
    return item


def _errors(codes: tuple[int, ...]) -> dict[str, Any]:
    reference = {"$ref": "#/components/schemas/Error"}
    content = {_JSON: {"schema": reference}}
    return {
        str(code): {"description": "Refused", "content": content}
        for code in sorted({401, 403, *codes})
    }


_TENSOR = {
    "type": "object",
    "required": ["name", "shape", "datatype"],
    "properties": {
        "name": {"type": "string"},
        "shape": {"type": "array", "items": {"type": "integer", "minimum": 0}},
        "datatype": {"type": "string"},
        "parameters": {"type": "object"},
        "data": {"type": "array", "items": {}},
    },
}
_KINDS = {"str": "string", "float": "number", "int": "integer", "bool": "boolean"}
_SCHEMAS: dict[str, Any] = {
    "Error": {
        "type": "object",
        "required": ["error"],
        "properties": {"error": {"type": "string"}},
    },
    "Empty": {"type": "object"},
    "Rollout": {
        "type": "object",
        "properties": {
            field.name: {"type": _KINDS[str(field.type)]}
            for field in fields(Rollout)
            if field.name != "model"
        },
        "additionalProperties": False,
    },
    "IndexRequest": {"type": "object", "properties": {"ready": {"type": "boolean"}}},
    "InferRequest": {
        "type": "object",
        "required": ["inputs"],
        "properties": {
            "id": {"type": "string"},
            "parameters": {"type": "object"},
            "inputs": {"type": "array", "items": _TENSOR, "minItems": 1},
            "outputs": {
                "type": "array",
                "items": {
                    "type": "object",
                    "required": ["name"],
                    "properties": {"name": {"type": "string"}, "parameters": {"type": "object"}},
                },
            },
        },
    },
    "PredictRequest": {
        "type": "object",
        "properties": {
            "signature_name": {"type": "string"},
            "instances": {"type": "array", "items": {}, "minItems": 1},
            "inputs": {},
        },
    },
    "ExamplesRequest": {
        "type": "object",
        "required": ["examples"],
        "properties": {
            "signature_name": {"type": "string"},
            "context": {"type": "object"},
            "examples": {"type": "array", "items": {"type": "object"}, "minItems": 1},
        },
    },
}
