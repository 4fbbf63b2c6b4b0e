"""The messages of the Open Inference Protocol's gRPC service (package `inference`).

Numbers are those of the protocol's grpc_service.proto; fields that do not apply here are absent,
which readers skip. `read` is for the messages of both services.
"""

from __future__ import annotations

from typing import Any

from edgeline.server.errors import invalid
from edgeline.server.protocols.wire import Field, Fields, WireError, decode

_PARAMETER: Fields = {
    1: Field("bool_param", "bool"),
    2: Field("int64_param", "int64"),
    3: Field("string_param", "string"),
    4: Field("double_param", "double"),
    5: Field("uint64_param", "uint64"),
}
_PARAMETER_ENTRY: Fields = {1: Field("key", "string"), 2: Field("value", _PARAMETER)}
CONTENTS: Fields = {
    1: Field("bool_contents", "bool", repeated=True),
    2: Field("int_contents", "int64", repeated=True),
    3: Field("int64_contents", "int64", repeated=True),
    4: Field("uint_contents", "uint64", repeated=True),
    5: Field("uint64_contents", "uint64", repeated=True),
    6: Field("fp32_contents", "float", repeated=True),
    7: Field("fp64_contents", "double", repeated=True),
    8: Field("bytes_contents", "bytes", repeated=True),
}
TENSOR: Fields = {
    1: Field("name", "string"),
    2: Field("datatype", "string"),
    3: Field("shape", "int64", repeated=True),
    4: Field("parameters", _PARAMETER_ENTRY, map=True),
    5: Field("contents", "bytes"),  # of CONTENTS, read where the work is done
}
_REQUESTED_OUTPUT: Fields = {
    1: Field("name", "string"),
    2: Field("parameters", _PARAMETER_ENTRY, map=True),
}
INFER_REQUEST: Fields = {
    1: Field("model_name", "string"),
    2: Field("model_version", "string"),
    3: Field("id", "string"),
    4: Field("parameters", _PARAMETER_ENTRY, map=True),
    5: Field("inputs", TENSOR, repeated=True),
    6: Field("outputs", _REQUESTED_OUTPUT, repeated=True),
    7: Field("raw_input_contents", "bytes", repeated=True),
}
# as a server reads it: its inputs, of TENSOR, are read where the work is done
INFER_ASKED: Fields = {**INFER_REQUEST, 5: Field("inputs", "bytes", repeated=True)}
INFER_RESPONSE: Fields = {
    1: Field("model_name", "string"),
    2: Field("model_version", "string"),
    3: Field("id", "string"),
    4: Field("parameters", _PARAMETER_ENTRY, map=True),
    5: Field("outputs", TENSOR, repeated=True),
    6: Field("raw_output_contents", "bytes", repeated=True),
}
LIVE_RESPONSE: Fields = {1: Field("live", "bool")}
READY_RESPONSE: Fields = {1: Field("ready", "bool")}
MODEL_REQUEST: Fields = {1: Field("name", "string"), 2: Field("version", "string")}
SERVER_METADATA: Fields = {
    1: Field("name", "string"),
    2: Field("version", "string"),
    3: Field("extensions", "string", repeated=True),
}
_TENSOR_METADATA: Fields = {
    1: Field("name", "string"),
    2: Field("datatype", "string"),
    3: Field("shape", "int64", repeated=True),
}
MODEL_METADATA: Fields = {
    1: Field("name", "string"),
    2: Field("versions", "string", repeated=True),
    3: Field("platform", "string"),
    4: Field("inputs", _TENSOR_METADATA, repeated=True),
    5: Field("outputs", _TENSOR_METADATA, repeated=True),
}
INDEX_REQUEST: Fields = {1: Field("repository_name", "string"), 2: Field("ready", "bool")}
_INDEX_ENTRY: Fields = {
    1: Field("name", "string"),
    2: Field("version", "string"),
    3: Field("state", "string"),
    4: Field("reason", "string"),
}
INDEX_RESPONSE: Fields = {1: Field("models", _INDEX_ENTRY, repeated=True)}
# Triton's load takes (repository_name, model_name, parameters), KServe's takes (model_name)
LOAD_REQUEST: Fields = {1: Field("first", "string"), 2: Field("second", "bytes")}
LOAD_RESPONSE: Fields = {1: Field("model_name", "string"), 2: Field("is_loaded", "bool")}
UNLOAD_RESPONSE: Fields = {1: Field("model_name", "string"), 2: Field("is_unloaded", "bool")}
CONFIG_RESPONSE: Fields = {
    1: Field(
        "config",
        {
            1: Field("name", "string"),
            2: Field("platform", "string"),
            5: Field(
                "input",
                {
                    1: Field("name", "string"),
                    2: Field("type_number", "int64"),
                    4: Field("dims", "int64", repeated=True),
                },
                repeated=True,
            ),
            6: Field(
                "output",
                {
                    1: Field("name", "string"),
                    2: Field("type_number", "int64"),
                    3: Field("dims", "int64", repeated=True),
                },
                repeated=True,
            ),
            17: Field("backend", "string"),
        },
    )
}
_SPENT: Fields = {1: Field("count", "uint64"), 2: Field("ns", "uint64")}
STATISTICS_RESPONSE: Fields = {
    1: Field(
        "model_stats",
        {
            1: Field("name", "string"),
            2: Field("version", "string"),
            4: Field("inference_count", "uint64"),
            5: Field("execution_count", "uint64"),
            6: Field(
                "inference_stats",
                {
                    1: Field("success", _SPENT),
                    2: Field("fail", _SPENT),
                    3: Field("queue", _SPENT),
                    5: Field("compute_infer", _SPENT),
                },
            ),
        },
        repeated=True,
    )
}
HEALTH_REQUEST: Fields = {1: Field("service", "string")}
HEALTH_RESPONSE: Fields = {1: Field("status", "int64")}


def read(message: memoryview, schema: Fields) -> dict[str, Any]:
    """A message by its schema.

    Raises:
        ServingError: it is something else.
    """
    try:
        return decode(message, schema)
    except WireError as error:
        raise invalid(f"The message is not what this method takes ({error}).") from error
