"""An ONNX model that answers all rows but those with one value, on which it never ends."""

from pathlib import Path

import pytest

VALUE = 1234.5


def endless_at_value(path: Path, value: float = VALUE) -> Path:
    """`score` [rows, 1] is `x` [rows, 1]; where an `x` is `value`, a loop has no end."""
    onnx = pytest.importorskip("onnx", reason="not installed: edgeline[onnx]")
    pytest.importorskip("onnxruntime", reason="not installed: edgeline[onnx]")
    from onnx import TensorProto as T
    from onnx import helper

    def info(name: str, dtype: int = T.FLOAT, shape: tuple[object, ...] = ("rows", 1)) -> object:
        return helper.make_tensor_value_info(name, dtype, shape)

    body = helper.make_graph(
        [
            helper.make_node("Identity", ["going"], ["goes_on"]),
            helper.make_node("Sin", ["value"], ["next"]),
        ],
        "body",
        [info("turn", T.INT64, ()), info("going", T.BOOL, ()), info("value")],
        [info("goes_on", T.BOOL, ()), info("next")],
    )
    nodes = [
        helper.make_node("Equal", ["x", "value_without_end"], ["equal"]),
        helper.make_node("Cast", ["equal"], ["numbers"], to=T.FLOAT),
        helper.make_node("ReduceMax", ["numbers"], ["most"], keepdims=0),
        helper.make_node("Cast", ["most"], ["any"], to=T.BOOL),
        helper.make_node("Loop", ["turns", "any", "x"], ["score"], body=body),
    ]
    constants = [
        helper.make_tensor("turns", T.INT64, [], [1 << 62]),
        helper.make_tensor("value_without_end", T.FLOAT, [], [value]),
    ]
    graph = helper.make_graph(nodes, "endless", [info("x")], [info("score")], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, str(path))
    return path
