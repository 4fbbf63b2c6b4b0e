"""The Open Inference Protocol over gRPC: `inference.GRPCInferenceService`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from functools import lru_cache
from typing import Any

import numpy as np

from edgeline.formats.dtypes import BY_V2, Array, v2_of
from edgeline.server.access import ADMIN, HEALTH, METADATA, MODEL_HEALTH, PREDICTION
from edgeline.server.app import SMALL, GrpcMethod
from edgeline.server.errors import ServingError, invalid
from edgeline.server.http.grpc_call import Call
from edgeline.server.models.model import Description, Instance
from edgeline.server.models.pool import Pool
from edgeline.server.protocols import messages as m
from edgeline.server.protocols.v2_infer import decision_parameters, requested, takes_encoded
from edgeline.server.protocols.v2_metadata import (
    model_config,
    model_metadata,
    model_statistics,
    server_metadata,
)
from edgeline.server.protocols.wire import Budget, Message, budget, encode
from edgeline.server.rollouts.traffic import Traffic
from edgeline.server.state import ServerState
from edgeline.server.tensors import pictures
from edgeline.server.tensors.binary import elements, from_bytes, to_bytes
from edgeline.server.tensors.json import cast
from edgeline.server.watching import tracing

SERVICE = "/inference.GRPCInferenceService/"
_CONTENTS = {
    **dict.fromkeys(("INT8", "INT16", "INT32"), "int_contents"),
    **dict.fromkeys(("UINT8", "UINT16", "UINT32"), "uint_contents"),
    "BOOL": "bool_contents",
    "INT64": "int64_contents",
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}
_SHORT = 256  # bytes of an input's description that is remembered
# what Triton has and this server does not: each method of these is refused in a sentence
_NOT_HERE = {
    "There is no shared memory here: send tensors in the request.": (
        *("SystemSharedMemoryStatus", "SystemSharedMemoryRegister", "SystemSharedMemoryUnregister"),
        *("CudaSharedMemoryStatus", "CudaSharedMemoryRegister", "CudaSharedMemoryUnregister"),
    ),
    "Tracing is not set by calls here: start the server with --traces.": ("TraceSetting",),
    "Logging is not set by calls here: start the server with --log and --access-log.": (
        "LogSettings",
    ),
}
FINAL = "triton_final_response"
AS_STATUS = "triton_grpc_error"  # a stream's metadata: `true` ends it at the first error
_REPEATED = m.naming(m.INFER_NAMED)


def methods(state: ServerState) -> dict[str, GrpcMethod]:
    """Each method of the service by its path."""
    calls, named = _Calls(state), m.naming(m.INFER_NAMES)

    def about(name: str) -> Message:
        return Message(f"inference.{name}Request", m.MODEL_REQUEST)

    def empty(name: str) -> Message:
        return Message(f"inference.{name}Request", {})

    found = {
        "ServerLive": GrpcMethod(HEALTH, empty("ServerLive"), m.LIVE_RESPONSE, answer=calls.live),
        "ServerReady": GrpcMethod(
            HEALTH, empty("ServerReady"), m.READY_RESPONSE, answer=calls.ready
        ),
        "ModelReady": GrpcMethod(
            *(MODEL_HEALTH, about("ModelReady")),
            Message("inference.ModelReadyResponse", m.READY_RESPONSE),
            answer=calls.model_ready,
        ),
        "ServerMetadata": GrpcMethod(
            METADATA, empty("ServerMetadata"), m.SERVER_METADATA, answer=calls.server
        ),
        "ModelMetadata": GrpcMethod(
            METADATA, about("ModelMetadata"), m.MODEL_METADATA, answer=calls.metadata
        ),
        "ModelConfig": GrpcMethod(
            METADATA, about("ModelConfig"), m.CONFIG_RESPONSE, answer=calls.config
        ),
        "ModelStatistics": GrpcMethod(
            METADATA, about("ModelStatistics"), m.STATISTICS_RESPONSE, answer=calls.statistics
        ),
        "ModelInfer": GrpcMethod(
            *(PREDICTION, m.INFER_REQUEST, m.INFER_RESPONSE),
            named=named,
            pool=calls.pool,
            work=_infer,
        ),
        "ModelStreamInfer": GrpcMethod(
            *(PREDICTION, m.INFER_REQUEST, m.STREAM_RESPONSE),
            named=named,
            pool=calls.pool,
            work=_infer,
            streamed=_streamed,
        ),
        "RepositoryIndex": GrpcMethod(
            METADATA, m.INDEX_REQUEST, m.INDEX_RESPONSE, answer=calls.index
        ),
        "RepositoryModelLoad": GrpcMethod(
            *(ADMIN, Message("inference.RepositoryModelLoadRequest", m.LOAD_ASKED)),
            m.LOAD_RESPONSE,
            later=calls.load,
        ),
        "RepositoryModelUnload": GrpcMethod(
            *(ADMIN, Message("inference.RepositoryModelUnloadRequest", m.LOAD_ASKED)),
            m.UNLOAD_RESPONSE,
            later=calls.unload,
        ),
    }
    return {SERVICE + name: method for name, method in found.items()}


def missing() -> dict[str, str]:
    """Why there is none of a method that other servers of this protocol have, by its path."""
    return {SERVICE + name: why for why, names in _NOT_HERE.items() for name in names}


def _streamed(call: Call, answer: bytes | ServingError) -> bytes | ServingError:
    """The answer to one message of a stream, as Triton gives it for a model that answers once."""
    final = {FINAL: {"bool_param": True}}
    if not isinstance(answer, ServingError):
        # a message's fields may be in any number of pieces, so this one is put behind the others
        more = encode({"parameters": final}, m.INFER_RESPONSE)
        return encode({"infer_response": answer + more}, m.STREAM_RESPONSE)
    if call.headers.get(AS_STATUS, "").lower() == "true":
        return answer
    try:
        asked = _REPEATED(call.beginning(SMALL), bool(call.coding))
    except ServingError:
        asked = {}
    failed = {**asked, "parameters": final}
    told = {"error_message": str(answer), "infer_response": failed}
    return encode(told, m.STREAM_RESPONSE)


class _Calls:
    """What answers."""

    def __init__(self, state: ServerState) -> None:
        self._state, self._served, self._repository = state, state.served, state.repository

    def live(self, _: memoryview) -> bytes:
        return encode({"live": True}, m.LIVE_RESPONSE)

    def ready(self, _: memoryview) -> bytes:
        return encode({"ready": self._served.ready}, m.READY_RESPONSE)

    def model_ready(self, message: memoryview) -> bytes:
        asked = m.read(message, m.MODEL_REQUEST)
        try:
            self._served.pool(asked.get("name", ""), asked.get("version", ""))
        except ServingError:
            return encode({"ready": False}, m.READY_RESPONSE)
        return encode({"ready": True}, m.READY_RESPONSE)

    def server(self, _: memoryview) -> bytes:
        return encode(server_metadata(), m.SERVER_METADATA)

    def metadata(self, message: memoryview) -> bytes:
        asked = m.read(message, m.MODEL_REQUEST)
        name = asked.get("name", "")
        pool = self._served.pool(name, asked.get("version", ""))
        versions = sorted(self._served.model(name).pools)
        return encode(model_metadata(pool.description, versions), m.MODEL_METADATA)

    def pool(self, named: Mapping[str, str]) -> Pool | Traffic:
        return self._served.pool(named.get("model_name", ""), named.get("model_version", ""))

    def index(self, message: memoryview) -> bytes:
        only_ready = m.read(message, m.INDEX_REQUEST).get("ready", False)
        entries = [e for e in self._served.index() if e.state == "READY" or not only_ready]
        return encode({"models": list(map(asdict, entries))}, m.INDEX_RESPONSE)

    async def load(self, message: memoryview) -> bytes:
        name, kserve = _model_of(message)
        await self._repository.load(name)
        answer = {"model_name": name, "isLoaded": True} if kserve else {}
        return encode(answer, m.LOAD_RESPONSE)

    async def unload(self, message: memoryview) -> bytes:
        name, kserve = _model_of(message)
        await self._repository.unload(name)
        answer = {"model_name": name, "isUnloaded": True} if kserve else {}
        return encode(answer, m.UNLOAD_RESPONSE)

    def config(self, message: memoryview) -> bytes:
        asked = m.read(message, m.MODEL_REQUEST)
        pool = self._served.pool(asked.get("name", ""), asked.get("version", ""))
        found = model_config(pool.description)
        for tensor in (*found["input"], *found["output"]):
            tensor["data_type"] = m.TYPE_NUMBERS[tensor["data_type"]]
        return encode({"config": found}, m.CONFIG_RESPONSE)

    def statistics(self, message: memoryview) -> bytes:
        asked = m.read(message, m.MODEL_REQUEST)
        which = [(asked.get("name", ""), asked.get("version", ""))]
        if not which[0][0]:
            which = [(name, str(version)) for name, version, _ in self._served.serving()]
        stats = [model_statistics(self._state, *one) for one in which]
        return encode({"model_stats": stats}, m.STATISTICS_RESPONSE)


def _infer(message: memoryview, instance: Instance) -> bytes:
    description, left = instance.description, budget(message)
    asked = m.read(message, m.INFER_ASKED, left)
    tracing.name(asked.get("id"))
    answers = instance.ask(_inputs(asked, description, left))
    names = [
        (entry.get("name", ""), {k: _parameter(v) for k, v in entry.get("parameters", {}).items()})
        for entry in asked.get("outputs", ())
    ]
    outputs, contents = [], []
    for name, array, _ in requested(names, answers, description):
        told = decision_parameters(array, name, description)
        outputs.append(_output(name, v2_of(array.dtype), array.shape, tuple(told.items())))
        contents.append(to_bytes(array))
    of_request = instance.outside.parameters
    response = {
        "model_name": description.name,
        "model_version": str(description.version),
        "id": asked.get("id", ""),
        "parameters": {key: {"string_param": value} for key, value in of_request.items()},
        "outputs": outputs,
        "raw_output_contents": contents,
    }
    return encode(response, m.INFER_RESPONSE)


@lru_cache(256)
def _described(message: bytes) -> Mapping[str, Any]:
    """An input without its values: clients send the same description again and again."""
    return m.read(memoryview(message), m.TENSOR)


@lru_cache(256)
def _output(
    name: str, datatype: str, shape: tuple[int, ...], told: tuple[tuple[str, float | str], ...]
) -> bytes:
    """An output's description as a message; models give few shapes, and most of them tell none."""
    parameters = {
        key: {"double_param" if isinstance(value, float) else "string_param": value}
        for key, value in told
    }
    described = {"name": name, "datatype": datatype, "shape": shape}
    return encode({**described, "parameters": parameters}, m.TENSOR)


def _inputs(
    asked: Mapping[str, Any], description: Description, left: Budget | None
) -> dict[str, Array]:
    entries, raw = asked.get("inputs", []), asked.get("raw_input_contents")
    if raw is not None and len(raw) != len(entries):
        raise invalid(f"There are {len(entries)} inputs, but {len(raw)} raw_input_contents.")
    tensors = {tensor.name: tensor for tensor in description.asked.inputs}
    arrays: dict[str, Array] = {}
    for place, message in enumerate(entries):
        if raw is not None and len(message) <= _SHORT:
            entry = _described(bytes(message))
        else:
            entry = m.read(message, m.TENSOR, left)
        name, datatype = entry.get("name", ""), entry.get("datatype", "")
        shape = entry["shape"].tolist() if "shape" in entry else []
        if name in arrays:
            raise invalid(f"Input {name[:100]!r} is given twice.")
        if datatype not in BY_V2:
            raise invalid(f"Input {name[:100]!r} has no datatype of this protocol.")
        encoded = takes_encoded(tensors.get(name), datatype)
        if raw is not None:
            if entry.get("contents"):
                raise invalid(f"Input {name[:100]!r} has contents and raw_input_contents.")
            arrays[name] = from_bytes(raw[place], datatype, shape, name)
        else:
            arrays[name] = _from_contents(entry, datatype, shape, name, left)
        if encoded:
            files = arrays[name].reshape(-1)
            arrays[name] = pictures.decode(files, tensors[name], description.takes_of(name))
    return arrays


def _from_contents(
    entry: Mapping[str, Any], datatype: str, shape: list[int], name: str, left: Budget | None
) -> Array:
    if datatype == "FP16":
        raise invalid(f"Input {name[:100]!r} is FP16: send it in raw_input_contents.")
    contents = m.read(entry.get("contents", memoryview(b"")), m.CONTENTS, left)
    field = _CONTENTS[datatype]
    if unknown := [key for key in contents if key != field]:
        raise invalid(f"Input {name[:100]!r} is {datatype}, but has {unknown[0]}.")
    values = contents.get(field, ())
    if len(values) != elements(shape, name):
        raise invalid(f"Input {name[:100]!r} has {len(values)} values for shape {shape}.")
    if datatype == "BYTES":
        array = np.empty(len(values), object)
        array[:] = [bytes(value) for value in values]
        return array.reshape(shape)
    values = np.asarray(values, BY_V2[datatype].numpy if not len(values) else None)
    return cast(values, BY_V2[datatype].numpy, f"Input {name!r}").reshape(shape)


def _parameter(value: Mapping[str, object] | None) -> object:
    return next(iter((value or {}).values()), None)


def _model_of(message: memoryview) -> tuple[str, bool]:
    """The model to load, and whether the message is KServe's (else Triton's)."""
    asked = m.read(message, m.LOAD_REQUEST)
    second = asked.get("second")
    if second is None:
        return asked.get("first", ""), True
    try:
        return bytes(second).decode(), False
    except UnicodeDecodeError:
        raise invalid("The model's name is not UTF-8.") from None
