"""A .tflite file written from the objects of its schema."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ai_edge_litert.schema_py_generated import ModelT


def packed(model: ModelT, size: int = 0) -> bytes:
    """The file of a model.

    Args:
        size: bytes that it may have, as far as they are known: what is reserved at first.
    """
    import flatbuffers

    builder = flatbuffers.Builder(size)
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())
