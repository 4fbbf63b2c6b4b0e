"""What TFX's pipeline made, as JSON: `python outcome.py FOLDER EXECUTIONS`, in TFX's own
environment."""

from __future__ import annotations

import gzip
import json
import struct
import sys
from pathlib import Path

import tensorflow_model_analysis as tfma


def outcome(folder: Path, executions: int) -> dict:
    """Rows by split, metrics of all rows, slices, and whether the model was pushed.

    `executions` are those of the components that take the module: 1 of a first run, 2 after one
    with a changed module. A cached run adds none.
    """
    artifacts = folder / "artifacts"
    result = tfma.load_eval_result(str(_last(artifacts / "Evaluator" / "evaluation", executions)))
    overall = result.get_metrics_for_slice(())
    return {
        "rows": {
            split: _records(_last(artifacts / "CsvExampleGen" / "examples", 1) / f"Split-{split}")
            for split in ("train", "eval")
        },
        "transformed_rows": {
            split: _records(
                _last(artifacts / "Transform" / "transformed_examples", executions)
                / f"Split-{split}"
            )
            for split in ("train", "eval")
        },
        "evaluated_rows": round(overall["example_count"]["doubleValue"]),
        "slices": len(result.slicing_metrics),
        "auc": overall["auc"]["doubleValue"],
        "accuracy": overall["binary_accuracy"]["doubleValue"],
        "blessed": (folder / "pushed").exists(),
    }


def _last(folder: Path, executions: int) -> Path:
    """The artifact of the last execution, of which there are to be so many."""
    found = sorted(folder.iterdir(), key=lambda path: int(path.name))
    if len(found) != executions:
        sys.exit(f"{folder} holds {len(found)} executions, not {executions}.")
    return found[-1]


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
    print(json.dumps(outcome(Path(sys.argv[1]), int(sys.argv[2]))))
