"""What devices met, as a server keeps it, and what poisons a retraining on it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

Row = dict[str, Any]
DAY = timedelta(days=1)


def value(cell: str) -> Any:
    """A cell as the server writes it."""
    for kind in (int, float):
        try:
            return kind(cell)
        except ValueError:
            continue
    return cell or None


def keep(
    folder: Path,
    rows: Iterable[dict[str, str]],
    label: str,
    features: Callable[[Row], Row] = dict,
    labelled: Callable[[Row], Any] | None = None,
    age: timedelta = timedelta(minutes=1),
) -> None:
    """Write `payloads` and `labels.jsonl` into a folder.

    Args:
        rows: of a CSV file.
        label: the column that comes late.
        features: changes a row before it is kept.
        labelled: gives the late label of a row, if it is another than its own.
        age: how long ago the rows were met.
    """
    met = (datetime.now(timezone.utc) - age).isoformat(timespec="milliseconds")
    file = folder / "payloads" / "taxi" / "1" / "day.jsonl"
    file.parent.mkdir(parents=True)
    with open(file, "w") as kept, open(folder / "labels.jsonl", "w") as labels:
        for number, row in enumerate(rows):
            cells = {name: value(cell) for name, cell in row.items()}
            truth = labelled(cells) if labelled else cells[label]
            del cells[label]
            whence = {"edgeline_id": str(number), "edgeline_time": met, "edgeline_row": 0}
            kept.write(json.dumps({**features(cells), **whence}) + "\n")
            labels.write(json.dumps({"id": str(number), label: truth}) + "\n")


def rule(name: str, folder: str, pipeline: str = "taxi", **parameters: Any) -> str:
    """A rule on what is kept in a folder beside the file, as YAML; `signals` are its own."""
    return f"""\
  - name: {name}
    signals: [test.poison.{name}]
    run:
      pipeline: {pipeline}
      parameters: {json.dumps(parameters)}
      data:
        {{base: trips.csv, payloads: {folder}/payloads, labels: {folder}/labels.jsonl, least: 30}}
"""
