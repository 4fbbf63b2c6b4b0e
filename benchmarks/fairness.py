"""How far each mitigation brings groups of taxi trips together, and what it costs.

`python benchmarks/fairness.py [RUN]`. RUN is the folder of a run of the taxi pipeline
(`edgeline-runs/taxi-…/taxi-…`); without one the pipeline is run first. Groups are the community
areas where trips end that have at least 100 of the evaluated rows. Thresholds by group are tried on
rows that they were not chosen on, by five partitions into folds; reweighing and penalty are
trained beside the same training without. Prints the equalised odds difference and the accuracy
before and after, and writes them to results/fairness.json. The exit status is 1 where thresholds do
not halve the difference at a point of accuracy at most, in the median of the partitions.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from environment import undistorted, without_onednn

RESULTS = Path(__file__).resolve().parent / "results"
GROUPS = {"group": "dropoff_community_area", "min_rows": 100}
THRESHOLDS = {**GROUPS, "mitigation": "thresholds", "max_accuracy_drop": 0.006}
TRAINED = {
    "reweighing": {**GROUPS, "mitigation": "reweighing"},
    "penalty": {**GROUPS, "mitigation": "penalty", "weight": 5.0},
}
PARTITIONS, MOST_ACCURACY = 5, 0.01
METRIC = "equalised_odds_difference"


def main() -> int:
    undistorted()
    without_onednn()
    load = round(os.getloadavg()[0], 1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        run = Path(sys.argv[1]) if len(sys.argv) > 1 else _run(folder)
        tried = [
            _analyzed(run, run / "train/model", THRESHOLDS, folder / f"thresholds-{seed}", seed)
            for seed in range(PARTITIONS)
        ]
        found = {"thresholds": _median(tried)}
        for mitigation, asked in TRAINED.items():
            model = _trained(run, asked, folder / mitigation)
            found[mitigation] = _analyzed(run, model, asked, folder / f"{mitigation}-analyzed")
    result = {"cores": os.cpu_count(), "load": load, **GROUPS, "partitions": tried, **found}
    print(json.dumps(result, indent=1))
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "fairness.json").write_text(json.dumps(result, indent=1) + "\n")
    one = found["thresholds"]
    halved = one["after"] <= one["before"] / 2
    return int(not halved or one["accuracy_before"] - one["accuracy_after"] > MOST_ACCURACY)


def _run(folder: Path) -> Path:
    command = [str(Path(sys.executable).with_name("edgeline")), "run", "taxi"]
    subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)
    (found,) = folder.glob("edgeline-runs/taxi-*/taxi-*/")
    return found


def _trained(run: Path, asked: dict[str, Any], folder: Path) -> Path:
    """The taxi model with a mitigation, and the same without in it."""
    from edgeline.artifacts.fairness import training
    from edgeline.components.train.fitting import Fitting
    from edgeline.components.train.train import train
    from edgeline.components.transform.transform import transform

    module, graph, rows = "edgeline.pipelines.taxi.module", folder / "graph", folder / "rows"
    folder.mkdir()
    transform(
        *(str(run / "ingest/examples"), str(run / "validate/schema"), module),
        *(str(graph), str(rows), str(folder / "features.html")),
        fairness=asked,
    )
    how = Fitting("big_tip", 1000, 256, fairness=training(asked))
    train(
        *(str(rows), str(graph), module, "binary_classification", how),
        *(str(folder / "model"), str(folder / "train.html")),
    )
    return folder / "model"


def _analyzed(
    run: Path, model: Path, asked: dict[str, Any], folder: Path, seed: int = 0
) -> dict[str, float]:
    from edgeline.components.analyze.analyze import analyze

    analyze(
        *(str(run / "ingest/examples"), str(model), str(folder), str(folder.with_suffix(".html"))),
        seed=seed,
        fairness=asked,
    )
    before, after = (
        side["classes"][""] for side in json.loads((folder / "fairness.json").read_text())["sides"]
    )
    return {
        "before": round(before["differences"][METRIC]["value"], 4),
        "before_at_least": round(before["differences"][METRIC]["lower"], 4),
        "after": round(after["differences"][METRIC]["value"], 4),
        "accuracy_before": round(before["accuracy"]["value"], 4),
        "accuracy_after": round(after["accuracy"]["value"], 4),
    }


def _median(tried: list[dict[str, float]]) -> dict[str, float]:
    return {name: statistics.median(each[name] for each in tried) for name in tried[0]}


if __name__ == "__main__":
    sys.exit(main())
