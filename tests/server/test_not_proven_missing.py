"""A row without a feature that is not proven missing is refused, by whatever protocol it comes."""

from __future__ import annotations

import dataclasses
import json
from types import SimpleNamespace

import numpy as np
import pytest
from publishing import ROW, bundle, model
from running import DATA

from edgeline.artifacts import bundle as bundles
from edgeline.artifacts.bundle import write_manifest
from edgeline.artifacts.features import MISSING_INT
from edgeline.errors import EdgelineError
from edgeline.server.errors import ServingError
from edgeline.server.models.loading import load
from edgeline.server.protocols import grpc_examples, grpc_tfserving, grpc_v2, v2_infer
from edgeline.server.protocols import messages as m
from edgeline.server.protocols import routes_tfserving as v1
from edgeline.server.protocols.grpc_examples import _MULTI_REQUEST, _REQUEST
from edgeline.server.protocols.grpc_tfserving import _PREDICT_REQUEST
from edgeline.server.protocols.wire import encode

LINE = DATA / "line.tflite"
GOOD = {"amount": [1.0, 2.0], "count": [1], "name": ["a"]}
STATE = SimpleNamespace(
    served=SimpleNamespace(pool=lambda *_: None), repository=None, metrics=None
)  # the instance is given


def probed(folder, *unproven):
    """The bundle `m` of which no missing value of some features was proven."""
    made = bundle(folder, model(2.0))
    write_manifest(made, dataclasses.replace(bundles.read(made), not_proven_missing=unproven))
    return made


@pytest.fixture(scope="module")
def instance(tmp_path_factory):
    return load(probed(tmp_path_factory.mktemp("m"), "amount", "count", "name"), "m", 1, 1, 1)[0]


def as_v1_rows(rows, instance):
    instances = [{**row, "amount": [x if x == x else None for x in row["amount"]]} for row in rows]
    return v1.predict(json.dumps({"instances": instances}).encode(), instance)


def as_v1_columns(rows, instance):
    columns = {
        name: [[None if x != x or x == MISSING_INT else x for x in row[name]] for row in rows]
        for name in GOOD
    }
    return v1.predict(json.dumps({"inputs": columns}).encode(), instance)


def _tensors(rows):
    kinds = {"amount": "FP32", "count": "INT64", "name": "BYTES"}
    return [
        {
            "name": name,
            "datatype": kind,
            "shape": [len(rows), len(GOOD[name])],
            "data": [None if x != x else x for row in rows for x in row[name]],
        }
        for name, kind in kinds.items()
    ]


def as_v2(rows, instance):
    body = json.dumps({"inputs": _tensors(rows)}).encode()
    return v2_infer.infer(body, SimpleNamespace(headers={}), instance)


def _grpc(module, path, request, schema, instance):
    return module.methods(STATE)[path].work(memoryview(encode(request, schema)), instance)


def as_v2_grpc(rows, instance):
    fields = {"FP32": "fp32_contents", "INT64": "int64_contents", "BYTES": "bytes_contents"}
    inputs = []
    for tensor in _tensors(rows):
        data = [x for row in rows for x in row[tensor["name"]]]
        if tensor["datatype"] == "BYTES":
            data = [text.encode() for text in data]
        contents = encode({fields[tensor["datatype"]]: data}, m.CONTENTS)
        inputs.append(encode({**tensor, "contents": contents}, m.TENSOR))
    path = grpc_v2.SERVICE + "ModelInfer"
    return _grpc(grpc_v2, path, {"inputs": inputs}, m.INFER_REQUEST, instance)


def as_predict(rows, instance):
    numbers = {"amount": (1, "float_val"), "count": (9, "int64_val"), "name": (7, "string_val")}
    inputs = {}
    for name, (dtype, field) in numbers.items():
        values = [x.encode() if name == "name" else x for row in rows for x in row[name]]
        dims = [{"size": len(rows)}, {"size": len(GOOD[name])}]
        inputs[name] = {"dtype": dtype, "tensor_shape": {"dim": dims}, field: values}
    path = "/tensorflow.serving.PredictionService/Predict"
    return _grpc(grpc_tfserving, path, {"inputs": inputs}, _PREDICT_REQUEST, instance)


def _examples(rows):
    kinds = {"amount": "float_list", "count": "int64_list", "name": "bytes_list"}

    def feature(name, values):  # an example leaves out what it lacks
        values = [x.encode() if name == "name" else x for x in values]
        given = [x for x in values if x == x and x not in (MISSING_INT, b"")]
        return {kinds[name]: {"value": given}} if given == values else {}

    examples = [
        {"features": {"feature": {name: feature(name, row[name]) for name in GOOD}}} for row in rows
    ]
    return {"example_list": {"examples": examples}}


def as_regress(rows, instance):
    path = "/tensorflow.serving.PredictionService/Regress"
    return _grpc(grpc_examples, path, {"input": _examples(rows)}, _REQUEST, instance)


def as_multi_inference(rows, instance):
    path = "/tensorflow.serving.PredictionService/MultiInference"
    tasks = [{"method_name": "tensorflow/serving/regress"}]
    request = {"tasks": tasks, "input": _examples(rows)}
    return _grpc(grpc_examples, path, request, _MULTI_REQUEST, instance)


TOGETHER = (as_v1_columns, as_v2, as_v2_grpc, as_predict, as_regress, as_multi_inference)
OF_ONE_NUMBER = (as_regress, as_multi_inference)  # this model gives two


KINDS = pytest.mark.parametrize(
    ("name", "value"),
    [("amount", [float("nan"), 2.0]), ("count", [MISSING_INT]), ("name", [""])],
)


@pytest.mark.parametrize("way", TOGETHER)
@KINDS
def test_the_instance_is_named_where_all_are_answered_together(instance, way, name, value):
    if name == "amount" and way in (as_regress, as_multi_inference):  # all of it or nothing
        value = [float("nan")] * 2
    rows = [GOOD, GOOD, {**GOOD, name: value}, GOOD]
    with pytest.raises(ServingError) as refused:
        way(rows, instance)
    assert refused.value.http == 400
    assert str(refused.value).startswith(f"Instance 2 (from 0): {name!r} is missing")
    assert "ask for the others without" in str(refused.value)
    if way not in OF_ONE_NUMBER:
        assert way([row for row in rows if row is GOOD], instance)


@KINDS
def test_the_instance_alone_is_refused_among_rows(instance, name, value):
    other = {**GOOD, "amount": [5.0, 2.0]}
    answer = json.loads(as_v1_rows([GOOD, {**GOOD, name: value}, other], instance))
    alone = json.loads(as_v1_rows([GOOD, other], instance))["predictions"]
    first, refused, last = answer["predictions"]
    assert [first, last] == alone
    assert first != last
    assert refused["error"].startswith(f"Instance 1 (from 0): {name!r} is missing, without which")
    with pytest.raises(ServingError, match=f"Instance 0 .* {name!r} is missing.*: give it.$"):
        as_v1_rows([{**GOOD, name: value}], instance)


@pytest.mark.parametrize("verb", ["regress", "classify"])
def test_the_instance_alone_is_refused_among_examples(tmp_path, verb):
    made = bundle(tmp_path / "m", LINE.read_bytes(), like=LINE)
    (name,) = (tensor.name for tensor in bundles.read(made).signature.inputs)
    write_manifest(made, dataclasses.replace(bundles.read(made), not_proven_missing=(name,)))
    (instance,) = load(made, "m", 1, 1, 1)

    def asked(*values):
        body = json.dumps({"examples": [{name: [value]} for value in values]})
        return json.loads(getattr(v1, verb)(body.encode(), instance))["results"]

    first, refused, last = asked(1.0, None, 3.0)
    assert refused["error"].startswith(f"Instance 1 (from 0): {name!r} is missing")
    assert asked(1.0, 3.0) == [first, last]
    with pytest.raises(ServingError, match="Instances 0, 1 "):
        asked(None, None)


def test_all_that_are_refused_are_named_with_each_feature(instance):
    bad, worse = {**GOOD, "name": [""]}, {**GOOD, "name": [""], "count": [MISSING_INT]}
    for way in (as_v1_columns, as_v2):
        with pytest.raises(ServingError) as refused:
            way([bad, GOOD, worse, bad], instance)
        assert str(refused.value) == (
            "Instances 0, 3 (from 0): 'name' is missing; Instance 2 (from 0): 'count' and 'name' "
            "are missing, without which no answer of this model was proven: give them; ask for "
            "the others without."
        )
    with pytest.raises(ServingError, match=r"Instances 0, 1, .*, 9 and 10 more \(from 0\)"):
        as_v2([bad] * 20 + [GOOD], instance)
    with pytest.raises(ServingError, match=r"give it\.$"):
        as_v2([bad], instance)


def test_other_missing_values_are_answered_as_ever(tmp_path):
    (free,) = load(probed(tmp_path / "m", "count"), "m", 1, 1, 1)
    assert as_v1_rows([GOOD, {**GOOD, "amount": [float("nan"), 2.0], "name": [""]}], free)


def test_a_bundle_of_before_serves_and_the_log_says_once_that_nothing_was_probed(start, tmp_path):
    bundle(tmp_path / "store" / "m" / "1", model(2.0))
    probed(tmp_path / "store" / "n" / "1", "name")
    bad = {"instances": [{**ROW["instances"][0], "name": [""]}]}
    server = start(tmp_path / "store", "--poll=0")
    assert server.ask("POST", "/v1/models/m:predict", bad)[0] == 200
    assert "not_proven_missing" not in server.ask("GET", "/v2/models/m")[1]["properties"]
    code, answer, _ = server.ask("POST", "/v1/models/n:predict", bad)
    assert (code, "'name' is missing" in answer["error"]) == (400, True)
    assert server.ask("GET", "/v2/models/n")[1]["properties"]["not_proven_missing"] == "name"
    _, log = server.stop()
    assert log.count("nothing was probed") == 1
    assert "m 1 is a bundle of before" in log


def test_the_format_says_what_a_reader_must_know(tmp_path):
    old, new = bundle(tmp_path / "old", model(2.0)), probed(tmp_path / "new")
    assert json.loads((old / "manifest.json").read_text())["edgeline_bundle"] == "bundle/v1"
    manifest = json.loads((new / "manifest.json").read_text())
    assert (manifest["edgeline_bundle"], manifest["not_proven_missing"]) == ("bundle/v2", [])
    assert bundles.read(new).not_proven_missing == ()
    for change, said in (
        ({"edgeline_bundle": "bundle/v9"}, "is of format 'bundle/v9', and this version reads"),
        ({"edgeline_bundle": "bundle/v1"}, "is of format bundle/v1, but has 'not_proven_missing'"),
    ):
        (new / "manifest.json").write_text(json.dumps({**manifest, **change}))
        with pytest.raises(EdgelineError, match=said):
            bundles.read(new)


def test_rows_of_numbers_without_a_marker_are_never_missing():
    from edgeline.runtimes.inputs import check_missing

    check_missing({"image": np.zeros((2, 4), np.uint8)}, ["image", "elsewhere"])
