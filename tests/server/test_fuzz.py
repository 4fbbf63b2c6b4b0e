"""Malformed requests to a real server: 4xx with a sentence, and a server that stays as it was."""

from __future__ import annotations

import fuzzing
import held_memory
import pytest
from running import eventually

REQUESTS = 500  # of each kind; `make fuzz` sends 10,000


@pytest.mark.slow
def test_malformed_bytes(server):
    fuzzing.attack(server.http, server.grpc, REQUESTS // 5, 0)
    before = server.metric("process_resident_memory_bytes")
    found = fuzzing.attack(server.http, server.grpc, REQUESTS, 1)
    assert set(found) == {"json", "binary", "image", "framing", "frames", "grpc"}
    assert found["json"][400] > found["json"][200] > 0
    assert found["grpc"][3] > found["grpc"][0] > 0
    assert server.process.poll() is None
    assert server.metric("process_resident_memory_bytes") < before + 16e6
    internal = server.metric('edgeline_http_responses_total{status="500"}')
    assert internal == 0
    assert server.metric('edgeline_requests_total{model="mixed",version="1",code="INTERNAL"}') == 0
    assert server.ask("GET", "/v2/health/live")[0] == 200


@pytest.mark.slow
def test_what_the_openapi_document_allows_and_forbids(server):
    import openapi_fuzzing

    found = openapi_fuzzing.attack(server.http, 70)
    assert {200, 400, 404} <= set(found)
    assert sum(found.values()) > 40
    assert server.process.poll() is None


def test_damaged_manifests_references_and_ranges(tmp_path):
    found = fuzzing.damage_files(fuzzing.a_bundle(tmp_path / "m"), REQUESTS, 0)
    for counted in found.values():
        assert counted["refused"] > counted["read"] > 0


@pytest.mark.slow
@pytest.mark.parametrize("kind", held_memory.KINDS)
def test_what_is_held_of_unfinished_requests_is_counted(server, kind):
    found = held_memory.held(server, kind)
    used, counted = found["used_mb"], found["counted_mb"]
    assert used <= 2 * counted + 8, found  # 8 MB for 100 connections and what is kept for reuse
    eventually(lambda: server.metric("edgeline_buffered_bytes") == 0)


def test_a_method_in_pieces_is_http1(server):
    connection = server.connect()
    for piece in (
        b"P",
        b"O",
        b"ST /v2/repository/index HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}",
    ):
        connection.sendall(piece)
    assert connection.recv(12) == b"HTTP/1.1 200"
    connection.close()


def test_a_connection_that_is_shut_on_one_side_ends_with_its_answer(server):
    connection = server.connect()
    connection.settimeout(10)
    connection.sendall(b"GET /v2/health/live HTTP/1.1\r\nHost: a\r\n\r\n")
    connection.shutdown(1)
    answer = b""
    while piece := connection.recv(4096):
        answer += piece
    assert answer.endswith(b'{"live":true}')


def test_a_name_without_end_gives_a_short_error(server):
    body = {"inputs": [{"name": "x" * 100_000, "shape": [1], "datatype": "FP32", "data": [{}]}]}
    status, answer, _ = server.ask("POST", "/v2/models/mixed/infer", body)
    assert status == 400
    assert len(answer["error"]) < 700
