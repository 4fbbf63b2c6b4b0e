"""Compiling beside kfp's own compiler: `python benchmarks/compile_pipelines.py`.

`edgeline compile taxi --env onprem`, and a command like it for each pipeline, beside a Python
process that imports the same pipeline and gives it to `kfp.compiler.Compiler`. kfp's knows no
environments and writes no manifests: it does less.
"""

from __future__ import annotations

import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from environment import undistorted
from rich.console import Console
from rich.table import Table

from edgeline.pipelines import catalogue

RESULTS = Path(__file__).resolve().parent / "results" / "compile_pipelines.json"
ROUNDS = 5
MOST_ONE, MOST_ALL = 1.5, 3.0  # seconds of CPU
KFP = """
import importlib, sys
from kfp.compiler import Compiler
module = importlib.import_module(f"edgeline.pipelines.{sys.argv[1]}.pipeline")
Compiler().compile(module.pipeline, sys.argv[2])
"""


def main() -> None:
    undistorted()
    with tempfile.TemporaryDirectory(prefix="edgeline-benchmark-") as folder:
        summary = compare(Path(folder))
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(summary, indent=1) + "\n")
    show(summary)
    if summary["edgeline"]["one"] > MOST_ONE or summary["edgeline"]["all"] > MOST_ALL:
        sys.exit(f"Slower than {MOST_ONE} s for one pipeline or {MOST_ALL} s for all.")


def compare(folder: Path) -> dict[str, Any]:
    """Medians of the rounds, in seconds of CPU: one pipeline, and all of them."""
    seconds: dict[str, dict[str, list[float]]] = {"edgeline": {}, "kfp": {}}
    for _ in range(ROUNDS):
        for name in catalogue.names():
            for side, spent in seconds.items():
                output = folder / f"{name}-{side}.yaml"
                spent.setdefault(name, []).append(_cpu(_command(side, name, output)))
    medians = {
        side: {name: round(statistics.median(each), 3) for name, each in spent.items()}
        for side, spent in seconds.items()
    }
    return {
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 1),
        **{
            side: {"one": spent["taxi"], "all": round(sum(spent.values()), 3), "each": spent}
            for side, spent in medians.items()
        },
    }


def show(summary: dict[str, Any]) -> None:
    """Print the table."""
    table = Table("CPU seconds", "with --env onprem", "kfp's compiler", "ratio")
    for label, key in (("taxi", "one"), ("all, a command each", "all")):
        ours, theirs = summary["edgeline"][key], summary["kfp"][key]
        table.add_row(label, f"{ours:.2f}", f"{theirs:.2f}", f"{ours / theirs:.2f}")
    Console().print(table)


def _command(side: str, name: str, output: Path) -> Sequence[str | Path]:
    if side == "kfp":
        return [sys.executable, "-c", KFP, name, output]
    # a cluster's destination is a bucket
    settings = ["--env", "onprem", "--set", "destination=s3://models/fleet"]
    return [sys.executable, "-m", "edgeline", "compile", name, "-o", output, *settings]


def _cpu(command: Sequence[str | Path]) -> float:
    """User's and system's seconds of a process and its children."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


if __name__ == "__main__":
    main()
