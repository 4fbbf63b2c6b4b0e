"""CSV: read by Arrow at full speed, and looked at row by row only when something is wrong.

A first pass over all files settles the types, so that a value late in the last file is
never mistyped: a column is int64 when every value is an integer, else double when every
value is a number, else string; a column without a value is double. Whole numbers beyond
64 bits are doubles; leading zeros do not make a string (declare it with `column_types`). Times are
strings, unless they are declared: then they are microseconds (see `timestamps`).

A row's number is that of the record as a spreadsheet shows it: the header is row 1, a
quoted line break does not start a row, a blank line counts (and is skipped).
"""

from __future__ import annotations

import codecs
import contextlib
import csv
import io
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import BinaryIO

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv as arrow_csv

from edgeline.components.ingest import timestamps
from edgeline.components.ingest.rows import Rows, open_unpacked
from edgeline.errors import EdgelineError
from edgeline.stores.storage import File

BLOCK_BYTES = 2 << 20  # a row must fit; memory is some 50 times this
TYPES = {
    "int64": pa.int64(),
    "float": pa.float64(),
    "string": pa.string(),
    timestamps.NAME: timestamps.UTC,  # as it is read; in examples it is int64
}
FAULTS_NAMED = 10
DELIMITERS = ";\t|,"  # that a header of one column was surely meant to be cut at


@dataclass(frozen=True)
class CsvReader:
    """Reads CSV files, gzip too, with a header.

    Args:
        encoding: of the files, a codec name of Python.
        delimiter: between the cells, one character.
        null_values: cells that mean 'missing'.
        column_types: column to `int64`, `float`, `string` or `timestamp`, instead of looking.
    """

    encoding: str = "utf-8"
    delimiter: str = ","
    null_values: Sequence[str] = ("",)
    column_types: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        try:
            codecs.lookup(self.encoding)
        except LookupError:
            raise EdgelineError(
                f"encoding {self.encoding!r} is not known: give for example utf-8, latin-1, cp1252."
            ) from None
        if len(self.delimiter) != 1 or self.delimiter in '"\r\n' or not self.delimiter.isascii():
            raise EdgelineError(
                f"delimiter {self.delimiter!r} cannot separate cells: "
                "give one ASCII character, for example , or ;."
            )
        for column, name in self.column_types.items():
            if name not in TYPES:
                raise EdgelineError(
                    f"column_types gives {column!r} the type {name!r}: "
                    f"the types are {', '.join(TYPES)}."
                )

    def schema(self, files: Sequence[File]) -> pa.Schema:
        """Names from the headers, types from every value of every file."""
        names = self._common_header(files)
        integer = set(names) - set(self.column_types)
        number, filled = set(integer), set()
        for file in files:
            for batch in self._text(file, names):
                for name in sorted(number):
                    column = batch.column(name)
                    if column.null_count == len(column):
                        continue
                    filled.add(name)
                    if name in integer and not _fits(column, pa.int64()):
                        integer.discard(name)
                    if not _fits(column, pa.float64()):
                        number.discard(name)
        return pa.schema(
            (name, timestamps.stored(TYPES[self.column_types[name]]))
            if name in self.column_types
            else (name, pa.int64())
            if name in integer & number & filled
            else (name, pa.float64())
            if name in number
            else (name, pa.string())
            for name in names
        )

    def batches(self, file: File, schema: pa.Schema) -> Iterator[Rows]:
        """One file's rows, typed; `given` holds the cells as text."""
        before = 0
        for text in self._text(file, schema.names):
            columns = []
            for column in schema:
                kind = TYPES.get(self.column_types.get(column.name, ""), column.type)
                try:
                    columns.append(_cast(text.column(column.name), kind))
                except pa.ArrowInvalid:
                    wanted = column.with_type(kind)
                    raise self._misfit(file, before, text.column(column.name), wanted) from None
            yield Rows(pa.RecordBatch.from_arrays(columns, schema=schema), text)
            before += len(text)

    @property
    def _utf8(self) -> bool:
        return codecs.lookup(self.encoding).name in ("utf-8", "utf-8-sig")

    def _common_header(self, files: Sequence[File]) -> list[str]:
        names = self._header(files[0])
        others = [each for each in DELIMITERS if each in names[0] and each != self.delimiter]
        if len(names) == 1 and others:
            raise EdgelineError(
                f"{files[0].name}, row 1: the header is one column, {names[0]!r}: set delimiter to "
                f"{others[0]!r}, or name the column without it."
            )
        for file in files[1:]:
            other = self._header(file)
            if other != names:
                place, (ours, theirs) = next(
                    (place, pair)
                    for place, pair in enumerate(itertools.zip_longest(names, other), 1)
                    if pair[0] != pair[1]
                )
                raise EdgelineError(
                    f"{file.name} has {_named(theirs)} as column {place}, but {files[0].name} "
                    f"has {_named(ours)}: give files with the same header."
                )
        for name in self.column_types:
            if name not in names:
                raise EdgelineError(
                    f"column_types names a column {name!r}, which {files[0].name} has not: "
                    f"its columns are {', '.join(names)}."
                )
        return names

    def _header(self, file: File) -> list[str]:
        for number, cells in self._records(file):
            if not cells:
                continue
            if fault := self._undecodable(file, number, cells, cells):
                raise fault
            for place, name in enumerate(cells, 1):
                if not name.strip():
                    raise EdgelineError(
                        f"{file.name}, row {number}: column {place} has no name: name it."
                    )
                if name in cells[: place - 1]:
                    raise EdgelineError(
                        f"{file.name}, row {number}: columns {cells.index(name) + 1} and {place} "
                        f"are both named {name!r}: rename one."
                    )
            return cells
        raise EdgelineError(f"{file.name} is empty: give a CSV file with a header and rows.")

    def _text(self, file: File, names: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """The cells as strings, missing ones as nulls."""
        if not any(cells for _, cells in itertools.islice(self._records(file), 1, None)):
            return  # Arrow takes a header alone for no CSV at all
        with open_unpacked(file) as stream:
            counted = _QuoteCounter(stream)
            try:
                yield from arrow_csv.open_csv(
                    counted,
                    arrow_csv.ReadOptions(
                        block_size=BLOCK_BYTES, encoding="utf8" if self._utf8 else self.encoding
                    ),
                    arrow_csv.ParseOptions(delimiter=self.delimiter, newlines_in_values=True),
                    arrow_csv.ConvertOptions(
                        column_types=dict.fromkeys(names, pa.string()),
                        null_values=list(self.null_values),
                        strings_can_be_null=True,
                    ),
                )
            except (pa.ArrowInvalid, UnicodeError) as error:
                raise self._fault(file, names) or EdgelineError(
                    f"{file.name} cannot be read as CSV ({error}): mend the file."
                ) from error
        # Arrow lets a quote that is never closed swallow the rest of the file
        if counted.quotes % 2 and (fault := self._fault(file, names)):
            raise fault

    # The careful look

    def _records(self, file: File) -> Iterator[tuple[int, list[str]]]:
        """(row number, cells) of every record; a blank line has no cells.

        An undecodable byte stands as the lone surrogate U+DC00 + byte.
        """
        encoding = "utf-8-sig" if self._utf8 else self.encoding
        number = 0
        with open_unpacked(file) as stream, _cell_limit(BLOCK_BYTES):
            text = io.TextIOWrapper(stream, encoding, errors="surrogateescape", newline="")
            try:
                for cells in csv.reader(text, delimiter=self.delimiter, strict=True):
                    number += 1
                    yield number, cells
            except csv.Error as error:
                if "end of data" in str(error) or "field limit" in str(error):
                    raise EdgelineError(
                        f"{file.name}, row {number + 1}: a quote is opened and not closed "
                        f"(or a cell is longer than {BLOCK_BYTES >> 20} MiB): close it."
                    ) from error
                if "NUL" in str(error):  # before Python 3.11; later ones give the row with it
                    raise EdgelineError(
                        f"{file.name}, row {number + 1}: the row has a NUL byte: set encoding to "
                        "that of the file, for example utf-16, or remove the byte."
                    ) from error
                raise EdgelineError(
                    f"{file.name}, row {number + 1}: not a CSV row ({error}): mend its quotes."
                ) from error
            except UnicodeError as error:
                raise EdgelineError(
                    f"{file.name}, row {number + 1}: cannot be read as {self.encoding} "
                    f"({error}): set encoding to that of the file."
                ) from error

    def _fault(self, file: File, names: Sequence[str]) -> EdgelineError | None:
        """The first thing wrong with a file; of ragged rows, the first few."""
        ragged: list[tuple[int, int]] = []
        try:
            for number, cells in self._records(file):
                if not cells:
                    continue
                if fault := self._undecodable(file, number, cells, names):
                    return fault if not ragged else _ragged(file, ragged, len(names))
                if sum(map(len, cells)) > BLOCK_BYTES // 4:
                    size = sum(len(cell.encode("utf-8", "surrogateescape")) for cell in cells)
                    if size > BLOCK_BYTES:
                        return EdgelineError(
                            f"{file.name}, row {number}: the row is longer than "
                            f"{BLOCK_BYTES >> 20} MiB: shorten it."
                        )
                if len(cells) != len(names):
                    ragged.append((number, len(cells)))
                    if len(ragged) > FAULTS_NAMED:
                        break
        except EdgelineError as error:
            return error if not ragged else _ragged(file, ragged, len(names))
        return _ragged(file, ragged, len(names)) if ragged else None

    def _undecodable(
        self, file: File, number: int, cells: Sequence[str], names: Sequence[str]
    ) -> EdgelineError | None:
        for place, cell in enumerate(cells):
            if cell.isascii():
                continue
            byte = next((ord(sign) - 0xDC00 for sign in cell if "\udc80" <= sign <= "\udcff"), None)
            if byte is not None:
                column = (
                    f"column {names[place]!r}"
                    if place < len(names) and cells is not names
                    else f"column {place + 1}"
                )
                return EdgelineError(
                    f"{file.name}, row {number}, {column}: byte 0x{byte:02x} is not "
                    f"{self.encoding}: set encoding to that of the file, for example "
                    f"{'utf-16' if number == 1 and byte in (0xFE, 0xFF) else 'latin-1'}."
                )
        return None

    def _misfit(self, file: File, before: int, column: pa.Array, wanted: pa.Field) -> EdgelineError:
        place = _first_misfit(column, wanted.type)
        data = (number for number, cells in self._records(file) if cells)
        number = next(itertools.islice(data, 1 + before + place, None))
        name = self.column_types.get(wanted.name, str(wanted.type))
        return EdgelineError(
            f"{file.name}, row {number}, column {wanted.name!r}: {column[place].as_py()!r} is not "
            f"{name}: mend it, add it to null_values, or declare another type in column_types."
        )


class _QuoteCounter(io.RawIOBase):
    def __init__(self, stream: BinaryIO) -> None:
        self.quotes = 0
        self._stream = stream

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        piece = self._stream.read(size)
        self.quotes += piece.count(b'"')
        return piece


@contextlib.contextmanager
def _cell_limit(size: int) -> Iterator[None]:
    before = csv.field_size_limit(size)
    try:
        yield
    finally:
        csv.field_size_limit(before)


def _cast(column: pa.Array, kind: pa.DataType) -> pa.Array:
    if timestamps.holds(kind):
        return timestamps.read(column)
    try:
        return column.cast(kind)
    except pa.ArrowInvalid:
        return pc.utf8_trim_whitespace(column).cast(kind)


def _fits(column: pa.Array, kind: pa.DataType) -> bool:
    try:
        _cast(column, kind)
    except pa.ArrowInvalid:
        return False
    return True


def _first_misfit(column: pa.Array, kind: pa.DataType) -> int:
    low, high = 0, len(column)  # the first misfit lies in low..high
    while high - low > 1:
        middle = (low + high) // 2
        if _fits(column.slice(low, middle - low), kind):
            low = middle
        else:
            high = middle
    return low


def _ragged(file: File, found: Sequence[tuple[int, int]], width: int) -> EdgelineError:
    number, cells = found[0]
    others = [str(other) for other, _ in found[1:FAULTS_NAMED]]
    also = (
        f" (so do rows {', '.join(others)}"
        if len(others) > 1
        else f" (so does row {''.join(others)}"
    )
    more = " and more)" if len(found) > FAULTS_NAMED else ")"
    return EdgelineError(
        f"{file.name}, row {number}: the row has {cells} cells, but the header has {width}"
        f"{also + more if others else ''}: mend the row or quote its delimiters."
    )


def _named(name: str | None) -> str:
    return "nothing" if name is None else repr(name)
