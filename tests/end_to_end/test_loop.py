"""From a stream that has shifted to a model that serves it, and nobody looks: drift is a signed
event, the event a retraining, its model a signed version, which is a canary and then serves."""

from __future__ import annotations

import csv
import json
import shutil
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command import edgeline

for folder in ("server", "triggers", ""):
    sys.path.append(str(Path(__file__).parents[1] / folder))

from publishing import PASSPHRASE, model  # noqa: E402
from running import MIXED, Running, eventually  # noqa: E402
from trigger_serving import KEY, Serving  # noqa: E402

from edgeline import artifacts  # noqa: E402
from edgeline.artifacts import bundle, reference  # noqa: E402
from edgeline.artifacts.features import Feature  # noqa: E402
from edgeline.pipelines import taxi  # noqa: E402
from edgeline.repository import actions, keys  # noqa: E402
from edgeline.runtimes.interpreter import load  # noqa: E402

RETRAIN = """
from kfp import dsl


@dsl.component(base_image="python", install_kfp_package=False)
def retrain(folder: str):
    from dataclasses import replace
    from pathlib import Path

    from publishing import model

    from edgeline import artifacts
    from edgeline.artifacts import bundle
    from edgeline.repository import actions

    made = Path(folder) / "bundle"
    found = bundle.read(made)
    (made / "model.tflite").write_bytes(model(2))
    (made / bundle.MANIFEST).unlink()
    bundle.write_manifest(made, replace(found, files=artifacts.list_files(made)))
    actions.add(folder + "/repository", made, [folder + "/keys"])


@dsl.pipeline(name="retrain")
def pipeline(folder: str):
    retrain(folder=folder)
"""


class Client:
    """Asks all the time, each request with an id. `statuses` counts what came of it."""

    def __init__(self, server: Running, rows: Callable[[int], dict[str, Any]]) -> None:
        self.statuses: Counter[Any] = Counter()
        self.asked = 0
        self._server, self._rows = server, rows
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.is_set():
            body, name = self._rows(self.asked), f"request-{self.asked}"
            try:
                status = self._server.ask("POST", body.pop("path"), body, {"X-Request-Id": name})[0]
            except OSError as error:
                status = type(error).__name__
            self.statuses[status] += 1
            self.asked += 1


@pytest.fixture
def passphrase(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(keys.PASSPHRASE, PASSPHRASE)
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1] / "server"))


def serve(folder: Path, triggers: Serving, *options: str, **canary: Any) -> Running:
    """A device of the signed repository in a folder, whose new versions are canaries first."""
    shutil.copy(folder / "repository" / "metadata" / "1.root.json", folder / "root.json")
    (folder / "rollouts.json").write_text(json.dumps({"rollouts": [canary]}))
    return Running(
        folder / "repository",
        *("--root", str(folder / "root.json"), "--state", str(folder / "state"), "--poll", "0.5"),
        *("--rollouts", str(folder / "rollouts.json"), "--device", "edge-7"),
        *("--webhook", f"http://127.0.0.1:{triggers.http}/events"),
        *("--webhook-key", str(folder / "key"), "--drift-rate", "5000", "--drift-judge", "0.3"),
        *options,
    )


def decisions(server: Running) -> list[str]:
    return [each["action"] for each in server.ask("GET", "/rollouts")[1]["decisions"]]


@pytest.fixture
def small(tmp_path: Path, passphrase: None) -> Path:  # noqa: ARG001
    """A signed repository with version 1 of `m`, and a pipeline that makes the next one."""
    folder = tmp_path / "bundle"
    folder.mkdir()
    (folder / "model.tflite").write_bytes(model(1))
    run, met, given = load(MIXED), reference.Builder(), arrays(1.0)
    met.add(given, run(given))
    (folder / reference.FILE).write_bytes(reference.dumps(met.result()))
    made = bundle.Bundle(
        name="m", version=1, target="litert", model="model.tflite", task="regression",
        quantisation="none", takes="raw", signature=run.signature,
        features=(Feature("amount", "float32", (2,)), Feature("count", "int64"),
                  Feature("name", "string")),
        files=artifacts.list_files(folder),
    )  # fmt: skip
    bundle.write_manifest(folder, made)
    actions.init(str(tmp_path / "repository"), {}, tmp_path / "keys")
    actions.add(str(tmp_path / "repository"), folder, [str(tmp_path / "keys")])
    (tmp_path / "retrain.py").write_text(RETRAIN)
    return tmp_path


def arrays(shift: float, rows: int = 2000) -> dict[str, np.ndarray]:
    chance = np.random.default_rng(3)
    name = np.empty((rows, 1), object)
    name[:, 0] = [each.encode() for each in chance.choice(["Blue", "Red"], rows)]
    amount = (shift * chance.gamma(2, 6, (rows, 2))).astype("f4")
    return {"amount": amount, "count": chance.integers(0, 5, (rows, 1)), "name": name}


def test_a_small_model_is_replaced_without_a_hand(small: Path) -> None:
    rule = f"""\
rules:
  - name: retrain
    model: m
    signals: [drift]
    run: {{pipeline: retrain.py, parameters: {{folder: {small}}}}}
"""
    triggers = Serving(small, "--webhook-key", "key", rules=rule)
    server = serve(small, triggers, model="m", weight=0.5, requests=30, seconds=1)
    columns = {name: array.tolist() for name, array in arrays(3.0, 100).items()}
    columns["name"] = [[value.decode() for value in row] for row in columns["name"]]

    def rows(_: int) -> dict[str, Any]:
        return {"path": "/v1/models/m:predict", "inputs": columns}

    client = Client(server, rows)
    try:
        eventually(lambda: "promote" in decisions(server), 40.0)
        state = triggers.ask("GET", "/state")[1]
    finally:
        client.stop()
        triggers.stop()
        _, log = server.stop()
    assert decisions_in_order(log) == ["start", "promote"], log
    assert client.statuses == {200: client.asked}
    [run] = state["rules"][0]["runs"]
    assert (run["state"], run["devices"]) == ("succeeded", ["/edge-7"])
    assert "Traceback" not in log


def decisions_in_order(log: str) -> list[str]:
    found = [line.partition("Rollout of ")[2] for line in log.splitlines() if "Rollout of" in line]
    return [line.split(": ")[1].split()[0] for line in found]


def value(cell: str) -> Any:
    """A cell as a client sends it."""
    for kind in (int, float):
        try:
            return kind(cell)
        except ValueError:
            continue
    return cell or None


@pytest.fixture
def trips(tmp_path: Path, passphrase: None) -> Iterator[list[dict[str, str]]]:  # noqa: ARG001
    """A signed repository with a model of taxi trips; what a device meets then costs more."""
    with open(Path(taxi.__path__[0]) / "taxi.csv", newline="") as stream:
        rows = list(csv.DictReader(stream))
    met = [row for row in rows[9000:] if float(row["fare"] or 0) > 9.0]
    with open(tmp_path / "trips.csv", "w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows[:9000])
    actions.init(str(tmp_path / "repository"), {}, tmp_path / "keys")
    given = ("data=trips.csv", "steps=300", "destination=repository", "signing_keys=keys")
    done = edgeline(tmp_path, "run", "taxi", *(part for each in given for part in ("--set", each)))
    assert done.code == 0, done.output
    yield met


@pytest.mark.long
def test_taxi_is_replaced_without_a_hand(trips: list[dict[str, str]], tmp_path: Path) -> None:
    """Late labels come, too; the retraining is on what was met, and compared with what serves."""
    rule = """\
rules:
  - name: retrain
    model: taxi
    signals: [drift]
    run:
      pipeline: taxi
      parameters: {steps: 600, destination: repository, signing_keys: keys}
      data: {base: trips.csv, payloads: payloads, labels: labels.jsonl, least: 100}
"""
    (tmp_path / "labels.jsonl").touch()
    (tmp_path / "payloads").mkdir()
    began = time.monotonic()
    triggers = Serving(tmp_path, "--webhook-key", "key", rules=rule)
    assert (tmp_path / "key").read_bytes().strip() == KEY
    payloads = ("--payloads", str(tmp_path / "payloads"), "--payload-rate", "1")
    server = serve(
        *(tmp_path, triggers, *payloads, "--payload-every", "1", "--drift-rows", "300"),
        model="taxi",
        weight=0.2,
        requests=100,
        seconds=5,
        latency_ratio=0,
    )
    labels = open(tmp_path / "labels.jsonl", "a")  # noqa: SIM115

    def rows(number: int) -> dict[str, Any]:
        row = trips[number % len(trips)]
        features = {name: value(row[name]) for name in names}
        # the driver tells later what the tip was: what counts is there when a run begins
        tips = value(row["tips"])
        labels.write(json.dumps({"id": f"request-{number}", "tips": tips}) + "\n")
        labels.flush()
        if number >= 200 and not number % 100:
            before = trips[(number - 200) % len(trips)]
            big = float(before["tips"] or 0) > 0.2 * float(before["fare"] or 0)
            said = json.dumps({"id": f"request-{number - 200}", "label": int(big)}).encode()
            found.append(server.ask("POST", "/labels/taxi", said)[1]["joined"])
        time.sleep(0.01)  # a client of some 50 requests per second
        return {"path": "/v1/models/taxi:predict", "instances": [features]}

    found: list[int] = []
    names = [each["name"] for each in server.ask("GET", "/v2/models/taxi")[1]["inputs"]]
    client = Client(server, rows)
    try:
        eventually(lambda: "promote" in decisions(server) or set(client.statuses) > {200}, 600.0)
        took = time.monotonic() - began
        state = triggers.ask("GET", "/state")[1]
        versions = server.ask("GET", "/v1/models/taxi")[1]["model_version_status"]
    finally:
        client.stop()
        labels.close()
        triggers.stop()
        _, log = server.stop()
    [run] = state["rules"][0]["runs"]
    assert run["state"] == "succeeded", run
    assert client.statuses == {200: client.asked}
    assert sum(found) > 0  # late labels have found their answers
    assert {each["version"]: each["state"] for each in versions}["2"] == "AVAILABLE"
    assert decisions_in_order(log)[:2] == ["start", "promote"], log
    [evaluation] = tmp_path.glob("edgeline-triggers/runs/*/*/*/analyze/evaluation/artifact.json")
    compared = json.loads(evaluation.read_text())["metadata"]["published_baseline"]
    assert (compared["asked"], compared["version"]) == ("latest", 1)
    assert took < 600
    print(f"The loop took {took:.0f} s, {client.asked} requests, none lost.")
