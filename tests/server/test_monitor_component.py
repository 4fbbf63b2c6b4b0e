"""The component monitor tells of kept payloads what the server told of the same requests."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from running import Running
from test_decay import label, predict, published, report, scores
from test_watching import columns, taxi, trips

from edgeline.components.monitor.monitor import EVENTS, REPORT, monitor

pytestmark = pytest.mark.slow

__all__ = ["taxi"]  # a fixture
OPTIONS = ("--poll", "0", "--drift-rate", "1000000", "--payload-rate", "1")


@pytest.fixture(scope="module")
def binary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return published(tmp_path_factory.mktemp("bundle") / "line")


def served(bundle: Path, folder: Path, *options: str) -> Running:
    return Running(bundle, *OPTIONS, "--payloads", str(folder / "payloads"), *options)


def monitored(bundle: Path, folder: Path, **more) -> dict:
    monitor(
        payloads_uri=str(folder / "payloads"),
        bundle_uri=str(bundle),
        monitoring_path=folder / "monitoring",
        monitoring_report_path=folder / "page.html",
        **more,
    )
    return json.loads((folder / "monitoring" / REPORT).read_text())


def without(found: dict, *names: str) -> dict:
    return {name: value for name, value in found.items() if name not in names}


def test_drift_is_that_of_the_server(taxi, tmp_path):
    server = served(taxi, tmp_path)
    for _ in range(2):
        server.ask("POST", "/v1/models/taxi:predict", columns(trips(500, 2.0, "New Cab")))
    body = {"inputs": {"amount": [[1.5, None]], "count": [-(2**63)], "name": [""]}}
    assert server.ask("POST", "/v1/models/taxi:predict", body)[0] == 200
    (wanted,) = server.ask("GET", "/drift/taxi")[1]["models"]
    server.stop()
    found = monitored(taxi, tmp_path)["drift"]
    assert found["rows"] == wanted["rows"] == 1001
    assert {"amount.mean", "name"} <= set(found["drifting"]) and found["not_compared"] == {}
    for part in ("drifting", "inputs", "outputs"):
        assert found[part] == wanted[part]
    assert found["inputs"]["count"]["missing"]["live"] > 0


def test_decay_is_that_of_the_server(binary, tmp_path):
    server = served(binary, tmp_path, "--decay-slices", "x")
    random = np.random.default_rng(5)
    lines = []
    for number in range(4):
        given = random.uniform(0.3, 0.9, 400) if number else scores(random, 400)
        predict(server, given, f"r{number}")
        truth = random.random(400) < given**2
        if number == 3:  # labels begin to come about otherwise
            truth = ~truth
        lines.append({"id": f"r{number}", "label": truth.astype(int).tolist()})
    lines.append({"id": "nobody", "label": 1})
    lines.append({"id": "r1", "row": 3, "label": 1})
    results = label(server, *lines)
    wanted = report(server)
    server.stop()
    place = tmp_path / "labels.jsonl"
    place.write_text("\n".join(map(json.dumps, lines)))
    found = monitored(binary, tmp_path, labels_uri=str(place), decay_slices=["x"])
    decay = found["decay"]
    assert without(decay["estimated"], "since") == without(wanted["estimated"], "since")
    assert without(decay["measured"], "since") == without(wanted["measured"], "since")
    assert decay["concept"] == wanted["concept"] and decay["concept"]["drifting"]
    assert decay["usual"] == wanted["usual"]
    counts = {name: found["labels"][name] for name in results}
    assert counts == results and results["unknown"] == results["repeated"] == 1
    events = (tmp_path / "monitoring" / EVENTS).read_text().splitlines()
    assert len(events) == found["events"]["made"] == 4
