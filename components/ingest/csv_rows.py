"""CSV: read by Arrow at full speed, and looked at row by row only when something is wrong.

A first pass over all files settles the types (see `csv_kinds`), so that a value late in the last
file is never mistyped. Leading zeros do not make a string, and times are strings, unless they are
declared: then they are microseconds (see `timestamps`).

A row's number is that of the record as a spreadsheet shows it: the header is row 1, a
quoted line break does not start a row, a blank line counts (and is skipped). A first row `sep=;`,
as Excel writes it, counts, too, and says the delimiter.
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
from pyarrow import csv as arrow_csv

from edgeline.components.ingest import csv_header
from edgeline.components.ingest.choice import ColumnChoice
from edgeline.components.ingest.csv_cells import TYPES, Cells, check_types
from edgeline.components.ingest.csv_kinds import CellPlace, Kinds, Rounded
from edgeline.components.ingest.formats import refuse_other_format
from edgeline.components.ingest.rows import Rows, open_unpacked
from edgeline.errors import EdgelineError
from edgeline.stores.storage import File

BLOCK_BYTES = 2 << 20  # a row must fit; memory is some 50 times this
FAULTS_NAMED = 10
NAMES = {pa.int64(): "int64", pa.float64(): "float", pa.string(): "string"}  # of inferred types


@dataclass(frozen=True)
class CsvReader:
    """Reads CSV files, gzip too, with a header.

    Args:
        encoding: of the files, a codec name of Python.
        delimiter: between the cells, one character.
        null_values: cells that mean 'missing'.
        column_types: column to one of `csv_cells.TYPES`, instead of looking.
        cells: how numbers are written.
        choice: which columns are read.
        notes: takes a sentence for each column that may be meant in another way.
    """

    encoding: str = "utf-8"
    delimiter: str = ","
    null_values: Sequence[str] = ("",)
    column_types: Mapping[str, str] = field(default_factory=dict)
    cells: Cells = field(default_factory=Cells)
    choice: ColumnChoice = field(default_factory=ColumnChoice)
    notes: list[str] = field(default_factory=list)

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
        for cell in self.null_values:
            if not isinstance(cell, str):
                raise EdgelineError(
                    f'null_values has {cell!r}: give cells as text, for example "{cell}".'
                )
        check_types(self.column_types)

    def schema(self, files: Sequence[File]) -> pa.Schema:
        """Names from the headers, types from every value of every file."""
        for file in files:
            refuse_other_format(file)
        names = self._common_header(files)
        kinds = Kinds([name for name in names if name not in self.column_types], self.cells)
        for file in files:
            before = 0
            for batch in self._text(file, names):
                kinds.count_batch(batch, file, before)
                before += len(batch)
        self.notes.extend([*kinds.notes(self._told), *self._rounded(files, kinds.large())])
        types = {**kinds.types(), **{name: TYPES[t] for name, t in self.column_types.items()}}
        return pa.schema((name, types[name]) for name in names)

    def batches(self, file: File, schema: pa.Schema) -> Iterator[Rows]:
        """One file's rows, typed; `given` holds the cells as text."""
        before = 0
        for text in self._text(file, schema.names):
            columns = []
            for column in schema:
                name = self.column_types.get(column.name, NAMES[column.type])
                try:
                    columns.append(self.cells.read(text.column(column.name), name))
                except pa.ArrowInvalid:
                    cells = text.column(column.name)
                    found = self.cells.first_misfit(cells, name)
                    place = CellPlace(file, before + found, cells[found].as_py())
                    raise self._misfit(place, column.name, name) from None
            yield Rows(pa.RecordBatch.from_arrays(columns, schema=schema), text)
            before += len(text)

    def _rounded(self, files: Sequence[File], names: Sequence[str]) -> Iterator[str]:
        """What is said of numbers that doubles do not hold, which others in a column made them."""
        found = {name: Rounded(self.cells) for name in names}
        for file in files if names else ():
            before = 0
            for batch in self._text(file, names):
                for name, each in found.items():
                    each.count_batch(batch.column(name), file, before)
                before += len(batch)
        for name, each in found.items():
            if each.first:
                yield (
                    f"Column {name!r} was read as double, which rounds {each.count:,} of its "
                    f"numbers, {self._told(each.first)} first: declare string in column_types to "
                    "keep them."
                )

    @property
    def _utf8(self) -> bool:
        return codecs.lookup(self.encoding).name in ("utf-8", "utf-8-sig")

    def _common_header(self, files: Sequence[File]) -> list[str]:
        """The columns that are read."""
        first = self._header(files[0])
        csv_header.check(first, files[0].name, self.delimiter, self.choice)
        for file in files[1:]:
            csv_header.check_same(self._header(file), file.name, first, files[0].name)
        self.notes.extend(csv_header.notes(first))
        names = [name for name in csv_header.names(first) if self.choice.reads(name)]
        for name in self.column_types:
            if name not in names:
                raise EdgelineError(
                    f"column_types names a column {name!r}, which {files[0].name} lacks: "
                    f"its columns are {', '.join(names)}."
                )
        return names

    def _header(self, file: File) -> csv_header.CsvHeader:
        for number, cells in self._records(file):
            if not cells:
                continue
            if fault := self._undecodable(file, number, cells, cells):
                raise fault
            return csv_header.CsvHeader(number, tuple(cells))
        raise EdgelineError(f"{file.name} is empty: give a CSV file with a header and rows.")

    def _text(self, file: File, names: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """The cells as strings, missing ones as nulls."""
        if not names or not any(
            cells for _, cells in itertools.islice(self._records(file), 1, None)
        ):
            return  # Arrow takes a header alone for no CSV at all, and no names for all
        header = self._header(file).cells
        written = {name.strip(): name for name in header}
        taken = [written[name] for name in names]
        with open_unpacked(file) as stream:
            counted = _QuoteCounter(stream)
            try:
                reader = arrow_csv.open_csv(
                    counted,
                    arrow_csv.ReadOptions(
                        block_size=BLOCK_BYTES,
                        encoding="utf8" if self._utf8 else self.encoding,
                        skip_rows=int(self._says_delimiter(file)),
                    ),
                    arrow_csv.ParseOptions(delimiter=self.delimiter, newlines_in_values=True),
                    arrow_csv.ConvertOptions(
                        column_types=dict.fromkeys(taken, pa.string()),
                        include_columns=taken,
                        null_values=list(self.null_values),
                        strings_can_be_null=True,
                    ),
                )
                for batch in reader:
                    yield batch.rename_columns(list(names))
            except (pa.ArrowInvalid, UnicodeError) as error:
                raise self._fault(file, header) or EdgelineError(
                    f"{file.name} cannot be read as CSV ({error}): fix the file."
                ) from error
        # Arrow lets a quote that is never closed swallow the rest of the file
        if counted.quotes % 2 and (fault := self._fault(file, header)):
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
                    if number > 1 or not csv_header.is_delimiter(cells, self.delimiter, file.name):
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
                    f"{file.name}, row {number + 1}: not a CSV row ({error}): fix its quotes."
                ) from error
            except UnicodeError as error:
                raise EdgelineError(
                    f"{file.name}, row {number + 1}: cannot be read as {self.encoding} "
                    f"({error}): set encoding to that of the file."
                ) from error

    def _says_delimiter(self, file: File) -> bool:
        """Whether the first row is Excel's `sep=;`, not the header."""
        return next((number for number, _ in self._records(file)), 1) > 1

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

    def _misfit(self, place: CellPlace, column: str, name: str) -> EdgelineError:
        return EdgelineError(
            f"{place.file.name}, row {self._row(place)}, column {column!r}: {place.text!r} is not "
            f"{name}: fix it, add it to null_values, or declare another type in column_types."
        )

    def _told(self, place: CellPlace) -> str:
        return f"{place.text!r} in row {self._row(place)} of {place.file.name}"

    def _row(self, place: CellPlace) -> int:
        data = (number for number, cells in self._records(place.file) if cells)
        return next(itertools.islice(data, 1 + place.row, None))


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
        f"{also + more if others else ''}: fix the row or quote its delimiters."
    )
