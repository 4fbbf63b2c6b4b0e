"""What serving costs beside the bare interpreter: `python benchmarks/serving.py`.

Beside it, in the same run, are the servers of `benchmarks/peers`, where they can be installed.
The floor is the interpreter itself (set, invoke, get; one thread). Each protocol is measured in
turns with the floor, so that what else the machine does falls on both, and is given as the ratio
of medians. The clients write requests that are ready made and compare every answer, so that
almost nothing of what is measured is theirs. Throughput is that of eight connections, beside two
interpreters in a loop; and beside what the machine has left of these two when a server in C
(`peers/read_and_answer.c`, compiled with cc) does nothing but read the requests and answer them.
"""

from __future__ import annotations

import argparse
import json
import random
import selectors
import shutil
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import hpack
import numpy as np
import peers
import psutil
from ai_edge_litert.interpreter import Interpreter
from environment import undistorted

from edgeline.server.protocols import messages, wire

DATA = Path(__file__).parents[1] / "tests" / "data" / "coral"
MODEL = DATA / "mobilenet_v1_0.25_128_quant.tflite"
AIMS = {
    "binary": (1.6, 1.35),
    "binary+header": (1.6, 1.35),
    "grpc": (2.0, 1.6),
    "v2 JSON": (6, 4),
    "v1 JSON": (6, 4),
}
ROUNDS, CLIENTS = 7, 8
FRAME = 16384  # the largest frame that every HTTP/2 server takes
WARM = 80  # requests before measuring: short models then run on the event loop
_INFER = "/v2/models/{}/infer"
_RAW = "Inference-Header-Content-Length: 0\r\n"


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
        self._request = self.request(path, body, header)

    @staticmethod
    def request(path: str, body: bytes, header: str = "") -> bytes:
        head = f"POST {path} HTTP/1.1\r\nHost: x\r\n{header}Content-Length: {len(body)}\r\n\r\n"
        return head.encode() + body

    def send(self) -> None:
        self.socket.sendall(self._request)

    def receive(self) -> bytes:
        data = self._more()
        while (end := data.find(b"\r\n\r\n")) < 0:
            data += self._more()
        head = data[:end].lower() + b"\r\n"
        place = head.index(b"\r\ncontent-length:") + 17
        size = end + 4 + int(head[place : head.index(b"\r\n", place)])
        while len(data) < size:
            data += self._more()
        if not data.startswith(b"HTTP/1.1 200"):
            raise RuntimeError(data[:500])
        return data[end + 4 :]

    def _more(self) -> bytes:
        data = self.socket.recv(1 << 16)
        if not data:
            raise RuntimeError("the server closed the connection")
        return data


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
        self._window = 65535  # of the connection: how much the server takes
        self._request, self._places = bytearray(), [0]

    def send(self) -> None:
        self._stream += 2
        if self._stream < 4:  # the second header block is that of all that follow
            block = self._first if self._stream == 1 else self._block
            frames = [self._frame(1, 4, 0, block)]
            pieces = [self._body[p : p + FRAME] for p in range(0, len(self._body), FRAME)]
            frames += [self._frame(0, piece is pieces[-1], 0, piece) for piece in pieces]
            self._request = bytearray(b"".join(frames))
            self._places = [sum(map(len, frames[:number])) for number in range(len(frames))]
        for place in self._places:
            struct.pack_into(">I", self._request, place + 5, self._stream)
        while self._window < len(self._body):
            self._next()
        self._window -= len(self._body)
        self.socket.sendall(self._request)

    def receive(self) -> bytes:
        answer = b""
        while True:
            kind, flags, payload = self._next()
            if kind == 0:
                answer += payload
            elif kind == 1 and flags & 1:
                if not answer:
                    raise RuntimeError(payload)
                return answer[5:]

    def _next(self) -> tuple[int, int, bytes]:
        """The next frame: kind, flags and payload."""
        while len(self._received) < 9 or len(self._received) < 9 + self._length():
            data = self.socket.recv(1 << 16)
            if not data:
                raise RuntimeError("the server closed the connection")
            self._received += data
        end = 9 + self._length()
        kind, flags = self._received[3], self._received[4]
        stream = int.from_bytes(self._received[5:9], "big")
        payload, self._received = self._received[9:end], self._received[end:]
        if kind == 8 and not stream:
            self._window += int.from_bytes(payload, "big")
        elif kind in (4, 6) and not flags & 1:  # settings and pings are acknowledged
            self.socket.sendall(self._frame(kind, 1, 0, payload if kind == 6 else b""))
        elif kind == 7:
            raise RuntimeError(payload)
        return kind, flags, payload

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


def throughput(connections: list[Any], answers: Sequence[bytes], seconds: float) -> float:
    """Requests a second over several connections, each answer compared."""
    selector = selectors.DefaultSelector()
    for connection in connections:
        selector.register(connection.socket, selectors.EVENT_READ, connection)
        connection.send()
    done, began = 0, time.perf_counter()
    while (spent := time.perf_counter() - began) < seconds:
        for key, _ in selector.select():
            received = key.data.receive()
            if not any(answer in received for answer in answers):
                raise RuntimeError("a wrong answer")
            done += 1
            key.data.send()
    for connection in connections:
        connection.receive()
    return done / spent


def reading(request: tuple[str, bytes, str], answer: bytes, seconds: float) -> float:
    """Processor seconds of a request (path, body, header) that a server in C only answers.

    Counts that server and the clients, with the kernel's part: what no server can save.

    Raises:
        peers.MissingError: there is no C compiler.
    """
    compiler = shutil.which("cc")
    if compiler is None:
        raise peers.MissingError("a server in C cannot be compiled: there is no cc.")
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "read_and_answer"
        source = Path(peers.__file__).with_name("read_and_answer.c")
        subprocess.run([compiler, "-O2", "-o", str(program), str(source)], check=True)
        ready = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(answer) + answer
        (Path(folder) / "answer").write_bytes(ready)
        with (Path(folder) / "answer").open("rb") as stream:
            command = [str(program), str(len(Http.request(*request)))]
            process = subprocess.Popen(command, stdin=stream, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        port = int(process.stdout.readline())
        both = (psutil.Process(), psutil.Process(process.pid))
        connections = [Http(port, *request) for _ in range(CLIENTS)]
        before = sum(sum(each.cpu_times()[:2]) for each in both)
        rate = throughput(connections, [answer], seconds)
        spent = sum(sum(each.cpu_times()[:2]) for each in both) - before
        process.terminate()
        process.wait()
    return spent / (rate * seconds)


def left(name: str, floor: Floor, image: np.ndarray, bare: float, seconds: float) -> float:
    """What a server can have of two bare interpreters at most, beside reading and the clients.

    `bare` is the inferences a second of these two on both cores.
    """
    request = (_INFER.format(name), image.tobytes(), _RAW)
    inference = 2 / bare
    try:
        return inference / (inference + reading(request, floor(image).tobytes(), seconds))
    except peers.MissingError as error:
        print(f"NOT MEASURED: {error}", file=sys.stderr)
        return 1.0


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


def protocols(
    name: str, floor: Floor, image: np.ndarray, http: int, grpc: int
) -> dict[str, tuple[Callable[[], Any], tuple[bytes, ...]]]:
    """How to connect for each protocol, and what a right answer holds (one of these)."""
    right = floor(image).tobytes()
    listed = json.dumps(list(right), separators=(",", ":")).encode()
    packed = wire.encode({"uint_contents": list(right)}, messages.CONTENTS)
    infer = _INFER.format(name)
    tensor = {"name": floor.name, "shape": floor.shape, "datatype": "UINT8"}
    v2 = json.dumps({"inputs": [{**tensor, "data": image.ravel().tolist()}]}).encode()
    v1 = json.dumps({"instances": image.tolist()}).encode()
    message = wire.encode(
        {"model_name": name, "inputs": [tensor], "raw_input_contents": [image.tobytes()]},
        messages.INFER_REQUEST,
    )
    sized = {**tensor, "parameters": {"binary_data_size": image.nbytes}}
    head = json.dumps({"inputs": [sized], "parameters": {"binary_data_output": True}}).encode()
    json_type = "Content-Type: application/json\r\n"
    mixed = (
        f"Inference-Header-Content-Length: {len(head)}\r\n"
        "Content-Type: application/octet-stream\r\n"
    )
    method = "/inference.GRPCInferenceService/ModelInfer"
    return {
        "binary": (lambda: Http(http, infer, image.tobytes(), _RAW), (right, listed)),
        "binary+header": (
            lambda: Http(http, infer, head + image.tobytes(), mixed),
            (right, listed),
        ),
        "grpc": (lambda: Grpc(grpc, method, message), (right, packed)),
        "v2 JSON": (lambda: Http(http, infer, v2, json_type), (listed,)),
        "v1 JSON": (lambda: Http(http, f"/v1/models/{name}:predict", v1, json_type), (listed,)),
    }


def measure(
    model: Path,
    floor: Floor,
    image: np.ndarray,
    ports: tuple[int, int],
    only: Sequence[str],
    count: int,
    seconds: float,
) -> dict[str, Any]:
    """Latency and throughput of a server by each of the protocols named."""
    result: dict[str, Any] = {}
    for protocol, (connect, answers) in protocols(model.stem, floor, image, *ports).items():
        if protocol not in only:
            continue
        connection = connect()

        def ask(connection: Any = connection, answers: tuple[bytes, ...] = answers) -> None:
            connection.send()
            received = connection.receive()
            if not any(answer in received for answer in answers):
                raise RuntimeError("a wrong answer")

        for _ in range(WARM):
            ask()
        measured = latency(lambda: floor(image), ask, count)
        bare = loops(model, image, seconds)
        connections = [connect() for _ in range(CLIENTS)]
        measured["rps"] = throughput(connections, answers, seconds)
        bare = (bare + loops(model, image, seconds)) / 2
        measured["floor_rps"], measured["rps_ratio"] = bare, measured["rps"] / bare
        if protocol == "binary":
            measured["left"] = left(model.stem, floor, image, bare, seconds)
        result[protocol] = measured
    return result


def ours(model: Path, floor: Floor, image: np.ndarray, given: argparse.Namespace) -> dict[str, Any]:
    """This project's server: readiness and memory without gRPC, then each protocol."""
    readies = []
    for _ in range(3):
        process, ports, ready = started(model)
        readies.append(ready)
        memory = resident_mb(process.pid)
        process.terminate()
        process.wait()
    process, ports, _ = started(model, "--grpc-port=0")
    with_grpc = resident_mb(process.pid)
    both = (ports["http"], ports["grpc"])
    result = measure(model, floor, image, both, [*AIMS], given.count, given.seconds)
    facts = {"ready_s": statistics.median(readies), "memory_mb": memory}
    facts |= {"memory_grpc_mb": with_grpc, "memory_after_mb": resident_mb(process.pid)}
    process.terminate()
    process.wait()
    return {**facts, "protocols": result}


def theirs(
    peer: peers.Peer, model: Path, floor: Floor, image: np.ndarray, given: argparse.Namespace
) -> dict[str, Any]:
    """Another server: readiness, memory when ready and after, then its protocols."""
    with peers.serving(peer, model) as served:
        facts = {"ready_s": served.ready, "memory_grpc_mb": served.memory}
        both = (served.http, served.grpc)
        result = measure(model, floor, image, both, peer.protocols, given.count, given.seconds)
        return {**facts, "memory_after_mb": served.memory, "protocols": result}


def main() -> None:
    """Measure, print a table, and write JSON where asked."""
    undistorted()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, default=MODEL)
    parser.add_argument("--count", type=int, default=200, help="requests a round")
    parser.add_argument("--seconds", type=float, default=2.0, help="of each throughput run")
    parser.add_argument("--no-peers", action="store_true", help="measure this server only")
    parser.add_argument("--json", type=Path, help="write the numbers here")
    given = parser.parse_args()

    floor = Floor(given.model)
    image = np.frombuffer(random.Random(0).randbytes(int(np.prod(floor.shape))), np.uint8)
    image = image.reshape(floor.shape)
    results: dict[str, Any] = {"Edgeline": ours(given.model, floor, image, given)}
    for peer in () if given.no_peers else peers.PEERS:
        try:
            results[peer.name] = theirs(peer, given.model, floor, image, given)
        except peers.MissingError as error:
            print(f"NOT MEASURED: {error}", file=sys.stderr)

    print(f"{given.model.stem}: {image.nbytes} bytes in, floor = bare interpreter, same process")
    print(
        "server    protocol       floor us      us   x floor  must   aim |  8 clients/s  x 2 bare"
        "  of what is left"
    )
    for server, result in results.items():
        for protocol, m in result["protocols"].items():
            must, aim = AIMS[protocol] if server == "Edgeline" and protocol in AIMS else ("", "")
            cells = f"{m['floor_us']:9.0f} {m['us']:7.0f} {m['ratio']:9.2f} {must:5} {aim:5}"
            many = f"{m['rps']:12.0f} {m['rps_ratio']:9.2f}"
            share = f"{m['rps_ratio'] / m['left']:.2f} of {m['left']:.2f}" if "left" in m else ""
            print(f"{server:9} {protocol:13} {cells} | {many}  {share}")
    for server, m in results.items():
        alone = f"{m['memory_mb']:.0f} MB without gRPC, " if "memory_mb" in m else ""
        print(
            f"{server}: ready in {m['ready_s']:.2f} s; {alone}{m['memory_grpc_mb']:.0f} MB with, "
            f"{m['memory_after_mb']:.0f} MB after all of this"
        )
    if given.json:
        given.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
