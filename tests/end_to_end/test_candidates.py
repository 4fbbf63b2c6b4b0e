"""Several models side by side: the best is served, another one is promoted without a training."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from command import Finished, edgeline

from edgeline import artifacts
from edgeline.artifacts import bundle, candidates
from edgeline.repository import actions, keys
from edgeline.repository.status import status

DATA = Path(__file__).parents[1] / "data" / "columns" / "iris.csv"
MODULE = """
from edgeline.preprocessing import fill_missing

def preprocessing_fn(inputs):
    import tensorflow_transform as tft

    return {
        name: values if name == "target" else tft.scale_to_z_score(fill_missing(values, 0.0))
        for name, values in inputs.items()
    }

def build_model(features, hyperparameters):
    import keras

    if hyperparameters.get("layers") == "none":
        raise ValueError("there is no such layer")
    inputs = {name: keras.Input(each.shape[1:], name=name) for name, each in features.items()}
    joined = keras.layers.Concatenate()(list(inputs.values()))
    model = keras.Model(inputs, keras.layers.Dense(3, "softmax")(joined))
    rate = hyperparameters.get("rate", 0.1)
    model.compile(keras.optimizers.Adam(rate), "sparse_categorical_crossentropy")
    return model
"""
TRIED = """
- name: quick
- name: slow  # its own features, of its own rows
  module: other.py
  hyperparameters: {rate: 0.004}
  rows: {column: sepal length (cm), to: 7}
- name: broken
  hyperparameters: {layers: none}
"""
ROW = {
    "petal length (cm)": 1.4,
    "petal width (cm)": 0.2,
    "sepal length (cm)": 5.1,
    "sepal width (cm)": 3.5,
}
ENOUGH = {
    "metrics_specs": [{"metrics": [{"class_name": "SparseCategoricalAccuracy"}]}],
    "slicing_specs": [{}],
}


@pytest.fixture(scope="module")
def tried(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Finished]:
    folder = tmp_path_factory.mktemp("tried")
    (folder / "module.py").write_text(MODULE)
    (folder / "other.py").write_text(MODULE + "\n# another\n")
    (folder / "candidates.yaml").write_text(TRIED)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(keys.PASSPHRASE, "a passphrase of the tests")
        patch.setenv("COLUMNS", "250")
        actions.init(str(folder / "fleet"), {}, folder / "keys")
        yield edgeline(
            folder,
            *("run", "candidates", "--module", "module.py", "--set", f"data={DATA}"),
            *("--set", "label=target", "--set", "training.task=multiclass_classification"),
            *("--set", "steps=120", "--set", "batch_size=16", "--set", "model_name=iris"),
            *("--set", "destination=fleet", "--set", "signing_keys=keys"),
            *("--set", "candidates=candidates.yaml", "--set", f"eval_config={json.dumps(ENOUGH)}"),
        )


def outcomes(run: Finished) -> dict[str, candidates.CandidateOutcome]:
    place = run.record["tasks"]["choose"]["outputs"]["choice"]["uri"]
    found = candidates.of(artifacts.read(place, candidates.CHOICE_SCHEMA).metadata)
    return {each.name: each for each in found}


def test_the_best_is_published_and_the_others_wait_and_what_failed_says_why(tried) -> None:
    assert tried.code == 0, tried.output
    found = outcomes(tried)
    states = {name: each.state for name, each in found.items()}
    assert states == {"quick": "chosen", "slow": "approved", "broken": "failed"}
    [reason] = found["broken"].reasons
    assert reason.startswith("train: build_model") and "there is no such layer" in reason
    best, other = ((found[name].metrics or {})["accuracy"] for name in ("quick", "slow"))
    assert other <= best
    known = status(str(tried.folder / "fleet"))
    assert known["candidates"] == {"iris": ["slow"]}
    [version] = known["versions"]
    published = bundle.read(tried.folder / "fleet" / "targets" / "iris" / str(version["version"]))
    assert published.evaluation["metrics"]["accuracy"] == best


def test_all_are_compared_in_the_terminal_and_on_the_page(tried) -> None:
    assert "The highest accuracy goes on; of equal ones the first of the list." in tried.output
    line = next(each for each in tried.output.splitlines() if each.startswith("slow "))
    assert "approved" in line and "{'rate': 0.004}" in line and "other.py" in line
    assert "broken: train: build_model" in tried.output
    page = tried.page.read_text()
    assert "rate" in page and "there is no such layer" in page


def test_a_window_and_a_module_of_its_own_change_what_is_learnt_alone(tried) -> None:
    """All are evaluated on the same rows."""
    tasks = tried.record["tasks"]
    folders = [tasks[name]["outputs"]["candidate"]["uri"] for name in tasks if "train-cand" in name]
    made = [artifacts.read(folder, candidates.SCHEMA) for folder in folders]
    [slow] = [each for each in made if each.metadata["name"] == "slow"]
    [note] = slow.metadata["notes"]
    assert note.startswith("It learns from ") and slow.metadata["module"] == "other.py"
    rows = {
        json.loads((each.path / "evaluation" / "metrics.json").read_text())["rows"]
        for each in made
        if each.metadata["state"] == "approved"
    }
    assert len(rows) == 1


def test_promoting_one_serves_it_within_a_look_and_no_request_is_lost(tried, tmp_path) -> None:
    fleet = str(tried.folder / "fleet")
    root = str(tried.folder / "fleet" / "metadata" / "1.root.json")
    command = [sys.executable, "-m", "edgeline", "serve", fleet, "--root", root, "--port", "0"]
    command += ["--state", str(tmp_path / "state"), "--poll", "0.5"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        ports = dict(part.split("=") for part in process.stdout.readline().split()[1:])

        def ask(path: str, body: Any = None) -> tuple[int, Any]:
            connection = http.client.HTTPConnection("127.0.0.1", int(ports["http"]), timeout=60)
            connection.request("POST" if body else "GET", path, json.dumps(body) if body else None)
            answer = connection.getresponse()
            content = json.loads(answer.read())
            connection.close()
            return answer.status, content

        def until(*versions: str) -> None:
            deadline = time.monotonic() + 120
            while ask("/v2/models/iris")[1].get("versions") != [*versions]:
                assert time.monotonic() < deadline, ask("/v2/models/iris")
                time.sleep(0.05)

        stop, answers = threading.Event(), []

        def go_on_asking() -> None:
            while not stop.is_set():
                answers.append(ask("/v1/models/iris:predict", {"instances": [ROW]}))

        threads = [threading.Thread(target=go_on_asking) for _ in range(2)]
        try:
            first = status(fleet)["versions"][0]["version"]
            until(str(first))
            for thread in threads:
                thread.start()
            before = len(answers)
            promoted = edgeline(
                tried.folder,
                *("repository", "promote", "fleet", "iris", "slow", "--key", "keys"),
            )
            assert promoted.code == 0, promoted.output
            newest = max(each["version"] for each in status(fleet)["versions"])
            assert newest > first
            until(str(newest))
            last = len(answers)
            while len(answers) < last + 10:
                time.sleep(0.01)
        finally:
            stop.set()
            for thread in threads:
                if thread.is_alive():
                    thread.join()
            process.terminate()
            assert process.wait(60) == 0
    assert len(answers) > before
    assert {code for code, _ in answers} == {200}
    sides = [str(answers[place][1]["predictions"]) for place in (0, -1)]
    assert sides[0] != sides[1]
    assert status(fleet)["candidates"] == {}
