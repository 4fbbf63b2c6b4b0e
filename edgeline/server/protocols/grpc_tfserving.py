"""TensorFlow Serving over gRPC: `tensorflow.serving.PredictionService` and `ModelService`.

Predict, GetModelMetadata and GetModelStatus; for the calls on `tf.Example`s see `grpc_examples`.
Field numbers are those of tensorflow_serving/apis
and tensorflow/core/framework.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np

from edgeline.artifacts.bundle import Tensor
from edgeline.formats.dtypes import BY_NAME, BY_NUMBER, Array
from edgeline.server.access import METADATA, MODEL_HEALTH, PREDICTION
from edgeline.server.app import GrpcMethod
from edgeline.server.errors import invalid
from edgeline.server.models.model import Description, Instance
from edgeline.server.models.pool import Pool
from edgeline.server.protocols.messages import naming, read
from edgeline.server.protocols.routes_tfserving import ServingState, version_states
from edgeline.server.protocols.wire import Enum, Field, Fields, Message, budget, encode
from edgeline.server.rollouts.traffic import Traffic
from edgeline.server.state import ServerState
from edgeline.server.tensors.binary import elements, from_bytes
from edgeline.server.tensors.json import cast

_UNKNOWN = 2  # of error codes
_INT64_VALUE = Message("google.protobuf.Int64Value", {1: Field("value", "int64")})
SPEC = Message(
    "tensorflow.serving.ModelSpec",
    {
        1: Field("name", "string"),
        2: Field("version", _INT64_VALUE, choice="version_choice"),
        3: Field("signature_name", "string"),
        4: Field("version_label", "string", choice="version_choice"),
    },
)
NAMED = naming({1: Field("model_spec", SPEC)})
_DIM = Message("tensorflow.TensorShapeProto.Dim", {1: Field("size", "int64")})
_SHAPE = Message(
    "tensorflow.TensorShapeProto",
    {2: Field("dim", _DIM, repeated=True), 3: Field("unknown_rank", "bool")},
)
_DTYPES = tuple((dtype.number, dtype.tensorflow) for dtype in BY_NUMBER.values())
_DTYPE = Enum("tensorflow.DataType", ((0, "DT_INVALID"), *_DTYPES))
_TENSOR = Message(
    "tensorflow.TensorProto",
    {
        1: Field("dtype", "int64", of=_DTYPE),
        2: Field("tensor_shape", _SHAPE),
        4: Field("tensor_content", "bytes"),
        5: Field("float_val", "float", repeated=True),
        6: Field("double_val", "double", repeated=True),
        7: Field("int_val", "int64", repeated=True, of="int32"),
        8: Field("string_val", "bytes", repeated=True),
        10: Field("int64_val", "int64", repeated=True),
        11: Field("bool_val", "bool", repeated=True),
        13: Field("half_val", "int64", repeated=True, of="int32"),
        16: Field("uint32_val", "uint64", repeated=True, of="uint32"),
        17: Field("uint64_val", "uint64", repeated=True),
    },
)
_TENSORS: Fields = {1: Field("key", "string"), 2: Field("value", _TENSOR)}
_PREDICT_REQUEST = Message(
    "tensorflow.serving.PredictRequest",
    {
        1: Field("model_spec", SPEC),
        2: Field("inputs", _TENSORS, map=True),
        3: Field("output_filter", "string", repeated=True),
    },
)
_PREDICT_RESPONSE = Message(
    "tensorflow.serving.PredictResponse",
    {1: Field("outputs", _TENSORS, map=True), 2: Field("model_spec", SPEC)},
)
_STATUS_REQUEST = Message(
    "tensorflow.serving.GetModelStatusRequest", {1: Field("model_spec", SPEC)}
)
_METADATA_REQUEST = Message(
    "tensorflow.serving.GetModelMetadataRequest",
    {1: Field("model_spec", SPEC), 2: Field("metadata_field", "string", repeated=True)},
)
_STATES: dict[ServingState, int] = {"AVAILABLE": 30, "END": 50}
_STATE = Enum(
    "tensorflow.serving.ModelVersionStatus.State",
    (
        *((0, "UNKNOWN"), (10, "START"), (20, "LOADING"), (30, "AVAILABLE"), (40, "UNLOADING")),
        (50, "END"),
    ),
)
_CODES = Enum("tensorflow.error.Code", ((0, "OK"), (_UNKNOWN, "UNKNOWN")))
_STATUS = Message(
    "tensorflow.serving.StatusProto",
    {
        1: Field("error_code", "int64", of=_CODES),
        2: Field("error_message", "string"),
    },
)
_VERSION_STATUS = Message(
    "tensorflow.serving.ModelVersionStatus",
    {
        1: Field("version", "int64"),
        2: Field("state", "int64", of=_STATE),
        3: Field("status", _STATUS),
    },
)
_STATUS_RESPONSE = Message(
    "tensorflow.serving.GetModelStatusResponse",
    {1: Field("model_version_status", _VERSION_STATUS, repeated=True)},
)
_INFO = Message(
    "tensorflow.TensorInfo",
    {
        1: Field("name", "string"),
        2: Field("dtype", "int64", of=_DTYPE),
        3: Field("tensor_shape", _SHAPE),
    },
)
_INFOS: Fields = {1: Field("key", "string"), 2: Field("value", _INFO)}
_SIGNATURE: Fields = {
    1: Field("inputs", _INFOS, map=True),
    2: Field("outputs", _INFOS, map=True),
    3: Field("method_name", "string"),
}
_SIGNATURES: Fields = {
    1: Field("signature_def", {1: Field("key", "string"), 2: Field("value", _SIGNATURE)}, map=True)
}
_ANY = Message("google.protobuf.Any", {1: Field("type_url", "string"), 2: Field("value", "bytes")})
_METADATA_RESPONSE = Message(
    "tensorflow.serving.GetModelMetadataResponse",
    {
        1: Field("model_spec", SPEC),
        2: Field("metadata", {1: Field("key", "string"), 2: Field("value", _ANY)}, map=True),
    },
)
_SIGNATURES_URL = "type.googleapis.com/tensorflow.serving.SignatureDefMap"
_VALUES = {
    "float32": "float_val",
    "float64": "double_val",
    "string": "string_val",
    **dict.fromkeys(("int32", "int16", "int8", "uint16", "uint8"), "int_val"),
    "int64": "int64_val",
    "bool": "bool_val",
    "float16": "half_val",
    "uint32": "uint32_val",
    "uint64": "uint64_val",
}


def methods(state: ServerState) -> dict[str, GrpcMethod]:
    """Each method by its path."""

    def metadata(message: memoryview) -> bytes:
        description = pool_of(state, read(message, _METADATA_REQUEST)).description
        signature = {
            "inputs": {t.name: _info(t) for t in description.asked.inputs},
            "outputs": {t.name: _info(t) for t in description.signature.outputs},
            "method_name": "tensorflow/serving/predict",
        }
        packed = encode({"signature_def": {"serving_default": signature}}, _SIGNATURES)
        answer = {"type_url": _SIGNATURES_URL, "value": packed}
        return encode(
            {"model_spec": spec_of(description), "metadata": {"signature_def": answer}},
            _METADATA_RESPONSE,
        )

    def status(message: memoryview) -> bytes:
        spec = read(message, _STATUS_REQUEST).get("model_spec", {})
        states = version_states(
            state, spec.get("name", ""), _version(spec), spec.get("version_label", "")
        )
        entries = [
            {
                "version": number,
                "state": _STATES[state],
                "status": {
                    "error_code": 0 if code == "OK" else _UNKNOWN,
                    "error_message": message,
                },
            }
            for number, state, code, message in states
        ]
        return encode({"model_version_status": entries}, _STATUS_RESPONSE)

    service, models = "/tensorflow.serving.PredictionService/", "/tensorflow.serving.ModelService/"
    return {
        service + "Predict": GrpcMethod(
            *(PREDICTION, _PREDICT_REQUEST, _PREDICT_RESPONSE),
            named=NAMED,
            pool=partial(pool_of, state),
            work=_predict,
        ),
        service + "GetModelMetadata": GrpcMethod(
            METADATA, _METADATA_REQUEST, _METADATA_RESPONSE, answer=metadata
        ),
        models + "GetModelStatus": GrpcMethod(
            MODEL_HEALTH, _STATUS_REQUEST, _STATUS_RESPONSE, answer=status
        ),
    }


def pool_of(state: ServerState, asked: Mapping[str, Any]) -> Pool | Traffic:
    """The pool that a message's `model_spec` names.

    Raises:
        ServingError: there is no such model, version, label or signature.
    """
    spec = asked.get("model_spec", {})
    signature = spec.get("signature_name", "")
    if signature not in ("", "serving_default"):
        raise invalid(f"There is no signature {signature[:100]!r}: leave it out.")
    return state.served.pool(spec.get("name", ""), _version(spec), spec.get("version_label", ""))


def spec_of(description: Description) -> dict[str, object]:
    """The `model_spec` of what answered."""
    return {
        "name": description.name,
        "version": {"value": description.version},
        "signature_name": "serving_default",
    }


def _predict(message: memoryview, instance: Instance) -> bytes:
    description = instance.description
    asked = read(message, _PREDICT_REQUEST, budget(message))
    arrays = {name: _from_proto(t or {}, name) for name, t in asked.get("inputs", {}).items()}
    answers = instance.ask(arrays)
    names = asked.get("output_filter") or list(answers)
    if unknown := [name for name in names if name not in answers]:
        raise invalid(f"There is no output {unknown[0][:100]!r}.")
    outputs = {name: _to_proto(answers[name]) for name in names}
    return encode({"outputs": outputs, "model_spec": spec_of(description)}, _PREDICT_RESPONSE)


def _from_proto(tensor: Mapping[str, Any], name: str) -> Array:
    dtype = BY_NUMBER.get(tensor.get("dtype", 0))
    if dtype is None:
        raise invalid(f"Input {name[:100]!r} has a dtype that is not read here.")
    dims = tensor.get("tensor_shape", {}).get("dim", [])
    shape = [int(dim.get("size", 0)) for dim in dims]
    count = elements(shape, name[:100])
    if len(content := tensor.get("tensor_content", b"")) and dtype.name != "string":
        return from_bytes(content, dtype.v2, shape, name[:100])
    values = tensor.get(_VALUES[dtype.name], ())
    # the last value stands for those that are left out; TensorFlow sends constants so
    if not 1 <= len(values) <= count or count > 1 << 26:
        raise invalid(f"Input {name[:100]!r} has {len(values)} values for shape {shape}.")
    array: Array
    if dtype.name == "string":
        array = np.empty(len(values), object)
        array[:] = [bytes(value) for value in values]
    elif dtype.name == "float16":
        array = cast(values, np.dtype("<u2"), f"Input {name!r}").view("<f2")
    else:
        array = cast(values, dtype.numpy, f"Input {name!r}")
    if len(array) < count:
        array = np.concatenate([array, np.repeat(array[-1:], count - len(array))])
    return array.reshape(shape)


def _to_proto(array: Array) -> dict[str, object]:
    strings = array.dtype.kind in "OSU"
    dtype = BY_NAME["string" if strings else array.dtype.name]
    flat: Any = array.reshape(-1)
    if strings:
        flat = [v.encode() if isinstance(v, str) else bytes(v) for v in flat]
    elif dtype.name == "float16":
        flat = flat.view("<u2")
    dims = [{"size": size} for size in array.shape]
    return {"dtype": dtype.number, "tensor_shape": {"dim": dims}, _VALUES[dtype.name]: flat}


def _info(tensor: Tensor) -> dict[str, object]:
    dims = [{"size": size} for size in tensor.shape]
    number = BY_NAME[tensor.dtype].number
    return {"name": tensor.name, "dtype": number, "tensor_shape": {"dim": dims}}


def _version(spec: Mapping[str, Any]) -> str:
    return str(spec["version"].get("value", 0)) if "version" in spec else ""
