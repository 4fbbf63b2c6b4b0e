"""From shifted rows to one run: two real edge servers, their signed webhooks, and a real server of
triggers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from running import MIXED, Running, eventually
from trigger_serving import Serving

from edgeline import artifacts
from edgeline.artifacts import bundle, reference
from edgeline.artifacts.features import Feature
from edgeline.runtimes.interpreter import load

pytestmark = pytest.mark.slow


def rows(count: int, shift: float = 1.0) -> dict[str, np.ndarray]:
    chance = np.random.default_rng(3)
    name = np.empty((count, 1), object)
    name[:, 0] = [each.encode() for each in chance.choice(["Blue", "Red"], count)]
    amount = (shift * chance.gamma(2, 6, (count, 2))).astype("f4")
    return {"amount": amount, "count": chance.integers(0, 5, (count, 1)), "name": name}


def asked(arrays: dict[str, np.ndarray]) -> dict:
    columns = {name: array.tolist() for name, array in arrays.items()}
    columns["name"] = [[value.decode() for value in row] for row in columns["name"]]
    return {"inputs": columns}


@pytest.fixture
def taxi(tmp_path: Path) -> Path:
    """A bundle with a reference of 3,000 rows."""
    folder = tmp_path / "bundle"
    folder.mkdir()
    (folder / "model.tflite").write_bytes(MIXED.read_bytes())
    model = load(folder / "model.tflite")
    met, given = reference.Builder(), rows(3000)
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


def test_devices_that_drift_in_the_same_column_start_one_run(
    taxi: Path, serving: Callable[..., Serving]
):
    # both servers are of this host, so that one device speaks: the second is a command's
    server = serving()
    options = ["--webhook", f"http://127.0.0.1:{server.http}/events"]
    options += ["--webhook-key", str(server.folder / "key"), "--drift-judge", "0.2"]
    edge = Running(taxi, "--poll", "0", "--drift-rate", "2000", *options)
    try:
        for _ in range(4):
            assert edge.ask("POST", "/v1/models/taxi:predict", asked(rows(500)))[0] == 200
        assert not server.ask("GET", "/state")[1]["events"]
        for _ in range(8):
            edge.ask("POST", "/v1/models/taxi:predict", asked(rows(500, 3.0)))
        eventually(lambda: bool(server.ask("GET", "/state")[1]["events"].get("counted")), 60.0)
        [rule] = server.ask("GET", "/state")[1]["rules"]
        assert rule["devices"] == 1 and not rule["runs"]
        feature = rule["feature"]
        other = {
            "specversion": "1.0",
            "id": "of another device",
            "source": "/edge-2/models/taxi/versions/3",
            "type": "io.edgeline.drift.detected",
            "time": server.ask("GET", "/state")[1]["time"],
            "data": {"model": "taxi", "drifting": [feature, "count"]},
        }
        assert server.send(other)[0] == 202
        runs: list[dict] = []

        def is_over() -> bool:
            runs[:] = server.ask("GET", "/state")[1]["rules"][0]["runs"]
            return bool(runs) and runs[0]["state"] in ("succeeded", "failed")

        eventually(is_over, 120.0)
    finally:
        edge.stop()
    [run] = runs
    assert (run["state"], run["feature"], len(run["devices"])) == ("succeeded", feature, 2)
    assert (server.folder / "ran.txt").read_text() == "read grow tell "
    assert edge.process.returncode == 0
