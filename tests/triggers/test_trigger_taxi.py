"""The taxi pipeline, started by an event, on its rows and those that a server kept, with labels.

The server of triggers is restarted meanwhile.
"""

from __future__ import annotations

import csv
import json
import signal
import time
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from made_events import document
from running import eventually
from trigger_serving import Serving

from edgeline.pipelines import taxi

pytestmark = pytest.mark.long

KEPT = 300  # rows of the file that are played as what devices met
RULES = """\
rules:
  - name: retrain
    model: taxi
    signals: [drift]
    run:
      pipeline: taxi
      parameters: {steps: 300, destination: models}
      data: {base: trips.csv, payloads: payloads, labels: labels.jsonl}
"""


def value(cell: str) -> Any:
    """A cell as the server writes it."""
    for kind in (int, float):
        try:
            return kind(cell)
        except ValueError:
            continue
    return cell or None


@pytest.fixture
def trips(tmp_path: Path) -> Path:
    with open(Path(taxi.__path__[0]) / "taxi.csv", newline="") as stream:
        rows = list(csv.DictReader(stream))
    with open(tmp_path / "trips.csv", "w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows[KEPT:])
    met = datetime.now(timezone.utc).strftime("%Y-%m-%dT00:00:00.000")
    payloads = tmp_path / "payloads" / "taxi" / "1" / "day.jsonl"
    payloads.parent.mkdir(parents=True)
    with open(payloads, "w") as kept, open(tmp_path / "labels.jsonl", "w") as labels:
        for number, row in enumerate(rows[:KEPT]):
            features = {name: value(cell) for name, cell in row.items() if name != "tips"}
            whence = {"edgeline_id": str(number), "edgeline_time": met}
            kept.write(json.dumps({**features, **whence, "edgeline_row": 0}) + "\n")
            if number % 3:
                labels.write(json.dumps({"id": str(number), "tips": value(row["tips"])}) + "\n")
    return tmp_path


def test_an_event_retrains_taxi_on_what_was_met_since(
    trips: Path, serving: Callable[..., Serving]
) -> None:
    server = serving(rules=RULES)
    assert server.send(document("edge-1", "fare", time=time.time()))[0] == 202
    eventually(lambda: any(trips.glob("edgeline-triggers/runs/*/*/run.json")), 120.0)
    server.stop(signal.SIGKILL)
    server = serving(rules=RULES)

    def run() -> dict[str, Any]:
        found: dict[str, Any] = server.ask("GET", "/state")[1]["rules"][0]["runs"][0]
        return found

    eventually(lambda: run()["state"] in ("succeeded", "failed"), 500.0)
    assert (run()["state"], run()["tries"]) == ("succeeded", 1), run()
    [bundle] = (trips / "models" / "taxi").glob("*/manifest.json")
    assert json.loads(bundle.read_text())["name"] == "taxi"
    [record] = trips.glob("edgeline-triggers/runs/*/*/run.json")
    joined = json.loads((record.parents[1] / "rows.json").read_text())
    assert (joined["rows"], joined["without_label"]) == (200, 100)
    [examples] = record.parent.glob("*/ingest/examples/artifact.json")
    splits = json.loads(examples.read_text())["metadata"]["splits"]
    rows = len((trips / "trips.csv").read_text().splitlines()) - 1
    assert sum(split["rows"] for split in splits.values()) == rows + 200
