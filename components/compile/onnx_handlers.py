"""Operators that tf2onnx translates to something else than they are, and what is right.

tf2onnx selects by multiplying with 0 and 1, so that a NaN which is not selected spoils the
answer, and it compares strings as numbers. Importing this module registers what stands here in
their place, in this process. What it lacks and is made of two others stands here, too.
"""

from __future__ import annotations

from typing import Any

from onnx import TensorProto
from tf2onnx.handler import tf_op
from tf2onnx.onnx_opset.logical import Equal


@tf_op(["Select", "SelectV2"])
class Where:
    """`tf.where(condition, then, otherwise)` is ONNX's Where."""

    @classmethod
    def version_13(cls, graph: Any, node: Any, **_: object) -> None:
        rank = len(graph.get_shape(node.input[1]) or ())
        if node.type == "Select" and len(graph.get_shape(node.input[0]) or ()) == 1 < rank:
            axes = graph.make_const(f"{node.name}__axes", _int64(range(1, rank)))
            column = graph.make_node("Unsqueeze", [node.input[0], axes.output[0]])
            graph.replace_input(node, node.input[0], column.output[0], 0)
        node.type = "Where"


@tf_op(["Equal", "NotEqual"])
class StringEqual:
    """A string against a constant, or against itself, as a lookup; numbers as tf2onnx does."""

    @classmethod
    def version_13(cls, graph: Any, node: Any, **others: object) -> None:
        first, second = node.input
        if graph.get_dtype(first) != TensorProto.STRING:
            Equal.version_11(graph, node, **others)
            return
        if graph.is_const(first):
            first, second = second, first
        if first != second and not graph.is_const(second):
            raise ValueError("Op [string comparison: Equal] is not supported")
        words = [b""] if first == second else graph.get_tensor_value(second, as_list=False)
        equal, otherwise = (1, 1) if first == second else (1, 0)
        if node.type == "NotEqual":
            equal, otherwise = 1 - equal, 1 - otherwise
        [word] = [_bytes(word) for word in getattr(words, "flat", words)]
        shape, outputs = graph.get_shape(first), node.output
        graph.remove_node(node.name)
        found = graph.make_node(
            "CategoryMapper",
            [first],
            domain="ai.onnx.ml",
            attr={"cats_int64s": [equal], "cats_strings": [word], "default_int64": otherwise},
            shapes=[shape],
            dtypes=[TensorProto.INT64],
        )
        graph.make_node(
            "Cast",
            found.output,
            name=node.name,
            attr={"to": TensorProto.BOOL},
            outputs=outputs,
            shapes=[shape],
            dtypes=[TensorProto.BOOL],
        )


@tf_op(["Log1p", "Expm1"])
class NearOne:
    """log(x + 1), and exp(x) - 1."""

    @classmethod
    def version_13(cls, graph: Any, node: Any, **_: object) -> None:
        dtype, shape = graph.get_dtype(node.input[0]), graph.get_shape(node.input[0])
        one = graph.make_const(f"{node.name}__one", _one(dtype)).output[0]
        kind, given, outputs = node.type, node.input[0], node.output
        graph.remove_node(node.name)
        first, second = ("Add", "Log") if kind == "Log1p" else ("Exp", "Sub")
        inputs = [given, one] if first == "Add" else [given]
        inner = graph.make_node(first, inputs, shapes=[shape], dtypes=[dtype]).output[0]
        inputs = [inner, one] if second == "Sub" else [inner]
        graph.make_node(
            second, inputs, name=node.name, outputs=outputs, shapes=[shape], dtypes=[dtype]
        )


def _one(dtype: int) -> Any:
    """The scalar 1 of an ONNX type."""
    import numpy as np
    from onnx import helper

    return np.ones((), helper.tensor_dtype_to_np_dtype(dtype))


def _bytes(word: object) -> bytes:
    return word if isinstance(word, bytes) else str(word).encode()


def _int64(values: Any) -> object:
    import numpy as np

    return np.array(list(values), np.int64)
