"""Twenty retrainings of taxi on poisoned rows: none is published, and each outcome names its gate.

Five of each: labels flipped, no payloads, a column of NaN, stale rows. What devices serve stays.
"""

from __future__ import annotations

import csv
import gzip
import json
import os
import random
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from command import edgeline

for folder in ("server", "triggers", ""):
    sys.path.append(str(Path(__file__).parents[1] / folder))

from made_events import document  # noqa: E402
from poisoned_rows import DAY, keep, rule  # noqa: E402
from running import eventually  # noqa: E402
from trigger_serving import Serving  # noqa: E402

from edgeline.pipelines import taxi  # noqa: E402

pytestmark = pytest.mark.long

Rows = list[dict[str, str]]
KEPT = 3000  # rows of the file that are played as what devices met


def flipped(row: dict[str, Any]) -> float:
    """A tip that makes the other label of a trip."""
    fare, tips = float(row["fare"] or 0), float(row["tips"] or 0)
    return 0.0 if tips > 0.2 * fare else fare + 1.0


def mostly_flipped(row: dict[str, Any]) -> Any:
    return flipped(row) if random.Random(str(row)).random() < 0.85 else row["tips"]


def without(column: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda row: {**row, column: None}  # as the server writes a NaN


def emptied(folder: Path) -> None:
    for file in folder.rglob("day.jsonl"):
        file.write_text("")


def unlabelled(folder: Path) -> None:
    (folder / "labels.jsonl").write_text("")


def damaged(folder: Path) -> None:
    for file in folder.rglob("day.jsonl"):
        file.with_suffix(".jsonl.gz").write_bytes(gzip.compress(file.read_bytes())[:40])
        file.unlink()


def never_told_when(folder: Path) -> None:
    for file in folder.rglob("day.jsonl"):
        rows = [json.loads(line) for line in file.read_text().splitlines()]
        file.write_text("".join(json.dumps({**row, "edgeline_time": ""}) + "\n" for row in rows))


def touched(folder: Path) -> None:
    """A copy that looks new to the disk."""
    for file in folder.rglob("*.jsonl"):
        os.utime(file)


NOTHING = "Refused before it began: "
CONTRADICTED = "contradict taxi 1"
# of each: rows, what is done to them, what is done to the files, and what the outcome names
POISONS: dict[str, tuple[int, dict[str, Any], Callable[[Path], None] | None, str]] = {
    "flipped-all": (KEPT, {"labelled": flipped}, None, CONTRADICTED),
    "flipped-thousand": (1000, {"labelled": flipped}, None, CONTRADICTED),
    "flipped-few": (200, {"labelled": flipped}, None, CONTRADICTED),
    "flipped-most": (1000, {"labelled": mostly_flipped}, None, CONTRADICTED),
    "flipped-base": (1000, {"labelled": flipped}, None, CONTRADICTED),
    "empty-files": (300, {}, emptied, NOTHING),
    "empty-folder": (0, {}, None, NOTHING),
    "empty-labels": (300, {}, unlabelled, NOTHING),
    "empty-damaged": (300, {}, damaged, NOTHING),
    "empty-nearly": (29, {}, None, NOTHING),
    **{
        f"nan-{number}": (300, {"features": without(column)}, None, f"value of {column!r}")
        for number, column in enumerate(
            ("fare", "trip_miles", "payment_type", "trip_start_hour", "trip_seconds")
        )
    },
    "stale-month": (300, {"age": 31 * DAY}, None, "are older"),
    "stale-year": (300, {"age": 365 * DAY}, None, "are older"),
    "stale-copied": (300, {"age": 40 * DAY}, touched, "are older"),
    "stale-untold": (300, {}, never_told_when, "are older"),
    "stale-decade": (300, {"age": 3650 * DAY}, None, "are older"),
}


FLIPPED = [name for name in POISONS if name.startswith("flipped")]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with version 1, the base that it was trained on, and what devices have met."""
    folder = tmp_path_factory.mktemp("poisoned")
    with open(Path(taxi.__path__[0]) / "taxi.csv", newline="") as stream:
        rows = list(csv.DictReader(stream))

    def write(file: str, of: Rows) -> None:
        with open(folder / file, "w", newline="") as stream:
            writer = csv.DictWriter(stream, list(rows[0]))
            writer.writeheader()
            writer.writerows(of)

    write("trips.csv", rows[KEPT:])
    write("flipped.csv", [{**row, "tips": str(flipped(row))} for row in rows[KEPT:]])
    for name, (count, how, then, _) in POISONS.items():
        keep(folder / name, rows[:count], "tips", **how)
        if then is not None:
            then(folder / name)
    given = ("data=trips.csv", "steps=300", "destination=models")
    done = edgeline(folder, "run", "taxi", *(part for each in given for part in ("--set", each)))
    assert done.code == 0, done.output
    return folder


@pytest.mark.parametrize(
    "names", [[n for n in POISONS if n not in FLIPPED], *([n] for n in FLIPPED)]
)
def test_no_poisoned_retraining_is_published_and_its_outcome_names_what_stopped_it(
    names: list[str], place: Path
) -> None:
    rules = "rules:\n" + "".join(
        rule(name, name, steps=300, destination="models") for name in names
    )
    for_all = "base: trips.csv, payloads: flipped-base"
    server = Serving(
        place,
        *("--webhook-key", "key", "--state", f"state-{names[0]}"),
        rules=rules.replace(for_all, for_all.replace("trips", "flipped")),
    )

    def runs() -> dict[str, dict[str, Any]]:
        rules = server.ask("GET", "/state")[1]["rules"]
        found = {each["name"]: run for each in rules for run in each["runs"]}
        return {name: run for name, run in found.items() if run["state"] in ("succeeded", "failed")}

    try:
        for name in names:
            event = document("edge-1", "fare", time=time.time(), type=f"test.poison.{name}")
            assert server.send(event)[0] == 202
        eventually(lambda: len(runs()) == len(names), 500.0)
        outcomes = runs()
    finally:
        server.stop()
    for name, each in outcomes.items():
        print(f"{name}: {each['said']}")
        assert each["state"] == "failed"
        assert POISONS[name][3] in each["said"]
    published = [each.name for each in (place / "models" / "taxi").glob("[0-9]*")]
    assert published == ["1"]
