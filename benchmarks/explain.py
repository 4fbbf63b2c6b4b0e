"""How long explaining takes: 1,000 taxi trips by the float and the int8 edge model.

`python benchmarks/explain.py [RUN]`. RUN is the folder of a run of the taxi pipeline
(`edgeline-runs/taxi-…/taxi-…`); without one the pipeline is run first. Prints seconds by the clock
and of a core, the agreement of cloud and edge, and completeness, and writes them to
results/explain.json. The exit status is 1 where one takes more than 60 s, explains fewer than 1,000
rows, or is not complete to 1e-3.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from environment import undistorted, without_onednn

RESULTS = Path(__file__).resolve().parent / "results"
ROWS, MOST_SECONDS, COMPLETE = 1000, 60.0, 1e-3


def main() -> int:
    undistorted()
    without_onednn()
    load = round(os.getloadavg()[0], 1)
    with tempfile.TemporaryDirectory() as folder:
        run = Path(sys.argv[1]) if len(sys.argv) > 1 else _run(Path(folder))
        _convert(run, Path(folder) / "int8")
        found = {
            name: _explain(run, place, Path(folder) / f"{name}-explained")
            for name, place in {
                "float": run / "convert/edge_model",
                "int8": Path(folder) / "int8",
            }.items()
        }
    result = {"cores": os.cpu_count(), "load": load, "rows": ROWS, **found}
    print(json.dumps(result, indent=1))
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "explain.json").write_text(json.dumps(result, indent=1) + "\n")
    return int(
        any(
            each["seconds"] > MOST_SECONDS
            or each["explained"] < ROWS
            or each["completeness_error"] > COMPLETE
            for each in found.values()
        )
    )


def _run(folder: Path) -> Path:
    command = [str(Path(sys.executable).with_name("edgeline")), "run", "taxi"]
    subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)
    (found,) = folder.glob("edgeline-runs/taxi-*/taxi-*/")
    return found


def _convert(run: Path, place: Path) -> None:
    from edgeline.components.convert.convert import convert

    model, rows = str(run / "train/model"), str(run / "ingest/examples")
    convert(model, rows, str(place), str(place.with_suffix(".html")), "int8")


def _explain(run: Path, edge_model: Path, folder: Path) -> dict[str, float]:
    """In a process of its own, as a task is: what one leaves behind costs the next nothing."""
    program = f"""
import json, os, sys, time
begun = time.perf_counter()
from edgeline.components.explain.explain import ExplainPlan, explain
result = explain(
    {str(run / "train/model")!r}, {str(edge_model)!r}, {str(run / "ingest/examples")!r},
    {str(folder)!r}, {str(folder.with_suffix(".html"))!r}, ExplainPlan(explained_rows={ROWS}))
times = os.times()
told = {{**result.metrics, "seconds": time.perf_counter() - begun, "cpu_seconds": sum(times[:4])}}
print(json.dumps(told))
"""
    begun = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", program], check=True, stdout=subprocess.PIPE, text=True
    )
    seconds = time.perf_counter() - begun
    told = json.loads(done.stdout.splitlines()[-1])
    return {
        "seconds": round(seconds, 1),
        "cpu_seconds": round(told["cpu_seconds"], 1),
        "explained": int(told["explained_rows"]),
        "agreement": round(told["agreement_median"], 4),
        "gradients_and_shap": round(told["gradients_and_shap_median"], 4),
        "completeness_error": float(f"{told['completeness_error']:.2g}"),
    }


if __name__ == "__main__":
    sys.exit(main())
