"""A table of many columns, ingest to publish: `python benchmarks/columns.py --columns 2000`.

Makes the table: numbers, whole numbers and words with a label that two of the columns tell, and a
module that scales, buckets and looks up each of them. The pipeline `tabular` runs on it. Exits with
1 where a report is larger than 2.5 MB, or on 2,000 columns a step takes more than 2 GB.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from environment import undistorted
from measuring import timed
from pyarrow import csv
from rich.console import Console
from rich.table import Table

HERE = Path(__file__).resolve().parent
MODULE = HERE / "columns_module.py"
RESULTS = HERE / "results" / "columns.json"
EDGELINE = Path(sys.executable).with_name("edgeline")
ROWS = 2000
MOST_REPORT = 2_500_000  # bytes
MOST_MEMORY = 2e9  # bytes per step
WORDS = np.array(["red", "green", "blue", "dark red"])


def main() -> int:
    undistorted()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--columns", type=int, default=2000)
    columns = parser.parse_args().columns
    with tempfile.TemporaryDirectory(prefix="edgeline-benchmark-") as name:
        folder = Path(name)
        write_table(folder / "data.csv", columns)
        load = os.getloadavg()[0]
        given = {
            "data": folder / "data.csv",
            "label": "label",
            "model_name": "wide",
            "destination": folder / "published",
            "training.steps": 100,
        }
        settings = [word for key, value in given.items() for word in ("--set", f"{key}={value}")]
        wall = timed(
            [EDGELINE, "run", "tabular", "--module", MODULE, "--root", folder / "runs", *settings],
            folder,
            folder / "log",
        )
        [record] = (folder / "runs").glob("*/run.json")
        tasks = json.loads(record.read_text())["tasks"]
        published = sorted(file.name for file in (folder / "published").rglob("manifest.json"))
        reports = {file.parent.name: file.stat().st_size for file in _reports(record.parent)}
    summary = {
        "columns": columns,
        "rows": ROWS,
        "cores": os.cpu_count(),
        "load": load,
        "wall": round(wall, 1),
        "cpu": round(sum(task["cpu_seconds"] for task in tasks.values()), 1),
        "published": len(published),
        "reports": reports,
        "steps": {
            name: {
                "seconds": task["seconds"],
                "cpu_seconds": task["cpu_seconds"],
                "memory": task["peak_memory"],
            }
            for name, task in tasks.items()
        },
    }
    RESULTS.write_text(json.dumps(summary, indent=1) + "\n")
    show(summary)
    for problem in (found := problems(summary)):
        print(problem, file=sys.stderr)
    return int(bool(found))


def write_table(path: Path, columns: int) -> None:
    """Columns `x0`, `x1`, … of numbers, `i…` whole ones, `b…` to be bucketed, `w…` of words."""
    random = np.random.default_rng(1)
    table: dict[str, Any] = {}
    for place in range(columns):
        match place % 10:
            case 7:
                table[f"i{place}"] = random.integers(0, 50, ROWS)
            case 8:
                table[f"w{place}"] = random.choice(WORDS, ROWS)
            case 9:
                table[f"b{place}"] = random.normal(5, 2, ROWS).round(4)
            case _:
                table[f"x{place}"] = random.normal(place, 1 + place % 7, ROWS).round(4)
    table["label"] = (table["x0"] + table["x1"] / 2 > random.normal(0.5, 0.5, ROWS)).astype(int)
    csv.write_csv(pa.table(table), path)


def _reports(run: Path) -> list[Path]:
    """The HTML of each task, which KFP writes as a file without a name of its own kind."""
    return [
        file
        for file in run.rglob("*_report*")
        if file.is_file() and file.read_bytes()[:15] == b"<!doctype html>"
    ]


def show(summary: dict[str, Any]) -> None:
    """Print the table."""
    console = Console()
    title = (
        f"{summary['columns']:,} columns, {summary['rows']:,} rows, {summary['cores']} cores, "
        f"load {summary['load']:.1f}"
    )
    table = Table(title=title, title_justify="left")
    table.add_column("step")
    for column in ("seconds", "CPU seconds", "peak MB"):
        table.add_column(column, justify="right")
    for name, step in summary["steps"].items():
        table.add_row(
            name,
            f"{step['seconds']:.1f}",
            f"{step['cpu_seconds']:.1f}",
            f"{step['memory'] / 1e6:,.0f}",
        )
    console.print(table)
    console.print(
        f"{summary['wall']} s in all, {summary['cpu']} s of CPU in the steps", highlight=False
    )
    for name, size in summary["reports"].items():
        console.print(f"{size / 1e6:6.2f} MB  report of {name}", highlight=False)


def problems(summary: dict[str, Any]) -> list[str]:
    """What no speed makes good."""
    found = [
        f"The report of {name} has {size / 1e6:.1f} MB."
        for name, size in summary["reports"].items()
        if size > MOST_REPORT
    ]
    for name, step in summary["steps"].items():
        if step["memory"] > MOST_MEMORY:
            found.append(f"{name} took {step['memory'] / 1e9:.2f} GB.")
    if not summary["published"]:
        found.append("Nothing was published.")
    return found


if __name__ == "__main__":
    sys.exit(main())
