"""The OpenAPI document, as the routes tell it, and the routes of itself and of the metrics."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, get_args, get_type_hints

from edgeline.server.access import METADATA, PUBLIC
from edgeline.server.http.messages import HttpRequest, HttpResponse
from edgeline.server.metrics import CONTENT_TYPE
from edgeline.server.rollouts.declaration import Rollout
from edgeline.server.routing import JSON, Operation, Parameters, Route, RouteTable
from edgeline.server.state import ServerState
from edgeline.server.tensors.json import dumps
from edgeline.version import __version__

_TEXT: dict[str, object] = {"type": "string"}
_PLACES = {
    "model": _TEXT,
    "label": _TEXT,
    "version": {"type": "integer", "minimum": 1, "maximum": 10**17},
}


def table(state: ServerState, others: Iterable[RouteTable]) -> RouteTable:
    """The routes of the metrics and of the document, which has those of the other tables too."""

    def metrics(_: HttpRequest, __: Parameters) -> HttpResponse:
        text = state.metrics.render(state.served.serving(), state.reporters)
        return HttpResponse(200, text, CONTENT_TYPE.encode())

    def document(_: HttpRequest, __: Parameters) -> HttpResponse:
        return HttpResponse(200, text)

    prometheus = Operation("Metrics for Prometheus", answer="text/plain")
    same = Operation("The same", answer="text/plain")  # at TensorFlow Serving's path
    own = RouteTable(
        [
            Route("GET", "/metrics", METADATA, prometheus, answer=metrics),
            Route("GET", "/monitoring/prometheus/metrics", METADATA, same, answer=metrics),
            Route("GET", "/openapi.json", PUBLIC, Operation("This document"), answer=document),
        ]
    )
    text = dumps(openapi(route for known in (*others, own) for route in known.routes))
    return own


def openapi(routes: Iterable[Route]) -> dict[str, object]:
    """The document: every path with its methods, their bodies and answers."""
    paths: dict[str, dict[str, object]] = {}
    for route in routes:
        item = paths.setdefault(route.path, {})
        item[route.method.lower()] = _operation(route)
        if names := route.parameters:
            item["parameters"] = [_parameter(name) for name in names]
    return {
        "openapi": "3.1.0",
        "info": {"title": "Edgeline model server", "version": __version__},
        "paths": paths,
        "components": {
            "schemas": _SCHEMAS,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{}, {"token": []}],
    }


def _operation(route: Route) -> dict[str, object]:
    entry = route.operation
    schema: dict[str, Any] = {"type": "object"} if route.method == "GET" else {}
    content = {entry.answer: {"schema": schema if entry.answer == JSON else _TEXT}}
    answers = {"200": {"description": entry.summary, "content": content}}
    operation: dict[str, object] = {
        "summary": entry.summary,
        "responses": answers | _refusals(route),
    }
    if entry.query:
        operation["parameters"] = list(entry.query)
    if (body := entry.body) is not None:
        taken: dict[str, object] = {JSON: {"schema": _reference(body.schema)}}
        file = {"type": "string", "contentMediaType": "image/*"}
        taken |= {kind: {"schema": file} for kind in body.media_types}
        operation["requestBody"] = {"required": body.required, "content": taken}
    return operation


def _refusals(route: Route) -> dict[str, object]:
    statuses = {*route.operation.refusals}
    if route.kind.scope:
        statuses |= {401, 403}
    if not route.kind.foreign:
        statuses.add(403)
    if route.method != "GET":
        statuses |= {400, 404}
    content = {JSON: {"schema": _reference("Error")}}
    return {
        str(status): {"description": "Refused", "content": content} for status in sorted(statuses)
    }


def _parameter(name: str) -> dict[str, Any]:
    return {"name": name, "in": "path", "required": True, "schema": _PLACES[name]}


def _reference(schema: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{schema}"}


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
_KINDS = {str: "string", float: "number", int: "integer", bool: "boolean"}


def _schema(kind: Any) -> dict[str, object]:
    if choices := get_args(kind):
        return {"type": "string", "enum": list(choices)}
    return {"type": _KINDS[kind]}


_SCHEMAS: dict[str, object] = {
    "Error": {
        "type": "object",
        "required": ["error"],
        "properties": {"error": {"type": "string"}},
    },
    "Empty": {"type": "object"},
    "Labels": {
        "type": "object",
        "description": "A JSON object on each line: one label, or those of a request's rows.",
        "properties": {
            "id": {"type": "string"},
            "row": {"type": "integer", "minimum": 0},
            "label": {},
            "model": {"type": "string"},
        },
        "required": ["id", "label"],
    },
    "Rollout": {
        "type": "object",
        "properties": {
            name: _schema(kind) for name, kind in get_type_hints(Rollout).items() if name != "model"
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
    "ExplainRequest": {
        "type": "object",
        "required": ["instances"],
        "properties": {
            "signature_name": {"type": "string"},
            "instances": {"type": "array", "items": {}, "minItems": 1},
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
