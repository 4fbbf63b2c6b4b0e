"""JSON lines, one object a row, gzip too: as the server writes payloads, and others their logs.

A first pass over all files settles the types, so that a value late in the last file is never
mistyped: integers and booleans become int64, integers among decimal numbers double, text a
string, a list of these (all of one length) a fixed-size list. A key that an object lacks, null and
an empty list are missing; a column without a value is double. Text that looks like a time stays
text, unless its column is declared to hold times (see `timestamps`).
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import json as arrow_json

from edgeline.components.ingest import timestamps
from edgeline.components.ingest.choice import ColumnChoice
from edgeline.components.ingest.parquet_rows import convert, first_length, unified
from edgeline.components.ingest.rows import BATCH_BYTES, Rows, open_unpacked
from edgeline.errors import EdgelineError
from edgeline.stores.storage import File


@dataclass(frozen=True)
class JsonReader:
    """Reads files of JSON lines.

    Args:
        times: columns whose text are times.
        choice: which columns are read.
        notes: takes a sentence for each column of which a number was rounded.
        kinds: each column's type as JSON has it, after `schema`.
    """

    times: Collection[str] = ()
    choice: ColumnChoice = field(default_factory=ColumnChoice)
    notes: list[str] = field(default_factory=list)
    kinds: dict[str, pa.DataType] = field(default_factory=dict)

    def schema(self, files: Sequence[File]) -> pa.Schema:
        """The columns of all files, in the order in which they first come."""
        widths: dict[str, int] = {}
        rounded: set[str] = set()
        for file in files:
            for block, before in _blocks(file):
                table = _parse(block, {}, file, before)
                for column, values in zip(table.schema, table.columns, strict=True):
                    name = column.name
                    if not self.choice.reads(name):
                        continue
                    kind = _kind(column, file)
                    if pa.types.is_floating(kind) and name not in rounded and _is_wide(values):
                        rounded.add(name)
                        self.notes.append(
                            f"Column {name!r} has numbers beyond 64 bits, in {file.name} from line "
                            f"{before + 1} on, which were rounded to doubles: write identifiers "
                            "as text."
                        )
                    self.kinds[name] = _both(self.kinds.get(name, pa.null()), kind, name, file)
                    if pa.types.is_list(kind) and (width := first_length(values)):
                        widths.setdefault(name, width)
        for name in self.times:
            if self.kinds.get(name) != pa.string():
                found = f"holds {self.kinds[name]}" if name in self.kinds else "is in no file"
                raise EdgelineError(
                    f"column_types says that {name!r} holds times as text, but it {found}: its "
                    f"columns are {', '.join(self.kinds)}."
                )
        return pa.schema(
            (n, pa.int64() if n in self.times else _target(k, widths.get(n, 1)))
            for n, k in self.kinds.items()
        )

    def batches(self, file: File, schema: pa.Schema) -> Iterator[Rows]:
        """One file's rows."""
        for block, before in _blocks(file):
            wanted = {n: pa.float64() if pa.types.is_null(k) else k for n, k in self.kinds.items()}
            table = _parse(block, wanted, file, before).combine_chunks()
            for batch in table.select(schema.names).to_batches():
                columns = [
                    _times(batch.column(column.name), column.name, file, before)
                    if column.name in self.times
                    else convert(batch.column(column.name), column, file, before)
                    for column in schema
                ]
                typed = pa.RecordBatch.from_arrays(columns, schema=schema)
                yield Rows(typed, typed)


def _blocks(file: File) -> Iterator[tuple[bytes, int]]:
    """Whole lines, about `BATCH_BYTES` at once, and how many lines came before them."""
    before = 0
    with open_unpacked(file) as stream:
        while lines := stream.readlines(BATCH_BYTES):
            if any(line.strip() for line in lines):
                yield b"".join(lines), before
            before += len(lines)


def _parse(block: bytes, kinds: Mapping[str, pa.DataType], file: File, before: int) -> pa.Table:
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
        reason = str(error).splitlines()[0].removeprefix("JSON parse error: ")
        raise EdgelineError(
            f"{file.name}, from line {before + 1} on: these are not JSON objects that agree, one a "
            f"line ({reason}): mend or remove them."
        ) from error


def _is_wide(numbers: pa.ChunkedArray) -> bool:
    """Whether one is as large as whole numbers that int64 does not hold, which Arrow rounds."""
    found = pc.min_max(numbers)
    low, high = found["min"].as_py(), found["max"].as_py()
    return low is not None and (low < -(2**63) or high >= 2**63)


def _times(text: pa.Array, name: str, file: File, before: int) -> pa.Array:
    try:
        return timestamps.read(text)
    except pa.ArrowInvalid as error:
        raise EdgelineError(
            f"{file.name}, column {name!r}, from line {before + 1} on: {str(error).split(':')[0]}: "
            "give times such as 2024-03-01T12:34:56Z, or remove the column from column_types."
        ) from error


def _kind(column: pa.Field, file: File) -> pa.DataType:
    kind = column.type
    if pa.types.is_timestamp(kind):  # Arrow's guess at text
        return pa.string()
    if pa.types.is_list(kind) and not pa.types.is_nested(kind.value_type):
        return pa.list_(_kind(pa.field(column.name, kind.value_type), file))
    if pa.types.is_nested(kind):
        raise EdgelineError(
            f"{file.name}, column {column.name!r}: holds {kind}, which examples do not hold: "
            f"flatten it, or leave it out with columns={{{json.dumps(column.name)}: false}}."
        )
    return kind


def _both(first: pa.DataType, second: pa.DataType, name: str, file: File) -> pa.DataType:
    """The type that holds the values of both."""
    if (found := unified(first, second)) is not None:
        return found
    raise EdgelineError(
        f"{file.name}, column {name!r}: holds {second}, but {first} before: give one type a column."
    )


def _target(kind: pa.DataType, width: int) -> pa.DataType:
    if pa.types.is_list(kind):
        return pa.list_(_target(kind.value_type, 1), width)
    if pa.types.is_boolean(kind):
        return pa.int64()
    return pa.float64() if pa.types.is_null(kind) else kind
