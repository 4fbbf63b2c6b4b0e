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
from brokers import Mosquitto, Subscriber
from running import DATA, Running, eventually
from test_page import browse

from edgeline import artifacts
from edgeline.artifacts import bundle, calibration, reference
from edgeline.artifacts.features import Feature
from edgeline.errors import EdgelineError
from edgeline.monitoring import line_files
from edgeline.monitoring.decay import Decay, Sampled
from edgeline.monitoring.events import EVENTS
from edgeline.monitoring.labels import LabelReader, read_line
from edgeline.runtimes.interpreter import load
from edgeline.server.models import loading
from edgeline.server.settings import ServerSettings
from edgeline.server.watching import labelling, tracing
from edgeline.server.watching.decays import watched
from edgeline.server.watching.watched_models import Watching
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
    server = start(binary, *OFTEN)
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
    assert counts == {"joined": 61, "repeated": 1, "unknown": 1, "refused": 7}
    assert found["problems"][0] == "Line 5: the label 2 is neither 0 nor 1"
    answers = report(server)["answers"]
    assert answers == {
        "waiting": 59, "most": 32768, "bytes": 3840, "unnamed": 5,
        "kept_share": 1.0, "least_share": 1.0, "lost": {"thinned": 0, "expired": 0},
    }  # fmt: skip
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


def test_answers_that_do_not_fit_are_thinned_and_their_labels_are_told_so(start, binary, tmp_path):
    server = start(binary, *OFTEN, "--label-memory", "3200")  # 100 rows
    predict(server, np.full(4000, 0.7), "all")
    found = label(server, {"id": "all", "label": [1] * 4000})
    assert 20 <= found["joined"] <= 100
    assert found["joined"] + found["thinned"] == 4000
    answers = report(server)["answers"]
    assert answers["least_share"] <= 1 / 32
    assert answers["lost"]["thinned"] == found["thinned"]
    line = 'edgeline_answers_lost_total{model="line",version="1",reason="thinned"}'
    eventually(lambda: server.metric(line) == found["thinned"])
    assert "answers was kept for its label" in browse(server, tmp_path / "profile")


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

    monkeypatch.setattr(line_files, "bucket", lambda _: Held())
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
    line = read_line({"id": "all", "label": names})
    truth = np.array(decay.of.reader.read(line.values))
    joined = decay.join(np.array(line.keys, "u8"), truth)
    found = decay.report(tally, 0.0)
    assert joined.fresh.sum() == found["estimated"]["rows"] == 1500
    measured = found["measured"]["metrics"]["accuracy"]
    assert measured["value"] == pytest.approx(right[1500:].mean(), abs=1e-6)
    assert abs(found["estimated"]["metrics"]["accuracy"]["value"] - measured["value"]) < 0.04
    assert "auc" not in found["estimated"]["metrics"]
    assert found["concept"]["drifting"] is False


def joined(decay: Decay, given: np.ndarray, truth: np.ndarray, identity: str) -> None:
    """Answers of `line`, and their labels."""
    x = ((given - 1) / 2).astype("f4")[:, None]
    decay.take([Sampled({"x": x}, {"prediction": given.astype("f4")[:, None]}, identity)])
    line = read_line({"id": identity, "label": truth.tolist()})
    decay.join(np.array(line.keys, "u8"), np.array(line.values, float))


def test_an_alarm_is_lifted_by_the_last_labelled_rows_however_many_came(binary):
    instance = loading.load(binary, "line", 1, 1, 1)[0]
    decay, random = watched(instance.description, ServerSettings()), np.random.default_rng(7)
    given = scores(random, 3000)
    joined(decay, given, (random.random(3000) < given**2) ^ (random.random(3000) < 0.4), "bad")
    assert decay.report(None, 0.0)["concept"]["drifting"] is True
    given = scores(random, 300)
    joined(decay, given, random.random(300) < given**2, "too few")
    assert decay.report(None, 0.0)["concept"]["drifting"] is True
    for number in range(4):  # nobody looked meanwhile
        given = scores(random, 3000)
        joined(decay, given, random.random(3000) < given**2, f"good-{number}")
    concept = decay.report(None, 0.0)["concept"]
    assert (concept["drifting"], concept["labelled_rows"]) == (False, 0)


@pytest.mark.parametrize(
    "task, classes, size, value, wanted",
    [
        ("multiclass_classification", ("a", "b", "c"), 3, "b", 1),
        ("multiclass_classification", ("a", "b", "c"), 3, 2, 2),
        ("multiclass_classification", ("a", "b", "c"), 3, 3, "the label 3 is not one of 3 classes"),
        ("multiclass_classification", None, 4, -1, "the label -1 is not one of 4 classes"),
        ("multiclass_classification", None, 4, True, "the label True is not a class's number"),
        ("multiclass_classification", ("1", "2", "3"), 3, 2, "send its name as a text"),
        ("multiclass_classification", ("1", "2", "3"), 3, "2", 1),
        ("multiclass_classification", ("0", "1", "2"), 3, 2, 2),  # the name is the place
        ("binary_classification", ("no", "yes"), 1, True, 1),
        ("binary_classification", ("1", "2"), 1, 1, "send its name as a text"),
        ("regression", None, 1, 1e300, "is not a number"),
    ],
)
def test_a_label_is_read_as_a_class_or_refused(task, classes, size, value, wanted):
    reader = LabelReader(task, classes, size)
    if not isinstance(wanted, str):
        assert reader.read([value]) == (wanted,)
        return
    with pytest.raises(EdgelineError) as refused:
        reader.read([value])
    assert wanted in str(refused.value)


def test_each_version_reads_labels_by_its_own_classes(binary):
    """Version 2 has other classes than 1, in another order; one answer is known to both."""
    instance = loading.load(binary, "line", 1, 1, 1)[0]
    output = bundle.Tensor("prediction", "float32", (-1, 3))
    classes = {1: ("blue", "red", "grey"), 2: ("red", "blue", "green")}
    settings, serving = ServerSettings(drift_rate=10**6), [("line", 1, 0), ("line", 2, 0)]
    watching = Watching(settings, lambda: serving, lambda *_: None)
    decays = {}
    for version, names in classes.items():
        made = dataclasses.replace(instance.description.bundle, task=calibration.MULTICLASS)
        signature = dataclasses.replace(instance.description.signature, outputs=(output,))
        described = dataclasses.replace(
            instance.description, version=version, bundle=made, signature=signature,
            calibration=None, labels=names,
        )  # fmt: skip
        decays[version] = decay = watched(described, settings)
        watching.observer("line", version, described.reference, decay)
        for identity in (f"only-{version}", "both"):
            blue = np.eye(3, dtype="f4")[[names.index("blue")]]
            decay.take([Sampled({"x": np.zeros((1, 1), "f4")}, {"prediction": blue}, identity)])
    made = labelling.Labelling(settings, watching, lambda: ["line"])
    lines = [
        b'{"id": "both", "label": "blue"}',
        b'{"id": "only-1", "label": "grey"}',
        b'{"id": "only-1", "label": "green"}',  # which the version that answered does not have
        b'{"id": "only-2", "label": "grey"}',
        b'{"id": "only-2", "label": "blue"}',
        b'{"id": "nobody", "label": "blue"}',
    ]
    found = made.join(lines)
    counts = {"joined": 3, "unknown": 1, "refused": 2}
    assert +found.counts == counts
    assert found.problems == [
        "Line 3: the label 'green' is not a class of the model",
        "Line 4: the label 'grey' is not a class of the model",
    ]
    right = {version: decay.report(None, 0.0)["measured"] for version, decay in decays.items()}
    assert [right[version]["metrics"]["accuracy"]["value"] for version in (1, 2)] == [0.5, 1.0]
    watching.close()


def test_answers_wait_through_a_rollback_and_restarts(binary, tmp_path, caplog):
    """Version 1, then 2, a rollback to 1, a restart with 2 alone, and with 1 again."""
    instance = loading.load(binary, "line", 1, 1, 1)[0]
    rows = {"x": np.zeros((1, 1), "f4")}

    def began(slices: str = "") -> tuple[ServerSettings, list, Watching, labelling.Labelling]:
        settings = ServerSettings(drift_rate=10**6, state=str(tmp_path), decay_slices=slices)
        serving: list[tuple[str, int, int]] = []
        watching = Watching(settings, lambda: serving, lambda *_: None)
        return (
            settings,
            serving,
            watching,
            labelling.Labelling(settings, watching, lambda: ["line"]),
        )

    def serve(server, version: int, *identities: str) -> None:
        settings, serving, watching, _ = server
        described = dataclasses.replace(instance.description, version=version)
        decay = watched(described, settings)
        observe = watching.observer("line", version, described.reference, decay)
        serving[:] = [("line", version, 0)]
        for identity in identities:
            asked(observe, instance, rows, identity)
        watching.decay_reports()

    def waiting(server) -> dict[int, int]:
        reports = server[2].decay_reports()
        return {each["version"]: each["answers"]["waiting"] for each in reports}

    def told(server, *identities: str) -> dict[str, int]:
        lines = [json.dumps({"id": each, "label": 1}).encode() for each in identities]
        return dict(+server[3].join(lines).counts)

    server = began("x")
    serve(server, 1, "a", "b", "c")
    serve(server, 2, "d", "e")
    serve(server, 1, "f")
    assert waiting(server) == {1: 4, 2: 2}
    assert told(server, "a", "d") == {"joined": 2}
    server[2].close()
    server = began("x")
    serve(server, 2)
    assert waiting(server) == {1: 3, 2: 1}
    assert told(server, "b") == {"joined": 1}
    serve(server, 1)  # takes back what was joined meanwhile
    assert waiting(server) == {1: 2, 2: 1}
    assert told(server, "a", "b", "e") == {"repeated": 2, "joined": 1}
    assert server[2].forgotten == 0
    server[2].close()
    server = began("")  # other slices
    serve(server, 1)
    assert waiting(server) == {1: 2}  # nothing of version 2 waits any more
    assert told(server, "c") == {"joined": 1}
    server[2].close()
    server = began("x")
    serve(server, 1)
    found = server[2].decays("line")[-1]
    line = found._kept.labelled(3600.0, 0)
    assert {found.of.slices[0].name(code) for code in line["slices"][:, 0].tolist()} == {
        "(not known)"
    }
    server[2].close()
    other = dataclasses.replace(instance.description.bundle, quantisation="int8")
    described = dataclasses.replace(instance.description, bundle=other)
    decay = watched(described, server[0])
    decay.restore()
    assert decay.waiting == 0
    assert "is of another bundle" in caplog.text


def test_a_version_that_cannot_be_judged_does_not_hide_the_others(binary, monkeypatch, caplog):
    settings = ServerSettings(drift_rate=10**6)
    serving = [("line", 1, 0), ("line", 2, 0)]
    watching = Watching(settings, lambda: serving, lambda *_: None)
    instance = loading.load(binary, "line", 1, 1, 1)[0]
    for version in (1, 2):
        described = dataclasses.replace(instance.description, version=version)
        decay = watched(described, settings)
        watching.observer("line", version, described.reference, decay)
        if version == 1:
            monkeypatch.setattr(decay, "report", lambda *_: [][0])
    assert [each["version"] for each in watching.decay_reports()] == [2]
    assert watching.failing == {("line", 1): "list index out of range"}
    assert "The decay of line 1 cannot be told." in caplog.text
    watching.close()


def asked(observe, instance, rows: dict[str, np.ndarray], identity: str) -> None:
    """A prediction of a request that names itself, as a worker observes it."""
    request = SimpleNamespace(headers={b"x-request-id": identity.encode()}, served=None)
    tracing.around(lambda each: observe(rows, each.run(rows)), request)(instance)


def test_labels_that_found_their_answers_and_decay_go_to_a_broker(start, binary, tmp_path):
    broker = Mosquitto(tmp_path / "broker")
    subscriber = Subscriber(broker)
    url = f"mqtt://127.0.0.1:{broker.port}"
    options = ("--mqtt", url, "--mqtt-login", str(broker.login), "--mqtt-answers", "none")
    server = start(binary, *OFTEN, *options, "--device", "edge-7")
    random = np.random.default_rng(5)
    for number in range(2):
        given = random.uniform(0.4, 0.9, 500)
        predict(server, given, f"r{number}")
        truth = random.random(500) < given**2
        label(server, {"id": f"r{number}", "label": truth.astype(int).tolist(), "model": "line"},
              {"id": "never asked", "label": 1})  # fmt: skip
    label(server, {"id": "r1", "row": 3, "label": 1})  # it came before
    topics = [f"edgeline/edge-7/line/{each}" for each in ("labels", "alerts", "answers")]
    eventually(lambda: len(subscriber.of(topics[0])) == 2 and bool(subscriber.of(topics[1])))
    sent = [each for message in subscriber.of(topics[0]) for each in message["labels"]]
    assert [each["id"] for each in sent] == ["r0", "r1"]
    assert sent[1].keys() == {"id", "label"} and len(sent[1]["label"]) == 500
    assert {each["type"].rpartition(".")[0] for each in subscriber.of(topics[1])} == {
        "io.edgeline.decay", "io.edgeline.drift"
    }  # fmt: skip
    assert topics[2] not in subscriber.messages
    subscriber.close()
    server.stop()
    broker.stop()
