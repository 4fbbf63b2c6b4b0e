"""A folder of images, one sub-folder a class: `<root>/<label>/<name>.png`, `.jpg` or `.jpeg`.

Columns: `image` (binary, the file's bytes as they are), `label` and `path` (`label/name`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

import pyarrow as pa

from edgeline.components.ingest.rows import Rows
from edgeline.errors import EdgelineError
from edgeline.stores.storage import File

SUFFIXES = (".png", ".jpg", ".jpeg")
MAGIC = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff")
SCHEMA = pa.schema([("image", pa.binary()), ("label", pa.string()), ("path", pa.string())])


@dataclass(frozen=True)
class ImageReader:
    """Reads images, one row a file."""

    def schema(self, files: Sequence[File]) -> pa.Schema:
        """Always the same; every name is checked."""
        for file in files:
            _label_and_path(file)
        return SCHEMA

    def batches(self, file: File, schema: pa.Schema) -> Iterator[Rows]:
        """The one row of one image."""
        label, path = _label_and_path(file)
        image = file.path.read_bytes()
        if not image:
            raise EdgelineError(f"{file.name} is empty: replace or remove it.")
        if not image.startswith(MAGIC):
            raise EdgelineError(
                f"{file.name} is neither a PNG nor a JPEG by its first bytes: convert or remove it."
            )
        columns = [
            pa.array([value], column.type)
            for value, column in zip((image, label, path), schema, strict=True)
        ]
        batch = pa.RecordBatch.from_arrays(columns, schema=schema)
        yield Rows(batch, batch)


def _label_and_path(file: File) -> tuple[str, str]:
    parts = PurePosixPath(file.name.partition("://")[2] or file.name).parts
    if not file.name.lower().endswith(SUFFIXES):
        raise EdgelineError(
            f"{file.name} is not named as an image ({', '.join(SUFFIXES)}): convert or remove it."
        )
    remote = "://" in file.name
    if len(parts) < 2 or (len(parts) > 2 and not remote):
        raise EdgelineError(
            f"{file.name} does not lie in a class folder: give the folder that holds "
            "<label>/<image> and nothing deeper."
        )
    return parts[-2], "/".join(parts[-2:])
