"""A flatbuffer written table by table, the fields by their numbers, as `flatbuffer` reads them.

    whole = written({0: "a name", 3: Scalar("B", 2), 4: [{0: "first"}, {0: "second"}]}, "M001")

| value                  | field                         |
|------------------------|-------------------------------|
| str                    | a string                      |
| `Scalar`               | a number                      |
| a numpy array          | a vector of numbers           |
| a dict                 | a table                       |
| a list of dicts or str | a vector of tables or strings |
| None                   | left out                      |

The format: flatbuffers.dev/internals.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np


class Scalar(NamedTuple):
    """A number; `kind` as in `struct`: b, B, i, I or f."""

    kind: str
    value: float


TableFields = Mapping[int, Any]
_SLOT = {"b": "Int8", "B": "Uint8", "i": "Int32", "I": "Uint32", "f": "Float32"}


def written(fields: TableFields, identifier: str) -> bytes:
    """A flatbuffer whose root table has some fields; `identifier` are four letters."""
    import flatbuffers  # comes with ai-edge-litert

    builder = flatbuffers.Builder(1024)
    builder.Finish(_table(builder, fields), file_identifier=identifier.encode())
    return bytes(builder.Output())


def _table(builder: Any, fields: TableFields) -> int:
    there = {number: value for number, value in fields.items() if value is not None}
    # what a table refers to is written before it
    places = {
        number: _place(builder, value)
        for number, value in there.items()
        if not isinstance(value, Scalar)
    }
    builder.StartObject(max(there, default=-1) + 1)
    for number, value in there.items():
        if isinstance(value, Scalar):
            getattr(builder, f"Prepend{_SLOT[value.kind]}Slot")(number, value.value, 0)
        else:
            builder.PrependUOffsetTRelativeSlot(number, places[number], 0)
    return int(builder.EndObject())


def _place(builder: Any, value: Any) -> int:
    if isinstance(value, str):
        return int(builder.CreateString(value))
    if isinstance(value, np.ndarray):
        return int(builder.CreateNumpyVector(value))
    if isinstance(value, Mapping):
        return _table(builder, value)
    places = [_place(builder, each) for each in value]
    builder.StartVector(4, len(places), 4)
    for place in reversed(places):  # a buffer grows towards its beginning
        builder.PrependUOffsetTRelative(place)
    return int(builder.EndVector())
