"""As many distinct taxi rows as asked, ingest to analyze: `python benchmarks/rows.py --rows 15e6`.

Makes the rows: the taxi data again and again, each time with other timestamps, so that no two are
equal (15,000,000 are 1.9 GB of CSV). The pipeline of `taxi_to_analyze.py` runs on a tenth of them,
then on all: what a step's memory grows by is what it keeps of the rows. Beside it DuckDB reads the
same CSV and writes it as Parquet, in an environment of its own, which shows what the reading alone
has to take here. Exits with 1 where rows are lost or a step takes more than 700 MB.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from importlib import resources
from pathlib import Path
from typing import Any

from environment import undistorted
from measuring import measure, timed
from records import facts
from rich.console import Console
from rich.table import Table

HERE = Path(__file__).resolve().parent
PIPELINE = HERE / "taxi_to_analyze.py"
RESULTS = HERE / "results" / "rows.json"
EDGELINE = Path(sys.executable).with_name("edgeline")
DUCKDB = "2.0.1"
COPY = (
    "import duckdb, sys; duckdb.sql(f\"COPY (FROM read_csv('{sys.argv[1]}')) TO '{sys.argv[2]}'\")"
)
MOST_MEMORY = 700e6  # bytes per step
STAMP = "trip_start_timestamp"
REPEATS = 1000  # of the taxi data, before timestamps would be used up


def main() -> int:
    undistorted()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=float, default=1.5e6, help="How many, for example 15e6.")
    rows = int(parser.parse_args().rows)
    with tempfile.TemporaryDirectory(prefix="edgeline-benchmark-") as folder:
        data = Path(folder) / "trips.csv"
        write_rows(data, rows // 10)
        few = run(data, Path(folder) / "few")
        write_rows(data, rows)
        summary = {
            "rows": rows,
            "bytes": data.stat().st_size,
            "cores": os.cpu_count(),
            "load": os.getloadavg()[0],
            "duckdb": read_by_duckdb(data, Path(folder)),
            **run(data, Path(folder) / "all"),
        }
    for name, step in summary["steps"].items():
        step["tenth_memory"] = few["steps"][name]["memory"]
    RESULTS.write_text(json.dumps(summary, indent=1) + "\n")
    show(summary)
    for problem in (found := problems(summary)):
        print(problem, file=sys.stderr)
    return int(bool(found))


def write_rows(path: Path, rows: int) -> None:
    """The taxi rows, repeated until there are `rows`, as a CSV that is never held whole.

    The timestamps are milliseconds, of which each repetition has its own.
    """
    taxi = resources.files("edgeline.pipelines.taxi").joinpath("taxi.csv").read_text()
    header, *lines = taxi.splitlines(keepends=True)
    place = header.rstrip().split(",").index(STAMP)
    # no cell before the timestamp has a comma
    cut = [line.split(",", place + 1) for line in lines]
    around = [(",".join(cells[: place + 1]), cells[place + 1]) for cells in cut]
    if rows > REPEATS * len(lines):
        sys.exit(f"--rows {rows} is more than {REPEATS * len(lines)}.")
    with open(path, "w", encoding="utf-8") as file:
        file.write(header)
        for first in range(0, rows, len(lines)):
            behind = f"{first // len(lines):03},"
            some = around[: rows - first]
            file.write("".join([before + behind + after for before, after in some]))


def run(data: Path, folder: Path) -> dict[str, Any]:
    """Ours, from ingest to analyze: seconds of all, and what each step took and kept."""
    wall = timed(
        [EDGELINE, "run", PIPELINE, "--root", folder, "--set", f"data={data}"],
        data.parent,
        data.parent / "log",
    )
    [record] = folder.glob("*/run.json")
    tasks = json.loads(record.read_text())["tasks"]
    steps = {
        name: {
            "seconds": task["seconds"],
            "cpu_seconds": task["cpu_seconds"],
            "memory": task["peak_memory"],
            "rows": _rows(task),
        }
        for name, task in tasks.items()
    }
    return {
        "wall": round(wall, 1),
        "cpu": round(sum(step["cpu_seconds"] for step in steps.values()), 1),
        "steps_seconds": round(sum(step["seconds"] for step in steps.values()), 1),
        "steps": steps,
    }


def _rows(task: dict[str, Any]) -> dict[str, int]:
    """The rows of each split that a task tells of."""
    rows: dict[str, int] = {}
    for output in task["outputs"].values():
        told = facts(output)
        rows |= {split: found["rows"] for split, found in told.get("splits", {}).items()}
        if "rows" in told:
            rows[told.get("split", "train")] = told["rows"]
    return rows


def read_by_duckdb(data: Path, folder: Path) -> dict[str, float]:
    """Seconds, processor seconds and bytes that DuckDB takes from the CSV to Parquet."""
    default = Path.home() / ".cache" / "edgeline-benchmarks"
    home = Path(os.environ.get("EDGELINE_BENCH_CACHE", default)) / f"duckdb-{DUCKDB}"
    python = home / "bin" / "python"
    if not (home / "ready").exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", home], check=True)
        pip = [str(python), "-m", "pip", "install", "--quiet", f"duckdb=={DUCKDB}"]
        subprocess.run(pip, check=True)
        (home / "ready").touch()
    cost = measure([python, "-c", COPY, data, folder / "read.parquet"], folder, folder / "log")
    return {
        "seconds": round(cost.wall, 1),
        "cpu_seconds": round(cost.cpu, 1),
        "memory": cost.memory,
    }


def show(summary: dict[str, Any]) -> None:
    """Print the table."""
    console = Console()
    console.width = max(console.width, 100)
    size = summary["bytes"] / 1e9
    title = (
        f"{summary['rows']:,} rows, {size:.2f} GB, {summary['cores']} cores, "
        f"load {summary['load']:.1f}"
    )
    table = Table(title=title, title_justify="left")
    table.add_column("step")
    for column in ("seconds", "CPU seconds", "peak MB", "MB of a tenth", "rows"):
        table.add_column(column, justify="right")
    for name, step in summary["steps"].items():
        rows = " + ".join(f"{count:,}" for _, count in sorted(step["rows"].items()))
        table.add_row(name, *_cells(step), f"{step['tenth_memory'] / 1e6:,.0f}", rows)
    table.add_row("CSV to Parquet by DuckDB", *_cells(summary["duckdb"]))
    console.print(table)
    console.print(
        f"steps {summary['steps_seconds']:.1f} s and {summary['cpu']:.1f} s of CPU, the whole "
        f"command {summary['wall']:.1f} s",
        highlight=False,
    )


def _cells(step: dict[str, Any]) -> tuple[str, str, str]:
    return (
        f"{step['seconds']:.1f}",
        f"{step['cpu_seconds']:.1f}",
        f"{step['memory'] / 1e6:,.0f}",
    )


def problems(summary: dict[str, Any]) -> list[str]:
    """What no speed makes good."""
    splits = summary["steps"]["ingest"]["rows"]
    found = []
    if sum(splits.values()) != summary["rows"]:
        found.append(f"ingest made {splits} of {summary['rows']} rows.")
    for name, step in summary["steps"].items():
        if any(splits[split] != count for split, count in step["rows"].items()):
            found.append(f"{name} has {step['rows']} of {splits} rows.")
        if step["memory"] > MOST_MEMORY:
            found.append(f"{name} took {step['memory'] / 1e6:.0f} MB.")
    return found


if __name__ == "__main__":
    sys.exit(main())
