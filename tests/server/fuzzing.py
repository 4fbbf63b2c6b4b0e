"""Malformed requests, made of well-formed ones by seeded chance, and what must come of them.

`python tests/server/fuzzing.py 10000 [FILE]` sends that many to a server of its own and tells what
came back; FILE gets the last tenth's answers and the server's memory. Every answer is below 500 (or
501, 503, 504), an error is one sentence, and the server's log holds no traceback.
"""

from __future__ import annotations

import contextlib
import copy
import json
import random
import re
import socket
import struct
import sys
from collections import Counter
from collections.abc import Callable, Iterator

import hpack
import numpy as np

Case = tuple[str, bytes, dict[str, str]]  # path, body, headers
ALLOWED = {*range(200, 500), 501, 503, 504}
GRPC_ALLOWED = {0, 1, 3, 4, 5, 7, 8, 9, 12, 14, 16}  # neither UNKNOWN nor INTERNAL nor DATA_LOSS
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
    value = json.loads(json.dumps(value))
    for _ in range(rng.randint(1, 3)):
        value = _changed(value, rng)
    body = _written(value, rng)
    if rng.random() < 0.3:
        body = damaged(body, rng)
    return path, body, {"Content-Type": "application/json"}


def binary_cases(rng: random.Random) -> Case:
    """A v2 request with binary tensors whose header, lengths or bytes do not agree."""
    parts = [
        np.array([[1, 2], [3, 4]], "<f4").tobytes(),
        np.array([[1], [2]], "<i8").tobytes(),
        b"".join(struct.pack("<I", 1) + letter for letter in (b"a", b"b")),
    ]
    entries = []
    for entry, data in zip(_MIXED_INPUTS, parts, strict=True):
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


def image_cases(photograph: bytes) -> Callable[[random.Random], Case]:
    """A damaged photograph."""

    def make(rng: random.Random) -> Case:
        path = rng.choice(["/v1/models/mobilenet:classify", "/v2/models/mobilenet/infer"])
        return path, damaged(photograph, rng), {"Content-Type": "image/jpeg"}

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
                _grpc_headers("/inference.GRPCInferenceService/ServerLive")
            )
            payload = damaged(payload, rng) if rng.random() < 0.3 else payload
        length = len(payload) if rng.random() < 0.9 else rng.choice([0, 1, 16384, (1 << 24) - 1])
        stream = rng.choice([2 * number + 1] * 7 + [0, 1, 3, 2, 0x7FFFFFFF, 0xFFFFFFFF])
        flags = rng.choice([0, 1, 4, 4, 5, 5, 8, 13, 32, 37, 255])
        parts.append(
            struct.pack(">HBBBI", length >> 8, length & 255, kind, flags, stream) + payload
        )
    return b"".join(parts)


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


def send_http(port: int, cases: Iterator[Case]) -> Counter[int]:
    """Send requests over kept connections; the answers by status, each checked."""
    import http.client

    counted: Counter[int] = Counter()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    for path, body, headers in cases:
        headers = {name: value.encode().decode("latin-1") for name, value in headers.items()}
        connection.request("POST", path, body, headers)
        answer = connection.getresponse()
        content = answer.read()
        counted[answer.status] += 1
        assert answer.status in ALLOWED, (answer.status, content[:500], path, body[:500], headers)
        if answer.status >= 400:
            check_error(content)
    connection.close()
    return counted


def send_raw(port: int, data: bytes) -> list[int]:
    """Send bytes on a new connection; the statuses of what came back."""
    answer = _exchange(port, data)
    statuses = []
    while answer:
        head, _, answer = answer.partition(b"\r\n\r\n")
        found = re.match(rb"HTTP/1\.1 (\d{3}) ", head)
        assert found, (head[:500], data[:500])
        statuses.append(int(found[1]))
        size = int((re.search(rb"Content-Length: (\d+)", head) or [0, 0])[1])
        body, answer = answer[:size], answer[size:]
        if statuses[-1] >= 400:
            check_error(body)
    assert set(statuses) <= {100, *ALLOWED}, (statuses, data[:500])
    return statuses


def send_frames(port: int, data: bytes) -> list[int]:
    """Send HTTP/2 frames on a new connection; the kinds of the frames that came back."""
    answer = _exchange(port, _PREFACE + data)
    return [kind for kind, _, _, _ in _frames(answer)]


class Grpc:
    """One HTTP/2 connection for one call after another."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=30)
        self._socket.sendall(_PREFACE + struct.pack(">HBBBII", 0, 4, 8, 0, 0, 1 << 30))
        self._encoder, self._decoder = hpack.Encoder(), hpack.Decoder()
        self._received, self._stream = b"", -1

    def call(self, path: str, message: bytes, timeout: str = "30S") -> int:
        """The status of a call with these bytes as its message."""
        self._stream += 2
        limit = ("grpc-timeout", timeout.encode("latin-1"))
        block = self._encoder.encode([*_grpc_headers(path), limit])
        data = b"\x00" + struct.pack(">I", len(message)) + message
        self._socket.sendall(_frame(1, 4, self._stream, block) + _frame(0, 1, self._stream, data))
        while True:
            for kind, flags, stream, payload in self._take():
                if kind == 1:
                    headers = dict(self._decoder.decode(payload))
                    if stream == self._stream and flags & 1:
                        text = headers.get("grpc-message", "")
                        assert "Traceback" not in text, text
                        return int(headers["grpc-status"])
                assert kind != 7, "the server ended the connection"

    def _take(self) -> Iterator[tuple[int, int, int, bytes]]:
        data = self._socket.recv(1 << 16)
        assert data, "the server closed the connection"
        self._received += data
        used = 0
        for kind, flags, stream, payload in _frames(self._received):
            used += 9 + len(payload)
            yield kind, flags, stream, payload
        self._received = self._received[used:]


def check_error(content: bytes) -> None:
    """An error's body is {"error": one sentence}."""
    message = json.loads(content)["error"]
    assert isinstance(message, str), content
    assert message.endswith((".", ".)")) and "\n" not in message and len(message) < 1500, message
    assert "Traceback" not in message and 'File "' not in message, message


_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + struct.pack(">HBBBI", 0, 0, 4, 0, 0)


def _exchange(port: int, data: bytes) -> bytes:
    answer = b""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        try:
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
            while piece := connection.recv(1 << 16):
                answer += piece
        except (ConnectionResetError, BrokenPipeError):
            pass
    return answer


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


def _grpc_headers(path: str) -> list[tuple[str, str]]:
    return [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", path),
        (":authority", "localhost"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    ]


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    length = len(payload)
    return struct.pack(">HBBBI", length >> 8, length & 255, kind, flags, stream) + payload


def _frames(data: bytes) -> Iterator[tuple[int, int, int, bytes]]:
    place = 0
    while len(data) - place >= 9:
        high, low, kind, flags, stream = struct.unpack_from(">HBBBI", data, place)
        length = high << 8 | low
        if len(data) - place - 9 < length:
            return
        yield kind, flags, stream, data[place + 9 : place + 9 + length]
        place += 9 + length


def attack(http: int, grpc: int, count: int, seed: int, photograph: bytes) -> dict[str, Counter]:
    """Send about `count` malformed requests of every kind; what came back, by kind."""
    rng = random.Random(seed)
    share = max(1, count // 6)
    found: dict[str, Counter] = {}
    makers = {"json": json_cases, "binary": binary_cases, "image": image_cases(photograph)}
    for name, make in makers.items():
        size = share if name != "image" else share // 4
        found[name] = send_http(http, (make(rng) for _ in range(size)))
    found["framing"] = Counter(
        status for _ in range(share) for status in send_raw(http, framing_cases(rng)) or [0]
    )
    found["frames"] = Counter(
        kind
        for place in range(share)
        for kind in send_frames(http if place % 2 else grpc, frame_cases(rng))
    )
    client = Grpc(grpc)
    found["grpc"] = Counter()
    for _ in range(2 * share - share // 4):
        path, message = message_cases(rng)
        timeout = rng.choice(NUMBERS) + rng.choice("HSmx") if rng.random() < 0.1 else "30S"
        status = client.call(path, message, timeout)
        assert status in GRPC_ALLOWED, (status, path, message, timeout)
        found["grpc"][status] += 1
    return found


if __name__ == "__main__":
    import tempfile
    from pathlib import Path

    from running import DATA, MIXED, MOBILENET, Running

    with tempfile.TemporaryDirectory() as folder:
        for name, model in (("mixed", MIXED), ("mobilenet", MOBILENET)):
            (Path(folder) / f"{name}.tflite").write_bytes(model.read_bytes())
        server = Running(Path(folder), "--poll", "0")
        photograph = (DATA / "coral" / "cat_720p.jpg").read_bytes()
        half = 0.0  # until then calls that had not been made before take memory of their own
        total = int(sys.argv[1])
        for turn in range(10):
            found = attack(server.http, server.grpc, total // 10, turn, photograph)
            memory = server.metric("process_resident_memory_bytes") / 1e6
            print(f"{turn}: {memory:.1f} MB", {k: dict(v) for k, v in found.items()}, flush=True)
            half = memory if turn == 4 else half
        code, log = server.stop()
        assert code == 0, code
        assert "Traceback" not in log, log[-5000:]
        if len(sys.argv) > 2:
            megabytes = {"mb_half": round(half, 1), "mb_last": round(memory, 1)}
            summary = {"requests": total, **megabytes, "answers": found}
            Path(sys.argv[2]).write_text(json.dumps(summary, indent=1) + "\n")
        assert memory < half + 4, (
            f"memory grew from {half:.1f} to {memory:.1f} MB in the second half"
        )
