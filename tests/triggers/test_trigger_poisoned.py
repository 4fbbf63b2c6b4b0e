"""Retrainings on rows that nobody should train on are refused before they begin, by name."""

from __future__ import annotations

import csv
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from made_events import document
from poisoned_rows import DAY, keep, rule
from running import eventually
from trigger_serving import Serving

from edgeline.pipelines import taxi

pytestmark = pytest.mark.slow


@pytest.fixture
def trips(tmp_path: Path) -> list[dict[str, str]]:
    """60 rows that devices meet; 300 others are the base."""
    with open(Path(taxi.__path__[0]) / "taxi.csv", newline="") as stream:
        rows = [row for _, row in zip(range(360), csv.DictReader(stream), strict=False)]
    with open(tmp_path / "trips.csv", "w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows[60:])
    return rows[:60]


def test_no_rows_a_column_of_nothing_and_stale_rows_begin_no_run(
    trips: list[dict[str, str]], tmp_path: Path, serving: Callable[..., Serving]
) -> None:
    kinds: dict[str, dict[str, Any]] = {
        "empty": {"rows": trips[:7]},
        "nothing": {"rows": trips, "features": lambda row: {**row, "fare": None}},
        "stale": {"rows": trips, "age": 31 * DAY},
        "fine": {"rows": trips, "age": timedelta(days=29)},
    }
    for name, given in kinds.items():
        keep(tmp_path / name, label="tips", **given)
    rules = "rules:\n" + "".join(rule(name, name, destination="models") for name in kinds)
    server = serving(rules=rules)
    for name in ("empty", "nothing", "stale"):
        event = document("edge-1", "fare", time=time.time(), type=f"test.poison.{name}")
        assert server.send(event)[0] == 202

    def runs() -> dict[str, dict[str, Any]]:
        rules = server.ask("GET", "/state")[1]["rules"]
        return {each["name"]: run for each in rules for run in each["runs"]}

    eventually(
        lambda: len(runs()) == 3 and all(run["state"] == "failed" for run in runs().values()), 60.0
    )
    said = {name: run["said"] for name, run in runs().items()}
    assert all(each.startswith("Refused before it began: ") for each in said.values())
    assert "7 rows of empty/payloads" in said["empty"] and "30 are asked for" in said["empty"]
    assert "value of 'fare' less than a tenth as often as those of trips.csv" in said["nothing"]
    assert "0 rows of stale/payloads" in said["stale"] and "60 are older" in said["stale"]
    assert not list(tmp_path.glob("edgeline-triggers/runs/*/*/run.json"))
    assert all(run["tries"] == 0 for run in runs().values())
