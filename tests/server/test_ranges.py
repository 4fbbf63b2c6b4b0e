"""Values outside what the training saw or the schema allows: flagged, counted, told, refused."""

from __future__ import annotations

import dataclasses
import json
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from publishing import bundle, model
from running import eventually
from test_not_proven_missing import (
    GOOD,
    TOGETHER,
    as_v1_columns,
    as_v1_rows,
    as_v2,
    as_v2_grpc,
)

from edgeline import artifacts
from edgeline.artifacts import bundle as bundles
from edgeline.artifacts import ranges
from edgeline.artifacts.bundle import Tensor
from edgeline.artifacts.features import MISSING_INT
from edgeline.artifacts.ranges import FeatureRange
from edgeline.errors import EdgelineError, UsageError
from edgeline.monitoring.events import EVENTS
from edgeline.monitoring.range_check import RangeCheck
from edgeline.server.errors import ServingError
from edgeline.server.models.loading import load
from edgeline.server.protocols import messages as m
from edgeline.server.protocols import routes_tfserving as v1
from edgeline.server.settings import ServerSettings
from edgeline.server.watching.range_watch import RangeWatch

ALLOWED = {
    "amount": FeatureRange(0.0, 10.0),
    "count": FeatureRange(0, 2**62),
    "name": FeatureRange(values=("a", "b", "größer")),
}
NAN = float("nan")


def with_ranges(folder: Path, allowed: dict[str, FeatureRange] | None = None) -> Path:
    """The bundle `m` that says what its features may be."""
    made = bundle(folder, model(2.0))
    (made / ranges.FILE).write_bytes(ranges.dumps(ALLOWED if allowed is None else allowed))
    read = bundles.read_manifest(made)
    files = artifacts.list_files(made)
    files.pop(bundles.MANIFEST)
    bundles.write_manifest(made, dataclasses.replace(read, files=files))
    return made


def prepared(folder: Path, mode: str):
    """An instance of the bundle as the server makes it, and what counts for it."""
    instance = load(folder, "m", 1, 1, 1)[0]
    watch = RangeWatch(ServerSettings(out_of_range=mode), None)
    instance.ranges = watch.check(instance.description)
    return instance, watch


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return with_ranges(tmp_path_factory.mktemp("m"))


@pytest.mark.parametrize("many", [1, 3, 200])
@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("amount", [0.0, 10.0], [1.0, -0.5]),
        ("amount", [NAN, NAN], [NAN, 10.5]),
        ("amount", [NAN, 10.0], [float("inf"), NAN]),
        ("count", [2**62], [2**62 + 1]),
        ("count", [MISSING_INT], [-1]),
        ("name", ["größer"], ["c"]),
        ("name", [""], ["A"]),
    ],
)
def test_a_value_outside_is_flagged_with_its_row_and_a_missing_one_is_not(
    folder, name, good, bad, many
):
    instance, watch = prepared(folder, "flag")
    arrays = {
        "amount": np.tile(np.float32([[1, 2]]), (many, 1)),
        "count": np.ones((many, 1), np.int64),
        "name": np.full((many, 1), b"a", object),
    }

    def put(row: int, values: list) -> None:
        values = [v.encode() if isinstance(v, str) else v for v in values]
        arrays[name][row] = values

    put(many - 1, good)
    instance.ask(arrays)
    assert instance.outside.parameters == {}
    put(many - 1, bad)
    instance.ask(arrays)
    assert instance.outside.parameters == {
        "out_of_range": json.dumps([name]),
        "out_of_range_rows": ",".join(["0"] * (many - 1) + ["1"]),
    }
    assert watch.counts("m", 1) == {name: 1}
    labels = f'{{model="m",version="1",column="{name}"}}'
    assert list(watch.lines()) == [f"edgeline_out_of_range_rows_total{labels} 1"]
    put(many - 1, good)
    instance.ask(arrays)
    assert instance.outside.parameters == {}


INT64 = np.iinfo(np.int64)


@pytest.mark.parametrize("rows", [1, 2, 256, 257, 600])
def test_limits_that_a_dtype_does_not_hold_and_columns_that_are_not_contiguous(rows):
    allowed = {
        "tenth": FeatureRange(0.1, 0.1),  # lies between two float32
        "huge": FeatureRange(least=1e300),
        "wide": FeatureRange(2**53 + 1, INT64.max),  # float64 has no such number
        "none": FeatureRange(1e30, 1e40),
        "half": FeatureRange(-0.5, 0.5),
    }
    inputs = [Tensor(name, "float32", (-1, 2)) for name in ("tenth", "huge")]
    inputs += [Tensor(name, "int64", (-1, 1)) for name in ("wide", "none", "half")]
    good = {
        "tenth": np.full((rows, 4), np.nan, np.float32)[:, ::2],
        "huge": np.full((2, rows), np.inf, np.float32).T,
        "wide": np.full((rows, 2), 2**53 + 1)[:, 1:],
        "none": np.full((rows, 1), MISSING_INT),
        "half": np.zeros((rows, 1), np.int64),
    }
    bad = {"tenth": 0.1, "huge": 3e38, "wide": 2**53, "none": INT64.max, "half": -1}
    found: list[tuple[str, int]] = []
    check = RangeCheck(allowed, inputs, False, lambda name, many, *_: found.append((name, many)))
    assert not check.outside(good).rows
    for name, value in bad.items():
        arrays = {**good, name: good[name].copy()}
        arrays[name][-1, 0] = value
        assert check.outside(arrays).rows == {name: [rows - 1]}, name
    assert found == [(name, 1) for name in bad]


ROWS = [GOOD, {**GOOD, "amount": [-5.0, 2.0]}, GOOD, {**GOOD, "name": ["z"]}]
TOLD = {"out_of_range": '["amount","name"]', "out_of_range_rows": "0,1,0,1"}


@pytest.mark.parametrize("way", [*TOGETHER, as_v1_rows])
def test_each_protocol_answers_and_counts_and_those_that_can_tell_it(folder, way):
    instance, watch = prepared(folder, "flag")
    if way in TOGETHER[-2:]:  # this model gives two numbers, which Regress does not
        with pytest.raises(ServingError):
            way(ROWS, instance)
    else:
        answer = way(ROWS, instance)
        if way is as_v2:
            assert json.loads(answer.body)["parameters"] == TOLD
        elif way is as_v2_grpc:
            told = m.read(memoryview(answer), m.INFER_RESPONSE)["parameters"]
            assert {key: value["string_param"] for key, value in told.items()} == TOLD
        elif way in (as_v1_rows, as_v1_columns):
            assert json.loads(answer)["parameters"] == TOLD
    assert watch.counts("m", 1) == {"amount": 1, "name": 1}


@pytest.mark.parametrize("way", TOGETHER)
def test_refused_by_choice_with_instance_feature_value_and_range(folder, way):
    instance, watch = prepared(folder, "refuse")
    with pytest.raises(ServingError) as refused:
        way(ROWS, instance)
    assert refused.value.http == 400
    assert str(refused.value) == (
        "Instance 1 (from 0): 'amount' is -5, not 0 to 10; instance 3 (from 0): 'name' is "
        "z, not the 3 values of its schema: correct the value, or leave the row out."
    )
    assert watch.counts("m", 1) == {"amount": 1, "name": 1}


def test_rows_of_v1_are_refused_each_in_its_place(folder):
    instance, _ = prepared(folder, "refuse")
    answer = json.loads(as_v1_rows(ROWS, instance))
    assert list(answer) == ["predictions"]
    assert ["error" in row for row in answer["predictions"]] == [False, True, False, True]
    assert answer["predictions"][1]["error"] == (
        "Instance 1 (from 0): 'amount' is -5, not 0 to 10: correct the value, or leave the row out."
    )
    with pytest.raises(ServingError, match="Instances 0, 1 "):
        as_v1_rows([ROWS[1], ROWS[1]], instance)


def test_numbers_of_rows_are_those_of_the_request_where_others_are_refused(tmp_path):
    made = with_ranges(tmp_path / "m")
    read = dataclasses.replace(bundles.read(made), not_proven_missing=("name",))
    bundles.write_manifest(made, read)
    rows = [{**GOOD, "name": [""]}, GOOD, {**GOOD, "amount": [11.0, 2.0]}]
    body = json.dumps({"instances": rows}).encode()
    instance, _ = prepared(made, "flag")
    answer = json.loads(v1.predict(body, instance))
    assert answer["parameters"] == {"out_of_range": '["amount"]', "out_of_range_rows": "0,0,1"}
    assert ["error" in row for row in answer["predictions"]] == [True, False, False]
    instance, _ = prepared(made, "refuse")
    answer = json.loads(v1.predict(body, instance))
    assert ["error" in row for row in answer["predictions"]] == [True, False, True]
    assert answer["predictions"][2]["error"].startswith("Instance 2 (from 0): 'amount' is 11,")


BAD = {"instances": [{"amount": [-1, 2], "count": [1], "name": ["a"]}]}


def test_the_webhook_hears_of_it_within_a_second_and_once_a_feature(start, tmp_path, receiver):
    receiver.refusals = 0
    folder = with_ranges(tmp_path / "m")
    server = start(folder, "--poll", "0", "--webhook", receiver.url)
    began = time.monotonic()
    for _ in range(5):
        status, answer, _ = server.ask("POST", "/v1/models/m:predict", BAD)
        assert (status, answer["parameters"]["out_of_range"]) == (200, '["amount"]')
    eventually(lambda: receiver.events)
    assert time.monotonic() - began < 5  # five requests and a slow machine are in it
    server.ask(
        "POST", "/v1/models/m:predict", {"instances": [{**BAD["instances"][0], "count": [-3]}]}
    )
    eventually(lambda: len(receiver.events) == 2)
    first, second = receiver.events
    assert first["type"] == second["type"] == "io.edgeline.range.detected"
    assert first["source"].endswith("/models/m/versions/1")
    assert first["data"].keys() == {each.type: each.data for each in EVENTS}[first["type"]].keys()
    assert first["data"] == {
        "model": "m",
        "version": 1,
        "feature": "amount",
        "value": -1.0,
        "rows": 1,
        "range": {"least": 0.0, "most": 10.0, "text": "0 to 10"},
        "refused": False,
    }
    assert (second["data"]["feature"], second["data"]["value"]) == ("count", -3)
    asked = 'edgeline_out_of_range_rows_total{model="m",version="1",column='
    assert (server.metric(asked + '"amount"'), server.metric(asked + '"count"')) == (6, 1)
    overview = server.ask("GET", "/overview")[1]
    assert overview["models"][0]["versions"][0]["out_of_range"] == {"amount": 6, "count": 1}
    _, log = server.stop()
    assert log.count("is out of range") == 2


def test_again_after_the_window(folder):
    watch = RangeWatch(ServerSettings(drift_window=0), deliver := Deliveries())
    instance = load(folder, "m", 1, 1, 1)[0]
    instance.ranges = watch.check(instance.description)
    for _ in range(3):
        as_v1_rows(ROWS[1:2], instance)
    assert [event["data"]["feature"] for event in deliver.events] == ["amount"] * 3


class Deliveries:
    device = "pump-7"

    def __init__(self) -> None:
        self.events: list[dict] = []

    def put(self, event: dict) -> bool:
        self.events.append(event)
        return True


def test_batched_requests_and_a_refusing_server(start, tmp_path):
    folder = with_ranges(tmp_path / "m")
    server = start(folder, "--poll", "0", "--out-of-range", "refuse", "--batch", "8")
    status, answer, _ = server.ask("POST", "/v1/models/m:predict", BAD)
    assert (status, answer["error"][:40]) == (400, "Instance 0 (from 0): 'amount' is -1, not")
    assert server.ask("POST", "/v1/models/m:predict", {"instances": [GOOD]})[0] == 200


def test_a_bundle_that_says_nothing_serves_and_is_named_once(start, tmp_path):
    folder = bundle(tmp_path / "m", model(2.0))
    server = start(folder, "--poll", "0")
    status, answer, _ = server.ask("POST", "/v1/models/m:predict", BAD)
    assert (status, "parameters" in answer) == (200, False)
    _, log = server.stop()
    assert log.count("does not say what its features may be") == 1


def test_damaged_ranges_do_not_keep_a_model_from_serving(start, tmp_path):
    folder = with_ranges(tmp_path / "m")
    (folder / ranges.FILE).write_text('{"edgeline_ranges": "ranges/v9", "features": {}}')
    files = artifacts.list_files(folder)
    files.pop(bundles.MANIFEST)
    read = dataclasses.replace(bundles.read_manifest(folder), files=files)
    bundles.write_manifest(folder, read)
    server = start(folder, "--poll", "0")
    assert server.ask("POST", "/v1/models/m:predict", BAD)[0] == 200
    _, log = server.stop()
    assert "values out of range are not noticed" in log


def test_ignored_by_choice_and_an_unknown_choice_is_refused(folder):
    instance, _ = prepared(folder, "ignore")
    assert "parameters" not in json.loads(as_v1_rows(ROWS, instance))
    with pytest.raises(UsageError, match="--out-of-range is 'warn': give flag, refuse or ignore"):
        ServerSettings(out_of_range="warn")


@pytest.mark.parametrize(
    ("features", "why"),
    [
        ('{"x": {"least": true}}', "a limit of feature 'x' is not a number"),
        ('{"x": {"least": 2, "most": 1}}', "the least of feature 'x' is above its most"),
        ('{"x": {"least": 2, "values": ["a"]}}', "feature 'x' has limits and a list of values"),
        ('{"x": {"least": NaN}}', "a limit of feature 'x' is not a number"),
        ('{"x": {"lest": 1}}', "'x.lest' is unknown"),
        ('{"x": 3}', "'x' is 3, not an object"),
        ("[]", "'features' is a list, not an object"),
    ],
)
def test_a_damaged_file_of_ranges_is_one_sentence(tmp_path, features, why):
    file = tmp_path / ranges.FILE
    file.write_text(f'{{"edgeline_ranges": "ranges/v1", "features": {features}}}')
    with pytest.raises(EdgelineError) as refused:
        ranges.read(file)
    assert f"({why})" in str(refused.value)


def test_ranges_are_read_as_they_were_written(tmp_path):
    (tmp_path / ranges.FILE).write_bytes(ranges.dumps(ALLOWED))
    assert ranges.read(tmp_path / ranges.FILE) == ALLOWED


def test_threads_and_numbers_of_rows_do_not_meet_in_what_is_kept_between_requests():
    """Memory of an earlier request is used again, by one thread at a time."""
    allowed = {
        "x": FeatureRange(0.0, 1.0),
        "n": FeatureRange(0, 9),
        "s": FeatureRange(values=("a",)),
    }
    inputs = [Tensor("x", "float32", (-1, 3)), Tensor("n", "int64", (-1, 1))]
    inputs.append(Tensor("s", "string", (-1, 1)))
    check = RangeCheck(allowed, inputs, False, lambda *_: None)

    def ask(seed: int) -> None:
        rng = np.random.default_rng(seed)
        for _ in range(300):
            rows = int(rng.integers(1, 40))
            arrays = {
                "x": rng.random((rows, 3), np.float32),
                "n": rng.integers(0, 10, (rows, 1)),
                "s": np.full((rows, 1), b"a", object),
            }
            name, bad = [("x", 2.0), ("n", 10), ("s", b"b"), ("", None)][int(rng.integers(4))]
            place = int(rng.integers(rows))
            if name:
                arrays[name][place, -1] = bad
            assert check.outside(arrays).rows == ({name: [place]} if name else {})

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(ask, range(8)))
