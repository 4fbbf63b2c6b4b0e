"""JSON lines, one object a row, gzip too: as the server writes payloads, and others their logs.

A first pass over all files settles the types, so that a value late in the last file is never
mistyped: integers and booleans become int64, integers among decimal numbers double, text a
string, a list of these (all of one length) a fixed-size list, an object a column for each of its
fields, `a.b`. A key that an object lacks, null and an empty list are missing; a column without a
value is double. Whole numbers that a double does not hold are told where they became doubles. Text
that looks like a time stays text, unless its column is declared to hold times (see `timestamps`).
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import json as arrow_json

from edgeline.components.ingest import timestamps
from edgeline.components.ingest.arrow_types import (
    convert,
    first_length,
    flat,
    flat_table,
    list_field,
    unified,
)
from edgeline.components.ingest.choice import ColumnChoice, leaving_out
from edgeline.components.ingest.formats import refuse_other_format
from edgeline.components.ingest.rows import BATCH_BYTES, Rows, open_unpacked
from edgeline.errors import EdgelineError, shortened
from edgeline.stores.storage import File

EXACT_DIGITS = 15  # of a whole number that a double holds for certain


@dataclass(frozen=True)
class JsonReader:
    """Reads files of JSON lines.

    Args:
        times: columns whose text are times.
        choice: which columns are read.
        notes: takes a sentence for each column of which a number was rounded.
        kinds: each column's type as JSON has it, objects as structs, after `schema`.
    """

    times: Collection[str] = ()
    choice: ColumnChoice = field(default_factory=ColumnChoice)
    notes: list[str] = field(default_factory=list)
    kinds: dict[str, pa.DataType] = field(default_factory=dict)

    def schema(self, files: Sequence[File]) -> pa.Schema:
        """The columns of all files, in the order in which they first come."""
        widths: dict[str, int] = {}
        large: set[str] = set()
        for file in files:
            refuse_other_format(file)
            for block, before in _blocks(file):
                table = _parse(block, {}, file, before)
                for column in table.schema:
                    self._add(column, file)
                for name, values in _columns(flat_table(table)):
                    if _is_large(values):
                        large.add(name)
                    if pa.types.is_list(values.type) and (width := first_length(values)):
                        widths.setdefault(name, width)
        found = flat(pa.schema(list(self.kinds.items())))
        kinds = dict(zip(found.names, found.types, strict=True))
        for name in found.names:
            if found.names.count(name) > 1:
                raise EdgelineError(f"{files[0].name} has two columns named {name!r}: rename one.")
        self._refuse_times(kinds)
        self.notes.extend(
            f"Column {name!r} was left out: it holds objects without fields that are taken."
            for name, kind in self.kinds.items()
            if not _holds(kind)
        )
        doubles = {name for name in large if _is_double(kinds.get(name))}
        self.notes.extend(rounded(files, doubles))
        return pa.schema(
            list_field(name, _target(kind.value_type), widths.get(name, 1), self.choice)
            if pa.types.is_list(kind)
            else pa.field(name, pa.int64() if name in self.times else _target(kind))
            for name, kind in kinds.items()
        )

    def batches(self, file: File, schema: pa.Schema) -> Iterator[Rows]:
        """One file's rows."""
        for block, before in _blocks(file):
            wanted = {name: _readable(kind) for name, kind in self.kinds.items() if _holds(kind)}
            table = flat_table(_parse(block, wanted, file, before)).combine_chunks()
            for batch in table.select(schema.names).to_batches():
                columns = [
                    _times(batch.column(column.name), column.name, file, before)
                    if column.name in self.times
                    else convert(batch.column(column.name), column, file, before)
                    for column in schema
                ]
                typed = pa.RecordBatch.from_arrays(columns, schema=schema)
                yield Rows(typed, typed)

    def _add(self, column: pa.Field, file: File) -> None:
        """Take note of a column of a block, and so of its type."""
        kind = self._kind(column.type, column.name, file)
        if kind is not None:
            before = self.kinds.get(column.name, pa.null())
            self.kinds[column.name] = _both(before, kind, column.name, file)

    def _kind(self, kind: pa.DataType, name: str, file: File) -> pa.DataType | None:
        """The type of a column or of an object's field as it is read; None where it is not."""
        if pa.types.is_struct(kind):
            if self.choice.columns.get(name) is False:
                self.choice.seen[name] = None
                return None
            inside = {
                each.name: self._kind(each.type, f"{name}.{each.name}", file) for each in kind
            }
            return pa.struct([each for each in inside.items() if each[1] is not None])
        return _plain(kind, name, file) if self.choice.reads(name) else None

    def _refuse_times(self, kinds: Mapping[str, pa.DataType]) -> None:
        for name in self.times:
            if kinds.get(name) != pa.string():
                found = f"holds {kinds[name]}" if name in kinds else "is in no file"
                raise EdgelineError(
                    f"column_types says that {name!r} holds times as text, but it {found}: its "
                    f"columns are {', '.join(kinds)}."
                )


def _blocks(file: File) -> Iterator[tuple[bytes, int]]:
    """Whole lines, about `BATCH_BYTES` at once, and how many lines came before them."""
    before = 0
    with open_unpacked(file) as stream:
        while lines := stream.readlines(BATCH_BYTES):
            if any(line.strip() for line in lines):
                yield b"".join(lines), before
            before += len(lines)


def _parse(block: bytes, kinds: Mapping[str, pa.DataType], file: File, before: int) -> pa.Table:
    _check_text(block, file, before)
    try:
        return arrow_json.read_json(
            pa.BufferReader(block),
            arrow_json.ReadOptions(use_threads=False, block_size=len(block) + 1),
            arrow_json.ParseOptions(
                explicit_schema=pa.schema(list(kinds.items())),
                unexpected_field_behavior="ignore" if kinds else "infer",
            ),
        )
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        if not before and block.lstrip().startswith(b"["):
            raise EdgelineError(
                f"{file.name} is an array of JSON: write its objects one a line, without the "
                "brackets around them and the commas between, as jq -c '.[]' does."
            ) from error
        reason = str(error).splitlines()[0].removeprefix("JSON parse error: ")
        reason, _, row = reason.partition(" in row ")
        line = _line(block, int(row)) if row.isdecimal() else 0
        place = f"line {before + line}" if line else f"from line {before + 1} on"
        raise EdgelineError(
            f"{file.name}, {place}: these are not JSON objects that agree, one a "
            f"line ({reason}): fix or remove them."
        ) from error


def _check_text(block: bytes, file: File, before: int) -> None:
    """Refuse bytes that are not text: Arrow takes them as they are."""
    try:
        block.decode()
    except UnicodeDecodeError as error:
        line = before + block.count(b"\n", 0, error.start) + 1
        raise EdgelineError(
            f"{file.name}, line {line}: byte 0x{block[error.start]:02x} is not UTF-8, which JSON "
            "is written in: write the file again as UTF-8."
        ) from error


def _line(block: bytes, row: int) -> int:
    """The line of an object, counted from 0, where each has one; 0 where it cannot be told."""
    lines = [(number, line) for number, line in enumerate(block.split(b"\n"), 1) if line.strip()]
    whole = [number for number, line in lines[: row + 1] if line.lstrip().startswith(b"{")]
    return whole[row] if len(whole) == row + 1 else 0


def rounded(files: Sequence[File], columns: Collection[str]) -> Iterator[str]:
    """What is said of whole numbers that doubles do not hold, which others in a column made it."""
    if not columns:
        return
    first: dict[str, str] = {}
    counts: Counter[str] = Counter()
    for file in files:
        for block, before in _blocks(file):
            for line, text in enumerate(block.decode().split("\n"), before + 1):
                for name, number in _whole_numbers(text):
                    if name in columns and Decimal(float(number)) != Decimal(number):
                        first.setdefault(name, f"{shortened(number)} in {file.name}, line {line}")
                        counts[name] += 1
    for name, place in first.items():
        yield (
            f"Column {name!r} has {counts[name]:,} whole numbers that were rounded to doubles, the "
            f"first {place}: write identifiers as text."
        )


class _Whole(str):
    """A whole number as it is written."""


def _whole_numbers(text: str) -> Iterator[tuple[str, str]]:
    """The long whole numbers of a line's objects, and their columns."""
    decoder, place = json.JSONDecoder(parse_int=_Whole), 0
    while text := text[place:].strip():
        row, place = decoder.raw_decode(text)
        values = [("", row)]
        while values:
            name, value = values.pop()
            if isinstance(value, dict):
                above = f"{name}." if name else ""
                values += [(f"{above}{key}", inside) for key, inside in value.items()]
            elif isinstance(value, list):
                values += [(name, inside) for inside in value]
            elif isinstance(value, _Whole) and len(value) > EXACT_DIGITS:
                yield name, value


def _columns(table: pa.Table) -> Iterator[tuple[str, pa.ChunkedArray]]:
    return zip(table.schema.names, table.columns, strict=True)


def _is_large(values: pa.ChunkedArray) -> bool:
    """Whether one is as large as whole numbers that a double may not hold."""
    while pa.types.is_list(values.type):
        values = pc.list_flatten(values)
    if not (pa.types.is_integer(values.type) or pa.types.is_floating(values.type)):
        return False
    found = pc.min_max(values)
    low, high = found["min"].as_py(), found["max"].as_py()
    return low is not None and bool(low <= -(2**53) or high >= 2**53)


def _is_double(kind: pa.DataType | None) -> bool:
    if kind is not None and pa.types.is_list(kind):
        return _is_double(kind.value_type)
    return bool(kind == pa.float64())


def _times(text: pa.Array, name: str, file: File, before: int) -> pa.Array:
    try:
        return timestamps.read(text)
    except pa.ArrowInvalid as error:
        raise EdgelineError(
            f"{file.name}, column {name!r}, from line {before + 1} on: {str(error).split(':')[0]}: "
            "give times such as 2024-03-01T12:34:56Z, or remove the column from column_types."
        ) from error


def _plain(kind: pa.DataType, name: str, file: File) -> pa.DataType:
    if pa.types.is_timestamp(kind):  # Arrow's guess at text
        return pa.string()
    if pa.types.is_list(kind) and not pa.types.is_nested(kind.value_type):
        return pa.list_(_plain(kind.value_type, name, file))
    if pa.types.is_nested(kind):
        raise EdgelineError(
            f"{file.name}, column {name!r}: holds {kind}, which examples do not hold: flatten it, "
            f"or {leaving_out(name)}."
        )
    return kind


def _both(first: pa.DataType, second: pa.DataType, name: str, file: File) -> pa.DataType:
    """The type that holds the values of both."""
    if pa.types.is_struct(first) and pa.types.is_struct(second):
        kinds = {each.name: each.type for each in first}
        for each in second:
            before = kinds.get(each.name, pa.null())
            kinds[each.name] = _both(before, each.type, f"{name}.{each.name}", file)
        return pa.struct(list(kinds.items()))
    if (found := unified(first, second)) is not None:
        return found
    raise EdgelineError(
        f"{file.name}, column {name!r}: holds {second}, but {first} before: give one type a column."
    )


def _holds(kind: pa.DataType) -> bool:
    """Whether a type is not that of objects without fields."""
    return not pa.types.is_struct(kind) or any(_holds(each.type) for each in kind)


def _readable(kind: pa.DataType) -> pa.DataType:
    """A type to read values as, where some had none."""
    if pa.types.is_struct(kind):
        return pa.struct([(each.name, _readable(each.type)) for each in kind if _holds(each.type)])
    return pa.float64() if pa.types.is_null(kind) else kind


def _target(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_boolean(kind):
        return pa.int64()
    return pa.float64() if pa.types.is_null(kind) else kind
