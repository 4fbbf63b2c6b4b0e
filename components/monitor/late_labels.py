"""Late labels from files, given to the answers of a window (see `docs/decay.md`)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from edgeline.components.monitor.payload_rows import SKEW
from edgeline.errors import EdgelineError, first_line
from edgeline.monitoring.decay import Decay
from edgeline.monitoring.joining import LabelPiece
from edgeline.monitoring.labels import LONGEST, PIECE, LabelResults, lines_of, read_line
from edgeline.monitoring.line_files import DAMAGE, LargeFileError, files_of, lines_in
from edgeline.stores import remote

_NAMED = 10


@dataclass
class LateLabels:
    """What came of labels.

    Attributes:
        results: by line.
        files: that were read; `files_before`: that were last written before the window.
        other_models: labels that name another model.
        damaged: files that could not be read to their end.
    """

    results: LabelResults = field(default_factory=LabelResults)
    files: int = 0
    files_before: int = 0
    other_models: int = 0
    damaged: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        return {
            **self.results.to_json(),
            "other_models": self.other_models,
            "files": self.files,
            "files_before": self.files_before,
            "damaged": self.damaged[:_NAMED],
            "files_damaged": len(self.damaged),
        }


def join(place: str, decay: Decay, begin: float) -> LateLabels:
    """Give answers the labels of a file, a folder or a bucket, in the order of the files' names.

    Args:
        begin: of the window, in seconds since 1970: no label comes before its answer, so files that
            were last written before are not opened.

    Raises:
        EdgelineError: a bucket cannot be read.
    """
    found = LateLabels()
    piece = LabelPiece([decay])
    for file in files_of(place):
        if file.modified < begin - SKEW:
            found.files_before += 1
            continue
        try:
            with file.open() as stream:
                lines = lines_in(stream, 2 * LONGEST)
                for where, line in lines_of(lines, found.results, f"{file.name} line"):
                    if (line.get("model") or decay.of.name) != decay.of.name:
                        found.other_models += 1
                        continue
                    try:
                        piece.add(read_line(line), where)
                    except EdgelineError as error:
                        found.results.refuse(where, str(error).rstrip("."))
                    if len(piece.keys) >= PIECE:
                        piece.join(found.results)
                        piece = LabelPiece([decay])
            found.files += 1
        except (*DAMAGE, LargeFileError) as error:
            found.damaged.append(f"{file.name} ({first_line(error)})")
        except Exception as error:  # whatever the client of a store raises
            if "://" in file.name:
                raise remote.failure(file.name, error) from error
            if not isinstance(error, OSError):
                raise
            found.damaged.append(f"{file.name} ({first_line(error)})")
    piece.join(found.results)
    return found
