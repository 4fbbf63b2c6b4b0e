"""The Open Inference Protocol over HTTP, as its text has it."""

from __future__ import annotations

import gzip
import json
import struct

import numpy as np
import pytest

MIXED = [
    {"name": "amount", "shape": [2, 2], "datatype": "FP32", "data": [1, 2, 3, 4]},
    {"name": "count", "shape": [2, 1], "datatype": "INT64", "data": [[1], [2]]},
    {"name": "name", "shape": [2, 1], "datatype": "BYTES", "data": ["a", "ü"]},
]


def mixed(*changes: tuple[int, dict]) -> dict:
    """A request for `mixed` with fields of its inputs changed; None removes one."""
    inputs = [dict(entry) for entry in MIXED]
    for place, change in changes:
        inputs[place].update(change)
        inputs[place] = {k: v for k, v in inputs[place].items() if v is not None}
    return {"inputs": inputs}


def by_name(answer: dict) -> dict:
    return {output["name"]: output["data"] for output in answer["outputs"]}


def test_health_and_metadata(server):
    assert server.ask("GET", "/v2/health/live")[:2] == (200, {"live": True})
    assert server.ask("GET", "/v2/health/ready")[:2] == (200, {"ready": True})
    assert server.ask("GET", "/v2")[1]["name"] == "edgeline"
    status, answer, _ = server.ask("GET", "/v2/models/mixed")
    assert status == 200
    assert {"name": "name", "datatype": "BYTES", "shape": [-1, 1]} in answer["inputs"]
    assert server.ask("GET", "/v2/models/mobilenet")[1]["versions"] == ["1", "2"]
    assert server.ask("GET", "/v2/models/none")[0] == 404
    assert server.ask("GET", "/v2/models/mobilenet/versions/9/ready")[0] == 404


def test_json(server):
    status, answer, _ = server.ask("POST", "/v2/models/mixed/infer", {**mixed(), "id": "7"})
    assert status == 200
    assert by_name(answer) == {"score": [7.0, 16.0], "next": [2, 3], "echo": ["a", "ü"]}
    assert (answer["id"], answer["model_name"], answer["model_version"]) == ("7", "mixed", "1")


def test_binary_in_and_out(server):
    amount = np.array([[1, 2]], "<f4").tobytes()
    header = json.dumps(
        {
            "inputs": [
                {
                    "name": "amount",
                    "shape": [1, 2],
                    "datatype": "FP32",
                    "parameters": {"binary_data_size": len(amount)},
                },
                {"name": "count", "shape": [1, 1], "datatype": "INT64", "data": [5]},
                {
                    "name": "name",
                    "shape": [1, 1],
                    "datatype": "BYTES",
                    "parameters": {"binary_data_size": 7},
                },
            ],
            "outputs": [
                {"name": "echo", "parameters": {"binary_data": True}},
                {"name": "score"},
            ],
        }
    ).encode()
    body = header + amount + struct.pack("<I", 3) + b"\xff\x00x"
    status, answer, headers = server.ask(
        "POST",
        "/v2/models/mixed/infer",
        body,
        {"Inference-Header-Content-Length": str(len(header))},
    )
    assert status == 200
    size = int(headers["inference-header-content-length"])
    said = json.loads(answer[:size])
    assert said["outputs"][0]["parameters"]["binary_data_size"] == 7
    assert said["outputs"][1]["data"] == [11.0]
    assert answer[size:] == struct.pack("<I", 3) + b"\xff\x00x"


def test_raw_body_rows_are_counted(server):
    body = bytes(3 * 128 * 128 * 3)
    status, answer, headers = server.ask(
        "POST", "/v2/models/mobilenet/infer", body, {"Inference-Header-Content-Length": "0"}
    )
    assert status == 200
    size = int(headers["inference-header-content-length"])
    assert json.loads(answer[:size])["outputs"][0]["shape"] == [3, 1001]
    rows = np.frombuffer(answer[size:], np.uint8).reshape(3, 1001)
    assert (rows[0] == rows[2]).all()


def test_gzip_request(server):
    body = gzip.compress(json.dumps(mixed()).encode())
    status, answer, _ = server.ask(
        "POST", "/v2/models/mixed/infer", body, {"Content-Encoding": "gzip"}
    )
    assert (status, by_name(answer)["score"]) == (200, [7.0, 16.0])


def test_large_json_equals_small_json(server):
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (1, 128, 128, 3), np.uint8)
    tensor = {"name": "input", "shape": list(image.shape), "datatype": "UINT8"}
    answers = []
    for data in (image.tolist(), image.ravel().tolist()):
        status, answer, _ = server.ask(
            "POST", "/v2/models/mobilenet/infer", {"inputs": [{**tensor, "data": data}]}
        )
        assert status == 200
        answers.append(answer["outputs"][0]["data"])
    _, raw, headers = server.ask(
        "POST",
        "/v2/models/mobilenet/infer",
        image.tobytes(),
        {"Inference-Header-Content-Length": "0"},
    )
    size = int(headers["inference-header-content-length"])
    assert answers[0] == answers[1] == list(raw[size:])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ((0, {"name": "amnt"}), "no input 'amnt'"),
        ((0, {"name": None}), "no name"),
        ((0, {"shape": None}), "no shape"),
        ((0, {"shape": [2, 3]}), "says [2, 3]"),
        ((0, {"shape": [-2, -2]}), "sizes from 0"),
        ((0, {"shape": [1 << 62, 1 << 62]}), "no request can hold"),
        ((0, {"shape": [4, 1]}), "has shape [4, 1]"),
        ((0, {"datatype": "FP64"}), "the model takes FP32"),
        ((0, {"datatype": "FLOAT"}), "no datatype"),
        ((0, {"data": [1, 2, "x", 4]}), "holds text"),
        ((0, {"data": [1, 2, None]}), "has data of shape"),
        ((0, {"data": [[1, 2], [3]]}), "lists of equal length"),
        ((0, {"data": None}), "no data"),
        ((0, {"data": [1e39, 0, 0, 0]}), "out of range"),
        ((1, {"data": [1.5, 2]}), "decimal numbers"),
        ((1, {"data": [True, 2]}), "booleans"),
        ((1, {"data": [2**63, 2]}), "out of range"),
        ((1, {"data": [2**70, 2]}), "give int64"),
        ((1, {"shape": [1, 1], "data": [1]}), "rows"),
        ((2, {"data": [1, 2]}), "give text"),
        ((2, {"name": "count"}), "given twice"),
        ((2, {"parameters": {"binary_data_size": 5}, "data": None}), "beyond the body's end"),
        ((2, {"parameters": [1]}), "not objects"),
    ],
)
def test_bad_input_is_refused_in_one_sentence(server, change, said):
    status, answer, _ = server.ask("POST", "/v2/models/mixed/infer", mixed(change))
    assert status == 400
    assert said in answer["error"]
    assert "\n" not in answer["error"]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"[]", "not a JSON object"),
        (b"{}", "no 'inputs'"),
        (b'{"inputs": 5}', "no 'inputs'"),
        (b'{"inputs": [5]}', "no name"),
        (b'{"inputs": []}', "no 'inputs'"),
        (b"\xff\xfe", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b'{"inputs": [' + b'{"inputs":[' * 20_000, "not JSON"),
    ],
)
def test_bodies_that_are_no_request(server, body, said):
    status, answer, _ = server.ask("POST", "/v2/models/mixed/infer", body)
    assert status == 400
    assert said in answer["error"]


@pytest.mark.parametrize(
    ("size", "header"),
    [(5, "0"), (0, "0"), (49151, "0"), (10, "11"), (10, "-1"), (10, "x"), (49152, "99999999999")],
)
def test_binary_bodies_of_a_wrong_size(server, size, header):
    status, answer, _ = server.ask(
        "POST",
        "/v2/models/mobilenet/infer",
        bytes(size),
        {"Inference-Header-Content-Length": header},
    )
    assert status == 400
    assert answer["error"]


def test_999_is_no_uint8(server):
    for count in (1, 3):  # small and large documents take different ways
        data = [999] * (49152 * count)
        shape = [count, 128, 128, 3]
        tensor = {"name": "input", "shape": shape, "datatype": "UINT8", "data": data}
        status, answer, _ = server.ask("POST", "/v2/models/mobilenet/infer", {"inputs": [tensor]})
        assert status == 400
        assert "999" in answer["error"]


def test_methods_and_paths(server):
    assert server.ask("GET", "/v2/models/mixed/infer")[0] == 405
    assert server.ask("POST", "/v2")[0] == 405
    assert server.ask("GET", "/v3")[0] == 404
    assert server.ask("GET", "/v2/models/mixed/other")[0] == 404
    assert server.ask("HEAD", "/v2/health/live")[0] == 200


def test_unload_and_load(start, store):
    server = start(store, "--poll", "0.2")
    assert server.ask("POST", "/v2/repository/models/mixed/unload")[0] == 200
    status, answer, _ = server.ask("POST", "/v2/models/mixed/infer", mixed())
    assert status == 503
    assert "unloaded" in answer["error"]
    assert server.ask("GET", "/v2/health/ready")[0] == 200
    states = {e["name"]: e["state"] for e in server.ask("POST", "/v2/repository/index")[1]}
    assert states == {"mixed": "UNAVAILABLE", "mobilenet": "READY"}
    assert server.ask("POST", "/v2/repository/models/mixed/load")[0] == 200
    assert server.ask("POST", "/v2/models/mixed/infer", mixed())[0] == 200
    assert server.ask("POST", "/v2/repository/models/none/load")[0] == 400


def test_openapi_document_names_every_path(server):
    status, document, _ = server.ask("GET", "/openapi.json")
    assert status == 200
    for path, item in document["paths"].items():
        if "get" in item and "unload" not in path:
            concrete = path.format(model="mobilenet", version=1, label="stable")
            absent = ("/updates", "/example/{model}")  # no signed repository, no recorded rows
            wanted = 404 if path in absent else 200
            assert server.ask("GET", concrete)[0] == wanted, concrete


def test_metrics(server):
    before = server.metric('edgeline_requests_total{model="mixed"')
    server.ask("POST", "/v2/models/mixed/infer", mixed())
    server.ask("POST", "/v2/models/mixed/infer", mixed((0, {"data": [0]})))
    assert server.metric('edgeline_requests_total{model="mixed"') == before + 2
    assert server.metric("edgeline_buffered_bytes") == 0


def _deep(value: str) -> str:
    """A request with a part nested deeper than Python's `repr` goes."""
    return value.replace("DEEP", "[" * 900 + "]" * 900)


@pytest.mark.parametrize(
    ("path", "body", "said"),
    [
        ("/v2/models/mixed/infer", '{"id": "\\ud800", "note": NaN, "inputs": []}', "not JSON"),
        ("/v2/models/mixed/infer", '{"id": DEEP, "inputs": []}', "'id' is a list"),
        ("/v2/models/mixed/infer", '{"id": {"a": NaN}, "inputs": []}', "'id' is an object"),
        ("/v2/models/mixed/infer", '{"id": true, "inputs": []}', "'id' is True"),
        ("/v2/models/mixed/infer", '{"parameters": DEEP, "inputs": []}', "'parameters' are a list"),
        ("/v1/models/mixed:predict", '{"signature_name": DEEP}', "no signature a list"),
        ("/v2/models/mixed/infer",
         '{"inputs": [{"name": "amount", "datatype": "FP32", "shape": [DEEP]}]}', "list of sizes"),
        ("/v2/models/mixed/infer",
         '{"inputs": [{"name": "amount", "datatype": "FP32", "shape": [0, 9223372036854775808],'
         ' "data": []}]}', "no request can hold"),
        ("/v2/models/mixed/infer",
         '{"inputs": [{"name": "amount", "datatype": "FP32", "shape": ['
         + "9223372036854775807," * 50_000 + '1], "data": []}]}', "over 16 dimensions"),
        ("/rollouts/mixed", '{"weight": DEEP}', "is a list, not a number"),
        ("/rollouts/mixed", '{"requests": NaN, "requests": ' + "9" * 30 + "}", "not a whole"),
        ("/rollouts/mixed", '{"requests": 18446744073709551615}', "of 64 bits"),
    ],
)  # fmt: skip
def test_odd_values_are_sentences(server, path, body, said):
    status, answer, _ = server.ask("POST", path, _deep(body).encode())
    assert status == 400
    assert said in answer["error"]


@pytest.mark.parametrize("length", ["9" * 5000, "0" * 5000 + "5", "\xb2", "1_0", "+5", ""])
def test_a_broken_header_length_is_a_sentence(server, length):
    headers = {"Inference-Header-Content-Length": length}
    status, answer, _ = server.ask("POST", "/v2/models/mixed/infer", b"{}" * 10, headers)
    assert status == 400
    assert answer["error"] == "Inference-Header-Content-Length is not a length within the body."


def test_a_version_is_written_in_ascii_digits(server):
    for version in ("%D9%A1", "%C2%B9", "+1", "1_", "1" * 5000, "%EF%BC%91"):
        assert server.ask("GET", f"/v2/models/mixed/versions/{version}")[0] == 404, version
        assert server.ask("GET", f"/v1/models/mixed/versions/{version}")[0] == 404, version
    status, _, _ = server.ask(
        "POST", "/v1/models/mobilenet:classify?top=%C2%B2", b"", {"Content-Type": "image/png"}
    )
    assert status == 400


def test_an_id_is_text_or_a_number(server):
    for given, answered in (
        ("a", "a"),
        (7, "7"),
        (1.5, "1.5"),
        (None, None),
        ("é\U0001f600", "é\U0001f600"),
    ):
        status, answer, _ = server.ask("POST", "/v2/models/mixed/infer", {**mixed(), "id": given})
        assert status == 200
        assert answer.get("id") == answered


def test_optional_fields_may_be_null(server):
    """As clients write them that serialise every field of a class."""
    body = mixed()
    body |= {"id": None, "parameters": None, "outputs": [{"name": "score", "parameters": None}]}
    body["inputs"][0]["parameters"] = None
    status, answer, _ = server.ask("POST", "/v2/models/mixed/infer", body)
    assert (status, "id" in answer) == (200, False)
    assert [output["name"] for output in answer["outputs"]] == ["score"]
    body["outputs"][0]["parameters"] = []
    status, answer, _ = server.ask("POST", "/v2/models/mixed/infer", body)
    assert (status, answer["error"]) == (400, "Output 'score' has parameters that are not objects.")
