"""What the probes cost of verify's time, on the taxi model: `python benchmarks/probes.py [RUN]`.

RUN is the folder of a run of the taxi pipeline (`edgeline-runs/taxi-…/taxi-…`); without one the
pipeline is run first. Verify runs once to import and load, as a warm process has, then three times.
Prints seconds by the clock and of a core, of all and of the probes, and their share; writes them to
results/probes.json. The exit status is 1 where the median share of a core is above 0.2.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from environment import undistorted, without_onednn

RESULTS = Path(__file__).resolve().parent / "results"
MOST, ROUNDS = 0.2, 3


def main() -> int:
    undistorted()
    without_onednn()
    with tempfile.TemporaryDirectory() as folder:
        run = Path(sys.argv[1]) if len(sys.argv) > 1 else _run(Path(folder))
        rounds = [_verify(run, Path(folder) / str(number)) for number in range(1 + ROUNDS)][1:]
    share = statistics.median(each["probes_cpu"] / each["cpu"] for each in rounds)
    result = {"load": round(os.getloadavg()[0], 1), "share_of_cpu": round(share, 3)}
    print(json.dumps(result | {"rounds": rounds}, indent=1))
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "probes.json").write_text(json.dumps(result | {"rounds": rounds}, indent=1) + "\n")
    return int(share > MOST)


def _run(folder: Path) -> Path:
    command = [str(Path(sys.executable).with_name("edgeline")), "run", "taxi"]
    subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)
    (found,) = folder.glob("edgeline-runs/taxi-*/taxi-*/")
    return found


def _verify(run: Path, folder: Path) -> dict[str, float]:
    from edgeline.components.verify import probes, probing
    from edgeline.components.verify.findings import Limits
    from edgeline.components.verify.verify import verify

    spent = [0.0, 0.0]

    def timed(module: Any, name: str) -> Callable[[], None]:
        plain = getattr(module, name)

        def call(*arguments: Any, **named: Any) -> Any:
            before = _clocks()
            try:
                return plain(*arguments, **named)
            finally:
                for place, (now, then) in enumerate(zip(_clocks(), before, strict=True)):
                    spent[place] += now - then

        setattr(module, name, call)
        return lambda: setattr(module, name, plain)

    parts = ((probing, "ask"), (probes, "make"), (probes.SeenValues, "add"))
    undo = [timed(module, name) for module, name in parts]
    before = _clocks()
    result = verify(
        model_path=run / "train/model",
        edge_model_path=run / "convert/edge_model",
        examples_path=run / "ingest/examples",
        verification_path=folder / "verification",
        verification_report_path=folder / "report.html",
        limits=Limits(),
    )
    wall, cpu = (now - then for now, then in zip(_clocks(), before, strict=True))
    for each in undo:
        each()
    if not result.approved:
        raise SystemExit(f"verify did not approve taxi: {result.metadata['reasons']}")
    found = {"wall": wall, "cpu": cpu, "probes_wall": spent[0], "probes_cpu": spent[1]}
    return {name: round(value, 3) for name, value in found.items()}


def _clocks() -> tuple[float, float]:
    """Seconds by the clock, and of a core: of this process and of children that have ended."""
    times = os.times()
    return time.perf_counter(), sum(times[:4])


if __name__ == "__main__":
    sys.exit(main())
