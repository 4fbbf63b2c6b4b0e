"""What serving costs beside the bare interpreter: `python benchmarks/serving.py`.

The floor is the interpreter itself (set, invoke, get; one thread). Each protocol is measured in
turns with the floor, so that what else the machine does falls on both, and is given as the ratio
of medians. The clients write requests that are ready made and compare every answer, so that
almost nothing of what is measured is theirs. Throughput is that of eight connections, beside two
interpreters in a loop.
"""

from __future__ import annotations

import argparse
import json
import random
import selectors
import socket
import statistics
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hpack
import numpy as np
from ai_edge_litert.interpreter import Interpreter

from edgeline.server import messages, wire

DATA = Path(__file__).parents[1] / "tests" / "data" / "coral"
MODEL = DATA / "mobilenet_v1_0.25_128_quant.tflite"
AIMS = {"binary": (1.6, 1.35), "grpc": (2.0, 1.6), "v2 JSON": (6, 4), "v1 JSON": (6, 4)}
ROUNDS, CLIENTS = 7, 8


class Floor:
    """The interpreter alone."""

    def __init__(self, model: Path) -> None:
        self._interpreter = Interpreter(model_path=str(model), num_threads=1)
        self._interpreter.allocate_tensors()
        (given,) = self._interpreter.get_input_details()
        (got,) = self._interpreter.get_output_details()
        self.name, self.shape = given["name"], tuple(int(size) for size in given["shape"])
        self._in, self._out = given["index"], got["index"]

    def __call__(self, image: np.ndarray) -> np.ndarray:
        self._interpreter.set_tensor(self._in, image)
        self._interpreter.invoke()
        return self._interpreter.get_tensor(self._out)


class Http:
    """A connection that sends one request again and again."""

    def __init__(self, port: int, path: str, body: bytes, header: str = "") -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        head = f"POST {path} HTTP/1.1\r\nHost: x\r\n{header}Content-Length: {len(body)}\r\n\r\n"
        self._request = head.encode() + body

    def send(self) -> None:
        self.socket.sendall(self._request)

    def receive(self) -> bytes:
        data = self.socket.recv(1 << 16)
        while (end := data.find(b"\r\n\r\n")) < 0:
            data += self.socket.recv(1 << 16)
        place = data.index(b"Content-Length:") + 15
        size = end + 4 + int(data[place : data.index(b"\r\n", place)])
        while len(data) < size:
            data += self.socket.recv(1 << 16)
        if not data.startswith(b"HTTP/1.1 200"):
            raise RuntimeError(data[:500])
        return data[end + 4 :]


class Grpc:
    """A gRPC channel at the level of frames."""

    def __init__(self, port: int, method: str, message: bytes) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        encoder = hpack.Encoder()
        headers = [
            (":method", "POST"),
            (":scheme", "http"),
            (":path", method),
            (":authority", "127.0.0.1"),
            ("content-type", "application/grpc"),
            ("te", "trailers"),
        ]
        self._first, self._block = encoder.encode(headers), encoder.encode(headers)
        self._body = b"\x00" + struct.pack(">I", len(message)) + message
        window = self._frame(8, 0, 0, struct.pack(">I", (1 << 30)))
        self.socket.sendall(
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + self._frame(4, 0, 0, b"") + window
        )
        self._stream, self._received = -1, b""
        self._request = bytearray()

    def send(self) -> None:
        self._stream += 2
        if self._stream < 4:
            block = self._first if self._stream == 1 else self._block
            self._data = 9 + len(block)
            frames = self._frame(1, 4, 0, block) + self._frame(0, 1, 0, self._body)
            self._request = bytearray(frames)
        for place in (0, self._data):
            struct.pack_into(">I", self._request, place + 5, self._stream)
        self.socket.sendall(self._request)

    def receive(self) -> bytes:
        answer = b""
        while True:
            while len(self._received) < 9 or len(self._received) < 9 + self._length():
                self._received += self.socket.recv(1 << 16)
            end = 9 + self._length()
            kind, flags = self._received[3], self._received[4]
            payload, self._received = self._received[9:end], self._received[end:]
            if kind == 0:
                answer += payload
            elif kind == 1 and flags & 1:
                if not answer:
                    raise RuntimeError(payload)
                return answer[5:]

    def _length(self) -> int:
        return int.from_bytes(self._received[:3], "big")

    @staticmethod
    def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
        size = struct.pack(">I", len(payload))[1:]
        return size + bytes((kind, flags)) + struct.pack(">I", stream) + payload


def latency(floor: Callable[[], Any], ask: Callable[[], Any], count: int) -> dict[str, float]:
    """Median microseconds of the floor and of a request, taken in turns, and their ratio."""
    pairs = []
    for _ in range(ROUNDS):
        pairs.append((_median(floor, count), _median(ask, count)))
    ratios = [asked / bare for bare, asked in pairs]
    bare, asked = (statistics.median(column) for column in zip(*pairs, strict=True))
    return {"floor_us": bare * 1e6, "us": asked * 1e6, "ratio": statistics.median(ratios)}


def throughput(connections: list[Any], right: bytes, seconds: float) -> float:
    """Requests a second over several connections, each answer compared."""
    selector = selectors.DefaultSelector()
    for connection in connections:
        selector.register(connection.socket, selectors.EVENT_READ, connection)
        connection.send()
    done, began = 0, time.perf_counter()
    while (spent := time.perf_counter() - began) < seconds:
        for key, _ in selector.select():
            if right not in key.data.receive():
                raise RuntimeError("a wrong answer")
            done += 1
            key.data.send()
    for connection in connections:
        connection.receive()
    return done / spent


def loops(model: Path, image: np.ndarray, seconds: float) -> float:
    """Inferences a second of two interpreters in two threads."""
    counts = [0, 0]
    end = time.perf_counter() + seconds

    def loop(place: int) -> None:
        floor = Floor(model)
        while time.perf_counter() < end:
            floor(image)
            counts[place] += 1

    threads = [threading.Thread(target=loop, args=(place,)) for place in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts) / seconds


def started(model: Path, *options: str) -> tuple[subprocess.Popen[str], dict[str, int], float]:
    """A server process, its ports, and the seconds until it was ready."""
    began = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "edgeline.server", str(model), "--port=0", "--poll=0", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    line = process.stdout.readline()
    ready = time.perf_counter() - began
    return process, {k: int(v) for k, v in (p.split("=") for p in line.split()[1:])}, ready


def resident_mb(pid: int) -> float:
    """Resident memory of a process."""
    with open(f"/proc/{pid}/statm") as stream:
        return int(stream.read().split()[1]) * 4096 / 1e6


def _median(call: Callable[[], Any], count: int) -> float:
    times = []
    for _ in range(count):
        began = time.perf_counter()
        call()
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def main() -> None:
    """Measure, print a table, and write JSON where asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, default=MODEL)
    parser.add_argument("--count", type=int, default=200, help="requests a round")
    parser.add_argument("--seconds", type=float, default=2.0, help="of each throughput run")
    parser.add_argument("--json", type=Path, help="write the numbers here")
    given = parser.parse_args()

    floor = Floor(given.model)
    image = np.frombuffer(random.Random(0).randbytes(int(np.prod(floor.shape))), np.uint8)
    image = image.reshape(floor.shape)
    right = floor(image).tobytes()
    values = json.dumps(list(right), separators=(",", ":")).encode()
    name = given.model.stem

    readies = []
    for _ in range(3):
        process, ports, ready = started(given.model)
        readies.append(ready)
        memory = resident_mb(process.pid)
        process.terminate()
        process.wait()
    process, ports, _ = started(given.model, "--grpc-port=0")
    infer = f"/v2/models/{name}/infer"
    tensor = {"name": floor.name, "shape": floor.shape, "datatype": "UINT8"}
    v2 = json.dumps({"inputs": [{**tensor, "data": image.ravel().tolist()}]}).encode()
    v1 = json.dumps({"instances": image.tolist()}).encode()
    message = wire.encode(
        {"model_name": name, "inputs": [tensor], "raw_input_contents": [image.tobytes()]},
        messages.INFER_REQUEST,
    )
    raw = "Inference-Header-Content-Length: 0\r\n"
    method = "/inference.GRPCInferenceService/ModelInfer"
    protocols: dict[str, tuple[Callable[[], Any], bytes]] = {
        "binary": (lambda: Http(ports["http"], infer, image.tobytes(), raw), right),
        "grpc": (lambda: Grpc(ports["grpc"], method, message), right),
        "v2 JSON": (lambda: Http(ports["http"], infer, v2), values),
        "v1 JSON": (lambda: Http(ports["http"], f"/v1/models/{name}:predict", v1), values),
    }
    result: dict[str, Any] = {"ready_s": statistics.median(readies), "memory_mb": memory}
    for protocol, (connect, answer) in protocols.items():
        connection = connect()

        def ask(connection: Any = connection, answer: bytes = answer) -> None:
            connection.send()
            if answer not in connection.receive():
                raise RuntimeError("a wrong answer")

        for _ in range(20):
            ask()
        measured = latency(lambda: floor(image), ask, given.count)
        bare = loops(given.model, image, given.seconds)
        connections = [connect() for _ in range(CLIENTS)]
        measured["rps"] = throughput(connections, answer, given.seconds)
        bare = (bare + loops(given.model, image, given.seconds)) / 2
        measured["floor_rps"], measured["rps_ratio"] = bare, measured["rps"] / bare
        result[protocol] = measured
    result["memory_after_mb"] = resident_mb(process.pid)
    process.terminate()
    process.wait()

    print(f"{name}: {len(image.tobytes())} bytes in, floor = bare interpreter, same process")
    print("protocol    floor us      us   x floor  must   aim |  8 clients/s  x 2 interpreters")
    for protocol, (must, aim) in AIMS.items():
        m = result[protocol]
        cells = f"{m['floor_us']:9.0f} {m['us']:7.0f} {m['ratio']:9.2f} {must:5} {aim:5}"
        print(f"{protocol:10} {cells} | {m['rps']:12.0f} {m['rps_ratio']:17.2f}")
    print(
        f"ready {result['ready_s']:.2f} s, memory {result['memory_mb']:.0f} MB when ready, "
        f"{result['memory_after_mb']:.0f} MB after all of this"
    )
    if given.json:
        given.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
