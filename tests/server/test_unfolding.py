"""Small requests that hold much: what they may unfold to, and where."""

from __future__ import annotations

import gzip
import hashlib
import json
import socket
import struct

import hpack
import numpy as np
import pytest
from pieces import PREFACE, frame
from running import MIXED, Running

from edgeline.artifacts.bundle import Signature, Tensor
from edgeline.runtimes.engine import Engine
from edgeline.runtimes.pieces import PIECE_ROWS
from edgeline.server.errors import ServingError
from edgeline.server.metrics import Metrics
from edgeline.server.models.model import Description, Instance
from edgeline.server.protocols import messages as m
from edgeline.server.protocols.wire import MOST_FIELDS, encode
from edgeline.server.tensors.json import loads, to_array
from edgeline.server.work_memory import WorkMemory, take

HEALTH, INFER = "/grpc.health.v1.Health/Check", "/inference.GRPCInferenceService/ModelInfer"
MIB = 1 << 20


def ask(port: int, path: str, content: bytes, *more: tuple[str, str]) -> tuple[str, str, bytes]:
    """Status, sentence and message of a gRPC call whose message is sent with gzip."""
    fields = {":method": "POST", ":scheme": "http", ":path": path, ":authority": "localhost"}
    fields |= {"content-type": "application/grpc", "grpc-encoding": "gzip", **dict(more)}
    block = hpack.Encoder().encode(list(fields.items()))
    body = b"\x01" + struct.pack(">I", len(content)) + content
    pieces = [body[place : place + 16384] for place in range(0, len(body), 16384)]
    data = PREFACE + frame(4, 0, 0, b"") + frame(1, 4, 1, block)
    data += b"".join(frame(0, piece is pieces[-1], 1, piece) for piece in pieces)
    headers, message, decoder = {}, b"", hpack.Decoder()
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(data)
        stream = connection.makefile("rb")
        while "grpc-status" not in headers:
            head = stream.read(9)
            payload = stream.read(int.from_bytes(head[:3], "big"))
            if head[3] == 1:
                headers |= dict(decoder.decode(payload))
            elif head[3] == 0:
                message += payload
    return headers["grpc-status"], headers.get("grpc-message", ""), message[5:]


def infer_request(**more) -> dict[str, object]:
    tensors = {"amount": ("FP32", [1, 2], bytes(8)), "count": ("INT64", [1, 1], bytes(8))}
    tensors["name"] = ("BYTES", [1, 1], struct.pack("<I", 1) + b"a")
    inputs = [{"name": n, "datatype": d, "shape": s} for n, (d, s, _) in tensors.items()]
    raw = [content for _, _, content in tensors.values()]
    return {"model_name": "mixed", "inputs": inputs, "raw_input_contents": raw, **more}


def test_what_asks_for_no_inference_is_small(server):
    for content in (b"\x78\x00" * 32 * MIB, b"\x78\x00" * 3000):
        status, said, _ = ask(server.grpc, HEALTH, gzip.compress(content, 1))
        assert (status, said) == ("3", "The body is larger than 4096 bytes.")
    assert ask(server.grpc, HEALTH, gzip.compress(b"")) == ("0", "", b"\x08\x01")


def test_a_token_is_looked_at_before_a_message(start, tmp_path):
    (tmp_path / "mixed.tflite").write_bytes(MIXED.read_bytes())
    digest = hashlib.sha256(b"good").hexdigest()
    tokens = tmp_path / "tokens.json"
    tokens.write_text(json.dumps({"tokens": [{"sha256": digest, "scopes": ["predict"]}]}))
    server = start(tmp_path / "mixed.tflite", f"--tokens={tokens}", "--poll=0")
    assert ask(server.grpc, INFER, b"no gzip")[0] == "16"
    status, said, _ = ask(server.grpc, INFER, b"no gzip", ("authorization", "Bearer good"))
    assert status == "3"
    assert "is not gzip" in said


@pytest.mark.parametrize("field", [b"\x2a\x00", b"\x78\x00"], ids=["inputs", "unknown"])
def test_the_fields_of_a_message_are_bounded(server, field):
    content = encode({"model_name": "mixed"}, m.INFER_REQUEST) + field * 20_000
    status, said, _ = ask(server.grpc, INFER, gzip.compress(content, 1))
    assert status == "3"
    assert "has over 16,384 fields: ask for fewer rows at once" in said


def test_the_values_of_a_message_are_bounded(server):
    count = MOST_FIELDS + 1
    tensor = {"name": "name", "datatype": "BYTES", "shape": [count, 1]}
    tensor["contents"] = b"\x42\x00" * count
    message = encode({"model_name": "mixed", "inputs": [tensor]}, m.INFER_REQUEST)
    status, said, _ = ask(server.grpc, INFER, gzip.compress(message, 1))
    assert status == "3"
    assert "has over 1,048,576 fields: ask for fewer rows at once" in said


def test_a_worker_reads_what_is_compressed(server):
    message = encode(infer_request(id="x"), m.INFER_REQUEST)
    status, _, answer = ask(server.grpc, INFER, gzip.compress(message))
    assert status == "0"
    assert m.read(memoryview(answer), m.INFER_RESPONSE)["id"] == "x"
    # protobuf allows fields in any order; what would have to be unfolded to be found is refused
    named = encode({"model_name": "mixed"}, m.INFER_REQUEST)
    behind = encode({"model_name": "mobilenet", "id": "x" * 5000}, m.INFER_REQUEST) + named
    status, said, _ = ask(server.grpc, INFER, gzip.compress(behind))
    assert status == "3"
    assert "does not name its model first" in said
    assert server.metric("edgeline_buffered_bytes") == 0


def test_what_is_unfolded_is_counted_and_given_back():
    metrics = Metrics()
    metrics.buffered = 10  # of others
    memory, held = WorkMemory(metrics, 100), []

    def work(size: int) -> None:
        take(20)
        take(size)
        held.append(metrics.work(0))

    counted = memory.around(work, 5)
    counted(70)
    assert held == [100]
    for size, status, said in ((71, 503, "as its memory allows"), (76, 413, "take 101 bytes")):
        with pytest.raises(ServingError, match=said) as refused:
            counted(size)
        assert refused.value.http == status
    assert metrics.work(0) == 10
    take(1000)  # of no request


@pytest.mark.parametrize("value", [b"[]", b"{}", b'{"a":1}', b'"a"', b"[NaN]", b"[null]"])
def test_a_document_of_many_objects_is_refused_before_they_are_made(value):
    body = b'{"instances":[' + b",".join([value] * MIB) + b"]}"
    whole = WorkMemory(Metrics(), 16 * MIB).around(
        lambda dtype: to_array(loads(body)["instances"], dtype, "It"), len(body)
    )
    with pytest.raises(ServingError, match="--max-buffered is 16,777,216") as refused:
        whole("string")
    assert refused.value.http == 413


def test_numbers_in_arrays_take_less():
    body = b'{"inputs":[{"shape":[1048576,1],"data":[' + b",".join([b"1"] * MIB) + b"]}]}"
    memory = WorkMemory(Metrics(), 24 * MIB)
    found = memory.around(
        lambda _: to_array(loads(body)["inputs"][0]["data"], "float32", "It"), len(body)
    )(None)
    assert found.shape == (MIB,)


def test_a_path_that_takes_little_takes_no_more(server):
    big = b'{"ready":' + b"[" * 20_000
    for body, headers in ((big, {}), (gzip.compress(big), {"Content-Encoding": "gzip"})):
        status, answer, _ = server.ask("POST", "/v2/repository/index", body, headers)
        assert status == 413
        assert "larger than 16384 bytes" in answer["error"]


def an_instance(answer, taken: list[int]) -> Instance:
    tensors = (Tensor("x", "float32", (-1, 1)),), (Tensor("y", "float32", (-1, 1)),)

    def invoke(arrays):
        taken.append(len(arrays["x"]))
        return {"y": answer(arrays["x"])}

    signature = Signature(*tensors)
    return Instance(Engine(signature, invoke, False), Description("m", 1, signature))


def test_an_open_batch_runs_in_pieces():
    taken: list[int] = []
    instance = an_instance(lambda x: 2 * x, taken)
    rows = np.arange(3 * PIECE_ROWS + 5, dtype=np.float32).reshape(-1, 1)
    assert (instance.run({"x": rows})["y"] == 2 * rows).all()
    assert taken == [PIECE_ROWS] * 3 + [5]
    instance.run({"x": rows[:PIECE_ROWS]})
    assert taken[4:] == [PIECE_ROWS]


def test_answers_that_are_of_no_row_are_of_all_rows():
    taken: list[int] = []
    instance = an_instance(lambda x: x.sum(keepdims=True), taken)
    rows = np.ones((2 * PIECE_ROWS, 1), np.float32)
    assert instance.run({"x": rows})["y"].tolist() == [[2 * PIECE_ROWS]]
    assert taken == [PIECE_ROWS, 2 * PIECE_ROWS]


def test_a_large_body_of_nothing_costs_its_server_little(start, tmp_path):
    (tmp_path / "mixed.tflite").write_bytes(MIXED.read_bytes())
    server: Running = start(tmp_path / "mixed.tflite", "--poll=0")
    before = server.metric("process_resident_memory_bytes")
    body = gzip.compress(b'{"instances":[' + b"[]," * 8 * MIB + b"[]]}", 1)
    for _ in range(8):
        status, answer, _ = server.ask(
            "POST", "/v1/models/mixed:predict", body, {"Content-Encoding": "gzip"}
        )
        assert status == 413, answer
    assert server.metric("process_resident_memory_bytes") < before + 120e6
    assert server.metric("edgeline_buffered_bytes") == 0
