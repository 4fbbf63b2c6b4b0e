"""An ONNX file, checked and described. The file is parsed; nothing in it is run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from edgeline.artifacts import models
from edgeline.artifacts.bundle import Signature, Tensor
from edgeline.components.import_model.wanted import Wanted
from edgeline.errors import EdgelineError, UsageError
from edgeline.extras import install_hint
from edgeline.formats.quantisation import DYNAMIC, FLOAT, FP16, INT8


def describe(path: Path, wanted: Wanted) -> tuple[bytes, Signature, dict[str, Any]]:
    """A model's bytes with its inputs and outputs renamed, its signature, and facts.

    Returns:
        The model, its signature, and `opset`, `operators` (how many of each), `quantisation`,
        and `called`: its names of `inputs` and `outputs` by ours.

    Raises:
        UsageError: it is another kind of file.
        EdgelineError: it is not a valid model, keeps data in other files, or onnx is not installed.
    """
    try:
        import onnx
    except ModuleNotFoundError as error:
        raise EdgelineError(install_hint(error) + ".") from None
    try:
        model = onnx.load(str(path), load_external_data=False)
    except Exception as error:  # protobuf's, whichever implementation
        if not _begins(path):
            raise UsageError(f"{path} is not an ONNX model: give a .onnx file.") from error
        raise EdgelineError(
            f"{path} is not a whole ONNX model ({type(error).__name__}): export or fetch it again."
        ) from error
    if not model.HasField("graph"):  # protobuf takes what it does not know, as of a text
        raise UsageError(f"{path} is not an ONNX model: give a .onnx file.")
    if any(tensor.data_location == onnx.TensorProto.EXTERNAL for tensor in _tensors(model.graph)):
        raise EdgelineError(
            f"{path} keeps its weights in other files: save it as one file, "
            "onnx.save(model, path, save_as_external_data=False)."
        )
    try:
        onnx.checker.check_model(model, full_check=True)
    except Exception as error:  # ValidationError, InferenceError and what C++ raises
        first = (str(error).strip().splitlines() or [""])[0][:300].rstrip(".:")
        raise EdgelineError(f"{path} is not valid ONNX ({first}): export it again.") from error
    constants = {entry.name for entry in model.graph.initializer}
    inputs = [entry for entry in model.graph.input if entry.name not in constants]
    outputs = [entry.name for entry in model.graph.output]
    if shared := {name for name in outputs if outputs.count(name) > 1 or name in _names(inputs)}:
        raise EdgelineError(
            f"{path} gives {min(shared)!r} twice, or as it takes it: export it with an output of "
            "its own for each (Identity makes one)."
        )
    takes = wanted.names(_names(inputs))
    gives = wanted.names(outputs, sole=models.PREDICTION)
    names = {**takes, **gives}
    wanted.check_rename(names)
    rename(model.graph, {name: to for name, to in names.items() if name != to})
    signature = Signature(described(inputs), described(model.graph.output))
    operators = _counted(node.op_type for node in model.graph.node)
    facts = {
        "opset": {entry.domain or "ai.onnx": entry.version for entry in model.opset_import},
        "operators": operators,
        "quantisation": _quantisation(operators, model.graph.initializer, onnx.TensorProto),
        "called": {
            "inputs": {to: name for name, to in takes.items()},
            "outputs": {to: name for name, to in gives.items()},
        },
    }
    return model.SerializeToString(deterministic=True), signature, facts


def scaled(path: Path, factor: float, offset: float) -> bytes:
    """A model whose float32 inputs are multiplied and added to before its first operators.

    Raises:
        EdgelineError: it has none. What is wrong with the file itself `describe` says.
    """
    import onnx
    from onnx import helper, numpy_helper

    try:
        model = onnx.load(str(path), load_external_data=False)
    except Exception:  # protobuf's, whichever implementation
        return path.read_bytes()
    graph = model.graph
    constants = {entry.name for entry in graph.initializer}
    names = [
        entry.name
        for entry in graph.input
        if entry.name not in constants
        and entry.type.tensor_type.elem_type == onnx.TensorProto.FLOAT
    ]
    if not names:
        raise EdgelineError(
            f"scaling is set, but {path.name} takes no float32, so nothing is scaled: leave it out."
        )
    first = []
    numbers = {"edgeline_factor": factor, "edgeline_offset": offset}
    for place, name in enumerate(names):
        between, last = f"edgeline_multiplied_{place}", f"edgeline_scaled_{place}"
        _rename_in_nodes(graph, {name: last})
        first.append(helper.make_node("Mul", [name, "edgeline_factor"], [between]))
        first.append(helper.make_node("Add", [between, "edgeline_offset"], [last]))
    nodes = [*first, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
    for constant, number in numbers.items():
        graph.initializer.append(numpy_helper.from_array(np.float32(number), constant))
    found: bytes = model.SerializeToString(deterministic=True)
    return found


def _begins(path: Path) -> bool:
    """Whether the first field is the version of the format, as every writer begins a model."""
    with open(path, "rb") as stream:
        return stream.read(1) == b"\x08"


def _quantisation(operators: Iterable[str], constants: Iterable[Any], kinds: Any) -> str:
    """As of a LiteRT file (see `tflite_file.quantisation`)."""
    if {"QuantizeLinear", "QLinearConv", "QLinearMatMul"} & set(operators):
        return INT8.name
    if {"DynamicQuantizeLinear", "DequantizeLinear"} & set(operators):
        return DYNAMIC.name
    return (FP16 if kinds.FLOAT16 in {each.data_type for each in constants} else FLOAT).name


def described(entries: Iterable[Any], names: Mapping[str, str] | None = None) -> tuple[Tensor, ...]:
    """Inputs or outputs of a graph as tensors, -1 for an open size.

    Args:
        names: others, by those in the graph.

    Raises:
        EdgelineError: one is not a tensor, or has no shape.
    """
    import onnx

    found = []
    for entry in entries:
        kind = entry.type.tensor_type
        if not entry.type.HasField("tensor_type") or not kind.HasField("shape"):
            raise EdgelineError(
                f"Tensor {entry.name!r} of the ONNX model has no shape: export it with fixed ones."
            )
        dtype = onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type)
        found.append(
            Tensor(
                (names or {}).get(entry.name, entry.name),
                "string" if kind.elem_type == onnx.TensorProto.STRING else dtype.name,
                tuple(
                    size.dim_value if size.HasField("dim_value") else -1 for size in kind.shape.dim
                ),
            )
        )
    return tuple(found)


def rename(graph: Any, names: Mapping[str, str]) -> None:
    """Give tensors other names, wherever they are read or written.

    Raises:
        EdgelineError: a tensor inside has such a name already.
    """
    if not names:
        return
    taken = {value.name for value in graph.value_info}
    taken |= {name for node in graph.node for name in [*node.input, *node.output]} - names.keys()
    for name in names.values():
        if name in taken:
            raise EdgelineError(
                f"The ONNX model has a tensor {name!r} inside: give its input or output another "
                "name with rename."
            )
    for entry in [*graph.input, *graph.output]:
        entry.name = names.get(entry.name, entry.name)
    _rename_in_nodes(graph, names)


def _rename_in_nodes(graph: Any, names: Mapping[str, str]) -> None:
    for node in graph.node:
        for side in (node.input, node.output):
            side[:] = [names.get(name, name) for name in side]
        for attribute in node.attribute:
            for inner in [attribute.g, *attribute.graphs]:
                _rename_in_nodes(inner, names)


def _tensors(graph: Any) -> Iterable[Any]:
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            yield attribute.t
            yield from attribute.tensors
            for inner in [attribute.g, *attribute.graphs]:
                yield from _tensors(inner)


def _names(entries: Iterable[Any]) -> list[str]:
    return [entry.name for entry in entries]


def _counted(names: Iterable[str]) -> dict[str, int]:
    listed = sorted(names)
    return {name: listed.count(name) for name in dict.fromkeys(listed)}
