"""The onnx package's backend cases, imported as LiteRT:
`python benchmarks/onnx_cases.py [--minutes N] [--first N] [WORD ...]`.

Each is right or refused. onnx2tf is in a Python of its own, which `EDGELINE_ONNX2TF_PYTHON` names,
or build_onnx2tf.sh makes. Cases come in an order that chance made, so that those of the first
minutes are a sample of all; with `--first` those before it keep the results that they have. Given
words, only cases with one of them in their name are run, and nothing is written. A conversion may
take 30 seconds of a core. Exits with 1 where `import_model` takes a file that
gives a wrong answer on the case's own rows, also where `verify` would still see it.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from environment import undistorted

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results" / "onnx_cases.json"
AROUND = re.compile(r"'[^']*'|\[[^]]*\]|\b[0-9][0-9.e+-]*|model\.onnx")  # what differs in a reason


def main(words: list[str], minutes: float, first: int) -> int:
    tests = HERE.parent / "tests" / "components" / "import_model"
    os.environ["EDGELINE_MODEL_TIME"] = "30"
    if "EDGELINE_ONNX2TF_PYTHON" not in os.environ:
        build = ["sh", str(tests / "build_onnx2tf.sh")]
        made = subprocess.run(build, check=True, stdout=subprocess.PIPE, text=True)
        os.environ["EDGELINE_ONNX2TF_PYTHON"] = made.stdout.strip()
    sys.path.insert(0, str(tests))
    import ai_edge_litert.interpreter  # noqa: F401  # once, and not in every child
    import backend_cases
    import onnxruntime  # noqa: F401

    started, outcomes = time.monotonic(), []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        cases = [*backend_cases.node_cases(), *backend_cases.file_cases()]
        cases = [case for case in cases if not words or any(word in case.name for word in words)]
        random.Random(24).shuffle(cases)  # what is stopped has seen some of all
        with backend_cases.many(folder):
            for number, case in enumerate(cases[first:], first):
                if time.monotonic() > started + 60 * minutes:
                    break
                found = backend_cases.outcome(case, folder / f"case-{number}")
                outcomes.append(found)
                for each in folder.glob("attempt-*"):
                    shutil.rmtree(each) if each.is_dir() else each.unlink()
                print(
                    f"{number + 1}/{len(cases)} {found.name}: {found.outcome} {found.reason[:300]}",
                    flush=True,
                )
    told = {case.name: {"outcome": case.outcome, "reason": case.reason} for case in outcomes}
    if not words:
        if first and RESULTS.exists():
            told = json.loads(RESULTS.read_text())["told"] | told
        write(told, len(cases))
    counts = Counter(each["outcome"] for each in told.values())
    print(dict(counts))
    return int(bool(counts[backend_cases.WRONG]))


def write(told: dict[str, dict[str, str]], cases: int) -> None:
    """What came of each case, how many of each, and why cases were refused."""
    reasons = Counter(
        AROUND.sub("…", each["reason"]).partition(": export it")[0][:160]
        for each in told.values()
        if each["outcome"] == "refused"
    )
    summary = {
        "cores": os.cpu_count(),
        "cases": cases,
        "run": len(told),
        "outcomes": dict(Counter(each["outcome"] for each in told.values())),
        "reasons": dict(reasons.most_common(40)),
        "told": dict(sorted(told.items())),
    }
    RESULTS.write_text(json.dumps(summary, indent=1) + "\n")


if __name__ == "__main__":
    undistorted()
    given = argparse.ArgumentParser()
    given.add_argument("--minutes", type=float, default=float("inf"))
    given.add_argument("--first", type=int, default=0)
    given.add_argument("words", nargs="*")
    chosen = given.parse_args()
    sys.exit(main(chosen.words, chosen.minutes, chosen.first))
