"""Windows that the server keeps: a row at a time in, the answer of the window that ends in it."""

from __future__ import annotations

import dataclasses
import json
import threading
from types import SimpleNamespace

import numpy as np
import pytest
from publishing import bundle, model
from running import Running, eventually

from edgeline.artifacts import bundle as bundles
from edgeline.artifacts import windows as window_facts
from edgeline.artifacts.bundle import Bundle, Signature, Tensor, write_manifest
from edgeline.artifacts.windows import CLIENT, SERVER, Windows
from edgeline.errors import EdgelineError
from edgeline.server.errors import ServingError
from edgeline.server.models.kept_windows import KeptWindows, ModelWindows, rows_of
from edgeline.server.models.loading import load
from edgeline.server.protocols import grpc_examples, v2_infer
from edgeline.server.protocols import routes_tfserving as v1
from edgeline.server.settings import ServerSettings

# of the model of the tests: `score` is weight * (both amounts and the count), of 1
PAIRS = Windows(
    size=2, time="at", columns=("amount",), key="name", key_dtype="string", kept_by=SERVER
)


def windowed(folder, weight: float = 1.0, windows: Windows = PAIRS, **more):
    made = bundle(folder, model(weight), recorded=3 * weight + 1)
    write_manifest(made, dataclasses.replace(bundles.read(made), windows=windows, **more))
    return made


def row(name: str, at: int, amount: float | None, count: int = 0) -> dict[str, list]:
    return {"name": [name], "at": [at], "amount": [amount], "count": [count]}


@pytest.fixture
def instance(tmp_path):
    made = load(windowed(tmp_path / "m"), "m", 1, 1, 1)[0]
    description = made.description
    made.windows = ModelWindows(ServerSettings()).of(
        "m", description.windows, description.signature
    )
    return made


def scores(instance, *rows) -> list[float]:
    body = json.dumps({"instances": list(rows)}).encode()
    found = [each["score"] for each in json.loads(v1.predict(body, instance))["predictions"]]
    return np.reshape(found, -1).tolist()


def refusal(instance, *rows) -> str:
    with pytest.raises(ServingError) as caught:
        scores(instance, *rows)
    assert (caught.value.code.name, caught.value.http) == ("ABORTED", 409)
    return str(caught.value)


def base(instance) -> float:
    """What the model adds to the amounts of `a`."""
    whole = {"name": ["a"], "amount": [0.0, 0.0], "count": [0]}
    return scores(instance, whole)[0]


def test_a_row_is_answered_by_the_window_that_ends_in_it(instance):
    zero = base(instance)
    said = refusal(instance, row("a", 1, 10.0))
    assert said == "Instance 0 (from 0): the window of name 'a' holds 1 of 2 rows."
    assert scores(instance, row("a", 2, 5.0)) == pytest.approx([15.0 + zero])
    assert scores(instance, row("a", 3, 1.0)) == pytest.approx([6.0 + zero])


def test_rows_of_several_keys_come_in_one_request_and_a_refusal_names_its_own(instance):
    zero = base(instance)
    refusal(instance, row("a", 1, 1.0))
    said = refusal(instance, row("a", 2, 2.0), row("b", 2, 7.0))
    assert said == (
        "Instance 1 (from 0): the window of name 'b' holds 1 of 2 rows. Ask for the others without."
    )
    assert scores(instance, row("a", 2, 2.0)) == pytest.approx([3.0 + zero])  # it was kept
    found = scores(instance, row("b", 3, 8.0), row("a", 3, 3.0), row("a", 4, 4.0))
    assert found == pytest.approx([15.0 + zero, 5.0 + zero, 7.0 + zero])


def test_rows_behind_another_and_two_of_a_time_are_refused_and_a_repeated_one_is_not(instance):
    refusal(instance, row("a", 1, 1.0))
    first = scores(instance, row("a", 5, None))
    assert np.isnan(first[0])
    assert np.isnan(scores(instance, row("a", 5, None))[0])  # sent again, as nothing had come back
    said = refusal(instance, row("a", 4, 9.0))
    assert "the window of name 'a' ends at 5, and a row of 4 came after" in said
    said = refusal(instance, row("a", 5, 9.0))
    assert "the window of name 'a' has another row of 5 already: send one of a time" in said
    zero = base(instance)
    refusal_free = scores(instance, row("a", 6, 1.0), row("a", 7, 2.0))
    assert refusal_free[1] == pytest.approx(3.0 + zero)


def test_a_gap_begins_a_new_window_as_in_training(tmp_path):
    gap = dataclasses.replace(PAIRS, max_gap=10)
    made = load(windowed(tmp_path / "m", windows=gap), "m", 1, 1, 1)[0]
    made.windows = ModelWindows(ServerSettings()).of("m", gap, made.description.signature)
    refusal(made, row("a", 0, 1.0))
    assert len(scores(made, row("a", 10, 1.0))) == 1
    assert "holds 1 of 2 rows" in refusal(made, row("a", 21, 1.0))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (row("", 1, 1.0), "Instance 1 (from 0): 'name' is missing, without which a row is in no"),
        ({**row("a", 1, 1.0), "at": [None]}, "Instance 1 (from 0): 'at' is missing, without"),
        ({"name": ["a"], "amount": [1.0], "count": [1]}, "Instance 1 lacks input 'at'"),
    ],
)
def test_rows_without_key_or_time_are_bad_input_and_nothing_of_the_request_is_kept(
    instance, given, said
):
    with pytest.raises(ServingError) as caught:
        scores(instance, row("a", 0, 1.0), given)
    assert said in str(caught.value) and caught.value.http == 400
    assert instance.windows.keys == 0


def test_v2_and_grpc_examples_take_rows_and_v2_whole_windows(instance):
    def ask(**data):
        kinds = {"amount": "FP32", "count": "INT64", "name": "BYTES", "at": "INT64"}
        inputs = [
            {"name": name, "datatype": kinds[name], "shape": list(np.shape(value)), "data": value}
            for name, value in data.items()
        ]
        body = json.dumps({"inputs": inputs}).encode()
        answer = json.loads(v2_infer.infer(body, SimpleNamespace(headers={}), instance).body)
        return next(each["data"] for each in answer["outputs"] if each["name"] == "score")

    zero = base(instance)
    rows = {"amount": [1.0, 2.0], "count": [0, 0], "name": ["c", "c"], "at": [1, 2]}
    with pytest.raises(ServingError, match=r"Instance 0 .*holds 1 of 2 rows\. Ask for the others"):
        ask(**rows)
    later = {"amount": [[4.0]], "count": [[0]], "name": [["c"]], "at": [[3]]}
    assert ask(**later) == pytest.approx([6.0 + zero])
    assert ask(amount=[[1.0, 1.0]], count=[[0]], name=[["c"]]) == pytest.approx([2.0 + zero])
    assert ask(**later) == pytest.approx([6.0 + zero])  # whole windows leave what is kept alone

    def feature(kind: str, *values):
        return {kind: {"value": list(values)}}

    example = {
        "name": feature("bytes_list", b"c"), "at": feature("int64_list", 4),
        "amount": feature("float_list", 8.0), "count": feature("int64_list", 0),
    }  # fmt: skip
    asked = {"input": {"example_list": {"examples": [{"features": {"feature": example}}]}}}
    assert grpc_examples._run(asked, instance)["score"].reshape(-1)[0] == pytest.approx(12.0 + zero)


def test_metadata_tell_what_is_sent_and_that_rows_are_kept(instance):
    from edgeline.server.protocols.v2_metadata import model_metadata

    told = model_metadata(instance.description, [1])
    shapes = {each["name"]: (each["datatype"], each["shape"]) for each in told["inputs"]}
    assert shapes["amount"] == ("FP32", [-1, 1]) and shapes["at"] == ("INT64", [-1, 1])
    assert told["properties"]["windows"] == (
        "2 rows of amount by name, in order of at; the server keeps them"
    )


def kept(settings: ServerSettings, size: int = 4, dtype: str = "float32", width: int = 2):
    windows = Windows(
        size=size, time="t", columns=("x",), key="k", key_dtype="int64", kept_by=SERVER
    )
    signature = Signature((Tensor("x", dtype, (-1, size, width)),), ())
    assert [each.name for each in rows_of(signature, windows).inputs] == ["x", "k", "t"]
    models = ModelWindows(settings)
    return models, models.of("m", windows, signature)


def put(of: KeptWindows, key: int, time: int, value: float = 0.0, width: int = 2) -> bool:
    """Whether there was a window."""
    rows = {
        "x": np.full((1, width), value, np.float32),
        "k": np.array([[key]], np.int64),
        "t": np.array([[time]], np.int64),
    }
    try:
        of.take(rows)
    except ServingError:
        return False
    return True


def test_lists_are_kept_as_rows_of_a_window():
    _, of = kept(ServerSettings())
    for time in range(3):
        assert not put(of, 1, time, float(time))
    rows = {"x": np.full((1, 2), 3.0, np.float32), "k": np.array([[1]]), "t": np.array([[3]])}
    np.testing.assert_array_equal(of.take(rows)["x"], [[[0, 0], [1, 1], [2, 2], [3, 3]]])


def test_keys_and_bytes_are_bounded_and_the_oldest_go_first():
    models, of = kept(ServerSettings(window_keys=3))
    for key in range(3):
        put(of, key, 0)
    put(of, 0, 1)
    put(of, 3, 0)  # key 1 had none for longest
    assert of.keys == 3
    put(of, 1, 1)
    assert not put(of, 1, 2)  # its row of before is gone: 2 of 4
    lines = list(models.lines())
    assert 'edgeline_window_keys{model="m"} 3' in lines
    assert 'edgeline_window_evictions_total{model="m",limit="keys"} 2' in lines
    assert f'edgeline_window_bytes{{model="m"}} {of.bytes}' in lines

    models, of = kept(ServerSettings(window_memory=10_000))
    for key in range(1000):
        put(of, key, 0)
    assert 5 < of.keys < 30 and of.bytes <= 10_000
    with pytest.raises(ServingError, match=r"takes 8,\d+ bytes, and 4,000 are allowed for all"):
        _, large = kept(ServerSettings(window_memory=4000), size=1000)
        large.take({"x": np.zeros((1, 2), np.float32), "k": np.array([[1]]), "t": np.array([[1]])})


def test_what_is_counted_is_what_the_process_takes():
    import tracemalloc

    for size, dtype, value in ((4, "float32", 0.0), (64, "float32", 0.0), (8, "string", b"x" * 50)):
        _, of = kept(ServerSettings(window_keys=10**6, window_memory=2**30), size, dtype, 1)
        numpy = {"float32": np.float32, "string": object}[dtype]
        tracemalloc.start()
        for key in range(200):
            for time in range(2):
                x = np.empty((1, 1), numpy)
                x[0, 0] = value + str(key).encode() if dtype == "string" else value
                rows = {"x": x, "k": np.array([[key]]), "t": np.array([[time]])}
                with pytest.raises(ServingError):
                    of.take(rows)
        taken, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert 0.8 * taken < of.bytes < 2 * taken, (size, dtype, taken, of.bytes)


def test_too_many_rows_at_once_are_refused_before_their_windows_are_made():
    _, of = kept(ServerSettings(max_body=10_000), size=100)
    rows = {
        "x": np.zeros((13, 2), np.float32),
        "k": np.arange(13).reshape(-1, 1),
        "t": np.zeros((13, 1), np.int64),
    }
    with pytest.raises(ServingError, match="send at most 12 at a time") as caught:
        of.take(rows)
    assert caught.value.http == 413 and of.keys == 0


def test_many_threads_keep_each_key_in_order():
    _, of = kept(ServerSettings(), size=4, width=1)
    wrong: list[object] = []

    def send(key: int) -> None:
        for time in range(200):
            rows = {
                "x": np.full((1, 1), key * 1000 + time, np.float32),
                "k": np.array([[key]]),
                "t": np.array([[time]]),
            }
            try:
                window = of.take(rows)["x"].reshape(-1).tolist()
            except ServingError:
                wrong.extend([] if time < 3 else [(key, time)])
                continue
            if window != [key * 1000 + time - back for back in (3, 2, 1, 0)]:
                wrong.append((key, window))

    workers = [threading.Thread(target=send, args=(key,)) for key in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not wrong and of.keys == 8


def test_a_manifest_with_windows_is_of_a_format_that_older_servers_refuse(tmp_path):
    made = bundles.read(windowed(tmp_path / "m", not_proven_missing=()))
    told = json.loads(json.dumps(made.to_json()))
    assert told["edgeline_bundle"] == "bundle/v5" and Bundle.from_json(told) == made
    windows = told["windows"]
    for changed, said in (
        ({"edgeline_bundle": "bundle/v2"}, "is of format bundle/v2, but has 'windows'"),
        ({"windows": None}, "is of format bundle/v5, but lacks 'windows'"),
        (
            {"windows": {**windows, "size": 3}},
            "'amount' is not an input of 3 rows: publish it again",
        ),
        ({"windows": {**windows, "columns": ["x"]}}, "'x' is not an input of 2 rows"),
        ({"windows": {**windows, "kept_by": "client"}}, "a client keeps them: publish it again"),
        ({"windows": {**windows, "size": 1}}, "is malformed (windows are"),
        ({"windows": {**windows, "key_dtype": "float32"}}, "is malformed (windows are"),
        ({"windows": {"size": 2}}, "is malformed ('windows.time' is missing)"),
    ):
        with pytest.raises(EdgelineError) as caught:
            Bundle.from_json(json.loads(json.dumps({**told, **changed})))
        assert said in str(caught.value)


@pytest.mark.slow
def test_a_new_version_goes_on_with_the_rows_and_a_restart_begins_anew(tmp_path):
    models = tmp_path / "models"
    windowed(models / "m" / "1")
    server = Running(models, "--poll=0.1", "--window-keys=2")

    def ask(*rows):
        return server.ask("POST", "/v1/models/m:predict", {"instances": list(rows)})

    try:
        status, answer, _ = ask(row("a", 1, 1.0))
        assert status == 409 and "holds 1 of 2 rows" in answer["error"]
        assert ask(row("a", 2, 2.0))[0] == 200
        made = windowed(tmp_path / "2", 2.0)
        write_manifest(made, dataclasses.replace(bundles.read(made), version=2))
        made.rename(models / "m" / "2")
        eventually(lambda: server.ask("GET", "/v2/models/m")[1]["versions"] == ["2"])
        status, answer, _ = ask(row("a", 3, 4.0))
        assert status == 200  # of version 2, with the row that version 1 was sent
        ask(row("b", 1, 1.0))
        ask(row("c", 1, 1.0))
        assert server.metric('edgeline_window_keys{model="m"}') == 2
        assert server.metric('edgeline_window_evictions_total{model="m",limit="keys"}') == 1
        assert ask(row("a", 4, 4.0))[0] == 409
        assert server.ask("GET", "/v2/health/ready")[0] == 200
    finally:
        _, log = server.stop()
    assert "keeps rows in memory (2 rows of amount by name" in log
    assert "a restart loses them" in log
    server = Running(models, "--poll=0")
    try:
        status, answer, _ = ask(row("a", 5, 4.0))
        assert status == 409 and "holds 1 of 2 rows" in answer["error"]
    finally:
        server.stop()


@pytest.mark.slow
def test_a_canary_has_the_same_windows_and_one_of_other_windows_is_returned(tmp_path):
    models = tmp_path / "models"
    windowed(models / "m" / "1")
    made = windowed(models / "m" / "2", 2.0)
    write_manifest(made, dataclasses.replace(bundles.read(made), version=2))
    declared = [{"model": "m", "mode": "canary", "weight": 0.5, "requests": 10**6}]
    (tmp_path / "rollouts.json").write_text(json.dumps({"rollouts": declared}))
    server = Running(models, "--poll=0.1", f"--rollouts={tmp_path / 'rollouts.json'}")
    try:
        eventually(lambda: server.metric('edgeline_rollout_weight{model="m"') == 0.5)
        found = []
        for at in range(9):
            asked = {"instances": [row("a", at, float(at))]}
            status, answer, _ = server.ask("POST", "/v1/models/m:predict", asked)
            assert status == (409 if at == 0 else 200), answer
            if status == 200:
                found.append(np.reshape([each["score"] for each in answer["predictions"]], -1)[0])
        ratio = {round(float(score) / (2 * at - 1), 3) for at, score in enumerate(found, 1)}
        assert ratio == {1.0, 2.0}  # both versions, of windows without a hole
        assert server.metric('edgeline_rollout_errors{model="m"') == 0
        other = dataclasses.replace(PAIRS, max_gap=5)
        made = windowed(tmp_path / "3", 3.0, other)
        write_manifest(made, dataclasses.replace(bundles.read(made), version=3))
        made.rename(models / "m" / "3")
        said = 'edgeline_rollout_decisions_total{model="m",action="return"}'
        eventually(lambda: server.metric(said) == 1)
    finally:
        _, log = server.stop()
    assert "its windows are not those of the stable version" in log


@pytest.mark.slow
def test_windows_that_the_client_keeps_are_sent_whole_and_told_of(tmp_path):
    models = tmp_path / "models"
    made = bundle(models / "m" / "1", model(2.0), recorded=7.0)
    kept = dataclasses.replace(PAIRS, kept_by=CLIENT)
    provenance = {window_facts.KEY: kept.to_json()}
    write_manifest(made, dataclasses.replace(bundles.read(made), provenance=provenance))
    server = Running(models, "--poll=0")

    def ask(*instances):
        return server.ask("POST", "/v1/models/m:predict", {"instances": list(instances)})

    def window(*amounts: float) -> dict[str, list]:
        return {"amount": list(amounts), "count": [0], "name": ["a"]}

    try:
        status, answer, _ = ask(window(1.0, 2.0), window(2.0, 4.0), window(1.0, 2.0))
        assert status == 200, answer
        first, other, again = np.reshape([each["score"] for each in answer["predictions"]], -1)
        assert other - first == pytest.approx(2.0 * 3.0) and again == first  # each by itself
        status, answer, _ = ask(row("a", 3, 4.0))  # a row alone, as a server that keeps them takes
        assert status == 400 and "at" in answer["error"], answer
        status, answer, _ = ask(window(4.0))
        assert status == 400 and "amount" in answer["error"], answer
        told = server.ask("GET", "/v2/models/m")[1]
        shapes = {each["name"]: each["shape"] for each in told["inputs"]}
        assert shapes["amount"] == [-1, 2] and "at" not in shapes
        said = "2 rows of amount by name, in order of at; the client sends them"
        assert told["properties"]["windows"] == said
        assert server.metric('edgeline_window_keys{model="m"}') == 0
    finally:
        server.stop()
