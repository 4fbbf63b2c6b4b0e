"""TensorFlow Serving's REST protocol and KServe's v1."""

from __future__ import annotations

import base64
import json
import math

import numpy as np
import pytest

ROW = {"amount": [1.0, 2.0], "count": [1], "name": ["a"]}
URL = "/v1/models/mixed:predict"


def test_rows(server):
    rows = {"instances": [ROW, {**ROW, "count": [5]}]}
    status, answer, _ = server.ask("POST", URL, rows)
    assert status == 200
    assert answer == {
        "predictions": [
            {"score": [7.0], "next": [2], "echo": ["a"]},
            {"score": [11.0], "next": [6], "echo": ["a"]},
        ]
    }


def test_scalars_stand_for_a_column_of_one(server):
    row = {"amount": [1.0, 2.0], "count": 1, "name": "a"}
    assert server.ask("POST", URL, {"instances": [row]})[1]["predictions"][0]["score"] == [7.0]


def test_columns(server):
    columns = {"inputs": {"amount": [[1, 2]], "count": [[1]], "name": [["a"]]}}
    status, answer, _ = server.ask("POST", URL, columns)
    assert (status, answer) == (
        200,
        {"outputs": {"score": [[7.0]], "next": [[2]], "echo": [["a"]]}},
    )


def test_a_single_tensor_omits_its_name(server):
    image = np.zeros((2, 128, 128, 3), np.uint8).tolist()
    rows = server.ask("POST", "/v1/models/mobilenet:predict", {"instances": image})
    columns = server.ask("POST", "/v1/models/mobilenet:predict", {"inputs": image})
    named = server.ask("POST", "/v1/models/mobilenet:predict", {"inputs": {"input": image}})
    assert rows[0] == columns[0] == named[0] == 200
    assert np.shape(rows[1]["predictions"]) == (2, 1001)
    assert rows[1]["predictions"] == columns[1]["outputs"] == named[1]["outputs"]


def test_bytes_as_base64(server):
    coded = base64.b64encode(b"\xff\x00").decode()
    row = {**ROW, "name": [{"b64": coded}]}
    answer = server.ask("POST", URL, {"instances": [row]})[1]
    assert answer["predictions"][0]["echo"] == [{"b64": coded}]
    status, answer, _ = server.ask("POST", URL, {"instances": [{**ROW, "name": [{"b64": "!"}]}]})
    assert status == 400
    assert "base64" in answer["error"]


@pytest.mark.parametrize("rows", [1, 2000])  # small and large documents take different ways
def test_nan_and_infinity_are_legal(server, rows):
    body = json.dumps({"instances": [{**ROW, "amount": [math.inf, 0]}] * rows}).encode()
    status, answer, _ = server.ask("POST", URL, body)
    assert status == 200
    assert answer["predictions"][-1]["score"] == [math.inf]
    body = json.dumps({"instances": [{**ROW, "amount": [None, 0]}] * rows}).encode()
    assert math.isnan(server.ask("POST", URL, body)[1]["predictions"][-1]["score"][0])


def test_paths_ignore_case_and_take_versions_and_labels(server):
    image = {"instances": np.zeros((1, 128, 128, 3), int).tolist()}
    for path in ("versions/1", "labels/stable", "labels/latest", "Versions/2"):
        assert server.ask("POST", f"/V1/Models/mobilenet/{path}:Predict", image)[0] == 200
    assert server.ask("POST", "/v1/models/mobilenet/versions/7:predict", image)[0] == 404
    assert server.ask("POST", "/v1/models/mobilenet/labels/none:predict", image)[0] == 404


def test_status_and_metadata(server):
    status, answer, _ = server.ask("GET", "/v1/models/mobilenet")
    assert status == 200
    assert (answer["name"], answer["ready"]) == ("mobilenet", True)
    assert answer["model_version_status"][0] == {
        "version": "2",
        "state": "AVAILABLE",
        "status": {"error_code": "OK", "error_message": ""},
    }
    assert len(server.ask("GET", "/v1/models/mobilenet/versions/1")[1]["model_version_status"]) == 1
    assert server.ask("GET", "/v1/models/none")[0] == 404
    found = server.ask("GET", "/v1/models/mixed/metadata")[1]
    signature = found["metadata"]["signature_def"]["signature_def"]["serving_default"]
    assert signature["inputs"]["count"]["dtype"] == "DT_INT64"
    assert found["model_spec"]["version"] == "1"
    assert server.ask("GET", "/v1/models")[1] == {"models": ["mixed", "mobilenet"]}


def test_classify_and_regress(server):
    pixels = np.zeros((128, 128, 3), int).tolist()
    status, answer, _ = server.ask(
        "POST", "/v1/models/mobilenet:classify", {"examples": [{"input": pixels}] * 2}
    )
    assert status == 200
    assert len(answer["results"]) == 2
    assert len(answer["results"][0]) == 1001
    label, score = answer["results"][0][0]
    assert label == "0"
    assert 0 <= score <= 1
    status, answer, _ = server.ask("POST", "/v1/models/mixed:regress", {"examples": [ROW]})
    assert status == 400
    assert "call predict" in answer["error"]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({}, "either"),
        ({"instances": [ROW], "inputs": {}}, "either"),
        ({"instances": []}, "empty"),
        ({"instances": 5}, "not a list"),
        ({"instances": [5]}, "names"),
        ({"instances": [ROW, 5]}, "Instance 1"),
        ({"instances": [ROW, {"amount": [1, 2]}]}, "lacks inputs 'count', 'name'"),
        ({"instances": [{}]}, "'count', 'name': give null for a value that is missing"),
        ({"instances": [{**ROW, "x": 1}]}, "unknown input 'x'"),
        ({"instances": [{**ROW, "amount": [1, 2, 3]}]}, "shape"),
        ({"instances": [ROW, {**ROW, "amount": [1]}]}, "equal length"),
        ({"instances": [{**ROW, "count": ["1"]}]}, "text"),
        ({"instances": [{**ROW, "count": [{}]}]}, "holds a dict"),
        ({"inputs": {"amount": [[1, 2]]}}, "missing"),
        ({"inputs": {"other": [[1, 2]]}}, "no input 'other'"),
        ({"instances": [ROW], "signature_name": "other"}, "signature 'other'"),
        ({"instances": [ROW], "signature_name": ["x"]}, "signature"),
    ],
)
def test_bad_input_is_refused_in_one_sentence(server, body, said):
    status, answer, _ = server.ask("POST", URL, body)
    assert status == 400
    assert said in answer["error"]
    assert "\n" not in answer["error"]


def test_optional_fields_may_be_null(server):
    asked = {"signature_name": None, "instances": [ROW]}
    assert server.ask("POST", "/v1/models/mixed:predict", asked)[0] == 200
    said = [
        server.ask("POST", "/v1/models/mixed:regress", {"examples": [ROW], **more})[:2]
        for more in ({}, {"context": None})
    ]
    assert said[0] == said[1]
