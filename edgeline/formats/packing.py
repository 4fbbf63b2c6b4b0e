"""A .tflite file as the objects of its schema, and written from them.

What is the same is stored once: a model quantised by channels has two tables of zeros a layer, 8
bytes a channel each, and there are as many different ones as numbers of channels.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ai_edge_litert.schema_py_generated import ModelT

ALIGNMENT = 16  # of what a buffer holds, by the schema (force_align), for instructions that load it


def unpacked(file: bytes) -> ModelT:
    """The objects of a file.

    ai-edge-quantizer writes the weights of a large model behind the flatbuffer, where a buffer has
    an offset and a size in place of its data; here all buffers have their data.
    """
    import numpy as np
    from ai_edge_litert.schema_py_generated import ModelT

    model = ModelT.InitFromPackedBuf(file, 0)
    for buffer in model.buffers:
        if buffer.offset > 1:  # 0 and 1 mean that the data is in the flatbuffer
            buffer.data = np.frombuffer(file, np.uint8, buffer.size, buffer.offset)
            buffer.offset = buffer.size = 0
    return model


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
    return packed(unpacked(file), len(file))


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
