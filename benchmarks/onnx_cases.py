"""The onnx package's backend cases, imported as LiteRT:
`python benchmarks/onnx_cases.py [--minutes N] [WORD ...]`.

Each is right or refused. onnx2tf is in a Python of its own, which `EDGELINE_ONNX2TF_PYTHON` names,
or build_onnx2tf.sh makes. Cases come in an order that chance made, so that those of the first
minutes are a sample of all. Given words, only cases with one of them in their name are run, and
nothing is written. A conversion may take 30 seconds of a core. Exits with 1 where a wrong answer is
approved.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from environment import undistorted

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results" / "onnx_cases.json"
AROUND = re.compile(r"'[^']*'|\[[^]]*\]|[0-9][0-9.e+-]*|model\.onnx")  # what differs in a reason


def main(words: list[str], minutes: float) -> int:
    tests = HERE.parent / "tests" / "components" / "import_model"
    os.environ["EDGELINE_MODEL_TIME"] = "30"
    if "EDGELINE_ONNX2TF_PYTHON" not in os.environ:
        build = ["sh", str(tests / "build_onnx2tf.sh")]
        made = subprocess.run(build, check=True, stdout=subprocess.PIPE, text=True)
        os.environ["EDGELINE_ONNX2TF_PYTHON"] = made.stdout.strip()
    sys.path.insert(0, str(tests))
    import ai_edge_litert.interpreter  # noqa: F401  # once, and not in every child
    import onnx_cases
    import onnxruntime  # noqa: F401

    started, outcomes = time.monotonic(), []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        cases = [*onnx_cases.node_cases(), *onnx_cases.file_cases()]
        cases = [case for case in cases if not words or any(word in case.name for word in words)]
        random.Random(24).shuffle(cases)  # what is stopped has seen some of all
        with onnx_cases.many(folder):
            for number, case in enumerate(cases):
                if time.monotonic() > started + 60 * minutes:
                    break
                found = onnx_cases.outcome(case, folder / f"case-{number}")
                outcomes.append(found)
                print(
                    f"{number + 1}/{len(cases)} {found.name}: {found.outcome} {found.reason[:300]}",
                    flush=True,
                )
    counts = Counter(found.outcome for found in outcomes)
    reasons = Counter(
        AROUND.sub("…", found.reason)[:200] for found in outcomes if found.outcome == "refused"
    )
    print(dict(counts))
    if words:
        return int(bool(counts[onnx_cases.WRONG]))
    summary = {
        "cores": os.cpu_count(),
        "cases": len(cases),
        "run": len(outcomes),
        "outcomes": dict(counts),
        "seconds": round(time.monotonic() - started),
        "right": sorted(f.name for f in outcomes if f.outcome == onnx_cases.RIGHT),
        "not_approved": {
            f.name: f.reason for f in outcomes if f.outcome == onnx_cases.NOT_APPROVED
        },
        "wrong": {f.name: f.reason for f in outcomes if f.outcome == onnx_cases.WRONG},
        "refused": {f.name: f.reason for f in outcomes if f.outcome == onnx_cases.REFUSED},
        "reasons": dict(reasons.most_common(60)),
    }
    RESULTS.write_text(json.dumps(summary, indent=1) + "\n")
    return int(bool(counts[onnx_cases.WRONG]))


if __name__ == "__main__":
    undistorted()
    given = argparse.ArgumentParser()
    given.add_argument("--minutes", type=float, default=float("inf"))
    given.add_argument("words", nargs="*")
    chosen = given.parse_args()
    sys.exit(main(chosen.words, chosen.minutes))
