"""Small models for ONNX Runtime and OpenVINO, and bundles of them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from edgeline.artifacts import sha256, vectors
from edgeline.artifacts.bundle import Bundle, Signature, Tensor, write_manifest

X, SCORE = Tensor("x", "float32", (-1, 2)), Tensor("score", "float32", (-1, 2))
KIND, ECHO = Tensor("kind", "string", (-1, 1)), Tensor("echo", "string", (-1, 1))
PLAIN = Signature((X,), (SCORE,))
TEXT = Signature((KIND, X), (SCORE, ECHO))
STORED = Signature(
    (Tensor("x", "int8", (-1, 2), 0.5, 3),), (Tensor("score", "int8", (-1, 2), 0.25, -1),)
)
FIXED = Signature((Tensor("x", "float32", (4, 2)),), (Tensor("score", "float32", (4, 2)),))


def onnx_bytes(signature: Signature, weight: float = 2.0) -> bytes:
    """`score` is `x` times the weight, in whatever they are stored; `echo` is `kind`."""
    from onnx import TensorProto as T
    from onnx import helper

    def constant(name: str, kind: int, value: float) -> Any:
        return helper.make_tensor(name, kind, [], [value])

    def info(tensor: Tensor) -> Any:
        kinds = {"float32": T.FLOAT, "string": T.STRING, "int8": T.INT8}
        sizes = [size if size > 0 else "rows" for size in tensor.shape]
        return helper.make_tensor_value_info(tensor.name, kinds[tensor.dtype], sizes)

    constants, nodes = [constant("w", T.FLOAT, weight)], []
    (x,) = (tensor for tensor in signature.inputs if tensor.name == "x")
    if x.scale is None:
        nodes.append(helper.make_node("Mul", ["x", "w"], ["score"]))
    else:
        score = signature.outputs[0]
        for name, tensor in (("x", x), ("score", score)):
            constants.append(constant(name + "_scale", T.FLOAT, tensor.scale))
            constants.append(constant(name + "_zero", T.INT8, tensor.zero_point))
        nodes += [
            helper.make_node("DequantizeLinear", ["x", "x_scale", "x_zero"], ["real"]),
            helper.make_node("Mul", ["real", "w"], ["product"]),
            helper.make_node("QuantizeLinear", ["product", "score_scale", "score_zero"], ["score"]),
        ]
    if KIND in signature.inputs:
        nodes.append(helper.make_node("Identity", ["kind"], ["echo"]))
    return _serialised(nodes, signature, constants, info)


def endless_bytes() -> bytes:
    """A loop that never ends, around PLAIN's product."""
    from onnx import TensorProto as T
    from onnx import helper

    body = helper.make_graph(
        [
            helper.make_node("Identity", ["going"], ["goes_on"]),
            helper.make_node("Sin", ["value"], ["next"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("turn", T.INT64, []),
            helper.make_tensor_value_info("going", T.BOOL, []),
            helper.make_tensor_value_info("value", T.FLOAT, ["rows", 2]),
        ],
        [
            helper.make_tensor_value_info("goes_on", T.BOOL, []),
            helper.make_tensor_value_info("next", T.FLOAT, ["rows", 2]),
        ],
    )
    constants = [
        helper.make_tensor("turns", T.INT64, [], [1 << 62]),
        helper.make_tensor("yes", T.BOOL, [], [True]),
    ]
    node = helper.make_node("Loop", ["turns", "yes", "x"], ["score"], body=body)

    def info(tensor: Tensor) -> Any:
        return helper.make_tensor_value_info(tensor.name, T.FLOAT, ["rows", 2])

    return _serialised([node], PLAIN, constants, info)


def _serialised(nodes: list[Any], signature: Signature, constants: list[Any], info: Any) -> bytes:
    from onnx import helper

    graph = helper.make_graph(
        nodes, "m", [*map(info, signature.inputs)], [*map(info, signature.outputs)], constants
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    content: bytes = model.SerializeToString()
    return content


def openvino_files(folder: Path, weight: float = 2.0) -> dict[str, bytes]:
    """PLAIN as OpenVINO's two files; `folder` is for their making."""
    import openvino

    (folder / "plain.onnx").write_bytes(onnx_bytes(PLAIN, weight))
    model = openvino.Core().read_model(folder / "plain.onnx")
    openvino.save_model(model, folder / "plain.xml", compress_to_fp16=False)
    return {f"model.{kind}": (folder / f"plain.{kind}").read_bytes() for kind in ("xml", "bin")}


def bundle(
    folder: Path,
    files: Mapping[str, bytes],
    signature: Signature = PLAIN,
    recorded: float | None = None,
    **more: Any,
) -> Path:
    """A bundle of the model that is first among the files.

    Args:
        recorded: the weight by which its test vectors answer; None for no vectors.
    """
    folder.mkdir(parents=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    if recorded is not None:
        x = np.array([[1, -2], [0.5, 3]], np.float32)
        rows = vectors.Vectors({"x": x}, {"score": recorded * x}, 1e-6)
        vectors.write(folder / vectors.FILE, rows)
    model = next(iter(files))
    listed = {
        file.name: {"sha256": sha256(file), "size": file.stat().st_size}
        for file in folder.iterdir()
    }
    fields: dict[str, Any] = {
        "name": folder.parent.name,
        "version": int(folder.name),
        "target": "openvino" if model.endswith(".xml") else "onnx",
        "model": model,
        "task": "regression",
        "quantisation": "float",
        "takes": "raw",
        "signature": signature,
        "features": (),
        "files": listed,
    }
    write_manifest(folder, Bundle(**(fields | more)))
    return folder
