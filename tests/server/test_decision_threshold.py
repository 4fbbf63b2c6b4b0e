"""A bundle's decision threshold: what each protocol tells as the decision follows it."""

from __future__ import annotations

import dataclasses
import json
from types import SimpleNamespace

import numpy as np
import pytest
from publishing import bundle, model

from edgeline.artifacts import bundle as bundles
from edgeline.artifacts.bundle import Bundle, write_manifest
from edgeline.errors import EdgelineError
from edgeline.server.models.loading import load
from edgeline.server.protocols import grpc_examples, meaning, v2_infer
from edgeline.server.protocols import messages as m
from edgeline.server.protocols import routes_tfserving as v1
from edgeline.server.protocols.grpc_v2 import _infer
from edgeline.server.protocols.wire import encode
from edgeline.server.rollouts.shadow import differing

SUMS = (1.0, 3.0, 6.0)  # of which the model makes the scores 0.1, 0.3 and 0.6
EXAMPLES = [{"amount": [0.0, total], "count": [0], "name": ["a"]} for total in SUMS]


def decided(folder, threshold: float | None = 0.25, **more):
    """The bundle `m` of a binary model with a threshold."""
    made = bundle(folder, model(0.1))
    changed = dataclasses.replace(
        bundles.read(made),
        task="binary_classification",
        not_proven_missing=(),
        evaluation={"blessed": True},
        decision_threshold=threshold,
        **more,
    )
    write_manifest(made, changed)
    return made


@pytest.fixture(scope="module")
def instance(tmp_path_factory):
    folder = decided(tmp_path_factory.mktemp("m"), labels=("no", "yes"))
    return load(folder, "m", 1, 1, 1)[0]


@pytest.fixture(scope="module")
def usual(tmp_path_factory):
    """As bundles of before are: nothing says where it decides."""
    folder = decided(tmp_path_factory.mktemp("m"), None, labels=("no", "yes"))
    return load(folder, "m", 1, 1, 1)[0]


def v2(instance, **output):
    kinds = {"amount": ("FP32", 2), "count": ("INT64", 1), "name": ("BYTES", 1)}
    inputs = [
        {
            "name": name,
            "datatype": kind,
            "shape": [len(EXAMPLES), width],
            "data": [value for row in EXAMPLES for value in row[name]],
        }
        for name, (kind, width) in kinds.items()
    ]
    asked = {"inputs": inputs}
    if output:
        asked["outputs"] = [{"name": "score", "parameters": output}]
    answer = v2_infer.infer(json.dumps(asked).encode(), SimpleNamespace(headers={}), instance)
    body = answer.body
    if output.get("binary_data"):
        body = body[: int(answer.headers[0].partition(b": ")[2])]
    (told,) = (each for each in json.loads(body)["outputs"] if each["name"] == "score")
    return told


def test_classify_tells_the_decided_class_with_its_own_score(instance, usual):
    body = json.dumps({"examples": EXAMPLES}).encode()
    told = [pair for (pair,) in json.loads(v1.classify(body, instance))["results"]]
    assert [label for label, _ in told] == ["no", "yes", "yes"]
    assert [score for _, score in told] == pytest.approx([0.9, 0.3, 0.6], abs=1e-6)
    # as before where no bundle says where to decide
    answers = {"score": np.array([[0.1], [0.6]], np.float32)}
    named, scores = meaning.classes(answers, usual.description)
    assert named == [["0"], ["0"]] and scores.tolist() == answers["score"].tolist()


def test_grpc_classify_tells_the_same(instance):
    answers = {"score": np.array([[0.1], [0.3]], np.float32)}
    found = grpc_examples._classify(answers, instance.description)["classifications"]
    (no,), (yes,) = (each["classes"] for each in found)
    assert (no["label"], yes["label"]) == ("no", "yes")
    assert (no["score"], yes["score"]) == pytest.approx((0.9, 0.3))


def test_v2_has_the_threshold_and_the_decisions_as_parameters_of_the_output(instance, usual):
    told = v2(instance)
    assert told["data"] == pytest.approx([0.1, 0.3, 0.6], abs=1e-6)
    assert told["parameters"] == {"decision_threshold": 0.25, "decisions": "0,1,1"}
    told = v2(instance, binary_data=True)["parameters"]
    assert told == {"decision_threshold": 0.25, "decisions": "0,1,1", "binary_data_size": 12}
    assert "parameters" not in v2(usual)


def test_the_classification_extension_puts_the_decided_class_first(instance, usual):
    told = v2(instance, classification=1)
    assert told["shape"] == [3, 1] and "parameters" not in told
    assert [text.split(":")[1:] for text in told["data"]] == [
        ["0", "no"],
        ["1", "yes"],
        ["1", "yes"],
    ]
    both = v2(instance, classification=2)["data"]
    assert [text.split(":")[2] for text in both] == ["no", "yes", "yes", "no", "yes", "no"]
    assert [text.split(":")[1] for text in v2(usual, classification=1)["data"]] == ["0"] * 3


def test_v2_over_grpc_has_the_parameters_too(instance):
    row = EXAMPLES[1]
    contents = {
        "amount": ("FP32", {"fp32_contents": row["amount"]}),
        "count": ("INT64", {"int64_contents": row["count"]}),
        "name": ("BYTES", {"bytes_contents": [b"a"]}),
    }
    inputs = [
        encode(
            {
                "name": name,
                "datatype": kind,
                "shape": [1, len(row[name])],
                "contents": encode(data, m.CONTENTS),
            },
            m.TENSOR,
        )
        for name, (kind, data) in contents.items()
    ]
    asked = memoryview(encode({"inputs": inputs}, m.INFER_REQUEST))
    outputs = m.read(memoryview(_infer(asked, instance)), m.INFER_RESPONSE)["outputs"]
    (output,) = (each for each in outputs if each["name"] == "score")
    assert output["parameters"]["decision_threshold"] == {"double_param": 0.25}
    assert output["parameters"]["decisions"] == {"string_param": "1"}


def test_metadata_configuration_and_page_say_it(start, tmp_path):
    decided(tmp_path / "store" / "m" / "1")
    server = start(tmp_path / "store", "--poll=0")
    assert server.ask("GET", "/v2/models/m")[1]["properties"] == {"decision_threshold": "0.25"}
    parameters = server.ask("GET", "/v2/models/m/config")[1]["parameters"]
    assert parameters["decision_threshold"] == {"string_value": "0.25"}
    (entry,) = server.ask("GET", "/overview")[1]["models"][0]["versions"]
    assert entry["decision_threshold"] == 0.25


def test_a_shadow_s_decisions_are_compared_each_by_its_own_threshold(instance):
    tensors = tuple(t for t in instance.description.signature.outputs if t.name == "score")
    stable, candidate = (
        ({"score": np.array(values, np.float32)[:, None]}, tensors)
        for values in ([0.1, 0.3, 0.6], [0.2, 0.2, 0.9])
    )
    given = (stable, candidate, 3, 0.001)
    assert differing(*given, "class", (0.25, 0.25)) == 1
    assert differing(*given, "class", (0.25, 0.15)) == 1  # another row
    assert differing(*given, "class", (0.25, None)) == 1
    assert differing(*given, "class") == differing(*given, "values", (0.25, 0.25)) == 3


def test_a_manifest_with_a_threshold_is_of_a_format_that_older_readers_refuse(tmp_path):
    made = bundles.read(decided(tmp_path / "m"))
    told = json.loads(json.dumps(made.to_json()))
    assert told["edgeline_bundle"] == "bundle/v4" and Bundle.from_json(told) == made
    without = dataclasses.replace(made, decision_threshold=None)
    assert "decision_threshold" not in without.to_json() and without.format == "bundle/v2"
    assert bundles.content_digest(made) != bundles.content_digest(without)
    for change, said in (
        ({"edgeline_bundle": "bundle/v2"}, "is of format bundle/v2, but has 'decision_threshold'"),
        ({"decision_threshold": None}, "is of format bundle/v4, but lacks 'decision_threshold'"),
        ({"decision_threshold": 1.5}, "has the decision_threshold 1.5"),
        ({"task": "regression"}, "for regression, but only binary_classification"),
    ):
        with pytest.raises(EdgelineError, match=said):
            Bundle.from_json({**told, **change})
