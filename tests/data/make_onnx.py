"""A small ONNX file, made where a test needs one."""

from pathlib import Path

import numpy as np
import pytest


def onnx_model(path: Path, channels_first: bool = False) -> Path:
    """Digits by their mean brightness in ten fields, softmax: small, and no two answers alike."""
    onnx = pytest.importorskip("onnx", reason="not installed: edgeline[onnx]")
    pytest.importorskip("onnxruntime", reason="not installed: edgeline[onnx]")
    from onnx import TensorProto, helper, numpy_helper

    shape = ["batch", 1, 28, 28] if channels_first else ["batch", 28, 28, 1]
    weights = np.random.default_rng(0).normal(size=(784, 10)).astype(np.float32) / 784
    nodes = [
        helper.make_node("Flatten", ["image"], ["flat"]),
        helper.make_node("MatMul", ["flat", "w"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["odds"]),
    ]
    graph = helper.make_graph(
        nodes,
        "fields",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("odds", TensorProto.FLOAT, ["batch", 10])],
        [numpy_helper.from_array(weights, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 9
    onnx.save(model, str(path))
    return path


def filling_onnx(path: Path) -> Path:
    """`y` [rows, 1] is `x` [rows, 1] and a sum of zeros; a few hundred bytes that take 1.6 GB."""
    onnx = pytest.importorskip("onnx", reason="not installed: edgeline[onnx]")
    pytest.importorskip("onnxruntime", reason="not installed: edgeline[onnx]")
    from onnx import TensorProto, helper

    nodes = [
        helper.make_node("ConstantOfShape", ["shape"], ["zeros"]),
        helper.make_node("ReduceSum", ["zeros"], ["zero"], keepdims=0),
        helper.make_node("Add", ["x", "zero"], ["y"]),
    ]
    x, y = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["rows", 1]) for name in ("x", "y")
    )
    shape = helper.make_tensor("shape", TensorProto.INT64, [2], [40_000, 10_000])
    graph = helper.make_graph(nodes, "filling", [x], [y], [shape])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, str(path))
    return path
