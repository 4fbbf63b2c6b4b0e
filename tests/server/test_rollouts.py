"""Canary and shadow: which version answers, what is decided, and what a restart makes of it."""

from __future__ import annotations

import json

import numpy as np
import pytest
from running import MIXED, MOBILENET, eventually
from test_reload import put

from edgeline.artifacts.bundle import Tensor
from edgeline.errors import EdgelineError
from edgeline.server.protocols.messages import INFER_REQUEST, INFER_RESPONSE
from edgeline.server.protocols.wire import decode, encode
from edgeline.server.rollouts.declaration import Rollout, Seen, judge, parse
from edgeline.server.rollouts.shadow import differing

pytestmark = pytest.mark.slow

INFER = {
    "inputs": [
        {"name": "amount", "shape": [1, 2], "datatype": "FP32", "data": [1, 2]},
        {"name": "count", "shape": [1, 1], "datatype": "INT64", "data": [1]},
        {"name": "name", "shape": [1, 1], "datatype": "BYTES", "data": ["a"]},
    ]
}
QUICK = {"seconds": 0, "requests": 10, "latency_ratio": 0}


def changed() -> bytes:
    """The mixed model with its weight 2 made 2.5: it answers, but another score."""
    data, two = MIXED.read_bytes(), np.float32(2.0).tobytes()
    place = data.index(two)
    return data[:place] + np.float32(2.5).tobytes() + data[place + 4 :]


def declare(folder, **rollout) -> str:
    """A file of one rollout of `m`; the option for it."""
    file = folder / "rollouts.json"
    file.write_text(json.dumps({"rollouts": [{"model": "m", **rollout}]}))
    return f"--rollouts={file}"


def ask(server, headers: dict[str, str] | None = None) -> tuple[str, float]:
    """The version that answers a request, and its score."""
    status, body, _ = server.ask("POST", "/v2/models/m/infer", INFER, headers)
    assert status == 200, body
    score = next(o for o in body["outputs"] if o["name"] == "score")
    return body["model_version"], score["data"][0]


def rollout_of(server) -> dict:
    return server.ask("GET", "/rollouts")[1]["rollouts"][0]


def actions(server) -> list[str]:
    return [d["action"] for d in server.ask("GET", "/rollouts")[1]["decisions"]][::-1]


def on(server) -> bool:
    return rollout_of(server)["state"] == "on"


# canary


def test_a_canary_answers_its_share_and_is_promoted(start, tmp_path):
    store = tmp_path / "store"
    put(store, 1, MIXED.read_bytes())
    option = declare(tmp_path, weight=0.25, **QUICK, automatic=True)
    server = start(store, "--poll=0.1", option, f"--state={tmp_path / 'state'}")
    assert ask(server)[0] == "1"
    put(store, 2, MIXED.read_bytes())
    eventually(lambda: on(server))
    versions = [ask(server)[0] for _ in range(36)]
    assert versions.count("2") == 9  # exactly the share, evenly: no luck in it
    assert versions[:8].count("2") == 2
    for _ in range(8):
        ask(server)
    eventually(lambda: actions(server) == ["start", "promote"])
    assert {ask(server)[0] for _ in range(8)} == {"2"}
    eventually(lambda: server.ask("GET", "/v2/models/m/versions/1/ready")[0] == 404)
    assert server.metric('edgeline_rollout_decisions_total{model="m",action="promote"}') == 1
    server.stop()
    again = start(store, option, f"--state={tmp_path / 'state'}")
    assert ask(again)[0] == "2"
    assert not on(again)


def test_a_request_chooses_by_header_and_by_id(start, tmp_path):
    store = tmp_path / "store"
    put(store, 1, MIXED.read_bytes())
    put(store, 2, changed())
    option = declare(tmp_path, weight=0.3, header="x-group: beta", automatic=False)
    server = start(store, "--poll=0", option)
    assert on(server)
    assert ask(server, {"x-edgeline-version": "candidate"}) == ("2", 8.5)
    assert ask(server, {"X-Edgeline-Version": "1"}) == ("1", 7.0)
    assert ask(server, {"x-edgeline-version": "stable", "x-group": "beta"})[0] == "1"
    assert ask(server, {"x-group": "beta"})[0] == "2"
    status, body, _ = server.ask(
        "POST", "/v2/models/m/infer", INFER, {"x-edgeline-version": "seven"}
    )
    assert status == 400
    assert "give stable, candidate, 1 or 2" in body["error"]
    by_id = {f"r{n}": ask(server, {"x-request-id": f"r{n}"})[0] for n in range(40)}
    assert by_id == {name: ask(server, {"x-request-id": name})[0] for name in by_id}
    assert 4 <= list(by_id.values()).count("2") <= 20
    status, body, _ = server.ask(
        "POST", "/v2/models/m/versions/1/infer", INFER, {"x-group": "beta"}
    )
    assert body["model_version"] == "1"  # a version that is named is the one that answers


def test_grpc_metadata_chooses_too(start, tmp_path):
    grpc = pytest.importorskip("grpc", reason="NO GRPCIO: metadata is not sent")
    store = tmp_path / "store"
    put(store, 1, MIXED.read_bytes())
    put(store, 2, changed())
    server = start(store, "--poll=0", declare(tmp_path, weight=0.0, header="x-group: beta"))
    raw = [
        np.array([1, 2], "<f4").tobytes(),
        np.array([1], "<i8").tobytes(),
        b"\x01\x00\x00\x00a",
    ]
    inputs = [{key: t[key] for key in ("name", "shape", "datatype")} for t in INFER["inputs"]]
    message = {"model_name": "m", "inputs": inputs, "raw_input_contents": raw}
    with grpc.insecure_channel(f"127.0.0.1:{server.grpc}") as channel:
        call = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")

        def version(*metadata: tuple[str, str]) -> str:
            answer = call(encode(message, INFER_REQUEST), metadata=metadata, timeout=30)
            return decode(memoryview(answer), INFER_RESPONSE)["model_version"]

        assert version() == "1"
        assert version(("x-group", "beta")) == "2"
        assert version(("x-edgeline-version", "candidate")) == "2"


def test_a_candidate_that_fails_costs_no_answer_and_is_returned_for_good(start, tmp_path):
    store = tmp_path / "store"
    put(store, 1, MIXED.read_bytes())
    option = declare(tmp_path, weight=0.5, errors=0.1, **QUICK)
    state = f"--state={tmp_path / 'state'}"
    server = start(store, "--poll=0.1", option, state)
    put(store, 2, MOBILENET.read_bytes())  # it takes other inputs
    eventually(lambda: on(server))
    assert {ask(server)[0] for _ in range(20)} == {"1"}
    eventually(lambda: actions(server) == ["start", "return"])
    reason = server.ask("GET", "/rollouts")[1]["decisions"][0]["reason"]
    assert "requests failed (100.0%), and at most 10.0% may" in reason
    eventually(lambda: server.ask("GET", "/v2/models/m/versions/2/ready")[0] == 404)
    assert rollout_of(server)["returned"] == [2]
    _, log = server.stop()
    assert "Rollout of m: return version 2 beside 1" in log
    again = start(store, "--poll=0.1", option, state)
    assert ask(again)[0] == "1"
    assert rollout_of(again)["state"] == "waiting"
    put(store, 3, MIXED.read_bytes())  # the next one gets its chance
    eventually(lambda: on(again))
    assert rollout_of(again)["candidate"] == 3


def test_the_clients_own_faults_are_not_the_candidates(start, tmp_path):
    put(tmp_path, 1, MIXED.read_bytes())
    put(tmp_path, 2, MIXED.read_bytes())
    server = start(tmp_path, "--poll=0", declare(tmp_path.parent, weight=1.0, automatic=False))
    for _ in range(5):
        assert server.ask("POST", "/v2/models/m/infer", {"inputs": [{"name": "x"}]})[0] == 400
    assert server.ask("POST", "/v1/models/m:predict", b"{")[0] == 400
    ask(server)
    seen = rollout_of(server)["seen"]
    assert (seen["requests"], seen["errors"]) == (1, 0)


def test_a_restart_in_the_middle_serves_the_stable_version(start, tmp_path):
    store = tmp_path / "store"
    put(store, 1, MIXED.read_bytes())
    option = declare(tmp_path, weight=0.0, automatic=False)
    for state in ([], [f"--state={tmp_path / 'state'}"]):
        server = start(store, "--poll=0.1", option, *state)
        if not (store / "m" / "2").exists():
            put(store, 2, changed())
        eventually(lambda server=server: on(server))
        server.process.kill()
        server.process.wait()
        again = start(store, option, *state)
        assert ask(again) == ("1", 7.0)
        assert rollout_of(again)["candidate"] == 2
        again.stop()


# shadow


def test_a_shadow_that_disagrees_is_returned_and_never_answers(start, tmp_path):
    put(tmp_path, 1, MIXED.read_bytes())
    put(tmp_path, 2, changed())
    option = declare(tmp_path.parent, mode="shadow", weight=1.0, **QUICK)
    server = start(tmp_path, "--poll=0", option)
    answers = set()

    def decided() -> bool:
        answers.add(ask(server))
        return actions(server) == ["start", "return"]

    eventually(decided)
    assert answers == {("1", 7.0)}
    assert "rows disagreed" in server.ask("GET", "/rollouts")[1]["decisions"][0]["reason"]
    assert server.metric('edgeline_requests_total{model="m",version="2"') == 0


def test_a_shadow_that_agrees_is_promoted(start, tmp_path):
    put(tmp_path, 1, MIXED.read_bytes())
    put(tmp_path, 2, MIXED.read_bytes())
    option = declare(tmp_path.parent, mode="shadow", weight=1.0, **QUICK)
    server = start(tmp_path, "--poll=0", option)
    eventually(lambda: ask(server)[1] == 7.0 and actions(server) == ["start", "promote"])
    assert ask(server)[0] == "2"


def test_a_slow_shadow_costs_the_requests_no_time_and_little_memory():
    from threading import Event

    from edgeline.server.metrics import Metrics
    from edgeline.server.models.loading import load
    from edgeline.server.models.model import Instance
    from edgeline.server.models.pool import Pool
    from edgeline.server.rollouts.shadow import Compared, Shadow

    (real,) = load(MIXED, "m", 2, 1, 1)
    go, outcomes = Event(), []

    class Slow(Instance):
        def __init__(self) -> None:
            self.description = real.description

        def predict(self, arrays):
            go.wait(30)
            return real.predict(arrays)

    pool = Pool([Slow()], Metrics().of("m", 2), 16)
    shadow = Shadow(lambda: pool, 1e-3, "values", outcomes.append)
    arrays = {
        "amount": np.ones((1, 2), np.float32),
        "count": np.ones((1, 1), np.int64),
        "name": np.full((1, 1), b"a", object),
    }
    answers = real.run(arrays)
    for _ in range(100):  # it would take for ever if any waited
        shadow.give(arrays, answers, real.description)
    assert 91 <= shadow.dropped <= 92  # one runs, eight wait
    large = {**arrays, "amount": np.broadcast_to(np.float32(1), (1 << 25, 2))}
    go.set()
    eventually(lambda: len(outcomes) + shadow.dropped == 100)
    assert all(isinstance(outcome, Compared) and not outcome.differ for outcome in outcomes)
    before = shadow.dropped
    shadow.give(large, answers, real.description)
    assert shadow.dropped == before + 1  # larger than all copies together may be
    shadow.close()
    pool.close()


def test_differing_rows():
    number = (Tensor("y", "float32", (-1, 2)),)
    scaled = (Tensor("y", "uint8", (-1, 2), 0.5, 10),)
    a = {"y": np.array([[1.0, 2.0], [np.nan, 4.0], [5.0, 6.0]], np.float32)}
    near = {"y": a["y"] * np.float32(1.0005)}
    far = {"y": a["y"] + np.array([[0, 0], [0, 0], [0, 3]], np.float32)}
    assert differing((a, number), (near, number), 3, 1e-3, "values") == 0
    assert differing((a, number), (far, number), 3, 1e-3, "values") == 1
    assert differing((a, number), (near, number), 3, 0.0, "values") == 3
    assert differing((a, number), ({}, number), 3, 1.0, "values") == 3
    flipped = {"y": a["y"][:, ::-1]}
    assert differing((a, number), (far, number), 3, 0.0, "class") == 0
    assert differing((a, number), (flipped, number), 3, 0.0, "class") >= 2
    quantised = {"y": np.array([[12, 14]], np.uint8)}  # 1.0 and 2.0
    assert differing(({"y": a["y"][:1]}, number), (quantised, scaled), 1, 1e-6, "values") == 0
    text = (Tensor("y", "string", (-1, 1)),)
    one, two = ({"y": np.array([[b"a"], [x]], object)} for x in (b"b", b"c"))
    assert differing((one, text), (two, text), 2, 1e-3, "values") == 1


# the calls


def test_rollouts_by_call(start, tmp_path):
    put(tmp_path, 1, MIXED.read_bytes())
    server = start(tmp_path, "--poll=0.1")
    assert server.ask("GET", "/rollouts")[1] == {"rollouts": [], "decisions": []}
    assert server.ask("POST", "/rollouts/none", {})[0] == 404
    assert server.ask("POST", "/rollouts/m", {"weight": 2})[0] == 400
    assert server.ask("DELETE", "/rollouts/m")[0] == 404
    assert server.ask("POST", "/rollouts/m/promote")[0] == 400
    assert server.ask("POST", "/rollouts/m", {"weight": 0.5, "automatic": False})[0] == 200
    put(tmp_path, 2, changed())
    eventually(lambda: on(server))
    assert {ask(server)[0] for _ in range(4)} == {"1", "2"}
    assert server.ask("POST", "/rollouts/m/return")[0] == 200
    assert {ask(server)[0] for _ in range(4)} == {"1"}
    assert server.ask("POST", "/rollouts/m", {"weight": 0, "automatic": False})[0] == 200
    assert on(server)  # declared anew: what was returned gets another chance
    assert server.ask("POST", "/rollouts/m/promote")[0] == 200
    assert ask(server)[0] == "2"
    assert actions(server) == ["start", "return", "start", "promote"]
    assert server.ask("DELETE", "/rollouts/m")[0] == 200
    assert ask(server)[0] == "2"


@pytest.mark.parametrize(
    ("value", "fault"),
    [
        ([], "an object with at least a 'model'"),
        ({"model": "m", "wight": 1}, "has no 'wight'"),
        ({"model": "m", "weight": "much"}, "'weight' is 'much', not a number"),
        ({"model": "m", "weight": -0.1}, "is a share: give 0 to 1"),
        ({"model": "m", "requests": 0}, "at least 1"),
        ({"model": "m", "requests": True}, "is True, not a whole number"),
        ({"model": "m", "mode": "blue"}, "is canary or shadow"),
        ({"model": "m", "header": "x-group"}, "'name: value'"),
        ({"model": "m", "seconds": float("inf")}, "inf, not a number"),
    ],
)
def test_a_wrong_rollout_is_one_sentence(value, fault):
    with pytest.raises(EdgelineError, match=fault):
        parse(value)


def test_judging():
    rollout = Rollout("m", requests=100, seconds=60, errors=0.02, disagreements=0.1, timeout=600)

    def after(elapsed=100.0, requests=100, errors=0, rows=0, differ=0, ratio=1.0):
        return judge(rollout, Seen(elapsed, requests, errors, rows, differ, 0.01, 0.01 * ratio))

    assert after().action == "promote"
    assert after(elapsed=59) is None
    assert after(requests=99) is None
    assert after(errors=2).action == "promote"
    assert after(errors=3).action == "return"
    assert after(requests=3, errors=3).action == "return"  # 3 of 100 would be too many already
    assert after(requests=2, errors=2) is None
    assert after(rows=200, differ=20).action == "promote"
    assert after(rows=200, differ=21).action == "return"
    assert after(ratio=2.5).action == "return"
    assert after(requests=50, ratio=2.5) is None
    assert after(elapsed=601, requests=5).action == "return"
    assert judge(Rollout("m", automatic=False), Seen(999, 999, 0, 0, 0, 1, 1)) is None
