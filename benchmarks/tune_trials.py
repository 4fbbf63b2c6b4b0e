"""How long a search takes: 40 real trials on real digits, two side by side.

`python benchmarks/tune_trials.py [FOLDER]`, which takes TensorFlow with oneDNN, as
docs/distributed.md has it for convolutions; with `TF_ENABLE_ONEDNN_OPTS=0` without. Runs
`edgeline tune digits`, with that pipeline's own steps, and writes seconds by the clock and of a
core, and what became of the trials, to results/tune_trials.json. The run's folder is kept in
FOLDER, if one is named. The exit status is 1 where the task `tune` takes more than 15 minutes, or a
trial failed.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from environment import undistorted
from measuring import timed
from records import facts

RESULTS = Path(__file__).resolve().parent / "results" / "tune_trials.json"
TRIALS, JOBS, MOST_SECONDS = 40, 2, 900.0
SPACE = {
    "filters": {"choices": [[4, 8], [8, 16], [16, 32], [24, 48], [8], [24]]},
    "dropout": {"low": 0.0, "high": 0.7, "type": "float"},
    "learning_rate": {"low": 0.0003, "high": 0.03, "log": True},
}


def main() -> int:
    undistorted()
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    with tempfile.TemporaryDirectory(prefix="edgeline-benchmark-") as name:
        found = searched(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(name))
    print(json.dumps(found, indent=1))
    RESULTS.write_text(json.dumps(found, indent=1) + "\n")
    return int(found["seconds of tune"] > MOST_SECONDS or found["states"].get("failed", 0) > 0)


def searched(folder: Path) -> dict[str, Any]:
    """Run the pipeline with a search, and read what its record has of it."""
    folder.mkdir(parents=True, exist_ok=True)
    load = round(os.getloadavg()[0], 1)
    command: list[str | Path] = [
        *(Path(sys.executable).with_name("edgeline"), "tune", "digits", "--root", "runs"),
        *("--trials", str(TRIALS), "--objective", "accuracy", "--objective", "size_bytes"),
        *("--set", f"jobs={JOBS}", "--set", f"search_space={json.dumps(SPACE)}"),
        *("--set", "destination=models"),
    ]
    seconds = timed(command, folder, folder / "log")
    (record,) = folder.glob("runs/*/run.json")
    task = json.loads(record.read_text())["tasks"]["tune"]
    return {
        "cores": os.cpu_count(),
        "load": load,
        "oneDNN": os.environ["TF_ENABLE_ONEDNN_OPTS"] == "1",
        "trials": TRIALS,
        "seconds": round(seconds, 1),
        "seconds of tune": task["seconds"],
        "seconds of a core": task["cpu_seconds"],
        "states": facts(task["outputs"]["study"])["states"],
    }


if __name__ == "__main__":
    sys.exit(main())
