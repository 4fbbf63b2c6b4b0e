"""A .tflite file written from the objects of its schema.

What is the same is stored once: a model quantised by channels has two tables of zeros a layer, 8
bytes a channel each, and there are as many different ones as numbers of channels.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ai_edge_litert.schema_py_generated import ModelT

ALIGNMENT = 16  # of what a buffer holds, by the schema (force_align), for instructions that load it


def packed(model: ModelT, size: int = 0) -> bytes:
    """The file of a model.

    Args:
        size: bytes that it may have, as far as they are known: what is reserved at first.
    """
    builder = _builder()(size)
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


def compact(file: bytes) -> bytes:
    """The same model in fewer bytes: vectors of a .tflite file that are equal are one."""
    from ai_edge_litert.schema_py_generated import ModelT

    return packed(ModelT.InitFromPackedBuf(file, 0), len(file))


@functools.cache
def _builder() -> Any:
    """The class that writes flatbuffers; its package is imported where one is written."""
    import hashlib

    import flatbuffers
    import numpy as np

    class Builder(flatbuffers.Builder):  # type: ignore[misc]
        def __init__(self, size: int) -> None:
            super().__init__(size)
            self.places: dict[tuple[str, bytes], int] = {}

        def CreateNumpyVector(self, x: Any) -> int:  # noqa: N802
            content = np.ascontiguousarray(x)
            key = content.dtype.str, hashlib.sha256(content.data).digest()
            if key not in self.places:
                if content.dtype == np.uint8:
                    self.Prep(ALIGNMENT, content.nbytes)
                self.places[key] = super().CreateNumpyVector(content)
            return self.places[key]

    return Builder
