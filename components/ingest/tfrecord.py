"""TFRecord files of tf.Example, read without TensorFlow.

A record is framed as `uint64 length, uint32 crc of the length, data, uint32 crc of the data`,
little-endian; a crc is CRC-32C (Castagnoli), rotated right by 15 bits plus 0xA282EAD8
(tensorflow/core/lib/io/record_writer.h, lib/hash/crc32c.h). `data` is the protocol buffer
of tensorflow/core/example/example.proto.

A first pass over all files settles the columns, in alphabetical order: int64, float or, of
bytes, string where every value is UTF-8, else binary. A feature with one value a record is a
plain column, with n values a fixed-size list; absent or without values is missing
(of a list, every value: Parquet reads no missing fixed-size list back).
"""

from __future__ import annotations

import functools
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, BinaryIO

import pyarrow as pa

from edgeline.components.ingest.choice import ColumnChoice
from edgeline.components.ingest.rows import BATCH_BYTES, Rows, open_unpacked
from edgeline.errors import EdgelineError
from edgeline.stores.storage import File

BATCH_RECORDS = 4096
LISTS = {"int64_list": "int64", "float_list": "float", "bytes_list": "bytes"}
LONGEST_RECORD = (1 << 31) - 1  # what a protocol buffer can hold


@dataclass
class _Column:
    kind: str
    width: int
    seen: str  # where the column was first seen
    text: bool = True


@dataclass(frozen=True)
class TFRecordReader:
    """Reads TFRecord files, gzip too; of them the columns that are chosen."""

    choice: ColumnChoice = field(default_factory=ColumnChoice)

    def schema(self, files: Sequence[File]) -> pa.Schema:
        """The columns of every record of every file."""
        columns: dict[str, _Column] = {}
        for file in files:
            for number, (_, features) in enumerate(_examples(file), 1):
                for name, (kind, values) in features.items():
                    if self.choice.reads(name):
                        _look(columns, name, kind, values, f"{file.name}, record {number}")
        if not columns:
            raise EdgelineError(
                f"{files[0].name} holds no feature in any record: give records of tf.Example."
            )
        return pa.schema((name, _arrow_type(columns[name])) for name in sorted(columns))

    def batches(self, file: File, schema: pa.Schema) -> Iterator[Rows]:
        """One file's records; a missing feature is a null."""
        rows: list[dict[str, tuple[str, Sequence[object]]]] = []
        size = 0
        for length, features in _examples(file):
            rows.append(features)
            size += length
            if len(rows) == BATCH_RECORDS or size >= BATCH_BYTES:
                yield _rows(rows, schema)
                rows, size = [], 0
        if rows:
            yield _rows(rows, schema)


def _look(
    columns: dict[str, _Column], name: str, kind: str, values: Sequence[Any], place: str
) -> None:
    column = columns.setdefault(name, _Column(kind, len(values), place))
    if column.kind != kind:
        raise EdgelineError(
            f"{place}: feature {name!r} holds {kind}, but {column.kind} in {column.seen}: "
            "write one type in all records."
        )
    if column.width != len(values):
        raise EdgelineError(
            f"{place}: feature {name!r} has {len(values)} values, but {column.width} in "
            f"{column.seen}: pad or cut it to one length in all records."
        )
    if kind == "bytes" and column.text:
        try:
            for value in values:
                value.decode()
        except UnicodeDecodeError:
            column.text = False


def _arrow_type(column: _Column) -> pa.DataType:
    bytes_type = pa.string() if column.text else pa.binary()
    kind = {"int64": pa.int64(), "float": pa.float32(), "bytes": bytes_type}[column.kind]
    return kind if column.width == 1 else pa.list_(kind, column.width)


def _rows(rows: Sequence[dict[str, tuple[str, Sequence[object]]]], schema: pa.Schema) -> Rows:
    columns = []
    for column in schema:
        fixed = pa.types.is_fixed_size_list(column.type)
        width = column.type.list_size if fixed else 1
        missing = ("", [None] * width)
        values: list[Any] = [row.get(column.name, missing)[1] for row in rows]
        if not fixed:
            values = [value[0] for value in values]
        columns.append(pa.array(values, column.type))
    batch = pa.RecordBatch.from_arrays(columns, schema=schema)
    return Rows(batch, batch)


def _examples(file: File) -> Iterator[tuple[int, dict[str, tuple[str, Sequence[object]]]]]:
    """(bytes of the record, feature name -> (kind, its values)) of every record."""
    from google.protobuf.message import DecodeError

    example = _example_class()
    for number, data in enumerate(_records(file), 1):
        try:
            found = example.FromString(data).features.feature
        except DecodeError as error:
            raise EdgelineError(
                f"{file.name}, record {number}: not a tf.Example: write tf.Example records."
            ) from error
        features: dict[str, tuple[str, Sequence[Any]]] = {}
        for name, feature in found.items():
            which = feature.WhichOneof("kind")
            if which and (values := list(getattr(feature, which).value)):
                features[name] = (LISTS[which], values)
        yield len(data), features


def _records(file: File) -> Iterator[bytes]:
    import google_crc32c

    def masked(data: bytes) -> int:
        crc: int = google_crc32c.value(data)
        return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF

    with open_unpacked(file) as stream:
        number = 1
        while head := _read(stream, 12, file, number, may_end=True):
            length, check = struct.unpack("<QI", head)
            if masked(head[:8]) != check or length > LONGEST_RECORD:
                raise _damaged(file, number, "the checksum of its length is wrong")
            data = _read(stream, length, file, number)
            (check,) = struct.unpack("<I", _read(stream, 4, file, number))
            if masked(data) != check:
                raise _damaged(file, number, "the checksum of its data is wrong")
            yield data
            number += 1


def _read(stream: BinaryIO, size: int, file: File, number: int, *, may_end: bool = False) -> bytes:
    data = stream.read(size)
    if len(data) < size and (data or not may_end):
        raise _damaged(file, number, "the file ends within it")
    return data


def _damaged(file: File, number: int, fault: str) -> EdgelineError:
    return EdgelineError(
        f"{file.name}, record {number}: damaged or not a TFRecord file ({fault}): write it again."
    )


@functools.cache
def _example_class() -> Any:
    """tf.Example, in a descriptor pool of its own so that TensorFlow may be imported as well."""
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    field = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(
        name="example.proto", package="tensorflow", syntax="proto3"
    )

    def message(name: str, parent: Any = file.message_type) -> Any:
        return parent.add(name=name)

    def add(owner: Any, name: str, number: int, kind: int, of: str = "", many: bool = False) -> Any:
        label = field.LABEL_REPEATED if many else field.LABEL_OPTIONAL
        return owner.field.add(
            name=name, number=number, type=kind, label=label, type_name=of or None
        )

    add(message("BytesList"), "value", 1, field.TYPE_BYTES, many=True)
    add(message("FloatList"), "value", 1, field.TYPE_FLOAT, many=True)
    add(message("Int64List"), "value", 1, field.TYPE_INT64, many=True)
    feature = message("Feature")
    feature.oneof_decl.add(name="kind")
    for number, kind in enumerate(("Bytes", "Float", "Int64"), 1):
        name = f"{kind.lower()}_list"
        of = f".tensorflow.{kind}List"
        add(feature, name, number, field.TYPE_MESSAGE, of).oneof_index = 0
    features = message("Features")
    entry = features.nested_type.add(name="FeatureEntry")
    entry.options.map_entry = True
    add(entry, "key", 1, field.TYPE_STRING)
    add(entry, "value", 2, field.TYPE_MESSAGE, ".tensorflow.Feature")
    of = ".tensorflow.Features.FeatureEntry"
    add(features, "feature", 1, field.TYPE_MESSAGE, of, many=True)
    add(message("Example"), "features", 1, field.TYPE_MESSAGE, ".tensorflow.Features")

    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("tensorflow.Example"))
