"""From a stream that has shifted to a model that serves it everywhere, and nobody looks: drift is
an event that the device has signed, the event a retraining, its model a signed version with waves;
on the devices of the first wave it is a canary and then serves, they tell their fleet, and the
fleet's watch opens the wave of all."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
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

for folder in ("server", "triggers", "fleet", ""):
    sys.path.append(str(Path(__file__).parents[1] / folder))

from fleet_serving import FleetServing  # noqa: E402
from publishing import PASSPHRASE, model  # noqa: E402
from running import MIXED, Running, eventually  # noqa: E402
from trigger_serving import KEY, Serving  # noqa: E402

from edgeline import artifacts  # noqa: E402
from edgeline.artifacts import bundle, reference  # noqa: E402
from edgeline.artifacts.features import Feature  # noqa: E402
from edgeline.artifacts.waves import WHOLE, Wave, WavePlan, position  # noqa: E402
from edgeline.pipelines import taxi  # noqa: E402
from edgeline.repository import actions, keys, wave_actions  # noqa: E402
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


WATCH = """\
interval: 1
rules:
  - model: {model}
    limits: {{failed: 0.5, min_devices: 1, soak: 0}}
"""


class Loop:
    """A fleet of two devices of the signed repository in a folder, its list, watch and triggers.

    `first` is in the wave of 1 % of version 2 and has the options, `other` is not. New versions are
    canaries first.
    """

    def __init__(self, folder: Path, rule: str, *options: str, model: str, **canary: Any) -> None:
        self.folder, self.model = folder, model
        repository, signing = str(folder / "repository"), [str(folder / "keys")]
        plan = WavePlan((Wave(WHOLE // 100), Wave(WHOLE)))
        wave_actions.usual_waves(repository, model, plan, signing)
        shutil.copy(folder / "repository" / "metadata" / "1.root.json", folder / "root.json")
        (folder / "rollouts.json").write_text(
            json.dumps({"rollouts": [{"model": model, **canary}]})
        )
        (folder / "watch.yaml").write_text(WATCH.format(model=model))
        (folder / "list").mkdir()
        self.fleet = FleetServing(folder / "list")
        self.triggers = Serving(
            folder, "--webhook-key", "key", "--fleet", self.fleet.url, rules=rule
        )
        self.first, self.other = (self.device(first, *options) for first in (True, False))
        self.watch = subprocess.Popen(
            [
                *(sys.executable, "-m", "edgeline", "fleet", "watch", "watch.yaml", "--json"),
                *("--fleet", self.fleet.url, "--repository", repository, "--key", "keys"),
            ],
            cwd=folder,
            stdout=subprocess.PIPE,
            text=True,
        )

    def device(self, first: bool, *options: str) -> Running:
        """A server whose place is in the first wave, or not."""
        below = WHOLE // 100 << 64
        name = next(
            name
            for name in (f"edge-{number}" for number in range(100_000))
            if (position(name, self.model, 2) * WHOLE < below) == first
        )
        place = self.folder / name
        place.mkdir()
        (place / "token").write_text(self.fleet.token(device=name))
        return Running(
            self.folder / "repository",
            *("--root", str(self.folder / "root.json"), "--state", str(place), "--poll", "0.5"),
            *("--rollouts", str(self.folder / "rollouts.json"), "--device", name),
            *("--fleet", self.fleet.url, "--fleet-interval", "1", "--trial-time", "1"),
            *("--enroll-token-file", str(place / "token")),
            *("--webhook", f"http://127.0.0.1:{self.triggers.http}/events"),
            *("--webhook-key", str(self.folder / "key"), "--drift-rate", "5000"),
            *("--drift-judge", "0.3", *(options if first else ())),
        )

    def stop(self) -> list[str]:
        """End all; what the devices and the watch have logged."""
        self.watch.terminate()
        told, _ = self.watch.communicate(timeout=60)
        logs = [server.stop()[1] for server in (self.first, self.other)]
        self.triggers.stop()
        self.fleet.stop()
        return [*logs, told]


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


@pytest.mark.slow
def test_a_small_model_is_replaced_without_a_hand(small: Path) -> None:
    rule = f"""\
rules:
  - name: retrain
    model: m
    signals: [drift]
    run: {{pipeline: retrain.py, parameters: {{folder: {small}}}}}
"""
    loop = Loop(small, rule, model="m", weight=0.5, requests=30, seconds=1)

    def asking(shift: float) -> Callable[[int], dict[str, Any]]:
        columns = {name: array.tolist() for name, array in arrays(shift, 100).items()}
        columns["name"] = [[value.decode() for value in row] for row in columns["name"]]
        return lambda _: {"path": "/v1/models/m:predict", "inputs": columns}

    clients = [Client(loop.first, asking(3.0)), Client(loop.other, asking(1.0))]
    try:
        eventually(lambda: "promote" in decisions(loop.first), 60.0)
        eventually(lambda: "promote" in decisions(loop.other), 60.0)
        state = loop.triggers.ask("GET", "/state")[1]
    finally:
        for client in clients:
            client.stop()
        *logs, told = loop.stop()
        print(told)  # shown where it fails
    for client, log in zip(clients, logs, strict=True):
        assert decisions_in_order(log) == ["start", "promote"], log
        assert client.statuses == {200: client.asked}
        assert "Traceback" not in log
    [run] = state["rules"][0]["runs"]
    assert (run["state"], len(run["devices"])) == ("succeeded", 1)
    assert [
        each["wave"] for each in map(json.loads, told.splitlines()) if each["action"] == "raise"
    ]


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
    loop = Loop(
        *(tmp_path, rule, "--payloads", str(tmp_path / "payloads"), "--payload-rate", "1"),
        *("--payload-every", "1", "--drift-rows", "300"),
        model="taxi",
        weight=0.2,
        requests=100,
        seconds=5,
        latency_ratio=0,
    )
    assert (tmp_path / "key").read_bytes().strip() == KEY
    server, triggers = loop.first, loop.triggers
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
    with open(tmp_path / "trips.csv", newline="") as stream:
        usual = list(csv.DictReader(stream))

    def as_before(number: int) -> dict[str, Any]:
        row = usual[7919 * number % len(usual)]
        time.sleep(0.02)
        instance = {name: value(row[name]) for name in names}
        return {"path": "/v1/models/taxi:predict", "instances": [instance]}

    clients = [Client(server, rows), Client(loop.other, as_before)]
    try:
        for each in (server, loop.other):
            eventually(lambda each=each: "promote" in decisions(each), 300.0)  # type: ignore[misc]
        took = time.monotonic() - began
        state = triggers.ask("GET", "/state")[1]
        versions = loop.other.ask("GET", "/v1/models/taxi")[1]["model_version_status"]
    finally:
        for client in clients:
            client.stop()
        labels.close()
        log, _, told = loop.stop()
        print(told)  # shown where it fails
    [run] = state["rules"][0]["runs"]
    assert run["state"] == "succeeded", run
    for client in clients:
        assert client.statuses == {200: client.asked}
    assert sum(found) > 0  # late labels have found their answers
    assert {each["version"]: each["state"] for each in versions}["2"] == "AVAILABLE"
    assert decisions_in_order(log)[:2] == ["start", "promote"], log
    assert '"raise"' in told
    [evaluation] = tmp_path.glob("edgeline-triggers/runs/*/*/*/analyze/evaluation/artifact.json")
    compared = json.loads(evaluation.read_text())["metadata"]["published_baseline"]
    assert (compared["asked"], compared["version"]) == ("latest", 1)
    assert took < 600
    print(f"The loop took {took:.0f} s, {sum(each.asked for each in clients)} requests, none lost.")
