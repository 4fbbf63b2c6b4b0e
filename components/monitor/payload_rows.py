"""The rows of a window in the files that devices have filled, a few thousand at a time.

What `edgeline serve --payloads` writes: JSON lines, one a row, in a folder or a bucket. What is not
taken is counted, and told by name as far as people can act on it.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

from edgeline.artifacts.bundle import Bundle
from edgeline.components.monitor.payload_columns import PayloadColumn, faults_of
from edgeline.components.monitor.window import PayloadWindow, moment_of
from edgeline.errors import first_line
from edgeline.monitoring.line_files import (
    DAMAGE,
    LargeFileError,
    LineFile,
    files_of,
    lines_in,
    printable,
)
from edgeline.stores import remote

AT_ONCE, BYTES_AT_ONCE = 4096, 8 << 20  # rows, and bytes of their lines, that are held
LONGEST = 1 << 20  # bytes of a line
SKEW = 3600.0  # seconds by which a store's clock may be behind a device's
_NAMED = 10  # files, columns and problems that are told by name
_WHENCE = "edgeline_"  # how the names of fields begin that say where a row is from


@dataclass
class ReadingResults:
    """What was read, and what was not.

    Attributes:
        counts: rows, lines and files by what came of them (see `to_json`).
        other_models, other_versions: rows of the window by whose they are.
        problems: the first reasons, with the file and the line.
        damaged: files that could not be read to their end.
        unknown_columns: fields that the model has no tensor for.
    """

    counts: Counter[str] = field(default_factory=Counter)
    other_models: Counter[str] = field(default_factory=Counter)
    other_versions: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)
    damaged: list[str] = field(default_factory=list)
    unknown_columns: set[str] = field(default_factory=set)

    @property
    def rows(self) -> int:
        """Rows of the version in the window."""
        return self.counts["rows"]

    def refuse(self, what: str, where: str, why: str) -> None:
        self.counts[what] += 1
        if len(self.problems) < _NAMED:
            self.problems.append(f"{where}: {why}")

    def to_json(self) -> dict[str, Any]:
        names = ("rows", "unfit", "without_time", "damaged_lines", "before", "after", "without_id")
        files = ("files", "files_before", "files_gone")
        return {
            **{name: self.counts[name] for name in (*names, *files)},
            "of_other_models": self.other_models.total(),
            "of_other_versions": self.other_versions.total(),
            "files_damaged": self.counts["files_damaged"],
            "damaged": self.damaged,
            "other_models": dict(self.other_models.most_common(_NAMED)),
            "other_versions": dict(self.other_versions.most_common(_NAMED)),
            "unknown_columns": sorted(self.unknown_columns),
            "problems": self.problems,
        }


def batches(
    place: str,
    window: PayloadWindow,
    of: Bundle,
    columns: Mapping[str, PayloadColumn],
    results: ReadingResults,
) -> Iterator[Sequence[Mapping[str, Any]]]:
    """The rows of a version in a window, in the order of the files' names.

    Files that were last written before the window are not opened: a file is written after its rows
    were met.

    Raises:
        EdgelineError: a bucket cannot be read.
    """
    kept: list[Mapping[str, Any]] = []
    places: list[str] = []
    held = 0
    for file in files_of(place):
        if file.modified < window.begin - SKEW:
            results.counts["files_before"] += 1
            continue
        results.counts["files"] += 1
        for where, size, row in _rows(file, results):
            if not _is_wanted(row, window, of, results, where):
                continue
            kept.append(row)
            places.append(where)
            held += size
            if len(kept) >= AT_ONCE or held >= BYTES_AT_ONCE:
                yield _fitting(kept, places, columns, results)
                kept, places, held = [], [], 0
    if kept:
        yield _fitting(kept, places, columns, results)


def _fitting(
    rows: Sequence[Mapping[str, Any]],
    places: Sequence[str],
    columns: Mapping[str, PayloadColumn],
    results: ReadingResults,
) -> list[Mapping[str, Any]]:
    """The rows without a fault; the others are counted."""
    for name in sorted(set(chain.from_iterable(rows)) - columns.keys()):
        if not name.startswith(_WHENCE) and len(results.unknown_columns) < _NAMED:
            results.unknown_columns.add(printable(name[:100]))
    faults = faults_of(columns, rows)
    for place, why in sorted(faults.items()):
        results.refuse("unfit", places[place], why)
    results.counts["rows"] += len(rows) - len(faults)
    return [row for place, row in enumerate(rows) if place not in faults]


def _rows(file: LineFile, results: ReadingResults) -> Iterator[tuple[str, int, Mapping[str, Any]]]:
    """The objects of a file, with where each stands and how many bytes it has."""
    number = 0
    try:
        with file.open() as stream:
            for line in lines_in(stream, LONGEST):
                number += 1
                try:
                    row = json.loads(str(line, "utf-8"))
                except (ValueError, RecursionError):
                    row = None
                if isinstance(row, dict):
                    yield f"{file.name} line {number}", len(line), row
                elif line.strip():
                    results.refuse(
                        "damaged_lines", f"{file.name} line {number}", "not a JSON object"
                    )
    except FileNotFoundError:  # `--payload-keep` has removed it since it was listed
        results.counts["files_gone"] += 1
    except (*DAMAGE, LargeFileError) as error:
        _damaged(file, number, error, results)
    except Exception as error:  # whatever the client of a store raises
        if "://" in file.name:
            raise remote.failure(file.name, error) from error
        if not isinstance(error, OSError):
            raise
        _damaged(file, number, error, results)


def _damaged(file: LineFile, number: int, error: Exception, results: ReadingResults) -> None:
    results.counts["files_damaged"] += 1
    if len(results.damaged) < _NAMED:
        why = getattr(error, "strerror", None) or first_line(error)
        results.damaged.append(f"{file.name} behind line {number} ({why})")


def _is_wanted(
    row: Mapping[str, Any],
    window: PayloadWindow,
    of: Bundle,
    results: ReadingResults,
    where: str,
) -> bool:
    moment = moment_of(row.get("edgeline_time"))
    if moment is None:
        results.refuse("without_time", where, "'edgeline_time' is not a time with its zone")
        return False
    if moment not in window:
        results.counts["before" if moment < window.begin else "after"] += 1
        return False
    model, version = row.get("edgeline_model"), row.get("edgeline_version")
    if model != of.name:
        _count(results.other_models, model)
        return False
    if version != of.version:
        _count(results.other_versions, version)
        return False
    return True


def _count(counter: Counter[str], name: object) -> None:
    """Count a name that anybody may have given: of many only the first are told apart."""
    shown = printable(str(name)[:100])
    counter[shown if shown in counter or len(counter) < 1000 else "(others)"] += 1
