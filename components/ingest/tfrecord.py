"""TFRecord files of tf.Example and tf.SequenceExample, read without TensorFlow.

A first pass over all files settles the columns, in alphabetical order: int64, float or, of
bytes, string where every value is UTF-8, else binary; double where no record has a value. A
feature with one value a record is a plain column, with n values a fixed-size list, and where a
length is declared a list of varying length. A feature list is a list of what its steps have.

A feature that a record lacks is missing, and so is one without values (of a fixed-size list,
every value: Parquet reads no missing fixed-size list back). TFDV counts a feature without values
as present, and so does the column's field where none of its records lacks it (see
`features.EMPTY`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from edgeline.artifacts import features
from edgeline.components.ingest import tf_example
from edgeline.components.ingest.arrow_types import list_field
from edgeline.components.ingest.choice import ColumnChoice, declaring, leaving_out, too_long
from edgeline.components.ingest.rows import BATCH_BYTES, Rows
from edgeline.components.ingest.tf_example import ExampleFeature
from edgeline.components.ingest.tfrecord_file import records
from edgeline.errors import EdgelineError
from edgeline.stores.storage import File

BATCH_RECORDS = 4096


@dataclass
class _Column:
    kind: str = ""  # of its values
    empty_kind: str = ""  # of records without one
    width: int = 0  # values of a record that has any
    seen: str = ""  # where such a record was first seen
    in_steps: bool = False
    text: bool = True
    records: int = 0  # that have the feature
    empty: int = 0  # of these, with a kind and no values
    without_kind: int = 0


@dataclass(frozen=True)
class TFRecordReader:
    """Reads TFRecord files, gzip too; of them the columns that are chosen."""

    choice: ColumnChoice = field(default_factory=ColumnChoice)

    def schema(self, files: Sequence[File]) -> pa.Schema:
        """The columns of every record of every file."""
        columns: dict[str, _Column] = {}
        total = 0
        for file in files:
            for number, (_, found) in enumerate(_examples(file), 1):
                total += 1
                for name, feature in found.items():
                    if self.choice.reads(name):
                        column = columns.setdefault(name, _Column())
                        self._look(column, name, feature, f"{file.name}, record {number}")
        if not columns:
            raise EdgelineError(
                f"{files[0].name} holds no feature in any record: give records of tf.Example."
            )
        return pa.schema(self._field(name, columns[name], total) for name in sorted(columns))

    def batches(self, file: File, schema: pa.Schema) -> Iterator[Rows]:
        """One file's records; a missing feature is a null."""
        rows: list[Mapping[str, ExampleFeature]] = []
        size = 0
        for length, found in _examples(file):
            rows.append(found)
            size += length
            if len(rows) == BATCH_RECORDS or size >= BATCH_BYTES:
                yield _rows(rows, schema)
                rows, size = [], 0
        if rows:
            yield _rows(rows, schema)

    def _look(self, column: _Column, name: str, feature: ExampleFeature, place: str) -> None:
        if feature.fault:
            raise EdgelineError(
                f"{place}: feature list {name!r} {feature.fault}, but a column holds one value of "
                f"one type for each step: {leaving_out(name)}."
            )
        column.records += 1
        column.in_steps |= feature.in_steps
        column.empty += bool(feature.kind or feature.in_steps) and not feature.values
        column.without_kind += not (feature.kind or feature.in_steps)
        if not feature.values:
            column.empty_kind = column.empty_kind or feature.kind
            return
        width = len(feature.values)
        if not column.width:
            column.width, column.seen = width, place
        column.kind = column.kind or feature.kind
        if feature.kind and column.kind != feature.kind:
            raise EdgelineError(
                f"{place}: feature {name!r} holds {feature.kind}, but {column.kind} in "
                f"{column.seen}: write one type in all records."
            )
        if declared := self.choice.lengths.get(name):
            if width > declared:
                raise too_long(name, width, declared, place)
        elif column.width != width:
            raise EdgelineError(
                f"{place}: feature {name!r} has {width} values, but {column.width} in "
                f"{column.seen}: {declaring(name, max(width, column.width))}."
            )
        if feature.kind == "bytes" and column.text:
            column.text = all(map(_is_text, feature.values))

    def _field(self, name: str, column: _Column, total: int) -> pa.Field:
        bytes_type = pa.string() if column.text else pa.binary()
        types = {"int64": pa.int64(), "float": pa.float32(), "bytes": bytes_type}
        kind = types.get(column.kind or column.empty_kind, pa.float64())
        if column.width > 1 or column.in_steps or name in self.choice.lengths:
            return list_field(name, kind, max(column.width, 1), self.choice)
        made = pa.field(name, kind)
        if column.records == total and column.empty:
            return made.with_metadata({features.EMPTY: features.NO_VALUES})
        if column.records == total and column.without_kind:
            return made.with_metadata({features.EMPTY: features.NO_KIND})
        return made


def _is_text(value: bytes | None) -> bool:
    try:
        (value or b"").decode()
    except UnicodeDecodeError:
        return False
    return True


_ABSENT = ExampleFeature("", ())


def _rows(rows: Sequence[Mapping[str, ExampleFeature]], schema: pa.Schema) -> Rows:
    columns = []
    for column in schema:
        found = [row.get(column.name, _ABSENT) for row in rows]
        values: list[Any]
        if pa.types.is_list(column.type):
            values = [list(each.values) if each.kind or each.in_steps else None for each in found]
        elif pa.types.is_fixed_size_list(column.type):
            missing = [None] * column.type.list_size
            values = [list(each.values) or missing for each in found]
        else:
            values = [each.values[0] if each.values else None for each in found]
        columns.append(pa.array(values, column.type))
    batch = pa.RecordBatch.from_arrays(columns, schema=schema)
    return Rows(batch, batch)


def _examples(file: File) -> Iterator[tuple[int, Mapping[str, ExampleFeature]]]:
    """Of every record its bytes and its features."""
    from google.protobuf.message import DecodeError

    for number, data in enumerate(records(file), 1):
        try:
            yield len(data), tf_example.parse(data)
        except DecodeError as error:
            raise EdgelineError(
                f"{file.name}, record {number}: not a tf.Example: write tf.Example records."
            ) from error
        except ValueError as error:
            raise EdgelineError(
                f"{file.name}, record {number}: has a feature and a feature list of the name "
                f"{error.args[0]!r}: rename one."
            ) from error
