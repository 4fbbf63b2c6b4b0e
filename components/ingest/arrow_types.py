"""The few types that examples have, and how those of Arrow are brought to them.

Integers and booleans become int64, timestamps and dates microseconds in UTC (see `timestamps`), a
time without a zone being UTC's, times of day and durations microseconds, half-precision numbers
float, decimals double (without a fraction and of at most 18 digits int64), dictionaries their
values, structs a column for each of their fields, `a.b`; float, double, string and binary stay.
Lists of one length become fixed-size lists, a missing or empty one a list of missing values; where
a length is declared they stay lists, whose field has it as its shape. Of Arrow's extension types
those are read as what they are stored as of which that is all; it is said.
"""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow.types import is_struct

from edgeline.artifacts import features
from edgeline.artifacts.features import is_list
from edgeline.components.ingest import timestamps
from edgeline.components.ingest.choice import ColumnChoice, declaring, leaving_out, too_long
from edgeline.errors import EdgelineError
from edgeline.stores.storage import File

EXTENSION = b"ARROW:extension:name"  # in the metadata of a field whose type Arrow does not know
# Arrow's own, whose storage is all that they hold
EXTENSIONS = ("arrow.uuid", "arrow.json", "arrow.bool8", "arrow.fixed_shape_tensor")
DIGITS = 15  # that a double holds of any decimal number
TEXTS = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
BINARIES = (
    *(pa.types.is_binary, pa.types.is_large_binary, pa.types.is_binary_view),
    pa.types.is_fixed_size_binary,
)


def flat(schema: pa.Schema) -> pa.Schema:
    """A schema with the fields of structs as columns, and extension types as their storage."""
    return pa.schema(column.with_type(_stored(column.type)) for column in fields(schema))


def fields(schema: pa.Schema) -> pa.Schema:
    """A schema with the fields of structs as columns."""
    while any(is_struct(column.type) for column in schema):
        schema = pa.schema(inside for column in schema for inside in _fields(column))
    return schema


def _fields(column: pa.Field) -> list[pa.Field]:
    if not is_struct(column.type):
        return [column]
    return [inside.with_name(f"{column.name}.{inside.name}") for inside in column.type]


def flat_table(table: pa.Table) -> pa.Table:
    """A table with the fields of structs as columns, as `flat` has them."""
    while any(is_struct(kind) for kind in table.schema.types):
        table = table.flatten()
    for place, column in enumerate(table.schema):
        if _stored(column.type) != column.type:
            chunks = [chunk.storage for chunk in table.column(place).chunks]
            stored = column.with_type(_stored(column.type))
            table = table.set_column(place, stored, pa.chunked_array(chunks, stored.type))
    return table


def _stored(kind: pa.DataType) -> pa.DataType:
    """What values of a known extension type are stored as; others stay as they are."""
    known = isinstance(kind, pa.BaseExtensionType) and kind.extension_name in EXTENSIONS
    return kind.storage_type if known else kind


def as_stored(column: pa.Field) -> str:
    """What is said of a column that is read as the storage of its extension type."""
    kind = column.type
    name = (column.metadata or {}).get(EXTENSION, b"").decode("utf-8", "replace")
    if _stored(kind) != kind:
        name = kind.extension_name + (f" {kind.shape}" if hasattr(kind, "shape") else "")
    if not name:
        return ""
    return (
        f"Column {column.name!r} is of type {name} and was read as it is stored, {_stored(kind)}."
    )


def target(column: pa.Field, file: File) -> pa.DataType:
    """The type that a column of one file has in examples, times for now as Arrow has them.

    Raises:
        EdgelineError: they hold no such.
    """
    kind = column.type
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if is_list(kind):
        element = target(pa.field(column.name, kind.value_type), file)
        if not is_list(element):
            return pa.list_(element)
    if pa.types.is_integer(kind) or pa.types.is_boolean(kind):
        return pa.int64()
    if (times := timestamps.common(kind)) is not None:
        return times  # until all files are known to have times there
    if pa.types.is_decimal(kind):
        return _target_of(kind)
    if pa.types.is_float16(kind):
        return pa.float32()
    if pa.types.is_null(kind) or pa.types.is_floating(kind):
        return kind
    if any(check(kind) for check in TEXTS):
        return pa.string()
    if any(check(kind) for check in BINARIES):
        return pa.binary()
    raise EdgelineError(
        f"{file.name}, column {column.name!r}: has the type {column.type}, which examples do not "
        f"hold: convert it to numbers, strings or lists of these, or {leaving_out(column.name)}."
    )


def list_field(name: str, kind: pa.DataType, width: int, choice: ColumnChoice) -> pa.Field:
    """A column of lists of one length, or of the length that is declared for it."""
    if length := choice.lengths.get(name):
        return features.with_shape(pa.field(name, pa.list_(kind)), (length,))
    return pa.field(name, pa.list_(kind, width))


def filled(kind: pa.DataType) -> pa.DataType:
    """A type for what has no value anywhere."""
    if is_list(kind):
        return pa.list_(filled(kind.value_type))
    return pa.float64() if pa.types.is_null(kind) else kind


def unified(first: pa.DataType, second: pa.DataType) -> pa.DataType | None:
    """The type that holds the values of both; None where none does."""
    if first == second or pa.types.is_null(second):
        return first
    if pa.types.is_null(first):
        return second
    if pa.types.is_list(first) and pa.types.is_list(second):
        inner = unified(first.value_type, second.value_type)
        return None if inner is None else pa.list_(inner)
    numbers = {pa.int64(), pa.float32(), pa.float64()}
    return pa.float64() if {first, second} <= numbers else None


def rounded(column: pa.Field) -> str:
    """What is said of decimals that doubles do not hold."""
    kind = column.type
    if not pa.types.is_decimal(kind) or kind.precision <= DIGITS or _target_of(kind) == pa.int64():
        return ""
    return f"Column {column.name!r} is {kind} and was read as double, which holds {DIGITS} digits."


def _target_of(decimal: pa.DataType) -> pa.DataType:
    fits = decimal.scale <= 0 and decimal.precision - decimal.scale <= 18
    return pa.int64() if fits else pa.float64()


def missing(column: pa.Field, count: int) -> pa.Array:
    """Nulls as a column of examples."""
    if pa.types.is_fixed_size_list(column.type):  # as `convert` makes of a missing list
        return pa.array([[None] * column.type.list_size] * count, column.type)
    return pa.nulls(count, column.type)


def convert(values: pa.Array, column: pa.Field, file: File, before: int) -> pa.Array:
    """Values as a column of examples; `before` rows of the file came before them.

    Raises:
        EdgelineError: lists differ in length, text is not UTF-8, or a value is of another type.
    """
    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    _check_text(values, column, file, before)
    if pa.types.is_list(column.type):
        lengths = pc.list_value_length(values)
        declared = features.shape_of(column)[0]
        if (wrong := pc.index(pc.greater(lengths, declared), True).as_py()) >= 0:
            place = f"{file.name}, row {before + wrong + 1}"
            raise too_long(column.name, lengths[wrong].as_py(), declared, place)
    if pa.types.is_fixed_size_list(column.type):
        width = column.type.list_size
        lengths = pc.list_value_length(values)
        empty = pc.any(pc.equal(lengths, 0)).as_py()
        wrong = pc.index(
            pc.and_(pc.not_equal(lengths, width), pc.greater(lengths, 0)), True
        ).as_py()
        if wrong >= 0:
            found = lengths[wrong].as_py()
            raise EdgelineError(
                f"{file.name}, row {before + wrong + 1}, column {column.name!r}: has {found} "
                f"values, but {width} before: {declaring(column.name, max(found, width))}."
            )
        if values.null_count or empty:  # Parquet reads no missing fixed-size list back
            values = pa.array([row or [None] * width for row in values.to_pylist()], values.type)
    try:
        if timestamps.holds(values.type):
            return timestamps.microseconds(values)
        if is_list(values.type) and timestamps.holds(values.type.value_type):
            times = timestamps.microseconds(values.flatten())
            if pa.types.is_list(column.type):
                ends = pa.concat_arrays([pa.array([0], pa.int32()), _ends(values)])
                return pa.ListArray.from_arrays(ends, times, mask=values.is_null())
            return pa.FixedSizeListArray.from_arrays(times, column.type.list_size)
        return values.cast(column.type)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise EdgelineError(
            f"{file.name}, column {column.name!r}: a value from row {before + 1} on is not "
            f"{column.type} ({error}): convert the column."
        ) from error


def _check_text(values: pa.Array, column: pa.Field, file: File, before: int) -> None:
    """Refuse text that is none: nothing that reads Arrow or Parquet looks at its bytes."""
    inner = values.type
    while is_list(inner):
        inner = inner.value_type
    if not any(check(inner) for check in TEXTS):
        return
    try:
        values.validate(full=True)
    except pa.ArrowInvalid as error:
        row = before + next(row for row in range(len(values)) if not _is_text(values.slice(row, 1)))
        raise EdgelineError(
            f"{file.name}, row {row + 1}, column {column.name!r}: has text that is not UTF-8: "
            "write it as UTF-8, or the column as bytes."
        ) from error


def _is_text(values: pa.Array) -> bool:
    try:  # of a slice of lists, all values would be looked at
        (values.flatten() if is_list(values.type) else values).validate(full=True)
    except pa.ArrowInvalid:
        return False
    return True


def first_length(lists: pa.Array | pa.ChunkedArray) -> int:
    """The length of the first list that is not empty; 0 where all are."""
    lengths = pc.list_value_length(lists).drop_null()
    lengths = lengths.filter(pc.greater(lengths, 0))
    return int(lengths[0].as_py()) if len(lengths) else 0


def _ends(lists: pa.Array) -> pa.Array:
    """Where each list ends among the values of all of them, int32."""
    return pc.cumulative_sum(pc.fill_null(pc.list_value_length(lists), 0).cast(pa.int32()))
