"""Malformed requests sent to a server, and damaged files read, and what must come of them.

`python tests/server/fuzzing.py 10000 [FILE]` sends that many of each kind to a server of its own
and tells what came back; FILE gets the last tenth's answers and the server's memory. Every answer
is below 500 (or 501, 503, 504), an error is one sentence, and the server's log holds no traceback.
What the server counts of requests that are not whole is at least half of what it takes for them.
"""

from __future__ import annotations

import dataclasses
import io
import json
import random
import re
import socket
import struct
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import hpack
import numpy as np
from fuzz_cases import (
    NUMBERS,
    Case,
    binary_cases,
    file_cases,
    frame_cases,
    framing_cases,
    grpc_headers,
    image_cases,
    json_cases,
    message_cases,
)

from edgeline.errors import EdgelineError

ALLOWED = {*range(200, 500), 501, 503, 504}
GRPC_ALLOWED = {0, 1, 3, 4, 5, 7, 8, 9, 12, 14, 16}  # neither UNKNOWN nor INTERNAL nor DATA_LOSS


def send_http(port: int, cases: Iterator[Case]) -> Counter[int]:
    """Send requests over kept connections; the answers by status, each checked."""
    import http.client

    counted: Counter[int] = Counter()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    for path, body, headers in cases:
        if connection.sock is None:  # head and body are two writes: the second must not wait
            connection.connect()
            connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
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
        block = self._encoder.encode([*grpc_headers(path), limit])
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
                if kind == 3 and stream == self._stream:  # the headers are malformed
                    assert payload == struct.pack(">I", 1), payload
                    return 3
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


def attack(http: int, grpc: int, count: int, seed: int) -> dict[str, Counter]:
    """Send `count` malformed requests of each kind; what came back, by kind."""
    rng = random.Random(seed)
    found: dict[str, Counter] = {}
    makers = {"json": json_cases, "binary": binary_cases, "image": image_cases(pictures())}
    for name, make in makers.items():
        found[name] = send_http(http, (make(rng) for _ in range(count)))
    found["framing"] = Counter(
        status for _ in range(count) for status in send_raw(http, framing_cases(rng)) or [0]
    )
    found["frames"] = Counter(
        kind
        for place in range(count)
        for kind in send_frames(http if place % 2 else grpc, frame_cases(rng))
    )
    client = Grpc(grpc)
    found["grpc"] = Counter()
    for _ in range(count):
        path, message = message_cases(rng)
        timeout = rng.choice(NUMBERS) + rng.choice("HSmx") if rng.random() < 0.1 else "30S"
        status = client.call(path, message, timeout)
        assert status in GRPC_ALLOWED, (status, path, message, timeout)
        found["grpc"][status] += 1
    return found


def pictures() -> list[bytes]:
    """A small photograph as JPEG and PNG, of several modes."""
    from PIL import Image
    from running import DATA

    with Image.open(DATA / "coral" / "cat_720p.jpg") as opened:
        small = opened.convert("RGB").resize((96, 64))
    found = []
    for mode, kind, more in (
        ("RGB", "JPEG", {}),
        ("L", "JPEG", {"progressive": True}),
        ("CMYK", "JPEG", {}),
        ("RGBA", "PNG", {}),
        ("P", "PNG", {}),
        ("I;16", "PNG", {}),
    ):
        stream = io.BytesIO()
        (small.convert("I").convert(mode) if ";" in mode else small.convert(mode)).save(
            stream, kind, **more
        )
        found.append(stream.getvalue())
    return found


def damage_files(folder: Path, count: int, seed: int) -> dict[str, Counter]:
    """Read `count` damaged manifests, references, ranges and calibrations each, and use what could
    be read.

    What is refused is a sentence of one line; nothing else is raised.
    """
    from edgeline.artifacts import bundle, calibration, ranges, reference
    from edgeline.monitoring.range_check import RangeCheck
    from edgeline.runtimes.estimated import estimate, tally
    from edgeline.server.settings import ServerSettings
    from edgeline.server.watching.drift_watch import Watch

    signature = bundle.read_manifest(folder).signature
    rows = {
        "amount": np.ones((1, 2), np.float32),
        "count": np.ones((1, 1), np.int64),
        "name": np.full((1, 1), b"a", object),
    }

    def manifest(_: Path) -> None:
        bundle.read(folder)
        bundle.read_manifest(folder)

    def watched(file: Path) -> None:
        watch = Watch(reference.read(file), ServerSettings())
        watch.observe(rows, {"score": np.ones((1, 1), np.float32)})
        watch.report()

    def compared(file: Path) -> None:
        check = RangeCheck(ranges.read(file), signature.inputs, False, lambda *_: None)
        if (found := check.outside(rows)).rows:
            check.refusal(found, rows)

    def mapped(file: Path) -> None:
        found = calibration.read(file)
        scores = np.array([-np.inf, 0.2, 0.7, np.nan])
        estimate(found, tally(found, scores, scores > 0.5))

    rng = random.Random(seed)
    results: dict[str, Counter] = {}
    uses = {
        bundle.MANIFEST: manifest,
        reference.FILE: watched,
        ranges.FILE: compared,
        calibration.FILE: mapped,
    }
    for name, use in uses.items():
        good = (folder / name).read_bytes()
        counted: Counter[str] = Counter()
        for _ in range(count):
            (folder / name).write_bytes(file_cases(good, rng))
            try:
                use(folder / name)
                counted["read"] += 1
            except EdgelineError as error:
                str(error).encode()
                assert "\n" not in str(error), error
                counted["refused"] += 1
        (folder / name).write_bytes(good)
        results[name] = counted
    return results


def a_bundle(folder: Path) -> Path:
    """A bundle of `mixed` with a reference, ranges and a calibration."""
    from publishing import bundle as made
    from running import MIXED

    from edgeline import artifacts
    from edgeline.artifacts import bundle, calibration, ranges, reference

    made(folder, MIXED.read_bytes())
    builder = reference.Builder()
    numbers = np.arange(64, dtype=np.float32).reshape(-1, 1)
    words = np.array([[b"a"], [b"b"]] * 32, object)
    builder.add({"count": numbers, "name": words}, {"score": numbers})
    (folder / reference.FILE).write_bytes(reference.dumps(builder.result()))
    known = {
        "amount": ranges.FeatureRange(0.0, 9.0),
        "name": ranges.FeatureRange(values=("a", "b")),
    }
    (folder / ranges.FILE).write_bytes(ranges.dumps(known))
    scores = np.arange(64) / 64
    fitted = calibration.fit(calibration.BINARY, scores, scores > 0.4, {"accuracy": 0.9})
    (folder / calibration.FILE).write_bytes(calibration.dumps(fitted))
    read = bundle.read_manifest(folder)
    files = artifacts.list_files(folder)
    files.pop(bundle.MANIFEST)
    bundle.write_manifest(folder, dataclasses.replace(read, files=files))
    return folder


if __name__ == "__main__":
    import tempfile

    import held_memory
    from running import MIXED, MOBILENET, Running

    with tempfile.TemporaryDirectory() as folder:
        for name, model in (("mixed", MIXED), ("mobilenet", MOBILENET)):
            (Path(folder) / f"{name}.tflite").write_bytes(model.read_bytes())
        server = Running(Path(folder), "--poll", "0")
        half = 0.0  # until then calls that had not been made before take memory of their own
        total = int(sys.argv[1])
        for turn in range(10):
            found = attack(server.http, server.grpc, total // 10, turn)
            memory = server.metric("process_resident_memory_bytes") / 1e6
            print(f"{turn}: {memory:.1f} MB", {k: dict(v) for k, v in found.items()}, flush=True)
            half = memory if turn == 4 else half
        held = {kind: held_memory.held(server, kind) for kind in held_memory.KINDS}
        print(held, flush=True)
        code, log = server.stop()
        assert code == 0, code
        files = damage_files(a_bundle(Path(folder) / "bundle"), total, 0)
        print({name: dict(counted) for name, counted in files.items()}, flush=True)
        assert "Traceback" not in log, log[-5000:]
        if len(sys.argv) > 2:
            megabytes = {"mb_half": round(half, 1), "mb_last": round(memory, 1)}
            summary = {
                "requests_of_each_kind": total,
                **megabytes,
                "held": held,
                "answers_of_the_last_tenth": found,
                "files": files,
            }
            Path(sys.argv[2]).write_text(json.dumps(summary, indent=1) + "\n")
        assert memory < half + 4, (
            f"memory grew from {half:.1f} to {memory:.1f} MB in the second half"
        )
