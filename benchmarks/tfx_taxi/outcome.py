"""What TFX's pipeline made, as JSON: `python outcome.py FOLDER`, in TFX's own environment."""

from __future__ import annotations

import gzip
import json
import struct
import sys
from pathlib import Path

import tensorflow_model_analysis as tfma


def outcome(folder: Path) -> dict:
    """Rows by split, metrics of all rows, slices, and whether the model was pushed."""
    artifacts = folder / "artifacts"
    result = tfma.load_eval_result(str(_only(artifacts / "Evaluator" / "evaluation")))
    overall = result.get_metrics_for_slice(())
    return {
        "rows": {
            split: _records(_only(artifacts / "CsvExampleGen" / "examples") / f"Split-{split}")
            for split in ("train", "eval")
        },
        "transformed_rows": {
            split: _records(
                _only(artifacts / "Transform" / "transformed_examples") / f"Split-{split}"
            )
            for split in ("train", "eval")
        },
        "evaluated_rows": round(overall["example_count"]["doubleValue"]),
        "slices": len(result.slicing_metrics),
        "auc": overall["auc"]["doubleValue"],
        "accuracy": overall["binary_accuracy"]["doubleValue"],
        "blessed": (folder / "pushed").exists(),
    }


def _only(folder: Path) -> Path:
    """The artifact of the one execution: a cached rerun adds none."""
    found = sorted(folder.iterdir())
    if len(found) != 1:
        sys.exit(f"{folder} holds {len(found)} executions, so the cache was not used.")
    return found[0]


def _records(folder: Path) -> int:
    """Records of compressed TFRecord files: an 8 byte length, a checksum, the data, another."""
    count = 0
    for path in folder.glob("*.gz"):
        with gzip.open(path) as file:
            while header := file.read(12):
                file.read(struct.unpack("<Q", header[:8])[0] + 4)
                count += 1
    return count


if __name__ == "__main__":
    print(json.dumps(outcome(Path(sys.argv[1]))))
