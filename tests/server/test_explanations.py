"""`:explain` of a real server: its answers, its budget, its scope, and what happens beside it."""

from __future__ import annotations

import dataclasses
import gzip
import hashlib
import http.client
import json
import os
import random
import shutil
import signal
import subprocess
from pathlib import Path

import fuzz_cases
import fuzzing
import numpy as np
import pytest
from publishing import bundle, model
from running import MIXED, MOBILENET, eventually
from test_page import browse

from edgeline.artifacts import sha256, vectors
from edgeline.artifacts.bundle import read, write_manifest
from edgeline.runtimes import shapley
from edgeline.server.explaining import BODY
from edgeline.server.models.loading import load

pytestmark = pytest.mark.slow

PATH = "/v1/models/m:explain"
RECORDED = {
    "amount": np.array([[1, 2], [0, 0], [-3, 1], [0.5, 4]], np.float32),
    "count": np.array([[1], [5], [0], [-2]], np.int64),
    "name": np.array([[b"a"], [b"b"], [b""], [b"a"]], object),
}
ROW = {"amount": [1.5, 2], "count": [3], "name": ["b"]}
MISSING = {"amount": [1, 2], "count": [4], "name": [None]}


def recorded(folder: Path, weight: float = 2.0) -> Path:
    """A bundle `m` with recorded rows and their answers."""
    made = bundle(folder, model(weight))
    (instance,) = load(made, "m", 1, 1, 1)
    answers = instance.predict(RECORDED)
    vectors.write(made / vectors.FILE, vectors.Vectors(RECORDED, answers, 1e-5))
    file, old = made / vectors.FILE, read(made)
    entry = {"sha256": sha256(file), "size": file.stat().st_size}
    write_manifest(made, dataclasses.replace(old, files={**old.files, vectors.FILE: entry}))
    return made


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return recorded(tmp_path_factory.mktemp("recorded") / "m")


@pytest.fixture(scope="module")
def explaining(made):
    """A server that explains as long as it takes, up to so many rows."""
    from running import Running

    running = Running(made, "--poll=0", "--explain=30", "--explain-rows=200", "--request-time=120")
    yield running
    code, log = running.stop()
    assert code == 0
    assert "Traceback" not in log, log


def explain(server, *rows, path=PATH, **headers):
    connection = http.client.HTTPConnection("127.0.0.1", server.http, timeout=120)
    connection.request("POST", path, json.dumps({"instances": list(rows)}), headers)
    answer = connection.getresponse()
    found = answer.status, json.loads(answer.read())
    connection.close()
    return found


def children(server) -> list[int]:
    """The processes that a server has started, as far as they explain."""
    found = []
    for each in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((each / "stat").read_text().rpartition(")")[2].split()[1])
            if parent == server.process.pid and b"explain_child" in (each / "cmdline").read_bytes():
                found.append(int(each.name))
        except (OSError, ValueError, IndexError):
            continue
    return found


def test_an_answer_adds_up_and_is_what_the_component_computes(explaining, made):
    status, answer = explain(explaining, ROW, MISSING)
    assert status == 200
    predicted = explaining.ask("POST", "/v1/models/m:predict", {"instances": [ROW, MISSING]})[1]
    assert answer["predictions"] == predicted["predictions"]
    (instance,) = load(made, "m", 1, 1, 1)

    def scores(rows):
        return instance.predict(rows)["score"].reshape(-1, 1).astype(np.float64)

    rows = {
        "amount": np.array([[1.5, 2], [1, 2]], np.float32),
        "count": np.array([[3], [4]], np.int64),
        "name": np.array([[b"b"], [b""]], object),
    }
    rounds = (200 - 4 - 2) // (2 * 4 * shapley.answers_of_an_order(3))
    zeros = np.zeros(2, np.int64)
    evaluations = 4 * shapley.answers_of_an_order(3)
    each = [
        shapley.attribute(
            [scores], rows, zeros, zeros, RECORDED, seed, evaluations=evaluations
        ).values
        for seed in range(rounds)
    ]
    for told, wanted, score in zip(
        answer["explanations"], np.mean(each, axis=0), answer["predictions"], strict=True
    ):
        assert list(told["attributions"]) == ["amount", "count", "name"]
        np.testing.assert_allclose(list(told["attributions"].values()), wanted, atol=1e-6)
        assert told["score"] == pytest.approx(score["score"][0], abs=1e-6)
        assert told["base"] + sum(told["attributions"].values()) == pytest.approx(told["score"])
        assert (told["orders"], told["background_rows"]) == (4 * rounds, 4)
        assert told["errors"].keys() == told["attributions"].keys()
        assert "class" not in told  # of a regression
    assert explain(explaining, ROW, MISSING) == (200, answer)  # the same again
    assert explaining.metric("edgeline_explanations_total") >= 2
    assert (
        0
        < explaining.metric("edgeline_explanation_rows_total")
        <= 200 * explaining.metric("edgeline_explanations_total")
    )
    assert explaining.metric("edgeline_requests_total") == 1  # an explanation is not traffic


@pytest.mark.skipif(shutil.which("curl") is None, reason="NO CURL on this machine")
def test_http_2_and_a_version_and_a_compressed_body(explaining, tmp_path):
    body = json.dumps({"instances": [ROW]}).encode()
    (tmp_path / "body").write_bytes(gzip.compress(body))
    done = subprocess.run(
        [
            *("curl", "-sS", "--fail", "--max-time", "60", "--http2-prior-knowledge"),
            *("-H", "Content-Encoding: gzip", "--data-binary", f"@{tmp_path / 'body'}"),
            f"http://127.0.0.1:{explaining.http}/v1/models/m/versions/1:explain",
        ],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert json.loads(done.stdout) == explain(explaining, ROW)[1]


def test_what_is_refused_says_why(explaining):
    for body, said in (
        (b"[", "The body is not JSON"),
        (b"{}", "Give 'instances'"),
        ({"inputs": {}}, "Give 'instances'"),
        ({"instances": []}, "'instances' is empty"),
        ({"instances": [{"amount": [1, 2]}]}, "lacks inputs 'count', 'name'"),
        ({"instances": [{**ROW, "fare": 1}]}, "unknown input 'fare'"),
        ({"instances": [{**ROW, "amount": [1e40, 1]}]}, "out of range"),
        ({"instances": [{**ROW, "amount": [None, 1]}]}, "to instances[0], so it cannot be expl"),
    ):
        status, answer, _ = explaining.ask("POST", PATH, body)
        assert (status, said in answer["error"]) == (400, True), answer
    # one of several is refused in its place
    status, answer = explain(explaining, ROW, {**ROW, "amount": [None, 1]}, MISSING)
    assert status == 200
    assert "answers [nan] to instances[1]" in answer["explanations"][1]["error"]
    assert all("score" in answer["explanations"][place] for place in (0, 2))
    assert len(answer["predictions"]) == 3
    status, answer = explain(explaining, *[ROW] * 50)
    assert status == 413
    assert "--explain-rows is 200: ask for 39 at once at most." in answer["error"]
    assert explain(explaining, *[ROW] * 39)[0] == 200
    assert explaining.ask("POST", PATH, b" " * (BODY + 1))[0] == 413
    assert explaining.ask("POST", PATH, gzip.compress(b" " * (BODY + 1)),
                          {"Content-Encoding": "gzip"})[0] == 413  # fmt: skip
    assert explain(explaining, ROW, path="/v1/models/none:explain")[0] == 404
    assert explain(explaining, ROW, path="/v1/models/m/versions/9:explain")[0] == 404
    assert explaining.ask("GET", PATH)[0] == 405
    # another site's page
    assert explain(explaining, ROW, Origin="https://evil.example")[0] == 403


def test_hostile_bodies_are_refused_in_one_sentence(explaining):
    rng = random.Random(1)
    cases = (fuzz_cases.explain_cases(rng) for _ in range(150))
    counted = fuzzing.send_http(explaining.http, cases)
    assert counted[400] > counted[200] > 0
    assert explaining.metric('edgeline_http_responses_total{status="500"}') == 0
    assert explain(explaining, ROW)[0] == 200


def test_it_is_off_by_default_and_wants_recorded_rows(start, tmp_path, made):
    server = start(made, "--poll=0")
    status, answer = explain(server, ROW)
    assert (status, answer["error"]) == (
        501, "This server explains nothing: serve with --explain SECONDS."
    )  # fmt: skip
    store = tmp_path / "store"
    store.mkdir()
    shutil.copy(MIXED, store / "bare.tflite")
    shutil.copy(MOBILENET, store / "vision.tflite")
    server = start(store, "--poll=0", "--explain=1")
    status, answer = explain(server, ROW, path="/v1/models/bare:explain")
    assert status == 501
    assert "brings no recorded rows (test_vectors.json)" in answer["error"]
    assert children(server) == []  # a child begins with what it has to explain


def test_the_page_offers_it_where_the_server_explains(explaining, tmp_path):
    assert 'id="why-so" type="button">Explain<' in browse(explaining, tmp_path / "profile")
    assert explaining.ask("GET", "/overview")[1]["server"]["explains"] is True


def test_a_token_explains_by_a_scope_of_its_own(start, made, tmp_path):
    entries = [
        {"sha256": hashlib.sha256(token.encode()).hexdigest(), "scopes": [token]}
        for token in ("predict", "explain", "read", "admin")
    ]
    (tmp_path / "tokens.json").write_text(json.dumps({"tokens": entries}))
    server = start(made, "--poll=0", "--explain=30", f"--tokens={tmp_path / 'tokens.json'}")
    assert explain(server, ROW)[0] == 401
    found = {
        token: (
            explain(server, ROW, Authorization=f"Bearer {token}")[0],
            explain(server, ROW, path="/v1/models/m:predict", Authorization=f"Bearer {token}")[0],
        )
        for token in ("predict", "explain", "read", "admin")
    }
    assert found == {
        "predict": (403, 200), "explain": (200, 403), "read": (403, 403), "admin": (200, 200)
    }  # fmt: skip


def test_in_a_rollout_the_stable_version_explains_unless_another_is_named(start, tmp_path):
    for version in (1, 2):
        folder = recorded(tmp_path / "store" / "m" / str(version))
        write_manifest(folder, dataclasses.replace(read(folder), version=version))
    told = {"rollouts": [{"model": "m", "weight": 1.0, "automatic": False}]}
    (tmp_path / "rollouts.json").write_text(json.dumps(told))
    server = start(
        tmp_path / "store",
        *("--poll=0", "--explain=30", f"--rollouts={tmp_path / 'rollouts.json'}"),
    )
    for path, version in (("m", 1), ("m/versions/2", 2)):
        assert explain(server, ROW, path=f"/v1/models/{path}:explain")[0] == 200
        counted = f'edgeline_explanations_total{{model="m",version="{version}",code="OK"}}'
        assert server.metric(counted) == 1


@pytest.fixture
def busy(start, made):
    """A server, and a request for explanations that keeps it at work for a minute, with its
    connection."""
    server = start(
        made, "--poll=0", "--explain=60", "--explain-rows=1000000000", "--explain-queue=1",
        "--request-time=120",
    )  # fmt: skip
    assert explain(server, ROW)[0] == 200  # its process has begun
    connection = http.client.HTTPConnection("127.0.0.1", server.http, timeout=120)
    connection.request("POST", PATH, json.dumps({"instances": [ROW] * 500}))
    eventually(lambda: server.metric("edgeline_explanations_waiting") == 1)
    yield server, connection
    connection.close()


def test_others_are_refused_meanwhile_and_predictions_are_not(busy):
    server, connection = busy
    status, answer, headers = server.ask("POST", PATH, {"instances": [ROW]})
    assert (status, headers["retry-after"]) == (429, "1")
    assert answer["error"] == ("1 requests for explanations run or wait already: ask again later.")
    assert explain(server, ROW, path="/v1/models/m:predict")[0] == 200
    (child,) = children(server)
    niceness = os.getpriority(os.PRIO_PROCESS, child)
    assert niceness == min(19, os.getpriority(os.PRIO_PROCESS, server.process.pid) + 10)
    connection.close()  # nobody waits: the process stops, and works for the next one
    eventually(lambda: server.metric("edgeline_explanations_waiting") == 0)
    cancelled = 'edgeline_explanations_total{model="m",version="1",code="CANCELLED"}'
    assert server.metric(cancelled) == 1
    for _ in range(5):  # whether the process has read the request by then or not
        connection.request("POST", PATH, json.dumps({"instances": [ROW] * 500}))
        eventually(lambda: server.metric("edgeline_explanations_waiting") == 1)
        connection.close()
        eventually(lambda: server.metric("edgeline_explanations_waiting") == 0)
    assert server.metric(cancelled) == 6
    assert children(server) == [child]
    assert explain(server, ROW)[0] == 200


def test_a_process_that_is_killed_is_told_and_begun_again(busy):
    server, connection = busy
    (child,) = children(server)
    os.kill(child, signal.SIGKILL)
    answer = connection.getresponse()
    assert answer.status == 503
    assert "perhaps for want of memory" in json.loads(answer.read())["error"]
    assert explain(server, ROW)[0] == 200
    assert child not in children(server)


def test_the_server_ends_its_process_with_itself(busy):
    server, _ = busy
    (child,) = children(server)
    server.process.kill()
    server.process.wait()
    eventually(lambda: not Path(f"/proc/{child}").exists() or _is_zombie(child))


def _is_zombie(process: int) -> bool:
    return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
