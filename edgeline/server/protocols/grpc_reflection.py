"""What gRPC's services and messages look like, for clients that ask: `grpcurl` and the like.

The descriptions are made of the schemas that the server reads and writes by, when first asked for:
a message has the fields that it has here. Versions v1 and v1alpha differ in their names alone.

Source: https://github.com/grpc/grpc/blob/master/doc/server-reflection.md
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

from edgeline.server.access import PUBLIC
from edgeline.server.app import GrpcMethod
from edgeline.server.errors import Code
from edgeline.server.protocols.descriptors import DescribedFile, files_of
from edgeline.server.protocols.messages import read
from edgeline.server.protocols.wire import Field, Fields, Message, encode

PACKAGES = ("grpc.reflection.v1", "grpc.reflection.v1alpha")
SERVICES = tuple(f"{package}.ServerReflection" for package in PACKAGES)
METHOD = "ServerReflectionInfo"


class Reflection:
    """One version of the service, and all that it describes."""

    def __init__(self, package: str, methods: Mapping[str, GrpcMethod]) -> None:
        self._request, self._response = _messages(package)
        self._methods = methods

    @property
    def method(self) -> GrpcMethod:
        """What answers a stream of questions."""
        return GrpcMethod(
            *(PUBLIC, self._request, self._response),
            answer=self._answer,
            streamed=lambda _call, answer: answer,
        )

    @cached_property
    def _files(self) -> dict[str, DescribedFile]:
        return files_of(self._methods)

    def _answer(self, message: memoryview) -> bytes:
        asked = read(message, self._request)
        told = {"original_request": bytes(message), **self._found(asked)}
        return encode(told, self._response)

    def _found(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        if "list_services" in asked:
            names = sorted({path.split("/")[1] for path in self._methods})
            return {"list_services_response": {"service": [{"name": name} for name in names]}}
        file = None
        if (name := asked.get("file_by_filename")) is not None:
            file = self._files.get(name)
        elif (name := asked.get("file_containing_symbol")) is not None:
            symbol = name.removeprefix(".")
            file = next((file for file in self._files.values() if symbol in file.symbols), None)
        elif (name := asked.get("all_extension_numbers_of_type")) is not None:
            if any(name in file.symbols for file in self._files.values()):
                return {"all_extension_numbers_response": {"base_type_name": name}}
        elif "file_containing_extension" in asked:
            name = "this extension"
        else:
            return _error(Code.INVALID_ARGUMENT, "The request asks nothing that is known here.")
        if file is None:
            return _error(Code.NOT_FOUND, f"There is no {name[:200]} here.")
        return {"file_descriptor_response": {"file_descriptor_proto": [file.content]}}


def methods(described: Mapping[str, GrpcMethod]) -> dict[str, GrpcMethod]:
    """The service in each of its versions, which describe all methods and themselves."""
    found: dict[str, GrpcMethod] = {}
    everything = dict(described)
    for package, service in zip(PACKAGES, SERVICES, strict=True):
        found[f"/{service}/{METHOD}"] = Reflection(package, everything).method
    everything |= found
    return found


def _error(code: Code, message: str) -> dict[str, Any]:
    return {"error_response": {"error_code": int(code), "error_message": message}}


def _messages(package: str) -> tuple[Message, Message]:
    """The request and the response of one version."""

    def named(name: str, fields: Fields) -> Message:
        return Message(f"{package}.{name}", fields)

    extension = named(
        "ExtensionRequest",
        {
            1: Field("containing_type", "string"),
            2: Field("extension_number", "int64", of="int32"),
        },
    )
    question = "message_request"
    request = named(
        "ServerReflectionRequest",
        {
            1: Field("host", "string"),
            3: Field("file_by_filename", "string", choice=question),
            4: Field("file_containing_symbol", "string", choice=question),
            5: Field("file_containing_extension", extension, choice=question),
            6: Field("all_extension_numbers_of_type", "string", choice=question),
            7: Field("list_services", "string", choice=question),
        },
    )
    file = named(
        "FileDescriptorResponse", {1: Field("file_descriptor_proto", "bytes", repeated=True)}
    )
    numbers = named(
        "ExtensionNumberResponse",
        {
            1: Field("base_type_name", "string"),
            2: Field("extension_number", "int64", repeated=True, of="int32"),
        },
    )
    service = named("ServiceResponse", {1: Field("name", "string")})
    services = named("ListServiceResponse", {1: Field("service", service, repeated=True)})
    error = named(
        "ErrorResponse",
        {1: Field("error_code", "int64", of="int32"), 2: Field("error_message", "string")},
    )
    answer = "message_response"
    response = named(
        "ServerReflectionResponse",
        {
            1: Field("valid_host", "string"),
            2: Field("original_request", "bytes", of=request),
            4: Field("file_descriptor_response", file, choice=answer),
            5: Field("all_extension_numbers_response", numbers, choice=answer),
            6: Field("list_services_response", services, choice=answer),
            7: Field("error_response", error, choice=answer),
        },
    )
    return request, response
