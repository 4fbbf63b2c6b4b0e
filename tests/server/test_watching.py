"""A served bundle with a reference: /drift, metrics, the alert webhook, payloads and logs."""

from __future__ import annotations

import gzip
import hashlib
import hmac
import io
import json
from pathlib import Path

import numpy as np
import pytest
from running import MIXED, eventually

from edgeline import artifacts
from edgeline.artifacts import bundle, reference
from edgeline.artifacts.bundle import Signature
from edgeline.artifacts.features import Feature
from edgeline.monitoring import cloud_events
from edgeline.monitoring.events import EVENTS
from edgeline.runtimes.interpreter import load
from edgeline.server.models.model import Description
from edgeline.server.settings import ServerSettings
from edgeline.server.watching import delivery
from edgeline.server.watching.payloads import Payloads

pytestmark = pytest.mark.slow

FIELDS = {each.type: each.data.keys() for each in EVENTS}
RNG = np.random.default_rng(5)
COMPANIES = ["Blue Cab", "Red Cab", "Sun Taxi"]
ROWS = 2000


def trips(rows: int, fare: float = 1.0, company: str = "") -> dict[str, np.ndarray]:
    """Inputs of `mixed`: amount [rows, 2], count [rows, 1] and name [rows, 1]."""
    names = [company or value for value in RNG.choice(COMPANIES, rows)]
    array = np.empty((rows, 1), object)
    array[:, 0] = [name.encode() for name in names]
    return {
        "amount": (fare * RNG.gamma(2, 6, (rows, 2))).astype("f4"),
        "count": RNG.integers(0, 5, (rows, 1)),
        "name": array,
    }


def columns(arrays: dict[str, np.ndarray]) -> dict:
    """A v1 request of columns."""
    return {
        "inputs": {
            name: [[v.decode() if isinstance(v, bytes) else v for v in row] for row in a.tolist()]
            for name, a in arrays.items()
        }
    }


@pytest.fixture(scope="module")
def taxi(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of `mixed` as publish writes it, with a reference of 4,000 rows."""
    folder = tmp_path_factory.mktemp("bundle")
    (folder / "model.tflite").write_bytes(MIXED.read_bytes())
    model = load(folder / "model.tflite")
    met = reference.Builder()
    given = trips(4000)
    met.add(given, model(given))
    (folder / reference.FILE).write_bytes(reference.dumps(met.result()))
    made = bundle.Bundle(
        name="taxi", version=3, target="litert", model="model.tflite", task="regression",
        quantisation="float", takes="raw", signature=model.signature,
        features=(Feature("amount", "float32", (2,)), Feature("count", "int64"),
                  Feature("name", "string")),
        files=artifacts.list_files(folder),
    )  # fmt: skip
    bundle.write_manifest(folder, made)
    return folder


def drifting(server) -> list[str]:
    return server.ask("GET", "/drift/taxi")[1]["models"][0]["drifting"]


def test_like_training_is_no_drift_and_a_shift_is_named(start, taxi):
    server = start(taxi, "--poll", "0", "--drift-rate", "1000")
    report = server.ask("GET", "/drift")[1]
    assert report["drifting"] is False
    assert report["models"][0]["rows"] == 0
    for _ in range(4):
        assert server.ask("POST", "/v1/models/taxi:predict", columns(trips(500)))[0] == 200
    report = server.ask("GET", "/drift")[1]
    (model,) = report["models"]
    assert (report["drifting"], model["model"], model["version"]) == (False, "taxi", 3)
    assert model["rows"] == ROWS
    assert {"amount.mean", "amount.deviation", "count", "name"} == set(model["inputs"])
    assert set(model["outputs"]) == {"score", "next", "echo"}
    for _ in range(8):
        server.ask("POST", "/v1/models/taxi:predict", columns(trips(500, 2.0, "New Cab")))
    assert set(drifting(server)) >= {"amount.mean", "name", "score", "echo"}
    model = server.ask("GET", "/drift/taxi")[1]["models"][0]
    assert "count" not in model["drifting"]
    assert model["inputs"]["name"]["unseen_values"] == ["New Cab"]
    assert "unseen" in model["inputs"]["name"]["drifting"]
    shares = model["inputs"]["name"]["histogram"]
    assert shares["reference"][-1] < 0.1 < shares["live"][-1]  # of all other values
    assert (
        server.metric(
            'edgeline_drift_psi{model="taxi",version="3",side="inputs",column="amount.mean"}'
        )
        > 0.2
    )
    assert server.metric('edgeline_drift_drifting{model="taxi"') >= 4


def test_rows_beyond_the_rate_are_not_looked_at(start, taxi):
    server = start(taxi, "--poll", "0", "--drift-rate", "20")
    for _ in range(3):
        server.ask("POST", "/v1/models/taxi:predict", columns(trips(500)))
    rows = server.ask("GET", "/drift")[1]["models"][0]["rows"]
    assert 150 <= rows <= 300  # ten seconds' worth, and what came since
    server = start(taxi, "--poll", "0", "--drift-rate", "0")
    server.ask("POST", "/v1/models/taxi:predict", columns(trips(5)))
    assert server.ask("GET", "/drift")[1] == {
        "drifting": False,
        "models": [],
        "unwatched": ["taxi"],
    }


def test_drift_is_told_to_a_webhook_signed_and_again(start, taxi, receiver, tmp_path):
    key = tmp_path / "key"
    key.write_text("topsecret\n")
    server = start(
        taxi, "--poll", "0", "--webhook", receiver.url, "--webhook-key", str(key),
        "--drift-judge", "0.2",
    )  # fmt: skip
    for _ in range(2):
        server.ask("POST", "/v1/models/taxi:predict", columns(trips(500, 3.0, "New Cab")))
    eventually(lambda: receiver.events)
    event = receiver.events[0]
    assert event["specversion"] == "1.0"
    assert event["type"] == "io.edgeline.drift.detected"
    assert event["source"].endswith("/models/taxi/versions/3")
    assert event["data"].keys() == FIELDS[event["type"]]
    assert "amount.mean" in event["data"]["drifting"]
    assert event["data"]["columns"]["name"]["unseen_values"] == ["New Cab"]
    wanted = hmac.new(b"topsecret", receiver.bodies[0], hashlib.sha256).hexdigest()
    assert receiver.headers[0]["x-hub-signature-256"] == "sha256=" + wanted
    assert receiver.headers[0]["content-type"] == "application/cloudevents+json"
    eventually(lambda: server.metric('edgeline_events_total{to="webhook",result="sent"}') == 1)
    _, log = server.stop()
    assert "drifts in" in log
    for secret in ("topsecret", "s3cr3t"):
        assert secret not in log


def test_a_receiver_that_is_gone_costs_nothing_but_events(monkeypatch):
    monkeypatch.setattr(delivery, "LIMIT", 5)
    monkeypatch.setattr(cloud_events, "FIRST_PAUSE", 0.01)
    made = delivery.Delivery("webhook", "http://127.0.0.1:9/")
    for number in range(50):
        made.put(cloud_events.event("x", "/models/m", {"number": number}))
    made.close(0.5)
    assert made.results["sent"] == 0
    assert made.results["dropped"] + made.results["failed"] >= 44
    assert made.put({}) is False


def read_rows(folder: Path) -> list[dict]:
    found = []
    for file in sorted(folder.glob("taxi/3/*.jsonl.gz")):
        found += map(json.loads, gzip.decompress(file.read_bytes()).splitlines())
    return found


def test_payloads_are_written_as_rows_without_what_is_redacted(start, taxi, tmp_path):
    folder = tmp_path / "payloads"
    server = start(
        taxi, "--poll", "0", "--payloads", str(folder), "--payload-rate", "1",
        "--payload-redact", "name, echo", "--payload-size", "2000",
    )  # fmt: skip
    amounts = []
    for number in range(20):
        given = trips(2)
        if number == 7:
            given["amount"][0, 0] = np.nan
            given["count"][1] = -(2**63)
        body = columns(given)
        if number == 7:
            body["inputs"]["amount"][0][0] = body["inputs"]["count"][1][0] = None
        amounts += body["inputs"]["amount"]
        headers = {"X-Request-Id": f"trip-{number}"}
        assert server.ask("POST", "/v1/models/taxi:predict", body, headers)[0] == 200
    given = {"id": "by-body", "inputs": [
        {"name": "amount", "shape": [1, 2], "datatype": "FP32", "data": [1, 2]},
        {"name": "count", "shape": [1, 1], "datatype": "INT64", "data": [5]},
        {"name": "name", "shape": [1, 1], "datatype": "BYTES", "data": ["secret"]}]}  # fmt: skip
    server.ask("POST", "/v2/models/taxi/infer", given)
    server.stop()
    found = read_rows(folder)
    assert [row["amount"] for row in found[:-1]] == amounts
    assert found[0].keys() == {
        "amount", "count", "predicted_score", "predicted_next", "edgeline_id", "edgeline_time",
        "edgeline_model", "edgeline_version", "edgeline_row",
    }  # fmt: skip
    assert found[0]["edgeline_id"] == "trip-0"
    assert found[15]["count"] is None
    assert (found[-1]["edgeline_id"], found[-1]["predicted_score"]) == ("by-body", 11.0)
    assert len(list(folder.glob("taxi/3/*"))) > 1  # turned over by size
    assert not list(folder.glob("**/*.partial"))


def test_payloads_as_events_of_kserves_types(start, taxi, receiver):
    server = start(
        taxi, "--poll", "0", "--payloads", receiver.url, "--payload-rate", "1",
        "--payload-redact", "name",
    )  # fmt: skip
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    server.ask("POST", "/v1/models/taxi:predict", columns(trips(2)), {"traceparent": trace})
    server.stop()  # brings out what waits
    request, response = receiver.events
    assert request["type"] == "org.kubeflow.serving.inference.request"
    assert all(each["data"].keys() == FIELDS[each["type"]] for each in (request, response))
    assert response["type"] == "org.kubeflow.serving.inference.response"
    assert request["id"] == response["id"] == "4bf92f3577b34da6a3ce929d0e0e4736"
    assert request["inferenceservicename"] == "taxi"
    assert [tensor["name"] for tensor in request["data"]["inputs"]] == ["amount", "count"]
    assert request["data"]["inputs"][0]["datatype"] == "FP32"
    assert len(response["data"]["outputs"]) == 3


def test_a_kill_loses_no_whole_line_that_was_flushed(start, taxi, tmp_path):
    folder = tmp_path / "payloads"
    options = ("--poll", "0", "--payloads", str(folder), "--payload-rate", "1")
    server = start(taxi, *options)
    server.ask("POST", "/v1/models/taxi:predict", columns(trips(3)))
    eventually(lambda: any(f.stat().st_size for f in folder.glob("taxi/3/*.partial")))
    server.process.kill()
    server.process.wait()
    start(taxi, *options)
    assert len(read_rows(folder)) == 3


def test_a_full_disk_costs_payloads_and_nothing_else(tmp_path, monkeypatch):
    folder = tmp_path / "payloads"
    made = Payloads(ServerSettings(payloads=str(folder), payload_rate=1.0))
    monkeypatch.setattr("builtins.open", lambda *_: io.FileIO("/dev/full", "wb"))
    observe = made.observer(Description("taxi", 3, Signature((), ())))
    for _ in range(3):
        observe(trips(2), {"score": np.zeros(2, "f4")})
    eventually(lambda: made.results["failed"] == 3)
    assert "".join(made.lines()).endswith('{result="dropped"} 0')
    made.close(1.0)


def test_logs_are_json_with_ids_and_no_secret(start, taxi, tmp_path):
    tokens = tmp_path / "tokens.json"
    digest = hashlib.sha256(b"camera-token").hexdigest()
    tokens.write_text(
        json.dumps({"tokens": [{"name": "c", "sha256": digest, "scopes": ["predict"]}]})
    )
    server = start(taxi, "--poll", "0", "--access-log", "1", "--tokens", str(tokens))
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    headers = {"Authorization": "Bearer camera-token", "X-Request-Id": "r1", "traceparent": trace}
    server.ask("POST", "/v1/models/taxi:predict?key=camera-token", columns(trips(1)), headers)
    server.ask("POST", "/v1/models/none:predict", b"{}", headers)
    server.ask("POST", "/v1/models/taxi:predict", b"{}", {"Authorization": "Bearer wrong-token"})
    _, log = server.stop()
    lines = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
    assert any(line.get("message", "").startswith("taxi 3 is served") for line in lines)
    first, second, third = (line for line in lines if line.get("event") == "request")
    assert (first["status"], first["model"], first["version"]) == (200, "taxi", 3)
    assert (first["id"], first["trace"], first["method"]) == ("r1", trace, "POST")
    assert first["path"] == "/v1/models/taxi:predict"
    assert 0 < first["ms"] < 10_000
    assert second["status"] == 404
    assert third["status"] == 401
    assert "camera-token" not in log
    assert "wrong-token" not in log


def test_text_logs_for_people(start, taxi):
    server = start(taxi, "--poll", "0", "--log", "text", "--access-log", "1")
    server.ask("GET", "/v2/health/live")
    _, log = server.stop()
    assert "INFO taxi 3 is served" in log
    assert "path=/v2/health/live status=200" in log
