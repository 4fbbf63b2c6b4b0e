"""The messages of the Open Inference Protocol's gRPC service (package `inference`).

Numbers are those of the protocol's grpc_service.proto; fields that do not apply here are absent,
which readers skip. `read` is for the messages of all services.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from edgeline.server.errors import ServingError, invalid
from edgeline.server.protocols.wire import (
    MOST_NAMING,
    Budget,
    Enum,
    Field,
    Fields,
    Message,
    WireError,
    decode,
    decode_beginning,
)

_PARAMETER = Message(
    "inference.InferParameter",
    {
        1: Field("bool_param", "bool", choice="parameter_choice"),
        2: Field("int64_param", "int64", choice="parameter_choice"),
        3: Field("string_param", "string", choice="parameter_choice"),
        4: Field("double_param", "double", choice="parameter_choice"),
        5: Field("uint64_param", "uint64", choice="parameter_choice"),
    },
)
_PARAMETER_ENTRY: Fields = {1: Field("key", "string"), 2: Field("value", _PARAMETER)}
CONTENTS = Message(
    "inference.InferTensorContents",
    {
        1: Field("bool_contents", "bool", repeated=True),
        2: Field("int_contents", "int64", repeated=True, of="int32"),
        3: Field("int64_contents", "int64", repeated=True),
        4: Field("uint_contents", "uint64", repeated=True, of="uint32"),
        5: Field("uint64_contents", "uint64", repeated=True),
        6: Field("fp32_contents", "float", repeated=True),
        7: Field("fp64_contents", "double", repeated=True),
        8: Field("bytes_contents", "bytes", repeated=True),
    },
)
TENSOR = Message(
    "inference.ModelInferRequest.InferInputTensor",
    {
        1: Field("name", "string"),
        2: Field("datatype", "string"),
        3: Field("shape", "int64", repeated=True),
        4: Field("parameters", _PARAMETER_ENTRY, map=True),
        5: Field("contents", "bytes", of=CONTENTS),  # read where the work is done
    },
)
_OUTPUT_TENSOR = Message("inference.ModelInferResponse.InferOutputTensor", TENSOR)
_REQUESTED_OUTPUT = Message(
    "inference.ModelInferRequest.InferRequestedOutputTensor",
    {1: Field("name", "string"), 2: Field("parameters", _PARAMETER_ENTRY, map=True)},
)
INFER_REQUEST = Message(
    "inference.ModelInferRequest",
    {
        1: Field("model_name", "string"),
        2: Field("model_version", "string"),
        3: Field("id", "string"),
        4: Field("parameters", _PARAMETER_ENTRY, map=True),
        5: Field("inputs", TENSOR, repeated=True),
        6: Field("outputs", _REQUESTED_OUTPUT, repeated=True),
        7: Field("raw_input_contents", "bytes", repeated=True),
    },
)
# as a server reads it: its inputs, of TENSOR, are read where the work is done
INFER_ASKED: Fields = {**INFER_REQUEST, 5: Field("inputs", "bytes", repeated=True)}
# what names the model
INFER_NAMES: Fields = {number: INFER_REQUEST[number] for number in (1, 2)}
# of one that is refused, all that its answer repeats
INFER_NAMED: Fields = {number: INFER_REQUEST[number] for number in (1, 2, 3)}
INFER_RESPONSE = Message(
    "inference.ModelInferResponse",
    {
        1: Field("model_name", "string"),
        2: Field("model_version", "string"),
        3: Field("id", "string"),
        4: Field("parameters", _PARAMETER_ENTRY, map=True),
        5: Field("outputs", _OUTPUT_TENSOR, repeated=True),
        6: Field("raw_output_contents", "bytes", repeated=True),
    },
)
STREAM_RESPONSE = Message(
    "inference.ModelStreamInferResponse",
    {1: Field("error_message", "string"), 2: Field("infer_response", INFER_RESPONSE)},
)
LIVE_RESPONSE = Message("inference.ServerLiveResponse", {1: Field("live", "bool")})
READY_RESPONSE = Message("inference.ServerReadyResponse", {1: Field("ready", "bool")})
MODEL_REQUEST: Fields = {1: Field("name", "string"), 2: Field("version", "string")}
SERVER_METADATA = Message(
    "inference.ServerMetadataResponse",
    {
        1: Field("name", "string"),
        2: Field("version", "string"),
        3: Field("extensions", "string", repeated=True),
    },
)
_TENSOR_METADATA = Message(
    "inference.ModelMetadataResponse.TensorMetadata",
    {
        1: Field("name", "string"),
        2: Field("datatype", "string"),
        3: Field("shape", "int64", repeated=True),
    },
)
MODEL_METADATA = Message(
    "inference.ModelMetadataResponse",
    {
        1: Field("name", "string"),
        2: Field("versions", "string", repeated=True),
        3: Field("platform", "string"),
        4: Field("inputs", _TENSOR_METADATA, repeated=True),
        5: Field("outputs", _TENSOR_METADATA, repeated=True),
    },
)
INDEX_REQUEST = Message(
    "inference.RepositoryIndexRequest",
    {1: Field("repository_name", "string"), 2: Field("ready", "bool")},
)
_INDEX_ENTRY = Message(
    "inference.RepositoryIndexResponse.ModelIndex",
    {
        1: Field("name", "string"),
        2: Field("version", "string"),
        3: Field("state", "string"),
        4: Field("reason", "string"),
    },
)
INDEX_RESPONSE = Message(
    "inference.RepositoryIndexResponse", {1: Field("models", _INDEX_ENTRY, repeated=True)}
)
# Triton's load takes (repository_name, model_name, parameters), KServe's takes (model_name)
LOAD_REQUEST: Fields = {1: Field("first", "string"), 2: Field("second", "bytes")}
LOAD_ASKED: Fields = {1: Field("repository_name", "string"), 2: Field("model_name", "string")}
LOAD_RESPONSE = Message(
    "inference.RepositoryModelLoadResponse",
    {1: Field("model_name", "string"), 2: Field("isLoaded", "bool")},
)
UNLOAD_RESPONSE = Message(
    "inference.RepositoryModelUnloadResponse",
    {1: Field("model_name", "string"), 2: Field("isUnloaded", "bool")},
)
_TYPE_NAMES = (  # of Triton's enum DataType, from 0
    *("TYPE_INVALID", "TYPE_BOOL", "TYPE_UINT8", "TYPE_UINT16", "TYPE_UINT32", "TYPE_UINT64"),
    *("TYPE_INT8", "TYPE_INT16", "TYPE_INT32", "TYPE_INT64", "TYPE_FP16", "TYPE_FP32"),
    *("TYPE_FP64", "TYPE_STRING", "TYPE_BF16"),
)
TYPE_NUMBERS = {name: number for number, name in enumerate(_TYPE_NAMES)}
_DATA_TYPE = Enum("inference.DataType", tuple(enumerate(_TYPE_NAMES)))
_CONFIG = Message(
    "inference.ModelConfig",
    {
        1: Field("name", "string"),
        2: Field("platform", "string"),
        5: Field(
            "input",
            Message(
                "inference.ModelInput",
                {
                    1: Field("name", "string"),
                    2: Field("data_type", "int64", of=_DATA_TYPE),
                    4: Field("dims", "int64", repeated=True),
                },
            ),
            repeated=True,
        ),
        6: Field(
            "output",
            Message(
                "inference.ModelOutput",
                {
                    1: Field("name", "string"),
                    2: Field("data_type", "int64", of=_DATA_TYPE),
                    3: Field("dims", "int64", repeated=True),
                },
            ),
            repeated=True,
        ),
        17: Field("backend", "string"),
    },
)
CONFIG_RESPONSE = Message("inference.ModelConfigResponse", {1: Field("config", _CONFIG)})
_SPENT = Message(
    "inference.StatisticDuration", {1: Field("count", "uint64"), 2: Field("ns", "uint64")}
)
_INFER_STATISTICS = Message(
    "inference.InferStatistics",
    {
        1: Field("success", _SPENT),
        2: Field("fail", _SPENT),
        3: Field("queue", _SPENT),
        5: Field("compute_infer", _SPENT),
    },
)
_STATISTICS = Message(
    "inference.ModelStatistics",
    {
        1: Field("name", "string"),
        2: Field("version", "string"),
        4: Field("inference_count", "uint64"),
        5: Field("execution_count", "uint64"),
        6: Field("inference_stats", _INFER_STATISTICS),
    },
)
STATISTICS_RESPONSE = Message(
    "inference.ModelStatisticsResponse", {1: Field("model_stats", _STATISTICS, repeated=True)}
)


def read(message: memoryview, schema: Fields, left: Budget | None = None) -> dict[str, Any]:
    """A message by its schema; `left` is how many fields it may have, None for any number.

    Raises:
        ServingError: it is something else.
    """
    try:
        return decode(message, schema, left)
    except WireError as error:
        raise _other(error) from error


def naming(schema: Fields) -> Callable[[memoryview, bool], dict[str, Any]]:
    """Reads some fields of a message (see `GrpcMethod.named`), whose number is limited, since no
    worker does it."""

    def named(message: memoryview, is_cut: bool) -> dict[str, Any]:
        left = Budget(MOST_NAMING)
        try:
            return (decode_beginning if is_cut else decode)(message, schema, left)
        except WireError as error:
            raise _other(error) from error

    return named


def _other(error: WireError) -> ServingError:
    return invalid(f"The message is not what this method takes ({error}).")
