"""TensorFlow Serving's REST protocol, which is KServe's v1 too.

https://www.tensorflow.org/tfx/serving/api_rest
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Literal
from urllib.parse import parse_qs

import numpy as np

from edgeline.artifacts.bundle import Tensor
from edgeline.formats.dtypes import BY_NAME
from edgeline.server.access import EXPLANATION, METADATA, MODEL_HEALTH, PREDICTION
from edgeline.server.digits import whole
from edgeline.server.errors import invalid
from edgeline.server.http.messages import HttpRequest, HttpResponse
from edgeline.server.models.model import Description, Instance
from edgeline.server.models.pool import Pool
from edgeline.server.protocols.meaning import classes, numbers
from edgeline.server.protocols.tfserving_json import (
    asked_of,
    from_columns,
    from_examples,
    from_rows,
    plain,
    to_rows,
    with_refused,
    write,
)
from edgeline.server.rollouts.traffic import Traffic
from edgeline.server.routing import Body, Operation, Parameters, Route, RouteTable
from edgeline.server.state import ServerState
from edgeline.server.tensors import pictures
from edgeline.server.tensors.json import dumps
from edgeline.server.tensors.pictures import MEDIA_TYPES

_VALUES = {"model": "[^/:]+", "label": "[^/:]+", "version": r"\d{1,18}"}
_BASES = (
    "/v1/models/{model}",
    "/v1/models/{model}/versions/{version}",
    "/v1/models/{model}/labels/{label}",
)
_ABSENT = (404, 503)
ServingState = Literal["AVAILABLE", "END"]  # TensorFlow Serving's names
_BUSY = (409, 413, 415, 429, 503, 504)
TOP = 5  # classes of an image, unless the query says how many


def table(state: ServerState) -> RouteTable:
    """The routes below /v1, in upper or lower case, with or without a slash at the end."""
    models = state.served

    def names(_: HttpRequest, __: Parameters) -> HttpResponse:
        return HttpResponse(200, dumps({"models": sorted(models.models)}))

    def status(_: HttpRequest, given: Parameters) -> HttpResponse:
        return HttpResponse(200, dumps(_status(state, *_which(given))))

    def metadata(_: HttpRequest, given: Parameters) -> HttpResponse:
        return HttpResponse(200, dumps(_metadata(models.pool(*_which(given)).description)))

    def of_verb(verb: str) -> Callable[[HttpRequest, Instance], HttpResponse]:
        def work(request: HttpRequest, instance: Instance) -> HttpResponse:
            body = state.body(request)
            if pictures.is_image_type(request.headers.get(b"content-type", b"")):
                return HttpResponse(200, of_image(body, instance, verb, _top(request.target)))
            return HttpResponse(200, _WORKS[verb](body, instance))

        return work

    def explain(request: HttpRequest, given: Parameters) -> Awaitable[HttpResponse]:
        name, version, label = _which(given)
        pool = models.pool(name, version, label)
        description = request.served = pool.description  # in a rollout that of the stable version
        source = models.model(name).loaded[description.version]
        coding = request.headers.get(b"content-encoding", b"").decode("latin-1")
        gone = asyncio.Event()
        # who closes a half of the connection is taken to be gone: it costs too much to go on.
        # Set before anything is awaited: the same packet may bring the request and its end.
        request.cancel = request.silent = gone.set

        async def answer() -> HttpResponse:
            body = request.body
            found = await state.explainer.explain(source, description, body, coding, gone)
            return HttpResponse(200, found)

        return answer()

    routes = [Route("GET", "/v1/models", METADATA, Operation("The models"), answer=names)]
    for base in _BASES:
        states = Operation("States of a model's versions", _ABSENT)
        signature = Operation("The model's signature", _ABSENT)
        routes += [
            Route("GET", base, MODEL_HEALTH, states, answer=status),
            Route("GET", base + "/metadata", METADATA, signature, answer=metadata),
        ]
        for verb, operation in _OPERATIONS.items():
            path = f"{base}:{verb}"
            pool, work = _pool(state), of_verb(verb)
            routes.append(Route("POST", path, PREDICTION, operation, pool=pool, work=work))
        routes.append(Route("POST", f"{base}:explain", EXPLANATION, _EXPLAIN, later=explain))
    return RouteTable(routes, _VALUES, any_case=True, tidied=_tidied)


def _pool(state: ServerState) -> Callable[[Parameters], Pool | Traffic]:
    return lambda given: state.served.pool(*_which(given))


def _which(given: Parameters) -> tuple[str, str, str]:
    """Model, version and label that a path names; empty where it names none."""
    version = given.get("version", "")
    return given["model"], str(int(version)) if version else "", given.get("label", "")


def _tidied(path: str) -> str:
    """Without a slash at the end; behind all models, with none of any number."""
    bare = path.rstrip("/")
    return bare if bare.lower() == "/v1/models" else path.removesuffix("/")


def predict(body: bytes, instance: Instance) -> bytes:
    """`instances` (rows) give `predictions`, `inputs` (columns) give `outputs`.

    An instance without a feature that is not proven missing gets `{"error": why}` in its place
    among the predictions, and the others get theirs; columns are refused together. Where a value
    is out of range, the answer has `parameters` (see `range_check.Outside`).

    Raises:
        ServingError: the request is malformed or does not fit the model.
    """
    description = instance.description
    asked = asked_of(body)
    rows, columns = asked.get("instances"), asked.get("inputs")
    if (rows is None) == (columns is None):
        raise invalid("Give either 'instances' (rows) or 'inputs' (columns).")
    arrays = from_rows(rows, description) if columns is None else from_columns(columns, description)
    del asked, rows
    if columns is None:
        answers, fit, refused = instance.ask_each(arrays)
        given = with_refused(to_rows(answers), fit, refused)
        return write("predictions", given, answers, instance.outside.parameters)
    answers = instance.ask(arrays)
    single = len(answers) == 1
    outputs = {name: plain(name, array) for name, array in answers.items()}
    given = next(iter(outputs.values())) if single else outputs
    return write("outputs", given, answers, instance.outside.parameters)


def classify(body: bytes, instance: Instance) -> bytes:
    """`examples` give, for each, pairs of label and score, or `{"error": why}` (see `predict`).

    Raises:
        ServingError: as `predict`, or the model gives no scores.
    """
    description = instance.description
    answers, fit, refused = instance.ask_each(from_examples(asked_of(body), description))
    named, scores = classes(answers, description)
    results = [
        [[label, score] for label, score in zip(row, values, strict=True)]
        for row, values in zip(named, scores, strict=True)
    ]
    given = with_refused(results, fit, refused)
    return write("results", given, {"scores": scores}, instance.outside.parameters)


def of_image(body: bytes, instance: Instance, verb: str, top: int) -> bytes:
    """An image: `classify` gives its `top` classes, the best first, `predict` the output's row.

    Raises:
        ServingError: as `pictures.from_body`, or the model gives no scores.
    """
    description = instance.description
    if verb == "regress":
        raise invalid("An image is classified or predicted: call :classify or :predict.")
    array = pictures.from_body(body, description.name, description.signature, description.takes)
    answers = instance.ask(array)
    if verb == "predict":
        return write("predictions", to_rows(answers), answers)
    named, scores = classes(answers, description)
    best = np.argsort(-scores[0].astype(np.float64), kind="stable")[:top]
    results = [[[named[0][place], scores[0, place]] for place in best]]
    return write("results", results, {"scores": scores})


def regress(body: bytes, instance: Instance) -> bytes:
    """`examples` give one number each, or `{"error": why}` (see `predict`).

    Raises:
        ServingError: as `predict`, or the model gives more than one number.
    """
    description = instance.description
    answers, fit, refused = instance.ask_each(from_examples(asked_of(body), description))
    values = numbers(answers, description)
    given = with_refused(values, fit, refused)
    return write("results", given, {"results": values}, instance.outside.parameters)


_WORKS = {"predict": predict, "classify": classify, "regress": regress}
_EXAMPLES, _IMAGES = "ExamplesRequest", tuple(MEDIA_TYPES)
_OPERATIONS = {  # 501: an image, without Pillow
    "predict": Operation("Rows or columns", (*_BUSY, 501), Body("PredictRequest", True, _IMAGES)),
    "regress": Operation("One number each", _BUSY, Body(_EXAMPLES, True)),
    "classify": Operation(
        "Labels and scores",
        (*_BUSY, 501),
        Body(_EXAMPLES, True, _IMAGES),
        query=(
            {
                "name": "top",
                "in": "query",
                "description": "How many classes of an image to give, the best first",
                "schema": {"type": "integer", "minimum": 1, "maximum": 999999, "default": TOP},
            },
        ),
    ),
}

# 501: it is not asked to, or the model brings no recorded rows
_EXPLAIN = Operation(
    "What each feature adds to a prediction", (*_BUSY, 501), Body("ExplainRequest", True)
)


def _top(target: bytes) -> int:
    query = parse_qs(target.partition(b"?")[2].decode("latin-1"))
    given = query.get("top", [str(TOP)])[-1]
    if not (top := whole(given, 6)):
        raise invalid("The query's 'top' is how many classes to give: a number from 1.")
    return top


def version_states(
    state: ServerState, name: str, version: str, label: str
) -> list[tuple[int, ServingState, str, str]]:
    """Number, state, error code and message of a model's versions, the newest first.

    Raises:
        ServingError: there is no such model, version or label.
    """
    served = state.served.model(name)
    if not version and not label:
        numbers = sorted({*served.pools, *served.failures}, reverse=True)
    elif not label and int(version) in served.failures:
        numbers = [int(version)]
    else:
        numbers = [state.served.pool(name, version, label).description.version]
    return [
        (number, "AVAILABLE", "OK", "")
        if number in served.pools
        else (number, "END", "UNKNOWN", served.failures[number].reason)
        for number in numbers
    ]


def _status(state: ServerState, name: str, version: str, label: str) -> dict[str, Any]:
    states = version_states(state, name, version, label)
    return {
        "name": name,
        "ready": any(state == "AVAILABLE" for _, state, _, _ in states),
        "model_version_status": [
            {
                "version": str(number),
                "state": state,
                "status": {"error_code": code, "error_message": message},
            }
            for number, state, code, message in states
        ],
    }


def _metadata(description: Description) -> dict[str, object]:
    def tensors(entries: tuple[Tensor, ...]) -> dict[str, object]:
        return {
            tensor.name: {
                "dtype": BY_NAME[tensor.dtype].tensorflow,
                "tensor_shape": {
                    "dim": [{"size": str(size), "name": ""} for size in tensor.shape],
                    "unknown_rank": False,
                },
                "name": tensor.name,
            }
            for tensor in entries
        }

    signature = {
        "inputs": tensors(description.asked.inputs),
        "outputs": tensors(description.signature.outputs),
        "method_name": "tensorflow/serving/predict",
    }
    return {
        "model_spec": {
            "name": description.name,
            "signature_name": "",
            "version": str(description.version),
        },
        "metadata": {"signature_def": {"signature_def": {"serving_default": signature}}},
    }
