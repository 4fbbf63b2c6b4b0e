"""Peak memory and speed of ingesting a large CSV: `python benchmarks/ingest_memory.py 2.0` (GB).

Repeats the taxi rows with a running number in front, so that all differ.
"""

from __future__ import annotations

import json
import resource
import sys
import tempfile
import time
from importlib import resources
from pathlib import Path
from typing import Any

from environment import undistorted

RESULTS = Path(__file__).resolve().parent / "results" / "ingest_memory.json"


def write_csv(path: Path, size: int) -> None:
    """A CSV of at least `size` bytes, never held whole."""
    taxi = resources.files("edgeline.pipelines.taxi").joinpath("taxi.csv").read_text()
    header, *rows = taxi.splitlines()
    number = 0
    with open(path, "w", encoding="utf-8") as file:
        file.write(f"trip,{header}\n")
        while file.tell() < size:
            file.write("".join(f"{number + place},{row}\n" for place, row in enumerate(rows)))
            number += len(rows)


def main() -> None:
    undistorted()
    size = int(float(sys.argv[1]) * 1e9)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trips.csv"
        write_csv(path, size)
        from edgeline.components.ingest.ingest import ingest

        started = time.perf_counter()
        metadata: dict[str, Any] = ingest(str(path), Path(folder) / "examples")
        seconds = time.perf_counter() - started
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        found = {
            "gb": round(path.stat().st_size / 1e9, 2),
            "rows": sum(split["rows"] for split in metadata["splits"].values()),
            "seconds": round(seconds, 1),
            "peak_mib": round(peak),
        }
    RESULTS.write_text(json.dumps(found, indent=1) + "\n")
    print("{gb} GB, {rows:,} rows, {seconds:.0f} s, {peak_mib} MiB".format(**found))


if __name__ == "__main__":
    main()
