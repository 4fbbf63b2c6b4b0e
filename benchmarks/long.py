"""What takes longer than the tests may, one after the other: `make long`, an hour or more.

Fuzzing, updates under load, large tables and trainings. Prints what each stage took, and writes it
to results/long.json; each stage writes its own figures beside it. A stage that fails does not stop
those after it; the exit status is 1 then. Given names, it runs these stages alone:

    python benchmarks/long.py rows_150k compile_model
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from environment import undistorted

HERE = Path(__file__).resolve().parent
TESTS, EXAMPLES = HERE.parent / "tests", HERE.parent / "examples"
SERVER = TESTS / "server"
RESULTS = HERE / "results"
SUMMARY = RESULTS / "long.json"
STAGES: dict[str, tuple[str | Path, ...]] = {
    "long_tests": ("-m", "pytest", "-q", "-m", "long", TESTS, EXAMPLES),
    "fuzzing": (SERVER / "fuzzing.py", "10000", RESULTS / "fuzzing.json"),
    "openapi_fuzzing": (SERVER / "openapi_fuzzing.py", "10000", RESULTS / "openapi_fuzzing.json"),
    "model_fuzzing": (TESTS / "model_fuzzing.py", "60", RESULTS / "model_fuzzing.json"),
    "soak": (HERE / "soak.py",),
    "updates": (HERE / "updates.py",),
    "update_ways": (HERE / "update_ways.py",),
    "compile_pipelines": (HERE / "compile_pipelines.py",),
    "probes": (HERE / "probes.py",),
    "decay": (HERE / "decay.py",),
    "explain": (HERE / "explain.py",),
    "compile_model": (HERE / "compile_model.py",),
    "ingest_memory": (HERE / "ingest_memory.py", "2.0"),
    "rows_150k": (HERE / "rows_150k.py",),
    "beam_workers": (HERE / "beam_workers.py",),
    "input_speed": (HERE / "input_speed.py",),
    "workers": (HERE / "workers.py",),
    "rows": (HERE / "rows.py", "--rows", "1.5e6"),
    "columns": (HERE / "columns.py", "--columns", "2000"),
    "images_224": (HERE / "images_224.py", "6000"),
    "generated_features": (HERE / "generated_features.py",),
    "whole_networks": (HERE / "whole_networks.py",),
    "init_tables": (HERE / "init_tables.py",),
    "quantisation_aware": (HERE / "quantisation_aware.py",),
}


def main(chosen: Sequence[str]) -> int:
    if unknown := [name for name in chosen if name not in STAGES]:
        sys.exit(f"There is no stage {unknown[0]!r}, only {', '.join(STAGES)}.")
    again = bool(chosen) and SUMMARY.exists()
    stages: dict[str, dict[str, float | bool]]
    stages = json.loads(SUMMARY.read_text())["stages"] if again else {}
    for name in chosen or STAGES:
        print(f"== {name}", flush=True)
        load, started = round(os.getloadavg()[0], 1), time.monotonic()
        code = subprocess.run([sys.executable, *STAGES[name]]).returncode
        seconds = round(time.monotonic() - started, 1)
        stages[name] = {"seconds": seconds, "passed": code == 0, "load": load}
        # after each stage: what is known stays when a later one is stopped
        summary = {"cores": os.cpu_count(), "stages": stages}
        SUMMARY.write_text(json.dumps(summary, indent=1) + "\n")
    print("== seconds a stage")
    for name, stage in stages.items():
        print(f"{stage['seconds']:8.1f} s  {name}{'' if stage['passed'] else ' FAILED'}")
    return int(not all(stage["passed"] for stage in stages.values()))


if __name__ == "__main__":
    undistorted()
    sys.exit(main(sys.argv[1:]))
