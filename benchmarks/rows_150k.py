"""The taxi data ten times, beside the bare libraries: `python benchmarks/rows_150k.py`.

Ours runs the taxi pipeline from ingest to analyze; then tf.Transform and TFMA alone transform and
evaluate the same rows of the same splits with the same preprocessing, model, metrics and slices.

Compared is what transform and analyze take together, twice: with the libraries' imports left out
on their side alone (ours, a task's seconds, hold the wait for what is not yet imported when
transform begins), and with one import of them counted, as a script of one process would have it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from importlib import resources
from pathlib import Path
from typing import Any

from environment import undistorted
from measuring import measure
from records import facts, path_of
from rich.console import Console
from rich.table import Table

HERE = Path(__file__).resolve().parent
PIPELINE = HERE / "taxi_to_analyze.py"
RESULTS = HERE / "results" / "rows_150k.json"
EDGELINE = Path(sys.executable).with_name("edgeline")
TIMES = 10
MOST_MEMORY = 2e9  # bytes per step


def main() -> None:
    undistorted()
    with tempfile.TemporaryDirectory(prefix="edgeline-benchmark-") as folder:
        summary = compare(Path(folder))
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(summary, indent=1) + "\n")
    show(summary)


def compare(folder: Path) -> dict[str, Any]:
    """Run both, the lighter first; seconds, bytes and rows of each step of each."""
    data = folder / "trips.csv"
    given = write_rows(data)
    load = os.getloadavg()[0]
    whole = measure(
        [EDGELINE, "run", PIPELINE, "--root", folder / "runs", "--set", f"data={data}"],
        folder,
        folder / "log",
    )
    [record] = (folder / "runs").glob("*/run.json")
    tasks = json.loads(record.read_text())["tasks"]
    ours = {name: _step(task) for name, task in tasks.items()}
    examples = path_of(tasks["ingest"]["outputs"]["examples"])
    model = path_of(tasks["train"]["outputs"]["model"]) / "saved_model"

    bare_folder = folder / "bare"
    bare_folder.mkdir()
    command: list[str | Path] = [sys.executable, HERE / "bare_libraries.py"]
    subprocess.run(
        [*command, "prepare", examples, bare_folder], check=True, capture_output=True, cwd=folder
    )
    bare = {
        "transform": _bare([*command, "transform", examples, bare_folder], folder),
        "analyze": _bare([*command, "evaluate", examples, bare_folder, model], folder),
    }
    totals = {
        name: steps["transform"]["seconds"] + steps["analyze"]["seconds"]
        for name, steps in (("ours", ours), ("bare", bare))
    }
    totals["bare with imports"] = totals["bare"] + bare["transform"]["imports"]
    return {
        "cores": os.cpu_count(),
        "load": load,
        "rows": given,
        "wall": whole.wall,
        "ours": ours,
        "bare": bare,
        "transform_and_analyze": totals,
        "ratios": {
            name: round(totals["ours"] / seconds, 3)
            for name, seconds in totals.items()
            if name != "ours"
        },
    }


def write_rows(path: Path) -> int:
    """The taxi rows ten times as a CSV; returns how many."""
    taxi = resources.files("edgeline.pipelines.taxi").joinpath("taxi.csv").read_text()
    header, *rows = taxi.splitlines(keepends=True)
    path.write_text("".join([header, *(rows * TIMES)]))
    return len(rows) * TIMES


def _step(task: dict[str, Any]) -> dict[str, Any]:
    """Of a task of ours: seconds, peak memory, and the rows of each split it tells of."""
    rows: dict[str, int] = {}
    for output in task["outputs"].values():
        told = facts(output)
        for split, found in told.get("splits", {}).items():
            rows[split] = found["rows"]
        if "rows" in told:
            rows[told.get("split", "train")] = told["rows"]
    return {"seconds": task["seconds"], "memory": task["peak_memory"], "rows": rows}


def _bare(command: list[Any], folder: Path) -> dict[str, Any]:
    log = folder / "bare.log"
    cost = measure(command, folder, log)
    lines = log.read_text(errors="replace").splitlines()
    found = next(line for line in reversed(lines) if line.startswith('{"imports"'))
    return {**json.loads(found), "memory": cost.memory, "load": cost.load}


def show(summary: dict[str, Any]) -> None:
    """Print the table; stop with an error where rows are lost or a step is too large."""
    console = Console()
    console.width = max(console.width, 100)
    title = f"{summary['rows']:,} rows, {summary['cores']} cores, load {summary['load']:.1f}"
    table = Table(title=title, title_justify="left")
    table.add_column("step")
    for column in ("seconds", "peak MB", "rows", "bare seconds", "bare peak MB", "bare rows"):
        table.add_column(column, justify="right")
    for name, step in summary["ours"].items():
        beside = summary["bare"].get(name)
        table.add_row(name, *_cells(step), *(_cells(beside) if beside else ()))
    console.print(table)
    totals = summary["transform_and_analyze"]
    console.print(f"transform and analyze: ours {totals['ours']:.1f} s", highlight=False)
    for name, ratio in summary["ratios"].items():
        console.print(f"  {ratio} of {name}, {totals[name]:.1f} s", highlight=False)
    for problem in problems(summary):
        sys.exit(problem)


def _cells(step: dict[str, Any]) -> tuple[str, str, str]:
    rows = " + ".join(f"{count:,}" for _, count in sorted(step["rows"].items()))
    return f"{step['seconds']:.1f}", f"{step['memory'] / 1e6:,.0f}", rows


def problems(summary: dict[str, Any]) -> list[str]:
    """What no speed makes good."""
    splits = summary["ours"]["ingest"]["rows"]
    found = []
    if sum(splits.values()) != summary["rows"]:
        found.append(f"ingest made {splits} of {summary['rows']} rows.")
    for side in ("ours", "bare"):
        for name, step in summary[side].items():
            if any(splits[split] != count for split, count in step["rows"].items()):
                found.append(f"{name} ({side}) has {step['rows']} of {splits} rows.")
            if name in ("transform", "analyze") and not step["rows"]:
                found.append(f"{name} ({side}) tells no number of rows.")
    for name, step in summary["ours"].items():
        if step["memory"] > MOST_MEMORY:
            found.append(f"{name} took {step['memory'] / 1e9:.2f} GB.")
    return found


if __name__ == "__main__":
    main()
