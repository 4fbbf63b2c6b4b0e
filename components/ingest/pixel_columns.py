"""Columns of image files as columns of pixels, so that an edge model can take them.

No edge interpreter decodes a PNG or JPEG, so it is done once, here: the column becomes a
fixed-size list of float32, 0 to 255, whose field says its shape [height, width, channels].
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from edgeline.artifacts import pixels
from edgeline.artifacts.features import with_shape
from edgeline.components.ingest.rows import RowReader, Rows
from edgeline.errors import EdgelineError
from edgeline.stores.storage import File

PIECE_BYTES = 16 << 20  # of pixels that are decoded at once
Shape = tuple[int, int, int]


def shapes(images: Mapping[str, Sequence[Any]]) -> dict[str, Shape]:
    """The parameter `images`, checked.

    Raises:
        EdgelineError: a shape is not [height, width, 1 or 3].
    """
    found = {}
    for column, given in images.items():
        sizes = [int(size) if float(size).is_integer() else -1 for size in given]
        if len(sizes) != 3 or min(sizes) < 1 or sizes[2] not in (1, 3):
            raise EdgelineError(
                f"images[{column!r}] is {list(given)}: give [height, width, channels], with 1 "
                "channel for grey or 3 for RGB."
            )
        found[column] = (sizes[0], sizes[1], sizes[2])
    return found


@dataclass(frozen=True)
class PixelReader:
    """Decodes some columns of what another reader reads."""

    reader: RowReader
    shapes: Mapping[str, Shape]

    def schema(self, files: Sequence[File]) -> pa.Schema:
        """The other's, with pixels for images."""
        schema = self.reader.schema(files)
        for name, shape in self.shapes.items():
            place = schema.get_field_index(name)
            if place < 0:
                raise EdgelineError(
                    f"images names the column {name!r}, but {files[0].name} has "
                    f"{', '.join(schema.names)}."
                )
            if schema.field(place).type != pa.binary():
                raise EdgelineError(
                    f"images names the column {name!r}, but it holds {schema.field(place).type} "
                    "and no image files (binary)."
                )
            kind = pa.list_(pa.float32(), math.prod(shape))
            schema = schema.set(place, with_shape(pa.field(name, kind), shape))
        return schema

    def batches(self, file: File, schema: pa.Schema) -> Iterator[Rows]:
        """The other's rows, decoded; the split's hash sees the files."""
        encoded = schema
        for name in self.shapes:
            encoded = encoded.set(schema.get_field_index(name), pa.field(name, pa.binary()))
        row_bytes = 4 * sum(math.prod(shape) for shape in self.shapes.values())
        step = max(1, PIECE_BYTES // row_bytes)
        before = 0
        for rows in self.reader.batches(file, encoded):
            for start in range(0, len(rows.typed), step):
                piece = rows.typed.slice(start, step)
                columns = [
                    _decoded(piece.column(place), field, self.shapes[field.name], file, before)
                    if field.name in self.shapes
                    else piece.column(place)
                    for place, field in enumerate(schema)
                ]
                typed = pa.RecordBatch.from_arrays(columns, schema=schema)
                yield Rows(typed, rows.given.slice(start, step))
                before += len(piece)


def _decoded(values: pa.Array, field: pa.Field, shape: Shape, file: File, before: int) -> pa.Array:
    decoded = np.empty((len(values), math.prod(shape)), np.float32)
    for row, value in enumerate(values):
        data = value.as_py()
        place = f"{file.name}, row {before + row + 1}, column {field.name!r}"
        if data is None:
            raise EdgelineError(f"{place}: the image is missing: remove the row.")
        try:
            decoded[row] = pixels.decode(data, shape).reshape(-1)
        except EdgelineError as error:
            raise EdgelineError(f"{place}: {error}") from error
    return pa.FixedSizeListArray.from_arrays(pa.array(decoded.reshape(-1)), type=field.type)
