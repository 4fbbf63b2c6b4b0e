"""A LiteRT file that was made for one row, so that it takes any number of them.

A converter that does not know the batch computes shapes while the model runs, which costs operators
and keeps compilers from what they do best. So it is told a batch of 1, and what depends on that is
opened here: the sizes of inputs, and the shapes that reshapes and slices have as constants. Whether
that was all is told by rows that are asked together.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from edgeline.formats.packing import packed, unpacked


def opened(data: bytes) -> bytes:
    """The same model with the first size of its inputs open."""
    from ai_edge_litert import schema_py_generated as schema

    model = unpacked(data)
    for graph in model.subgraphs:
        for index in graph.inputs:
            _open(graph.tensors[index])
        for operator in graph.operators:
            code = model.operatorCodes[operator.opcodeIndex]
            kind = max(code.builtinCode, code.deprecatedBuiltinCode)
            if kind == schema.BuiltinOperator.RESHAPE:
                _reshape(model, graph, operator)
            elif kind == schema.BuiltinOperator.SLICE:
                _slice(model, graph, operator)
            elif kind == schema.BuiltinOperator.STRIDED_SLICE:
                _strided_slice(model, graph, operator)
            for index in operator.outputs:
                _open(graph.tensors[index])
    return packed(model, len(data) + 4096)


def _open(tensor: Any) -> None:
    if tensor.shape is not None and len(tensor.shape) and tensor.shape[0] == 1:
        tensor.shapeSignature = np.array([-1, *tensor.shape[1:]], np.int32)


def _reshape(model: Any, graph: Any, operator: Any) -> None:
    """[1, …] becomes [-1, …], where no other size is open."""
    if len(operator.inputs) < 2 or not _first_is_one(graph, operator.outputs[0]):
        return
    shape = _constant(model, graph, operator.inputs[1])
    if shape is not None and shape.size and shape[0] == 1 and shape.min() > 0:
        _replace(model, graph, operator, 1, np.array([-1, *shape[1:]], shape.dtype))
        operator.builtinOptions = None
        operator.builtinOptionsType = 0


def _slice(model: Any, graph: Any, operator: Any) -> None:
    """All rows, which were one."""
    if not _first_is_one(graph, operator.inputs[0]):
        return
    begin, size = (_constant(model, graph, operator.inputs[place]) for place in (1, 2))
    if begin is not None and size is not None and begin[0] == 0 and size[0] == 1:
        _replace(model, graph, operator, 2, np.array([-1, *size[1:]], size.dtype))


def _strided_slice(model: Any, graph: Any, operator: Any) -> None:
    options = operator.builtinOptions
    if not _first_is_one(graph, operator.inputs[0]) or (options.shrinkAxisMask & 1):
        return
    begin, strides = (_constant(model, graph, operator.inputs[place]) for place in (1, 3))
    if begin is not None and strides is not None and begin[0] == 0 and strides[0] == 1:
        options.endMask |= 1


def _first_is_one(graph: Any, index: int) -> bool:
    shape = graph.tensors[index].shape
    return shape is not None and len(shape) > 0 and shape[0] == 1


def _constant(model: Any, graph: Any, index: int) -> Any:
    tensor = graph.tensors[index]
    data = model.buffers[tensor.buffer].data
    if data is None or not len(data):
        return None
    kind = {2: np.int32, 4: np.int64}.get(tensor.type)
    return None if kind is None else np.frombuffer(bytes(data), kind)


def _replace(model: Any, graph: Any, operator: Any, place: int, value: Any) -> None:
    """Gives an operator a constant of its own, since others may read the one that it has."""
    from ai_edge_litert import schema_py_generated as schema

    former = graph.tensors[operator.inputs[place]]
    tensor, buffer = schema.TensorT(), schema.BufferT()
    buffer.data = np.frombuffer(value.tobytes(), np.uint8)
    tensor.name = former.name + b"_opened" if former.name else b"opened"
    tensor.shape, tensor.type = former.shape, former.type
    tensor.hasRank, tensor.buffer = True, len(model.buffers)
    model.buffers.append(buffer)
    inputs = list(operator.inputs)
    inputs[place] = len(graph.tensors)
    operator.inputs = np.array(inputs, np.int32)
    graph.tensors.append(tensor)
