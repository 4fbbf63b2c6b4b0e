"""What a .tflite file holds, read without TensorFlow and safe with damaged files.

`read` walks the flatbuffer (see `edgeline.formats.flatbuffer`), checks that every index points at
something and gives frozen dataclasses: subgraphs with their tensors and, in the order of
execution, operators with the options that matter. Field numbers are those of TensorFlow
Lite's schema (tensorflow/lite/schema/schema.fbs).
"""

from __future__ import annotations

import math
import mmap
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeline.errors import UsageError, at_path
from edgeline.formats import flatbuffer
from edgeline.formats.dtypes import Array
from edgeline.formats.flatbuffer import Bytes, Reader, Table
from edgeline.formats.tflite_schema import BITS, DTYPES, OPERATORS, OPTIONS, OPTIONS_OF

MOST_BYTES = 1 << 31  # offsets in a flatbuffer are signed 32-bit
MOST_RANK = 32


@dataclass(frozen=True, eq=False)
class TensorQuantisation:
    """real = scale * (integer - zero point); a scale a slice of `axis`, or one for all."""

    scales: npt.NDArray[np.float32]
    zero_points: npt.NDArray[np.int64]
    axis: int

    @property
    def per_channel(self) -> bool:
        """More than one scale."""
        return len(self.scales) > 1


@dataclass(frozen=True, eq=False)
class SubgraphTensor:
    """A tensor of a subgraph. `data` is None where it is computed; `shape` as stored.

    `signature` has -1 where a dimension is dynamic, and equals `shape` where none is.
    """

    index: int
    name: str
    shape: tuple[int, ...]
    signature: tuple[int, ...]
    dtype: str
    quantisation: TensorQuantisation | None
    variable: bool
    data: Bytes | None = field(repr=False)

    @property
    def constant(self) -> bool:
        """Its values are in the file."""
        return self.data is not None

    @property
    def dynamic(self) -> bool:
        """Some dimension is known only when the model runs."""
        return -1 in self.signature

    @property
    def elements(self) -> int:
        """How many values it has, 1 for a scalar."""
        return math.prod(self.shape)

    @property
    def size(self) -> int:
        """Bytes of its values, 0 where the type has no fixed size."""
        return -(-self.elements * BITS.get(self.dtype, 0) // 8)

    def values(self) -> Array | None:
        """The values of a constant, as stored, or None (not constant, or no numpy type)."""
        if self.data is None or self.dtype not in _NUMPY:
            return None
        return np.frombuffer(self.data.tobytes(), _NUMPY[self.dtype]).reshape(self.shape)


@dataclass(frozen=True, eq=False)
class Operator:
    """An operator: `name` is the builtin's, or the custom code; -1 is an input left out."""

    index: int
    name: str
    version: int
    custom: bool
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: Mapping[str, int | float | bool | tuple[int, ...]]
    custom_options: Bytes | None = field(repr=False)


@dataclass(frozen=True, eq=False)
class Subgraph:
    """Tensors by index, operators in the order of execution."""

    name: str
    tensors: tuple[SubgraphTensor, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    operators: tuple[Operator, ...]


@dataclass(frozen=True, eq=False)
class Model:
    """A whole file. `metadata` by name; `signatures` by key: the subgraph and its tensors."""

    path: Path
    size: int
    description: str
    subgraphs: tuple[Subgraph, ...]
    metadata: Mapping[str, Bytes] = field(repr=False)
    signatures: Mapping[str, tuple[int, Mapping[str, int], Mapping[str, int]]]

    @property
    def min_runtime_version(self) -> str:
        """The oldest TensorFlow release that runs it, as its converter noted; empty if not."""
        raw = self.metadata.get("min_runtime_version")
        return "" if raw is None else raw.tobytes().split(b"\0")[0][:32].decode("ascii", "replace")


def read(path: str | Path) -> Model:
    """Read a .tflite file.

    Raises:
        UsageError: there is no such file, or it is not a model.
        EdgelineError: it is damaged or hostile.
    """
    path = Path(path)
    return parse(_mapped(path), path)


def parse(data: Bytes, path: Path) -> Model:
    """Read a model from its bytes, [size] uint8; `path` is its name in errors."""
    if data[4:8].tobytes() != b"TFL3":
        raise UsageError(
            f"{path} is not a .tflite model (bytes 4 to 7 are not 'TFL3'): "
            "give a file that the TensorFlow Lite converter wrote."
        )
    root = flatbuffer.root(data, "TFL3", str(path))
    reader = root.reader
    if root.integer(0, "I") != 3:
        raise reader.damaged(f"schema version {root.integer(0, 'I')}, only 3 is known")
    buffers = [_buffer(table) for table in root.tables(4)]
    codes = [_code(table) for table in root.tables(1)]
    subgraphs = tuple(_subgraph(table, buffers, codes) for table in root.tables(2))
    if not subgraphs:
        raise reader.damaged("no subgraph")
    metadata = {}
    for table in root.tables(6):
        content = _item(reader, buffers, table.integer(1, "I"), "buffer")
        metadata[table.string(0)] = np.empty(0, np.uint8) if content is None else content
    signatures = {table.string(2): _signature(reader, table, subgraphs) for table in root.tables(7)}
    return Model(path, len(data), root.string(3), subgraphs, metadata, signatures)


def _mapped(path: Path) -> Bytes:
    if path.exists() and not path.is_file():  # a pipe would block
        raise UsageError(f"{path} cannot be read (no file): give the path of a .tflite model.")
    try:
        with open(path, "rb") as stream:
            size = stream.seek(0, 2)
            if size > MOST_BYTES:
                raise UsageError(
                    f"{path} has {size:,} bytes, a .tflite file has at most {MOST_BYTES:,}: "
                    "give a smaller model."
                )
            if not size:
                raise UsageError(f"{path} is empty: give a .tflite model.")
            return np.frombuffer(
                mmap.mmap(stream.fileno(), size, access=mmap.ACCESS_READ), np.uint8
            )
    except OSError as error:
        raise at_path(
            error, f"{path} cannot be read ({error.strerror}): give the path of a .tflite model."
        ) from error


def _buffer(table: Table) -> Bytes | None:
    data = table.bytes(0)
    if data is not None and len(data):
        return data
    # Files above 2 GiB keep data outside the flatbuffer: offset and size from its beginning.
    offset, size = table.integer(1, "Q"), table.integer(2, "Q")
    if offset > 1 or size > 1:
        if offset + size > len(table.reader.data):
            raise table.reader.damaged("a buffer lies outside the file")
        return table.reader.data[offset : offset + size]
    return None


def _code(table: Table) -> tuple[str, int, bool]:
    code = max(table.integer(0, "b"), table.integer(3, "i"))
    if code not in OPERATORS:
        raise table.reader.damaged(f"operator code {code} is unknown")
    version = table.integer(2, "i", 1)
    if not 1 <= version <= 1000:
        raise table.reader.damaged(f"{OPERATORS[code]} has version {version}")
    custom = OPERATORS[code] == "CUSTOM"
    name = table.string(1) if custom else OPERATORS[code]
    if custom and not name:
        raise table.reader.damaged("a custom operator has no name")
    return name, version, custom


def _subgraph(
    table: Table, buffers: list[Bytes | None], codes: list[tuple[str, int, bool]]
) -> Subgraph:
    reader = table.reader
    tensors = tuple(_tensor(index, entry, buffers) for index, entry in enumerate(table.tables(0)))
    operators = tuple(
        _operator(index, entry, codes, len(tensors)) for index, entry in enumerate(table.tables(3))
    )
    inputs, outputs = table.integers(1), table.integers(2)
    for index in inputs + outputs:
        _item(reader, tensors, index, "tensor")
    _check_order(reader, tensors, inputs, outputs, operators)
    return Subgraph(table.string(4), tensors, inputs, outputs, operators)


def _check_order(
    reader: Reader,
    tensors: tuple[SubgraphTensor, ...],
    inputs: tuple[int, ...],
    outputs: tuple[int, ...],
    operators: tuple[Operator, ...],
) -> None:
    """An operator reads only what is given, constant or computed before it."""
    known = set(inputs) | {-1}
    known.update(tensor.index for tensor in tensors if tensor.constant or tensor.variable)
    for operator in operators:
        for index in operator.inputs:
            # An empty constant has no data and nothing computes it; a custom operator (Arm's
            # `ethos-u`) may take tensors that are scratch memory.
            if index not in known and tensors[index].elements and not operator.custom:
                raise reader.damaged(
                    f"operator {operator.index} ({operator.name}) reads tensor "
                    f"{tensors[index].name!r}, which nothing before it computes"
                )
        for index in operator.outputs:
            if tensors[index].constant:
                raise reader.damaged(
                    f"operator {operator.index} ({operator.name}) writes the constant "
                    f"{tensors[index].name!r}"
                )
        known.update(operator.outputs)
    for index in outputs:
        if index not in known:
            raise reader.damaged(f"output {tensors[index].name!r} is computed by nothing")


def _tensor(index: int, table: Table, buffers: list[Bytes | None]) -> SubgraphTensor:
    reader, name = table.reader, table.string(3)
    code = table.integer(1, "b")
    if code not in DTYPES:
        raise reader.damaged(f"tensor {name!r} has the unknown type {code}")
    shape = table.integers(0)
    signature = table.integers(7) or shape
    if len(shape) > MOST_RANK or any(size < 0 for size in shape):
        raise reader.damaged(f"tensor {name!r} has the shape {list(shape)[:MOST_RANK]}")
    if len(signature) != len(shape) or any(size < -1 for size in signature):
        raise reader.damaged(f"tensor {name!r} has a signature that does not fit its shape")
    data = _item(reader, buffers, table.integer(2, "I"), "buffer")
    tensor = SubgraphTensor(
        index=index,
        name=name,
        shape=shape,
        signature=signature,
        dtype=DTYPES[code],
        quantisation=_quantisation(name, shape, DTYPES[code], table.table(4)),
        variable=bool(table.number(5, "B")),
        data=data,
    )
    sparse = table.at(6) is not None
    if data is not None and not sparse and DTYPES[code] in BITS and len(data) != tensor.size:
        raise reader.damaged(f"tensor {name!r} needs {tensor.size:,} bytes and has {len(data):,}")
    return tensor


def _quantisation(
    name: str, shape: tuple[int, ...], dtype: str, table: Table | None
) -> TensorQuantisation | None:
    if table is None or table.at(2) is None:
        return None
    scales = table.array(2, "<f4").astype(np.float32)
    zero_points = table.array(3, "<i8").astype(np.int64)
    axis = table.integer(6, "i")
    if not len(scales):
        return None
    if not (np.isfinite(scales).all() and (scales >= 0).all()):
        raise table.reader.damaged(f"tensor {name!r} has a scale that is not a positive number")
    if len(zero_points) not in (0, 1, len(scales)):
        raise table.reader.damaged(
            f"tensor {name!r} has {len(scales)} scales and {len(zero_points)} zero points"
        )
    if dtype in _NUMPY and np.dtype(_NUMPY[dtype]).kind in "iu" and len(zero_points):
        limits = np.iinfo(_NUMPY[dtype])
        if zero_points.min() < limits.min or zero_points.max() > limits.max:
            raise table.reader.damaged(f"tensor {name!r} has a zero point outside its type")
    if len(scales) > 1 and (
        not 0 <= axis < max(len(shape), 1) or (shape and shape[axis] != len(scales))
    ):
        raise table.reader.damaged(f"tensor {name!r} has {len(scales)} scales on axis {axis}")
    return TensorQuantisation(scales, zero_points, axis)


def _operator(
    index: int, table: Table, codes: list[tuple[str, int, bool]], tensors: int
) -> Operator:
    reader = table.reader
    name, version, custom = _item(reader, codes, table.integer(0, "I"), "operator code")
    inputs, outputs = table.integers(1), table.integers(2)
    for place, lowest in ((inputs, -1), (outputs, 0)):
        for tensor in place:
            if not lowest <= tensor < tensors:
                raise reader.damaged(f"operator {index} ({name}) names tensor {tensor}")
    kind = table.integer(3, "B")
    if not custom and kind and name in OPTIONS_OF and kind not in OPTIONS_OF[name]:
        raise reader.damaged(f"operator {index} ({name}) has the options of another")
    options = table.table(4)
    return Operator(
        index=index,
        name=name,
        version=version,
        custom=custom,
        inputs=inputs,
        outputs=outputs,
        options={} if options is None else _options(options, kind),
        custom_options=table.bytes(5),
    )


def _options(table: Table, kind: int) -> dict[str, int | float | bool | tuple[int, ...]]:
    return {
        name: table.integers(number) if form == "[i]" else table.number(number, form, default)
        for name, number, form, default in OPTIONS.get(kind, ())
    }


def _signature(
    reader: Reader, table: Table, subgraphs: tuple[Subgraph, ...]
) -> tuple[int, dict[str, int], dict[str, int]]:
    index = table.integer(4, "I")
    tensors = _item(reader, subgraphs, index, "subgraph").tensors
    sides = []
    for side in (0, 1):
        names = {entry.string(0): entry.integer(1, "I") for entry in table.tables(side)}
        for tensor in names.values():
            _item(reader, tensors, tensor, "tensor")
        sides.append(names)
    return index, sides[0], sides[1]


def _item(reader: Reader, items: Any, index: int, what: str) -> Any:
    if not 0 <= index < len(items):
        raise reader.damaged(f"{what} {index} is named, of {len(items)}")
    return items[index]


_NUMPY = {
    "FLOAT32": "<f4",
    "FLOAT16": "<f2",
    "FLOAT64": "<f8",
    "INT8": "i1",
    "UINT8": "u1",
    "INT16": "<i2",
    "UINT16": "<u2",
    "INT32": "<i4",
    "UINT32": "<u4",
    "INT64": "<i8",
    "UINT64": "<u8",
    "BOOL": "?",
}
