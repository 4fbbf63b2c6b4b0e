"""How good a served version still is: estimated from its scores, measured by labels of later."""

from __future__ import annotations

import dataclasses
import gzip
import hashlib
import io
import json
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from running import DATA, Running, eventually
from test_page import browse

from edgeline import artifacts
from edgeline.artifacts import bundle, calibration, reference
from edgeline.artifacts.features import Feature
from edgeline.runtimes.interpreter import load
from edgeline.server.models import loading
from edgeline.server.settings import ServerSettings
from edgeline.server.watching import labelling, tracing
from edgeline.server.watching.decay import Sampled, watched
from edgeline.server.watching.drift_watch import Watching
from edgeline.server.watching.events import EVENTS
from edgeline.stores.objects import ObjectEntry

pytestmark = pytest.mark.slow

FIELDS = {each.type: each.data.keys() for each in EVENTS}
LINE = DATA / "line.tflite"  # prediction = 2 x + 1: a client chooses the score
OFTEN = ("--poll", "0", "--drift-rate", "100000", "--drift-judge", "0.1")


def scores(random: np.random.Generator, rows: int) -> np.ndarray:
    return random.beta(0.6, 0.9, rows)


def published(folder: Path, task: str = "binary_classification", calibrated: bool = True) -> Path:
    """A bundle of `line` whose labels are yes with the probability score ** 2."""
    folder.mkdir()
    (folder / "model.tflite").write_bytes(LINE.read_bytes())
    model, random = load(folder / "model.tflite"), np.random.default_rng(1)
    given = scores(random, 8000)
    x = ((given - 1) / 2).astype("f4")[:, None]
    met = reference.Builder()
    met.add({"x": x}, model({"x": x}))
    (folder / reference.FILE).write_bytes(reference.dumps(met.result()))
    if calibrated:
        truth = random.random(len(given)) < given**2
        rows = calibration.CalibrationRows(task, len(given))
        rows.add(given[:, None], truth.astype(float))
        right = float(((given > 0.5) == truth).mean())
        found = rows.result({"accuracy": right, "auc": 0.85})
        (folder / calibration.FILE).write_bytes(calibration.dumps(found))
    made = bundle.Bundle(
        name="line", version=1, target="litert", model="model.tflite", task=task,
        quantisation="float", takes="raw", signature=model.signature,
        features=(Feature("x", "float32"),), files=artifacts.list_files(folder),
        verification={"metrics": {"mean_squared_error": {"cloud": 0.01, "edge": 0.01}}},
    )  # fmt: skip
    bundle.write_manifest(folder, made)
    return folder


@pytest.fixture(scope="module")
def binary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return published(tmp_path_factory.mktemp("bundle") / "line")


def predict(server: Running, given: np.ndarray, identity: str = "") -> None:
    rows = [[(score - 1) / 2] for score in given.tolist()]
    headers = {"X-Request-Id": identity} if identity else {}
    status, answer, _ = server.ask("POST", "/v1/models/line:predict", {"instances": rows}, headers)
    assert status == 200, answer


def label(server: Running, *lines: dict) -> dict:
    body = b"\n".join(json.dumps(line).encode() for line in lines)
    status, answer, _ = server.ask("POST", "/labels/line", body)
    assert status == 200, answer
    return answer


def report(server: Running) -> dict:
    status, found, _ = server.ask("GET", "/decay/line")
    assert status == 200
    return found["models"][0]


def test_a_covariate_shift_moves_the_estimate_and_labels_agree(start, binary, receiver):
    server = start(binary, *OFTEN, "--webhook", receiver.url, "--decay-slices", "x")
    random = np.random.default_rng(2)
    usual = report(server)["usual"]["accuracy"]
    for number in range(4):  # hard rows alone
        given = random.uniform(0.4, 0.9, 500)
        predict(server, given, f"r{number}")
        truth = random.random(500) < given**2
        results = label(server, {"id": f"r{number}", "label": truth.astype(int).tolist()})
        assert (results["joined"], results["unknown"]) == (500, 0)
    found = report(server)
    wanted = found["measured"]["metrics"]["accuracy"]
    assert abs(found["estimated"]["metrics"]["accuracy"]["value"] - wanted["value"]) < 0.04
    assert wanted["low"] < wanted["value"] < wanted["high"] < usual - 0.05
    assert (
        "accuracy" in found["estimated"]["decayed"] and "accuracy" in found["measured"]["decayed"]
    )
    assert found["concept"]["drifting"] is False
    assert sum(each["rows"] for each in found["measured"]["slices"]) == 2000
    confusion = found["estimated"]["expected_confusion"]
    assert abs(sum(confusion.values()) - 2000) < 0.1
    kinds = {"io.edgeline.decay.estimated", "io.edgeline.decay.measured"}
    eventually(lambda: kinds <= {each["type"] for each in receiver.events})
    for event in receiver.events:
        assert event["data"].keys() == FIELDS[event["type"]]
        assert event["type"] != "io.edgeline.decay.concept"
    line = 'edgeline_decay_measured{model="line",version="1",metric="accuracy",bound="value"}'
    eventually(lambda: server.metric(line) == pytest.approx(wanted["value"], abs=1e-3))
    assert server.metric('edgeline_decay_decayed{model="line",version="1",kind="estimated"') >= 1
    assert server.metric('edgeline_labels_total{result="joined"}') == 2000


def test_labels_that_come_about_otherwise_are_told_within_500_rows(
    start, binary, receiver, tmp_path
):
    server = start(binary, *OFTEN, "--webhook", receiver.url)
    random = np.random.default_rng(3)
    given = scores(random, 1500)
    predict(server, given, "all")
    truth = random.random(1500) < given**2
    truth[1000:] ^= random.random(500) < 0.35
    lines = [{"id": "all", "row": n, "label": bool(each)} for n, each in enumerate(truth)]
    label(server, *lines[:1000])
    assert report(server)["concept"]["drifting"] is False
    label(server, *lines[1000:])
    concept = report(server)["concept"]
    assert concept["drifting"] is True
    assert 1000 < concept["alarm_at_row"] <= 1500
    assert report(server)["estimated"]["decayed"] == []  # the inputs are as they were
    wanted = "io.edgeline.decay.concept"
    eventually(lambda: wanted in {each["type"] for each in receiver.events})
    (event,) = (each for each in receiver.events if each["type"] == wanted)
    assert event["data"].keys() == FIELDS[wanted]
    assert event["data"]["drifting"] is True
    line = 'edgeline_decay_concept_drift{model="line",version="1"}'
    eventually(lambda: server.metric(line) == 1)
    shown = browse(server, tmp_path / "profile")
    assert ">labels come about otherwise<" in shown
    measured = report(server)["measured"]["metrics"]["accuracy"]["value"]
    assert f"{measured:.3f} (" in shown


def test_labels_without_an_answer_are_counted_and_bad_ones_refused_by_line(start, binary):
    server = start(binary, *OFTEN, "--label-memory", "3200")  # 100 rows
    predict(server, np.full(60, 0.7), "first")
    predict(server, np.full(60, 0.7), "second")
    predict(server, np.full(5, 0.7))  # nobody can name it
    found = label(
        server,
        {"id": "second", "label": [1] * 60},
        {"id": "second", "row": 3, "label": 0},
        {"id": "first", "row": 2, "label": 1},
        {"id": "third", "label": 1},
        {"id": "second", "label": 2},
        {"id": 7, "label": 1},
        {"id": "x", "label": "dog"},
        {"id": "x", "label": 1, "extra": 1},
        {"id": "x", "label": 10**400},
        {"id": "\ud800", "label": [1, None]},
        {"id": "x", "label": 1, "model": "other"},
    )
    counts = {name: found[name] for name in ("joined", "repeated", "unknown", "refused")}
    assert counts == {"joined": 60, "repeated": 1, "unknown": 2, "refused": 7}
    assert found["problems"][0] == "Line 5: the label 2 is neither 0 nor 1"
    answers = report(server)["answers"]
    assert answers == {
        "waiting": 40, "most": 100, "bytes": 3200, "unnamed": 5,
        "lost": {"evicted": 20, "expired": 0},
    }  # fmt: skip
    line = 'edgeline_answers_lost_total{model="line",version="1",reason="evicted"}'
    eventually(lambda: server.metric(line) == 20)
    for body, said in (
        (b"{not json}\n", "Line 1: it is not JSON"),
        (b"[1]\n", "Line 1: it is not a JSON object"),
        (b"x" * (5 << 20), "in parts"),
    ):
        status, answer, _ = server.ask("POST", "/labels/line", body)
        assert status in (400, 413)
        assert said in answer["error"]
    bomb = gzip.compress(b'{"id": "x", "label": 1}\n' * 400_000)
    status, _, _ = server.ask("POST", "/labels/line", bomb, {"Content-Encoding": "gzip"})
    assert status == 413
    assert server.ask("POST", "/labels/none", b"{}")[0] == 404


def test_answers_wait_over_a_restart_and_labels_come_in_files(start, binary, tmp_path):
    state, place = tmp_path / "state", tmp_path / "labels"
    place.mkdir()
    options = (*OFTEN, "--state", str(state), "--labels", str(place), "--label-poll", "0.2")
    server = start(binary, *options)
    predict(server, np.full(3, 0.8), "trip")
    server.stop()
    server = start(binary, *options)
    assert report(server)["answers"]["waiting"] == 3
    with gzip.open(place / "day.jsonl.gz", "wt") as stream:
        stream.write('{"id": "trip", "label": [1, 1, 0]}\n{"id": "gone", "label": 1}\n')
    eventually(lambda: server.metric('edgeline_labels_total{result="joined"}') == 3)
    assert server.metric('edgeline_labels_total{result="unknown"}') == 1
    (place / "bad.jsonl.gz").write_bytes(b"not gzip")
    eventually(lambda: server.metric('edgeline_label_files_total{result="failed"}') >= 1)
    assert report(server)["measured"]["rows"] == 3
    server.stop()
    server = start(binary, *options)  # reads the file again, which changes nothing
    eventually(lambda: server.metric('edgeline_labels_total{result="repeated"}') == 3)
    assert report(server)["measured"]["rows"] == 3


def test_a_regression_is_measured_and_not_estimated(start, tmp_path):
    server = start(published(tmp_path / "line", "regression", calibrated=False), *OFTEN)
    random = np.random.default_rng(4)
    given = scores(random, 600)
    predict(server, given, "all")
    truth = given + random.normal(0, 0.3, 600)
    label(server, {"id": "all", "label": truth.tolist()})
    found = report(server)
    assert "no score" in found["estimated"]["not_estimated"]
    error = found["measured"]["metrics"]["root_mean_squared_error"]
    assert error["value"] == pytest.approx(np.sqrt(np.mean((given - truth) ** 2)), abs=1e-4)
    assert found["usual"] == {"root_mean_squared_error": 0.1}
    assert found["measured"]["decayed"] == ["root_mean_squared_error"]
    assert found["measured"]["metrics"].keys() == {"mean_absolute_error", "root_mean_squared_error"}


def test_a_bundle_without_calibration_is_measured_and_says_what_is_not_estimated(start, tmp_path):
    server = start(published(tmp_path / "line", calibrated=False), *OFTEN)
    predict(server, np.full(3, 0.8), "trip")
    assert label(server, {"id": "trip", "label": [1, 1, 0]})["joined"] == 3
    found = report(server)
    assert "no calibration" in found["estimated"]["not_estimated"]
    assert found["measured"]["metrics"]["accuracy"]["value"] == pytest.approx(2 / 3, abs=1e-5)
    assert "not_told" in found["concept"]


def test_labels_have_a_scope_of_their_own(start, binary, tmp_path):
    tokens = tmp_path / "tokens.json"
    entries = [
        {"sha256": hashlib.sha256(scope.encode()).hexdigest(), "scopes": [scope]}
        for scope in ("labels", "predict", "read", "admin")
    ]
    tokens.write_text(json.dumps({"tokens": entries}))
    server = start(binary, *OFTEN, "--tokens", str(tokens))

    def status(scope: str, method: str = "POST", path: str = "/labels/line") -> int:
        body = b'{"id": "x", "label": 1}' if method == "POST" else None
        return server.ask(method, path, body, {"Authorization": f"Bearer {scope}"})[0]

    assert [status(each) for each in ("labels", "admin", "predict", "read")] == [200, 200, 403, 403]
    assert status("read", "GET", "/decay") == 200
    assert status("labels", "GET", "/decay") == 403


@pytest.mark.parametrize(
    "options, said",
    [
        (("--labels", "/nowhere/labels"), "does not exist"),
        (("--labels", "ftp://host/labels"), "--labels is ftp://host/labels"),
        (("--label-poll", "5"), "--label-poll is for --labels"),
    ],
)
def test_what_cannot_be_meant_is_refused_at_the_start(binary, options, said):
    with pytest.raises(RuntimeError) as refused:
        Running(binary, *options)
    assert said in str(refused.value)


def test_labels_come_from_a_bucket(binary, monkeypatch):
    """Of which a store's client gives the listing and a stream, whatever store it is."""
    content = {
        "day/1.jsonl": b'{"id": "a", "label": 1}\n{"id": "b", "label": 0}\n',
        "day/2.jsonl.gz": gzip.compress(b'{"id": "c", "label": 1, "model": "line"}\n'),
        "day/readme.txt": b"not labels",
    }

    class Held:
        def below(self, folder: str) -> list[ObjectEntry]:
            assert folder == "day/"
            return [ObjectEntry(key, datetime(2026, 1, 1)) for key in content]

        def stream(self, key: str) -> io.BytesIO:
            return io.BytesIO(content[key])

    monkeypatch.setattr(labelling, "_bucket", lambda _: Held())
    monkeypatch.setattr(labelling.Labelling, "_run", lambda _: None)
    instance = loading.load(binary, "line", 1, 1, 1)[0]
    settings = ServerSettings(labels="s3://held/day", drift_rate=10**6)
    watching = Watching(settings, lambda: [("line", 1, 0)], lambda *_: None)
    decay = watched(instance.description, settings)
    observe = watching.observer("line", 1, instance.description.reference, decay)
    rows = {"x": np.zeros((1, 1), "f4")}
    for identity in ("a", "b"):
        asked(observe, instance, rows, identity)
    made = labelling.Labelling(settings, watching, lambda: ["line"])
    assert made.look().counts == {"joined": 2, "unknown": 1}
    assert made.look().counts == {}  # nothing is new
    assert made.files["read"] == 2
    watching.close()


def test_the_version_before_goes_on_waiting(binary):
    settings = ServerSettings(drift_rate=10**6)
    serving = [("line", 1, 0)]
    watching = Watching(settings, lambda: serving, lambda *_: None)
    instance = loading.load(binary, "line", 1, 1, 1)[0]
    rows = {"x": np.zeros((1, 1), "f4")}
    for version in (1, 2, 3):
        described = dataclasses.replace(instance.description, version=version)
        serving[:] = [("line", version, 0)]
        observe = watching.observer(
            "line", version, described.reference, watched(described, settings)
        )
        asked(observe, instance, rows, f"of-{version}")
        told = watching.decay_reports()
    assert [(each["version"], each["served"]) for each in told] == [(2, False), (3, True)]
    made = labelling.Labelling(settings, watching, lambda: ["line"])
    lines = [b'{"id": "of-%d", "label": 1}' % version for version in (1, 2, 3)]
    assert +made.join(lines).counts == {"unknown": 1, "joined": 2}
    assert watching.forgotten == 1
    watching.close()


def test_classes_are_told_by_their_largest_score_as_the_model_stores_it(binary):
    """An int8 model of four classes, whose labels come by name."""
    random = np.random.default_rng(6)
    scores = random.dirichlet(np.full(4, 0.5), 3000)
    stored = np.clip(np.round(scores * 256) - 128, -128, 127).astype("i1")
    real = (stored.astype("f4") + 128) / 256
    right = random.random(3000) < 0.7 * real.max(axis=1)
    truth = np.where(right, real.argmax(axis=1), (real.argmax(axis=1) + 1) % 4)
    held = calibration.CalibrationRows(calibration.MULTICLASS, 1500)
    held.add(real[:1500], truth[:1500])
    instance = loading.load(binary, "line", 1, 1, 1)[0]
    output = bundle.Tensor("prediction", "int8", (-1, 4), 1 / 256, -128)
    description = dataclasses.replace(
        instance.description,
        bundle=dataclasses.replace(instance.description.bundle, task=calibration.MULTICLASS),
        signature=dataclasses.replace(instance.description.signature, outputs=(output,)),
        calibration=held.result({"accuracy": float(right[:1500].mean())}),
        labels=("a", "b", "c", "d"),
    )
    decay = watched(description, ServerSettings())
    given = {"x": np.zeros((1500, 1), "f4")}
    tally = decay.take([Sampled(given, {"prediction": stored[1500:]}, "all")])
    names = [description.labels[each] for each in truth[1500:]]
    line = decay.reader.read({"id": "all", "label": names})
    joined, _ = decay.join(np.array(line.keys, "u8"), np.array(line.truth))
    found = decay.report(tally, 0.0)
    assert joined == found["estimated"]["rows"] == 1500
    measured = found["measured"]["metrics"]["accuracy"]
    assert measured["value"] == pytest.approx(right[1500:].mean(), abs=1e-6)
    assert abs(found["estimated"]["metrics"]["accuracy"]["value"] - measured["value"]) < 0.04
    assert "auc" not in found["estimated"]["metrics"]
    assert found["concept"]["drifting"] is False


def asked(observe, instance, rows: dict[str, np.ndarray], identity: str) -> None:
    """A prediction of a request that names itself, as a worker observes it."""
    request = SimpleNamespace(headers={b"x-request-id": identity.encode()}, served=None)
    tracing.around(lambda each: observe(rows, each.run(rows)), request)(instance)
