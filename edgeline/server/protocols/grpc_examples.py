"""TensorFlow Serving's calls on `tf.Example`s over gRPC: Classify, Regress and MultiInference.

A feature of an example fills the input of its name. The context's features are every example's.
Field numbers are those of tensorflow_serving/apis and tensorflow/core/example.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from edgeline.artifacts.bundle import Tensor
from edgeline.artifacts.features import MISSING
from edgeline.artifacts.transformed import RAW
from edgeline.formats.dtypes import BY_NAME, Array
from edgeline.server.access import PREDICTION
from edgeline.server.app import GrpcMethod
from edgeline.server.errors import invalid
from edgeline.server.models.model import Arrays, Description, Instance
from edgeline.server.models.pool import Pool
from edgeline.server.protocols.grpc_tfserving import SPEC, pool_of, spec_of
from edgeline.server.protocols.meaning import classes, numbers
from edgeline.server.protocols.messages import read
from edgeline.server.protocols.wire import Field, Fields, encode
from edgeline.server.rollouts.traffic import Traffic
from edgeline.server.state import ServerState
from edgeline.server.tensors.json import cast

_FEATURE: Fields = {
    1: Field("bytes", {1: Field("value", "bytes", repeated=True)}),
    2: Field("float", {1: Field("value", "float", repeated=True)}),
    3: Field("int64", {1: Field("value", "int64", repeated=True)}),
}
_ENTRY: Fields = {1: Field("key", "string"), 2: Field("value", _FEATURE)}
_EXAMPLE: Fields = {1: Field("features", {1: Field("feature", _ENTRY, map=True)})}
_INPUT: Fields = {
    1: Field("list", {1: Field("examples", _EXAMPLE, repeated=True)}),
    2: Field(
        "with_context",
        {1: Field("examples", _EXAMPLE, repeated=True), 2: Field("context", _EXAMPLE)},
    ),
}
_REQUEST: Fields = {1: Field("model_spec", SPEC), 2: Field("input", _INPUT)}
_CLASS: Fields = {1: Field("label", "string"), 2: Field("score", "float")}
_CLASSIFICATIONS: Fields = {
    1: Field("classifications", {1: Field("classes", _CLASS, repeated=True)}, repeated=True)
}
_REGRESSIONS: Fields = {1: Field("regressions", {1: Field("value", "float")}, repeated=True)}
_CLASSIFY_RESPONSE: Fields = {
    1: Field("result", _CLASSIFICATIONS),
    2: Field("model_spec", SPEC),
}
_REGRESS_RESPONSE: Fields = {1: Field("result", _REGRESSIONS), 2: Field("model_spec", SPEC)}
_TASK: Fields = {1: Field("model_spec", SPEC), 2: Field("method", "string")}
_MULTI_REQUEST: Fields = {1: Field("tasks", _TASK, repeated=True), 2: Field("input", _INPUT)}
_MULTI_RESPONSE: Fields = {
    1: Field(
        "results",
        {
            1: Field("model_spec", SPEC),
            2: Field("classify", _CLASSIFICATIONS),
            3: Field("regress", _REGRESSIONS),
        },
        repeated=True,
    )
}
_KINDS = {"f": ("float", "int64"), "i": ("int64",), "u": ("int64",), "b": ("int64",)}
_MAX_TASKS = 16


def methods(state: ServerState) -> dict[str, GrpcMethod]:
    """Each method by its path."""

    def of(
        answer: Callable[[Arrays, Description], dict[str, object]], response: Fields
    ) -> Callable[[memoryview], tuple[Pool | Traffic, Callable[[Instance], bytes]]]:
        def call(message: memoryview) -> tuple[Pool | Traffic, Callable[[Instance], bytes]]:
            asked = read(message, _REQUEST)

            def work(instance: Instance) -> bytes:
                description = instance.description
                result = answer(_run(asked, instance), description)
                return encode({"result": result, "model_spec": spec_of(description)}, response)

            return pool_of(state, asked), work

        return call

    def multi(message: memoryview) -> tuple[Pool | Traffic, Callable[[Instance], bytes]]:
        asked = read(message, _MULTI_REQUEST)
        tasks = asked.get("tasks", [])
        if not 1 <= len(tasks) <= _MAX_TASKS:
            raise invalid(f"The request has {len(tasks)} tasks: give 1 to {_MAX_TASKS}.")
        named = [{**task.get("model_spec", {}), "signature_name": ""} for task in tasks]
        if any(spec != named[0] for spec in named):
            raise invalid("The tasks name different models: ask for each in a request of its own.")
        pools = [pool_of(state, task) for task in tasks]
        kinds = [task.get("method", "").rpartition("/")[2] for task in tasks]
        if unknown := [kind for kind in kinds if kind not in _ANSWERS]:
            raise invalid(f"There is no method {unknown[0][:100]!r}: give classify or regress.")

        def work(instance: Instance) -> bytes:
            answers = _run(asked, instance)
            spec = spec_of(instance.description)
            results = [
                {"model_spec": spec, kind: _ANSWERS[kind](answers, instance.description)}
                for kind in kinds
            ]
            return encode({"results": results}, _MULTI_RESPONSE)

        return pools[0], work

    service = "/tensorflow.serving.PredictionService/"
    return {
        service + "Classify": GrpcMethod(PREDICTION, work=of(_classify, _CLASSIFY_RESPONSE)),
        service + "Regress": GrpcMethod(PREDICTION, work=of(_regress, _REGRESS_RESPONSE)),
        service + "MultiInference": GrpcMethod(PREDICTION, work=multi),
    }


def _classify(answers: Arrays, description: Description) -> dict[str, object]:
    named, scores = classes(answers, description)
    return {
        "classifications": [
            {
                "classes": [
                    {"label": str(label), "score": score}
                    for label, score in zip(labels, row, strict=True)
                ]
            }
            for labels, row in zip(named, scores.tolist(), strict=True)
        ]
    }


def _regress(answers: Arrays, description: Description) -> dict[str, object]:
    return {"regressions": [{"value": value} for value in numbers(answers, description).tolist()]}


_ANSWERS = {"classify": _classify, "regress": _regress}


def _run(asked: Mapping[str, Any], instance: Instance) -> Arrays:
    description = instance.description
    return instance.ask(_arrays(asked.get("input", {}), description))


def _arrays(given: Mapping[str, Any], description: Description) -> dict[str, Array]:
    with_context = given.get("with_context", {})
    examples = [*given.get("list", {}).get("examples", ()), *with_context.get("examples", ())]
    if not examples:
        raise invalid("The request's input has no examples.")
    context = _features(with_context.get("context", {}))
    rows = []
    for place, example in enumerate(examples):
        features = _features(example)
        if clash := features.keys() & context.keys():
            raise invalid(f"Feature {min(clash)[:100]!r} is in the context and in example {place}.")
        rows.append({**context, **features})
    return {
        tensor.name: _column(rows, tensor, description.takes_of(tensor.name) == RAW)
        for tensor in description.asked.inputs
    }


def _features(example: Mapping[str, Any]) -> dict[str, object]:
    found: dict[str, object] = example.get("features", {}).get("feature", {})
    return found


def _column(rows: list[dict[str, Any]], tensor: Tensor, raw: bool) -> Array:
    """One input of all examples: [rows, *shape]."""
    dtype = BY_NAME[tensor.dtype].numpy
    kinds = ("bytes",) if tensor.dtype == "string" else _KINDS[dtype.kind]
    shape = tensor.shape[1:]
    free = [place for place, size in enumerate(shape) if size < 0]
    if len(free) > 1:
        raise invalid(f"Input {tensor.name!r} has several free sizes: call Predict.")
    cells: list[Any] = []
    for place, row in enumerate(rows):
        values = _values(row.get(tensor.name) or {}, tensor.name, kinds, place)
        if not len(values) and raw and tensor.dtype in MISSING:
            values = [MISSING[tensor.dtype]] * abs(int(np.prod(shape, dtype=np.int64)))
        if not len(values):
            raise invalid(f"Example {place} has no feature {tensor.name!r}.")
        cells.append(values)
    length = len(cells[0])
    row_size = abs(int(np.prod(shape, dtype=np.int64)))
    fits = row_size and length % row_size == 0 and (free or length == row_size)
    if not fits or any(len(cell) != length for cell in cells):
        sizes = sorted({len(cell) for cell in cells})
        raise invalid(
            f"Feature {tensor.name!r} has {' or '.join(map(str, sizes[:3]))} values, but the model "
            f"takes {row_size}{' or a multiple' if free else ''} in each example."
        )
    array: Array
    if tensor.dtype == "string":
        array = np.empty((len(rows), length), object)
        for place, cell in enumerate(cells):
            array[place] = [bytes(value) for value in cell]
    else:
        array = cast(np.asarray(cells), dtype, f"Feature {tensor.name!r}")
    return array.reshape(len(rows), *shape)


def _values(feature: Mapping[str, Any], name: str, kinds: tuple[str, ...], place: int) -> Any:
    for kind, found in feature.items():
        if kind not in kinds:
            raise invalid(
                f"Feature {name!r} of example {place} is a {kind}_list: give a {kinds[0]}_list."
            )
        return found.get("value", ())
    return ()
