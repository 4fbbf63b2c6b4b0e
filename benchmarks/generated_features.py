"""60 feature functions that a grammar makes, cloud against edge, for missing and extreme values:
`python benchmarks/generated_features.py`. Exits with 1 where one differs by more than 1e-5."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from environment import undistorted

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results" / "generated_features.json"
COUNT, TOGETHER, ROWS = 60, 12, 400


def main(seed: int) -> int:
    undistorted()
    sys.path.insert(0, str(HERE.parent / "tests" / "components" / "convert"))
    import extreme_cases
    import generated_functions

    started = time.process_time()
    values = generated_functions.values(ROWS)
    functions = list(generated_functions.functions(COUNT, seed).items())
    wrong = {}
    for first in range(0, COUNT, TOGETHER):
        some = dict(functions[first : first + TOGETHER])
        found = extreme_cases.of_features(
            some, values, raw=True, kept=generated_functions.VOCABULARY
        )
        wrong |= generated_functions.differing(found, values)
        print(f"{first + len(some)} of {COUNT}, {len(wrong)} differ", flush=True)
    for name, (row, cloud, edge) in wrong.items():
        print(f"{name}\n  of {row}: {cloud} in the cloud, {edge} on the edge")
    summary = {
        "functions": COUNT,
        "rows": ROWS,
        "seed": seed,
        "differing": sorted(wrong),
        "cpu_seconds": round(time.process_time() - started, 1),
    }
    RESULTS.write_text(json.dumps(summary, indent=1) + "\n")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 1))
