"""An integer ONNX model in the form that accelerators take, giving the same answers.

Made from LiteRT, operators that only move data stand between integers, and activations are
signed. Accelerators' compilers look for float operators between DequantizeLinear and
QuantizeLinear, for unsigned activations and for a fixed batch. Each change is exact: moving data
and shifting integers with their zero point by 128 change no real value.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from edgeline.artifacts.bundle import Signature, Tensor

if TYPE_CHECKING:
    import onnx

MOVES = frozenset(
    ("Concat", "DepthToSpace", "Expand", "Flatten", "Gather", "Pad", "Reshape", "Slice")
) | {"SpaceToDepth", "Split", "Squeeze", "Tile", "Transpose", "Unsqueeze"}
BORDER = ("QuantizeLinear", "DequantizeLinear")
SHIFT = 128


def prepare(model: onnx.ModelProto, signature: Signature) -> Signature:
    """Change an `onnx.ModelProto` in place; the signature of what it is now.

    Batch 1, data movement between pairs, uint8 for int8 activations, of inputs and outputs, too.
    """
    for value in [*model.graph.input, *model.graph.output]:
        value.type.tensor_type.shape.dim[0].dim_value = 1
    del model.graph.value_info[:]  # shapes and types are inferred anew
    _pair(model.graph)
    _unsign(model.graph)
    return Signature(
        tuple(map(_prepared, signature.inputs)), tuple(map(_prepared, signature.outputs))
    )


def _pair(graph: onnx.GraphProto) -> None:
    """Put data movement of integers between DequantizeLinear and QuantizeLinear."""
    from onnx import helper

    constants = {tensor.name for tensor in graph.initializer}
    scales: dict[str, tuple[str, str]] = {}  # by integer tensor, its scale and zero point
    for node in graph.node:
        if node.op_type in BORDER and node.input[0] not in constants:
            quantised = node.output[0] if node.op_type == "QuantizeLinear" else node.input[0]
            scales[quantised] = (node.input[1], node.input[2])
    moves = [node for node in graph.node if node.op_type in MOVES]
    for node in [*moves, *reversed(moves)]:  # what moves keeps its scale, forwards and backwards
        ends = [name for name in (*node.input, *node.output) if name in scales]
        for name in [node.input[0], *node.output] if ends else []:
            scales.setdefault(name, scales[ends[0]])
    nodes = []
    for node in graph.node:
        if node.op_type not in MOVES or node.input[0] not in scales:
            nodes.append(node)
            continue
        for place, name in enumerate(node.input):
            if name in scales:
                node.input[place] = f"{node.output[0]}__real{place}"
                pair = [name, *scales[name]]
                nodes.append(helper.make_node("DequantizeLinear", pair, [node.input[place]]))
        nodes.append(node)
        for place, name in enumerate(node.output):
            node.output[place] = f"{name}__real"
            pair = [node.output[place], *scales[name]]
            nodes.append(helper.make_node("QuantizeLinear", pair, [name]))
    del graph.node[:]
    graph.node.extend(nodes)


def _unsign(graph: onnx.GraphProto) -> None:
    """Shift int8 activations to uint8; weights, which are constants, stay signed."""
    from onnx import TensorProto, numpy_helper

    constants = {tensor.name: tensor for tensor in graph.initializer}
    ends = {value.name: value for value in [*graph.input, *graph.output]}
    for node in graph.node:
        if node.op_type not in BORDER or node.input[0] in constants:
            continue
        zero = numpy_helper.to_array(constants[node.input[2]])
        if zero.dtype != np.int8:
            continue
        name = f"{node.input[2]}__unsigned"
        if name not in constants:
            shifted = (zero.astype(np.int16) + SHIFT).astype(np.uint8)
            constants[name] = numpy_helper.from_array(shifted, name)
            graph.initializer.append(constants[name])
        node.input[2] = name
        quantised = node.output[0] if node.op_type == "QuantizeLinear" else node.input[0]
        if quantised in ends:
            ends[quantised].type.tensor_type.elem_type = TensorProto.UINT8


def _prepared(tensor: Tensor) -> Tensor:
    fixed = replace(tensor, shape=(1, *tensor.shape[1:]))
    if tensor.dtype != "int8" or tensor.zero_point is None:
        return fixed
    return replace(fixed, dtype="uint8", zero_point=tensor.zero_point + SHIFT)
