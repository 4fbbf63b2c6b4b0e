"""A LiteRT model with a batch of 1 and no shape left open, for compilers that need that.

The converter writes a batch of any size as -1 and lets operators read it (SHAPE) and work with
it where the model reshapes. Here LiteRT runs the model on one row; what came of shapes alone
becomes a constant, the operators that computed it go, and every tensor gets the shape it had.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from edgeline.errors import EdgelineError
from edgeline.formats import tflite
from edgeline.formats.dtypes import Array
from edgeline.formats.packing import packed, unpacked
from edgeline.formats.tflite import Model, Operator, Subgraph

OF_SHAPES = ("SHAPE", "RANK")
OF_VALUES = ("WHERE", "UNIQUE", "NON_MAX_SUPPRESSION_V4", "NON_MAX_SUPPRESSION_V5")
STATEFUL = ("RANDOM_UNIFORM", "RANDOM_STANDARD_NORMAL", "MULTINOMIAL", "VAR_HANDLE", "CALL_ONCE")


def fix_shapes(path: Path, output: Path) -> Path:
    """Write a model with its batch fixed at 1 and return where it is; `path` if it is fixed.

    Raises:
        EdgelineError: a dimension other than the batch is open, or the shape of a tensor
            depends on values.
    """
    model = tflite.read(path)
    graph = model.subgraphs[0]
    if not any(tensor.dynamic for tensor in graph.tensors):
        return path
    for index in graph.inputs:
        if -1 in (tensor := graph.tensors[index]).signature[1:]:
            raise EdgelineError(
                f"Input {tensor.name!r} of {path} has shape {list(tensor.signature)}, and this "
                "target needs every dimension but the batch: export the model with a fixed size."
            )
    for operator in graph.operators:
        if operator.name in OF_VALUES:
            raise EdgelineError(
                f"Operator {operator.index} ({operator.name}) of {path} gives a shape that "
                "depends on values, and this target needs fixed shapes: build the model "
                "without it, or compile the part before it."
            )
    gone = folded(graph)
    shapes, values = _run(path, graph, {i for op in gone for i in op.outputs})
    output.write_bytes(_rewritten(path, model, {op.index for op in gone}, shapes, values))
    return output


def folded(graph: Subgraph) -> list[Operator]:
    """Operators that compute from shapes and constants alone: what `fix_shapes` drops."""
    if not any(tensor.dynamic for tensor in graph.tensors):
        return []
    known: set[int] = set()
    found = []
    for operator in graph.operators:
        rest = [i for i in operator.inputs if i >= 0 and not graph.tensors[i].constant]
        from_shapes = bool(rest) and all(i in known for i in rest)
        if operator.name in OF_SHAPES or (from_shapes and operator.name not in STATEFUL):
            known.update(operator.outputs)
            found.append(operator)
    return found


def _run(
    path: Path, graph: Subgraph, wanted: set[int]
) -> tuple[Mapping[int, object], Mapping[int, Array]]:
    """The shape of every tensor and the values of some, for one row of zeros."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    interpreter = Interpreter(
        model_path=str(path),
        experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
        experimental_preserve_all_tensors=True,
    )
    try:
        for index in graph.inputs:
            interpreter.resize_tensor_input(index, [1, *graph.tensors[index].signature[1:]])
        interpreter.allocate_tensors()
        for detail in interpreter.get_input_details():
            empty: object = b"" if np.dtype(detail["dtype"]).kind in "SUO" else 0
            interpreter.set_tensor(
                detail["index"], np.full(detail["shape"], empty, detail["dtype"])
            )
        interpreter.invoke()
    except (ValueError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[0].rstrip(".")
        raise EdgelineError(
            f"{path} does not run with a batch of 1 ({reason}): convert it again."
        ) from error
    shapes = {detail["index"]: detail["shape"] for detail in interpreter.get_tensor_details()}
    return shapes, {index: interpreter.get_tensor(index) for index in wanted}


def _rewritten(
    path: Path,
    model: Model,
    folded: set[int],
    shapes: Mapping[int, Any],
    values: Mapping[int, Array],
) -> bytes:
    from ai_edge_litert import schema_py_generated as schema

    changed = unpacked(path.read_bytes())
    graph = changed.subgraphs[0]
    graph.operators = [op for index, op in enumerate(graph.operators) if index not in folded]
    used = {int(index) for index in [*graph.inputs, *graph.outputs]}
    for operator in graph.operators:
        for field in ("inputs", "outputs", "intermediates"):
            used |= {int(index) for index in _indices(operator, field)}
    for index, tensor in enumerate(graph.tensors):
        tensor.shapeSignature = None
        if not model.subgraphs[0].tensors[index].constant:
            tensor.shape = [int(size) for size in shapes[index]]
        if index in values and index in used:
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(np.ascontiguousarray(values[index]).tobytes(), np.uint8)
            tensor.buffer = len(changed.buffers)
            changed.buffers.append(buffer)
    _drop_tensors(changed, graph, used)
    _drop_codes(changed)
    return packed(changed, 1 << 20)


def _drop_tensors(changed: Any, graph: Any, used: set[int]) -> None:
    kept = [index for index in range(len(graph.tensors)) if index in used]
    place = {old: new for new, old in enumerate(kept)} | {-1: -1}
    graph.tensors = [graph.tensors[index] for index in kept]
    graph.inputs = [place[int(index)] for index in graph.inputs]
    graph.outputs = [place[int(index)] for index in graph.outputs]
    for operator in graph.operators:
        for field in ("inputs", "outputs", "intermediates"):
            if getattr(operator, field) is not None:
                setattr(operator, field, [place[int(i)] for i in _indices(operator, field)])
    for signature in changed.signatureDefs or []:
        if signature.subgraphIndex == 0:
            for entry in [*signature.inputs, *signature.outputs]:
                entry.tensorIndex = place[entry.tensorIndex]


def _drop_codes(changed: Any) -> None:
    """An old compiler refuses a file for an operator that it only names."""
    operators = [operator for graph in changed.subgraphs for operator in graph.operators]
    kept = sorted({operator.opcodeIndex for operator in operators})
    changed.operatorCodes = [changed.operatorCodes[index] for index in kept]
    for operator in operators:
        operator.opcodeIndex = kept.index(operator.opcodeIndex)


def _indices(operator: object, field: str) -> Any:
    found = getattr(operator, field)
    return [] if found is None else found
