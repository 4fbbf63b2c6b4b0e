"""Malformed requests, made of well-formed ones by seeded chance."""

from __future__ import annotations

import contextlib
import copy
import json
import random
import struct
import sys
from collections.abc import Callable, Iterator

import hpack
import numpy as np

Case = tuple[str, bytes, dict[str, str]]  # path, body, headers
WILD = [
    None, True, False, 0, 1, -1, 2**31, 2**63, 2**64, -(2**63), 10**400, 1e308, -0.0, "", "x",
    "\ud800", "\x00", [], [[]], [[1], [1, 2]], {}, {"b64": "!"}, {"b64": "AA=="}, [None], "NaN",
    {"a": {"b": {"c": [1]}}}, "x" * 3000, [0] * 500, float("nan"), float("-inf"), "\udfff",
    10**5000, "@deep@", "\U0001f600", 1e-320, [{"b64": None}],
]  # fmt: skip
DEEP = b"[" * 900 + b"]" * 900  # within what a parser takes, beyond what repr() does
NUMBERS = [
    *("9" * 5000, "9" * 400, "0" * 5000 + "5", "9" * 20, "1_0", "+5", " 5", "0x5", "5.0", "1e3"),
    *("\xb2", "\xb25", "-1", ""),
]
_MIXED_INPUTS = [
    {"name": "amount", "shape": [2, 2], "datatype": "FP32", "data": [1, 2, 3, 4]},
    {"name": "count", "shape": [2, 1], "datatype": "INT64", "data": [[1], [2]]},
    {"name": "name", "shape": [2, 1], "datatype": "BYTES", "data": ["a", "b"]},
]
_ROWS = [{"amount": [1.0, 2.0], "count": [1], "name": ["a"]}] * 2
_TYPES = ["BOOL", "INT8", "UINT8", "INT64", "UINT64", "FP16", "FP32", "FP64", "BYTES", "", "X", 7]


def json_cases(rng: random.Random) -> Case:
    """A v1 or v2 JSON request with parts replaced, removed or doubled, or its text damaged."""
    path, value = rng.choice(
        [
            ("/v2/models/mixed/infer", {"inputs": _MIXED_INPUTS, "id": "7"}),
            ("/v2/models/mixed/infer", {"inputs": _MIXED_INPUTS, "outputs": [{"name": "score"}]}),
            ("/v1/models/mixed:predict", {"instances": _ROWS}),
            ("/v1/models/mixed:predict", {"inputs": {k: [v] for k, v in _ROWS[0].items()}}),
            ("/v1/models/mixed:classify", {"examples": _ROWS, "context": {}}),
            ("/v1/models/mixed:regress", {"examples": _ROWS}),
            ("/v2/models/mobilenet/infer", {"inputs": [{"name": "input", "shape": [1],
             "datatype": "BYTES", "data": [{"b64": "/9j/4AAQ"}]}]}),
            ("/v2/repository/index", {"ready": True}),
        ]
    )  # fmt: skip
    return path, _of_json(value, rng), {"Content-Type": "application/json"}


def explain_cases(rng: random.Random) -> Case:
    """A request for explanations of a model `m` with parts replaced, removed or doubled."""
    body = _of_json({"instances": _ROWS}, rng)
    return "/v1/models/m:explain", body, {"Content-Type": "application/json"}


def _of_json(value: object, rng: random.Random) -> bytes:
    value = json.loads(json.dumps(value))
    for _ in range(rng.randint(1, 3)):
        value = _changed(value, rng)
    body = _written(value, rng)
    return damaged(body, rng) if rng.random() < 0.3 else body


def binary_cases(rng: random.Random) -> Case:
    """A v2 request with binary tensors whose header, lengths or bytes do not agree."""
    parts = [
        np.array([[1, 2], [3, 4]], "<f4").tobytes(),
        np.array([[1], [2]], "<i8").tobytes(),
        b"".join(struct.pack("<I", 1) + letter for letter in (b"a", b"b")),
    ]
    entries = []
    for entry, data in zip(copy.deepcopy(_MIXED_INPUTS), parts, strict=True):  # changed below
        size = len(data) if rng.random() < 0.7 else rng.choice([0, -1, 3, 2**40, "4", None, 1.5])
        entries.append(
            {k: v for k, v in entry.items() if k != "data"}
            | {"parameters": {"binary_data_size": size}}
        )
    value = {"inputs": entries, "parameters": {"binary_data_output": rng.random() < 0.5}}
    for _ in range(rng.randint(0, 2)):
        value = _changed(value, rng)
    header = _written(value, rng)
    tail = b"".join(parts)
    if rng.random() < 0.5:
        tail = damaged(tail, rng)
    if rng.random() < 0.1:
        header = damaged(header, rng)
    length = str(len(header)) if rng.random() < 0.8 else rng.choice(
        ["0", "1", "99999999", str(len(header) + 5), "٣", *NUMBERS]
    )  # fmt: skip
    headers = {"Inference-Header-Content-Length": length}
    if rng.random() < 0.1:
        headers["Content-Encoding"] = rng.choice(["gzip", "deflate", "br", "identity", "x"])
    model = rng.choice(["mixed", "mixed", "mobilenet", "none"])
    return f"/v2/models/{model}/infer", header + tail, headers


def image_cases(pictures: list[bytes]) -> Callable[[random.Random], Case]:
    """A damaged picture."""

    def make(rng: random.Random) -> Case:
        path = rng.choice(["/v1/models/mobilenet:classify", "/v2/models/mobilenet/infer"])
        kind = rng.choice(["image/jpeg", "image/png"])
        return path, damaged(rng.choice(pictures), rng), {"Content-Type": kind}

    return make


def framing_cases(rng: random.Random) -> bytes:
    """A whole HTTP/1 request (or several) of damaged lines."""
    body = json.dumps({"inputs": _MIXED_INPUTS}).encode()
    lines = [
        rng.choice(["POST"] * 12 + ["GET", "PUT", "G\x00T", "", "post", "PRO"])
        + " "
        + rng.choice(
            ["/v2/models/mixed/infer"] * 9 + ["/v2/health/live", "*", "/%ff%00", "//", "/" * 900]
        )
        + " "
        + rng.choice(["HTTP/1.1"] * 12 + ["HTTP/1.0", "HTTP/9.9", "HTTP/2.0", "", "SPDY"]),
        "Host: localhost",
        "Content-Length: " + rng.choice([str(len(body))] * 9 + ["2", *NUMBERS]),
    ]
    extra = [
        "Transfer-Encoding: chunked", "Transfer-Encoding: x", "Content-Length: 3",
        "Expect: 100-continue",
        "Connection: upgrade\r\nUpgrade: h2c", "X: " + "y" * rng.choice([10, 40_000]), ": empty",
        "Bad Header", "A\x00: b", " folded", "Content-Encoding: gzip", "Authorization: Bearer \xff",
        "Inference-Header-Content-Length: 7",
    ]  # fmt: skip
    lines += rng.sample(extra, rng.randint(0, 3))
    if rng.random() < 0.2:
        rng.shuffle(lines)
    end = rng.choice(["\r\n", "\r\n", "\r\n", "\n", "\r"])
    text = end.join([*lines, end]).encode("latin-1")
    if rng.random() < 0.3:
        body = b"".join(b"%x\r\n%b\r\n" % (rng.choice([3, 5, 1 << 60]), b"abc") for _ in range(3))
    data = (text + body) * rng.choice([1, 1, 1, 50])
    return damaged(data, rng) if rng.random() < 0.4 else data


def frame_cases(rng: random.Random) -> bytes:
    """HTTP/2 after its preface: frames of any kind, flags and length, some well-formed."""
    parts = []
    for number in range(rng.randint(1, 6)):
        kind = rng.choice([0, 1, 1, 1, 1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 255])
        payload = rng.randbytes(rng.choice([0, 4, 5, 6, 8, 9, 40, 300]))
        if kind == 1 and rng.random() < 0.7:
            payload = hpack.Encoder().encode(
                grpc_headers("/inference.GRPCInferenceService/ServerLive")
            )
            payload = damaged(payload, rng) if rng.random() < 0.3 else payload
        length = len(payload) if rng.random() < 0.9 else rng.choice([0, 1, 16384, (1 << 24) - 1])
        stream = rng.choice([2 * number + 1] * 7 + [0, 1, 3, 2, 0x7FFFFFFF, 0xFFFFFFFF])
        flags = rng.choice([0, 1, 4, 4, 5, 5, 8, 13, 32, 37, 255])
        parts.append(
            struct.pack(">HBBBI", length >> 8, length & 255, kind, flags, stream) + payload
        )
    return b"".join(parts)


def file_cases(good: bytes, rng: random.Random) -> bytes:
    """A file of JSON in which values are others, gone or doubled, or whose text is damaged."""
    value = json.loads(good)
    for _ in range(rng.randint(1, 3)):
        value = _changed(value, rng)
    text = _written(value, rng)
    return damaged(text, rng) if rng.random() < 0.2 else text


def message_cases(rng: random.Random) -> tuple[str, bytes]:
    """A gRPC method of either protocol and a damaged message of it."""
    tensor = _field(1, b"amount") + _field(2, b"FP32") + _field(3, b"\x02\x02")
    infer = _field(1, b"mixed") + _field(5, tensor) + _field(7, np.ones(4, "<f4").tobytes())
    spec = _field(1, b"mixed")
    proto = b"\x08\x01" + _field(2, _field(2, b"\x08\x02")) + _field(5, np.ones(2, "<f4").tobytes())
    predict = _field(1, spec) + _field(2, _field(1, b"amount") + _field(2, proto))
    path, message = rng.choice(
        [
            ("/inference.GRPCInferenceService/ModelInfer", infer),
            ("/inference.GRPCInferenceService/ModelMetadata", _field(1, b"mixed")),
            ("/inference.GRPCInferenceService/ModelReady", _field(1, b"mixed")),
            ("/inference.GRPCInferenceService/ModelStatistics", _field(1, b"mixed")),
            ("/inference.GRPCInferenceService/ModelConfig", _field(1, b"mixed")),
            ("/inference.GRPCInferenceService/RepositoryIndex", b"\x10\x01"),
            ("/inference.GRPCInferenceService/RepositoryModelLoad", _field(2, b"\xff\xfe")),
            ("/tensorflow.serving.PredictionService/Predict", predict),
            ("/tensorflow.serving.PredictionService/GetModelMetadata", _field(1, spec)),
            ("/tensorflow.serving.ModelService/GetModelStatus", _field(1, spec)),
            ("/grpc.health.v1.Health/Check", b""),
        ]
    )
    return path, damaged(message, rng) if rng.random() < 0.9 else rng.randbytes(30)


def damaged(data: bytes, rng: random.Random) -> bytes:
    """Bytes changed, removed, doubled or put in."""
    out = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        place = rng.randrange(len(out) + 1)
        match rng.randrange(5):
            case 0 if place < len(out):
                out[place] = rng.randrange(256)
            case 1:
                del out[place : place + rng.choice([1, 2, 8, 200])]
            case 2:
                out[place:place] = rng.randbytes(rng.choice([1, 4, 20]))
            case 3:
                out[place:place] = out[place : place + 20]
            case 4:
                del out[place:]
    return bytes(out)


def _changed(value: object, rng: random.Random) -> object:
    """A JSON value with one place in it replaced, removed or doubled."""
    if rng.random() < 0.1 or not isinstance(value, dict | list) or not value:
        return copy.deepcopy(rng.choice(WILD))
    places = list(value) if isinstance(value, dict) else list(range(len(value)))
    place = rng.choice(places)
    match rng.randrange(5):
        case 0:
            value[place] = copy.deepcopy(rng.choice(WILD))
        case 1:
            del value[place]
        case 2 if isinstance(value, list):
            value.append(copy.deepcopy(value[place]))
        case 3 if place == "datatype":
            value[place] = rng.choice(_TYPES)
        case _:
            value[place] = _changed(value[place], rng)
    return value


def _written(value: object, rng: random.Random) -> bytes:
    """A value as JSON, at times with NaN among it: another parser reads it then."""
    if isinstance(value, dict) and rng.random() < 0.2:
        value = {**value, "note": float("nan")}
    with _any_length():
        return json.dumps(value).encode().replace(b'"@deep@"', DEEP)


@contextlib.contextmanager
def _any_length() -> Iterator[None]:
    """Let Python write numbers of more than 4,300 digits."""
    before = sys.get_int_max_str_digits()
    sys.set_int_max_str_digits(0)
    try:
        yield
    finally:
        sys.set_int_max_str_digits(before)


def _field(number: int, data: bytes) -> bytes:
    return bytes((number << 3 | 2, len(data))) + data


def grpc_headers(path: str) -> list[tuple[str, str]]:
    return [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", path),
        (":authority", "localhost"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    ]
