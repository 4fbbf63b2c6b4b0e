"""The wire format is that of the protobuf package, both ways."""

from __future__ import annotations

import random

import numpy as np
import pytest

from edgeline.server.protocols import messages as m
from edgeline.server.protocols.wire import Field, WireError, decode, encode

pb = pytest.importorskip("google.protobuf.descriptor_pb2")


def message_class():
    """A protobuf class with every kind of field, in a pool of its own."""
    from google.protobuf import descriptor_pool, message_factory

    kind = pb.FieldDescriptorProto
    file = pb.FileDescriptorProto(name="t.proto", package="t", syntax="proto3")
    message = file.message_type.add(name="M")
    for number, (name, type_, repeated) in enumerate(
        [
            ("text", kind.TYPE_STRING, False),
            ("data", kind.TYPE_BYTES, True),
            ("int", kind.TYPE_INT64, False),
            ("ints", kind.TYPE_INT64, True),
            ("small", kind.TYPE_INT32, True),
            ("uints", kind.TYPE_UINT64, True),
            ("flags", kind.TYPE_BOOL, True),
            ("floats", kind.TYPE_FLOAT, True),
            ("doubles", kind.TYPE_DOUBLE, True),
        ],
        1,
    ):
        label = kind.LABEL_REPEATED if repeated else kind.LABEL_OPTIONAL
        message.field.add(name=name, number=number, type=type_, label=label)
    message.field.add(
        name="inner", number=10, type=kind.TYPE_MESSAGE, label=kind.LABEL_REPEATED, type_name=".t.M"
    )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("t.M"))


SCHEMA: dict[int, Field] = {
    1: Field("text", "string"),
    2: Field("data", "bytes", repeated=True),
    3: Field("int", "int64"),
    4: Field("ints", "int64", repeated=True),
    5: Field("small", "int64", repeated=True),
    6: Field("uints", "uint64", repeated=True),
    7: Field("flags", "bool", repeated=True),
    8: Field("floats", "float", repeated=True),
    9: Field("doubles", "double", repeated=True),
}
SCHEMA[10] = Field("inner", SCHEMA, repeated=True)


def values(rng: random.Random, depth: int = 0) -> dict:
    count = rng.choice([0, 1, 3, 200])
    found = {
        "text": rng.choice(["", "a", "ü" * 100]),
        "data": [rng.randbytes(rng.randint(0, 300)) for _ in range(rng.randint(0, 3))],
        "int": rng.choice([0, 1, -1, 2**63 - 1, -(2**63)]),
        "ints": [rng.randint(-(2**63), 2**63 - 1) >> rng.randint(0, 63) for _ in range(count)],
        "small": [rng.randint(-(2**31), 2**31 - 1) for _ in range(count)],
        "uints": [rng.randint(0, 2**64 - 1) for _ in range(count)],
        "flags": [rng.random() < 0.5 for _ in range(count)],
        "floats": [float(np.float32(rng.gauss(0, 1))) for _ in range(count)],
        "doubles": [rng.gauss(0, 1) for _ in range(count)],
    }
    if depth < 2:
        found["inner"] = [values(rng, depth + 1) for _ in range(rng.randint(0, 2))]
    return found


def plain(message: dict) -> dict:
    """A decoded message without views, arrays and what is empty."""
    found = {}
    for name, value in message.items():
        if name == "inner":
            value = [plain(item) for item in value]
        elif name == "data":
            value = [bytes(item) for item in value]
        elif isinstance(value, np.ndarray):
            value = value.tolist()
        if value:
            found[name] = value
    return found


def test_both_ways():
    kind, rng = message_class(), random.Random(0)
    for _ in range(50):
        given = values(rng)
        theirs = kind(**given)
        data = theirs.SerializeToString(deterministic=True)
        assert plain(decode(memoryview(data), SCHEMA)) == plain(given)
        assert kind.FromString(encode(given, SCHEMA)) == theirs


def test_damaged_messages_are_refused_or_read_but_never_crash():
    rng = random.Random(1)
    message = encode(
        {
            "model_name": "m",
            "inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 2]}],
            "raw_input_contents": [bytes(8)],
        },
        m.INFER_REQUEST,
    )
    refused = 0
    for _ in range(20_000):
        data = bytearray(message)
        for _ in range(rng.randint(1, 3)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        try:
            decode(memoryview(bytes(data[: rng.randint(1, len(data))])), m.INFER_REQUEST)
        except WireError as error:
            refused += 1
            assert str(error)
    assert refused > 1000


def test_nesting_is_bounded():
    data = b""
    for _ in range(100):
        data = bytes((10 << 3 | 2,)) + bytes((len(data),)) + data if len(data) < 120 else data
    with pytest.raises(WireError, match="deep"):
        decode(memoryview(data), SCHEMA)
