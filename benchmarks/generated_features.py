"""60 feature functions that a grammar makes, cloud against edge, for missing and extreme values:
`python benchmarks/generated_features.py [SEED]`. So is the arithmetic of small integers, for pairs
of numbers. Exits with 1 where a feature differs by more than 1e-5, or an integer at all."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

from environment import undistorted, without_onednn

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results" / "generated_features.json"
COUNT, TOGETHER, ROWS = 60, 12, 400
DTYPES = ("int32", "int16", "int8", "uint32", "uint16", "uint8")


def main(seed: int) -> int:
    sys.path.insert(0, str(HERE.parent / "tests" / "components" / "convert"))
    import extreme_cases
    import generated_functions
    import integer_cases

    started = time.process_time()
    values = generated_functions.values(ROWS)
    functions = list(generated_functions.functions(COUNT, seed).items())
    wrong: dict[str, Any] = {}
    for first in range(0, COUNT, TOGETHER):
        some = dict(functions[first : first + TOGETHER])
        found = extreme_cases.of_features(
            some, values, raw=True, kept=generated_functions.VOCABULARY
        )
        wrong |= generated_functions.differing(found, values)
        print(f"{first + len(some)} of {COUNT}, {len(wrong)} differ", flush=True)
    for name, (row, cloud, edge) in wrong.items():
        print(f"{name}\n  of {row}: {cloud} in the cloud, {edge} on the edge")
    pairs = integer_cases.pairs()
    integers: dict[str, object] = {}
    for dtype in DTYPES:
        found = extreme_cases.both(integer_cases.of_dtype(dtype), pairs)
        integers |= integer_cases.differing(found, pairs)
        print(f"{dtype}, {len(integers)} operators differ", flush=True)
    summary = {
        "functions": COUNT,
        "rows": ROWS,
        "seed": seed,
        "differing": sorted(wrong),
        "dtypes": DTYPES,
        "differing_integers": sorted(integers),
        "cpu_seconds": round(time.process_time() - started, 1),
    }
    RESULTS.write_text(json.dumps(summary, indent=1) + "\n")
    return int(bool(wrong or integers))


if __name__ == "__main__":
    undistorted()
    without_onednn()
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 1))
