"""How much more of the front a search finds than random search, on real digits:
`python benchmarks/hypervolume.py`.

Searches of 40 trials each, by the samplers of `tune` and its own code, for accuracy after
quantisation and bytes; the hypervolume of what they find beyond accuracy 0.5 and 500 kB, median of
five seeds. A trial is looked up in one recorded table instead of being trained: it gets the
numbers of the row that is nearest to it and that this search has not had yet. `--record N` trains
N more rows of the table first (real trials, drawn by chance from the space, int8); it may be ended
at any time. What all rows together have is the most that any search can find.
"""

from __future__ import annotations

import contextlib
import functools
import json
import math
import multiprocessing
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np
from environment import undistorted
from quantisation_aware import prepare
from rich.console import Console
from rich.table import Table

HERE = Path(__file__).resolve().parent / "results"
TABLE, RESULTS = HERE / "hypervolume_table.jsonl", HERE / "hypervolume.json"
TRIALS, SEEDS = 40, 5
LEAST = 10 * TRIALS  # rows: of a smaller table every search has half
RANDOM = "random"
SAMPLERS = ("tpe", "nsga2", RANDOM)
ACCURACY, BYTES = 0.5, 500_000  # the reference point
SPACE: dict[str, dict[str, Any]] = {
    "pool": {"choices": [1, 2, 4]},
    "layers": {"choices": [0, 1, 2]},
    "units_0": {"low": 2, "high": 1024, "log": True},
    "units_1": {"low": 2, "high": 1024, "log": True},
    "learning_rate": {"low": 1e-5, "high": 1.0, "log": True},
    "dropout": {"low": 0.0, "high": 0.9, "type": "float"},
}
STEPS = 200
MODULE = """
from edgeline.pipelines.digits.module import CLASSES, preprocessing_fn


def build_model(features, hyperparameters):
    import keras

    layers = keras.layers
    image = keras.Input(features["image"].shape[1:], name="image")
    hidden = layers.Flatten()(layers.AveragePooling2D(hyperparameters["pool"])(image))
    for index in range(hyperparameters["layers"]):
        hidden = layers.Dense(hyperparameters[f"units_{index}"], activation="relu")(hidden)
        hidden = layers.Dropout(hyperparameters["dropout"])(hidden)
    odds = layers.Dense(CLASSES, activation="softmax", name="prediction")(hidden)
    model = keras.Model({"image": image}, odds)
    optimizer = keras.optimizers.Adam(hyperparameters["learning_rate"])
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model
"""


@click.command()
@click.option("--record", type=click.IntRange(0), default=0, help="How many rows more.")
def main(record: int) -> None:
    undistorted()
    if record:
        record_rows(record)
    rows = [json.loads(line) for line in TABLE.read_text().splitlines()] if TABLE.exists() else []
    if len(rows) < LEAST:
        sys.exit(
            f"{TABLE.name} has {len(rows)} rows: record {LEAST - len(rows)} more with --record."
        )
    found = compare(rows)
    RESULTS.write_text(json.dumps(found, indent=1) + "\n")
    show(found)


def record_rows(count: int) -> None:
    """Train as many more trials as asked for, and add each to the table when it has ended."""
    from edgeline.components.train.fitting import Fitting
    from edgeline.components.tune import measuring, space
    from edgeline.components.tune.measuring import TrialInputs, TrialSettings
    from edgeline.components.tune.outcome import TrialFailedError
    from edgeline.components.verify.findings import Limits

    before = len(TABLE.read_text().splitlines()) if TABLE.exists() else 0
    dimensions = space.parse(SPACE)
    with tempfile.TemporaryDirectory(prefix="edgeline-benchmark-") as name:
        folder = Path(name)
        # in a process of its own: a trial's steps are forks, which TensorFlow must not have run in
        made = multiprocessing.get_context("spawn").Process(target=prepare, args=(folder,))
        made.start()
        made.join()
        if made.exitcode:
            sys.exit("The digits could not be prepared.")
        (folder / "module.py").write_text(MODULE)
        given = TrialInputs(*(str(folder / each) for each in ("examples", "graph", "transformed")))
        settings = TrialSettings(
            module=str(folder / "module.py"),
            task="multiclass_classification",
            fitting=Fitting("digit", steps=STEPS, batch_size=40),
            quantisation="int8",
            representative_rows=100,
            limits=Limits(max_metric_drop=1.0),  # whether it may be published is not asked here
        )
        for number in range(before, before + count):
            chosen = space.suggest(Chance(number), dimensions)
            row: dict[str, Any] = {"hyperparameters": chosen}
            try:
                measured = measuring.measure(number, chosen, None, given, settings).measured
                row |= {key: measured[key] for key in ("accuracy", "size_bytes")}
            except TrialFailedError as failure:
                row["reason"] = str(failure)
            with TABLE.open("a") as stream:
                stream.write(json.dumps(row) + "\n")
            print(row, flush=True)


class Chance:
    """Draws a row's hyperparameters, by the row's number."""

    def __init__(self, number: int) -> None:
        self._random = np.random.default_rng([20261201, number])

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:  # noqa: ARG002
        return choices[int(self._random.integers(len(choices)))]

    def suggest_int(self, name: str, low: int, high: int, **how: Any) -> int:
        return round(self.suggest_float(name, low, high, **how))

    def suggest_float(self, name: str, low: float, high: float, **how: Any) -> float:  # noqa: ARG002
        if how["log"]:
            return float(math.exp(self._random.uniform(math.log(low), math.log(high))))
        return float(self._random.uniform(low, high))


def compare(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The hypervolume that each sampler finds in a table, for each seed, and its medians' ratio to
    random search's."""
    found: dict[str, Any] = {"rows": len(rows), "trials": TRIALS, "all rows": hypervolume(rows)}
    for sampler in SAMPLERS:
        volumes = [searched(rows, sampler, seed) for seed in range(SEEDS)]
        found[sampler] = {"hypervolumes": volumes, "median": float(np.median(volumes))}
    for sampler in SAMPLERS:
        ratio = found[sampler]["median"] / found[RANDOM]["median"]
        found[sampler]["times random"] = round(ratio, 3)
    return found


def searched(rows: Sequence[Mapping[str, Any]], sampler: str, seed: int) -> float:
    """The hypervolume of one search's trials, each the nearest row that it has not had."""
    from edgeline.components.tune import search, space
    from edgeline.components.tune.folder_journal import FolderJournal
    from edgeline.components.tune.objectives import Objective
    from edgeline.components.tune.outcome import TrialFailedError, TrialMeasurement

    dimensions = space.parse(SPACE)
    places = np.array([place(row["hyperparameters"]) for row in rows])
    taken: list[int] = []

    def measure(_: int, hyperparameters: Mapping[str, Any], __: Any) -> TrialMeasurement:
        distances = np.abs(places - place(hyperparameters)).sum(1)
        distances[taken] = np.inf
        taken.append(int(distances.argmin()))
        row = rows[taken[-1]]
        if "reason" in row:
            raise TrialFailedError(row["reason"])
        return TrialMeasurement({key: row[key] for key in ("accuracy", "size_bytes")})

    with tempfile.TemporaryDirectory(prefix="edgeline-benchmark-") as folder:
        plan = search.SearchPlan(
            objectives=(Objective("accuracy", "maximize"), Objective("size_bytes", "minimize")),
            trials=TRIALS,
            sampler=sampler,
            sampler_seed=seed,
        )
        suggest = functools.partial(space.suggest, space=dimensions)
        with contextlib.redirect_stdout(None):
            search.search(plan, suggest, measure, FolderJournal(Path(folder)), {})
    return hypervolume([rows[index] for index in taken])


def place(hyperparameters: Mapping[str, Any]) -> Any:
    """Where a trial is in the space: each hyperparameter from 0 to 1, choices by their order."""
    found = []
    for name, each in SPACE.items():
        value = hyperparameters[name]
        if "choices" in each:
            found.append(each["choices"].index(value) / (len(each["choices"]) - 1))
        else:
            scale = math.log if each.get("log") else float
            low, high = scale(each["low"]), scale(each["high"])
            found.append((scale(value) - low) / (high - low))
    return np.array(found)


def hypervolume(rows: Sequence[Mapping[str, Any]]) -> float:
    """The share of the area between the reference point and the best imaginable (accuracy 1 with no
    bytes) that lies behind the front of some rows."""
    points = sorted(
        (row["size_bytes"], row["accuracy"])
        for row in rows
        if row.get("accuracy", 0.0) > ACCURACY and row["size_bytes"] < BYTES
    )
    volume, best = 0.0, ACCURACY
    for size, accuracy in points:  # from the smallest: each adds what is above those before
        if accuracy > best:
            volume += (accuracy - best) * (BYTES - size)
            best = accuracy
    return volume / ((1.0 - ACCURACY) * BYTES)


def show(found: Mapping[str, Any]) -> None:
    table = Table("sampler", "hypervolume, median", "times random search's")
    for sampler in SAMPLERS:
        each = found[sampler]
        table.add_row(sampler, f"{each['median']:.3f}", f"{each['times random']:.2f}")
    console = Console()
    console.print(table)
    console.print(f"All {found['rows']} rows of the table: {found['all rows']:.3f}")


if __name__ == "__main__":
    main()
