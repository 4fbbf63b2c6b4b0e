"""The columns of data and how many rows it has at most, from the first bytes of local files."""

from __future__ import annotations

import codecs
import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from edgeline.components.ingest import csv_header
from edgeline.components.ingest.choice import is_taken
from edgeline.components.ingest.formats import DELIMITERS
from edgeline.components.ingest.partition_folders import values_above
from edgeline.errors import EdgelineError
from edgeline.stores.storage import LocatedFile

BEGINNING = 1 << 20  # bytes that are read of a text file
FEW = 4096  # bytes of a file that may be nothing but blank lines
MOST_FILES = 100  # whose footers are read
IMAGES = ("image", "label", "path")  # the columns that ingest makes of image files


@dataclass(frozen=True)
class Header:
    """Columns of data.

    Attributes:
        names: of all columns.
        file: the name of the file that says so.
        rows: how many there are; None where only a look at all of them would tell.
        structs: names of columns that are fields of a struct, by the struct's.
    """

    names: tuple[str, ...]
    file: str
    rows: int | None = None
    structs: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def of_taken(self, columns: Mapping[str, Any], rename: Mapping[str, Any]) -> Header:
        """The columns that `ingest` takes, under their new names."""
        whole = [self.structs.get(name, ()) for name, taken in columns.items() if not taken]
        out = {name for fields in whole for name in fields}
        kept = [name for name in self.names if is_taken(columns, name) and name not in out]
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
            return Header(IMAGES, "image files", len(files)) if kind == "images" else None
        return found and replace(found, names=(*found.names, *values_above(files[0])))
    except (EdgelineError, OSError, ValueError, LookupError, csv.Error):
        return None  # ingest says what is wrong with a file


def is_empty(file: LocatedFile) -> bool:
    """Whether a local file has no byte, or none but those of blanks and ends of lines."""
    size = Path(file.location).stat().st_size
    if size >= FEW:
        return False
    content = Path(file.location).read_bytes() if size else b""
    return not content.removeprefix(codecs.BOM_UTF8).strip()


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
    if codecs.lookup(encoding).name == "utf-8":
        encoding = "utf-8-sig"
    text = beginning.decode(encoding, "replace")
    for cells in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter):
        if cells and not csv_header.is_delimiter(cells, delimiter, file.name):
            cut = len(cells) == 1 and any(mark in cells[0] for mark in DELIMITERS)
            names = tuple(cell.strip() for cell in cells)
            return None if cut or "�" in "".join(cells) else Header(names, file.name)
    return None


def _of_parquet(files: Sequence[LocatedFile]) -> Header | None:
    import pyarrow as pa
    import pyarrow.parquet as pq
    from pyarrow.types import is_struct

    from edgeline.components.ingest.arrow_types import flat

    if len(files) > MOST_FILES:
        return None
    names: dict[str, None] = {}
    structs: dict[str, tuple[str, ...]] = {}
    rows = 0
    for file in files:
        with pq.ParquetFile(file.location) as parquet:
            for column in parquet.schema_arrow:
                fields = flat(pa.schema([column])).names
                names |= dict.fromkeys(fields)
                structs |= {column.name: tuple(fields)} if is_struct(column.type) else {}
            rows += parquet.metadata.num_rows
    return Header(tuple(names), files[0].name, rows, structs)


def _of_json(files: Sequence[LocatedFile]) -> Header | None:
    """Any row may bring another column: only of small files all are known."""
    names: dict[str, None] = {}
    structs: dict[str, dict[str, None]] = {}
    for file in files:
        with open(file.location, "rb") as stream:
            content = stream.read(BEGINNING)
            if stream.read(1) or content[:2] == b"\x1f\x8b":
                return None
        for line in content.splitlines():
            row = json.loads(line) if line.strip() else {}
            if not isinstance(row, dict):
                return None
            for name, value in row.items():
                fields = dict.fromkeys(_fields(name, value))
                names |= fields
                if isinstance(value, dict):
                    structs.setdefault(name, {}).update(fields)
    whole = tuple(name for name in names if name not in structs)
    return Header(whole, files[0].name, None, {name: tuple(each) for name, each in structs.items()})


def _fields(name: str, value: object) -> Iterator[str]:
    """The columns that a value of a JSON object is: of an object within, one for each field."""
    if not isinstance(value, dict):
        yield name
        return
    for inside, each in value.items():
        yield from _fields(f"{name}.{inside}", each)
