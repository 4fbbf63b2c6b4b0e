"""Rows that devices have met, with the labels that came later, in the form of the base.

`edgeline serve --payloads` keeps rows of features, whose `edgeline_id` and `edgeline_row` say which
request they were of; the labels say the rest of the base's columns for such a row.
"""

from __future__ import annotations

import csv
import gzip
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgeline.errors import EdgelineError, at_path
from edgeline.triggers.judging import told

MOST = 1_000_000  # labels that are held
LONGEST = 1 << 20  # bytes of a line
_SUFFIXES = (".jsonl", ".jsonl.gz")
RowKey = tuple[str, int]


@dataclass(frozen=True)
class JoinedRows:
    """What was joined.

    Attributes:
        rows: how many were written.
        facts: the same with what was left out, and why, for people.
    """

    rows: int
    facts: Mapping[str, Any]


def join(
    base: Path, payloads: Path, labels: Path, target: Path, model: str, since: float
) -> JoinedRows:
    """Write the rows that were met since a time and have a label, as CSV with the base's header.

    Args:
        payloads: `<model>/<version>/*.jsonl.gz`.
        labels: a file or a folder of JSON lines; see `rules.RunData`.
        model: whose rows; empty: of all models there.
        since: seconds since 1970.

    Raises:
        EdgelineError: a file cannot be read, the base has no header, or there are more labels than
            can be held.
    """
    header = _header(base)
    counts: Counter[str] = Counter()
    known = _labels(labels, counts)
    filled: set[str] = set()
    try:
        with open(target, "w", encoding="utf-8", newline="") as stream:
            writer = csv.writer(stream)
            writer.writerow(header)
            for row in _rows(payloads, model, since, counts):
                label = known.pop(_key(row, "edgeline_id", "edgeline_row"), None)
                if label is None:
                    counts["without_label"] += 1
                    continue
                cells = [label.get(name, row.get(name)) for name in header]
                if any(isinstance(cell, (list, dict)) for cell in cells):
                    counts["with_lists"] += 1  # which no cell of CSV holds
                    continue
                filled.update(n for n, cell in zip(header, cells, strict=True) if cell is not None)
                writer.writerow("" if cell is None else cell for cell in cells)
                counts["rows"] += 1
    except OSError as error:
        raise at_path(error, f"{target} cannot be written ({error.strerror}).") from error
    facts = {
        "since": told(since),
        "rows": counts["rows"],
        "without_label": counts["without_label"],
        "labels_without_row": len(known),
        "with_lists": counts["with_lists"],
        "damaged_lines": counts["damaged"],
        "columns_never_filled": [n for n in header if n not in filled] if counts["rows"] else [],
    }
    return JoinedRows(counts["rows"], facts)


def _header(base: Path) -> list[str]:
    try:
        with open(base, encoding="utf-8-sig", newline="") as stream:
            header = next(csv.reader(stream), [])
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        said = getattr(error, "strerror", None) or "it is not CSV in UTF-8"
        raise EdgelineError(f"The base {base} cannot be read ({said}).") from error
    if not header:
        raise EdgelineError(f"The base {base} is empty: it has to begin with the columns' names.")
    return header


def _labels(place: Path, counts: Counter[str]) -> dict[RowKey, Mapping[str, Any]]:
    if not place.exists():
        raise EdgelineError(f"The labels {place} do not exist.")
    files = [place] if place.is_file() else _files(place, "**/*")
    known: dict[RowKey, Mapping[str, Any]] = {}
    for file in files:
        for row in _lines(file, counts):
            known[_key(row, "id", "row")] = row
            if len(known) > MOST:
                raise EdgelineError(
                    f"{place} has more than {MOST:,} labels: move those away that were used."
                )
    return known


def _rows(
    place: Path, model: str, since: float, counts: Counter[str]
) -> Iterator[Mapping[str, Any]]:
    if not place.is_dir():
        raise EdgelineError(f"The payloads {place} are not a folder.")
    begun = told(since).rstrip("Z")
    for file in _files(place, f"{model or '*'}/*/*"):
        for row in _lines(file, counts):
            if str(row.get("edgeline_time", "")) >= begun:
                yield row


def _files(folder: Path, pattern: str) -> list[Path]:
    return sorted(file for file in folder.glob(pattern) if file.name.endswith(_SUFFIXES))


def _lines(file: Path, counts: Counter[str]) -> Iterator[Mapping[str, Any]]:
    """The objects of a file of JSON lines; what is damaged is counted."""
    try:
        with gzip.open(file, "rb") if file.suffix == ".gz" else open(file, "rb") as stream:
            while line := stream.readline(LONGEST):
                try:
                    row = json.loads(line)
                except (ValueError, RecursionError):
                    row = None
                if isinstance(row, dict):
                    yield row
                elif line.strip():
                    counts["damaged"] += 1
    except EOFError:
        counts["damaged"] += 1
    except OSError as error:  # gzip's, too
        said = error.strerror or "it is damaged"
        raise EdgelineError(f"{file} cannot be read ({said}): remove or repair it.") from error


def _key(row: Mapping[str, Any], name: str, place: str) -> RowKey:
    number = row.get(place, 0)
    return str(row.get(name, "")), number if isinstance(number, int) else 0
