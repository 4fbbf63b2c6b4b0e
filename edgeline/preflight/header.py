"""The columns of data and how many rows it has at most, from the first bytes of local files."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import unquote

from edgeline.stores.storage import LocatedFile

BEGINNING = 1 << 20  # bytes that are read of a text file
MOST_FILES = 100  # whose footers are read
IMAGES = ("image", "label", "path")  # the columns that ingest makes of image files
CUT_AT = ";\t|,"  # a header of one column with these was surely meant to be cut


@dataclass(frozen=True)
class Header:
    """Columns of data.

    Attributes:
        names: of all columns.
        file: the name of the file that says so.
        rows: how many there are; None where only a look at all of them would tell.
    """

    names: tuple[str, ...]
    file: str
    rows: int | None = None

    def of_taken(self, columns: Mapping[str, Any], rename: Mapping[str, Any]) -> Header:
        """The columns that `ingest` takes, under their new names."""
        out = tuple(f"{name}." for name, taken in columns.items() if not taken)  # of structs
        kept = [
            name
            for name in self.names
            if columns.get(name, not any(columns.values())) and not name.startswith(out)
        ]
        return replace(self, names=tuple(str(rename.get(name, name)) for name in kept))


def read_header(
    kind: str, files: Sequence[LocatedFile], delimiter: str, encoding: str
) -> Header | None:
    """The columns of some local files; None where they cannot be told cheaply.

    Args:
        kind: their format, as ingest calls it.
    """
    try:
        if kind == "csv":
            found = _of_csv(files[0], delimiter, encoding)
        elif kind == "parquet":
            found = _of_parquet(files)
        elif kind == "json":
            found = _of_json(files)
        else:
            found = Header(IMAGES, "image files", len(files)) if kind == "images" else None
    except (OSError, ValueError, LookupError, csv.Error):  # ingest says what is wrong with a file
        return None
    if found is None or kind == "images":
        return found
    folders = [part for part in PurePosixPath(files[0].name).parts[:-1] if "=" in part]
    partitions = [unquote(part.partition("=")[0]) for part in folders]
    return Header((*found.names, *partitions), found.file, found.rows)


def fewer_rows_than(files: Sequence[LocatedFile], count: int) -> int | None:
    """How many rows some CSV or JSON files have at most, where that is fewer than `count`.

    Lines are counted, of which a row has one or more, and no more of them than needed.
    """
    lines = 0
    for file in files:
        if file.location.endswith(".gz"):
            return None
        with open(file.location, "rb") as stream:
            while piece := stream.read(BEGINNING):
                lines += piece.count(b"\n") + piece.count(b"\r")
                if lines > count + len(files):
                    return None
                last = piece[-1:]
            lines += last not in (b"\n", b"\r") if stream.tell() else 0
    return lines


def _of_csv(file: LocatedFile, delimiter: str, encoding: str) -> Header | None:
    with open(file.location, "rb") as stream:
        beginning = stream.read(BEGINNING)
    if beginning[:2] == b"\x1f\x8b":
        return None
    if encoding.lower().replace("_", "-") in ("utf-8", "utf8"):
        encoding = "utf-8-sig"
    text = beginning.decode(encoding, "replace")
    for cells in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter):
        if cells:
            cut = len(cells) == 1 and any(mark in cells[0] for mark in CUT_AT)
            names = tuple(cell.strip() for cell in cells)
            return None if cut or "�" in "".join(cells) else Header(names, file.name)
    return None


def _of_parquet(files: Sequence[LocatedFile]) -> Header | None:
    import pyarrow.parquet as pq

    from edgeline.components.ingest.parquet_rows import flat

    if len(files) > MOST_FILES:
        return None
    names: dict[str, None] = {}
    rows = 0
    for file in files:
        with pq.ParquetFile(file.location) as parquet:
            names |= dict.fromkeys(flat(parquet.schema_arrow).names)
            rows += parquet.metadata.num_rows
    return Header(tuple(names), files[0].name, rows)


def _of_json(files: Sequence[LocatedFile]) -> Header | None:
    """Any row may bring another column: only of small files all are known."""
    names: dict[str, None] = {}
    for file in files:
        with open(file.location, "rb") as stream:
            content = stream.read(BEGINNING)
            if stream.read(1) or content[:2] == b"\x1f\x8b":
                return None
        for line in content.splitlines():
            row = json.loads(line) if line.strip() else {}
            if not isinstance(row, dict):
                return None
            names |= dict.fromkeys(row)
    return Header(tuple(names), files[0].name)
