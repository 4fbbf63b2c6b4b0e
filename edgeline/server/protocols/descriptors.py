"""Schemas as google.protobuf.FileDescriptorProto: a file for each package of gRPC's methods.

Source: https://github.com/protocolbuffers/protobuf/blob/main/src/google/protobuf/descriptor.proto
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from edgeline.server.app import GrpcMethod
from edgeline.server.protocols.wire import Enum, Field, Fields, Message, encode, tag, varint

_ENUM_VALUE: Fields = {1: Field("name", "string")}
_ENUM: Fields = {
    1: Field("name", "string"),
    2: Field("value", _ENUM_VALUE, repeated=True),
}
_ENUM_NUMBER = tag(2, 0)  # of an enum's value: 0 is to be written too
_FIELD: Fields = {
    1: Field("name", "string"),
    3: Field("number", "int64"),
    4: Field("label", "int64"),
    5: Field("type", "int64"),
    6: Field("type_name", "string"),
}
_ONEOF_INDEX = tag(9, 0)  # of a field: 0 means something and is written too
_MESSAGE: dict[int, Field] = {
    1: Field("name", "string"),
    2: Field("field", _FIELD, repeated=True),
    4: Field("enum_type", _ENUM, repeated=True),
    7: Field("options", {7: Field("map_entry", "bool")}),
    8: Field("oneof_decl", {1: Field("name", "string")}, repeated=True),
}
_MESSAGE[3] = Field("nested_type", _MESSAGE, repeated=True)
_METHOD: Fields = {
    1: Field("name", "string"),
    2: Field("input_type", "string"),
    3: Field("output_type", "string"),
    5: Field("client_streaming", "bool"),
    6: Field("server_streaming", "bool"),
}
_SERVICE: Fields = {1: Field("name", "string"), 2: Field("method", _METHOD, repeated=True)}
_FILE: Fields = {
    1: Field("name", "string"),
    2: Field("package", "string"),
    3: Field("dependency", "string", repeated=True),
    4: Field("message_type", _MESSAGE, repeated=True),
    5: Field("enum_type", _ENUM, repeated=True),
    6: Field("service", _SERVICE, repeated=True),
    12: Field("syntax", "string"),
}
_TYPES = {
    name: number
    for number, name in (
        *((1, "double"), (2, "float"), (3, "int64"), (4, "uint64"), (5, "int32"), (8, "bool")),
        *((9, "string"), (11, "message"), (12, "bytes"), (13, "uint32"), (14, "enum")),
    )
}
_OPTIONAL, _REPEATED = 1, 3
# messages of Google's own, which clients know by files of theirs
_WELL_KNOWN = "google.protobuf"
_FILES = {"Int64Value": "wrappers", "Any": "any"}


@dataclass(frozen=True)
class DescribedFile:
    """A described file: its FileDescriptorProto, and the full names in it."""

    content: bytes
    symbols: frozenset[str]


@dataclass
class _Described:
    """What is known of a type: its own description, and of those within it."""

    content: dict[str, Any]
    is_enum: bool = False
    within: dict[str, _Described] = field(default_factory=dict)


@dataclass
class _Package:
    """What goes into one file."""

    name: str
    types: dict[str, _Described] = field(default_factory=dict)
    services: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    needs: set[str] = field(default_factory=set)
    symbols: set[str] = field(default_factory=set)


def files_of(methods: Mapping[str, GrpcMethod]) -> dict[str, DescribedFile]:
    """The files that describe methods, by name; `methods` are by path."""
    packages: dict[str, _Package] = {}
    for path, method in methods.items():
        service, name = path[1:].split("/")
        package = service.rpartition(".")[0]
        file = packages.setdefault(_file_name(package, ""), _Package(package))
        takes, gives = (_add(packages, file, each) for each in (method.takes, method.gives))
        described = {
            "name": name,
            "input_type": takes,
            "output_type": gives,
            "client_streaming": method.streamed is not None,
            "server_streaming": bool(method.streamed or method.watch),
        }
        file.services.setdefault(service.rpartition(".")[2], []).append(described)
        file.symbols |= {service, f"{service}.{name}"}
    return {name: _written(name, package) for name, package in packages.items()}


def _written(name: str, package: _Package) -> DescribedFile:
    content = {
        "name": name,
        "package": package.name,
        "dependency": sorted(package.needs - {name}),
        **dict(zip(("message_type", "enum_type"), _nested(package.types), strict=True)),
        "service": [
            {"name": service, "method": methods} for service, methods in package.services.items()
        ],
        "syntax": "proto3",
    }
    return DescribedFile(encode(content, _FILE), frozenset(package.symbols))


def _nested(types: Mapping[str, _Described]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Messages and enums, each with those within it."""
    messages, enums = [], []
    for name, described in types.items():
        if described.is_enum:
            enums.append({"name": name, **described.content})
        else:
            nested, inner_enums = _nested(described.within)
            entries = described.content.get("nested_type", [])
            inner = {"nested_type": [*entries, *nested], "enum_type": inner_enums}
            messages.append({"name": name, **described.content, **inner})
    return messages, enums


def _add(packages: dict[str, _Package], user: _Package, kind: Message | Enum) -> str:
    """Describe a type and those that it needs; its name as another file's or its own writes it."""
    package = _package(kind.name)
    local = kind.name[len(package) + 1 :].split(".")
    file_name = _file_name(package, local[0])
    file = packages.setdefault(file_name, _Package(package))
    user.needs.add(file_name)
    place = file.types
    for outer in local[:-1]:
        place = place.setdefault(outer, _Described({})).within
    if kind.name not in file.symbols:
        file.symbols.add(kind.name)
        described = place.setdefault(local[-1], _Described({}))
        if isinstance(kind, Enum):
            described.is_enum = True
            described.content = {
                "value": [
                    encode({"name": name}, _ENUM_VALUE) + _ENUM_NUMBER + varint(number)
                    for number, name in kind.values
                ]
            }
        else:
            described.content = _described(packages, file, kind)
    return f".{kind.name}"


def _described(packages: dict[str, _Package], file: _Package, message: Message) -> dict[str, Any]:
    choices = list(dict.fromkeys(entry.choice for entry in message.values() if entry.choice))
    fields: list[dict[str, Any] | bytes] = []
    entries: list[dict[str, Any]] = []
    # those of a choice beside each other, as Go's clients want them
    for number, entry in sorted(message.items(), key=lambda each: (each[1].choice, each[0])):
        if entry.map:
            name = "".join(part.title() for part in entry.name.split("_")) + "Entry"
            pair = [_field(packages, file, n, each) for n, each in entry.kind.items()]
            entries.append({"name": name, "field": pair, "options": {"map_entry": True}})
            whole = {"type": _TYPES["message"], "type_name": f".{message.name}.{name}"}
            fields.append({"name": entry.name, "number": number, "label": _REPEATED, **whole})
            continue
        described = _field(packages, file, number, entry)
        chosen = _ONEOF_INDEX + varint(choices.index(entry.choice)) if entry.choice else b""
        fields.append(encode(described, _FIELD) + chosen)
    declared = [{"name": choice} for choice in choices]
    return {"field": fields, "nested_type": entries, "oneof_decl": declared}


def _field(
    packages: dict[str, _Package], file: _Package, number: int, entry: Field
) -> dict[str, Any]:
    kind = entry.kind if entry.of is None else entry.of
    described = {
        "name": entry.name,
        "number": number,
        "label": _REPEATED if entry.repeated else _OPTIONAL,
    }
    if isinstance(kind, str):
        return {**described, "type": _TYPES[kind]}
    type_name = "enum" if isinstance(kind, Enum) else "message"
    return {
        **described,
        "type": _TYPES[type_name],
        "type_name": _add(packages, file, kind),
    }


def _package(name: str) -> str:
    """A type's package: the parts of its name in lower case."""
    parts = name.split(".")
    return ".".join(part for part in parts if part[0].islower())


def _file_name(package: str, outermost: str) -> str:
    """Where a type is described; those of Google's own by the names that their users know."""
    if package == _WELL_KNOWN:
        return f"google/protobuf/{_FILES[outermost]}.proto"
    return f"edgeline/{package.replace('.', '/')}.proto"
