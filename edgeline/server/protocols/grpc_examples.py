"""TensorFlow Serving's calls on `tf.Example`s over gRPC: Classify, Regress and MultiInference.

A feature of an example fills the input of its name. The context's features are every example's.
Field numbers are those of tensorflow_serving/apis and tensorflow/core/example.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
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
from edgeline.server.protocols.grpc_tfserving import NAMED, SPEC, pool_of, spec_of
from edgeline.server.protocols.meaning import classes, numbers
from edgeline.server.protocols.messages import naming, read
from edgeline.server.protocols.wire import Field, Fields, Message, budget, encode
from edgeline.server.rollouts.traffic import Traffic
from edgeline.server.state import ServerState
from edgeline.server.tensors.json import cast

_FEATURE = Message(
    "tensorflow.Feature",
    {
        number: Field(
            f"{kind}_list",
            Message(f"tensorflow.{kind.title()}List", {1: Field("value", kind, repeated=True)}),
            choice="kind",
        )
        for number, kind in ((1, "bytes"), (2, "float"), (3, "int64"))
    },
)
_ENTRY: Fields = {1: Field("key", "string"), 2: Field("value", _FEATURE)}
_FEATURES = Message("tensorflow.Features", {1: Field("feature", _ENTRY, map=True)})
_EXAMPLE = Message("tensorflow.Example", {1: Field("features", _FEATURES)})
_EXAMPLES = Message(
    "tensorflow.serving.ExampleList", {1: Field("examples", _EXAMPLE, repeated=True)}
)
_WITH_CONTEXT = Message(
    "tensorflow.serving.ExampleListWithContext",
    {1: Field("examples", _EXAMPLE, repeated=True), 2: Field("context", _EXAMPLE)},
)
_INPUT = Message(
    "tensorflow.serving.Input",
    {
        1: Field("example_list", _EXAMPLES, choice="kind"),
        2: Field("example_list_with_context", _WITH_CONTEXT, choice="kind"),
    },
)
_REQUEST: Fields = {1: Field("model_spec", SPEC), 2: Field("input", _INPUT)}
_CLASS = Message(
    "tensorflow.serving.Class", {1: Field("label", "string"), 2: Field("score", "float")}
)
_CLASSIFICATIONS = Message(
    "tensorflow.serving.Classifications", {1: Field("classes", _CLASS, repeated=True)}
)
_CLASSIFIED = Message(
    "tensorflow.serving.ClassificationResult",
    {1: Field("classifications", _CLASSIFICATIONS, repeated=True)},
)
_REGRESSION = Message("tensorflow.serving.Regression", {1: Field("value", "float")})
_REGRESSED = Message(
    "tensorflow.serving.RegressionResult", {1: Field("regressions", _REGRESSION, repeated=True)}
)
_CLASSIFY_RESPONSE = Message(
    "tensorflow.serving.ClassificationResponse",
    {1: Field("result", _CLASSIFIED), 2: Field("model_spec", SPEC)},
)
_REGRESS_RESPONSE = Message(
    "tensorflow.serving.RegressionResponse",
    {1: Field("result", _REGRESSED), 2: Field("model_spec", SPEC)},
)
_TASK = Message(
    "tensorflow.serving.InferenceTask",
    {1: Field("model_spec", SPEC), 2: Field("method_name", "string")},
)
_MULTI_REQUEST = Message(
    "tensorflow.serving.MultiInferenceRequest",
    {1: Field("tasks", _TASK, repeated=True), 2: Field("input", _INPUT)},
)
_RESULT = Message(
    "tensorflow.serving.InferenceResult",
    {
        1: Field("model_spec", SPEC),
        2: Field("classification_result", _CLASSIFIED, choice="result"),
        3: Field("regression_result", _REGRESSED, choice="result"),
    },
)
_MULTI_RESPONSE = Message(
    "tensorflow.serving.MultiInferenceResponse", {1: Field("results", _RESULT, repeated=True)}
)
_INTEGERS = ("int64_list",)
_KINDS = {"f": ("float_list", "int64_list"), "i": _INTEGERS, "u": _INTEGERS, "b": _INTEGERS}
_MAX_TASKS = 16


def methods(state: ServerState) -> dict[str, GrpcMethod]:
    """Each method by its path."""

    def of(
        answer: Callable[[Arrays, Description], dict[str, object]], response: Fields
    ) -> Callable[[memoryview, Instance], bytes]:
        def work(message: memoryview, instance: Instance) -> bytes:
            description = instance.description
            result = answer(_run(read(message, _REQUEST, budget(message)), instance), description)
            return encode({"result": result, "model_spec": spec_of(description)}, response)

        return work

    def pool_of_all(named: Mapping[str, Any]) -> Pool | Traffic:
        tasks = named.get("tasks", [])
        if not 1 <= len(tasks) <= _MAX_TASKS:
            raise invalid(f"The request has {len(tasks)} tasks: give 1 to {_MAX_TASKS}.")
        specs = [{**task.get("model_spec", {}), "signature_name": ""} for task in tasks]
        if any(spec != specs[0] for spec in specs):
            raise invalid("The tasks name different models: ask for each in a request of its own.")
        pools = [pool_of(state, task) for task in tasks]
        if unknown := [kind for kind in _kinds(named) if kind not in _ANSWERS]:
            raise invalid(f"There is no method {unknown[0][:100]!r}: give classify or regress.")

        return pools[0]

    service = "/tensorflow.serving.PredictionService/"
    return {
        service + "Classify": GrpcMethod(
            *(PREDICTION, Message("tensorflow.serving.ClassificationRequest", _REQUEST)),
            _CLASSIFY_RESPONSE,
            named=NAMED,
            pool=partial(pool_of, state),
            work=of(_classify, _CLASSIFY_RESPONSE),
        ),
        service + "Regress": GrpcMethod(
            *(PREDICTION, Message("tensorflow.serving.RegressionRequest", _REQUEST)),
            _REGRESS_RESPONSE,
            named=NAMED,
            pool=partial(pool_of, state),
            work=of(_regress, _REGRESS_RESPONSE),
        ),
        service + "MultiInference": GrpcMethod(
            *(PREDICTION, _MULTI_REQUEST, _MULTI_RESPONSE),
            named=naming({1: _MULTI_REQUEST[1]}),
            pool=pool_of_all,
            work=_multi,
        ),
    }


def _kinds(asked: Mapping[str, Any]) -> list[str]:
    """What each task of a request asks for: `classify` or `regress`."""
    return [task.get("method_name", "").rpartition("/")[2] for task in asked.get("tasks", ())]


def _multi(message: memoryview, instance: Instance) -> bytes:
    asked = read(message, _MULTI_REQUEST, budget(message))
    answers, spec = _run(asked, instance), spec_of(instance.description)
    results = [
        {"model_spec": spec, _FIELDS[kind]: _ANSWERS[kind](answers, instance.description)}
        for kind in _kinds(asked)
    ]
    return encode({"results": results}, _MULTI_RESPONSE)


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
_FIELDS = {"classify": "classification_result", "regress": "regression_result"}


def _run(asked: Mapping[str, Any], instance: Instance) -> Arrays:
    description = instance.description
    return instance.ask(_arrays(asked.get("input", {}), description))


def _arrays(given: Mapping[str, Any], description: Description) -> dict[str, Array]:
    with_context = given.get("example_list_with_context", {})
    examples = [
        *given.get("example_list", {}).get("examples", ()),
        *with_context.get("examples", ()),
    ]
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
    kinds = ("bytes_list",) if tensor.dtype == "string" else _KINDS[dtype.kind]
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
            raise invalid(f"Feature {name!r} of example {place} is a {kind}: give a {kinds[0]}.")
        return found.get("value", ())
    return ()
