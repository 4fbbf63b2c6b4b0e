"""What a hostile, slow or broken client can cost."""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import random
import socket
import struct
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from running import MIXED, MOBILENET, Running, eventually

from edgeline.server.protocols import wire
from edgeline.server.protocols.messages import INFER_REQUEST

LIVE = b"GET /v2/health/live HTTP/1.1\r\nHost: x\r\n\r\n"


def all_of(connection: socket.socket) -> bytes:
    """What the server sends until it closes."""
    parts = []
    try:
        while part := connection.recv(65536):
            parts.append(part)
    except ConnectionError:
        pass
    return b"".join(parts)


def answer_of(connection: socket.socket) -> tuple[int, bytes]:
    """One answer on a connection that stays open."""
    data = b""
    while b"\r\n\r\n" not in data:
        part = connection.recv(65536)
        assert part, "closed without an answer"
        data += part
    head, _, body = data.partition(b"\r\n\r\n")
    length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
    while len(body) < length:
        body += connection.recv(65536)
    return int(head.split()[1]), body


@pytest.fixture(scope="module")
def strict(tmp_path_factory):
    """A server with small limits."""
    folder = tmp_path_factory.mktemp("models")
    (folder / "mixed.tflite").write_bytes(MIXED.read_bytes())
    (folder / "mobilenet.tflite").write_bytes(MOBILENET.read_bytes())
    options = {
        "max-body": 100_000,
        "max-header": 4096,
        "max-connections": 40,
        "poll": 0,
        "read-time": 1,
        "write-time": 1,
        "idle-time": 2,
    }
    running = Running(folder, *(f"--{name}={value}" for name, value in options.items()))
    yield running
    _, log = running.stop()
    assert "Traceback" not in log, log


def test_keep_alive_and_pipelining(strict):
    connection = strict.connect()
    connection.sendall(LIVE * 20)
    data = b""
    while data.count(b'{"live":true}') < 20:
        data += connection.recv(65536)
    assert data.count(b"HTTP/1.1 200 OK") == 20


def test_a_request_in_pieces(strict):
    connection = strict.connect()
    for byte in LIVE:
        connection.sendall(bytes((byte,)))
    assert answer_of(connection) == (200, b'{"live":true}')


def test_chunked_body(strict):
    body = json.dumps({"ready": True}).encode()
    connection = strict.connect()
    connection.sendall(
        b"POST /v2/repository/index HTTP/1.1\r\nHost: localhost\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n"
        + b"".join(b"1\r\n%c\r\n" % byte for byte in body)
        + b"0\r\n\r\n"
    )
    assert answer_of(connection)[0] == 200


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200), b"400"),
        (b"GET\r\n\r\n", b"400"),
        (b"GET / HTTP/9.9\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nHost x\r\n\r\n", b"400"),
        (b"POST /v2 HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n", b"400"),
        (b"POST /v2 HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n", b"400"),
        (b"POST /v2 HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999\r\n\r\n", b"413"),
        (b"POST /v2 HTTP/1.1\r\nHost: a\r\nContent-Length: 100001\r\n\r\n", b"413"),
        (
            b"POST /v2 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
            + b"ffff\r\n%b\r\n" % bytes(65535) * 2,
            b"413",
        ),
        (b"GET /" + b"a" * 5000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", b"431"),
        (b"GET / HTTP/1.1\r\nHost: a\r\n" + b"A: b\r\n" * 5000, b"431"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nA: " + b"b" * 1_000_000, b"431"),
        (
            b"POST /v2 HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n",
            b"400",
        ),
    ],
)
def test_broken_and_oversized_requests(strict, data, status):
    connection = strict.connect()
    with contextlib.suppress(ConnectionError):
        connection.sendall(data)
    said = all_of(connection)
    assert said.startswith(b"HTTP/1.1 " + status), said[:200]
    assert b'{"error":"' in said


def test_a_small_request_cannot_unfold_without_bound(strict):
    body = gzip.compress(bytes(50_000_000))
    status, answer, _ = strict.ask(
        "POST", "/v2/models/mobilenet/infer", body, {"Content-Encoding": "gzip"}
    )
    assert (status, answer["error"]) == (413, "The body is larger than 100000 bytes.")
    status, answer, _ = strict.ask(
        "POST", "/v2/models/mobilenet/infer", body[:20000], {"Content-Encoding": "br"}
    )
    assert status == 415
    status, answer, _ = strict.ask(
        "POST", "/v2/models/mobilenet/infer", b"no", {"Content-Encoding": "gzip"}
    )
    assert status == 400


def test_slow_clients_are_let_go(strict):
    slow, silent, body = strict.connect(), strict.connect(), strict.connect()
    slow.sendall(b"GET / HT")
    body.sendall(b"POST /v2 HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\nabc")
    assert all_of(slow).startswith(b"HTTP/1.1 408")
    assert all_of(body).startswith(b"HTTP/1.1 408")
    assert all_of(silent) == b""
    trickle = strict.connect()
    trickle.settimeout(10)
    began = time.monotonic()
    with pytest.raises(OSError):
        while time.monotonic() - began < 10:
            trickle.sendall(b"A")
            time.sleep(0.05)
    assert time.monotonic() - began < 6


def test_a_client_that_does_not_read_is_let_go(strict):
    connection = strict.connect()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.settimeout(0.5)
    ask = b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n"
    before = strict.metric("edgeline_connections")
    for _ in range(2000):
        try:
            connection.sendall(ask)
        except OSError:
            break
    eventually(lambda: strict.metric("edgeline_connections") < before + 1)
    assert strict.metric("process_resident_memory_bytes") < 250e6


def test_no_more_connections_than_allowed(strict):
    held = [strict.connect() for _ in range(45)]
    assert all_of(held[-1]).startswith(b"HTTP/1.1 503")
    held[0].sendall(LIVE)
    assert answer_of(held[0])[0] == 200
    for connection in held:
        connection.close()
    eventually(lambda: strict.metric("edgeline_connections") <= 2)


def test_a_full_queue_answers_429_and_an_old_request_503(start, tmp_path):
    (tmp_path / "m.tflite").write_bytes(MOBILENET.read_bytes())
    server = start(
        tmp_path / "m.tflite", "--queue=4", "--instances=1", "--queue-time=0.05", "--poll=0"
    )
    body = bytes(128 * 128 * 3 * 300)  # some 60 ms of work each
    headers = {"Inference-Header-Content-Length": "0"}
    with ThreadPoolExecutor(24) as pool:
        asked = [
            pool.submit(server.ask, "POST", "/v2/models/m/infer", body, headers) for _ in range(36)
        ]
        answers = [future.result() for future in asked]
    codes = [status for status, _, _ in answers]
    assert set(codes) <= {200, 429, 503}
    assert codes.count(200) > 0
    assert codes.count(429) > 0
    refused = next(answer for answer in answers if answer[0] == 429)
    assert "busy" in refused[1]["error"]
    assert refused[2]["retry-after"] == "1"
    assert server.metric("edgeline_rejected_total") > 0


def test_10000_malformed_requests(strict):
    """Bytes changed, cut and joined: never a 5xx of our own making, never a lost server."""
    rng = random.Random(1)
    good_json = json.dumps(
        {
            "inputs": [
                {"name": "amount", "shape": [1, 2], "datatype": "FP32", "data": [1, 2]},
                {"name": "count", "shape": [1, 1], "datatype": "INT64", "data": [1]},
                {"name": "name", "shape": [1, 1], "datatype": "BYTES", "data": ["a"]},
            ],
            "outputs": [{"name": "echo", "parameters": {"binary_data": True}}],
        }
    ).encode()
    rows = b'{"instances":[{"amount":[1,2],"count":[1],"name":[{"b64":"YQ=="}]}]}'
    header = good_json.replace(b'"data": ["a"]', b'"parameters": {"binary_data_size": 5}')
    binary = header + struct.pack("<I", 1) + b"a"
    seeds = [
        ("/v2/models/mixed/infer", good_json, {}),
        ("/v2/models/mixed/infer", binary, {"Inference-Header-Content-Length": str(len(header))}),
        ("/v1/models/mixed:predict", rows, {}),
        ("/v1/models/mixed:classify", rows.replace(b"instances", b"examples"), {}),
        ("/v2/repository/index", b'{"ready":true}', {}),
    ]
    words = [
        b"null",
        b"NaN",
        b"1e999",
        b"[]",
        b"{}",
        b"-1",
        b'"',
        b"\\u0000",
        b"true",
        b"[[",
        b"\xff",
    ]
    connection = strict.connect()
    counts: dict[int, int] = {}
    for number in range(10_000):
        path, body, headers = rng.choice(seeds)
        data = bytearray(body)
        for _ in range(rng.randint(1, 4)):
            place = rng.randrange(len(data) + 1)
            match rng.randrange(4):
                case 0:
                    data[place : place + 1] = rng.randbytes(1)
                case 1:
                    del data[place : place + rng.randint(1, 30)]
                case 2:
                    data[place:place] = rng.choice(words)
                case 3:
                    other = rng.randrange(len(data) + 1)
                    data[place:place] = data[other : other + 40]
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        connection.sendall(
            f"POST {path} HTTP/1.1\r\nHost: a\r\n{lines}".encode()
            + f"Content-Length: {len(data)}\r\n\r\n".encode()
            + data
        )
        status, answer = answer_of(connection)
        counts[status] = counts.get(status, 0) + 1
        assert status < 500, (path, bytes(data), answer)
        if status >= 400:
            error = json.loads(answer)["error"]
            assert error, number
            assert "\n" not in error
    assert counts[400] > 5000
    assert strict.process.poll() is None


def test_random_bytes_on_both_ports(strict):
    rng = random.Random(2)
    preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
    for number in range(300):
        connection = strict.connect(strict.grpc if number % 2 else strict.http)
        data = preface if number % 3 else b""
        for _ in range(rng.randint(0, 5)):
            payload = rng.randbytes(rng.randint(0, 50))
            data += struct.pack(">I", len(payload))[1:]
            data += bytes((rng.randrange(11), rng.randrange(256)))
            data += struct.pack(">I", rng.randrange(5)) + payload
        try:
            connection.sendall(data + rng.randbytes(rng.randint(0, 20)))
            connection.shutdown(socket.SHUT_WR)
        except OSError:
            pass
        all_of(connection)
        connection.close()
    assert strict.ask("GET", "/v2/health/live")[0] == 200
    assert strict.metric("edgeline_buffered_bytes") == 0


@pytest.mark.slow
def test_memory_does_not_grow_with_requests_and_connections(start, tmp_path):
    grpc = pytest.importorskip("grpc")
    (tmp_path / "m.tflite").write_bytes(MOBILENET.read_bytes())
    server = start(tmp_path / "m.tflite", "--poll=0")
    rows = json.dumps({"instances": [[[[0] * 3] * 128] * 128] * 40}).encode()  # 6 MB
    raw = bytes(128 * 128 * 3 * 100)  # 5 MB
    tensor = {"name": "input", "datatype": "UINT8", "shape": [100, 128, 128, 3]}
    message = wire.encode(
        {"model_name": "m", "inputs": [tensor], "raw_input_contents": [raw]}, INFER_REQUEST
    )

    def once() -> float:
        assert server.ask("POST", "/v1/models/m:predict", rows)[0] == 200
        head = {"Inference-Header-Content-Length": "0"}
        assert server.ask("POST", "/v2/models/m/infer", raw, head)[0] == 200
        limit = [("grpc.max_receive_message_length", -1)]
        with grpc.insecure_channel(f"127.0.0.1:{server.grpc}", limit) as channel:
            channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")(message, timeout=30)
        return server.metric("process_resident_memory_bytes")

    first = max(once() for _ in range(4))
    last = min(once() for _ in range(8))
    assert last < first + 20e6
    assert server.metric("edgeline_buffered_bytes") == 0


@pytest.mark.slow
def test_stop_lets_requests_end(start, tmp_path):
    (tmp_path / "m.tflite").write_bytes(MOBILENET.read_bytes())
    server = start(tmp_path / "m.tflite", "--instances=1", "--poll=0")
    body = bytes(128 * 128 * 3 * 1000)
    head = b"POST /v2/models/m/infer HTTP/1.1\r\nHost: a\r\nInference-Header-Content-Length: 0\r\n"
    busy, idle = server.connect(), server.connect()
    busy.sendall(head + b"Content-Length: %d\r\n\r\n" % len(body) + body)
    idle.sendall(LIVE)
    assert answer_of(idle)[0] == 200
    eventually(lambda: server.metric("edgeline_buffered_bytes") >= len(body))
    os.kill(server.process.pid, 15)
    assert answer_of(busy)[0] == 200
    assert all_of(idle) == b""
    assert server.process.wait(20) == 0
