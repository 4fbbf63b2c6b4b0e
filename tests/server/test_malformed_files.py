"""Malformed manifests, references, rows, rollouts and state: a sentence each, never another error.

Each file is a good one in which one value, anywhere, is another, gone or one too many.
"""

from __future__ import annotations

import copy
import json
import logging
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from publishing import bundle
from running import DATA, MIXED, eventually

from edgeline import artifacts
from edgeline.artifacts import bundle as bundles
from edgeline.artifacts import calibration, reference, vectors
from edgeline.errors import EdgelineError
from edgeline.server.models import loading
from edgeline.server.rollouts import declaration
from edgeline.server.rollouts.rollouts import STATE, Rollouts
from edgeline.server.versions import sources
from edgeline.server.versions.verdicts import FILE, Verdicts

LINE = DATA / "line.tflite"
VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.sampled_from([-1, 0, 2**31, 2**63, 10**400, 1.5, float("nan"), float("inf"), 1e308]),
    st.sampled_from(["", "x", "..", "/", "a/../b", "\0", "\n", "\ud800", "é" * 300, "1", "NaN"]),
    st.sampled_from([[], [[]], [None], [1, "a"], {}, {"": {}}, {"a": {"b": []}}, {"\ud800": 1}]),
)
FEW = settings(
    max_examples=120,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)


def places(value: Any, path: tuple = ()) -> list[tuple]:
    """The paths of all that a JSON value holds."""
    found = [path]
    if isinstance(value, dict):
        items = list(value.items())
    else:
        items = list(enumerate(value[:3])) if isinstance(value, list) else []
    for key, part in items:
        found += places(part, (*path, key))
    return found


@st.composite
def mutated(draw: Any, good: Any) -> Any:
    """A JSON value with one or two changes."""
    value = copy.deepcopy(good)
    for _ in range(draw(st.integers(1, 2))):
        path = draw(st.sampled_from(places(value)))
        if not path:
            kind = draw(st.sampled_from(["replace", "add", "add", "add"]))
        else:
            kind = draw(st.sampled_from(["replace", "replace", "remove", "add"]))
        inner = value
        for key in path[:-1]:
            inner = inner[key]
        if kind == "add":
            holder = inner[path[-1]] if path else value
            if isinstance(holder, dict):
                name = draw(st.sampled_from(["more", "", "\ud800", "shape"]))
                holder[name] = copy.deepcopy(draw(VALUES))
            elif isinstance(holder, list):
                holder.append(copy.deepcopy(draw(VALUES)))
        elif not path:
            value = copy.deepcopy(draw(VALUES))
        elif kind == "replace":
            inner[path[-1]] = copy.deepcopy(draw(VALUES))
        else:
            del inner[path[-1]]
    return value


def sentence(call: Any, *arguments: Any) -> None:
    """Whatever comes of it is a value or a sentence of one line that can be printed."""
    try:
        call(*arguments)
    except EdgelineError as error:
        str(error).encode()
        assert "\n" not in str(error)


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """A whole bundle with rows and a reference, and state files, of a real model."""
    root = tmp_path_factory.mktemp("made")
    folder = bundle(root / "bundle", MIXED.read_bytes(), recorded=7)
    builder = reference.Builder()
    rows = np.arange(64, dtype=np.float32).reshape(-1, 1)
    words = np.array([[b"a"], [b"b"]] * 32, object)
    builder.add({"amount": rows, "name": words}, {"score": rows})
    (folder / reference.FILE).write_bytes(reference.dumps(builder.result()))
    with artifacts.writing(root / "artifact", "model/v1") as draft:
        draft.metadata |= {"labels": ["a"], "features": [{"name": "x"}]}
        (draft.path / "weights").write_bytes(b"1")
    return root


@pytest.fixture(scope="module")
def scratch(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("scratch")


def of(file: Path) -> Any:
    return json.loads(file.read_text())


@FEW
@given(data=st.data())
def test_a_manifest(made, scratch, data):
    folder = made / "bundle"
    value = data.draw(mutated(of(folder / bundles.MANIFEST)))
    changed = Path(tempfile.mkdtemp(dir=scratch))
    for file in folder.iterdir():
        shutil.copy(file, changed)
    (changed / bundles.MANIFEST).write_text(json.dumps(value))
    sentence(bundles.read, changed)
    sentence(sources.find, changed)
    sentence(loading.verify, changed, "")
    loading.is_elsewhere(changed)


@FEW
@given(data=st.data())
def test_a_reference(made, scratch, data):
    value = data.draw(mutated(of(made / "bundle" / reference.FILE)))
    file = Path(tempfile.mkdtemp(dir=scratch)) / reference.FILE
    file.write_text(json.dumps(value))
    sentence(reference.read, file)


@FEW
@given(data=st.data())
def test_a_calibration(scratch, data):
    scores = np.arange(64) / 64
    good = calibration.fit(calibration.BINARY, scores, scores > 0.4, {"accuracy": 0.9})
    file = Path(tempfile.mkdtemp(dir=scratch)) / calibration.FILE
    file.write_text(json.dumps(data.draw(mutated(good.to_json()))))
    sentence(calibration.read, file)


@FEW
@given(data=st.data())
def test_recorded_rows(made, scratch, data):
    value = data.draw(mutated(of(made / "bundle" / vectors.FILE)))
    file = Path(tempfile.mkdtemp(dir=scratch)) / vectors.FILE
    file.write_text(json.dumps(value))
    signature = bundles.read_manifest(made / "bundle").signature
    sentence(vectors.read, file, signature)


@FEW
@given(data=st.data())
def test_an_artifact(made, scratch, data):
    folder = Path(tempfile.mkdtemp(dir=scratch)) / "copy"
    shutil.copytree(made / "artifact", folder)
    value = data.draw(mutated(of(folder / artifacts.LISTING)))
    (folder / artifacts.LISTING).write_text(json.dumps(value))
    sentence(artifacts.read, folder, "model/v1")
    artifacts.schema_of(folder)


ROLLOUTS = {"rollouts": [{"model": "m", "weight": 0.5, "seconds": 3, "header": "a: b"}]}


@FEW
@given(value=mutated(ROLLOUTS))
def test_declared_rollouts(scratch, value):
    file = Path(tempfile.mkdtemp(dir=scratch)) / "rollouts.json"
    file.write_text(json.dumps(value))
    sentence(declaration.read, file)


@pytest.fixture
def quiet():
    """Some hundred damaged files need not all stand in the log."""
    log = logging.getLogger("edgeline.server")
    level = log.level
    log.setLevel(logging.CRITICAL)
    yield
    log.setLevel(level)


KEPT = {"stable": {"m": 1}, "returned": {"m": [2, 3]}, "rollouts": ROLLOUTS["rollouts"]}
RECORD = {"name": "m", "version": 1, "state": "bad", "starts": 3, "reason": "r", "blamed": True}


@pytest.mark.usefixtures("quiet")
@FEW
@given(kept=mutated(KEPT), records=mutated({"0" * 64: RECORD}), labels=mutated({"stable": 1}))
def test_state(scratch, kept, records, labels):
    """A damaged file of the server's own is said in the log, and forgotten."""
    state = Path(tempfile.mkdtemp(dir=scratch))
    for name, value in ((STATE, kept), (FILE, records)):
        (state / name).write_text(json.dumps(value))
    declared, verdicts = Rollouts({}, state), Verdicts(state, "")
    source = sources.VersionSource("m", 1, MIXED, (), "0" * 64)
    for asked in (verdicts.fault, verdicts.begin, verdicts.proven, verdicts.blamed, verdicts.tried):
        asked(source)
    verdicts.end()
    declared.describe()
    declared.allowed("m", [1, 2])
    (state / "m").mkdir()
    (state / "m" / sources.LABELS).write_text(json.dumps(labels))
    for version in sources.labels(state, "m").values():
        assert isinstance(version, int)


def test_a_state_that_nobody_knows(tmp_path, caplog):
    (tmp_path / FILE).write_text(json.dumps({"0" * 64: {**RECORD, "state": "dead"}}))
    assert Verdicts(tmp_path, "").bad() == {}
    assert "'dead', not trial or proven or bad" in caplog.text


@pytest.mark.parametrize(
    "text", ["", "[" * 100_000, "\xff", "1" * 5000, '{"a": 1', "null", '"\\ud800"', "1e999"]
)
def test_what_is_hardly_json(made, tmp_path, text):
    signature = bundles.read_manifest(made / "bundle").signature
    for name in (bundles.MANIFEST, artifacts.LISTING, STATE, FILE, sources.LABELS):
        (tmp_path / name).write_text(text)
    with pytest.raises(EdgelineError):
        bundles.read(tmp_path)
    with pytest.raises(EdgelineError):
        artifacts.read(tmp_path, "model/v1")
    sentence(vectors.read, tmp_path / STATE, signature)
    sentence(reference.read, tmp_path / STATE)
    sentence(declaration.read, tmp_path / STATE)
    sentence(sources.find, tmp_path)
    assert sources.labels(tmp_path.parent, tmp_path.name) == {}
    assert Rollouts({}, tmp_path).describe() == []
    assert Verdicts(tmp_path, "").bad() == {}


@pytest.mark.parametrize(
    ("label", "found"),
    [
        ('"3"', {"x": 3}),
        ("3", {"x": 3}),
        ('"' + "9" * 5000 + '"', {}),
        ('"\u0663"', {}),
        ("3.0", {}),
    ],
)
def test_labels_of_versions(tmp_path, label, found):
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / sources.LABELS).write_text(f'{{"x": {label}}}')
    assert sources.labels(tmp_path, "m") == found


def test_class_names_that_are_too_many_are_left_out(tmp_path, caplog):
    shutil.copy(LINE, tmp_path / "line.tflite")
    with open(tmp_path / "line.txt", "wb") as names:
        names.truncate(1 << 40)  # takes no room on the disk
    (instance,) = loading.load(tmp_path / "line.tflite", "line", 1, 1, 1)
    assert instance.description.labels is None
    assert "line.txt cannot be read (it has over 1,048,576 bytes)" in caplog.text


def test_a_malformed_manifest_is_its_models_alone(start, tmp_path):
    """At the start, and when it comes later; the models behind it in the alphabet are served."""
    store = tmp_path / "store"
    for name in ("a", "c"):
        (store / name / "1").mkdir(parents=True)
        shutil.copy(LINE, store / name / "1" / "model.tflite")
    broken = {**of(bundle(tmp_path / "b", MIXED.read_bytes()) / bundles.MANIFEST), "name": "b"}
    broken["files"] = {"model.tflite": 1.5}
    shutil.copytree(tmp_path / "b", store / "b" / "1")
    (store / "b" / "1" / bundles.MANIFEST).write_text(json.dumps(broken))
    server = start(store, "--poll=0.1")

    def index() -> dict[str, tuple[str, str]]:
        found = server.ask("POST", "/v2/repository/index", {})[1]
        return {entry["name"]: (entry["state"], entry["reason"]) for entry in found}

    assert index()["a"] == index()["c"] == ("READY", "")
    assert index()["b"][0] == "UNAVAILABLE"
    assert "'files.model.tflite' is 1.5, not an object: publish it again" in index()["b"][
        1
    ].replace("): ", ": ")
    shutil.copytree(store / "b", tmp_path / "d")
    (tmp_path / "d" / "1" / bundles.MANIFEST).write_text("[" * 100_000)
    (tmp_path / "d").rename(store / "d")
    eventually(lambda: "nested too deeply" in index().get("d", ("", ""))[1], 60)
    assert server.ask("POST", "/v1/models/c:predict", {"instances": [[3]]})[0] == 200


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (Path.mkdir, "is not a regular file"),
        (lambda path: path.symlink_to("nowhere"), "is a link to nowhere"),
        (lambda path: path.symlink_to(path), "is a link to nowhere"),
        (os.mkfifo, "is not a regular file"),
    ],
)
def test_what_is_called_a_manifest_and_is_no_file_is_its_models_refusal(make, said, tmp_path):
    """Its model is not served as if it had none, and the one beside it is served."""
    for name in ("bare", "broken"):
        (tmp_path / name / "1").mkdir(parents=True)
        shutil.copy(LINE, tmp_path / name / "1" / "model.tflite")
    manifest = tmp_path / "broken" / "1" / bundles.MANIFEST
    make(manifest)
    found = sources.find(tmp_path)
    assert (found["bare"][1].path.name, found["bare"][1].fault) == ("model.tflite", "")
    assert found["broken"][1].fault == f"{manifest} {said}: publish the bundle again."
    with pytest.raises(EdgelineError, match=f"{bundles.MANIFEST} {said}: publish"):
        sources.find(manifest.parent)


def test_a_manifest_that_becomes_a_folder_ends_its_model_alone(start, tmp_path):
    store = tmp_path / "store"
    for name in ("a", "b"):
        shutil.copytree(bundle(tmp_path / name, MIXED.read_bytes()), store / name / "1")
        manifest = store / name / "1" / bundles.MANIFEST
        manifest.write_text(json.dumps({**of(manifest), "name": name}))
    (store / "b" / "1" / bundles.MANIFEST).unlink()
    (store / "b" / "1" / bundles.MANIFEST).mkdir()
    server = start(store, "--poll=0.1")
    found = server.ask("POST", "/v2/repository/index", {})[1]
    assert [(entry["name"], entry["state"]) for entry in found] == [
        ("a", "READY"),
        ("b", "UNAVAILABLE"),
    ]
    assert "manifest.json is not a regular file: publish the bundle again." in found[1]["reason"]


def test_labels_that_lead_nowhere_are_said(tmp_path, caplog):
    (tmp_path / "a").mkdir()
    assert sources.labels(tmp_path, "a") == {} and not caplog.text
    (tmp_path / "a" / sources.LABELS).symlink_to("nowhere")
    assert sources.labels(tmp_path, "a") == {}
    assert "labels.json is malformed" in caplog.text and "has no labels" in caplog.text
