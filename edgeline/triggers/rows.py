"""Rows that devices have met, with the labels that came later, in the form of the base.

`edgeline serve --payloads` keeps rows of features, whose `edgeline_id` and `edgeline_row` say which
request they were of; the labels say the rest of the base's columns for such a row. Of what is there
twice under one key the last counts: of answers that of the latest request, as for `edgeline serve
--labels`; of labels the last line, the files by name.
"""

from __future__ import annotations

import csv
import gzip
import itertools
import json
import math
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from edgeline.errors import EdgelineError, at_path
from edgeline.triggers.judging import told

MOST = 1_000_000  # labels that are held, and so rows that are joined
LONGEST = 1 << 20  # bytes of a line
_JUDGED = 30  # rows from which on columns without values are told
# of the base's share of values: with less of it a column counts as emptied, or is told as rarer;
# columns of real rows come and go for hours, so half of it refuses rows that are in order
_EMPTIED, _RARER = 0.1, 0.5
_NOTHING = ("", "nan", "inf", "infinity")  # cells that are not values, but for their sign
_LOOKED_AT = 10_000  # rows of the base
_NAMED = 10  # damaged files that are told by name
_SUFFIXES = (".jsonl", ".jsonl.gz")
_TIME = "edgeline_time"
RowKey = tuple[str, int]


@dataclass(frozen=True)
class JoinedRows:
    """What was joined.

    Attributes:
        rows: how many were written.
        stale, ahead: how many were left out, as a device has met them too early, or does not tell
            when, or as they are of a time to come.
        emptied: columns that far fewer of these rows have a value of than of the base's.
        facts: the same with what was left out, and why, for people.
    """

    rows: int
    stale: int
    ahead: int
    emptied: tuple[str, ...]
    facts: Mapping[str, Any]


@dataclass(frozen=True)
class LateLabel:
    """Columns of a row that were not known when it was met, and when their file was written last,
    in seconds since 1970."""

    columns: Mapping[str, Any]
    written: float


@dataclass(frozen=True)
class MetRow:
    """A row of features, its place among the files, and until when its file was written."""

    columns: Mapping[str, Any]
    place: tuple[int, int]
    written: float


def join(
    base: Path,
    payloads: Path,
    labels: Path,
    target: Path,
    model: str,
    since: float,
    fresh_since: float = 0.0,
    until: float = math.inf,
) -> JoinedRows:
    """Write the rows that have a label, as CSV with the base's header.

    Args:
        payloads: `<model>/<version>/*.jsonl.gz`.
        labels: a file or a folder of JSON lines; see `rules.RunData`.
        model: whose rows; empty: of all models there.
        since: seconds since 1970: rows whose file, and whose label's file, were last written
            before it are left out; 0: none are.
        fresh_since, until: rows that were met before the one or after the other, by their own
            time, are left out.

    Raises:
        EdgelineError: a file cannot be read, or the base has no header.
    """
    header = _header(base)
    counts: Counter[str] = Counter()
    damaged: list[str] = []
    known = _labels(labels, counts, damaged)
    files = _payload_files(payloads, model)
    last = _last(files, known, counts, damaged)
    met: set[str] = set()  # names that rows have, with a value or without
    filled: Counter[str] = Counter()
    try:
        with open(target, "w", encoding="utf-8", errors="backslashreplace", newline="") as stream:
            writer = csv.writer(stream)
            writer.writerow(header)
            for key, row in _rows(files, Counter(), []):
                if key is None or last.get(key, ("", None))[1] != row.place:
                    continue
                label = known[key]
                if max(row.written, label.written) < since:
                    counts["too_early"] += 1
                    continue
                moment = _met_at(row)
                if not fresh_since <= moment <= until:
                    counts["ahead" if moment > until else "stale"] += 1
                    continue
                cells = [label.columns.get(name, row.columns.get(name)) for name in header]
                if any(isinstance(cell, (list, dict)) for cell in cells):
                    counts["with_lists"] += 1  # which no cell of CSV holds
                    continue
                met.update(row.columns, label.columns)
                filled.update(n for n, cell in zip(header, cells, strict=True) if _is_value(cell))
                writer.writerow("" if cell is None else cell for cell in cells)
                counts["rows"] += 1
    except OSError as error:
        raise at_path(error, f"{target} cannot be written ({error.strerror}).") from error
    emptied, rarer = list[str](), list[str]()
    if counts["rows"] >= _JUDGED:
        usual = _usual(base, [name for name in header if name in met])
        shares = {name: filled[name] / counts["rows"] / of for name, of in usual.items()}
        emptied = [name for name, share in shares.items() if share < _EMPTIED]
        rarer = [name for name, share in shares.items() if _EMPTIED <= share < _RARER]
    left_out = (
        *(
            "stale",
            "ahead",
            "too_early",
            "without_label",
            "repeated_rows",
            "rows_without_key",
            "with_lists",
        ),
        *("repeated_labels", "labels_without_key", "labels_beyond_most", "damaged_lines"),
    )
    facts = {
        "since": told(since) if since else None,
        "rows": counts["rows"],
        "emptied": emptied,
        "rarer": rarer,
        **{name: counts[name] for name in left_out},
        "labels_without_row": len(known) - len(last),
        "damaged_files": sorted(set(damaged))[:_NAMED],
        "columns_never_filled": [n for n in header if n not in filled] if counts["rows"] else [],
    }
    return JoinedRows(counts["rows"], counts["stale"], counts["ahead"], tuple(emptied), facts)


def _is_value(cell: object) -> bool:
    """Whether a cell has a value: one that is empty, NaN or infinite has none."""
    if isinstance(cell, str):
        return cell.strip().lower().lstrip("+-") not in _NOTHING
    return cell is not None and not (isinstance(cell, float) and not math.isfinite(cell))


def _met_at(row: MetRow) -> float:
    """When a device met a row, in seconds since 1970; 0 where it does not say."""
    try:
        found = datetime.fromisoformat(str(row.columns.get(_TIME, "")).replace("Z", "+00:00"))
    except ValueError:
        return 0.0
    return (found if found.tzinfo else found.replace(tzinfo=timezone.utc)).timestamp()


def _usual(base: Path, columns: list[str]) -> dict[str, float]:
    """The share of the base's first rows that have a value, of columns that most have one of."""
    seen, filled = 0, Counter[str]()
    with open(base, encoding="utf-8-sig", newline="") as stream:
        for row in itertools.islice(csv.DictReader(stream), _LOOKED_AT):
            seen += 1
            filled.update(name for name in columns if _is_value(row.get(name)))
    return {name: filled[name] / seen for name in columns if filled[name] > seen / 2}


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


def _labels(place: Path, counts: Counter[str], damaged: list[str]) -> dict[RowKey, LateLabel]:
    if not place.exists():
        raise EdgelineError(f"The labels {place} do not exist.")
    files = [place] if place.is_file() else _files(place, "**/*")
    known: dict[RowKey, LateLabel] = {}
    for file in files:
        written = _written(file)
        for _, row in _lines(file, counts, damaged):
            key = _key(row, "id", "row")
            if key is None:
                counts["labels_without_key"] += 1
                continue
            if known.pop(key, None) is not None:
                counts["repeated_labels"] += 1
            elif len(known) >= MOST:
                del known[next(iter(known))]
                counts["labels_beyond_most"] += 1
            known[key] = LateLabel(row, written)
    return known


def _last(
    files: list[Path], known: Mapping[RowKey, LateLabel], counts: Counter[str], damaged: list[str]
) -> dict[RowKey, tuple[str, tuple[int, int]]]:
    """The time and the place of the last row of each key that has a label."""
    last: dict[RowKey, tuple[str, tuple[int, int]]] = {}
    for key, row in _rows(files, counts, damaged):
        if key is None:
            counts["rows_without_key"] += 1
        elif key not in known:
            counts["without_label"] += 1
        else:
            counts["repeated_rows"] += key in last
            found = str(row.columns.get(_TIME, "")), row.place
            last[key] = max(found, last.get(key, found))
    return last


def _payload_files(place: Path, model: str) -> list[Path]:
    if not place.is_dir():
        raise EdgelineError(f"The payloads {place} are not a folder.")
    return _files(place, f"{model or '*'}/*/*")


def _rows(
    files: list[Path], counts: Counter[str], damaged: list[str]
) -> Iterator[tuple[RowKey | None, MetRow]]:
    for number, file in enumerate(files):
        written = _written(file)
        for line, row in _lines(file, counts, damaged):
            key = _key(row, "edgeline_id", "edgeline_row")
            yield key, MetRow(row, (number, line), written)


def _files(folder: Path, pattern: str) -> list[Path]:
    return sorted(file for file in folder.glob(pattern) if file.name.endswith(_SUFFIXES))


def _written(file: Path) -> float:
    """When a file was last written; 0 where it has gone since it was listed."""
    try:
        return file.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def _lines(
    file: Path, counts: Counter[str], damaged: list[str]
) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """The objects of a file of JSON lines, by their number; what is damaged is counted."""
    number = 0
    try:
        with gzip.open(file, "rb") if file.suffix == ".gz" else open(file, "rb") as stream:
            while line := stream.readline(LONGEST):
                number += 1
                try:
                    row = json.loads(line)
                except (ValueError, RecursionError):
                    row = None
                if isinstance(row, dict):
                    yield number, row
                elif line.strip():
                    counts["damaged_lines"] += 1
    except FileNotFoundError:  # `--payload-keep` has removed it since it was listed
        return
    except (EOFError, zlib.error, gzip.BadGzipFile):  # what came before the damage was read
        damaged.append(str(file))
    except OSError as error:
        raise EdgelineError(f"{file} cannot be read ({error.strerror}).") from error


def _key(row: Mapping[str, Any], name: str, place: str) -> RowKey | None:
    """Which row of which request it is; None where that is not a text and a whole number."""
    identity, number = row.get(name), row.get(place, 0)
    if not isinstance(identity, str) or not identity or type(number) is not int or number < 0:
        return None
    return identity, number
