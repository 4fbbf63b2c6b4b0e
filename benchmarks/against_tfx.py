"""The taxi pipeline beside TFX 1.16's: `python benchmarks/against_tfx.py [--rounds N]`.

Both get the same rows, network, steps, batches, metrics, slices and thresholds, and run in turn;
then both run again with a changed module, ours in the warm processes of the run before; then with
everything in their cache, ours also with its whole pipeline, to publish and the notification at its
end, which TFX's lacks. A first run of ours finds no warm processes.

TFX gets an environment of its own below EDGELINE_BENCH_CACHE (by default
~/.cache/edgeline-benchmarks), with a Python 3.10 that --python or EDGELINE_BENCH_PYTHON names.
Results go to a table and to results/against_tfx.json.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from environment import undistorted
from measuring import Cost, measure
from records import facts
from rich.console import Console
from rich.table import Table

from edgeline.local.warm import sets

HERE = Path(__file__).resolve().parent
PEER = HERE / "tfx_taxi"
TO_ANALYZE = HERE / "taxi_to_analyze.py"
RESULTS = HERE / "results" / "against_tfx.json"
EDGELINE = Path(sys.executable).with_name("edgeline")
VALIDATION_STEPS = 125  # 5,000 rows: every row of the eval split once
CACHED_ROUNDS = 3
TFX, OURS = "TFX 1.16", "Edgeline"
CACHED, TO_PUBLISH = "cached", "cached, to publish"
WHOLE, CHANGED = "whole", "module changed"
# of ours with which of TFX's
COMPARED = {WHOLE: WHOLE, CHANGED: CHANGED, CACHED: CACHED, TO_PUBLISH: CACHED}
AIMS = {WHOLE: 0.20, CHANGED: 0.12, CACHED: 0.08, TO_PUBLISH: 0.08}

console = Console()
console.width = max(console.width, 125)


@dataclass(frozen=True)
class Run:
    """One run of one side. `outcome` has rows by split, auc, accuracy, slices and blessed."""

    side: str
    kind: str
    cost: Cost
    outcome: dict[str, Any]


def main() -> None:
    undistorted()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=2, help="Runs of each side, in turn.")
    parser.add_argument(
        "--python",
        default=os.environ.get("EDGELINE_BENCH_PYTHON", "python3.10"),
        help="A Python 3.10 for TFX's environment, when that is made.",
    )
    given = parser.parse_args()
    peer = environment(given.python)
    rows = resources.files("edgeline.pipelines.taxi").joinpath("taxi.csv").read_bytes()
    with tempfile.TemporaryDirectory(prefix="edgeline-benchmark-") as folder:
        runs = compare(peer, rows, given.rounds, Path(folder))
    check(runs)
    summary = summarise(runs)
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(summary, indent=1) + "\n")
    show(runs, summary)


def environment(python: str) -> Path:
    """The interpreter of TFX's environment, which is made where it is missing."""
    default = Path.home() / ".cache" / "edgeline-benchmarks"
    folder = Path(os.environ.get("EDGELINE_BENCH_CACHE", default)) / "tfx-1.16.0"
    interpreter = folder / "bin" / "python"
    if (folder / "ready").exists():
        return interpreter
    if not shutil.which(python):
        sys.exit(f"There is no {python}: name a Python 3.10 by --python or EDGELINE_BENCH_PYTHON.")
    console.print(f"Making TFX's environment in {folder}; this takes minutes.", soft_wrap=True)
    shutil.rmtree(folder, ignore_errors=True)
    subprocess.run([python, "-m", "venv", folder], check=True)
    # --no-deps: the list is complete, and what TFX itself asks for would be resolved anew
    pip: list[str | Path] = [
        interpreter,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--use-pep517",
        "--no-deps",
    ]
    subprocess.run([*pip, "-r", PEER / "requirements.txt"], check=True)
    (folder / "ready").touch()
    return interpreter


def compare(peer: Path, rows: bytes, rounds: int, folder: Path) -> list[Run]:
    """Run both sides in turn, then their cached reruns in turn."""
    console.print("Importing both once, so that neither pays for reading its files from disk.")
    subprocess.run([peer, "-c", "import tfx.v1"], check=True, capture_output=True)
    ours = "import edgeline.local.runner, tensorflow_transform.beam, tensorflow_model_analysis"
    subprocess.run([sys.executable, "-c", ours], check=True, capture_output=True)

    runs = []
    for number in range(rounds):
        runs.append(run_tfx(peer, rows, folder / f"tfx-{number}", WHOLE))
        sets.stop()
        runs.append(run_edgeline(TO_ANALYZE, rows, folder / f"edgeline-{number}", WHOLE))
    # ours fills its cache only when asked to use it; TFX has done so already
    short, complete = folder / "edgeline-cached", folder / "edgeline-taxi"
    last = folder / f"tfx-{rounds - 1}"
    run_edgeline(TO_ANALYZE, rows, short, "fills the cache")
    for number in range(rounds):
        runs.append(run_tfx(peer, rows, last, CHANGED, number + 2))
        runs.append(run_edgeline(TO_ANALYZE, rows, short, CHANGED))
    run_edgeline("taxi", rows, complete, "fills the cache")
    for _ in range(CACHED_ROUNDS):
        runs.append(run_tfx(peer, rows, last, CACHED, rounds + 1))
        runs.append(run_edgeline(TO_ANALYZE, rows, short, CACHED))
        runs.append(run_edgeline("taxi", rows, complete, TO_PUBLISH))
    return runs


def run_tfx(peer: Path, rows: bytes, folder: Path, kind: str, executions: int = 1) -> Run:
    """TFX's pipeline in a folder; a second time in the same folder it finds its cache.

    `executions` are those that there are then of the components that take the module.
    """
    from taxi_to_analyze import EVALUATION, TAXI

    if kind == WHOLE:  # a later run must not touch the file: TFX's cache looks at its time
        (folder / "data").mkdir(parents=True)
        (folder / "data" / "taxi.csv").write_bytes(rows)
        shutil.copy(PEER / "module.py", folder / "module.py")
    if kind == CHANGED:
        _change(folder / "module.py")
    parameters = {name: TAXI[name] for name in ("steps", "batch_size", "label")}
    parameters |= {"validation_steps": VALIDATION_STEPS, "eval_config": EVALUATION}
    (folder / "parameters.json").write_text(json.dumps(parameters))
    cost = measure([peer, PEER / "pipeline.py", folder], folder, folder / "log")
    read: list[str | Path] = [peer, PEER / "outcome.py", folder, str(executions)]
    found = subprocess.run(read, capture_output=True, text=True)
    if found.returncode:
        sys.exit(found.stderr)
    return _told(Run(TFX, kind, cost, json.loads(found.stdout.splitlines()[-1])))


def run_edgeline(pipeline: str | Path, rows: bytes, folder: Path, kind: str) -> Run:
    """A pipeline of ours in a folder, as a user starts it."""
    folder.mkdir(exist_ok=True)
    data = folder / "taxi.csv"
    data.write_bytes(rows)
    module = folder / "module.py"
    if not module.exists():
        module.write_bytes(
            resources.files("edgeline.pipelines.taxi").joinpath("module.py").read_bytes()
        )
    if kind == CHANGED:
        _change(module)
    command: list[str | Path] = [
        EDGELINE,
        "run",
        pipeline,
        "--root",
        folder / "runs",
        "--set",
        f"data={data}",
        "--module",
        module,
    ]
    if kind != WHOLE:
        command.append("--cache")
    cost = measure(command, folder, folder / "log")
    record = max((folder / "runs").glob("*/run.json"), key=lambda path: path.stat().st_mtime_ns)
    return _told(Run(OURS, kind, cost, outcome(record)))


def _change(module: Path) -> None:
    """A change by which nothing else becomes another one: what is compared stays comparable."""
    with open(module, "a") as stream:
        stream.write("# changed\n")


def outcome(record: Path) -> dict[str, Any]:
    """What one of our runs made, from its record."""
    tasks = json.loads(record.read_text())["tasks"]
    told = {
        name: facts(tasks[task]["outputs"][name])
        for task, name in (
            ("ingest", "examples"),
            ("transform", "transformed_examples"),
            ("analyze", "evaluation"),
        )
    }
    metrics = told["evaluation"]["metrics"]
    return {
        "rows": _rows(told["examples"]),
        "transformed_rows": _rows(told["transformed_examples"]),
        "evaluated_rows": int(told["evaluation"]["rows"]),
        "slices": int(told["evaluation"]["slices"]),
        "auc": metrics["auc_tfma"],
        "accuracy": metrics["accuracy"],
        "blessed": told["evaluation"]["blessed"],
        "states": {name: task["state"] for name, task in tasks.items()},
        "seconds": {name: task["seconds"] for name, task in tasks.items()},
        "memory": {name: task["peak_memory"] for name, task in tasks.items()},
    }


def _rows(told: Mapping[str, Any]) -> dict[str, int]:
    return {split: int(found["rows"]) for split, found in told["splits"].items()}


def summarise(runs: Sequence[Run]) -> dict[str, Any]:
    """The runs, and the ratio of medians of wall time for each kind of ours."""

    def wall(side: str, kind: str) -> float:
        return statistics.median(
            run.cost.wall for run in runs if (run.side, run.kind) == (side, kind)
        )

    ratios = {
        kind: round(wall(OURS, kind) / wall(TFX, other), 3) for kind, other in COMPARED.items()
    }
    return {"cores": os.cpu_count(), "ratios": ratios, "runs": [asdict(run) for run in runs]}


def check(runs: Sequence[Run]) -> None:
    """Stop with an error where the two did not do the same work."""
    for run in runs:
        rows = run.outcome["rows"]
        if run.outcome["transformed_rows"] != rows or run.outcome["evaluated_rows"] != rows["eval"]:
            sys.exit(f"{run.side} lost rows: {run.outcome}.")
        # notify tells the end of every run
        states = {name: s for name, s in run.outcome.get("states", {}).items() if name != "notify"}
        if run.kind in (CACHED, TO_PUBLISH) and set(states.values()) - {"cached"}:
            sys.exit(f"Not every task of ours came from the cache: {states}.")
        if run.kind == CHANGED and states and states["transform"] != "succeeded":
            sys.exit(f"The changed module was not seen: {states}.")
    if len({(sum(run.outcome["rows"].values()), run.outcome["slices"]) for run in runs}) > 1:
        sys.exit("The two did not get the same rows or slices.")


def show(runs: Sequence[Run], summary: dict[str, Any]) -> None:
    """Print the table."""
    table = Table(title=f"Taxi, {summary['cores']} cores", title_justify="left")
    table.add_column("run", no_wrap=True)
    table.add_column("side", no_wrap=True)
    for column in ("wall s", "CPU s", "peak MB", "load", "train + eval", "slices", "AUC", "acc."):
        table.add_column(column, justify="right", no_wrap=True)
    for run in runs:
        table.add_row(
            run.kind,
            run.side,
            f"{run.cost.wall:.2f}",
            f"{run.cost.cpu:.1f}",
            f"{run.cost.memory / 1e6:,.0f}",
            f"{run.cost.load:.1f}",
            f"{run.outcome['rows']['train']:,} + {run.outcome['rows']['eval']:,}",
            str(run.outcome["slices"]),
            f"{run.outcome['auc']:.4f}",
            f"{run.outcome['accuracy']:.4f}",
        )
    console.print(table)
    for kind, other in COMPARED.items():
        ratio = summary["ratios"][kind]
        said = f"{kind}: {ratio:.3f} of TFX's {other} (at most {AIMS[kind]})"
        console.print(said, highlight=False)


def _told(run: Run) -> Run:
    console.print(f"{run.side}, {run.kind}: {run.cost.wall:.2f} s", highlight=False)
    return run


if __name__ == "__main__":
    main()
